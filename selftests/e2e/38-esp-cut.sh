#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Something on the way to the gateway in use drops what is encrypted, and passes heartbeats and the key service: in both directions, and
# then only what the client sends, while a target sends by itself, so that something comes through the session all the time.
# The gateway is left, its path given as the reason, and connections survive.
# limit: 400
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# esp_cut NODE HOOK...: at its underlay's port; egress is what goes to it.
esp_cut() {
	local node=$1 hook
	shift
	{
		echo "table netdev cut_$node {"
		for hook; do
			echo "chain $hook { type filter hook $hook devices = { w${node#g} } priority -500;
				ip protocol esp @th,0,32 != 0xffffffff counter drop; }"
		done
		echo "}"
	} | on net nft -f -
	say "$node: ESP is dropped ($*)"
}
esp_uncut() { on net nft delete table netdev "cut_$1"; }
has_dropped() { on net nft -j list table netdev "cut_$1" | gojq -e '[.. | .counter? | objects | .packets] | add > 0' >/dev/null; }
left_for_its_path() { logged_more client "${address[$1]} has failed (path)" "$2"; }

standing
warm
probe_tcp up up -r 20000
must 20 "data moves" moving up 20000

for cut in 'ingress egress' egress; do
	must 60 "another stands by" standby_ready 1
	used=$(current_node)
	before=$(times_logged client "${address[$used]} has failed (path)")
	pings=
	if [ "$cut" = egress ]; then
		on_background t1 ping.log ping -i 0.5 "${address[client]}"
		pings=$background
		must 20 "the target pings the client" grep -q 'bytes from' "$work/ping.log"
	fi
	# shellcheck disable=SC2086 # words
	esp_cut "$used" $cut
	must 60 "$used is left for its path" left_for_its_path "$used" "$before"
	has_dropped "$used" || fail "nothing was dropped"
	current_is_not "$used" || fail "the client is with $used still"
	# TCP has waited twice as long for each of its own tries meanwhile: half a minute, after half a minute.
	still_moving up 90
	# Its key service is there, and so are its heartbeats: nothing of that draws the client back.
	pass 5 "elsewhere"
	current_is_not "$used" || fail "the client is back with $used, which passes nothing"
	still_moving up
	[ -z "$pings" ] || end "$pings" INT
	esp_uncut "$used"
done
probe_end up
[ "$(sum up connection)" = same ] || fail "the connection broke"

capture_assert_encrypted
