#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# `holdfast reload` on a gateway: what its policy no longer allows a client ends that client's session, and only that; and it
# takes no more sessions, or takes them again, as Accept says. Reloads without a change leave the clients alone.
. "$(dirname "$0")/lib.sh"

branch=$'\n[PEER]\nPeer1 = 10.9.0.0/24 client'
topology_up
pki
client_policy heartbeat=NONE cluster=200.0.0.252 standby=0 extra='Address = 10.9.0.5'
gateway_policy g252 extra="$branch"
start_daemon g252 client
printf '%s\n' 'route add 10.9.0.0/24 dev lan0' | batch t1
serve t1
capture_start
probe_udp udp
must 30 "probes are answered" answered udp

session() { get client '.clusters[0].gateways[0].session.spi_in'; }
listens() { on g252 ss -Hltn 'sport = 7546' | grep -q .; }
silent() { ! listens; }
reload() { hf g252 reload || fail "reload failed"; }
before=$(session)
reload
gateway_policy g252 extra="$branch"$'\nPeer2 = 10.8.0.0/24 other'
reload
[ "$(session)" = "$before" ] || fail "another session after a reload that does not concern the client"
[ "$(get g252 '.clients | length')" = 1 ] || fail "the client is gone"
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"

gateway_policy g252
reload
is g252 '.clients | length' 0 || fail "a client whose address is not allowed any more has a session"
grep -q 'PEER. no longer allows' "$work/g252-daemon.log" || fail "it does not say why"

# Nobody else may come: and with this Accept, not even who is allowed.
gateway_policy g252 extra=$'Accept = NO\n'"$branch"
reload
must 30 "it does not listen, with Accept = NO" silent
gateway_policy g252 extra="$branch"
reload
must 30 "it listens, with Accept = YES" listens
# The client finds out by itself: its session is one that the gateway has forgotten.
stop_daemon client
start_daemon client
probe_udp again
must 30 "probes are answered again" answered again
probe_end again

capture_assert_encrypted
