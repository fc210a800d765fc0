#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway is cut off for a while and notices nothing: it has a session still which the client has removed. Its own
# heartbeats to the client, which wait for payload, find that out, and it starts a session that counts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/way-back.inc"

topology_up
pki
client_policy defer=1 response=0.5
for node in "${gateways[@]}"; do
	way_back_policy "$node" '[GENERAL]
Heartbeat = DEFERRED
HeartbeatDeferTime = 1
HeartbeatResponseTime = 0.5'
done
start_daemon "${gateways[@]}" client
serve t1
serve_client
capture_start

warm
must 20 "another stands by" standby_ready 1
current_is g252 || fail "not the first of the written order: $(current)"
power_off g252
must 20 "the client left g252" current_is_not g252
gone_at_client() { is client '.clusters[0].gateways[] | select(.address == "200.0.0.252") | .session' null; }
must 20 "the client has removed its session with g252" gone_at_client
must 20 "a third stands by" standby_ready 1
power_on g252
is g252 '.clients | length' 1 || fail "g252 has no old session: the test proves nothing"

probe_udp move
must 20 "probes are answered" answered move
way_of t2 g252
on_background t2 back.log "$probe" udp "${address[client]}" 7000
probes[back]=$background
must 30 "the target behind g252 is answered" answered back
must 20 "the client uses g252 again" current_is g252
still_moving back
still_moving move
probe_end back
probe_end move
[ "$(sum move lost)" = 0 ] || fail "$(sum move lost) packets lost"
# A client that answers is left in peace.
! grep -q 'has failed' <(tail -n +"$(grep -n 'session with client 100.0.0.1' "$work/g252-daemon.log" | tail -n 1 | cut -d: -f1)" \
	"$work/g252-daemon.log") || fail "g252 gave the client up though it answers"

capture_assert_encrypted
