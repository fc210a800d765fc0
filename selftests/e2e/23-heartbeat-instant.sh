#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Heartbeat = INSTANT: none before there is a session, none while traffic flows, about one per HeartbeatDeferTime when idle, and
# only to the gateway in use though others have sessions.
. "$(dirname "$0")/lib.sh"

standing defer=1 response=1 standby=2
pass 3 "no session yet"
[ "$(seen client "$from" "$to" "$beat")" = 0 ] || fail "heartbeats without a session"

warm
must 20 "others stand by" standby_ready 2
used=$(current_node)
# A machine that stops for a second has heard nothing for a second: then the span is measured anew.
for round in 1 2 3; do
	probe_udp busy$round
	must 20 "probes are answered" answered busy$round
	pass 20 "busy, 20 defer times"
	probe_end busy$round
	[ "$(sum busy$round longest_ms)" -ge 700 ] || break
done
[ "$(seen client "$from" "$to" 'ip proto 50')" -gt 500 ] || fail "no traffic was captured: the test proves nothing"
[ "$(seen client "$from" "$to" "$beat")" = 0 ] || fail "$(seen client "$from" "$to" "$beat") heartbeats while traffic flowed"
say "no heartbeat while traffic flowed"

pass 15 "idle, 15 defer times"
asked=$(seen client "$from" "$to" "$beat and src host ${address[client]}")
say "$asked heartbeats"
[ "$asked" -ge 8 ] && [ "$asked" -le 16 ] || fail "$asked heartbeats in 15 defer times"
[ "$(seen client "$from" "$to" "$beat and src host ${address[client]} and not dst host ${address[$used]}")" = 0 ] ||
	fail "heartbeats to a gateway that is not in use"
current_is "$used" || fail "it left $used"

capture_assert_encrypted
