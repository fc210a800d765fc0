#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Payload that somebody on the path sends once more, or with other content, reaches no target, costs the session nothing, and keeps
# no dead gateway alive.
. "$(dirname "$0")/lib.sh"

under_way
must 20 "another stands by" standby_ready 1
used=$(current_node)
capture t1
begun=$(now_ms)

# errors NODE COUNTER: of the kernel's, by its name in /proc/net/xfrm_stat.
errors() { on "$1" cat /proc/net/xfrm_stat | awk -v name="$2" '$1 == name { print $2 }'; }
errors_at_least() { [ "$(errors "$1" "$2")" -ge "$3" ]; }
# The client's to the gateway. They take a sequence number of the replay window's, or one that is still to come.
for attack in 'replay XfrmInStateSeqError' 'alter XfrmInStateProtoError'; do
	read -r mode counter <<<"$attack"
	before=$(errors "$used" "$counter")
	on_background net "$mode.log" "$hostile" "$mode" -d client -s 100.0.0.1 -t "${address[$used]}" -n 200
	must 60 "$mode: it has been sent" gone "$background"
	grep -q '^sum sent=200' "$work/$mode.log" || fail "$mode: $(cat "$work/$mode.log")"
	must 20 "$mode: refused by $used ($counter)" errors_at_least "$used" "$counter" $((before + 200))
	still_moving udp
done
current_is "$used" || fail "the client left $used"
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"
[ "$(sum udp duplicates)" = 0 ] || fail "$(sum udp duplicates) packets came twice"
arrived=$(seen t1 "$begun" "$(now_ms)" 'udp dst port 7000')
[ "$arrived" -gt 0 ] && [ "$arrived" -le "$(sum udp sent)" ] || fail "$arrived packets at the target of $(sum udp sent)"

# The gateway's to the client, when it is dead.
probe_udp again
must 20 "probes are answered" answered again
before=$(errors client XfrmInStateSeqError)
on_background net replayed.log "$hostile" replay -d client -s "${address[$used]}" -t 100.0.0.1 -n 0 -i 10
replayer=$background
must 20 "the gateway's packets are sent once more" grep -q sending "$work/replayed.log"
power_off "$used"
must 20 "the client left $used all the same" current_is_not "$used"
still_moving again 20
end "$replayer" INT
say "replayed: $(tail -n 1 "$work/replayed.log")"
errors_at_least client XfrmInStateSeqError $((before + 1)) || fail "the client saw no replayed packet: the test proves nothing"
probe_end again
[ "$(sum again duplicates)" = 0 ] || fail "$(sum again duplicates) packets came twice"

capture_assert_encrypted
