#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# An inner source that the peer may not use is dropped, under its own reason, and reaches no target.
. "$(dirname "$0")/lib.sh"

under_way
used=$(current_node)
is "$used" .drops.inner_source 0 || fail "inner_source counts already"

on_background t1 target.err tcpdump -Z root -n -i lan0 -U -w "$work/target.pcap" udp and port 7000
watcher=$background
poll_until 20 grep -q 'listening on' "$work/target.err"
on client "$hostile" inner -s 10.99.99.99 -t 10.0.0.1 -p 7000 -n 5
must 10 "5 dropped under inner_source" at_least "$used" .drops.inner_source 5
end "$watcher" INT
[ "$(tcpdump -n -r "$work/target.pcap" 'src 10.99.99.99' 2>/dev/null | wc -l)" = 0 ] || fail "it reached the target"
[ "$(tcpdump -n -r "$work/target.pcap" 'src 100.0.0.1' 2>/dev/null | wc -l)" -gt 0 ] || fail "the watcher saw nothing at all"
probe_end udp
[ "$(sum udp lost)" -le 5 ] || fail "it cost $(sum udp lost) probes"

capture_assert_encrypted
