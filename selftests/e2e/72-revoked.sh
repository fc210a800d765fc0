#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A client's certificate is revoked while it has sessions: when the gateways have read the list again, the sessions are over
# at once, at both ends, and there are no new ones. Nothing is sent in clear.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy standby=1
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
on_background client events.log "$B/holdfast" -i client events --json
on_background g252 g252-events.log "$B/holdfast" -i g252 events --json
warm
probe_udp udp
must 20 "probes are answered" answered udp
must 20 "another stands by" standby_ready 1

# reread NODE: its policy, and with it the files of its identity.
reread() { hf "$1" reload >/dev/null || fail "$1 does not reload"; }
sessions_of_client() { get client '[.clusters[0].gateways[] | select(.session)] | length'; }

# The same list as before: nothing happens.
reread g252
must 20 "probes are answered still" moving udp 20
[ "$(sessions_of_client)" = 2 ] || fail "the client has $(sessions_of_client) sessions"

"$B/holdfast" pki revoke "$work/pki" client >/dev/null
chmod -R a+rX "$work/pki"
no_clients() { is "$1" '.clients | length' 0; }
no_sessions() { [ "$(sessions_of_client)" = 0 ]; }
# A gateway that has not read the list again knows nothing of it: the client moves there.
for node in g252 g253; do
	reread "$node"
	must 30 "$node has no client" no_clients "$node"
	[ "$(states "$node")" = 0 ] || fail "$node has $(states "$node") states"
done
must 20 "the client uses g254" current_is g254
begun=$(now_ms)
reread g254
must 30 "g254 has no client" no_clients g254
must 30 "the client has no session" no_sessions
say "over after $(($(now_ms) - begun)) ms"
grep -q 'its certificate has been revoked' "$work/g252-events.log" || fail "g252 does not say why"
ended() { grep -F "${address[$1]}" "$work/events.log" | grep -q 'the gateway has ended it'; }
for node in "${gateways[@]}"; do
	ended "$node" || fail "the client was not told by $node"
done

refused() { grep -F "${address[$1]}" "$work/events.log" | grep -q 'did not authenticate.*revoked'; }
must 60 "g252 refuses the client" refused g252
must 60 "g254 refuses the client" refused g254
[ "$(current)" = none ] || fail "a session with $(current)"
capture_assert_encrypted
