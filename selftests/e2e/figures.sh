#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The figures: the outage over ROUNDS (20) power-offs of the gateway in use, with a standby and without, probe every 10 ms;
# and the packets lost in `holdfast failover`. `make figures` runs it; it judges nothing.
. "$(dirname "$0")/lib.sh"

rounds=${ROUNDS:-20}

power_on_all() {
	local node
	for node in "${!off[@]}"; do
		power_on "$node"
		unset "off[$node]"
	done
}
declare -A off

# Sessions that the client has: the one in use, and its standbys. A failed gateway's is removed after a while; a round that
# began before that would find one more.
sessions() { is client '[.clusters[0].gateways[] | select(.session)] | length' "$1"; }

# figure WHAT MILLISECONDS...
figure() {
	local what=$1
	shift
	printf '%s\n' "$@" | sort -n | awk -v what="$what" '{ a[NR] = $1 }
		END { printf "FIGURE %s rounds=%d median_ms=%d worst_ms=%d least_ms=%d\n", what, NR,
			NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2, a[NR], a[1] }' | tee -a "$work/figures"
}

# measure STANDBY: for how long probes were lost, and for how long no answer came (packets held meanwhile come late).
measure() {
	local standby=$1 round name used outages=() silences=()
	client_policy defer=0.1 response=0.05 tries=2 standby="$standby" order=FIXED
	start_daemon client
	warm
	for ((round = 1; round <= rounds; round++)); do
		name=s$standby-$round
		probe_udp "$name"
		must 40 "round $round: answered" answered "$name"
		must 60 "round $round: $((standby + 1)) sessions" sessions $((standby + 1))
		used=$(current_node)
		power_off "$used"
		off[$used]=1
		must 40 "left $used" current_is_not "$used"
		still_moving "$name" 40
		probe_end "$name"
		outages+=("$(sum "$name" longest_ms)")
		silences+=("$(sum "$name" silence_ms)")
		must 40 "$used: its session is removed" is client \
			".clusters[0].gateways[] | select(.address == \"${address[$used]}\") | .session" null
		# One that is back sooner is a false alarm to the client, which is slower to leave then: these are to be dead.
		pass 5 "$used stays off"
		power_on_all
	done
	stop_daemon client
	figure "standby=$standby lost" "${outages[@]}"
	figure "standby=$standby silence" "${silences[@]}"
}

topology_up
pki
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}"
serve t1
# An empty hook that stays: with it the kernel does not patch its own code at each power-off, which QEMU 7.2 does not always
# survive on two processors.
on net nft -f - <<-END
	table netdev stay {
		chain in { type filter hook ingress device lo priority 0; policy accept; }
		chain out { type filter hook egress device lo priority 0; policy accept; }
	}
END
measure 1
measure 0

client_policy defer=2 response=1 standby=1
start_daemon client
warm
probe_udp switch
must 40 "answered" answered switch
for ((round = 1; round <= rounds; round++)); do
	poll_until 40 standby_ready 1 || fail "no standby"
	used=$(current_node)
	hf client failover 'Cluster 1'
	poll_until 20 current_is_not "$used" || fail "no switch"
done
probe_end switch
echo "FIGURE failover switches=$rounds sent=$(sum switch sent) lost=$(sum switch lost)" | tee -a "$work/figures"
echo
cat "$work/figures"
