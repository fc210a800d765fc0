#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 500
# SIGKILL of a client's holdfastd: the datapath goes on without it, the next start adopts its sessions, and nothing is
# lost; the keys are renewed after that, and the end is as orderly as any.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

left() {
	on client /bin/bash -c 'ip -o link | cut -d: -f2; ip rule; ip route show table all | sort; ip xfrm state; ip xfrm policy
		tc filter show dev wan0 ingress; tc filter show dev wan0 egress; ip -o link show wan0 | grep -o "xdp[a-z]*"
		find /sys/fs/bpf/holdfast /run/holdfast -mindepth 1' 2>/dev/null || true
}

topology_up
left >"$work/before"
cluster_up timeout=20
serve t1
capture_start
traffic
used=$(current_node)
before=$(spis client)

# oseq SPI: how many packets the client has sent with that key; part of what may never be used twice.
oseq() { echo $((16#$(on client ip xfrm state list spi "$1" | sed -n 's/.*, oseq 0x\([0-9a-f]*\)$/\1/p'))); }
spi=$(spi_in_use)
kill_daemon client
still_moving udp
still_moving tcp
sent=$(oseq "$spi")
[ "$sent" -ge 100 ] || fail "only $sent packets were sent: this proves nothing"
restart client
[ "$(oseq "$spi")" -ge "$sent" ] || fail "the counter of the key was set back from $sent to $(oseq "$spi")"
current_is "$used" || fail "the current gateway changed: $(current)"
[ "$(spis client)" = "$before" ] || fail "not the same sessions: $before, now: $(spis client)"
[ "$(get client .failovers)" = 0 ] || fail "a failover"
! grep -q 'traffic goes to' <(sed -n '/sessions adopted/,$p' "$work/client-daemon.log") || fail "it was switched"
still_moving udp

# Again, at once, and this time with keys that are to be renewed.
kill_daemon client
renew_soon client
restart client
renewed() { [ "$(spi_in_use)" != "$1" ] && [ -n "$(spi_in_use)" ]; }
old=$(spi_in_use)
must 90 "the keys were renewed" renewed "$old"
still_moving udp
# The inbound one of the standby, through which nothing comes, may stay for half a minute.
states_at_most() { [ "$(states "$1")" -le "$2" ]; }
must 80 "the old states have gone" states_at_most client 5
states_of_used() { [ "$(states "$used")" = 2 ]; }
must 80 "on the gateway as well" states_of_used
logged "$used" 'rekey: session with client' || fail "$used did not renew, but begin anew"
current_is "$used" || fail "the current gateway changed: $(current)"
nothing_lost

stop_daemon client
left >"$work/after"
diff "$work/before" "$work/after" || fail "left behind (above)"
say "nothing left behind"
capture_assert_encrypted
