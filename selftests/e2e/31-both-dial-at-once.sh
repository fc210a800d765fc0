#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The client dials at its start while the gateway, which a target waits behind, dials the client over and over: each time
# one session is left, the same at both ends, with two states at each.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/way-back.inc"

topology_up
way_back_up cluster=200.0.0.252 standby=0 connect=START heartbeat=NONE
serve_client
capture_start
way_of t1 g252
on_background t1 target.log "$probe" udp "${address[client]}" 7000
probes[target]=$background

two_states() { [ "$(states client)" = 2 ] && [ "$(states g252)" = 2 ]; }
met() { cat "$work/client-daemon.log" "$work/g252-daemon.log" | grep -c 'both ends dial' || true; }

for round in 1 2 3 4 5 6; do
	must 30 "round $round: both ends have the same session" same_session
	still_moving target
	# What was replaced lingers for five seconds.
	must 20 "round $round: two states at each end" two_states
	same_session || fail "round $round: the session did not stay"
	[ $round -lt 3 ] || [ "$(met)" = 0 ] || break
	stop_daemon client
	start_daemon client
done
[ "$(met)" -gt 0 ] || fail "they never met in $round rounds: the test proves nothing"
say "they met $(met) times in $round rounds"
probe_end target

capture_assert_encrypted
