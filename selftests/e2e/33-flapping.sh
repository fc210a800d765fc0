#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# A gateway dies and returns again and again, and each time starts a session with the client: the client goes back to it
# the first time, and then no more, so that traffic does not suffer with it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/way-back.inc"

topology_up
way_back_up cluster='200.0.0.252 200.0.0.253' defer=1 response=0.5
serve t1
serve_client
capture_start
warm
must 20 "another stands by" standby_ready 1
current_is g252 || fail "not the first of the written order: $(current)"
way_of t2 g252
on_background t2 flapping.log "$probe" udp "${address[client]}" 7000

# How often the client moved because g252 started a session; and how often it did.
drawn() { grep -c 'traffic goes to 200.0.0.252.*(peer)' "$work/client-daemon.log" || true; }
# Half a minute after it last began anew it may be trusted again: what a slow machine does to the test.
slow=0 begun=$SECONDS
for round in 1 2 3 4; do
	kill_daemon g252
	wipe g252
	must 20 "round $round: the client is elsewhere" current_is g253
	start_daemon g252
	must 30 "round $round: g252 has a session with the client" same_session
	[ $((SECONDS - begun)) -lt 25 ] || slow=$((slow + 1))
	begun=$SECONDS
	if [ $round = 1 ]; then
		must 20 "the client is back" current_is g252
	elif [ $round = 2 ]; then
		probe_udp steady
		must 20 "probes are answered" answered steady
	fi
	say "round $round: drawn $(drawn) times"
done
probe_end steady
[ "$(drawn)" -ge 1 ] || fail "never drawn: the test proves nothing"
[ "$(drawn)" -le $((1 + slow)) ] || fail "drawn $(drawn) times in $round rounds"
if [ $slow = 0 ]; then
	current_is g253 || fail "not in use: ${address[g253]}"
	[ "$(sum steady lost)" = 0 ] || fail "$(sum steady lost) packets lost to a gateway that was not in use"
fi

capture_assert_encrypted
