#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One of a gateway's three key management services hangs: it is noticed, and another takes its place. A reload meanwhile takes
# a little longer, and no revocation is held up by it. A client whose only one hangs renews its session with the next.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy standby=0 cluster=200.0.0.252
gateway_policy g252 'extra=KeyServiceWorkers = 3'
start_daemon g252 client
serve t1
capture_start
for node in g252 client; do
	on_background $node $node-events.log "$B/holdfast" -i $node events --json
done
warm
probe_udp udp
must 20 "probes are answered" answered udp

services() { pgrep -P "${daemon[$1]}" -x holdfast-kms | sort -n; }
# hung NODE N: that so many hung has been told.
hung() { [ "$(gojq -s '[.[] | select(.event == "key-service" and (.why | test("it hung|identity|request")))] | length' "$work/$1-events.log")" = "$2" ]; }

stopped=$(services client)
kill -STOP "$stopped"
must 60 "the client's is noticed" hung client 1
! services client | grep -qx "$stopped" || fail "it is there still"
still_moving udp

"$B/holdfast" pki revoke "$work/pki" client >/dev/null
chmod -R a+rX "$work/pki"
mapfile -t before < <(services g252)
[ ${#before[@]} = 3 ] || fail "${#before[@]} key management services instead of 3"
kill -STOP "${before[0]}"
begun=$(now_ms)
hf g252 reload >/dev/null || fail "the reload failed"
say "reloaded after $(($(now_ms) - begun)) ms"
no_clients() { is g252 '.clients | length' 0; }
must 20 "the client's session is over" no_clients
must 30 "the gateway's is noticed" hung g252 1
three() { [ "$(services g252 | wc -l)" = 3 ]; }
must 20 "there are three again" three
! services g252 | grep -qx "${before[0]}" || fail "it is there still"
begun=$(now_ms)
hf g252 reload >/dev/null || fail "the next reload failed"
[ $(($(now_ms) - begun)) -lt 10000 ] || fail "the next reload took $(($(now_ms) - begun)) ms"
capture_assert_encrypted
