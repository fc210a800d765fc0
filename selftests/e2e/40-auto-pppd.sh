#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# AUTO: the client dials in with pppd. The other end of the link is the server that its tunnel leads to; the tunnel follows
# the link down, up, and to another server; a server that is redirected leads to a cluster. Never in clear, though there is
# another way that would carry it.
#
#   client -- ppp0 100.0.0.1 = = = 200.0.0.254 ppp0 -- g254     (later g252, then g253)
#      \----- wan0 100.0.0.9 -- net                             the way in clear
# limit: 300
. "$(dirname "$0")/lib.sh"

command -v pppd >/dev/null || skip "there is no pppd"
modprobe -q ppp_async 2>/dev/null || true
[ -c /dev/ppp ] || skip "this kernel has no ppp"

topology_up
pki
printf '%s\n' 'addr del 100.0.0.1/24 dev wan0' 'addr add 100.0.0.9/24 dev wan0' 'route replace default via 100.0.0.254' | batch client
# The router would forward it: all that is needed in clear.
printf '%s\n' 'route add 10.0.0.0/24 via 200.0.0.252' | batch net
on client ping -qc 1 -W 5 200.0.0.252 >/dev/null || fail "there is no way in clear: this would prove nothing"
for node in "${gateways[@]}"; do
	# What comes out of the link: ESP, and the key service; the other counter must stay at none.
	on "$node" nft -f - <<-END
		table inet seen {
			counter wrapped { }
			counter open { }
			chain in {
				type filter hook prerouting priority raw;
				iifname "ppp0" meta l4proto esp counter name wrapped accept
				iifname "ppp0" tcp dport 7546 accept
				iifname "ppp0" counter name open
			}
		}
	END
done
counter() { on "$1" nft -j list counter inet seen "$2" | gojq '.nftables[] | select(.counter) | .counter.packets'; }

# dial NODE: one pppd in the client, which starts the other one in the node over a pty.
common='nodetach local noauth noipv6 noccp novj nodefaultroute unit 0'
dial() {
	on_background client "pppd-$1.log" pppd $common 100.0.0.1: \
		pty "nsenter -t ${holder[$1]} -n -m -- pppd $common notty ${address[$1]}:100.0.0.1"
	pppd=$background
	must 60 "pppd: a link to ${address[$1]}" linked client "${address[$1]}"
	must 20 "pppd: and back" linked "$1" 100.0.0.1
}
linked() { on "$1" ip -o -4 addr show dev ppp0 2>/dev/null | grep -q "peer $2/.* \|peer $2 "; }
hang_up() {
	end "$pppd" "${1:-TERM}"
	must 20 "the link is gone" no_link
}
no_link() { ! on client ip link show ppp0 >/dev/null 2>&1; }

# auto_is SERVER TARGET
auto_is() { is client '.auto | "\(.server // "none") \(.target // "none")"' "$1 $2"; }
# the gateway in use of the cluster by its name
in_use() { is client ".clusters[] | select(.name == \"$1\") | .current // \"none\"" "$2"; }

for node in g252 g254; do
	gateway_policy "$node"
done
cat >"$work/client.conf" <<-END
	[GENERAL]
	Heartbeat = INSTANT
	HeartbeatDeferTime = 0.4
	HeartbeatResponseTime = 1

	$(identity client)

	[CLUSTER]
	Cluster 1 = 200.0.0.252

	[TUNNEL]
	Tunnel 1 = 10.0.0.1 - 10.0.0.3 AUTO
	Redirect Tunnel 1 = 200.0.0.253 Cluster 1
END
serve t1

# shut: what goes to the tunnel now gets nowhere; by the captures, and at once by what the sender is told.
shut() {
	! on client ping -qc 2 -i 0.2 -W 1 10.0.0.1 >/dev/null 2>&1 || fail "$1: a target answered"
	! on client ip route get 10.0.0.1 >"$work/route" 2>&1 || fail "$1: there is a way: $(cat "$work/route")"
	say "$1: unreachable"
}

# use SERVER: traffic to the target is answered, through ESP on the link.
uses=0
use() {
	local before name
	uses=$((uses + 1)) name=udp-$1-$uses
	before=$(counter "$1" wrapped)
	probe_udp "$name"
	# Not each of them: those that were held for the session may be answered before the way back has moved here.
	must 40 "$1: 50 probes are answered" moving "$name" 50
	probe_end "$name"
	[ "$(($(counter "$1" wrapped) - before))" -ge 50 ] || fail "$1: ESP on the link: $(counter "$1" wrapped), before $before"
	say "the traffic goes through the link, encrypted"
}

# killed NAME: the client's daemon is killed, and the next one goes on with the session over the link.
killed() {
	local before
	before=$(get client '[.clusters[].gateways[].session | select(.) | .spi_out] | join(" ")')
	probe_udp "killed-$1" -i 50
	must 20 "probes are answered" answered "killed-$1"
	kill_daemon client
	still_moving "killed-$1"
	start_daemon client
	still_moving "killed-$1"
	must 20 "detected again" is client '.auto.interface' ppp0
	[ "$(get client '[.clusters[].gateways[].session | select(.) | .spi_out] | join(" ")')" = "$before" ] ||
		fail "not the same session: $before"
	probe_end "killed-$1"
	[ "$(sum "killed-$1" lost)" = 0 ] || fail "$(sum "killed-$1" lost) packets lost"
}

start_daemon client
capture_start
must 30 "no server yet" auto_is none none
shut "before the link"

# The first server is a gateway itself.
dial g254
must 20 "detected" auto_is 200.0.0.254 AUTO
sed -i 's/^Underlay = wan0/Underlay = wan0 ppp0/' "$work/g254.conf"
start_daemon g254
use g254
must 30 "the server is in use" in_use AUTO 200.0.0.254
killed server
must 30 "the server is in use still" in_use AUTO 200.0.0.254
hf client status | grep -q '^AUTO: server 200.0.0.254 on ppp0, leads to AUTO' || fail "status says: $(hf client status)"
hf client events >"$work/events.log" 2>&1 &
children+=($!)

# Heartbeats over a link without Ethernet: reflected at one end, consumed at the other.
must 20 "heartbeats are answered over ppp" at_least client .heartbeats.answered 2
is client .heartbeats.missed 0 || say "missed: $(get client .heartbeats.missed)"

# Down.
hang_up
must 20 "no server any more" auto_is none none
must 30 "its session is gone" is client '[.clusters[].gateways[] | select(.session)] | length' 0
shut "link down"

# Another server, in disorder: the link just ends.
dial g252
must 20 "the other server is detected" auto_is 200.0.0.252 AUTO
sed -i 's/^Underlay = wan0/Underlay = wan0 ppp0/' "$work/g252.conf"
start_daemon g252
use g252
must 30 "the other server is in use" in_use AUTO 200.0.0.252
hang_up KILL
must 20 "no server" auto_is none none
shut "link broken"

# A server without Holdfast, which the policy redirects to Cluster 1: its gateway is reached through the server.
printf '%s\n' 'route add 100.0.0.1 via 200.0.0.253' | batch g252
dial g253
must 20 "redirected" auto_is 200.0.0.253 "Cluster 1"
printf '%s\n' 'route add 200.0.0.252 dev ppp0' | batch client
use g253
must 30 "the cluster's gateway is in use" in_use "Cluster 1" 200.0.0.252
in_use AUTO none || fail "the server itself is in use"
killed redirected
must 30 "the cluster's gateway is in use still" in_use "Cluster 1" 200.0.0.252

# A policy without AUTO, and with it again, by reload: the way is the same link.
cp "$work/client.conf" "$work/automatic.conf"
sed -i -e 's/ AUTO$/ Cluster 1/' -e '/Redirect/d' "$work/client.conf"
hf client reload >"$work/reload.log" 2>&1 || fail "reload: $(cat "$work/reload.log")"
is client '.auto' null || fail "AUTO is watched for still: $(get client .auto)"
use g253
in_use "Cluster 1" 200.0.0.252 || fail "the cluster's gateway is not in use"
cp "$work/automatic.conf" "$work/client.conf"
hf client reload >"$work/reload.log" 2>&1 || fail "reload: $(cat "$work/reload.log")"
must 20 "redirected again" auto_is 200.0.0.253 "Cluster 1"
use g253
in_use "Cluster 1" 200.0.0.252 || fail "the cluster's gateway is not in use again"
hang_up
must 20 "no server at the end" auto_is none none
shut "at the end"

grep -q '^.*auto' "$work/events.log" || fail "no event: $(cat "$work/events.log")"
for node in "${gateways[@]}"; do
	[ "$(counter "$node" open)" = 0 ] || fail "$(counter "$node" open) packets in clear on the link to $node"
done
stop_daemon client
capture_assert_encrypted
