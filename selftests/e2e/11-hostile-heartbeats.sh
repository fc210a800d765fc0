#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Forged answers do not keep a dead gateway alive; a stranger's heartbeats are not answered; what a reflector sent, thrown
# back at it, makes no loop.
. "$(dirname "$0")/lib.sh"

under_way
must 20 "another stands by" standby_ready 1
used=$(current_node)

# A stranger: another address on the client's side of the router.
on net ip route add 100.0.0.66 dev client
on client ip addr add 100.0.0.66/32 dev wan0
on_background client stranger.log "$hostile" beat -s 100.0.0.66 -t "${address[$used]}" -n 20 -i 50
must 30 "the stranger is done" gone "$background"
grep -q 'sent=20 answers=0$' "$work/stranger.log" || fail "a stranger got answers: $(cat "$work/stranger.log")"
at_least "$used" .drops.beat_stranger 20 || fail "beat_stranger: $(get "$used" .drops.beat_stranger)"

# On the path: every answer of the gateway's goes back to it. The client is silent, so that it beats.
probe_end udp
on_background net throw.log "$hostile" throw -d client -s 100.0.0.1 -t "${address[$used]}"
thrower=$background
poll_until 30 grep -q listening "$work/throw.log"
before=$(get client .heartbeats.answered)
must 30 "heartbeats go on" at_least client .heartbeats.answered $((before + 10))
end "$thrower" INT
grep -q 'thrown=[1-9]' "$work/throw.log" || fail "nothing was thrown: the test proves nothing"
seen=$(sed -n 's/^sum seen=\([0-9]*\).*/\1/p' "$work/throw.log")
asked=$(($(get client .heartbeats.sent) - before + 10))
say "$(cat "$work/throw.log" | tail -n 1), $asked asked"
# Each question has an answer, and that one, thrown back, may have one more. A loop would be thousands.
[ "$seen" -le $((asked * 6 + 20)) ] || fail "a loop: $seen heartbeats on the wire for $asked"

# The gateway dies, and somebody answers for it.
probe_udp again
must 20 "probes are answered" answered again
power_off "$used"
on_background net forge.log "$hostile" beat -s "${address[$used]}" -t 100.0.0.1 -n 0 -i 10
forger=$background
must 20 "the client left $used all the same" current_is_not "$used"
still_moving again 20
end "$forger" INT
say "forged: $(tail -n 1 "$work/forge.log")"
at_least client .drops.beat_unasked 1 || fail "the client saw no forged answer: the test proves nothing"
probe_end again

capture_assert_encrypted
