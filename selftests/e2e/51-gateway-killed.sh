#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGKILL of a gateway's holdfastd. Started again at once, it adopts its clients and their claims, and nothing moves. Left
# dead, its gate closes by itself: the clients leave it, without loss; started then, it is a gateway like before.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

standing defer=2 response=0.5
traffic
used=$(current_node)
before=$(spis "$used")
is "$used" '.clients[0].claimed' true || fail "$used does not claim its client"

kill_daemon "$used"
restart "$used"
[ "$(spis "$used")" = "$before" ] || fail "not the same sessions: $before, now: $(spis "$used")"
is "$used" '.clients[0].claimed' true || fail "the claim was not adopted"
on "$used" ip neigh show proxy | grep 100.0.0.1 >/dev/null || fail "no proxy entry"
current_is "$used" || fail "the client moved to $(current)"
still_moving udp
still_moving tcp

# Nobody pushes the gate on. Its datapath carries what is sent; in the first quiet moment it answers no heartbeat.
kill_daemon "$used"
kill -STOP "${probes[udp]}" "${probes[tcp]}"
must 60 "the client left $used" current_is_not "$used"
kill -CONT "${probes[udp]}" "${probes[tcp]}"
still_moving udp
restart "$used"
unclaimed() { is "$used" '.clients[0].claimed // false' false; }
must 20 "$used heard that it was left" unclaimed
still_moving udp
must 30 "another stands by" standby_ready 1
hf client failover 'Cluster 1' "${address[$used]}" || fail "failover refused"
must 20 "the client is back at $used" current_is "$used"
still_moving udp
nothing_lost
stop_daemon "$used"
stop_daemon client
capture_assert_encrypted
