#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# limit: 900
# Another authority takes the place of the first one in the three steps that an operator takes: all trust both, all have
# certificates and keys of the new one, nobody trusts the old one. Each is a reload: the sessions stay, nothing is lost, and
# all sessions can be renewed in each step, with a revocation list of either authority in force. In the end a certificate of the old
# one is worth nothing.
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
renewals() { get client '.clusters[0].gateways[] | select(.session) | .session.renewals'; }
# renewed_since NUMBER...: each session has been, twice: one renewal may have been under way before.
renewed_since() {
	local now before
	mapfile -t now < <(renewals)
	[ "${#now[@]}" = "$#" ] || return 1
	for before in "$@"; do
		[ "${now[0]}" -ge $((before + 2)) ] || return 1
		now=("${now[@]:1}")
	done
}
not_soon() { at_least client '[.clusters[0].gateways[] | select(.session) | .session.rekey_in_s] | min' 60; }
# renew_all FOLDER: the sessions are renewed again and again, and then left alone.
renew_all() {
	local since
	mapfile -t since < <(renewals)
	client_policy folder="$1" extra=$'\n[GENERAL]\nRekeyTime = 5'
	hf client reload >/dev/null || fail "no reload"
	must 90 "${1##*/}: all sessions are renewed" renewed_since "${since[@]}"
	client_policy folder="$1"
	hf client reload >/dev/null || fail "no reload"
	must 30 "${1##*/}: they are left alone" not_soon
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
	renew_all "$1"
	before=$(spis client)
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
