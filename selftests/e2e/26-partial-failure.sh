#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The gateway in use loses its underlay link, or its protected one, or both: it is left, and connections survive.
# limit: 200
. "$(dirname "$0")/lib.sh"

underlay() { underlay_$1 "$2"; }
protected() { protected_$1 "$2"; }
both() {
	underlay_$1 "$2"
	protected_$1 "$2"
}

standing
warm
probe_tcp up up
must 20 "data moves" moving up 20000
for fault in underlay protected both; do
	probe_udp $fault
	must 20 "probes are answered" answered $fault
	must 20 "another stands by" standby_ready 1
	used=$(current_node)
	$fault down "$used"
	must 20 "the client left $used" current_is_not "$used"
	still_moving $fault 20
	still_moving up
	probe_end $fault
	[ "$(sum $fault longest_ms)" -le 5000 ] || fail "$fault: an outage of $(sum $fault longest_ms) ms"
	$fault up "$used"
	must 20 "$used: its gate is open again" is "$used" .health.gate open
done
probe_end up
[ "$(sum up connection)" = same ] || fail "the connection broke"

capture_assert_encrypted
