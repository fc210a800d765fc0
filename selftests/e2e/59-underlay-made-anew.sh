#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway's underlay interface is removed, and made anew under its name (a VLAN, a bond, a card that is plugged in again): to the
# kernel it is another one. The gateway takes it up: programs, heartbeats, and the key service listens there.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

under_way
on net ip link del w252
must 20 "another gateway is in use" current_is_not g252
still_moving udp
gone_from_client() { is client '.clusters[0].gateways[0].session' null; }
must 30 "the client has no session with g252" gone_from_client
port g252 wan0 w252 wan | batch net
printf '%s\n' 'addr add 200.0.0.252/24 dev wan0' 'link set wan0 up' 'route replace default via 200.0.0.1' | batch g252
guarded() { [ -n "$(on g252 tc filter show dev wan0 egress)" ] && on g252 ip -o link show wan0 | grep -q xdp; }
must 20 "the programs are on the new wan0" guarded
# The capture on the port that is gone has ended; what passes through the new one is looked at as well.
end "${captures[w252]}" INT
unset 'captures[w252]'
mv "$work/w252.pcap" "$work/w252-before.pcap"
capture w252
moved() { hf client failover 'Cluster 1' 200.0.0.252 >/dev/null 2>&1; current_is g252; }
must 60 "a key is agreed with g252, which is in use again" moved
still_moving udp
still_moving udp
current_is g252 || fail "g252 was left again"
probe_end udp
capture_assert_encrypted
