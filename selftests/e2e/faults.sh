#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The fault matrix: each fault, at the gateway in use and at the client, times idle, download, upload and many flows. Each cell
# shows the outage as a user sees it, the probes that were lost, whether every TCP connection survived, and whether anything was
# seen on the underlay in clear. It judges nothing: what must hold is in the numbered scenarios. A row is done by who first makes
# its folder in FAULT_ROWS, so that several may work at the same matrix; `make faults` (selftests/faults) does so. FAULTS='kill*'
# and LOADS='down up' choose.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"
. "$(dirname "$0")/certify.inc"

chosen_faults=${FAULTS:-*}
chosen_loads=${LOADS:-idle down up many}
flows=${FLOWS:-5}
rows=${FAULT_ROWS:-$work/rows}

# Faults -----------------------------------------------------------------------------------------------------------
# fault_NAME NODE: brings it about, and ends it where it is one that passes; prepare_NAME NODE: what it needs before there
# is traffic; heal_NAME NODE: ends what has stayed.

seconds() { pass "$1" "it lasts" >/dev/null; }

fault_power() { power_off "$1"; [ "$1" != client ] || { seconds 2; power_on client; }; }
heal_power() { [ "$1" = client ] || power_on "$1"; }

# Packets are lost in one direction only: to the node, or from it.
one_way() {
	local hook=$2
	on net nft -f - <<-END
		table netdev way_$1 {
			chain way { type filter hook $hook devices = { ${ports[$1]} } priority -500; policy drop; }
		}
	END
	[ "$1" != client ] || { seconds 2; on net nft delete table netdev way_client; }
}
fault_deaf() { one_way "$1" egress; }
fault_silent() { one_way "$1" ingress; }
heal_deaf() { [ "$1" = client ] || on net nft delete table netdev "way_$1"; }
heal_silent() { heal_deaf "$1"; }

cable() { on net ip link set "$([ "$1" = client ] && echo client || echo "w${1#g}")" "$2"; }
fault_underlay() { cable "$1" down; [ "$1" != client ] || { seconds 2; cable client up; }; }
heal_underlay() { [ "$1" = client ] || cable "$1" up; }

fault_protected() { protected_down "$1"; }
heal_protected() { protected_up "$1"; }

fault_both() { underlay_down "$1"; protected_down "$1"; }
heal_both() { underlay_up "$1"; protected_up "$1"; }

# The one in use and the one that stands by.
fault_two() { second=$(standby_node); power_off "$1"; power_off "$second"; }
heal_two() { power_on "$1"; power_on "$second"; }
standby_node() { echo "g$(get client '[.clusters[0].gateways[] | select(.state == "standby") | .address][0] // empty' | sed 's/.*\.//')"; }

# Somebody answers the heartbeats of the one that is dead.
fault_forged() {
	power_off "$1"
	on_background net forge.log "$hostile" beat -s "${address[$1]}" -t 100.0.0.1 -n 0 -i 10
	forger=$background
}
heal_forged() { end "$forger" INT; power_on "$1"; }

# Who would be asked next accepts TCP and says nothing.
fault_mute() { stop_all "$(kms "$(next_node)")"; power_off "$1"; }
heal_mute() { go_on; power_on "$1"; }
# next_node: who would be asked for a session next.
next_node() {
	local next
	next=$(get client '[.clusters[0].gateways[] | select(.session == null) | .address][0] // empty')
	if [ -n "$next" ]; then echo "g${next##*.}"; else standby_node; fi
}

# Who would be asked next has a certificate of another authority.
fault_wrong() {
	local others=$work/others
	[ -e "$others" ] || "$B/holdfast" pki init "$others" >/dev/null
	wrong=$(next_node)
	[ -e "$others/$wrong.pem" ] || "$B/holdfast" pki issue "$others" "$wrong" --ip "${address[$wrong]}" >/dev/null
	chmod -R a+rX "$others"
	gateway_policy "$wrong" folder="$others"
	hf "$wrong" reload
	power_off "$1"
}
heal_wrong() { gateway_policy "$wrong"; hf "$wrong" reload; power_on "$1"; }

fault_flap() {
	for _ in 1 2 3; do
		power_off "$1"
		seconds 2
		power_on "$1"
		seconds 1
	done
}

# Heartbeats and connections that say nothing, from who is no client.
fault_strangers() {
	local from=client
	[ "$1" != client ] || from=net
	if [ $from = client ]; then
		on net ip route replace 100.0.0.66 dev client
		on client ip addr add 100.0.0.66/32 dev wan0
	fi
	on_background $from strangers.log "$hostile" beat -s 100.0.0.66 -t "${address[$1]}" -n 5000 -i 1
	on net timeout 5 bash -c "for ((i = 0; i < 200; i++)); do exec {fd}<>/dev/tcp/${address[$1]}/7546; done; cat" <"$work/silence" || true
	poll_until 60 gone "$background" || fail "the stranger does not end"
	[ $from = net ] || on client ip addr del 100.0.0.66/32 dev wan0
}
fault_inner() { on client "$hostile" inner -s 10.99.99.99 -t 10.0.0.1 -p 7000 -n 250 -i 20; }

fault_all() {
	local node
	for node in "${gateways[@]}"; do power_off "$node"; done
	seconds 5
	for node in "${gateways[@]}"; do power_on "$node"; done
}

fault_kill_daemon() { kill_daemon "$1"; start_daemon "$1"; }
fault_kill_kms() { kill_kms "$1"; }
fault_kill_all() { fault_kill_kms "$1"; fault_kill_daemon "$1"; }

stopped=()
# stop_all PIDS: until go_on.
stop_all() {
	local pid
	for pid in $1; do
		kill -STOP "$pid"
		stopped+=("$pid")
	done
}
go_on() { [ ${#stopped[@]} = 0 ] || kill -CONT "${stopped[@]}"; stopped=(); }
fault_stop_10s() { stop_all "${daemon[$1]} $(kms "$1")"; seconds 10; go_on; }

# More notices than there is room for, while nobody reads.
fault_notices() {
	local i k
	stop_all "${daemon[$1]}"
	for i in {1..60}; do
		for k in {1..250}; do
			echo "route add 203.0.$i.$k/32 dev wan0 table 99"
		done
	done | batch "$1"
	go_on
	on "$1" ip route flush table 99
}

fault_forwarding() { on "$1" sysctl -qw net.ipv4.ip_forward=0; }
fault_tunnel() { on "$1" ip link del hf0; }
fault_rules() { on "$1" ip rule del pref 7546; on "$1" ip route flush table 7546; }
fault_policies() { on "$1" ip xfrm policy flush; }

fault_reboot() { kill_daemon "$1"; wipe "$1"; start_daemon "$1"; }
fault_orderly_end() { stop_daemon "$1"; }
heal_orderly_end() { start_daemon "$1"; }
fault_drain() { hf "$1" drain; }
heal_drain() { hf "$1" undrain; }
fault_failover() { hf client failover 'Cluster 1'; }
fault_flush_states() { on "$1" ip xfrm state flush; }
fault_upgrade() {
	kill_daemon "$1"
	on_background "$1" "$1-daemon.log" "$B/selftests/e2e/next/holdfastd" -p "$work/$1.conf" -i "$1" -v
	daemon[$1]=$background
	must 60 "the other build is ready" daemon_answers "$1"
}
fault_reload() { hf "$1" reload; }
fault_reload_changed() {
	[ "$1" = client ] || gateway_policy "$1" extra=$'Encapsulation = ESP\n[PEER]\nPeer1 = 10.9.0.0/16 nobody'
	[ "$1" = client ] || { hf "$1" reload; gateway_policy "$1"; hf "$1" reload; return; }
	client_policy tunnels=$'Tunnel 1 = 10.0.0.1 - 10.0.0.3 Cluster 1\n\t\tTunnel 2 = 10.0.0.9 Cluster 1'
	hf client reload
	client_policy
	hf client reload
}
# Keys of all sessions, again and again: the client's limits, or the gateway's, who asks the client.
renew_each() { local extra=$'\n[GENERAL]\nRekeyTime = 5'; if [ "$1" = client ]; then client_policy extra="$extra"; else gateway_policy "$1" extra="$extra"; fi; hf "$1" reload; }
renew_no_more() { if [ "$1" = client ]; then client_policy; else gateway_policy "$1"; fi; hf "$1" reload; }
fault_rekey() {
	local before
	before=$(times_logged client ' rekey: ')
	renew_each "$1"
	poll_until 60 logged_more client ' rekey: ' $((before + 1)) || fail "no keys are renewed"
	renew_no_more "$1"
}
fault_reload_bad() { cp "$work/$1.conf" "$work/good"; echo nonsense >>"$work/$1.conf"; ! hf "$1" reload 2>/dev/null; cp "$work/good" "$work/$1.conf"; }
certified_anew() {
	"$B/holdfast" pki issue "$work/pki" "$1" --ip "${address[$1]}" >/dev/null
	chmod -R a+rX "$work/pki"
	hf "$1" reload
}
fault_revoked() {
	local node
	"$B/holdfast" pki revoke "$work/pki" "$1" >/dev/null
	chmod -R a+rX "$work/pki"
	[ "$1" = client ] || { hf client reload; return; }
	for node in "${gateways[@]}"; do hf "$node" reload; done
	seconds 2
	certified_anew client
}
heal_revoked() { [ "$1" = client ] || certified_anew "$1"; }
# No room for another client; for another session of the client's: one is wanted.
fault_map_full() {
	fill_map "$1" "$([ "$1" = client ] && echo hf_live || echo hf_claims)"
	[ "$1" != client ] || hf client failover 'Cluster 1' "${address[$(next_node)]}" || true
}
heal_map_full() { kill_daemon "$1"; start_daemon "$1"; }
fault_recertify() { certify "$1" 31536000; }
# A certificate that ends counts in the sessions that are made with it.
prepare_certificate_ends() {
	certify "$1" 60
	over=$ends
	certificate "$1" 31536000
	stop_daemon "$1"
	start_daemon "$1"
	[ "$1" = client ] || poll_until 30 hf client failover 'Cluster 1' "${address[$1]}" || fail "no session with $1"
	warm
	poll_until 30 standby_ready 1 || fail "none stands by"
	[ "$1" = client ] || current_is "$1" || fail "$1 is not in use"
}
fault_certificate_ends() {
	local left=$((over - $(date +%s)))
	[ $left -gt 0 ] || fail "its date passed before there was traffic"
	seconds $((left + 2))
	[ "$1" != client ] || take_certificate client
}
heal_certificate_ends() { [ "$1" = client ] || take_certificate "$1"; }
# No room where it keeps what it must not forget.
fault_disk() {
	on "$1" mount -o remount,size="$(on "$1" df -k --output=used /run | tail -n 1 | tr -d ' ')k" /run
	! on "$1" bash -c 'echo x >/run/x' 2>/dev/null || fail "/run is not full"
	on "$1" rm -f /run/x
	kill_daemon "$1"
	on_background "$1" "$1-daemon.log" "$B/holdfastd" -p "$work/$1.conf" -i "$1" -v
	daemon[$1]=$background
	poll_until 60 daemon_settled "$1" || fail "$1: neither ready nor gone"
	! gone "${daemon[$1]}" || say "$1: it does not start: $(tail -n 1 "$work/$1-daemon.log")"
	seconds 5
	on "$1" mount -o remount,size=50% /run
	! gone "${daemon[$1]}" || start_daemon "$1"
}
router_of() { [ "$1" = client ] && echo 100.0.0.254 || echo 200.0.0.1; }
fault_address() {
	on "$1" ip addr del "${address[$1]}/24" dev wan0
	seconds 1
	printf '%s\n' "addr add ${address[$1]}/24 dev wan0" "route replace default via $(router_of "$1")" | batch "$1"
}
fault_route() {
	on "$1" ip route del default
	seconds 1
	on "$1" ip route add default via "$(router_of "$1")"
}
clock_by() { date -s "@$(($(date +%s) + $1))" >/dev/null; }
fault_clock() { clock_by 86400; seconds 2; clock_by -172800; seconds 2; clock_by 86400; }
# Keys are to be renewed while there is nothing to do it with.
fault_descriptors() {
	renew_each client
	prlimit --pid "${daemon[$1]}" --nofile=3:
	seconds 8
	prlimit --pid "${daemon[$1]}" --nofile=1024:
	renew_no_more client
}
fault_memory() {
	renew_each client
	prlimit --pid "${daemon[$1]}" --as="$(awk '/^VmSize/ { print $2 * 1024 }' "/proc/${daemon[$1]}/status")":
	seconds 8
	prlimit --pid "${daemon[$1]}" --as=unlimited:
	renew_no_more client
}
impair() {
	local port
	for port in client wan; do on net tc qdisc replace dev $port root netem limit 10000 "$@"; done
	seconds 5
	for port in client wan; do on net tc qdisc del dev $port root; done
}
fault_loss_20() { impair loss 20%; }
fault_disorder() { impair delay 20ms 10ms duplicate 10% reorder 25%; }

# name:where:words
faults=(
	"power:gateway client:links silent (the client's for 2 s)"
	"deaf:gateway client:links silent one way, to it (the client's for 2 s)"
	"silent:gateway client:links silent one way, from it (the client's for 2 s)"
	"two:gateway:links silent, and those of the standby"
	"forged:gateway:links silent, its heartbeats' answers forged"
	"mute:gateway:links silent, the next key service mute"
	"wrong:gateway:links silent, the next certificate of another authority"
	"flap:gateway:links silent for 2 s, three times"
	"all:gateway:links of all gateways silent for 5 s"
	"underlay:gateway client:underlay link down (the client's for 2 s)"
	"protected:gateway:protected link down"
	"both:gateway:both links down"
	"reboot:gateway:daemon and datapath gone, started anew"
	"kill_daemon:gateway client:holdfastd killed and started"
	"kill_kms:gateway client:holdfast-kms killed"
	"kill_all:gateway client:both killed and started"
	"stop_10s:gateway client:both stopped for 10 s"
	"upgrade:gateway client:holdfastd killed, another build started"
	"orderly_end:gateway:holdfastd ended in order"
	"drain:gateway:drained"
	"failover:client:holdfast failover"
	"flush_states:gateway client:ip xfrm state flush"
	"policies:gateway client:ip xfrm policy flush"
	"rules:gateway client:rule and routes removed"
	"tunnel:gateway client:hf0 removed"
	"forwarding:gateway:ip_forward=0"
	"address:gateway client:address of the underlay removed for 1 s"
	"route:gateway client:route of the underlay removed for 1 s"
	"reload:gateway client:holdfast reload, nothing changed"
	"reload_changed:gateway client:reload of a changed policy, and back"
	"reload_bad:gateway client:reload of a faulty policy"
	"rekey:gateway client:keys renewed by its limits"
	"revoked:gateway client:certificate revoked, the others reload (the client's: a new one 2 s later)"
	"recertify:gateway client:certificate replaced by reload"
	"certificate_ends:gateway client:certificate ends (the client's: a new one 2 s later)"
	"strangers:gateway client:a stranger's heartbeats and silent connections for 5 s"
	"inner:client:packets of an inner source not its own for 5 s"
	"map_full:gateway client:its map of clients full (the client's: of sessions)"
	"disk:gateway client:holdfastd killed and started, no room on /run for 5 s"
	"descriptors:gateway client:no file descriptors for 8 s, and keys to renew"
	"memory:gateway client:no memory for 8 s, and keys to renew"
	"notices:gateway client:too many notices of the kernel at once"
	"clock:client:clock of all machines a day on, a day behind, and right again"
	"loss_20:client:20 % lost for 5 s"
	"disorder:client:20 ms late, reordered and doubled for 5 s"
)

# Loads ------------------------------------------------------------------------------------------------------------
# load_NAME: starts probes and puts their names into $udps and $tcps.

load_idle() { tcps=("$1-idle"); probe_tcp "$1-idle" idle -i 1000; }
load_down() { udps=("$1-udp"); tcps=("$1-down"); probe_udp "$1-udp"; probe_tcp "$1-down" down; }
load_up() { udps=("$1-udp"); tcps=("$1-up"); probe_udp "$1-udp"; probe_tcp "$1-up" up; }
load_many() {
	local i
	for ((i = 1; i <= flows; i++)); do
		udps+=("$1-udp$i")
		tcps+=("$1-tcp$i")
		probe_udp "$1-udp$i" -i 100
		probe_tcp "$1-tcp$i" up -r 10000
	done
}

# In clear ---------------------------------------------------------------------------------------------------------

# What nodes send that has an address of a target is counted, before a power-off takes it away: all of that must be in ESP.
watch_underlay() {
	on net nft -f - <<-END
		table netdev clear {
			counter seen { }
			chain in {
				type filter hook ingress devices = { client, w252, w253, w254 } priority -600
				ip saddr 10.0.0.0/24 counter name seen
				ip daddr 10.0.0.0/24 counter name seen
			}
		}
	END
}
in_clear() { on net nft -j list counter netdev clear seen | gojq '[.nftables[].counter.packets | numbers][0]'; }

# A cell -----------------------------------------------------------------------------------------------------------

# One is in use and another one stands by: not one that asked to be left in the cell before.
healthy() { is client '.clusters[0].current != null' true && standby_ready 1; }
all_moving() { for name in "$@"; do moving "$name" 1 || return 1; done; }
# more NAME...: each has moved on since the call.
more() {
	local name
	declare -A from
	for name in "$@"; do
		from[$name]=$(bytes_of "$name")
	done
	for name in "$@"; do
		poll_until 90 moving "$name" $((${from[$name]:-0} + 1)) || { say "$name does not go on"; return 1; }
	done
}

# cell FAULT NODE LOAD: leaves its text in $cell.
cell() {
	local fault=$1 node=$2 load=$3 name outage=0 lost=0 value connection=same clear
	udps=() tcps=()
	clear=$(in_clear)
	"load_$load" "$fault-$node-$load"
	poll_until 60 all_moving "${udps[@]}" "${tcps[@]}" || { cell="no traffic before"; return; }
	"fault_$fault" "$node"
	more "${udps[@]}" "${tcps[@]}" || connection=stuck
	# Each waits for its last answers: all at once.
	for name in "${udps[@]}" "${tcps[@]}"; do
		kill -INT "${probes[$name]}"
	done
	for name in "${udps[@]}" "${tcps[@]}"; do
		poll_until 30 gone "${probes[$name]}" || fail "$name does not end"
	done
	for name in "${udps[@]}"; do
		lost=$((lost + $(sum "$name" lost)))
		value=$(sum "$name" silence_ms)
		[ "$value" -le "$outage" ] || outage=$value
	done
	for name in "${tcps[@]}"; do
		[ "$(sum "$name" connection)" = same ] || connection=broken
		value=$(sum "$name" longest_stall_ms)
		[ ${#udps[@]} -gt 0 ] || [ "$value" -le "$outage" ] || outage=$value
	done
	cell="$outage ms, $([ ${#udps[@]} = 0 ] && echo - || echo "$lost")"
	[ $connection = same ] || cell+=", TCP $connection"
	clear=$(($(in_clear) - clear))
	[ $clear = 0 ] || cell+=", $clear IN CLEAR"
}

row() {
	local fault=$1 where=$2 words=$3 load node line
	line="| $words | $where |"
	for load in $chosen_loads; do
		poll_until 90 healthy || fail "the cluster is not well before $fault, $where, $load"
		node=client
		[ "$where" = client ] || node=$(current_node)
		! declare -F "prepare_$fault" >/dev/null || "prepare_$fault" "$node"
		cell "$fault" "$node" "$load"
		say "CELL $fault $where $load: $cell"
		! declare -F "heal_$fault" >/dev/null || "heal_$fault" "$node"
		line+=" $cell |"
	done
	echo "$line" >"$folder/row"
}

mkdir -p "$rows"
{
	echo "| fault | at the | $(echo "$chosen_loads" | sed 's/ / | /g') |"
	echo "|---|---|$(for _ in $chosen_loads; do printf -- '---|'; done)"
} >"$rows/head"
# Nothing to read, and no end of it.
mkfifo "$work/silence"
# shellcheck disable=SC2034 # held open
exec {silence}<>"$work/silence"
topology_up
watch_underlay
cluster_up
authority
serve t1
warm
n=0
for entry in "${faults[@]}"; do
	IFS=: read -r fault wheres words <<<"$entry"
	# shellcheck disable=SC2053 # a pattern
	[[ $fault == $chosen_faults ]] || continue
	for where in $wheres; do
		n=$((n + 1))
		folder=$rows/$(printf %02d $n)-$fault-$where
		! mkdir "$folder" 2>/dev/null || row "$fault" "$where" "$words"
	done
done
[ -n "${FAULT_ROWS:-}" ] || cat "$rows/head" "$rows"/*/row
