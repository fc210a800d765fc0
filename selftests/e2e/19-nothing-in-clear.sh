#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A gateway fails closed for its protected network: what a target sends to a client that has no session there is dropped and
# counted, not forwarded on the underlay in clear. Data of a session, in either direction and in large segments, is not.
. "$(dirname "$0")/lib.sh"

standing standby=0

probe_tcp up up
probe_tcp down down
must 30 "data moves to the target" moving up 200000
must 30 "data moves to the client" moving down 200000
used=$(current_node)
is "$used" .drops.clear 0 || fail "$used dropped $(get "$used" .drops.clear) packets of a session as clear"
is client .drops.clear 0 || fail "a node that protects nothing counts clear"

# A gateway that the client has no session with, and that forwards: it would know the way, by its default route.
other=g254
[ "$used" != "$other" ] || other=g253
is "$other" '[.clients[] | select(.session)] | length' 0 || fail "$other has a session"
on "$other" ip route get 100.0.0.77 | grep -q wan0 || fail "$other knows no way in clear: this proves nothing"
printf '%s\n' "route add 100.0.0.77 via 10.0.0.${other#g}" | batch t1
on t1 ping -qc 3 -i 0.2 -W 1 100.0.0.77 >/dev/null && fail "there was an answer"
must 30 "$other: dropped under clear" at_least "$other" .drops.clear 3
# The client's own address, as after a failover that the target has not heard of.
printf '%s\n' "route replace 100.0.0.1 via 10.0.0.${other#g} dev lan0" | batch t1
must 30 "$other: the answers to the client as well" at_least "$other" .drops.clear 4
printf '%s\n' 'route replace 100.0.0.1 dev lan0' | batch t1
still_moving down
still_moving up
probe_end up
probe_end down
[ "$(sum down connection)$(sum up connection)" = samesame ] || fail "a connection broke"

capture_assert_encrypted
