#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway whose underlay has no link claims nobody: its clients go elsewhere and cannot tell it so. With its link back it claims
# those that have stayed, before they say anything, and not the one that has moved.
. "$(dirname "$0")/lib.sh"

standing heartbeat=DEFERRED standby=1
warm
used=$(current_node)
claimed() { is "$1" '.clients[] | select(.claimed) | .address' "${address[client]}"; }
unclaimed() { is "$1" '[.clients[] | select(.claimed)] | length' 0; }
proxies() { on "$1" ip neigh show proxy dev lan0 | grep -q "${address[client]}"; }
must 10 "$used claims the client" claimed "$used"

# An idle client notices nothing. Nor does it send anything: that it is claimed again is the gateway's doing.
underlay_down "$used"
must 10 "$used: claims nobody" unclaimed "$used"
! proxies "$used" || fail "$used answers for the client still"
underlay_up "$used"
must 20 "$used: claims the idle client again" claimed "$used"
current_is "$used" || fail "the client has moved to $(current)"
on t1 ping -qc 3 -W 2 "${address[client]}" >/dev/null || fail "a target does not reach the idle client"

# With traffic it moves.
probe_udp udp
must 20 "probes are answered" answered udp
underlay_down "$used"
must 20 "the client left $used" current_is_not "$used"
still_moving udp
must 10 "$used: claims nobody" unclaimed "$used"
other=$(current_node)
must 10 "$other claims the client" claimed "$other"
underlay_up "$used"
pass 5 "$used has its link again"
unclaimed "$used" || fail "$used claims a client that has moved"
claimed "$other" || fail "$other has lost the claim"
still_moving udp
probe_end udp

capture_assert_encrypted
