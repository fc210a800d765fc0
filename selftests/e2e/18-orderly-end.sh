#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# `holdfast up` and `holdfast down` of a client, and SIGTERM of the gateway in use, which loses nothing of its clients and tells
# them that it is over. Nothing is left behind, on either; the way is open again, and that is said.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# What a daemon could leave: interfaces, rules, routes, neighbours, states, policies, programs, pins.
left() {
	on "$1" /bin/bash -c 'ip -o link | cut -d: -f2; ip rule; ip route show table all | sort; ip neigh show proxy
		ip xfrm state; ip xfrm policy; for dev in wan0 lan0; do tc filter show dev $dev ingress; tc filter show dev $dev egress
		ip -o link show $dev | grep -o "xdp[a-z]*"; done; find /sys/fs/bpf/holdfast /run/holdfast -mindepth 1
		cd /proc/sys/net/ipv4/conf && grep . */src_valid_mark */rp_filter */proxy_arp */forwarding' 2>/dev/null || true
}
topology_up 1
for node in client "${gateways[@]}"; do
	left $node >"$work/$node.before"
done
pki
client_policy
for node in "${gateways[@]}"; do
	gateway_policy "$node"
done
start_daemon "${gateways[@]}"

# A policy that is wrong: said by `up`, and nothing is there.
{ cat "$work/client.conf"; echo nonsense; } >"$work/wrong.conf"
! hf client up -p "$work/wrong.conf" >"$work/up.txt" 2>&1 || fail "up with a wrong policy"
grep -q "^$work/wrong.conf:$(wc -l <"$work/wrong.conf"):1: error: " "$work/up.txt" || fail "up says: $(cat "$work/up.txt")"
left client | diff "$work/client.before" - || fail "up with a wrong policy left something (above)"
! hf client down 2>"$work/up.txt" || fail "down of what is not up"
say "not up: $(cat "$work/up.txt")"
for command in 'failover x' events status; do
	# shellcheck disable=SC2086 # words
	! hf client $command 2>"$work/up.txt" || fail "$command of what is not up"
	[ "$(cat "$work/up.txt")" = "holdfast ${command% x}: instance client is not running here; start it with \`holdfast up\`" ] ||
		fail "$command of what is not up says: $(cat "$work/up.txt")"
done
# A name that is no folder's of its own.
for name in ../x "$(printf '%0245d')"; do
	! on client "$B/holdfast" -i "$name" up -p "$work/client.conf" 2>"$work/up.txt" || fail "up -i $name"
	grep -q "^holdfast: an instance's name has" "$work/up.txt" || fail "up -i $name says: $(cat "$work/up.txt")"
done
left client | diff "$work/client.before" - || fail "up with a wrong name left something (above)"

words=$(hf client up -v -p "$work/client.conf") || fail "up: $words"
[[ $words =~ ^instance\ client\ is\ up\ \(pid\ ([0-9]+)\) ]] || fail "up says: $words"
daemon[client]=${BASH_REMATCH[1]}
children+=("${daemon[client]}")
[ "$(readlink "/proc/${daemon[client]}/exe")" = "$B/holdfastd" ] || fail "process ${daemon[client]} is no holdfastd"
on_background client client-daemon.log tail -n +1 -F /run/holdfast/client/log
say "$words"
! hf client up -p "$work/client.conf" 2>"$work/up.txt" || fail "up twice"
grep -q 'runs already' "$work/up.txt" || fail "up twice: $(cat "$work/up.txt")"
serve t1
capture_start
warm
must 30 "another stands by" standby_ready 1
probe_udp udp
must 20 "probes are answered" answered udp

# Another name is another instance, but there is one hf0: it is refused, and touches nothing.
! on client "$B/holdfastd" -p "$work/client.conf" -i other >"$work/other.txt" 2>&1 || fail "two instances in one network namespace"
grep -q 'runs in this network namespace already' "$work/other.txt" || fail "a second instance says: $(cat "$work/other.txt")"
! on client test -e /run/holdfast/other || fail "the second instance left something in /run"
still_moving udp

# The gateway in use: the client moves, and knows that their session is over, though the gateway is soon back without it.
used=$(current_node)
stop_daemon "$used"
must 30 "the client is elsewhere" current_is_not "$used"
said client "session with gateway ${address[$used]} ended: the gateway has ended it"
still_moving udp
probe_end udp
[ "$(sum udp lost)" = 0 ] || fail "$(sum udp lost) probes lost to an orderly end"

# A gateway that is killed in the half second between: its end is not in order, and `down` does not call it so.
cut=$(current_node)
hf "$cut" down >"$work/cut.txt" 2>&1 &
down=$!
must 20 "$cut goes down" logged "$cut" 'goes down'
kill_daemon "$cut"
! wait "$down" || fail "down of what was killed says: $(cat "$work/cut.txt")"
grep -q 'died before all was taken down' "$work/cut.txt" || fail "down of what was killed says: $(cat "$work/cut.txt")"
say "$(cat "$work/cut.txt")"

# The log has grown (by what is written to it here, as another process that has it would): it begins anew, and goes on. What was
# last in it is kept.
old=/run/holdfast/client/log.old
on client /bin/sh -c '{ head -c 1100000 /dev/zero | tr "\\0" .; echo; echo the last line; } >>/run/holdfast/client/log'
began_anew() { on client test -e $old; }
must 30 "the log begins anew" began_anew
on client grep -a -q 'the last line' $old || fail "log.old does not hold what was logged"
size=$(on client stat -c %s /run/holdfast/client/log)
[ "$size" -lt 100000 ] || fail "the log has $size bytes still"

# follow NODE: its events in NODE-events.log, and in NODE-events.status how that ended.
follow() {
	on_background "$1" "$1-follow.log" /bin/sh -c '"$0" -i "$1" events --json >"$2.log" 2>"$2.err"; echo $? >"$2.status"' \
		"$B/holdfast" "$1" "$work/$1-events"
	must 20 "somebody follows the events of $1" listens "$1"
}
listens() { hf "$1" reload >/dev/null && [ -s "$work/$1-events.log" ]; }
ended_with() { [ "$(cat "$work/$1-events.status" 2>/dev/null)" = "$2" ]; }
follow client
for node in "${gateways[@]}"; do
	[ "$node" = "$used" ] || [ "$node" = "$cut" ] || last=$node
done
follow "$last"
kill_daemon "$last"
must 10 "who follows the events of $last is cut off" ended_with "$last" 2
say "$(cat "$work/$last-events.err")"
words=$(hf client down) || fail "down: $words"
grep -q 'in clear, from now on' <<<"$words" || fail "down says: $words"
must 30 "holdfastd has ended" gone "${daemon[client]}"
must 10 "who follows the events of the client is at an end" ended_with client 0
gojq -es 'any(.[]; .event == "stopping")' "$work/client-events.log" >/dev/null || fail "and was not told that it stops"
logged client 'goes down: tunnelled destinations are reached in clear' || fail "the client's log does not say that the way is open"
on client /bin/sh -c 'rm /run/holdfast/client/log /run/holdfast/client/log.old && rmdir /run/holdfast/client /run/holdfast' || fail "more than its log is left in /run"
for node in client "$used"; do
	left $node >"$work/$node.after"
	diff "$work/$node.before" "$work/$node.after" || fail "$node: left behind (above)"
done
say "nothing left behind"
capture_assert_encrypted
