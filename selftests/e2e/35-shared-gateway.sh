#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Two clusters begin with the same gateway, and ask for it at the same moment: one exchange overtakes the other. Each cluster has
# both of its gateways all the same, and goes on over the one that is left when the gateway that they share loses its power.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy connect=START standby=1 cluster=$'200.0.0.252 200.0.0.253\nCluster 2 = 200.0.0.252 200.0.0.254' \
	tunnels=$'Tunnel 1 = 10.0.0.1 - 10.0.0.1 Cluster 1\nTunnel 2 = 10.0.0.2 - 10.0.0.3 Cluster 2'
for gateway in "${gateways[@]}"; do
	gateway_policy "$gateway"
done
start_daemon "${gateways[@]}"
serve t1 t2
capture_start

# in_state CLUSTER ADDRESS STATE
in_state() { is client ".clusters[$1].gateways[] | select(.address == \"$2\") | .state" "$3"; }
# Whose exchange was overtaken may have begun with its other gateway: which of the two it uses is not the question.
has_both() { [ "$(get client "[.clusters[$1].gateways[] | select(.state == \"active\" or .state == \"standby\")] | length")" = 2 ]; }
both_have_two() { has_both 0 && has_both 1; }
both_have_left() { in_state 0 200.0.0.253 active && in_state 1 200.0.0.254 active; }
overtaken() { cat "$work"/*-daemon.log | grep -c 'has been overtaken by a newer one' || true; }

for round in 1 2 3 4 5 6 7 8; do
	start_daemon client
	must 30 "round $round: each cluster has a gateway and a standby" both_have_two
	[ "$(overtaken)" = 0 ] || break
	stop_daemon client
done
say "overtaken $(overtaken) times in $round rounds"

warm
probe_udp udp
must 20 "probes are answered" answered udp
power_off g252
must 20 "both clusters have left it" both_have_left
still_moving udp 20
probe_end udp
capture_assert_encrypted
