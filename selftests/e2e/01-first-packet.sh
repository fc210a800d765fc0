#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The first packet of a new connection, with no session yet: it arrives, without being sent a second time by the program.
. "$(dirname "$0")/lib.sh"

standing connect=TRAFFIC

is client '[.clusters[0].gateways[] | select(.session)] | length' 0 || fail "there is a session before any traffic"
probe_udp one -c 1 -w 20000
must 25 "the probe ended" gone "${probes[one]}"
[ "$(sum one received)" = 1 ] || fail "the first packet did not arrive: $(cat "$work/one.log")"
say "$(grep '^first' "$work/one.log")"
# Held, and sent once: the target saw no second copy.
[ "$(sum one duplicates)" = 0 ] || fail "the first packet came twice"
current_is g252 || fail "ClusterOrder = FIXED, and not the first gateway: $(current)"

# When its certificate ends is in the status and in the metrics, for an alarm that does not wait for the event.
ends=$(date -d "$(openssl x509 -in "$work/pki/client.pem" -noout -enddate | cut -d= -f2)" +%s)
is client .certificate_ends "$ends" || fail "status: the certificate ends at $(get client .certificate_ends), not $ends"
hf client metrics >"$work/metrics" || fail "no metrics"
grep -qx "holdfast_certificate_ends_seconds $ends" "$work/metrics" || fail "metrics: $(grep certificate "$work/metrics")"

# What programs read is in the manual: each key of the status, the names of drop reasons aside, and each metric.
page=$(dirname "$0")/../../docs/holdfast.8
for word in $(get client 'del(.drops) | [.. | objects | keys[]] | unique[]') $(grep -oE '^holdfast_[a-z_]+' "$work/metrics" | sort -u); do
	grep -qw "$word" "$page" || fail "holdfast(8) does not name $word"
done

capture_assert_encrypted
