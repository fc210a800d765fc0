#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway dies, is rebooted and comes back. Communication that starts from it makes the client use it again, and not one
# packet is lost in the move.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/way-back.inc"

topology_up
way_back_up defer=1 response=0.5
serve t1
serve_client
capture_start

warm
must 20 "another stands by" standby_ready 1
current_is g252 || fail "not the first of the written order: $(current)"
power_off g252
must 20 "the client left g252" current_is_not g252
kill_daemon g252
wipe g252
power_on g252
start_daemon g252

probe_udp move
probe_tcp stream up
must 20 "probes are answered" answered move
must 20 "the stream moves" moving stream 1
! current_is g252 || fail "the client is back already: the test proves nothing"
way_of t2 g252
on_background t2 back.log "$probe" udp "${address[client]}" 7000 -i 50
probes[back]=$background
must 30 "the target behind g252 is answered" answered back
must 20 "the client uses g252 again" current_is g252
still_moving move
still_moving stream
for name in back move stream; do
	probe_end $name
done
for name in back move; do
	[ "$(sum $name lost)" = 0 ] || fail "$name: $(sum $name lost) packets lost"
	[ "$(sum $name duplicates)" = 0 ] || fail "$name: $(sum $name duplicates) packets doubled"
done

capture_assert_encrypted
