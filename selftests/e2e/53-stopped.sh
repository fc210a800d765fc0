#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGSTOP for ten seconds. The client's holdfastd blames nobody when it goes on. A gateway's is left when its gate closes,
# and comes back. Nothing is lost.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

standing
traffic
used=$(current_node)

kill -STOP "${daemon[client]}"
pass 10 "the client's holdfastd is stopped"
kill -CONT "${daemon[client]}"
must 30 "it answers again" daemon_answers client
still_moving udp
pass 2 "no late blame"
current_is "$used" || fail "the client moved to $(current)"
is client .failovers 0 || fail "a failover: $(get client .failovers)"
! logged client 'has failed' || fail "a gateway was blamed: $(grep 'has failed' "$work/client-daemon.log")"

kill -STOP "${daemon[$used]}"
pass 10 "the holdfastd of $used is stopped"
still_moving udp
kill -CONT "${daemon[$used]}"
must 30 "it answers again" daemon_answers "$used"
must 30 "the gate of $used is open" is "$used" .health.gate open
still_moving udp
must 30 "another stands by" standby_ready 1
hf client failover 'Cluster 1' "${address[$used]}" 2>/dev/null || true
must 30 "$used is in use" current_is "$used"
still_moving udp
nothing_lost
capture_assert_encrypted
