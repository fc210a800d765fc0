#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What a TCP download gets through Holdfast, beside its floor: the kernel's ESP alone over the same links, AES-256-GCM, an
# xfrm interface, states by hand and no program of ours. In turn, several rounds, and the median of each: single ones differ by a
# half on an emulated processor, either way. `make bench` runs it.
. "$(dirname "$0")/../e2e/lib.sh"

rounds=5 window=10

# rate NAME: kilobytes a second of the download, over a window, once TCP has found its pace.
rate() {
	local begun bytes
	probe_tcp "$1" down -r 1000000000
	must 60 "$1: data moves" moving "$1" 2000000
	begun=$(now_ms) bytes=$(bytes_of "$1")
	pass "$window" "$1"
	rate=$((($(bytes_of "$1") - bytes) / ($(now_ms) - begun)))
	say "$1: $rate kB/s"
	probe_end "$1"
}

# The same way by hand: client to g252, the targets' answers to g252.
by_hand() {
	local node peer
	for node in client g252; do
		peer=g252
		[ $node = client ] || peer=client
		printf '%s\n' 'link add plain0 type xfrm dev wan0 if_id 7' 'link set plain0 up' | batch $node
		on $node ip xfrm state add src "${address[client]}" dst "${address[g252]}" proto esp spi 0x1001 if_id 7 mode tunnel \
			replay-window 4096 flag esn aead 'rfc4106(gcm(aes))' "0x$(printf '%072d' 1)" 128
		on $node ip xfrm state add src "${address[g252]}" dst "${address[client]}" proto esp spi 0x1002 if_id 7 mode tunnel \
			replay-window 4096 flag esn aead 'rfc4106(gcm(aes))' "0x$(printf '%072d' 2)" 128
		on $node ip xfrm policy add dir out if_id 7 tmpl src "${address[$node]}" dst "${address[$peer]}" proto esp mode tunnel
		for dir in in fwd; do
			on $node ip xfrm policy add dir $dir if_id 7 tmpl src "${address[$peer]}" dst "${address[$node]}" proto esp mode tunnel
		done
	done
	# The client has an address of its own inside: by hand nobody marks ESP.
	printf '%s\n' 'addr add 172.16.0.1/32 dev plain0' 'route add 10.0.0.1 dev plain0 src 172.16.0.1' | batch client
	echo 'route add 172.16.0.1 dev plain0' | batch g252
	echo 'route add 172.16.0.1 via 10.0.0.252' | batch t1
}
by_hand_end() {
	for node in client g252; do
		on $node /bin/sh -c 'ip link del plain0; ip xfrm state flush; ip xfrm policy flush'
	done
	echo 'route del 172.16.0.1' | batch t1
}

topology_up
pki
client_policy cluster=200.0.0.252 standby=0
gateway_policy g252
serve t1
ours=() floor=()
for ((round = 1; round <= rounds; round++)); do
	start_daemon g252 client
	warm
	rate "holdfast-$round"
	ours+=("$rate")
	stop_daemon client
	stop_daemon g252
	by_hand
	rate "by-hand-$round"
	floor+=("$rate")
	by_hand_end
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$(($# / 2 + 1))p"; }
awk -v ours="$(median "${ours[@]}")" -v floor="$(median "${floor[@]}")" 'BEGIN {
	printf "BENCH %-58s %7d kB/s floor %5d kB/s ratio %.2f\n", "a TCP download, 1 stream", ours, floor, ours / floor }'
