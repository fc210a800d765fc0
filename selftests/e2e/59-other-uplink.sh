#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 400
# A client whose policy names no Underlay goes from one network to another: the default route leads by another interface, then
# the address of the first one is gone. The programs follow, new sessions come from the new address, and a TCP connection through the
# tunnel goes on, for the inner address is what it was. Nothing is sent in clear on either way.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

guarded() { [ -n "$(on client tc filter show dev "$1" egress)" ] && on client ip -o link show "$1" | grep -q xdp; }
topology_up
port client wan1 up2 | batch net
on net ip addr add 100.1.0.254/24 dev up2
printf '%s\n' 'addr add 100.1.0.1/24 dev wan1' 'link set wan1 up' | batch client
pki
"$B/holdfast" pki issue "$work/pki" roamer --ip 10.0.0.77 >/dev/null
chmod -R a+rX "$work/pki"
client_policy name=roamer extra='Address = 10.0.0.77'
sed -i '/^[[:space:]]*Underlay/d' "$work/client.conf"
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}" client
serve t1
capture_start up2
traffic
guarded wan0 || fail "wan0 is not guarded"
! guarded wan1 || fail "wan1 is guarded: there is nothing to follow"

on client ip route replace default via 100.1.0.254 dev wan1
must 30 "the programs are on wan1" guarded wan1
must 30 "and no longer on wan0" eval '! guarded wan0'
on client ip addr flush dev wan0
must 20 "sessions from the lost address end" logged client 'has lost the address'
served() { [ "$(current)" != none ]; }
must 30 "there is a session" served
still_moving udp 30
still_moving tcp 30
must 30 "another stands by" standby_ready 1
heard() { on "$(current_node)" ip xfrm state | grep "src 100.1.0.1" >/dev/null; }
must 30 "the gateway knows the client under its new address" heard
probe_end udp
probe_end tcp
[ "$(sum tcp connection)" = same ] || fail "the connection broke"
[ "$(seen up2 0 "$(now_ms)" 'proto 50 and src host 100.1.0.1')" -gt 0 ] || fail "no ESP on the new way"
capture_assert_encrypted
