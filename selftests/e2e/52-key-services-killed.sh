#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Every key service of every node is killed, more than once: sessions do not notice, it is started again, and the next
# request works; then together with holdfastd, on both sides at once. None is left over.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

topology_up
pki
client_policy extra='KeyServiceWorkers = 2'
for node in "${gateways[@]}"; do
	gateway_policy "$node" extra='KeyServiceWorkers = 2'
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
traffic
used=$(current_node)
before=$(spis client)
for round in 1 2; do
	declare -A old
	for node in client "${gateways[@]}"; do
		old[$node]=$(kms "$node")
		[ "$(wc -w <<<"${old[$node]}")" = 2 ] || fail "$node has not two key services: ${old[$node]}"
	done
	for node in client "${gateways[@]}"; do
		kill_kms "$node"
	done
	for node in client "${gateways[@]}"; do
		must 20 "$node: both started again" two_new_kms "$node" "${old[$node]}"
	done
done
[ "$(spis client)" = "$before" ] || fail "the sessions changed"
current_is "$used" || fail "the client moved"
still_moving udp

# A request: g254 has no session yet, and is asked for one.
must 20 "g254 is moved to" hf client failover 'Cluster 1' 200.0.0.254
must 30 "g254 is in use" current_is g254
still_moving udp
must 30 "another stands by" standby_ready 1
before=$(spis client)

# All at once: all processes, here and there.
declare -A killed
for node in client g254; do
	pids=$(kms "$node")
	killed[$node]=$pids
	# shellcheck disable=SC2086
	kill -KILL "${daemon[$node]}" $pids
done
for node in client g254; do
	poll_until 20 gone "${daemon[$node]}" || fail "$node lives"
	for pid in ${killed[$node]}; do
		poll_until 10 gone "$pid" || fail "key service $pid of $node lives"
	done
	say "$node: holdfastd and key services killed"
done
still_moving udp
start_daemon client g254
must 30 "the client adopts" logged client 'sessions adopted'
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
current_is g254 || fail "the client moved"
still_moving udp

# They are asked once more, here and there: the session with g254 is lost.
must 20 "g253 is moved to" hf client failover 'Cluster 1' 200.0.0.253
must 30 "g253 is in use" current_is g253
still_moving udp
spi=$(spi_of 200.0.0.254)
on client bash -c 'ip xfrm state deleteall dst 200.0.0.254; ip xfrm state deleteall src 200.0.0.254'
lost() { [ "$(spi_of 200.0.0.254)" != "$spi" ]; }
must 20 "the session with g254 is over" lost
must 20 "g254 is moved to" hf client failover 'Cluster 1' 200.0.0.254
must 30 "g254 is in use" current_is g254
still_moving udp
nothing_lost
capture_assert_encrypted
