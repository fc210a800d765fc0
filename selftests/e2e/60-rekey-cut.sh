#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# Renewals that break off at their last messages, again and again: what the client says with CONFIRM does not arrive, or it does
# and the answer, DONE, does not. Then one end uses keys of which the other does not know that they count: also for longer than
# unused states stay, where no exchange comes through after that, and when both are killed meanwhile. Nothing is lost.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rekey.inc"

rekey_up 'RekeyPackets = 300' '' 5
must 60 "renewals" renewed 2
for message in CONFIRM DONE; do
	cut $message
	before=$(renewals) # one may be through already
	goal=$(($(failures) + 2))
	must 120 "without $message: two exchanges have failed" failed $goal
	broken_off 2 || fail "they did not break off there: this proves nothing"
	[ "$(renewals)" -le $((before + 1)) ] || fail "the client has renewed without $message"
	if [ $message = DONE ]; then
		on net nft add rule netdev cut in tcp sport 7546 drop
		kill_daemon g252
		kill_daemon client
		start_daemon g252 client
		pass 45 "nothing comes from the gateway's key service"
	fi
	still_moving udp
	still_moving down
	on net nft delete table netdev cut
	say "$message arrives again"
	must 60 "renewals go on" renewed $(($(renewals) + 3))
done
rekey_over 8
must 60 "two states at each end" two_used_states
