#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 600
# Another authority takes the place of the first one in the three steps that an operator takes: all trust both, all have
# certificates and keys of the new one, nobody trusts the old one. Each is a reload: the sessions stay and nothing is lost; what is
# renewed in the end is so by the new authority, and a certificate of the old one is worth nothing.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/survive.inc"

# identity_of FOLDER CERTIFICATES TRUSTED...: a folder with the certificates of one authority, and the trust of several.
identity_of() {
	local folder=$1 from=$2 trusted
	shift 2
	mkdir "$folder"
	cp "$from"/*.pem "$from"/*.key "$folder"
	: >"$folder/ca.pem"
	: >"$folder/crl.pem"
	for trusted in "$@"; do
		cat "$trusted/ca.pem" >>"$folder/ca.pem"
		cat "$trusted/crl.pem" >>"$folder/crl.pem"
	done
	chmod -R a+rX "$folder"
}
# step FOLDER: all nodes read it, one after the other.
step() {
	local node
	client_policy folder="$1"
	for node in "${gateways[@]}"; do
		gateway_policy "$node" folder="$1"
	done
	for node in "${gateways[@]}" client; do
		[ "$(hf "$node" reload)" = '[IDENTITY] changed' ] || fail "$node does not take ${1##*/}"
	done
	[ "$(spis client)" = "$before" ] || fail "${1##*/}: other sessions: $(spis client), before: $before"
	still_moving udp
	say "${1##*/}: the sessions stay"
}

standing
old=$work/pki new=$work/new
"$B/holdfast" pki init "$new" >/dev/null
for node in client "${gateways[@]}"; do
	"$B/holdfast" pki issue "$new" "$node" --ip "${address[$node]}" >/dev/null
done
identity_of "$work/both-trusted" "$old" "$old" "$new"
identity_of "$work/certified-anew" "$new" "$old" "$new"
identity_of "$work/old-gone" "$new" "$new"
traffic
before=$(spis client)
used=$(current_node)
step "$work/both-trusted"
step "$work/certified-anew"
step "$work/old-gone"

client_policy folder="$work/old-gone" extra=$'\n[GENERAL]\nRekeyTime = 5'
hf client reload >/dev/null || fail "no reload"
renewed() { at_least client '[.clusters[0].gateways[] | select(.session) | .session.renewals] | min' 1; }
must 60 "both sessions are renewed" renewed
current_is "$used" || fail "the client moved to $(current)"
nothing_lost

# It would trust the gateways, with a certificate of the old authority.
stop_daemon client
identity_of "$work/left-behind" "$old" "$new"
client_policy folder="$work/left-behind"
start_daemon client
probe_udp late
refused() { grep -q 'refused:' "$work/$1-daemon.log"; }
for node in "${gateways[@]}"; do
	must 60 "$node refuses it" refused "$node"
done
[ "$(current)" = none ] || fail "a session with $(current)"
capture_assert_encrypted
