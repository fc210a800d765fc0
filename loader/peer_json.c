/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/peer_json.h"

#include "lib/clock.h"

json_t *peer_session_json(const struct peer *peer)
{
	struct peer_use use = { 0 };
	__u64 now = clock_now_ns(), age_s;

	if (!peer || !peer->up)
		return json_null();
	age_s = (now - peer->established_ns) / CLOCK_NS_PER_S;
	peers_read_use(peer, &use);
	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:i}", "spi_in", (json_int_t)peer->spi_in, "spi_out",
			 (json_int_t)peer->spi_out, "algorithm", peer_algorithm_name(peer->algorithm), "established_s",
			 (json_int_t)age_s, "bytes_in", (json_int_t)use.bytes_in, "bytes_out", (json_int_t)use.bytes_out,
			 "rekey_in_s", (json_int_t)(peer->renew_ns > now ? (peer->renew_ns - now) / CLOCK_NS_PER_S : 0),
			 "renewals", (int)peer->renewals);
}
