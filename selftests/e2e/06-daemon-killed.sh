#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The gateway's daemon is killed together with its datapath; the machine itself lives on: left like a dead one.
. "$(dirname "$0")/lib.sh"

under_way
must 20 "another stands by" standby_ready 1
used=$(current_node)
kill_daemon "$used"
wipe "$used"
must 20 "the client left $used" current_is_not "$used"
still_moving udp 20
probe_end udp
[ "$(sum udp longest_ms)" -le 6000 ] || fail "an outage of $(sum udp longest_ms) ms"

capture_assert_encrypted
