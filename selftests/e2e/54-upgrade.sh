#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Another build of holdfastd takes over from one that is killed: the programs are replaced, the maps and the sessions stay,
# nothing is lost. A datapath of another layout is not misread: it is replaced in order, with the way closed, and said.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# programs: that of each hook, a line each: both ways of hf0 and of wan0, and XDP.
programs() {
	local dev way id
	for dev in hf0 wan0; do
		for way in ingress egress; do
			id=$(on client tc -j filter show dev $dev $way | gojq -r '.[] | .options.prog.id // empty')
			echo "$dev $way ${id:-none}"
		done
	done
	id=$(on client ip -j -d link show wan0 | gojq -r '.[0].xdp.prog.id // empty')
	echo "wan0 xdp ${id:-none}"
}

standing
traffic
before=$(spis client)
old=$(programs)
! grep none <<<"$old" || fail "no programs"
is client .version 0.1.0 || fail "this is $(get client .version)"

kill_daemon client
on_background client client-daemon.log "$B/selftests/e2e/next/holdfastd" -p "$work/client.conf" -i client -v
daemon[client]=$background
must 60 "the other build is ready" daemon_answers client
is client .version next || fail "this is $(get client .version)"
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
new=$(programs)
! grep none <<<"$new" || fail "no programs"
! grep -xF "$old" <<<"$new" || fail "not replaced"
say "replaced: $(xargs <<<"$old"), now: $(xargs <<<"$new")"
still_moving udp
nothing_lost

# An older layout, as this build sees it; meanwhile there is always something to send.
probe_udp after
must 30 "probes are answered" answered after
kill_daemon client
on client bpftool map update pinned "$(pins client hf_version)" key 0 0 0 0 value 1 0 0 0
start_daemon client
said client 'replaced in order'
[ "$(spis client)" != "$before" ] || fail "the sessions of another layout were adopted"
still_moving after 60
probe_end after
capture_assert_encrypted
stop_daemon client
