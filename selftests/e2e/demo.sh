#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Figure 2 of the specification with a real HTTP server: a download runs through the tunnel, the gateway in use loses its
# power in the middle of it, and the download goes on. Prints a timeline. `make demo` runs it.
. "$(dirname "$0")/lib.sh"

say "Holdfast on Linux $(uname -r): client 100.0.0.1, gateways 200.0.0.252 .253 .254, targets 10.0.0.1 to .3"
topology_up
cluster_up defer=0.2 response=0.1
mkdir "$work/www"
head -c 20000000 /dev/urandom >"$work/www/large.bin"
echo "Holdfast's demo" >"$work/www/page"
for node in "${targets[@]}"; do
	on_background "$node" "$node-http.log" /usr/bin/python3 -m http.server 80 --bind "${address[$node]}" --directory "$work/www"
done
serve t1
capture_start
listening() { on "$1" bash -c "exec 3<>/dev/tcp/${address[$1]}/80" 2>/dev/null; }
for node in "${targets[@]}"; do
	poll_until 30 listening "$node" || fail "no HTTP server on $node"
done
say "HTTP servers run on 10.0.0.1, .2 and .3"

for node in t2 t3; do
	on client curl -sf --max-time 60 -o /dev/null "http://${address[$node]}/page" || fail "no answer from $node"
done
say "the client fetched a page from 10.0.0.2 and .3 through $(current)"
warm
probe_udp probe
must 20 "probes every 10 ms are answered" answered probe
must 20 "a second gateway stands by" standby_ready 1

# One request, one connection: curl counts those that it made. The server's own line has 6 Mbit/s for each flow, so that there is a
# middle of the download on a machine of any speed (curl's --limit-rate lets 20 MB pass at once when it was kept waiting).
on t1 tc qdisc replace dev lan0 root fq maxrate 6mbit
on_background client curl.log curl -sSf --max-time 200 -o "$work/got.bin" \
	-w 'connects=%{num_connects} status=%{http_code} bytes=%{size_download} seconds=%{time_total}\n' http://10.0.0.1/large.bin
curl=$background
size() { [ "$(stat -c %s "$work/got.bin" 2>/dev/null || echo 0)" -ge "$1" ]; }
must 60 "the download of 20 MB from 10.0.0.1 is under way" size 3000000
before=$(current)
node=$(current_node)
power_off "$node"
! gone "$curl" || fail "the download was over before the power-off, the demo proves nothing: $(cat "$work/curl.log")"
must 30 "the client has left $before" current_is_not "$node"
after=$(current)
still_moving probe 30
must 150 "the download ended" gone "$curl"
probe_end probe
cmp "$work/www/large.bin" "$work/got.bin" || fail "the download is damaged"
grep -q 'connects=1 status=200' "$work/curl.log" || fail "not one connection: $(cat "$work/curl.log")"
capture_assert_encrypted

cat <<END

  gateway before      $before
  gateway after       $after
  outage measured     $(sum probe longest_ms) ms ($(sum probe lost) of $(sum probe sent) probes)
  download            complete and identical, over the same TCP connection ($(cat "$work/curl.log"))
  on the underlay     nothing but ESP, heartbeats, TLS and ARP
END
