#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# `holdfast reload` puts a changed policy in force as a difference: under traffic nothing is lost and what stays keeps its
# sessions, whether the policy is as it was, faulty, refused, or has other tunnels, settings, gateways or certificates.
. "$(dirname "$0")/lib.sh"

two=$'Tunnel 1 = 10.0.0.1 Cluster 1\n\t\tTunnel 2 = 10.0.0.2 Cluster 1'
three="$two"$'\n\t\tTunnel 3 = 10.0.0.3 200.0.0.252'
topology_up
cluster_up defer=2 response=1 cluster='200.0.0.252 200.0.0.253' tunnels="$two"
serve t1 t2 t3
capture_start
warm
probe_udp udp
probe_tcp down down
must 30 "probes are answered" answered udp
must 30 "data moves" moving down 10000
must 30 "another stands by" standby_ready 1

spis() { get client '[.clusters[0].gateways[] | .session | "\(.spi_in) \(.spi_out)"] | join(", ")'; }
same_spis() { [ "$(spis)" = "$before" ] || fail "$1: other sessions ($(spis), before: $before)"; }
# reload WORDS: it says so. client_policy is to be called before.
reload() {
	local said
	said=$(hf client reload 2>"$work/reload.err") || fail "reload failed: $(cat "$work/reload.err")"
	[ "$said" = "$1" ] || fail "reload says: $said; expected: $1"
	say "reloaded: $said"
}
# refused PATTERN: it fails, says so, and all is as it was.
refused() {
	! hf client reload >"$work/reload.err" 2>&1 || fail "reload took what is wrong ($1)"
	grep -q "$1" "$work/reload.err" || fail "reload says: $(cat "$work/reload.err"); expected: $1"
	grep -q 'nothing was changed' "$work/reload.err" || fail "reload does not say that nothing was changed"
	same_spis "$1"
	say "refused: $1"
}
leads_to() { on client ip route get "$1" | grep -q "dev $2"; }
before=$(spis)
[ -n "$before" ] || fail "no sessions"

reload 'nothing changed'
same_spis 'nothing changed'

line=$(($(grep -n 'Tunnel 2' "$work/client.conf" | cut -d: -f1) + 1))
echo 'Tunnel 3 = 10.0.0.3 Cluster 7' >>"$work/client.conf"
refused "^$work/client.conf:$line:[0-9]*: error: "
leads_to 10.0.0.3 wan0 || fail "a faulty policy was applied in part"
client_policy defer=2 response=1 cluster='200.0.0.252 200.0.0.253' tunnels="$two" extra='KeyServiceWorkers = 3'
refused "client.conf: \[INTERFACE\] KeyServiceWorkers cannot be changed"
client_policy defer=2 response=1 cluster='200.0.0.252 200.0.0.253' tunnels="$two" folder="$work/nowhere"
refused "Certificate $work/nowhere/client.pem: No such file"
mkdir "$work/broken" && cp "$work"/pki/* "$work/broken" && cp "$work/pki/g252.key" "$work/broken/client.key"
client_policy defer=2 response=1 cluster='200.0.0.252 200.0.0.253' tunnels="$two" folder="$work/broken"
refused 'private key'

# Another tunnel, through the gateway that is in use already: its session serves both clusters.
client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels="$three"
reload '1 cluster added, 1 tunnel added, [GENERAL] changed'
same_spis 'a tunnel more'
leads_to 10.0.0.3 hf0 || fail "10.0.0.3 is not tunnelled"
on_background client more.log "$probe" udp 10.0.0.3 7000 -c 5 -w 10000
must 20 "the new tunnel carries" answered more
is client '.clusters[1].current' 200.0.0.252 || fail "the new cluster does not use 200.0.0.252"
[ "$(get client '.clusters[1].gateways[0].session.spi_in')" = "$(get client '.clusters[0].gateways[0].session.spi_in')" ] ||
	fail "the new cluster made a session of its own"

# And fewer. What is no longer tunnelled goes the ordinary way; nothing is sent there, for the capture's sake.
client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1'
kill -HUP "${daemon[client]}" # the signal does the same
must 20 "SIGHUP reloads" grep -q 'reloaded: 1 cluster removed, 2 tunnels removed, 1 range goes in clear from now on' "$work/client-daemon.log"
same_spis 'fewer tunnels'
leads_to 10.0.0.2 wan0 && leads_to 10.0.0.3 wan0 || fail "what is no longer tunnelled does not go the ordinary way"
leads_to 10.0.0.1 hf0 || fail "10.0.0.1 is no longer tunnelled"
is client '.clusters | length' 1 || fail "a cluster is left over"

# A prefix is cut into several, and these are joined again: no packet finds the way closed by a part of it. Many at a time, so that
# there is a while between the first step and the last one; where the others lead does not matter.
probe_udp fast -i 2 -w 10000
must 20 "the fast probes are answered" answered fast
others='Tunnel 9 = 172.16.0.1 - 172.31.255.254 Cluster 1'
for round in 1 2 3; do
	client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels='Tunnel 1 = 10.0.0.0 - 10.0.0.7 Cluster 1'
	hf client reload >/dev/null || fail "reload failed"
	client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' \
		tunnels="$others"$'\n\t\tTunnel 1 = 10.0.0.0 - 10.0.0.7 Cluster 1\n\t\tTunnel 2 = 10.0.0.3 Cluster 1'
	hf client reload >/dev/null || fail "reload failed"
done
client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1'
hf client reload >/dev/null || fail "reload failed"
still_moving fast
probe_end fast
grep "^gap" "$work/fast.log" || true
[ "$(sum fast lost)" = 0 ] || fail "$(sum fast lost) packets lost where prefixes are cut and joined"
same_spis 'prefixes cut and joined'

# Another certificate: the sessions stay. What is made from now on shows it.
mkdir "$work/anew" && cp "$work"/pki/ca.* "$work"/pki/crl.pem "$work/anew"
"$B/holdfast" pki issue "$work/anew" client --ip 100.0.0.1 >/dev/null && chmod -R a+rX "$work/anew"
client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1' folder="$work/anew"
reload '[IDENTITY] changed'
same_spis 'another certificate'
# The gateways as well, from the same files.
for node in g252 g253; do
	hf $node reload >/dev/null || fail "$node: reload failed"
done
same_spis 'a gateway reloads'
client_policy defer=3 response=1 cluster='200.0.0.252 200.0.0.253' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1' folder="$work/anew" \
	extra=$'\n[GENERAL]\nRekeyTime = 5'
reload '[GENERAL] changed'
renewed() { at_least client '.clusters[0].gateways[0].session.renewals' 1; }
must 30 "the session is renewed with the new certificate, by the new RekeyTime" renewed

# The gateway in use is no longer in the cluster: the other one takes over, then its session ends on both sides.
client_policy defer=3 response=1 cluster='200.0.0.253 200.0.0.254' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1' folder="$work/anew"
reload '1 cluster changed, [GENERAL] changed'
must 20 "200.0.0.253 is in use" current_is g253
gone_from_g252() { is g252 '.clients | length' 0; }
must 20 "g252 has no session left" gone_from_g252
must 30 "200.0.0.254 stands by" gateway_state g254 standby
# And with none to take over at once: the one in use is kept until there is one.
client_policy defer=20 response=1 cluster='200.0.0.252' tunnels='Tunnel 1 = 10.0.0.1 Cluster 1' folder="$work/anew"
reload '1 cluster changed, [GENERAL] changed'
must 20 "200.0.0.252 is in use" current_is g252
gone_from_others() { is g253 '.clients | length' 0 && is g254 '.clients | length' 0; }
must 20 "the others have no session left" gone_from_others

still_moving down
probe_end udp
probe_end down
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"
[ "$(sum udp duplicates)" = 0 ] || fail "$(sum udp duplicates) packets doubled"
[ "$(sum down connection)" = same ] || fail "the connection broke"

# The kernel refuses the last step, for a moment without the address that the new route is to have as its source. What was
# written before that step is as it was: the tunnel that was to lead elsewhere, and the one that is not to be.
written() { on client bpftool -j map dump pinned /sys/fs/bpf/holdfast/client/hf_tunnels | gojq -c '[.[].formatted] | sort'; }
routes() { on client ip route show table 7546 | sort; }
as_before() { [ "$(written)" = "$tunnels_before" ] && [ "$(routes)" = "$routes_before" ]; }
tunnels_before=$(written) routes_before=$(routes)
client_policy defer=20 response=1 cluster='200.0.0.252' folder="$work/anew" tunnels=$'Tunnel 1 = 10.0.0.1 200.0.0.253\n\t\tTunnel 2 = 10.0.0.2 Cluster 1'
on client ip addr del 100.0.0.1/24 dev wan0
! hf client reload >"$work/reload.err" 2>&1 || fail "reload took what the kernel refuses"
grep -q 'tunnels: Invalid argument.*nothing was changed' "$work/reload.err" || fail "reload says: $(cat "$work/reload.err")"
say "refused: $(cat "$work/reload.err")"
[ "$(written)" = "$tunnels_before" ] || fail "left in hf_tunnels: $(written); before: $tunnels_before"
printf '%s\n' 'addr add 100.0.0.1/24 dev wan0' 'route replace default via 100.0.0.254' | batch client
must 20 "tunnels and routes are as before" as_before
warm
reload '1 cluster added, 1 tunnel added, 1 tunnel changed'
warm
must 20 "with the address it is taken: 200.0.0.253 is in use" is client '.clusters[1].current' 200.0.0.253
capture_assert_encrypted
stop_daemon client
[ -z "$(on client ip xfrm state)" ] && [ -z "$(on client ip rule show pref 7546)" ] || fail "something is left at the client"
