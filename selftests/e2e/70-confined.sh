#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the daemons may still do, read from outside in /proc, while they carry traffic: the key management service nothing,
# holdfastd what it needs. Also for a key management service that was killed and started again. And whom the control socket is for.
. "$(dirname "$0")/lib.sh"

topology_up
# The gateways have the user that the package makes, the client has not: each node has a mount namespace of its own.
user=$(awk '$1 == "u" { print $2 }' "$(dirname "$0")/../../packaging/holdfast.sysusers")
uid=$(id -u "$user" 2>/dev/null || echo 64213)
if ! id -u "$user" >/dev/null 2>&1; then
	{ cat /etc/passwd && echo "$user:x:$uid:$uid:Holdfast key management service:/:/usr/sbin/nologin"; } >"$work/passwd"
	for node in "${gateways[@]}"; do
		on "$node" mount --bind "$work/passwd" /etc/passwd
	done
fi
pki
client_policy extra='KeyServiceWorkers = 2'
for node in "${gateways[@]}"; do
	gateway_policy "$node" extra='KeyServiceWorkers = 2'
done
start_daemon "${gateways[@]}" client
serve t1
capture_start
warm
probe_udp udp
must 20 "probes are answered" answered udp

# status_of PID FIELD
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# field_is PID FIELD VALUE
field_is() {
	local value
	value=$(status_of "$1" "$2")
	[ "$value" = "$3" ] || fail "process $1: $2 is '$value', not '$3'"
}
sanitized() { nm -D "$B/holdfast-kms" 2>/dev/null | grep -q __asan_init || ldd "$B/holdfast-kms" | grep -q libasan; }
services_of() { pgrep -P "${daemon[$1]}" -x holdfast-kms; }

# memory_of PID FIELD: in kB.
memory_of() { status_of "$1" "$2" | awk '{ print $1 }'; }

# files_of PID: what it has open, a line each, in the order of their numbers.
files_of() { find "/proc/$1/fd" -mindepth 1 -printf '%f %l\n' | sort -n | sed 's/^[0-9]* //; s/:\[[0-9]*\]$//'; }
# Standard input and output, what it says, the link, its loop and the pipe of its signals, and where it is dialled: nothing of its
# parent's, nor of the other's.
only_its_own() {
	[ "$(files_of "$1" | xargs)" = '/dev/null /dev/null pipe socket anon_inode:[eventpoll] pipe pipe socket' ]
}

# confined PID: a key management service.
confined() {
	local set
	poll_until 20 only_its_own "$1" || fail "process $1 has open: $(files_of "$1" | xargs)"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		field_is "$1" $set 0000000000000000
	done
	field_is "$1" NoNewPrivs 1
	! status_of "$1" Uid | grep -qw 0 || fail "process $1 is root"
	! status_of "$1" Gid | grep -qw 0 || fail "process $1 is of root's group"
	[ -z "$(status_of "$1" Groups | tr -d '[:space:]')" ] || fail "process $1 has further groups"
	if sanitized; then
		say "built with a sanitizer: no seccomp to look at"
	else
		field_is "$1" Seccomp 2
		grep -qE '^Max core file size +0 +0 ' "/proc/$1/limits" || fail "process $1 may dump core"
		[ "$(memory_of "$1" VmLck)" -gt $(($(memory_of "$1" VmSize) * 9 / 10)) ] ||
			fail "process $1 has locked $(memory_of "$1" VmLck) of $(memory_of "$1" VmSize) kB"
	fi
}
# What holdfastd keeps, by number (linux/capability.h): KILL 5, SETGID 6, SETUID 7, SETPCAP 8, NET_BIND_SERVICE 10,
# NET_ADMIN 12, NET_RAW 13, SYS_ADMIN 21, PERFMON 38, BPF 39.
kept=$(printf %016x $((1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 21 | 1 << 38 | 1 << 39)))

for node in client g252; do
	field_is "${daemon[$node]}" CapEff "$kept"
	field_is "${daemon[$node]}" CapPrm "$kept"
	field_is "${daemon[$node]}" CapBnd "$kept"
	field_is "${daemon[$node]}" CapInh 0000000000000000
	field_is "${daemon[$node]}" NoNewPrivs 1
	[ "$(services_of "$node" | wc -l)" = 2 ] || fail "$node has not two key management services: $(services_of "$node" | xargs)"
	for pid in $(services_of "$node"); do
		confined "$pid"
	done
done
for pid in $(services_of g252); do
	[ "$(status_of "$pid" Uid | tr '\t' ' ')" = "$uid $uid $uid $uid" ] || fail "process $pid is $(status_of "$pid" Uid), not $user"
done
if ! id -u "$user" >/dev/null 2>&1; then
	grep -q "there is no user \"$user\"" "$work/client-daemon.log" || fail "the client does not say that there is no such user"
	! grep -q 'there is no user' "$work/g252-daemon.log" || fail "g252 says that there is no such user"
fi
say "all are confined"

# A local user without privileges asks nothing.
control=/run/holdfast/client/control.sock
[ "$(on client stat -c '%F %a %U' $control)" = 'socket 600 root' ] || fail "the control socket is $(on client stat -c '%F %a %U' $control)"
hf client status >/dev/null || fail "root is told nothing: this proves nothing"
for command in status 'failover x' reload down events; do
	# shellcheck disable=SC2086 # words
	! on client setpriv --reuid 65534 --regid 65534 --clear-groups "$B/holdfast" -i client $command >"$work/nobody.txt" 2>&1 ||
		fail "nobody may say: $command"
	grep -q 'not allowed to talk to instance client' "$work/nobody.txt" || [ "$command" = down ] || fail "nobody is told: $(cat "$work/nobody.txt")"
done
daemon_answers client || fail "it does not answer any more"
say "the control socket is root's"

# In their loops (a process that was just started is not there yet).
restarted() {
	local pids pid
	mapfile -t pids < <(services_of client)
	[ ${#pids[@]} = 2 ] || return 1
	for pid in "${pids[@]}"; do
		! grep -qx "$pid" <<<"$before" && { sanitized || [ "$(status_of "$pid" Seccomp)" != 0 ]; } || return 1
	done
}
before=$(services_of client)
for pid in $before; do
	kill -KILL "$pid"
done
must 20 "the key management services were started again" restarted
for pid in $(services_of client); do
	confined "$pid"
done
must 20 "a session is made with it" standby_ready 1
hf client failover "Cluster 1" >/dev/null
still_moving udp
probe_end udp
[ "$(sum udp longest_ms)" -le 3000 ] || fail "an outage of $(sum udp longest_ms) ms"
capture_assert_encrypted
