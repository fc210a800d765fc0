#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# An administrator removes what is Holdfast's: states, policies, routes, the rule, programs, the interface, the address, of a client
# and of a gateway. It is put right at once, said, and nothing is sent in clear meanwhile. What is foreign stays.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# heal NODE PART COMMAND...: runs it, as the administrator of the node; put right when the node says so: within a second, and some
# more on a machine that emulates.
heal() {
	local node=$1 part=$2 before begun took
	shift 2
	before=$(times_logged "$node" "reconciled: .*$part")
	on "$node" "$@" || fail "cannot: $*"
	begun=$(now_ms)
	must 30 "$node: $*: put right" logged_more "$node" "reconciled: .*$part" "$before"
	took=$(($(now_ms) - begun))
	say "after $took ms"
	[ $took -le 3000 ] || fail "it took $took ms"
	still_moving udp 30
}

foreign() {
	on client bash -c 'ip xfrm state | grep -A1 "^src 192.0.2"; ip xfrm policy | grep -A3 "^src 192.0.2"; ip rule show pref 100
		ip route show 192.0.2.0/24; ip route show table 77'
}

standing
warm
probe_udp udp -i 20
must 20 "probes are answered" answered udp
must 20 "another stands by" standby_ready 1

on client bash -e -c 'ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1234 reqid 5 mode tunnel \
		aead "rfc4106(gcm(aes))" 0x00112233445566778899aabbccddeeff00112233 128
	ip xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir out tmpl proto esp reqid 5 mode transport
	ip rule add pref 100 to 192.0.2.0/24 lookup main; ip route add 192.0.2.0/24 dev wan0; ip route add 192.0.2.0/25 dev wan0 table 77'
before=$(foreign)
[ "$(wc -l <<<"$before")" -ge 8 ] || fail "the foreign things do not stand: $before"

heal client rules ip rule del pref 7546
heal client routes ip route flush table 7546
heal client routes ip route del unreachable 10.0.0.1 table 7546 metric 10000
heal client policies ip xfrm policy del src 0.0.0.0/0 dst 0.0.0.0/0 dir out if_id 0x48000001
heal client programs tc filter del dev hf0 egress
heal client programs tc qdisc del dev wan0 clsact
heal client programs ip link set wan0 xdpgeneric off
# Another XDP program in the place of ours, which shares with no one: said, and left. All else is put right meanwhile.
held=$(times_logged client 'another XDP program holds wan0')
on client ip -force link set dev wan0 xdpgeneric obj "$B/selftests/bench/floor.bpf.o" sec xdp
must 30 "the foreign program is said" logged_more client 'another XDP program holds wan0' "$held"
heal client rules ip rule del pref 7546
heal client programs ip link set wan0 xdpgeneric off
heal client routes ip link set hf0 down
heal client tunnel ip link del hf0
heal client routes bash -c 'ip link set hf0 down; ip link set hf0 name mine'
sessions=$(spis client)
heal client states ip xfrm state deleteall reqid $((0x48000001))
[ "$(spis client)" != "$sessions" ] || fail "states that are gone are shown"
must 30 "another stands by" standby_ready 1
[ "$(foreign)" = "$before" ] || { diff <(echo "$before") <(foreign); fail "foreign things were touched"; }

# All at once, with those that are not ours.
heal client states bash -c 'ip xfrm state flush; ip xfrm policy flush; ip route flush table 7546; ip rule del pref 7546'
must 30 "another stands by" standby_ready 1

# A rule without a preference goes before ours, as wg-quick's does. It is somebody's will: said, and left.
on client ip rule add table main suppress_prefixlength 0
said client 'rule [0-9]* of IPv4 (table 254) is asked before'
on client ip rule | grep 'suppress_prefixlength 0' >/dev/null || fail "the foreign rule was removed"
still_moving udp 30
on client ip rule del table main suppress_prefixlength 0

# The address is lost, and comes back.
before=$(times_logged client 'has lost the address')
on client ip addr del 100.0.0.1/24 dev wan0
must 30 "sessions from a lost address end" logged_more client 'has lost the address' "$before"
on client bash -c 'ip addr add 100.0.0.1/24 dev wan0 && ip route replace default via 100.0.0.254'
still_moving udp 30

# A gateway's.
# of_used PART COMMAND...: heal, of the gateway in use. While hf0 is away it may be left.
of_used() { used=$(current_node); heal "$used" "$@"; }
must 30 "another stands by" standby_ready 1
of_used rules ip rule del pref 7546
of_used routes ip route flush table 7546
of_used policies ip xfrm policy flush
of_used programs tc filter del dev hf0 egress
of_used programs tc filter del dev hf0 ingress
of_used programs tc qdisc del dev wan0 clsact
of_used programs ip link set wan0 xdpgeneric off
of_used tunnel ip link del hf0
must 30 "another stands by" standby_ready 1
used=$(current_node)
on "$used" ip neigh del proxy 100.0.0.1 dev lan0
on t1 ip neigh flush dev lan0
proxied() { on "$used" ip neigh show proxy | grep 100.0.0.1 >/dev/null; }
must 30 "the proxy entry is back at the first request" proxied
still_moving udp 30
before=$(times_logged "$used" 'reconciled: .*states')
on "$used" ip xfrm state flush
must 30 "$used: states flushed: put right" logged_more "$used" 'reconciled: .*states' "$before"
still_moving udp 30
# The route to the targets is gone, and the default route leads there: what was decrypted does not take it.
used=$(current_node)
dropped=$(get "$used" .drops.clear)
on "$used" ip addr del "10.0.0.${used#g}/24" dev lan0
must 20 "$used drops what it has decrypted" at_least "$used" .drops.clear $((dropped + 5))
on "$used" ip addr add "10.0.0.${used#g}/24" dev lan0
still_moving udp 30
# A gateway that forwards no more would answer every heartbeat and lose every packet.
used=$(current_node)
heal "$used" sysctls sysctl -qw net.ipv4.ip_forward=0
current_is "$used" || fail "the client left $used"

# The protected interface is made anew: another one to the kernel, with another hardware address.
before=$(times_logged "$used" 'reconciled: .*protected')
on net ip link del "l${used#g}"
must 20 "$used is left" current_is_not "$used"
port "$used" lan0 "l${used#g}" lan | batch net
printf '%s\n' "addr add 10.0.0.${used#g}/24 dev lan0" 'link set lan0 up' | batch "$used"
must 30 "$used follows it" logged_more "$used" 'reconciled: .*protected' "$before"
must 30 "$used is open again" is "$used" .health.gate open
must 30 "it can be used" hf client failover 'Cluster 1' "${address[$used]}"
must 30 "it is used" current_is "$used"
still_moving udp 30
probe_end udp
stop_daemon client
capture_assert_encrypted
