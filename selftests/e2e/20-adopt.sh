#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# SIGKILL: the datapath goes on without its daemon, and the next one adopts it without losing a packet.
. "$(dirname "$0")/lib.sh"

topology_up
# Nobody answers for the client while its daemon is dead; the gateways' daemons live.
cluster_up defer=2 response=1
serve t1
capture_start
warm
probe_udp udp
must 20 "probes are answered" answered udp
spi=$(get client '.clusters[0].gateways[] | select(.state == "active") | .session.spi_out')

kill_daemon client
still_moving udp
start_daemon client
still_moving udp
is client '.clusters[0].gateways[] | select(.state == "active") | .session.spi_out' "$spi" || fail "not the same session"
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) packets lost"

capture_assert_encrypted
