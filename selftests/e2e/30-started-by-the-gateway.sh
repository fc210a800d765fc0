#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Communication that starts from a gateway: a target sends through a gateway without a session, which starts one with the
# client; the client then uses that gateway. Then an answer takes another gateway: likewise.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/way-back.inc"

topology_up
way_back_up standby=0
capture_start
serve t2
serve_client

# Nobody has a session. t1 speaks first, through g253.
way_of t1 g253
on_background t1 first.log "$probe" udp "${address[client]}" 7000
probes[first]=$background
must 30 "the target's first packet was answered" answered first
current_is g253 || fail "the client does not use the gateway that started the session: $(current)"
[ "$(sessions)" = 1 ] || fail "$(sessions) sessions"
is g253 '.clusters[0].current' "${address[client]}" || fail "the gateway does not use the client's session"
is g253 '.clients | length' 1 || fail "g253 knows no client"
still_moving first

# The client asks t2, whose answers go to g254.
way_of t2 g254
on_background client second.log "$probe" udp "${address[t2]}" 7000
probes[second]=$background
must 30 "an answer by another gateway came" answered second
must 20 "the client uses that gateway" current_is g254
[ "$(sessions)" = 2 ] || fail "$(sessions) sessions"
still_moving second
still_moving first
for name in first second; do
	probe_end $name
	[ "$(sum $name lost)" = 0 ] || fail "$name: $(sum $name lost) packets lost"
	[ "$(sum $name duplicates)" = 0 ] || fail "$name: $(sum $name duplicates) packets doubled"
done

capture_assert_encrypted
