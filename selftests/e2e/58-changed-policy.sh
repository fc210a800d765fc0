#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 500
# A start after SIGKILL that reads another policy: what stays loses nothing, though its cluster is counted differently now;
# what is gone is ended. A start that fails, at whichever step, leaves all as it is. A gateway that takes no clients any more adopts none.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

standing cluster='200.0.0.252 200.0.0.253'
traffic
[ "$(current_node)" = g252 ] || fail "$(current) is in use"
spi=$(spi_of 200.0.0.252)
[[ $(slot_name 0) == "Cluster 1"* ]] || fail "slot 0 is $(slot_name 0)"

# fails_to_start WHY [COMMAND]...: as it was with client.conf; what runs goes on.
stands() { on client bash -c 'ip -o link show hf0; ip rule show pref 7546; ip route show table 7546 | sort; ip xfrm state | grep -c ^src
	find /sys/fs/bpf/holdfast | sort; tc filter show dev hf0 egress | grep -c hf_tc_encrypt'; }
fails_to_start() {
	local why=$1 before after
	shift
	before=$(stands)
	on_background client client-daemon.log "$@" "$B/holdfastd" -p "$work/client.conf" -i client -v
	poll_until 60 gone "$background" || fail "it starts: $why"
	grep -q "$why" "$work/client-daemon.log" || fail "not said: $why"
	after=$(stands)
	[ "$after" = "$before" ] || { diff <(echo "$before") <(echo "$after"); fail "a failed start changed what runs: $why"; }
	still_moving udp
	still_moving tcp
	say "no start: $why"
}

kill_daemon client
cp "$work/client.conf" "$work/good.conf"
sed 's|^Certificate = .*|Certificate = /nowhere.pem|' "$work/good.conf" >"$work/client.conf"
fails_to_start nowhere.pem
sed 's|^Underlay = .*|Underlay = wan7|' "$work/good.conf" >"$work/client.conf"
fails_to_start 'no interface wan7'
# The sockets of the start, then its maps: none too few for the one, too few for the other.
cp "$work/good.conf" "$work/client.conf"
fails_to_start 'the kernel did not load the BPF programs' prlimit --nofile=24
on client /bin/sh -c 'rm -f /run/holdfast/client/control.sock; mkdir /run/holdfast/client/control.sock'
fails_to_start 'control socket'
on client rmdir /run/holdfast/client/control.sock
# Nothing of the cluster in use in a policy whose start fails last of all.
mkdir "$work/broken" && cp "$work"/pki/* "$work/broken" && cp "$work/pki/g252.key" "$work/broken/client.key"
sed -e "s|$work/pki/|$work/broken/|" -e 's|^Cluster 1 = .*|Cluster 5 = 200.0.0.254|' \
	-e 's|^Tunnel 1 = .*|Tunnel 1 = 10.0.0.2 - 10.0.0.3 Cluster 5|' "$work/good.conf" >"$work/client.conf"
fails_to_start 'private key'

# Another cluster comes first, a gateway and a tunnel are gone.
sed -e 's|^Cluster 1 = .*|Cluster 2 = 200.0.0.254\nCluster 1 = 200.0.0.252|' \
	-e 's|^Tunnel 1 = .*|Tunnel 1 = 10.0.0.1 Cluster 1\nTunnel 2 = 10.0.0.2 Cluster 2|' "$work/good.conf" >"$work/client.conf"
restart client
said client 'names no such gateway any more'
# Each has the slot that it had, though Cluster 2 is the first now.
[[ $(slot_name 0) == "Cluster 1"* ]] || fail "slot 0 is $(slot_name 0)"
[[ $(slot_name 1) == "Cluster 2"* ]] || fail "slot 1 is $(slot_name 1)"
[ "$(spi_of 200.0.0.252)" = "$spi" ] || fail "not the same session"
is client '.clusters[] | select(.name == "Cluster 1") | .current' 200.0.0.252 || fail "the current gateway changed"
must 20 "the session that is gone has no states" states_are client 2
! on client ip route show table 7546 | grep 10.0.0.3 >/dev/null || fail "the route of a tunnel that is gone stays"
! on client ip route get 10.0.0.3 | grep hf0 >/dev/null || fail "10.0.0.3 is still tunnelled"
still_moving udp
is client '.clusters[] | select(.name == "Cluster 2") | .current' null || fail "the new cluster was asked for"
nothing_lost
stop_daemon client

# The gateway takes nobody any more.
cp "$work/good.conf" "$work/client.conf"
start_daemon client
probe_udp after
must 30 "probes are answered" answered after
must 30 "another stands by" standby_ready 1
kill_daemon g252
gateway_policy g252 extra='Accept = NO'
restart g252
said g252 'accepts no clients any more'
must 30 "its states are gone" states_are g252 0
is g252 '.clients | length' 0 || fail "it has clients"
! on g252 ip neigh show proxy | grep 100.0.0.1 >/dev/null || fail "the claim stays"
must 30 "the client left it" current_is_not g252
still_moving after
probe_end after
capture_assert_encrypted
