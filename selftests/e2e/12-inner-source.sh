#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# An inner source that the peer may not use is dropped, under its own reason, and reaches no target.
. "$(dirname "$0")/lib.sh"

under_way
used=$(current_node)
is "$used" .drops.inner_source 0 || fail "inner_source counts already"

capture t1
begun=$(now_ms)
on client "$hostile" inner -s 10.99.99.99 -t 10.0.0.1 -p 7000 -n 5
must 30 "5 dropped under inner_source" at_least "$used" .drops.inner_source 5
[ "$(seen t1 "$begun" "$(now_ms)" 'src 10.99.99.99')" = 0 ] || fail "it reached the target"
[ "$(seen t1 "$begun" "$(now_ms)" 'src 100.0.0.1')" -gt 0 ] || fail "the capture saw nothing at all: it proves nothing"
probe_end udp
[ "$(sum udp lost)" -le 5 ] || fail "it cost $(sum udp lost) probes"

capture_assert_encrypted
