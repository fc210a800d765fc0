#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 700
# Renewals of one session, one after the other and under traffic, lose no packet and break no connection. No key is ever used
# twice, and two states are left at each end. A machine that emulates makes one or two in a second: RENEWALS=1000 takes long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rekey.inc"

wanted=${RENEWALS:-30}
# Only packets call for new keys: without traffic there is an end to it.
rekey_up 'RekeyPackets = 100' ''
from=$(now_ms)
until renewed "$wanted"; do
	before=$(renewals)
	poll_until 120 renewed $((before + 10 < wanted ? before + 10 : wanted)) || fail "$(renewals) renewals, $before two minutes ago"
	say "$(renewals) renewals in $((($(now_ms) - from) / 1000)) s, $(states client) states at the client"
done
rekey_over "$wanted"
# What was replaced goes after five seconds; the last renewal may still be under way.
must 60 "two states at each end" two_used_states

# A renewal after which nothing is sent: pings call for it, and have ended when it is there. What it replaced goes all the same.
unused() { [ "$(session .bytes_in)" = 0 ] && [ "$(get g252 '.clients[0].session.bytes_in')" = 0 ]; }
for burst in 1 2 3 4 5; do
	goal=$(($(renewals) + 1))
	on client ping -qc 100 -i 0.002 "${address[t1]}" >/dev/null || fail "burst $burst: pings are not answered"
	must 60 "burst $burst: a renewal" renewed $goal
	! unused || break
done
unused || fail "its keys were used in all $burst bursts: this proves nothing"
must 120 "two states at each end, though nobody has used them" two_states
unused || fail "they were used"
