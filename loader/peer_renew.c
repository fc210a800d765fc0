/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long a session may last: its limits in time, bytes and packets, drawn at
 * random, and the moment at which new keys are due.
 */
#include "loader/peer_internal.h"

#include <sys/random.h>

#include "lib/clock.h"

#define RENEW_AGAIN_MIN_NS (PEER_RENEW_AGAIN_MIN_MS * CLOCK_NS_PER_MS)
#define RENEW_AGAIN_MAX_NS (PEER_RENEW_AGAIN_MAX_MS * CLOCK_NS_PER_MS)
#define ENDING_NS (PEER_ENDING_MS * CLOCK_NS_PER_MS)
/* Between soft and hard limit there is room for a renewal, even with small limits and a fast line. */
#define ROOM_BYTES (1ull << 30)
#define ROOM_PACKETS (1ull << 20)

/* Uniform within the last tenth before it: those who began together do not go on together. */
static __u64 jitter(__u64 limit)
{
	__u64 tenth = limit / 10, number;

	if (!tenth || getrandom(&number, sizeof(number), 0) != sizeof(number))
		return limit;
	return limit - number % tenth;
}

struct xfrm_limits peers_draw_limits(const struct peers_limits *limits)
{
	__u64 bytes = limits->bytes, packets = limits->packets;

	if (!bytes || !packets)
		return (struct xfrm_limits){ 0 };
	return (struct xfrm_limits){
		.soft_bytes = jitter(bytes),
		.hard_bytes = bytes + (bytes > ROOM_BYTES ? bytes : ROOM_BYTES),
		.soft_packets = jitter(packets),
		.hard_packets = packets + (packets > ROOM_PACKETS ? packets : ROOM_PACKETS),
	};
}

void peer_expiry_after(struct peer *peer, __u64 wait_ns)
{
	struct timeval tv = { .tv_sec = (time_t)(wait_ns / CLOCK_NS_PER_S),
			      .tv_usec = (suseconds_t)(wait_ns % CLOCK_NS_PER_S / 1000) };

	event_add(peer->expiry, &tv);
}

void peer_renew_soon(struct peer *peer)
{
	peer_expiry_after(peer, RENEW_AGAIN_MIN_NS);
}

/* The time that new keys are due: by our own policy, but before the end that was agreed on. */
void peer_set_expiry(struct peer *peer)
{
	__u64 latest_ns = peer->lifetime_s * CLOCK_NS_PER_S * PEER_RENEW_PERCENT / 100;
	__u64 after_ns = jitter(peer->peers->limits.rekey_ms * CLOCK_NS_PER_MS);
	__u64 now = clock_now_ns();

	if (!peer->lifetime_s)
		return;
	if (!after_ns || after_ns > latest_ns)
		after_ns = latest_ns;
	peer->renew_ns = peer->established_ns + after_ns;
	peer_expiry_after(peer, peer->renew_ns > now ? peer->renew_ns - now : 0);
}

void peers_set_limits(struct peers *peers, const struct peers_limits *limits)
{
	peers->limits = *limits;
	for (struct peer *peer = peers->first; peer; peer = peer->next)
		if (peer->up)
			peer_set_expiry(peer);
}

/* New keys are due, or it is too late for them. Asks again until they are there: an answer may fail to come. */
void peer_expiry_due(evutil_socket_t fd, short what, void *context)
{
	struct peer *peer = context;
	__u64 now = clock_now_ns(), end_ns = peer->established_ns + peer->lifetime_s * CLOCK_NS_PER_S;
	bool renew = !peer->lifetime_s || now < end_ns;
	__u64 wait_ns = RENEW_AGAIN_MAX_NS;

	if (renew && peer->lifetime_s) {
		__u64 left_ns = end_ns - now;

		wait_ns = left_ns / 8 > RENEW_AGAIN_MAX_NS ? RENEW_AGAIN_MAX_NS :
			  left_ns / 8 < RENEW_AGAIN_MIN_NS ? RENEW_AGAIN_MIN_NS : left_ns / 8;
		if (wait_ns > left_ns)
			wait_ns = left_ns;
	}
	if (renew)
		peer_expiry_after(peer, wait_ns);
	peer->peers->expiry(peer->peers->context, peer, renew);
}

/* The half of a session that waits is used by the other end already. */
static void look_at_pending(struct peer *peer)
{
	const struct xfrm_limits *limits = &peer->pending_limits;
	struct xfrm_state_use use;

	if (limits->soft_bytes && !xfrm_state_read(peer->peers->node->xfrm, &peer->pending->local, peer->pending->spi_in, &use) &&
	    (use.bytes >= limits->soft_bytes || use.packets >= limits->soft_packets))
		peer->pending_spent = true;
}

/* The kernel tells of a soft limit once; if it could not, what was carried is looked at. */
static void look_at_limits(struct peers *peers)
{
	struct peer_use use;

	for (struct peer *peer = peers->first; peer; peer = peer->next) {
		const struct xfrm_limits *limits = &peer->limits;

		if (peer->pending)
			look_at_pending(peer);
		if (!peer->up || !limits->soft_bytes)
			continue;
		/* States that are gone have reached their hard limit: the renewal will tell. */
		if (peers_read_use(peer, &use) || use.bytes_in >= limits->soft_bytes || use.bytes_out >= limits->soft_bytes ||
		    use.packets_in >= limits->soft_packets || use.packets_out >= limits->soft_packets)
			peer_expiry_after(peer, 0);
	}
}

/* Of states that were replaced meanwhile nothing is to be done. */
void peers_on_limit(void *context, const struct expire_notice *notice)
{
	struct peers *peers = context;
	struct peer *peer = notice ? peers_by_if_id(peers, notice->if_id) : NULL;

	if (!notice)
		look_at_limits(peers);
	if (peer && peer->pending && notice->spi == peer->pending->spi_in)
		peer->pending_spent = true;
	if (!peer || !peer->up || (notice->spi != peer->spi_in && notice->spi != peer->spi_out))
		return;
	if (notice->hard)
		peers->expiry(peers->context, peer, false);
	else
		peer_expiry_due(-1, 0, peer);
}

bool peers_is_ending(const struct peer *peer)
{
	return peer->up && peer->lifetime_s &&
	       clock_now_ns() + ENDING_NS >= peer->established_ns + peer->lifetime_s * CLOCK_NS_PER_S;
}

bool peers_is_due(const struct peer *peer)
{
	__u64 age_s = (clock_now_ns() - peer->established_ns) / CLOCK_NS_PER_S;

	return peer->up && peer->lifetime_s && age_s >= (__u64)peer->lifetime_s * PEER_RENEW_PERCENT / 100;
}
