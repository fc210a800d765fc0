# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What every end-to-end scenario is made of; sourced by them. All hosts are namespaces made and removed here.
#
#                                             net (two switches and a router, one namespace)
#                                +------------------------------------------------------+
#   client ---------------- wan0 | client [router] wan =+= w252      l252 =+= lan =+= t1 | lan0 -- t1 10.0.0.1
#   100.0.0.1                    | 100.0.0.254  200.0.0.1 = w253      l253 =         = t2 | lan0 -- t2 10.0.0.2
#                                |                      = w254      l254 =         = t3 | lan0 -- t3 10.0.0.3
#                                +-------------------------+----------+-----------------+
#                                                     wan0 |          | lan0
#                                                  g252 200.0.0.252   10.0.0.252      (g253, g254 likewise)
#
# This is figure 2 of the specification. Each node is a holder process with a network and a mount namespace of its own
# (own bpffs, own /run), so that several daemons can live on one kernel. The targets have one on-link route to the
# client's address; nothing tells them which gateway to use.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
B=$(cd "$project" && realpath "${B:-build}")
probe=$B/selftests/e2e/probe
hostile=$B/selftests/e2e/hostile
export HOLDFAST_KMS=$B/holdfast-kms
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d /tmp/holdfast-e2e.XXXXXX)
chmod 755 "$work"
gateways=(g252 g253 g254)
targets=(t1 t2 t3)
declare -A address=([client]=100.0.0.1 [g252]=200.0.0.252 [g253]=200.0.0.253 [g254]=200.0.0.254
	[t1]=10.0.0.1 [t2]=10.0.0.2 [t3]=10.0.0.3)
# The ports of each node on the switches: what is cut at a power-off.
declare -A ports=([client]=client [g252]='w252, l252' [g253]='w253, l253' [g254]='w254, l254'
	[t1]=t1 [t2]=t2 [t3]=t3)
declare -A holder daemon
children=()
# What the probes carry: must never be seen on the underlay.
marker=HOLDFAST-PLAINTEXT-MARKER

started=${EPOCHREALTIME/./}
say() { printf '[%7.2f] %s\n' "$(((${EPOCHREALTIME/./} - started) / 10000))e-2" "$*"; }
fail() { say "FAILED: $*"; exit 1; }
skip() { say "SKIPPED: $*"; exit 77; }
# A failing command that nothing handles names itself.
trap 'say "FAILED: line $LINENO of ${0##*/}: $BASH_COMMAND"' ERR

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Between two looks at a condition: no process for it, for they are dear in a VM.
exec {never}<> <(:)
breathe() { read -rt 0.05 -u "$never" || true; }

# poll_until SECONDS COMMAND...: until the command succeeds, or 1 when the time is over.
poll_until() {
	local deadline=$(($(now_ms) + $1 * 1000))
	shift
	while ! "$@"; do
		[ "$(now_ms)" -lt "$deadline" ] || return 1
		breathe
	done
}

# must SECONDS WORDS COMMAND...: polls; a failure when it never comes.
must() {
	local seconds=$1 words=$2
	shift 2
	poll_until "$seconds" "$@" || fail "not within $seconds s: $words"
	say "$words"
}

# pass SECONDS WORDS: lets time go by, where it is time itself that is tested. Its bounds are from and to, of now_ms.
gone_by() { [ "$(now_ms)" -ge "$to" ]; }
pass() {
	from=$(now_ms)
	to=$((from + $1 * 1000))
	must $(($1 + 20)) "$2 ($1 s)" gone_by
	to=$(now_ms)
}

# Nodes ------------------------------------------------------------------------------------------------------------

# node_make NODE [SYSCTL=VALUE]...: starts; the node stands when its file .made does.
node_make() {
	local node=$1
	shift
	busybox unshare -n -m --propagation private busybox sh -c '
		made=$1 && shift && mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs tmpfs /run &&
		mkdir /run/lock && ip link set lo up &&
		for knob; do echo "${knob#*=}" >"/proc/sys/net/${knob%%=*}" || exit 1; done &&
		: >"$made" && exec sleep 1000000' _ "$work/$node.made" "$@" </dev/null &
	holder[$node]=$!
	disown
}

# What runs a command there is linked statically: in a VM half the time of a short command is its dynamic linking. It would take
# one of its own for a bare name, hence the paths.
declare -A path
path_of() { [ -n "${path[$1]:-}" ] || path[$1]=$(type -P "$1") || fail "there is no $1 here"; }

# on NODE COMMAND...
on() {
	path_of "$2"
	busybox nsenter -t "${holder[$1]}" -n -m -- "${path[$2]}" "${@:3}"
}

# on_background NODE LOG COMMAND...: leaves the process id in $background.
on_background() {
	local node=$1 log=$2
	shift 2
	path_of "$1"
	busybox nsenter -t "${holder[$node]}" -n -m -- "${path[$1]}" "${@:2}" </dev/null >>"$work/$log" 2>&1 &
	background=$!
	disown
	children+=("$background")
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# end PID [SIGNAL]: ends a background process and waits for it.
end() {
	kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
	poll_until 20 gone "$1" || fail "process $1 does not end"
}

# batch NODE: commands of ip from stdin, in one process.
batch() { on "$1" ip -batch -; }

# port NODE INTERFACE PORT [BRIDGE]: the lines for net that make one cable.
port() {
	echo "link add $3 type veth peer name $2 netns ${holder[$1]}"
	[ -z "${4:-}" ] || echo "link set $3 master $4"
	echo "link set $3 up"
}

net_lines() {
	local node
	printf '%s\n' 'link add wan type bridge' 'link add lan type bridge' 'addr add 200.0.0.1/24 dev wan'
	port client wan0 client
	for node in "${gateways[@]}"; do
		port "$node" wan0 "w${node#g}" wan
		port "$node" lan0 "l${node#g}" lan
	done
	for node in "${targets[@]}"; do
		port "$node" lan0 "$node" lan
	done
	printf '%s\n' 'addr add 100.0.0.254/24 dev client' 'link set wan up' 'link set lan up'
}

# topology_up [RP_FILTER]
topology_up() {
	local filter=${1:-0} node
	# No duplicate address detection or router solicitations: the tests speak IPv4.
	local host=(ipv6/conf/default/disable_ipv6=1 ipv4/conf/default/rp_filter="$filter" ipv4/conf/all/rp_filter="$filter")
	node_make net ipv6/conf/default/disable_ipv6=1 ipv4/ip_forward=1 ipv4/conf/all/arp_ignore=1 ipv4/conf/all/rp_filter=0
	for node in client "${targets[@]}"; do
		node_make "$node" "${host[@]}"
	done
	for node in "${gateways[@]}"; do
		node_make "$node" "${host[@]}" ipv4/ip_forward=1
	done
	for node in net client "${gateways[@]}" "${targets[@]}"; do
		poll_until 20 test -e "$work/$node.made" || fail "no namespace for $node"
	done
	net_lines | batch net
	printf '%s\n' 'addr add 100.0.0.1/24 dev wan0' 'link set wan0 up' 'route add default via 100.0.0.254' | batch client
	for node in "${gateways[@]}"; do
		printf '%s\n' "addr add 200.0.0.${node#g}/24 dev wan0" 'link set wan0 up' 'route add default via 200.0.0.1' \
			"addr add 10.0.0.${node#g}/24 dev lan0" 'link set lan0 up' | batch "$node"
	done
	for node in "${targets[@]}"; do
		printf '%s\n' "addr add ${address[$node]}/24 dev lan0" 'link set lan0 up' 'route add 100.0.0.1 dev lan0' | batch "$node"
	done
	poll_until 20 on client ping -qc 1 -W 1 200.0.0.254 >/dev/null || fail "the underlay does not carry"
	say "figure 2 stands (rp_filter $filter)"
}

# left_running: what runs of Holdfast's in any node's network namespace.
left_running() {
	local node
	for node in "${!daemon[@]}"; do
		pgrep --ns "${holder[$node]}" --nslist net -x 'holdfast.+' || true
	done
}
nothing_runs() { [ -z "$(left_running)" ]; }

topology_down() {
	local status=$? pid node
	trap - EXIT ERR
	if [ $status != 0 ] && [ $status != 77 ]; then
		report
	fi
	for pid in "${children[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in "${children[@]}"; do
		poll_until 3 gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
	done
	if ! poll_until 10 nothing_runs; then
		echo "FAILED: left behind: $(left_running | xargs ps -o pid=,args= -p)"
		[ $status != 0 ] || status=1
		left_running | xargs kill -KILL || true
	fi
	for pid in "${holder[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	# A sanitizer's word counts, even where the scenario was content.
	if [ $status = 0 ] && grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$work"/*.log 2>/dev/null; then
		grep -hE -A 20 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$work"/*.log | head -n 60
		status=1
	fi
	[ -n "${HOLDFAST_KEEP:-}" ] && cp -a "$work" "$HOLDFAST_KEEP/"
	rm -rf "$work"
	exit $status
}
trap topology_down EXIT

# What helps to see why a scenario failed.
report() {
	local log node
	for node in client "${gateways[@]}"; do
		[ -n "${daemon[$node]:-}" ] || continue
		echo "--- status of $node"
		timeout 5 nsenter -t "${holder[$node]}" -n -m -- "$B/holdfast" -i "$node" status --json 2>&1 | head -c 3000 || true
		echo
	done
	for log in "$work"/*.log; do
		[ -s "$log" ] || continue
		echo "--- ${log##*/} (end)"
		tail -n 40 "$log"
	done
	for node in client "${gateways[@]}"; do
		[ -n "${daemon[$node]:-}" ] || continue
		echo "--- $node: rules, table, states"
		on "$node" ip rule 2>&1 | head -n 12 || true
		on "$node" ip -br link 2>&1 || true
		on "$node" ip xfrm state 2>&1 | grep -E '^src|spi|if_id' | head -n 24 || true
	done
}

# Faults -----------------------------------------------------------------------------------------------------------

# power_off NODE: its links go silent both ways, all at once; the node itself notices nothing.
power_off() {
	on net nft -f - <<-END
		table netdev off_$1 {
			chain in { type filter hook ingress devices = { ${ports[$1]} } priority -500; policy drop; }
			chain out { type filter hook egress devices = { ${ports[$1]} } priority -500; policy drop; }
		}
	END
	say "$1: power off"
}

power_on() {
	on net nft delete table netdev "off_$1"
	say "$1: power on"
}

# protected_down NODE: the gateway's own interface towards its targets loses its link.
protected_down() {
	on net ip link set "l${1#g}" down
	say "$1: protected link down"
}

protected_up() {
	on net ip link set "l${1#g}" up
	say "$1: protected link up"
}

# underlay_down NODE: the gateway's own interface towards its clients loses its link.
underlay_down() {
	on net ip link set "w${1#g}" down
	say "$1: underlay link down"
}

underlay_up() {
	on net ip link set "w${1#g}" up
	say "$1: underlay link up"
}

# loss PERCENT: on the client's way, in both directions; 0 ends it.
loss() {
	local port
	for port in client wan; do
		if [ "$1" = 0 ]; then
			on net tc qdisc del dev $port root
		else
			on net tc qdisc replace dev $port root netem loss "$1%" limit 10000
		fi
	done
	say "loss on the underlay: $1 %"
}

# Daemons ----------------------------------------------------------------------------------------------------------

# pki: one CA, a certificate for each node, in $work/pki.
# A run of many scenarios makes it once, in E2E_CACHE.
pki() {
	local node
	if [ -e "${E2E_CACHE:-/nowhere}/pki/done" ]; then
		cp -a "$E2E_CACHE/pki" "$work/pki"
		return
	fi
	"$B/holdfast" pki init "$work/pki" >/dev/null
	for node in client "${gateways[@]}"; do
		"$B/holdfast" pki issue "$work/pki" "$node" --ip "${address[$node]}" >/dev/null
	done
	chmod -R a+rX "$work/pki"
	[ -z "${E2E_CACHE:-}" ] || { cp -a "$work/pki" "$E2E_CACHE/pki" && : >"$E2E_CACHE/pki/done"; }
	say "certificates issued"
}

# The files that `holdfast pki` makes, by name; [TrustAnchors folder] [certificate's name].
identity() {
	local folder=${2:-$work/pki}
	cat <<-END
		[IDENTITY]
		Certificate = $folder/$1.pem
		PrivateKey = $folder/$1.key
		TrustAnchors = $folder/ca.pem
		RevocationList = $folder/crl.pem

	END
}

# client_policy [NAME=VALUE]...: the client's policy. Names: heartbeat defer response tries order standby connect
# timeout cluster name folder, extra (more lines of [INTERFACE]), tunnels (all lines of [TUNNEL]). An empty heartbeat leaves the
# statement out.
client_policy() {
	local heartbeat=INSTANT defer=0.4 response=0.2 tries=2 order=FIXED standby=1 connect=TRAFFIC timeout=3
	local cluster='200.0.0.252 200.0.0.253 200.0.0.254' name=client folder=$work/pki setting
	local extra='' tunnels='Tunnel 1 = 10.0.0.1 - 10.0.0.3 Cluster 1'
	for setting in "$@"; do
		local "${setting?}"
	done
	cat >"$work/client.conf" <<-END
		[GENERAL]
		${heartbeat:+Heartbeat = $heartbeat}
		HeartbeatDeferTime = $defer
		HeartbeatResponseTime = $response
		HeartbeatTries = $tries
		ClusterOrder = $order
		Standby = $standby
		Connect = $connect
		KeyRequestTimeout = $timeout

		$(identity "$name" "$folder")

		[INTERFACE]
		Underlay = wan0
		$extra

		[CLUSTER]
		Cluster 1 = $cluster

		[TUNNEL]
		$tunnels
	END
}

# gateway_policy NODE [NAME=VALUE]...: names: name (of its certificate), folder, extra (more lines).
gateway_policy() {
	local node=$1 name=$1 folder=$work/pki extra='' setting
	shift
	for setting in "$@"; do
		local "${setting?}"
	done
	cat >"$work/$node.conf" <<-END
		$(identity "$name" "$folder")

		[INTERFACE]
		Underlay = wan0
		Protected = lan0
		$extra
	END
}

hf() {
	local node=$1
	shift
	on "$node" "$B/holdfast" -i "$node" "$@"
}

# get NODE FILTER: a value of the node's status, by a filter of jq. (gojq: jq 1.6 takes ten times as long to start, which is what
# a scenario in a VM would mostly do.)
get() { hf "$1" status --json 2>/dev/null | gojq -r "$2"; }
# is NODE FILTER VALUE
is() { [ "$(get "$1" "$2" 2>/dev/null)" = "$3" ]; }
# at_least NODE FILTER NUMBER
at_least() {
	local value
	value=$(get "$1" "$2" 2>/dev/null) && [ "${value:-null}" != null ] && [ "$value" -ge "$3" ]
}
current() { get client '.clusters[0].current // "none"'; }
current_is() { [ "$(current 2>/dev/null)" = "${address[$1]}" ]; }
current_is_not() {
	local value
	value=$(current 2>/dev/null) && [ -n "$value" ] && [ "$value" != "${address[$1]}" ]
}
# current_node: the name of the gateway in use.
current_node() {
	local value
	value=$(current)
	echo "g${value##*.}"
}
# gateway_state NODE STATE
gateway_state() { is client ".clusters[0].gateways[] | select(.address == \"${address[$1]}\") | .state" "$2"; }
# states NODE: how many the kernel has.
states() { on "$1" ip xfrm state | grep -c '^src' || true; }
standby_ready() { at_least client '[.clusters[0].gateways[] | select(.state == "standby")] | length' "$1"; }

daemon_answers() { hf "$1" status >/dev/null 2>&1; }
daemon_settled() { gone "${daemon[$1]}" || daemon_answers "$1"; }

# start_daemon NODE...: all at once, ready when it returns.
start_daemon() {
	local node
	for node in "$@"; do
		on_background "$node" "$node-daemon.log" "$B/holdfastd" -p "$work/$node.conf" -i "$node" -v
		daemon[$node]=$background
	done
	for node in "$@"; do
		poll_until 120 daemon_settled "$node" || fail "$node: holdfastd is neither ready nor gone"
		! gone "${daemon[$node]}" || fail "$node: holdfastd ended: $(tail -n 3 "$work/$node-daemon.log")"
		say "$node: holdfastd is ready"
	done
}

stop_daemon() {
	end "${daemon[$1]}" TERM
	daemon[$1]=
	say "$1: holdfastd ended"
}

# The key services are holdfastd's children: they must go by themselves when their parent is gone.
kill_daemon() {
	local pid services
	services=$(pgrep -P "${daemon[$1]}" -x holdfast-kms || true)
	end "${daemon[$1]}" KILL
	for pid in $services; do
		poll_until 20 gone "$pid" || fail "$1: holdfastd is gone, and its key service $pid is not"
	done
	daemon[$1]=
	say "$1: holdfastd killed"
}

# wipe NODE: everything that a daemon leaves in the kernel, as a reboot would. Forwarding first: a machine that boots has
# none, and with it the kernel would send answers on in clear between the steps (ip_forward that is 0 already says nothing to the
# devices).
wipe() {
	on "$1" /bin/bash -c 'sysctl -qw net.ipv4.ip_forward=0
		for knob in /proc/sys/net/ipv4/conf/*/forwarding; do echo 0 >$knob; done; ip link del hf0; ip xfrm state flush; ip xfrm policy flush
		for mode in xdpgeneric xdpdrv xdp; do ip link set wan0 $mode off; done
		for dev in wan0 lan0; do tc qdisc del dev $dev clsact; done
		ip neigh flush proxy; ip rule flush; ip rule add lookup main pref 32766
		find /sys/fs/bpf -mindepth 1 -depth -delete; rm -rf /run/holdfast' >/dev/null 2>&1 || true
	say "$1: datapath wiped"
}

# cluster_up [client_policy settings]: PKI, policies and daemons for all of figure 2.
cluster_up() {
	local node
	pki
	client_policy "$@"
	for node in "${gateways[@]}"; do
		gateway_policy "$node"
	done
	start_daemon "${gateways[@]}" client
}

# Traffic ----------------------------------------------------------------------------------------------------------

# serve [TARGET]...: the probes' server on each target, UDP and TCP port 7000.
serve() {
	local node
	for node in "${@:-t1}"; do
		on_background "$node" "$node-serve.log" "$probe" serve 7000
		poll_until 20 grep -q '^serving' "$work/$node-serve.log" || fail "$node serves nothing"
	done
}

# probe_udp NAME [OPTIONS]: background UDP probes from the client to t1; see probe.c. End with probe_end NAME.
declare -A probes=()
probe_udp() {
	local name=$1
	shift
	on_background client "$name.log" "$probe" udp "${address[t1]}" 7000 "$@"
	probes[$name]=$background
}
# probe_tcp NAME up|down|idle [OPTIONS]
probe_tcp() {
	local name=$1 mode=$2
	shift 2
	on_background client "$name.log" "$probe" tcp "${address[t1]}" 7000 "$mode" "$@"
	probes[$name]=$background
}
answered() { grep -q '^first' "$work/$1.log"; }
# probe_end NAME: ends it; its sum stays in the log.
probe_end() {
	end "${probes[$1]}" INT
	grep -q '^sum' "$work/$1.log" || fail "$1: no sum: $(tail -n 2 "$work/$1.log")"
	say "$1: $(grep '^sum' "$work/$1.log")"
}
# sum NAME FIELD
sum() { sed -n "s/^sum .*\<$2=\([^ ]*\).*/\1/p" "$work/$1.log"; }
# warm: a session stands before anything is measured. More than one packet: on a slow machine the first may be held too long.
warms=0
warm() {
	warms=$((warms + 1))
	probe_udp warm$warms -i 1000
	must 60 "the first packet was answered" answered warm$warms
	end "$background" INT
}
# moving NAME BYTES: the TCP probe has moved that many bytes in all; the UDP one has that many answers.
moving() {
	local bytes
	bytes=$(sed -n 's/^at .*\<bytes=\([0-9]*\).*/\1/p' "$work/$1.log" | tail -n 1)
	[ "${bytes:-0}" -ge "$2" ]
}
bytes_of() { sed -n 's/^at .*\<bytes=\([0-9]*\).*/\1/p' "$work/$1.log" | tail -n 1; }
# still_moving NAME [SECONDS]: it moves from here on; fails when its connection broke.
still_moving() {
	local before
	before=$(bytes_of "$1")
	must "${2:-20}" "$1: goes on (after ${before:-0})" moving "$1" $((${before:-0} + 1))
}

# The underlay's capture -------------------------------------------------------------------------------------------

# By port: the process.
declare -A captures
# What may be seen there: ESP (heartbeats are ESP), the same in UDP, the key service's TLS, ARP. And the tests' own
# ping of topology_up is over by then.
# The router, too, may say that a gateway without power is not there.
allowed='proto 50 or udp port 4500 or tcp port 7546 or arp or
	(icmp[icmptype] = icmp-unreach and (src host 100.0.0.254 or src host 200.0.0.1))'

# capture PORT...: into PORT.pcap, all that passes there from now on.
capture() {
	local port
	for port; do
		on_background net "capture-$port.err" tcpdump -Z root -n -i "$port" -s 400 -B 8192 -U -w "$work/$port.pcap"
		captures[$port]=$background
	done
	for port; do
		poll_until 20 grep -q 'listening on' "$work/capture-$port.err" || fail "no capture on $port"
	done
}
# capture_start [PORT]...: of the underlay: the ports of figure 2, and these. And the first packets of the probes at their target: there
# they are in clear, and what looks for them must find them.
capture_start() {
	underlay_ports=(client w252 w253 w254 "$@")
	capture "${underlay_ports[@]}"
	on_background net capture-lan.err tcpdump -Z root -n -i t1 -s 400 -c 10 --immediate-mode -U -w "$work/lan.pcap" \
		'port 7000 and greater 80'
	poll_until 20 grep -q 'listening on' "$work/capture-lan.err" || fail "no capture on t1"
}

# The kernel gives tcpdump its packets a block at a time, up to a second late. What it has come to it says when it is asked.
# told PORT: takes what it has said: how often, and of the last time the packets that are in the file, and those that came.
told() {
	local line
	answers=0
	while read -r line; do
		[[ $line =~ ^tcpdump:\ ([0-9]+)\ packets?\ captured,\ ([0-9]+)\ packets?\ received\ by\ filter,\ ([0-9]+) ]] || continue
		answers=$((answers + 1)) written=${BASH_REMATCH[1]} missed=${BASH_REMATCH[3]}
		came=$((BASH_REMATCH[2] - missed))
	done <"$work/capture-$1.err"
}
# asked PORT NUMBER: it has answered more often than that.
asked() { kill -USR1 "${captures[$1]}"; breathe; told "$1"; [ "$answers" -gt "$2" ]; }
has_written() { asked "$1" 0; [ "$written" -ge "$2" ]; }
# read_out PORT: until all that had passed there is in the file; how many did not come so far is left in $missed.
read_out() {
	local answers written=0 came=0
	told "$1"
	poll_until 20 asked "$1" "$answers" || fail "the capture on $1 does not answer"
	poll_until 20 has_written "$1" "$came" || fail "the capture on $1 is stuck: $written of $came"
	[ "$missed" = 0 ] || say "capture: $missed packets on $1 came too fast for it"
}

# Filters of tcpdump: heartbeats, plain or in UDP.
# shellcheck disable=SC2034 # for the scenarios
beat='((ip proto 50 and ip[20:4] = 0xffffffff) or (udp port 4500 and ip[28:4] = 0xffffffff))'
# seen PORT FROM TO FILTER: how many packets were captured there between two times of now_ms.
seen() {
	read_out "$1" >&2
	tcpdump -n -tt -r "$work/$1.pcap" "$4" 2>/dev/null | awk -v from="$2" -v to="$3" '
		{ ms = $1 * 1000 } ms >= from && ms <= to { n++ } END { print n + 0 }'
}

# marked PORT: whether a probe was captured there.
marked() { grep -qa "$marker" "$work/$1.pcap"; }
# capture_assert_closed: ends the captures; all that passed there was captured, nothing but the allowed, and no marker.
capture_assert_closed() {
	local port other missed=0
	for port in "${!captures[@]}"; do
		read_out "$port"
		[ "$missed" = 0 ] || fail "the capture on $port has not seen all"
		end "${captures[$port]}" INT
	done
	captures=()
	for port in "${underlay_ports[@]}"; do
		other=$(tcpdump -n -c 5 -r "$work/$port.pcap" "not ($allowed)" 2>/dev/null)
		[ -z "$other" ] || fail "in clear on $port: $other"
		! marked "$port" || fail "plaintext on $port"
	done
	say "capture: nothing in clear on the underlay"
}
# capture_assert_encrypted: likewise, and it proves something: ESP was seen, and the marker where there were probes.
capture_assert_encrypted() {
	local port esp=''
	capture_assert_closed
	for port in "${underlay_ports[@]}"; do
		esp+=$(tcpdump -n -c 1 -r "$work/$port.pcap" "proto 50 or udp port 4500" 2>/dev/null)
	done
	[ -n "$esp" ] || fail "the capture saw no ESP at all: it proves nothing"
	[ "$warms${#probes[@]}" = 00 ] || poll_until 5 marked lan || fail "no probe was seen at its target: it proves nothing"
}

# All of it ---------------------------------------------------------------------------------------------------------

# standing [client_policy settings]: figure 2 with its daemons, the server on t1, and the capture.
standing() {
	topology_up
	cluster_up "$@"
	serve t1
	capture_start
}
# under_way [client_policy settings]: likewise, with a session, and the UDP probes "udp" that are answered.
under_way() {
	standing "$@"
	warm
	probe_udp udp
	must 20 "probes are answered" answered udp
}
