#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Traffic with a DSCP of its own leaves with the DSCP that heartbeats have, and has its own again behind the tunnel.
. "$(dirname "$0")/lib.sh"

topology_up
cluster_up
capture_start
capture t1
begun=$(now_ms)
pinged() { on client ping -qc 1 -W 5 10.0.0.1 >/dev/null; }
must 30 "a ping is answered" pinged
# DSCP 46, expedited forwarding.
on client ping -qc 20 -i 0.05 -W 5 -Q 0xb8 10.0.0.1 >"$work/ping.log" || fail "pings are not answered"
answered=$(get client .heartbeats.answered)
must 30 "heartbeats are answered" at_least client .heartbeats.answered $((answered + 3))
[ "$(seen t1 "$begun" "$(now_ms)" 'icmp[icmptype] = icmp-echo and ip[1] & 0xfc = 0xb8')" = 20 ] ||
	fail "not 20 packets with DSCP 46 at the target"
for who in src dst; do
	own="$who host 100.0.0.1"
	[ "$(seen client "$begun" "$(now_ms)" "ip proto 50 and not $beat and $own")" -ge 20 ] || fail "no ESP was seen"
	[ "$(seen client "$begun" "$(now_ms)" "$beat and $own")" -ge 3 ] || fail "no heartbeats were seen"
	tcpdump -n -v -r "$work/client.pcap" "ip proto 50 and not $beat and $own" 2>/dev/null |
		sed -n 's/^.*(tos \(0x[0-9a-f]*\).*/\1/p' | sort -u >"$work/traffic.tos"
	tcpdump -n -v -r "$work/client.pcap" "$beat and $own" 2>/dev/null |
		sed -n 's/^.*(tos \(0x[0-9a-f]*\).*/\1/p' | sort -u >"$work/beats.tos"
	[ -s "$work/beats.tos" ] && diff "$work/traffic.tos" "$work/beats.tos" ||
		fail "$own: traffic has TOS $(xargs <"$work/traffic.tos"), heartbeats $(xargs <"$work/beats.tos")"
	say "$own: TOS $(xargs <"$work/beats.tos") for both"
done

capture_assert_encrypted
