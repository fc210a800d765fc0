#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One of a gateway's three key management services is killed, over and over: traffic and the others do not notice, clients
# get sessions meanwhile, and it is started again later each time, which an event tells.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy standby=0 cluster=200.0.0.252
gateway_policy g252 'extra=KeyServiceWorkers = 3'
start_daemon g252 client
serve t1
capture_start
on_background g252 events.log "$B/holdfast" -i g252 events --json
warm
probe_udp udp
must 20 "probes are answered" answered udp

services() { pgrep -P "${daemon[g252]}" -x holdfast-kms | sort -n; }
mapfile -t first < <(services)
[ ${#first[@]} = 3 ] || fail "${#first[@]} key management services instead of 3"

# died N: N deaths have been told.
died() { [ "$(grep -c '"event":"key-service"' "$work/events.log")" -ge "$1" ]; }
three() { [ "$(services | wc -l)" = 3 ]; }
newest() { services | tail -n 1; }
victim=${first[1]}
for times in 1 2 3 4 5 6; do
	kill -KILL "$victim"
	must 20 "death $times was told" died $times
	[ $times = 6 ] || must 20 "it was started again" three
	victim=$(newest)
done
gojq -c 'select(.event == "key-service") | [.worker, .times, .again_ms]' "$work/events.log"
[ "$(gojq -s '[.[] | select(.event == "key-service") | .again_ms] == [100, 200, 400, 800, 1600, 3200]' "$work/events.log")" = true ] ||
	fail "no back-off"
# The two others are those of the beginning.
for pid in "${first[0]}" "${first[2]}"; do
	services | grep -qx "$pid" || fail "key management service $pid is gone too"
done

probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) probes were lost"
# Whichever it is that the client belongs to: it comes in.
stop_daemon client
start_daemon client
probe_udp again
must 20 "a new session is made" answered again
must 20 "the third is back" three
probe_end again
capture_assert_encrypted
