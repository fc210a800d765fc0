#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Without a word on heartbeats in the policy, none is ever sent: not while busy, not while idle, not to a dead gateway.
# limit: 240
. "$(dirname "$0")/lib.sh"

topology_up
cluster_up heartbeat= defer=0.2 response=0.2 standby=2
! grep -q Heartbeat\ = "$work/client.conf" || fail "the policy has a Heartbeat statement"
serve t1
capture_start

begun=$(now_ms)
warm
probe_udp udp
must 20 "probes are answered" answered udp
must 20 "others stand by" standby_ready 2
pass 3 "busy"
probe_end udp
pass 5 "idle"
used=$(current_node)
power_off "$used"
probe_udp dead
pass 5 "sending to a dead gateway"
end "$background" INT
[ "$(sum dead received)" = 0 ] || fail "$used is not dead"
pass 3 "idle, the gateway dead"
current_is "$used" || fail "it was left, though nobody asks whether it lives"
[ "$(seen client "$begun" "$to" 'ip proto 50')" -gt 100 ] || fail "no traffic was captured: the test proves nothing"
for port in client w252 w253 w254; do
	[ "$(seen $port "$begun" "$to" "$beat")" = 0 ] || fail "heartbeats on $port"
done
is client .heartbeats.sent 0 || fail "$(get client .heartbeats.sent) heartbeats sent"
say "no heartbeat on the wire"

capture_assert_encrypted
