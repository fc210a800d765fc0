#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A client is started while there is something to send, the first time and once more after `down`: until then that leaves in clear;
# from some packet on it waits for its session, and none leaves in clear any more.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}"
serve t1
capture_start

clear='net 10.0.0.0/24'
in_clear() { [ "$(seen client "$begun" "$(now_ms)" "$clear")" -ge "$1" ]; }
started() { [ "$(grep -c 'started: instance client is up' "$work/client-daemon.log")" -ge "$1" ]; }
# number_of_last: of the last probe in clear: the low bytes of its sequence number, 60 bytes into the packet, little-endian.
number_of_last() {
	local words
	words=$(tcpdump -n -x -r "$work/client.pcap" "$clear" 2>/dev/null | awk '/0x0030:/ { words = $8 $9 } END { print words }')
	echo $((0x${words:0:2} + 0x${words:2:2} * 256 + 0x${words:4:2} * 65536))
}

for round in 1 2; do
	begun=$(now_ms)
	probe_udp "udp$round"
	must 20 "what is sent leaves in clear: the test can see it" in_clear 20
	on_background client client-daemon.log "$B/holdfastd" -p "$work/client.conf" -i client -v
	daemon[client]=$background
	must 120 "the client is ready" started $round
	ready=$(now_ms)
	must 60 "probes are answered" answered "udp$round"
	must 20 "and more of them" moving "udp$round" 100
	[ "$(seen client "$ready" "$(now_ms)" "$clear")" = 0 ] || fail "in clear after it was ready"
	# Each up to the last one, so none after one that waited.
	number=$(seen client "$begun" "$(now_ms)" "$clear")
	[ "$number" = $(($(number_of_last) + 1)) ] || fail "$number probes left in clear, the last of them was number $(number_of_last)"
	say "$number probes left in clear, before all that did not"
	probe_end "udp$round"
	if [ $round = 1 ]; then
		hf client down | grep -q 'in clear, from now on' || fail "down does not say that the way is open"
		daemon[client]=
	fi
done

# All else is as ever.
allowed="$allowed or (udp dst port 7000 and dst host 10.0.0.1)"
seen client 0 "$(now_ms)" "not ($allowed)" | grep -qx 0 || fail "something else in clear"
