#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Site to site: a gateway with a network of its own, 192.168.7.0/24, is client of the far cluster. A host of that network reaches
# the targets, and keeps its connections when the far gateway in use dies; the targets reach that host.
# limit: 240
. "$(dirname "$0")/lib.sh"

topology_up 1
pki
# The client of figure 2 is the site's gateway here; h1 is a host behind it, which knows nothing of tunnels.
node_make h1 ipv6/conf/default/disable_ipv6=1
poll_until 20 test -e "$work/h1.made" || fail "no namespace for h1"
printf '%s\n' "link add lan1 type veth peer name lan0 netns ${holder[h1]}" 'addr add 192.168.7.1/24 dev lan1' \
	'link set lan1 up' | batch client
printf '%s\n' 'addr add 192.168.7.10/24 dev lan0' 'link set lan0 up' 'route add default via 192.168.7.1' | batch h1
for node in "${targets[@]}"; do
	echo 'route add 192.168.7.0/24 dev lan0' | batch "$node"
done
client_policy extra='Protected = lan1
Address = 192.168.7.0/24' tunnels='Tunnel 1 = 10.0.0.0/24 Cluster 1'
for node in "${gateways[@]}"; do
	gateway_policy "$node" extra='[PEER]
Peer1 = 192.168.7.0/24 client'
done
start_daemon "${gateways[@]}" client
serve t1
capture_start

# from_h1 NAME KIND [ARGUMENTS]: as probe_udp and probe_tcp.
from_h1() {
	local name=$1 kind=$2
	shift 2
	on_background h1 "$name.log" "$probe" "$kind" "${address[t1]}" 7000 "$@"
	probes[$name]=$background
}
from_h1 udp udp
must 30 "h1 is answered" answered udp
from_h1 up tcp up
must 20 "data moves" moving up 20000
must 20 "another stands by" standby_ready 1
used=$(current_node)
is "$used" '.clients[0].inner[0]' 192.168.7.0/24 || fail "$used grants $(get "$used" '.clients[0].inner[0]')"

power_off "$used"
must 20 "the site left $used" current_is_not "$used"
still_moving udp 20
still_moving up
probe_end udp
probe_end up
[ "$(sum up connection)" = same ] || fail "the connection broke"
[ "$(sum udp longest_ms)" -le 5000 ] || fail "an outage of $(sum udp longest_ms) ms"

# The site's gateway itself, and the other direction.
warm
on t1 ping -qc 3 -i 0.2 -W 5 192.168.7.10 >"$work/ping.log" || fail "t1 does not reach h1"
say "t1 reaches h1"
# A host of the site has an address of another network, and the site's gateway forwards for it: the far end does not let it through.
used=$(current_node)
before=$(get "$used" .drops.inner_source)
echo 'addr add 192.168.8.10/32 dev lan0' | batch h1
echo 'route add 192.168.8.10/32 dev lan1' | batch client
on h1 ping -qc 3 -i 0.2 -W 1 -I 192.168.8.10 10.0.0.1 >/dev/null && fail "an address outside of the site's range is answered"
at_least "$used" .drops.inner_source $((before + 3)) || fail "inner_source: $(get "$used" .drops.inner_source), before: $before"

# The site's network gets other addresses: the gateway's own traffic bears the new one, which is the inner one of Address.
printf '%s\n' 'addr del 192.168.7.1/24 dev lan1' 'addr add 192.168.7.2/24 dev lan1' | batch client
bears() { on client ip route get 10.0.0.1 | grep "dev hf0 .*src $1 " >/dev/null; }
must 30 "the routes bear the new address" bears 192.168.7.2
warm

capture_assert_encrypted
