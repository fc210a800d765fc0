#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Where the kernel lacks what Holdfast needs (ESP, or the kfunc of Linux 6.2), or the caller is not root: one clear line,
# exit 1, and nothing half-applied. Runs on kernels that are not fit; on one that is, only the part without root.
. "$(dirname "$0")/lib.sh"

node_make client
poll_until 20 test -e "$work/client.made" || fail "no namespace"
on client ip link add wan0 type veth peer name wan1
on client ip addr add 100.0.0.1/24 dev wan0
on client ip link set wan0 up
"$B/holdfast" pki init "$work/pki" >/dev/null
"$B/holdfast" pki issue "$work/pki" client --ip 100.0.0.1 >/dev/null
client_policy

look() { on client /bin/bash -c 'ip -o link | cut -d: -f2; ip rule; ip route show table all; find /sys/fs/bpf /run/holdfast' 2>/dev/null; }
# refused WORDS COMMAND...
refused() {
	local words=$1 status=0 before
	shift
	before=$(look || true)
	timeout 60 nsenter -t "${holder[client]}" -n -m -- "$@" >"$work/refused.log" 2>&1 </dev/null || status=$?
	[ $status = 1 ] || fail "$words: exit $status: $(cat "$work/refused.log")"
	[ "$(wc -l <"$work/refused.log")" = 1 ] || fail "$words: not one line: $(cat "$work/refused.log")"
	diff <(echo "$before") <(look || true) || fail "$words: something was applied (above)"
	say "$words: $(cat "$work/refused.log")"
}
chmod -R a+rX "$work"
refused "without root" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
	"$B/holdfastd" -p "$work/client.conf" -i client
if ! why=$("$project/selftests/kernel-fits"); then
	refused "kernel $(uname -r): $why" "$B/holdfastd" -p "$work/client.conf" -i client
fi
