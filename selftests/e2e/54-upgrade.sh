#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Another build of holdfastd takes over from one that is killed: the programs are replaced, the maps and the sessions stay,
# nothing is lost. A datapath of another layout is not misread: it is replaced in order, with the way closed, and said.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

programs() { on client bash -c 'tc -j filter show dev hf0 egress; tc -j filter show dev wan0 egress' | gojq -s 'map(.[] | .options.prog.id // empty) | sort | map(tostring) | join(" ")' -r; }

standing
traffic
before=$(spis client)
old=$(programs)
[ -n "$old" ] || fail "no programs"
is client .version 0.1.0 || fail "this is $(get client .version)"

kill_daemon client
on_background client client-daemon.log "$B/selftests/e2e/next/holdfastd" -p "$work/client.conf" -i client -v
daemon[client]=$background
must 60 "the other build is ready" daemon_answers client
is client .version next || fail "this is $(get client .version)"
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
[ "$(programs)" != "$old" ] || fail "the programs were not replaced: $old"
still_moving udp
nothing_lost

# An older layout, as this build sees it.
kill_daemon client
on client bpftool map update pinned "$(pins client hf_version)" key 0 0 0 0 value 1 0 0 0
start_daemon client
said client 'replaced in order'
[ "$(spis client)" != "$before" ] || fail "the sessions of another layout were adopted"
probe_udp after
must 30 "probes are answered" answered after
probe_end after
capture_assert_encrypted
stop_daemon client
