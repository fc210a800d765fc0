#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGTERM: a gateway in use loses nothing of its clients and tells them that it is over; nothing is left behind, there and on a client.
. "$(dirname "$0")/lib.sh"

# What a daemon could leave: interfaces, rules, routes, neighbours, states, policies, programs, pins.
left() {
	on "$1" /bin/bash -c 'ip -o link | cut -d: -f2; ip rule; ip route show table all | sort; ip neigh show proxy
		ip xfrm state; ip xfrm policy; for dev in wan0 lan0; do tc filter show dev $dev ingress; tc filter show dev $dev egress
		ip -o link show $dev | grep -o "xdp[a-z]*"; done; find /sys/fs/bpf/holdfast /run/holdfast -mindepth 1
		sysctl -a 2>/dev/null | grep -E "src_valid_mark|rp_filter|proxy_arp"' 2>/dev/null || true
}
topology_up 1
for node in client "${gateways[@]}"; do
	left $node >"$work/$node.before"
done
cluster_up
serve t1
capture_start
warm
must 30 "another stands by" standby_ready 1
probe_udp udp
must 20 "probes are answered" answered udp

# The gateway in use: the client moves, and knows that their session is over, though the gateway is soon back without it.
used=$(current_node)
stop_daemon "$used"
must 10 "the client is elsewhere" current_is_not "$used"
said() { grep -q "session with gateway ${address[$used]} ended: the gateway has ended it" "$work/client-daemon.log"; }
must 10 "the client was told that their session is over" said
still_moving udp
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) probes lost to an orderly end"

stop_daemon client
for node in client "$used"; do
	left $node >"$work/$node.after"
	diff "$work/$node.before" "$work/$node.after" || fail "$node: left behind (above)"
done
say "nothing left behind"
capture_assert_encrypted
