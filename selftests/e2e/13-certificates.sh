#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# An expired certificate, a client's certificate posing as a gateway, another CA: each refused, with a clear event.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/certify.inc"

topology_up
pki
for days in "" 0 -5 1x 36501 8000; do
	! "$B/holdfast" pki issue "$work/pki" expired --ip 200.0.0.252 --days "$days" 2>"$work/pki.txt" ||
		fail "a certificate for \"$days\" days"
	say "$(cat "$work/pki.txt")"
done
! "$B/holdfast" pki issue "$work/pki" expired --ip 200.0.0.252 --days 2>"$work/pki.txt" || fail "a certificate for no days"
grep -q 'days needs a number' "$work/pki.txt" || fail "pki issue says: $(cat "$work/pki.txt")"
"$B/holdfast" pki issue "$work/pki" expired --ip 200.0.0.252 >/dev/null
authority
certificate expired -60
mv "$work/pki/expired.pem.new" "$work/pki/expired.pem"
"$B/holdfast" pki init "$work/otherpki" >/dev/null
"$B/holdfast" pki issue "$work/otherpki" g254 --ip 200.0.0.254 >/dev/null
chmod -R a+rX "$work/pki" "$work/otherpki"
client_policy timeout=5 standby=0
gateway_policy g252 name=expired
gateway_policy g253 name=client
gateway_policy g254 "folder=$work/otherpki"
start_daemon "${gateways[@]}" client
serve t1
capture_start
on_background client events.log "$B/holdfast" -i client events --json

probe_udp udp
rejected() { grep -F "${address[$1]}" "$work/events.log" | grep -qE 'did not authenticate|reject'; }
for node in "${gateways[@]}"; do
	must 40 "$node is refused" rejected "$node"
done
for node in "${gateways[@]}"; do
	grep -F "${address[$node]}" "$work/events.log" | head -n 1
done
# Each for its own reason.
grep -F 200.0.0.252 "$work/events.log" | grep -qi expired || fail "no word of an expired certificate"
[ "$(current)" = none ] || fail "a session with $(current)"
end "${probes[udp]}" INT
[ "$(sum udp received)" = 0 ] || fail "probes were answered"

# The same the other way round: a client of another CA gets nothing from a good gateway.
stop_daemon client
stop_daemon g252
gateway_policy g252
start_daemon g252
"$B/holdfast" pki issue "$work/otherpki" client --ip 100.0.0.1 >/dev/null
# It would trust the gateway: it is the gateway that must refuse.
cat "$work/pki/ca.pem" >>"$work/otherpki/ca.pem"
cat "$work/pki/crl.pem" >>"$work/otherpki/crl.pem"
chmod -R a+rX "$work/otherpki"
client_policy timeout=5 standby=0 "folder=$work/otherpki" cluster=200.0.0.252
on_background g252 g252-events.log "$B/holdfast" -i g252 events --json
start_daemon client
probe_udp stranger
# Its own refusal, not the client's of it.
refused() { grep -iE 'refused|reject' "$work/g252-events.log" | grep -v 'did not accept our' | grep -q .; }
must 40 "g252 refuses the client" refused
end "${probes[stranger]}" INT
[ "$(sum stranger received)" = 0 ] || fail "a client of another CA was served"

capture_assert_closed
