#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGKILL of holdfastd where ESP travels in UDP: the kernel takes that only while its socket is open, and the keeper has it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

keeper_of() { on "$1" ss -xlpH 2>/dev/null | sed -n 's/.*keeper.sock.*pid=\([0-9]*\).*/\1/p' | head -n 1; }
socket_stands() { on "$1" ss -ulnH | grep ':4500 ' >/dev/null; }

topology_up
pki
client_policy extra='Encapsulation = UDP'
for node in "${gateways[@]}"; do
	gateway_policy "$node" extra='Encapsulation = UDP'
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
traffic
used=$(current_node)
before=$(spis client)
on client ip xfrm state | grep 'encap type espinudp' >/dev/null || fail "no ESP in UDP"

for node in client "$used"; do
	pid=$(keeper_of $node)
	[ -n "$pid" ] || fail "$node has no keeper"
	grep -q '^Uid:.65534.65534' "/proc/$pid/status" || fail "the keeper is not nobody: $(grep Uid "/proc/$pid/status")"
	grep -q '^CapEff:.0000000000000000' "/proc/$pid/status" || fail "the keeper has capabilities"
	grep -q '^NoNewPrivs:.1' "/proc/$pid/status" || fail "the keeper can get privileges"
	kill_daemon $node
	still_moving udp
	socket_stands $node || fail "$node: the socket is gone"
	restart $node
	still_moving udp
	[ "$(keeper_of $node)" = "$pid" ] || fail "$node: another keeper"
done
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
current_is "$used" || fail "the client moved to $(current)"
nothing_lost

pid=$(keeper_of client)
stop_daemon client
must 30 "the keeper has ended" gone "$pid"
! socket_stands client || fail "the socket stays"
! on client test -e /run/holdfast/client || fail "left: $(on client ls /run/holdfast/client)"
capture_assert_encrypted
