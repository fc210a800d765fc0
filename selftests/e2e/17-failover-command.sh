#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# `holdfast failover` between two live gateways loses no packet.
. "$(dirname "$0")/lib.sh"

under_way defer=2 response=1
for round in 1 2 3; do
	must 20 "another stands by" standby_ready 1
	used=$(current_node)
	hf client failover 'Cluster 1' || fail "failover refused"
	must 20 "the client left $used" current_is_not "$used"
done
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"
[ "$(sum udp duplicates)" = 0 ] || fail "$(sum udp duplicates) packets doubled"

capture_assert_encrypted
