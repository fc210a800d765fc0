#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway that tunnels to its client, by a session which the client has begun, asks it by routine whether what it sends arrives.
# The client's answer is heard: the session stays the same for longer than the gateway would wait for it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"
. "$(dirname "$0")/way-back.inc"

topology_up
pki
client_policy
for node in "${gateways[@]}"; do
	way_back_policy "$node" $'[GENERAL]\nHeartbeat = INSTANT\nHeartbeatDeferTime = 1\nHeartbeatResponseTime = 0.5'
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
warm
used=$(current_node)
probe_udp udp
must 20 "probes are answered" answered udp
uses_the_client() { is "$used" '.clusters[0].current' "${address[client]}"; }
must 20 "$used uses the client's session" uses_the_client
before=$(spi_in_use)
pass 45 "traffic both ways"
[ "$(spi_in_use)" = "$before" ] || fail "$used has asked for another session, though the client answers"
uses_the_client || fail "$used has left the client"
still_moving udp
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"

capture_assert_encrypted
