#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Two of three gateways die, one after the other: the last one is used, and a TCP connection lives through both.
. "$(dirname "$0")/lib.sh"

under_way
probe_tcp down down
must 20 "data moves" moving down 20000

for round in 1 2; do
	used=$(current_node)
	power_off "$used"
	must 30 "the client left $used" current_is_not "$used"
	still_moving udp 30
done
still_moving down
probe_end udp
probe_end down
[ "$(sum down connection)" = same ] || fail "the connection broke"
current_is g254 || fail "not the last one: $(current)"

capture_assert_encrypted
