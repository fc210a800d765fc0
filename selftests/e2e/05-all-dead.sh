#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# All gateways die, then one returns: traffic is back within 3 s, without a user.
. "$(dirname "$0")/lib.sh"

under_way
probe_tcp down down
must 20 "data moves" moving down 20000
for node in "${gateways[@]}"; do
	power_off "$node"
done
# Long enough that every retry and back-off has come into play: requests to each gateway have timed out.
silent() {
	[ "$(($(now_ms) - dark))" -ge 15000 ]
}
dark=$(now_ms)
must 40 "dark for 15 s" silent

back=$(now_ms)
power_on g253
still_moving udp 30
say "back after $(($(now_ms) - back)) ms"
[ "$(($(now_ms) - back))" -le $((${RETURN_LIMIT_MS:-3000} + 2000)) ] || fail "not within 3 s (and 2 s for the VM)"
must 30 "g253 is in use" current_is g253
still_moving down
# What was held all that time was too much, and most of it too old: it is lost, and said to be.
at_least client .drops.held_lost 100 || fail "the client has lost $(get client .drops.held_lost) held packets, it says"
probe_end udp
probe_end down
[ "$(sum down connection)" = same ] || fail "the connection broke"

capture_assert_encrypted
