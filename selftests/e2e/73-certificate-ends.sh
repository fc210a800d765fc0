#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# Certificates reach their end under traffic. A gateway's: its sessions are over on both ends at that date, and the client has
# gone over to another one before, without loss. The client's own: all its sessions are over, on both ends, and nothing is sent
# until there is a new one. One TCP connection lasts through all of it; each node has warned of its own end, and one of that of its
# revocation list; nothing is sent in clear.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/certify.inc"

# warned NODE DAYS: it has said that its certificate ends within so many days; 0: that it has ended.
warned() { gojq -es --argjson days "$2" 'any(.[]; .event == "certificate" and .days == $days)' "$work/$1-events.log" >/dev/null; }
sessions_with() { get client "[.clusters[0].gateways[] | select(.session and .address == \"${address[$1]}\")] | length"; }
# over NODE: the client and this gateway have no session with each other, at either end.
over() { [ "$(sessions_with "$1")" = 0 ] && is "$1" '.clients | length' 0 && [ "$(states "$1")" = 0 ]; }
# over_at DATE NODE: not before it, and no later than what a slow machine needs to look.
over_at() {
	[ "$(date +%s)" -lt "$1" ] || fail "that date has passed before there was traffic"
	! over "$2" || fail "there is no session with $2"
	must $(($1 - $(date +%s) + 10)) "no session with $2 any more" over "$2"
	[ "$(date +%s)" -ge "$1" ] || fail "over $(($1 - $(date +%s))) s before its date"
}

standing standby=1
authority
# listens NODE: what it says is written down from now on.
listens() { hf "$1" reload >/dev/null && [ -s "$work/$1-events.log" ]; }
for node in client "${gateways[@]}"; do
	on_background "$node" "$node-events.log" "$B/holdfast" -i "$node" events --json
	poll_until 30 listens "$node" || fail "no events of $node"
done
certify client 80
end_of_client=$ends
certify g252 45
end_of_g252=$ends
must 30 "the client has warned" warned client 1
must 30 "g252 has warned" warned g252 1
! warned g253 1 || fail "g253 warns of a certificate that lasts for a year"

# list_warned NODE DAYS: the same, of a revocation list.
list_warned() { gojq -es --argjson days "$2" 'any(.[]; .event == "revocation-list" and .days == $days)' "$work/$1-events.log" >/dev/null; }
! list_warned g254 1 || fail "g254 warns of a list that lasts for ten years"
openssl ca -gencrl -config "$work/ca.conf" -name issue -crlsec 3600 -out "$work/pki/crl.pem" 2>>"$work/openssl.log" || fail "no list"
hf g254 reload >/dev/null || fail "g254 does not reload"
must 30 "g254 has warned of its revocation list" list_warned g254 1

warm
probe_udp udp -i 20
probe_tcp tcp down -r 100000
must 20 "probes are answered" answered udp
must 20 "the download runs" moving tcp 100000
must 20 "another stands by" standby_ready 1
current_is g252 || fail "the client uses $(current)"

# The gateway's.
probe_udp first -i 20
over_at "$end_of_g252" g252
current_is_not g252 || fail "the client still uses g252"
still_moving tcp
still_moving first
probe_end first
[ "$(sum first lost)" = 0 ] || fail "$(sum first lost) probes lost to a certificate's end"
must 30 "g252 says that its certificate has ended" warned g252 0
why() { gojq -rs --arg other "${address[$2]}" --arg key "$3" \
	'[.[] | select(.event == "session-ended" and .[$key] == $other) | .why] | last' "$work/$1-events.log"; }
say "the client says: $(why client g252 gateway); g252 says: $(why g252 client client)"
[ "$(why client g252 gateway)" = 'its certificate has ended' ] || fail "the client does not say why"
must 30 "there are sessions with both of the others" standby_ready 1

# The client's.
over_at "$end_of_client" g253
must 30 "no session with g254 either" over g254
[ "$(states client)" = 0 ] || fail "the client has $(states client) states"
must 30 "the client says that its certificate has ended" warned client 0
for node in g253 g254; do
	[ "$(why "$node" client client)" = 'its certificate has ended' ] || fail "$node does not say why: $(why "$node" client client)"
done
refused() { gojq -es 'any(.[]; .event == "rejected")' "$work/client-events.log" >/dev/null; }
must 30 "no gateway takes the client" refused
[ "$(current)" = none ] || fail "a session with $(current)"

certify client 31536000
served() { [ "$(current)" != none ]; }
must 30 "the client has a session" served
still_moving udp 60
still_moving tcp 60
probe_end tcp
probe_end udp
[ "$(sum tcp connection)" = same ] || fail "the connection broke"
capture_assert_encrypted
