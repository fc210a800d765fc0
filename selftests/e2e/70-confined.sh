#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the daemons may still do, read from outside in /proc, while they carry traffic: the key management service nothing,
# holdfastd what it needs. Also for a key management service that was killed and started again.
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
cluster_up
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

# confined PID: a key management service.
confined() {
	local set
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
	[ -n "$(services_of "$node")" ] || fail "$node has no key management service"
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

# sealed PID: it is waiting in its loop (poll: a process that was just started is not there yet).
restarted() {
	local pid
	pid=$(services_of client) && [ "$pid" != "$before" ] && [ "$(status_of "$pid" Seccomp)" != 0 ]
}
restarted_unsealed() { pid=$(services_of client) && [ "$pid" != "$before" ]; }
before=$(services_of client)
kill -KILL "$before"
if sanitized; then
	must 20 "the key management service was started again" restarted_unsealed
else
	must 20 "the key management service was started again" restarted
fi
confined "$(services_of client)"
must 20 "a session is made with it" standby_ready 1
hf client failover "Cluster 1" >/dev/null
still_moving udp
probe_end udp
[ "$(sum udp longest_ms)" -le 3000 ] || fail "an outage of $(sum udp longest_ms) ms"
capture_assert_encrypted
