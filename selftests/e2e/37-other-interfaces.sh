#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A client has another way out, which is no underlay: a routing rule that somebody puts before Holdfast's leads what is tunnelled
# there, or a socket is bound to it. Nothing leaves there in clear, on an interface that was there at the start, or came later; what
# is not tunnelled passes. Such a rule is told of. At the end no program of Holdfast's is left on them.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

guarded() { [ -n "$(on client tc filter show dev "$1" egress)" ]; }
# another INTERFACE PORT NUMBER: a second network, with a host at its other end that would answer as the target.
another() {
	port client "$1" "$2" | batch net
	printf '%s\n' "addr add 100.$3.0.254/24 dev $2" | batch net
	printf '%s\n' "addr add 100.$3.0.1/24 dev $1" "link set $1 up" "route add 10.0.0.0/24 via 100.$3.0.254 dev $1 metric $3" | batch client
}
topology_up
another wan1 up1 1
cluster_up
serve t1
capture_start up1
traffic
must 20 "the way out that is no underlay is guarded" guarded wan1
another wan2 up2 2
capture up2
underlay_ports+=(up2)
must 20 "and so is one that came later" guarded wan2
clear_drops() { get client '.drops.clear // 0'; }
dropped_more() { [ "$(clear_drops)" -gt "$before" ]; }

# As wg-quick does it: no preference is given, and the kernel puts the rule before the one that was there.
on client ip rule add table main suppress_prefixlength 0
[ "$(on client ip route get 10.0.0.1 | grep -c 'dev wan1')" = 1 ] || fail "the rule leads nowhere: $(on client ip route get 10.0.0.1)"
said client 'rule-before'
before=$(clear_drops)
must 20 "what it leads there is dropped" dropped_more
on client ip rule del table main suppress_prefixlength 0
still_moving udp
still_moving tcp

# A socket that is bound to one of them finds no way at all: where the table has no route by it, the unreachable one counts.
on client ping -qc 2 -i 0.2 -W 1 -I wan1 10.0.0.1 >/dev/null 2>&1 && fail "a target answered on wan1"
on client ping -qc 2 -i 0.2 -W 1 -I wan2 10.0.0.1 >/dev/null 2>&1 && fail "a target answered on wan2"
on client ping -qc 1 -W 5 -I wan1 100.1.0.254 >/dev/null || fail "what is not tunnelled does not pass"
probe_end tcp
probe_end udp
allowed="$allowed or (icmp and host 100.1.0.254)"
capture_assert_encrypted
stop_daemon client
! guarded wan1 && ! guarded wan2 && ! on client tc qdisc show dev wan1 | grep -q clsact || fail "programs are left"
