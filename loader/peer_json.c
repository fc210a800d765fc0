/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/peer_json.h"

#include "lib/clock.h"

json_t *peer_session_json(const struct peer *peer)
{
	struct peer_use use = { 0 };
	__u64 age_s, renew_s;

	if (!peer || !peer->up)
		return json_null();
	age_s = (clock_now_ns() - peer->established_ns) / CLOCK_NS_PER_S;
	renew_s = (__u64)peer->lifetime_s * PEER_RENEW_PERCENT / 100;
	peers_read_use(peer, &use);
	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I}", "spi_in", (json_int_t)peer->spi_in, "spi_out",
			 (json_int_t)peer->spi_out, "algorithm", peer_algorithm_name(peer->algorithm), "established_s",
			 (json_int_t)age_s, "bytes_in", (json_int_t)use.bytes_in, "bytes_out", (json_int_t)use.bytes_out,
			 "rekey_in_s", (json_int_t)(renew_s > age_s ? renew_s - age_s : 0));
}
