#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The router translates the client's address and ports: AUTO chooses UDP, the gateways learn the client's port and follow it when
# it changes, heartbeats are answered, and a power-off is survived.
# limit: 240
. "$(dirname "$0")/lib.sh"

topology_up
on net nft -f - <<-END
	table ip translate {
		chain out {
			type nat hook postrouting priority srcnat;
			ip saddr 100.0.0.1 ip protocol udp oifname wan masquerade to :20000-29999 random
			ip saddr 100.0.0.1 oifname wan masquerade
		}
	}
END
pki
"$B/holdfast" pki issue "$work/pki" nat --ip 10.9.0.1 >/dev/null
chmod -R a+rX "$work/pki"
client_policy name=nat standby=1 defer=1 response=0.5 extra='Address = 10.9.0.1/32'
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
for node in "${targets[@]}"; do
	echo 'route add 10.9.0.1 dev lan0' | batch "$node"
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
begun=$(now_ms)
warm
probe_udp udp
must 20 "probes are answered" answered udp
probe_tcp down down
must 20 "data moves" moving down 20000
must 20 "another stands by" standby_ready 1
used=$(current_node)
is "$used" '.clients[0].address' 200.0.0.1 || fail "$used sees the client as $(get "$used" '.clients[0].address')"
[ "$(seen client "$begun" "$(now_ms)" 'ip proto 50')" = 0 ] || fail "plain ESP, though addresses are translated"
[ "$(seen "w${used#g}" "$begun" "$(now_ms)" 'udp src portrange 20000-29999 and dst port 4500')" -gt 50 ] ||
	fail "no translated port was seen: the test proves nothing"
say "AUTO chose UDP"

# What the router says itself: it joins groups anew, and refuses what it has no translation for any more.
allowed+=' or igmp or icmp[icmptype] = icmp-unreach'
# The router restarts: what it has translated so far is forgotten, and new ports are drawn.
printf '%s\n' 'link set wan down' 'link set wan up' | batch net
followed() { grep -q 'sends from port .*before: 2[0-9]*$' "$work/$used-daemon.log"; }
still_moving udp
still_moving down
must 20 "$used follows the client to another port" followed
current_is "$used" || fail "it left $used"

must 20 "another stands by" standby_ready 1
used=$(current_node)
power_off "$used"
must 20 "the client left $used" current_is_not "$used"
still_moving udp 20
still_moving down
probe_end udp
probe_end down
[ "$(sum down connection)" = same ] || fail "the connection broke"

used=$(current_node)
answered=$(get client .heartbeats.answered)
must 30 "heartbeats are answered" at_least client .heartbeats.answered $((answered + 5))
current_is "$used" || fail "it left $used"

capture_assert_encrypted
