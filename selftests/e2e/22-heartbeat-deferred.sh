#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Heartbeat = DEFERRED: an idle client with a dead gateway sends not one packet, for many defer times; the first payload then
# is what starts the recovery, and it is the datapath that says so.
. "$(dirname "$0")/lib.sh"

standing heartbeat=DEFERRED defer=0.4 response=0.3 tries=2
warm
must 20 "another stands by" standby_ready 1
used=$(current_node)

mac=$(on client cat /sys/class/net/wan0/address)
own="ether src $mac and not arp"
steer() { on client bpftool -j map lookup pinned /sys/fs/bpf/holdfast/client/hf_steer key 0 0 0 0; }
watched() { steer | gojq -e '.formatted.value.watch == 1' >/dev/null; }
quiet() { [ "$(seen client $(($(now_ms) - 1000)) "$(now_ms)" "$own")" = 0 ]; }
must 20 "the datapath watches for payload" watched
power_off "$used"
must 20 "what was under way is over" quiet

sent=$(get client .heartbeats.sent)
pass 8 "idle for 20 defer times"
[ "$(seen client "$from" "$to" "$own")" = 0 ] || fail "an idle client sent $(seen client "$from" "$to" "$own") packets"
current_is "$used" || fail "an idle client left $used"
is client .heartbeats.sent "$sent" || fail "heartbeats sent while idle"
watched || fail "the datapath no longer watches"
say "not one packet from an idle client"

from=$(now_ms)
probe_udp udp
must 20 "payload is answered" answered udp
current_is_not "$used" || fail "still $used"
say "$(grep '^first' "$work/udp.log")"
probe_end udp
# 2 x 0.3 s, and what the VM takes.
[ "$(sed -n 's/^first ms=//p' "$work/udp.log")" -le $((600 + 2400)) ] || fail "not recovered within response time x tries"
# One for each try; and one more each time that a slow machine's own timer is late by a response time (beat_extended).
beats=$(seen client "$from" "$(now_ms)" "$beat and dst host ${address[$used]}")
[ "$beats" -ge 2 ] && [ "$beats" -le 4 ] || fail "$beats heartbeats to $used, not 2"

capture_assert_encrypted
