#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One policy with all shapes of tunnels: to a single gateway, to a cluster of one, one cluster in several tunnels, single addresses,
# ranges, and ranges that overlap. Each gateway has a network of its own here, so what is answered took the gateway that the
# policy says.
. "$(dirname "$0")/lib.sh"

topology_up
pki
# Behind g252: t1. Behind g253: t2. Behind g254: t3.
for n in 2 3; do
	printf '%s\n' "link add lan$n type bridge" "link set lan$n up" "link set l25$((n + 1)) master lan$n" "link set t$n master lan$n"
done | batch net
for node in t1 t2 t3; do
	# More addresses for each target; the gateways' routes to them are all alike, for only one of them gets there.
	printf '%s\n' "addr add 10.0.1.${node#t}/32 dev lan0" "addr add 10.0.2.${node#t}/32 dev lan0" \
		"addr add 10.0.0.${node#t}0/32 dev lan0" | batch "$node"
done
for node in "${gateways[@]}"; do
	printf '%s\n' 'route add 10.0.1.0/24 dev lan0' 'route add 10.0.2.0/24 dev lan0' | batch "$node"
	gateway_policy "$node"
done
client_policy cluster='200.0.0.253 200.0.0.254
Cluster 2 = 200.0.0.252' standby=0 tunnels='Tunnel 1 = 10.0.0.0/24 Cluster 1
Tunnel 2 = 10.0.0.1 Cluster 2
Tunnel 3 = 10.0.0.3 - 10.0.0.9 200.0.0.254
Tunnel 4 = 10.0.0.3 - 10.0.0.29 200.0.0.252
Tunnel 5 = 10.0.0.20 - 10.0.0.29 Cluster 1
Tunnel 6 = 10.0.1.0 - 10.0.1.1 Cluster 2
Tunnel 7 = 10.0.1.2 200.0.0.253
Tunnel 8 = 10.0.2.0/30 Cluster 2
Tunnel 9 = 10.0.2.3/32 200.0.0.254'
start_daemon "${gateways[@]}" client
serve t1 t2 t3
capture_start

# takes ADDRESS NODE WHY: answered, and so through the gateway that the target lies behind.
takes() {
	on client timeout 25 "$probe" tcp "$1" 7000 idle -c 1 >"$work/$1.log" || fail "$1 is not answered: $3"
	hf client explain "$work/client.conf" "$1" >"$work/explained"
	grep -qF "${address[$2]}" "$work/explained" || fail "explain says otherwise of $1"
	say "$1 through $2: $3"
}
takes 10.0.0.2 g253 'a range, cluster of two'
takes 10.0.0.1 g252 'a single address, narrower than the range; cluster of one'
takes 10.0.0.3 g254 'a range to a single gateway, the narrower of three'
takes 10.0.0.10 g252 'a range to a single gateway, the narrower of two'
takes 10.0.0.20 g253 'the narrowest of three, the cluster of the widest'
takes 10.0.1.1 g252 'a cluster in a second tunnel'
takes 10.0.1.2 g253 'a single address to a single gateway, which is also in a cluster'
takes 10.0.2.1 g252 'a prefix'
takes 10.0.2.3 g254 'a single address within it'
# Where the policy says another gateway than the one that leads there, no answer comes: each went its own way.
! on client timeout 3 "$probe" tcp 10.0.0.30 7000 idle -c 1 >/dev/null || fail "10.0.0.30, behind g254, is answered by way of g253"

capture_assert_encrypted
