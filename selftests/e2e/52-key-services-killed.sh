#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Every key service of every node is killed, more than once: sessions do not notice, it is started again, and the next
# request works; then together with holdfastd, on both sides at once.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

standing
traffic
used=$(current_node)
before=$(spis client)
for round in 1 2; do
	declare -A old
	for node in client "${gateways[@]}"; do
		old[$node]=$(kms "$node")
		[ -n "${old[$node]}" ] || fail "$node has no key service"
	done
	for node in client "${gateways[@]}"; do
		kill_kms "$node"
	done
	for node in client "${gateways[@]}"; do
		must 20 "$node: started again" new_kms "$node" "${old[$node]}"
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

# All at once: both processes, here and there.
for node in client g254; do
	pids=$(kms "$node")
	# shellcheck disable=SC2086
	kill -KILL "${daemon[$node]}" $pids
done
for node in client g254; do
	poll_until 20 gone "${daemon[$node]}" || fail "$node lives"
	say "$node: holdfastd and key service killed"
done
still_moving udp
start_daemon client g254
must 30 "the client adopts" logged client 'sessions adopted'
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
current_is g254 || fail "the client moved"
nothing_lost
capture_assert_encrypted
