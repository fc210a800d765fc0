#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 900
# Out of file descriptors, of memory, of map entries, of room for netlink's notices, of disk; a clock that jumps: each is
# said, nothing crashes, what runs goes on, and it is over when it is over.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

alive() { ! gone "${daemon[$1]}" || fail "$1: holdfastd is gone: $(tail -n 3 "$work/$1-daemon.log")"; }
# standby: the address of one.
standby() { get client '[.clusters[0].gateways[] | select(.state == "standby") | .address][0]'; }
# drop_standby: its states go, and so a new session is wanted. Its outbound state's number is all that is known of it.
drop_standby() {
	on client ip xfrm state delete src 100.0.0.1 dst "$1" proto esp spi \
		"$(on client ip xfrm state | sed -n "/^src 100.0.0.1 dst $1\$/{n;s/.*spi \(0x[0-9a-f]*\).*/\1/p}" | head -n 1)"
}
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/${daemon[$1]}/stat"; }

standing standby=1
traffic
used=$(current_node)

# File descriptors: no session, no answer on the control socket, and no spinning either.
other=$(standby)
prlimit --pid "${daemon[client]}" --nofile=3:
drop_standby "$other"
said client 'shortage: short of file descriptors'
timeout 3 nsenter -t "${holder[client]}" -n -m -- "$B/holdfast" -i client status >/dev/null 2>&1 || say "no answer on the control socket"
before=$(cpu_ticks client)
pass 5 "out of descriptors"
ticks=$(($(cpu_ticks client) - before))
say "$ticks ticks of CPU in 5 s"
[ "$ticks" -lt 250 ] || fail "it spins: $ticks ticks"
still_moving udp
prlimit --pid "${daemon[client]}" --nofile=1024:
must 30 "a standby session is made" standby_ready 1
must 30 "it is over" logged client 'shortage-over: no longer short of file descriptors'

# Memory: what is allocated now is all there is. (Under ASan every program ends there: its own memory is what cannot be had.)
if [[ $B != */san ]]; then
	size=$(awk '/^VmSize/ { print $2 * 1024 }' "/proc/${daemon[client]}/status")
	prlimit --pid "${daemon[client]}" --as="$size":
	for round in 1 2 3 4 5 6 7 8; do
		timeout 5 nsenter -t "${holder[client]}" -n -m -- "$B/holdfast" -i client status --json >/dev/null 2>&1 || true
	done
	drop_standby "$(on client ip xfrm state | sed -n 's/^src 100.0.0.1 dst \(.*\)/\1/p' | grep -v "${address[$used]}" | head -n 1)"
	pass 3 "out of memory"
	alive client
	still_moving udp
	prlimit --pid "${daemon[client]}" --as=unlimited:
	must 30 "a standby session is made" standby_ready 1
fi

# The clock jumps: a day on, two back, and where it was. States that are younger than a second would end with it: only then does
# the kernel hold their time against the clock before it has set its timer (xfrm_timer_handler(), net/xfrm/xfrm_state.c).
grown_up() { at_least client '[.clusters[0].gateways[] | select(.session) | .session.established_s] | min' 3; }
must 20 "no session is younger than three seconds" grown_up
sessions=$(spis client)
for jump in 86400 -172800 86400; do
	date -s "@$(($(date +%s) + jump))" >/dev/null
	say "the clock jumped by $jump s"
	still_moving udp
	still_moving tcp
	alive client
done
[ "$(spis client)" = "$sessions" ] || fail "sessions ended with the clock"
is client .failovers 0 || fail "a failover"
nothing_lost

probe_udp after -i 20
must 20 "probes are answered" answered after

# hf0 is made anew without a descriptor for the rest of it: all of that comes later. What else is changed meanwhile is put right at
# once, though the one thing still fails.
rule_stands() { on client ip rule | grep 'lookup 7546' >/dev/null; }
has_programs() { on client tc filter show dev hf0 ingress | grep hf_tc_decrypted >/dev/null && on client tc filter show dev hf0 egress | grep hf_tc_encrypt >/dev/null; }
before=$(times_logged client 'cannot set network sysctls of hf0')
prlimit --pid "${daemon[client]}" --nofile=3:
on client ip link del hf0
must 20 "hf0 cannot be finished" logged_more client 'cannot set network sysctls of hf0' "$before"
on client ip rule del pref 7546
must 3 "the rule is back all the same" rule_stands
prlimit --pid "${daemon[client]}" --nofile=1024:
must 30 "hf0 has its programs" has_programs
still_moving after 30

# Notices: more than fit while nobody reads, the removal of the rule among them.
kill -STOP "${daemon[client]}"
for i in {1..60}; do
	for k in {1..250}; do
		echo "route add 203.0.$i.$k/32 dev wan0 table 99"
	done
done | batch client
on client ip rule del pref 7546
kill -CONT "${daemon[client]}"
said client 'shortage: short of room for the kernel'
must 30 "the rule is back all the same" rule_stands
on client ip route flush table 99
still_moving after

# Map entries: a gateway that has as many clients as it can takes no more; another one does.
full=$(get client '[.clusters[0].gateways[] | select(.session == null) | .address][0]')
full=g${full##*.}
# It may have had this client before, and then has an entry for it.
stop_daemon $full
start_daemon $full
is $full '.clients | length' 0 || fail "$full has a client already"
fill_claims $full
! hf client failover 'Cluster 1' "${address[$full]}" || fail "moved to a gateway that is full"
said $full 'shortage: short of entries in a map'
alive $full
current_is "$used" || fail "the client left for a gateway that is full"
still_moving after
kill_daemon $full
restart $full
logged $full 'left over and removed: 1310' || fail "not swept: $(grep 'left over' "$work/$full-daemon.log")"
must 30 "$full takes it now" hf client failover 'Cluster 1' "${address[$full]}"
must 30 "$full is in use" current_is $full
still_moving after
probe_end after

# Disk: a start that cannot write down what it changes applies nothing.
stop_daemon client
on client mount -t tmpfs -o size=64k tmpfs /run
on client mkdir -p /run/holdfast/client
on client bash -c 'cat /dev/zero >/run/full 2>/dev/null' || true
on_background client client-daemon.log "$B/holdfastd" -p "$work/client.conf" -i client -v
poll_until 60 gone "$background" || fail "it starts on a full disk"
grep -i 'no space left' "$work/client-daemon.log" || fail "not said: $(tail -n 3 "$work/client-daemon.log")"
! rule_stands || fail "something was applied"
on client rm /run/full
start_daemon client
probe_udp again
must 30 "probes are answered" answered again
probe_end again
stop_daemon client
capture_assert_encrypted
