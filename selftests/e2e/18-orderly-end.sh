#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGTERM leaves nothing behind, on a client and on a gateway that it used.
. "$(dirname "$0")/lib.sh"

# What a daemon could leave: interfaces, rules, routes, neighbours, states, policies, programs, pins.
left() {
	on "$1" /bin/bash -c 'ip -o link | cut -d: -f2; ip rule; ip route show table all | sort; ip neigh show proxy
		ip xfrm state; ip xfrm policy; for dev in wan0 lan0; do tc filter show dev $dev ingress; tc filter show dev $dev egress
		ip -o link show $dev | grep -o "xdp[a-z]*"; done; find /sys/fs/bpf/holdfast /run/holdfast -mindepth 1
		sysctl -a 2>/dev/null | grep -E "src_valid_mark|rp_filter|proxy_arp"' 2>/dev/null || true
}
topology_up 1
for node in client g252; do
	left $node >"$work/$node.before"
done
cluster_up
serve t1
capture_start
warm
probe_udp udp
must 20 "probes are answered" answered udp

probe_end udp

stop_daemon client
stop_daemon g252
for node in client g252; do
	left $node >"$work/$node.after"
	diff "$work/$node.before" "$work/$node.after" || fail "$node: left behind (above)"
done
say "nothing left behind"
capture_assert_encrypted
