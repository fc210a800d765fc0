#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 400
# After a reload a cluster's slot is not its place in the policy; a daemon that is killed then is followed by one that keeps it,
# and adopts. Revoked meanwhile: an adopted session ends when the list is read again, like any.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

topology_up
# Cluster 2, with the traffic, is the second; the first goes.
cluster_up standby=0 cluster=$'200.0.0.252\nCluster 2 = 200.0.0.253' \
	tunnels=$'Tunnel 1 = 10.0.0.2 Cluster 1\nTunnel 2 = 10.0.0.1 Cluster 2'
serve t1
capture_start
warm
probe_udp udp -i 20
must 20 "probes are answered" answered udp
probe_tcp tcp down -r 100000
must 20 "the download runs" moving tcp 100000
spi=$(spi_of 200.0.0.253)
[[ $(slot_name 1) == "Cluster 2"* ]] || fail "slot 1 is $(slot_name 1)"

sed -i -e '/^Cluster 1 = /d' -e '/^Tunnel 1 = /d' "$work/client.conf"
hf client reload || fail "reload failed"
[[ $(slot_name 1) == "Cluster 2"* ]] || fail "slot 1 is $(slot_name 1) after the reload"
[ -z "$(slot_name 0)" ] || [[ $(slot_name 0) != "Cluster 1"* ]] || fail "slot 0 is still Cluster 1's"
is client '.clusters | length' 1 || fail "Cluster 1 is still there"
still_moving udp

kill_daemon client
still_moving udp
restart client
[ "$(spi_of 200.0.0.253)" = "$spi" ] || fail "not the same session"
is client '.clusters[0].current' 200.0.0.253 || fail "$(current) is in use"
still_moving udp
nothing_lost
[[ $(slot_name 1) == "Cluster 2"* ]] || fail "slot 1 is $(slot_name 1) after the start"

# And on the gateway, which knows from its record whose certificate it was.
kill_daemon g253
restart g253
probe_udp after
must 30 "probes are answered" answered after
probe_end after

"$B/holdfast" pki revoke "$work/pki" client >/dev/null
chmod -R a+rX "$work/pki"
hf g253 reload || fail "g253: reload failed"
must 20 "g253 has ended the session that it adopted" is g253 '.clients | length' 0
said g253 'its certificate has been revoked'
capture_assert_encrypted
