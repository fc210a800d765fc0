#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# After SIGKILL sessions are adopted that nobody is steered to: the gateway in use is gone from the policy, or all were silent
# when it happened. One of them is used, the old one, and nobody has to ask for another.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

standing cluster='200.0.0.252 200.0.0.253' timeout=20
traffic
current_is g252 || fail "$(current) is in use"
spi=$(spi_of 200.0.0.253)

kill_daemon client
sed -i 's|^Cluster 1 = .*|Cluster 1 = 200.0.0.253 200.0.0.254|' "$work/client.conf"
restart client
must 20 "the adopted standby is used" current_is g253
[ "$(spi_of 200.0.0.253)" = "$spi" ] || fail "not the same session"
still_moving udp
still_moving tcp
must 30 "another stands by" standby_ready 1

# Every gateway falls silent, so sessions are kept and nobody is in use; then the daemon is killed, and they are there again.
spi="$(spi_of 200.0.0.253) $(spi_of 200.0.0.254)"
power_off g253
power_off g254
nobody() { [ "$(current)" = none ]; }
is_used() { current_is g253 || current_is g254; }
must 30 "nobody is in use" nobody
kill_daemon client
power_on g253
power_on g254
restart client
must 20 "an adopted one is used" is_used
[ "$(spi_of 200.0.0.253) $(spi_of 200.0.0.254)" = "$spi" ] || fail "not the same sessions"
still_moving udp 20
probe_end udp
probe_end tcp
capture_assert_encrypted
