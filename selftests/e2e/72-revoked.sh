#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 500
# A gateway's certificate is revoked while it is in use, then a client's that has sessions: when the other end has read the list
# again, the sessions are over at once, at both ends, and there are no new ones. Nothing is sent in clear.
. "$(dirname "$0")/lib.sh"

topology_up
pki
client_policy standby=2 timeout=20
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
on_background client events.log "$B/holdfast" -i client events --json
for node in g252 g254; do
	on_background $node $node-events.log "$B/holdfast" -i $node events --json
done
warm
probe_udp udp
must 20 "probes are answered" answered udp
must 60 "the others stand by" standby_ready 2

# reread NODE: its policy, and with it the files of its identity.
reread() { hf "$1" reload >/dev/null || fail "$1 does not reload"; }
sessions_of_client() { get client '[.clusters[0].gateways[] | select(.session)] | length'; }

# times EVENTS FILTER: when that happened, in ms; by the clock of what happens, not of who looks.
times() { gojq -r "select($2) | .time * 1000 | floor" "$work/$1"; }
# over_at_once EVENTS PEER: the last session with it ended within 3 s of the reload before it.
over_at_once() {
	local read ended
	ended=$(times "$1" ".event == \"session-ended\" and (.text | contains(\"$2\"))" | tail -n 1)
	read=$(times "$1" '.event == "reload"' | awk -v ended="${ended:-0}" '$1 <= ended + 1000' | tail -n 1)
	say "$1: $2: reload at ${read:-none}, over at ${ended:-none}"
	[ -n "$ended" ] && [ -n "$read" ] && [ "$ended" -le $((read + 3000)) ] || fail "the session with $2 was not over at once"
}

# The same list as before: nothing happens.
reread g252
must 20 "probes are answered still" moving udp 20
[ "$(sessions_of_client)" = 3 ] || fail "the client has $(sessions_of_client) sessions"

# The gateway in use. With Standby = 2 the client goes on wanting a session with it, and is to refuse it.
current_is g252 || hf client failover 'Cluster 1' "${address[g252]}" || fail "no failover to g252"
must 20 "g252 is used" current_is g252
"$B/holdfast" pki revoke "$work/pki" g252 >/dev/null
chmod -R a+rX "$work/pki"
reread client
states_with_g252() { on client ip xfrm state | grep -c "${address[g252]}" || true; }
g252_is_over() { [ "$(states_with_g252)" = 0 ] && current_is_not g252; }
must 10 "g252 is not used any more" g252_is_over
over_at_once events.log "${address[g252]}"
grep -F "${address[g252]}" "$work/events.log" | grep -q 'its certificate has been revoked' || fail "the client does not say why"
# refusals FILTER: by the client, of g252.
refusals() { grep -F "${address[g252]}" "$work/events.log" | grep -c 'certificate of .* has been revoked' || true; }
refused_more() { [ "$(refusals)" -gt "$1" ]; }
no_clients() { is "$1" '.clients | length' 0; }
must 30 "g252 has heard of it" no_clients g252
sessions=$(grep -c '"event":"session"' "$work/events.log")
pass 20 "no session with g252"
must 60 "the client asks g252 again, and refuses it" refused_more 0
[ "$(grep -c '"event":"session"' "$work/events.log")" = "$sessions" ] || fail "a session: $(grep '"event":"session"' "$work/events.log" | tail -n 1)"
[ "$(states_with_g252)" = 0 ] || fail "states with g252"
[ "$(sessions_of_client)" = 2 ] || fail "the client has $(sessions_of_client) sessions"
still_moving udp
probe_end udp
# What was under way through it is not taken from it any more; all else goes through the next one at once.
[ "$(sum udp longest_ms)" -le 1000 ] || fail "an outage of $(sum udp longest_ms) ms"

# With a certificate that is not revoked it is a gateway like before.
"$B/holdfast" pki issue "$work/pki" g252 --ip "${address[g252]}" >/dev/null
chmod -R a+rX "$work/pki"
reread g252
must 60 "it can be used" hf client failover 'Cluster 1' "${address[g252]}"
must 30 "it is used" current_is g252
probe_udp again
must 20 "probes are answered" answered again
must 60 "the others stand by" standby_ready 2

"$B/holdfast" pki revoke "$work/pki" client >/dev/null
chmod -R a+rX "$work/pki"
no_sessions() { [ "$(sessions_of_client)" = 0 ]; }
# A gateway that has not read the list again knows nothing of it: the client moves there.
for node in g252 g253; do
	reread "$node"
	must 30 "$node has no client" no_clients "$node"
	[ "$(states "$node")" = 0 ] || fail "$node has $(states "$node") states"
done
must 20 "the client uses g254" current_is g254
reread g254
must 30 "g254 has no client" no_clients g254
must 30 "the client has no session" no_sessions
over_at_once g254-events.log "${address[client]}"
grep -q 'its certificate has been revoked' "$work/g252-events.log" || fail "g252 does not say why"
ended() { grep -F "${address[$1]}" "$work/events.log" | grep -q 'the gateway has ended it'; }
for node in "${gateways[@]}"; do
	ended "$node" || fail "the client was not told by $node"
done

refused() { grep -F "${address[$1]}" "$work/events.log" | grep -q 'did not accept our certificate: certificate revoked'; }
for node in "${gateways[@]}"; do
	must 60 "$node refuses the client" refused "$node"
done
[ "$(current)" = none ] || fail "a session with $(current)"
capture_assert_encrypted
