#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What a client sent through its session does not come back in clear when the session has ended meanwhile: the gateway's own
# word that a target is unreachable, which quotes it. A new session has the address at once.
. "$(dirname "$0")/lib.sh"

standing
warm
used=$(current_node)
is "$used" .drops.clear 0 || fail "$used dropped $(get "$used" .drops.clear) packets as clear before"

# The gateway asks for a target that is not there three times: long enough for the session to end first.
on "$used" /bin/sh -c 'echo 4000 >/proc/sys/net/ipv4/neigh/lan0/retrans_time_ms'
power_off t3
on client /bin/bash -c "echo $marker >/dev/udp/${address[t3]}/7000"
asked_for() { on "$used" ip neigh show "${address[t3]}" dev lan0 | grep -q INCOMPLETE; }
must 10 "$used asks for t3" asked_for
stop_daemon client
must 10 "$used: the session is over" is "$used" '.clients | length' 0
asked_for || fail "$used has given up already: the test proves nothing"
must 40 "$used: its word about t3 is dropped" at_least "$used" .drops.clear 1

start_daemon client
warm
capture_assert_encrypted
