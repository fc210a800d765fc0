#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 500
# SIGSTOP. The client's holdfastd blames nobody when it goes on, though heartbeats were not yet answered when it was stopped and
# one is enough to condemn. A gateway's is left when its gate closes by itself, and comes back. Nothing is lost.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# blameless: the client uses whom it used, and never left.
blameless() {
	current_is "$used" || fail "the client moved to $(current)"
	is client .failovers 0 || fail "a failover: $(get client .failovers)"
	! logged client 'has failed' || fail "a gateway was blamed: $(grep 'has failed' "$work/client-daemon.log")"
}

standing tries=1 response=5
warm
must 30 "another stands by" standby_ready 1
used=$(current_node)

# Idle, and an answer takes more than a second: the client is stopped while it waits for one, for longer than it would wait, twice over.
delay() { for port in client wan; do on net tc qdisc "$1" dev $port root "${@:2}"; done; }
delay replace netem delay 700ms
waits_for_one() { is client ".heartbeats.sent - .heartbeats.answered > 0" true; }
outstanding=0
for round in 1 2 3; do
	before=$(get client .heartbeats.answered)
	must 30 "heartbeats are answered" at_least client .heartbeats.answered $((before + 1))
	must 30 "one is under way" waits_for_one
	kill -STOP "${daemon[client]}"
	begun=$(now_ms)
	pass 11 "round $round: the client's holdfastd is stopped"
	kill -CONT "${daemon[client]}"
	# An answer while it was stopped is one to a heartbeat that was under way.
	[ "$(seen client "$begun" "$to" "$beat and dst host 100.0.0.1")" = 0 ] || outstanding=$((outstanding + 1))
	must 30 "it answers again" daemon_answers client
	blameless
done
[ $outstanding -gt 0 ] || fail "no heartbeat was under way when it was stopped: this proves nothing"
say "a heartbeat was under way $outstanding times"
delay del

traffic

kill -STOP "${daemon[client]}"
pass 10 "the client's holdfastd is stopped"
kill -CONT "${daemon[client]}"
must 30 "it answers again" daemon_answers client
still_moving udp
pass 2 "no late blame"
blameless

# Nobody pushes its gate on. What is sent keeps it in use; in the first quiet moment it answers no heartbeat.
kill -STOP "${daemon[$used]}"
pass 5 "the holdfastd of $used is stopped"
still_moving udp
current_is "$used" || fail "the client left $used, whose datapath carries"
kill -STOP "${probes[udp]}" "${probes[tcp]}"
must 60 "the client left $used" current_is_not "$used"
kill -CONT "${probes[udp]}" "${probes[tcp]}"
still_moving udp
kill -CONT "${daemon[$used]}"
must 30 "it answers again" daemon_answers "$used"
must 30 "the gate of $used is open" is "$used" .health.gate open
still_moving udp
must 30 "another stands by" standby_ready 1
must 30 "it can be used" hf client failover 'Cluster 1' "${address[$used]}"
must 30 "$used is in use" current_is "$used"
still_moving udp
nothing_lost
capture_assert_encrypted
