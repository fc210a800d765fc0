#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# New keys by bytes and by time, on the gateway's limit, on the client's, and on both at once: nothing is lost, and in the end
# each has the two states of one session.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rekey.inc"

rekey_up '' 'RekeyBytes = 256K'
must 60 "the gateway's RekeyBytes: renewals" renewed 4
is g252 '.clients[0].session.renewals >= 3' true || fail "the gateway has not counted them"
# set NODE LINE: in [GENERAL] of a running daemon.
set_general() {
	case $1 in
	client) client_policy heartbeat=NONE timeout=20 cluster=200.0.0.252 extra=$'\n[GENERAL]\n'"$2" ;;
	*) gateway_policy "$1" extra=$'\n[GENERAL]\n'"$2" ;;
	esac
	hf "$1" reload || fail "$1: reload failed"
}
set_general g252 'RekeyTime = 2'
# The one that stands still has the limit in bytes.
goal=$(($(renewals) + 4))
must 60 "the gateway's RekeyTime: renewals" renewed $goal
set_general client 'RekeyTime = 2'
goal=$(($(renewals) + 6))
must 60 "the same RekeyTime on both sides: renewals" renewed $goal
set_general g252 ''
goal=$(($(renewals) + 4))
must 60 "the client's RekeyTime: renewals" renewed $goal
set_general client ''
rekey_over $goal
must 60 "two states at each end" two_used_states
[ "$(session .spi_in)" = "$(get g252 '.clients[0].session.spi_out')" ] || fail "they have different sessions"
