#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 500
# What the policy tunnels does not leave in clear: not IPv6, which is not carried yet, and not after a crash whose next start fails;
# but after `holdfast down`, which takes everything down whether a daemon runs, does not, or is only starting.
. "$(dirname "$0")/lib.sh"

topology_up
# The client has IPv6 on its underlay, and a default route: without a rule of ours, packets would leave.
on client /bin/sh -c 'echo 0 >/proc/sys/net/ipv6/conf/wan0/disable_ipv6'
printf '%s\n' 'addr add fd00:100::1/64 dev wan0 nodad' 'neigh add fd00:100::254 lladdr 02:00:00:00:00:01 dev wan0' \
	'route add default via fd00:100::254 dev wan0' | batch client

# Everything tunnelled that is seen in clear at the client's cable; a ping to the router marks how far the capture is.
mark='icmp and dst host 100.0.0.254'
on_background net clear.err tcpdump -Z root -n -i client -U -w "$work/clear.pcap" "dst net 10.0.0.0/24 or dst net fd00:10::/64 or ($mark)"
capture=$background
poll_until 20 grep -q 'listening on' "$work/clear.err" || fail "no capture"
count() { tcpdump -n -r "$work/clear.pcap" "$1" 2>/dev/null | wc -l; }
more_than() { [ "$(count "$1")" -gt "$2" ]; }
marks=0
# clear_is NUMBER WORDS: so many packets in clear so far.
clear_is() {
	on client ping -qc 1 -W 5 100.0.0.254 >/dev/null || fail "the router does not answer"
	must 20 "the capture is up to date" more_than "$mark" $marks
	marks=$(count "$mark")
	[ "$(count "not ($mark)")" = "$1" ] || fail "$2: in clear: $(tcpdump -n -r "$work/clear.pcap" "not ($mark)" 2>/dev/null | tail -n 3)"
	say "$2"
}
try_v6() { ! on client ping -6 -qc 3 -i 0.2 -W 1 fd00:10::1 >/dev/null 2>&1 || fail "fd00:10::1 answers"; }
try_v4() { ! on client ping -qc 3 -i 0.2 -W 1 10.0.0.1 >/dev/null 2>&1 || fail "10.0.0.1 answers"; }

try_v6
try_v4
clear_is 6 "without Holdfast both leave in clear: the test can see it"

cluster_up tunnels='Tunnel 1 = 10.0.0.1 - 10.0.0.3 Cluster 1
Tunnel 2 = fd00:10::/64 Cluster 1'
serve t1
capture_start
# The client's own words about its IPv6 address, and the marks.
allowed+=" or dst net ff02::/16 or (icmp and host 100.0.0.254)"
warm
try_v6
clear_is 6 "IPv6 does not leave while the daemon runs"
on client ip -6 rule del pref 7546
rule_is_back() { grep -q 'reconciled: .*rules' "$work/client-daemon.log" && on client ip -6 rule | grep 'lookup 7546' >/dev/null; }
must 20 "the rule of IPv6 is back, and that is said" rule_is_back

kill_daemon client
try_v6
clear_is 6 "nothing leaves after a crash"
# The key service finds out, when everything else stands already.
cp -a "$work/pki" "$work/broken"
echo broken >"$work/broken/client.pem"
sed "s,$work/pki/,$work/broken/," "$work/client.conf" >"$work/broken.conf"
on client "$B/holdfastd" -p "$work/broken.conf" -i client >"$work/again.log" 2>&1 && fail "started with a broken certificate"
say "the next start fails: $(tail -n 1 "$work/again.log")"
# What the crash has left goes on: through the session, or not at all.
on client ping -qc 3 -i 0.2 -W 1 10.0.0.1 >/dev/null 2>&1 || true
try_v6
clear_is 6 "nothing leaves after the failed start"
capture_assert_encrypted

start_daemon client
warm
hf client down | grep -q 'in clear, from now on' || fail "down does not say that the way is open"
try_v4
clear_is 9 "after holdfast down the way is open again"

# A first start that fails, of a supervisor that tries again: closed from then on, whatever it failed for.
sed 's|^Underlay = .*|Underlay = wan7|' "$work/client.conf" >"$work/early.conf"
for policy in early broken; do
	on client "$B/holdfastd" -k -p "$work/$policy.conf" -i client >"$work/again.log" 2>&1 && fail "started with $policy.conf"
	try_v4
	try_v6
	clear_is 9 "nothing leaves after a first start that fails: $(tail -n 1 "$work/again.log")"
done
hf client down | grep -q 'in clear, from now on' || fail "down of a closed way does not say that it is open"
try_v4
clear_is 12 "holdfast down has opened it"
on client "$B/holdfastd" -p "$work/early.conf" -i client >"$work/again.log" 2>&1 && fail "started with early.conf"
try_v4
clear_is 15 "a failed start of somebody who does not try again leaves nothing"

# Where no start is to be had, `down` is the way out all the same, of what a crash has left,
nothing_left() {
	! on client ip link show hf0 2>/dev/null && [ -z "$(on client ip rule show pref 7546; on client ip route show table 7546; on client ip xfrm state)" ] &&
		[ -z "$(on client tc filter show dev wan0 egress)" ] && ! on client ip -o link show wan0 | grep xdp &&
		! on client test -e /sys/fs/bpf/holdfast && ! on client test -e /run/holdfast
}
start_daemon client
warm
kill_daemon client
on client "$B/holdfastd" -p "$work/broken.conf" -i client >>"$work/again.log" 2>&1 && fail "started with a broken certificate"
! on client "$B/holdfast" -i other down >"$work/down.txt" 2>&1 || fail "another instance is taken down"
on client ip link show hf0 >/dev/null || fail "another instance's name has taken hf0 down"
hf client down | grep -q 'in clear, from now on' || fail "down of what a crash has left does not say that the way is open"
nothing_left || fail "left behind"
try_v4
clear_is 18 "after holdfast down without a daemon the way is open again"
! hf client down >"$work/down.txt" 2>&1 || fail "down of nothing"
grep -q 'nothing of it is left' "$work/down.txt" || fail "down of nothing says: $(cat "$work/down.txt")"

# and of a start that does not come to its end: its key service says nothing.
start_daemon client
warm
kill_daemon client
mkdir "$work/mute"
cp "$B/holdfastd" "$work/mute"
cp "$probe" "$work/mute/holdfast-kms"
chmod -R a+rx "$work/mute"
on_background client client-daemon.log "$work/mute/holdfastd" -p "$work/client.conf" -i client
daemon[client]=$background
must 60 "it answers" daemon_answers client
hf client down | grep -q 'in clear, from now on' || fail "down in the middle of a start does not say that the way is open"
nothing_left || fail "left behind by the start"
daemon[client]=
try_v4
clear_is 21 "after holdfast down in the middle of a start the way is open again"
end "$capture" INT
