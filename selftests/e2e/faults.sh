#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The fault matrix: each fault, at the gateway in use and at the client, times idle, download, upload and many flows. Each cell
# shows the outage as a user sees it, the probes that were lost, and whether every TCP connection survived. It judges nothing:
# what must hold is in the numbered scenarios. `make faults` runs it; FAULTS='kill*' and LOADS='down up' choose.
. "$(dirname "$0")/lib.sh"

chosen_faults=${FAULTS:-*}
chosen_loads=${LOADS:-idle down up many}
flows=${FLOWS:-10}

# Faults -----------------------------------------------------------------------------------------------------------
# fault_NAME NODE: brings it about, and ends it where it is one that passes; heal_NAME NODE: ends what has stayed.

seconds() { pass "$1" "it lasts" >/dev/null; }

fault_power() { power_off "$1"; [ "$1" != client ] || { seconds 2; power_on client; }; }
heal_power() { [ "$1" = client ] || power_on "$1"; }

cable() { on net ip link set "$([ "$1" = client ] && echo client || echo "w${1#g}")" "$2"; }
fault_underlay() { cable "$1" down; [ "$1" != client ] || { seconds 2; cable client up; }; }
heal_underlay() { [ "$1" = client ] || cable "$1" up; }

fault_protected() { protected_down "$1"; }
heal_protected() { protected_up "$1"; }

fault_both() { underlay_down "$1"; protected_down "$1"; }
heal_both() { underlay_up "$1"; protected_up "$1"; }

# The processes of holdfast-kms of a node.
services() { cat "/proc/${daemon[$1]}/task/${daemon[$1]}/children"; }

fault_kill_daemon() { kill_daemon "$1"; start_daemon "$1"; }
fault_kill_kms() {
	local pid
	for pid in $(services "$1"); do
		kill -KILL "$pid"
	done
}
fault_kill_all() { fault_kill_kms "$1"; fault_kill_daemon "$1"; }

fault_stop_10s() {
	local pid
	for pid in ${daemon[$1]} $(services "$1"); do
		kill -STOP "$pid"
		stopped+=("$pid")
	done
	seconds 10
	kill -CONT "${stopped[@]}"
	stopped=()
}
stopped=()

fault_reboot() { kill_daemon "$1"; wipe "$1"; on "$1" sysctl -qw net.ipv4.ip_forward=1; start_daemon "$1"; }
fault_orderly_end() { stop_daemon "$1"; }
heal_orderly_end() { start_daemon "$1"; }
fault_drain() { hf "$1" drain; }
heal_drain() { hf "$1" undrain; }
fault_failover() { hf client failover 'Cluster 1'; }
fault_flush_states() { on "$1" ip xfrm state flush; }
fault_reload() { hf "$1" reload; }
fault_loss_20() { loss 20; seconds 5; loss 0; }

# name:where:words
faults=(
	"power:gateway client:links silent (the client's for 2 s)"
	"underlay:gateway client:underlay link down (the client's for 2 s)"
	"protected:gateway:protected link down"
	"both:gateway:both links down"
	"reboot:gateway:daemon and datapath gone, started anew"
	"kill_daemon:gateway client:holdfastd killed and started"
	"kill_kms:gateway client:holdfast-kms killed"
	"kill_all:gateway client:both killed and started"
	"stop_10s:gateway client:both stopped for 10 s"
	"orderly_end:gateway:holdfastd ended in order"
	"drain:gateway:drained"
	"failover:client:holdfast failover"
	"flush_states:gateway client:ip xfrm state flush"
	"reload:gateway client:holdfast reload"
	"loss_20:client:20 % lost for 5 s"
)

# Loads ------------------------------------------------------------------------------------------------------------
# load_NAME: starts probes and puts their names into $udps and $tcps.

load_idle() { tcps=("$1-idle"); probe_tcp "$1-idle" idle -i 3000; }
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

# A cell -----------------------------------------------------------------------------------------------------------

healthy() {
	is client '.clusters[0].current != null and ([.clusters[0].gateways[] | select(.session)] | length) >= 2' true
}
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
	local fault=$1 node=$2 load=$3 name outage=0 lost=0 value connection=same
	udps=() tcps=()
	"load_$load" "$fault-$node-$load"
	poll_until 60 all_moving "${udps[@]}" "${tcps[@]}" || { cell="no traffic before"; return; }
	"fault_$fault" "$node"
	more "${udps[@]}" "${tcps[@]}" || connection=stuck
	for name in "${udps[@]}" "${tcps[@]}"; do
		end "${probes[$name]}" INT
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
}

row() {
	local fault=$1 where=$2 words=$3 load node line
	line="| $words | $where |"
	for load in $chosen_loads; do
		poll_until 90 healthy || fail "the cluster is not well before $fault, $where, $load"
		node=client
		[ "$where" = client ] || node=$(current_node)
		cell "$fault" "$node" "$load"
		say "CELL $fault $where $load: $cell"
		! declare -F "heal_$fault" >/dev/null || "heal_$fault" "$node"
		line+=" $cell |"
	done
	echo "$line" >>"$work/matrix"
}

topology_up
cluster_up
serve t1
warm
{
	echo "| fault | at the | $(echo "$chosen_loads" | sed 's/ / | /g') |"
	echo "|---|---|$(for _ in $chosen_loads; do printf -- '---|'; done)"
} >"$work/matrix"
for entry in "${faults[@]}"; do
	IFS=: read -r fault wheres words <<<"$entry"
	# shellcheck disable=SC2053 # a pattern
	[[ $fault == $chosen_faults ]] || continue
	for where in $wheres; do
		row "$fault" "$where" "$words"
	done
done
echo
cat "$work/matrix"
[ ! -d /out ] || cp "$work/matrix" /out/matrix
