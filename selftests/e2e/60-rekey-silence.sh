#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 300
# A renewal that the gateway asked for breaks off at its last message: the gateway uses the new keys, the client the old ones, and
# neither of the two has reached a limit. Then nobody sends for longer than unused states stay. The first packet after that is
# answered: the client has begun anew by itself.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rekey.inc"

rekey_up '' 'RekeyPackets = 1000' 5
probe_end down
must 60 "renewals" renewed 1
goal=$(($(failures) + 1))
cut DONE
must 60 "a renewal waits for DONE" broken_off 1
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"
must 30 "it has failed" failed $goal
on net nft delete table netdev cut
pass 40 "silence"
on client ping -qc 1 -W 5 "${address[t1]}" || fail "the first packet after the silence was not answered"
! grep -q 'session-ended' "$work/client-daemon.log" "$work/g252-daemon.log" || fail "a session ended"
capture_assert_encrypted
