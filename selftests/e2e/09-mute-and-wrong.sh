#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One gateway accepts TCP and says nothing, one shows a certificate for another address: the third is used, and no more
# than KeyRequestTimeout is lost to each, once.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy timeout=3 standby=0
"$B/holdfast" pki issue "$work/pki" elsewhere --ip 200.0.0.99 >/dev/null
chmod -R a+rX "$work/pki"
on_background g252 mute.log "$probe" mute 7546
poll_until 30 grep -q serving "$work/mute.log"
gateway_policy g253 name=elsewhere
gateway_policy g254
start_daemon g253 g254 client
serve t1
capture_start

probe_udp udp
must 30 "probes are answered" answered udp
current_is g254 || fail "not the third: $(current)"
first=$(sed -n 's/^first ms=//p' "$work/udp.log")
say "the first answer after $first ms"
[ "$first" -le 8000 ] || fail "more than KeyRequestTimeout was lost to each"
# Asked once, and the test would prove nothing had nobody asked.
tried=$(grep -c '^taken' "$work/mute.log" || true)
[ "$tried" = 1 ] || fail "the mute gateway was asked $tried times"
probe_end udp

capture_assert_encrypted
