#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The gateway reboots within the detection time: its links are up, it has no sessions. Left like a dead one.
. "$(dirname "$0")/lib.sh"

# A detection time in which the new daemon is up for certain.
under_way defer=20 response=2
must 20 "another stands by" standby_ready 1
used=$(current_node)
kill_daemon "$used"
wipe "$used"
start_daemon "$used"
current_is "$used" || fail "the client left before the gateway was back: the test proves nothing"
must 60 "the client left $used" current_is_not "$used"
still_moving udp 20
probe_end udp

capture_assert_encrypted
