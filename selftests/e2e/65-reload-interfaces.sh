#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 400
# `holdfast reload` with other interfaces, inner addresses and another port. Underlay and Protected come and go under traffic, of which nothing
# is lost, and sessions stay; what cannot be set up is refused, and nothing of it is left. With another Address the sessions are
# made anew, from the new one. Nothing is seen in clear.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

topology_up
port client wan1 up2 | batch net
on net ip addr add 100.1.0.254/24 dev up2
printf '%s\n' 'addr add 100.1.0.1/24 dev wan1' 'link set wan1 up' | batch client
pki
"$B/holdfast" pki issue "$work/pki" roamer --ip 10.0.0.77 --ip 10.0.0.78 >/dev/null
chmod -R a+rX "$work/pki"
# client_says UNDERLAY ADDRESS
client_says() {
	client_policy name=roamer defer=2 response=1 extra="Address = $2"
	sed -i "s/^\([[:space:]]*Underlay = \).*/\1$1/" "$work/client.conf"
}
# gateway_says NODE PROTECTED
gateway_says() {
	gateway_policy "$1"
	sed -i "s/^\([[:space:]]*Protected = \).*/\1$2/" "$work/$1.conf"
}
client_says wan0 10.0.0.77
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}" client
serve t1
capture_start up2
traffic
used=$(current_node)

guarded() { [ -n "$(on client tc filter show dev "$1" egress)" ] && on client ip -o link show "$1" | grep -q xdp; }
# No underlay: it has the guard of any other interface, and nothing else; none while no daemon runs.
bare() { [ -z "$(on client tc filter show dev "$1" ingress)" ] && ! on client ip -o link show "$1" | grep -q xdp; }
unguarded() { bare "$1" && [ -z "$(on client tc filter show dev "$1" egress)" ]; }
# reload NODE WORDS: it says so.
reload() {
	local said
	said=$(hf "$1" reload 2>"$work/reload.err") || fail "$1: reload failed: $(cat "$work/reload.err")"
	[ "$said" = "$2" ] || fail "$1: reload says: $said; expected: $2"
	say "$1: reloaded: $said"
}
# refused NODE PATTERN
refused() {
	! hf "$1" reload >"$work/reload.err" 2>&1 || fail "$1: reload took what is wrong ($2)"
	grep -q "$2.*nothing was changed" "$work/reload.err" || fail "$1: reload says: $(cat "$work/reload.err"); expected: $2"
	say "$1: refused: $(cat "$work/reload.err")"
}
before=$(spis client)
same_spis() { [ "$(spis client)" = "$before" ] || fail "$1: other sessions"; }
bare wan1 || fail "wan1 has programs: there is nothing to see"

# An underlay more, but the kernel refuses its last part; then the whole; then the first one goes.
client_says 'wan0 nowhere' 10.0.0.77
refused client 'no interface nowhere'
knob=/proc/sys/net/ipv4/conf/wan1/src_valid_mark
on client mount --bind $knob $knob
on client mount -o remount,ro,bind $knob
client_says 'wan0 wan1' '10.0.0.77 10.0.0.78'
refused client 'sysctls of wan1: Read-only'
on client umount $knob
bare wan1 || fail "a refused reload has left its programs on wan1"
! on client ip addr show dev hf0 | grep -q 10.0.0.78 || fail "a refused reload has left its address on hf0"
client_says 'wan0 wan1' 10.0.0.77
reload client 'Underlay changed'
guarded wan0 && guarded wan1 || fail "not both underlays are guarded"
[ "$(on client cat $knob)" = 1 ] || fail "wan1 would not take marks"
same_spis 'an underlay more'
printf '%s\n' 'route replace 200.0.0.0/24 via 100.1.0.254 dev wan1 src 100.0.0.1' | batch client
on net ip route replace 100.0.0.1/32 via 100.1.0.1 dev up2
still_moving udp
client_says wan1 10.0.0.77
reload client 'Underlay changed'
bare wan0 || fail "wan0 has kept its programs"
guarded wan1 || fail "wan1 is not guarded"
[ "$(on client cat /proc/sys/net/ipv4/conf/wan0/src_valid_mark)" = 0 ] || fail "wan0 has kept its sysctls"
same_spis 'an underlay less'
still_moving tcp

# A protected interface more at the gateway in use, without its link, and back.
port "$used" lan1 l2 | batch net
on "$used" ip link set lan1 up
on "$used" /bin/sh -c 'echo 0 >/proc/sys/net/ipv4/conf/lan1/forwarding'
claimed_on() { on "$used" ip neigh show proxy dev "$1" | grep -q 10.0.0.77; }
gate_is() { is "$used" .health.gate "$1"; }
must 20 "$used claims the client's address on lan0" claimed_on lan0
gateway_says "$used" 'lan0 lan1'
reload "$used" 'Protected changed'
must 20 "and on lan1" claimed_on lan1
[ "$(on "$used" cat /proc/sys/net/ipv4/conf/lan1/forwarding)" = 1 ] || fail "lan1 does not forward"
gate_is open || fail "the gate is closed"
gateway_says "$used" lan0
reload "$used" 'Protected changed'
! claimed_on lan1 || fail "the client's address is still claimed on lan1"
claimed_on lan0 || fail "the client's address is no longer claimed on lan0"
[ "$(on "$used" cat /proc/sys/net/ipv4/conf/lan1/forwarding)" = 0 ] || fail "lan1 still forwards"
on net ip link set l2 down
still_moving udp
gate_is open || fail "lan1 is nobody's, and its link closed the gate"
same_spis 'a protected interface more, and less'
nothing_lost

# Another address inside: all sessions are made anew, from it.
client_says wan1 10.0.0.78
reload client 'Address changed'
[ "$(spis client)" != "$before" ] || fail "the sessions bear the old address"
probe_udp anew
must 30 "it is reached from the new address" answered anew
inner_is() { is "$used" '.clients[0].inner[0]' "$1"; }
must 20 "$used knows the client by it" inner_is 10.0.0.78
[ "$(on client ip -o -4 addr show dev hf0 | awk '{ print $4 }')" = 10.0.0.78/32 ] || fail "hf0 has $(on client ip -o addr show dev hf0)"
must 20 "$used claims the new address" eval 'on "$used" ip neigh show proxy dev lan0 | grep -q 10.0.0.78'
must 20 "and the old one no more" eval '! claimed_on lan0'
probe_end anew
must 30 "another stands by" standby_ready 1

# Another port, at both ends; the sessions stay, and new keys are agreed there.
before=$(spis client)
for node in "${gateways[@]}"; do
	gateway_policy "$node" extra='KeyServicePort = 7547'
	reload "$node" 'KeyServicePort changed'
done
client_says wan1 $'10.0.0.78\n\t\tKeyServicePort = 7547\n\t\t[GENERAL]\n\t\tRekeyTime = 5'
reload client '[GENERAL] changed, KeyServicePort changed'
same_spis 'another port'
renewed() { at_least client '.clusters[0].gateways[] | select(.state == "active") | .session.renewals' 1; }
must 40 "keys are agreed on the other port" renewed
[ -z "$(on "$used" ss -Hltn 'sport = :7546')" ] || fail "$used listens on the old port still"
allowed="$allowed or tcp port 7547"
capture_assert_encrypted
stop_daemon client
[ -z "$(on client ip xfrm state)" ] && [ -z "$(on client ip rule show pref 7546)" ] && unguarded wan0 && unguarded wan1 ||
	fail "something is left at the client"
[ "$(on client cat $knob)" = 0 ] || fail "wan1 has kept its sysctls"
