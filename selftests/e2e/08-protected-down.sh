#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway that is cut from its targets only (its protected link is down) is left within the same bound.
. "$(dirname "$0")/lib.sh"

under_way
must 20 "another stands by" standby_ready 1
used=$(current_node)
protected_down "$used"
must 20 "the client left $used" current_is_not "$used"
still_moving udp 20
is "$used" .health.gate closed || fail "$used does not say that its gate is closed"
probe_end udp
[ "$(sum udp longest_ms)" -le 5000 ] || fail "an outage of $(sum udp longest_ms) ms"

# And it is a gateway again once its link is back.
protected_up "$used"
must 20 "$used: its gate is open again" is "$used" .health.gate open

capture_assert_encrypted
