#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Heartbeats and traffic are lost at 20 %, after a false alarm has moved the client between live gateways: that costs no payload
# of its own, and there is no storm of changes.
# limit: 240
. "$(dirname "$0")/lib.sh"

# HeartbeatDeferTime is short, so that the heartbeats play a part at all; the probes' own answers are signs of life.
standing defer=0.1 response=0.1 tries=2

probe_udp first -c 1 -w 20000
must 25 "a session stands" gone "${probes[first]}"
must 20 "another stands by" standby_ready 1

# A gateway that is silent for a moment is left, and lives.
moves() { get client .failovers; }
before=$(moves) used=$(current_node)
power_off "$used"
must 30 "it is left" at_least client .failovers $((before + 1))
power_on "$used"
# At rest, with nothing but heartbeats on the way.
loss 20
pass 15 "nothing but heartbeats, and some of them lost"
say "$(moves) changes"
# Then traffic: what gets lost is what the underlay loses (two ways at 20 %, 36 %), whatever Holdfast does meanwhile.
probe_udp udp -c 2000 -w 5000
must 120 "2000 probes" gone "${probes[udp]}"
lost=$(sum udp lost)
say "$lost of 2000 lost; $(moves) changes"
[ "$lost" -le 830 ] || fail "$lost of 2000 probes lost: more than the underlay's part"
[ "$(sum udp longest_ms)" -le 1500 ] || fail "an outage of $(sum udp longest_ms) ms"
[ $(($(moves) - before)) -le 15 ] || fail "a storm: $(moves) changes"
loss 0

# Afterwards it rests where it is.
settled() {
	local a
	a=$(moves)
	probe_udp "rest$RANDOM" -c 200 -w 1000
	poll_until 30 gone "$background"
	[ "$(moves)" = "$a" ]
}
must 60 "it rests" settled

capture_assert_encrypted
