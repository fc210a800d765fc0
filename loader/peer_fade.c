/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What stays for a while of sessions that were replaced, and of exchanges that
 * broke off: states that are no longer spoken of, and how long each may still
 * be of use to the other end.
 */
#include "loader/peer_internal.h"

#include <stdlib.h>

#include "lib/clock.h"
#include "loader/xfrm.h"

_Static_assert(KMS_CONFIRM_MS < PEER_LINGER_UNUSED_MS, "what is confirmed late finds our inbound state");

/* A state that is no longer spoken of, and goes when its time has come. */
struct fading {
	struct event *timer;
	struct peers *peers;
	struct hf_addr dst;
	__u32 spi;
	__u32 if_id;
	__u64 until_ns; /* inbound: the latest that it stays unused while its successor is not used, or none has come */
	__u64 abandoned_ns; /* 0: it was in use */
	__u64 packets; /* at the last look */
	bool used; /* since the look before that */
	struct fading *next;
};

static void fading_free(struct fading *fading)
{
	struct fading **at = &fading->peers->fading;

	while (*at != fading)
		at = &(*at)->next;
	*at = fading->next;
	event_free(fading->timer);
	free(fading);
}

static void fading_end(struct fading *fading)
{
	xfrm_state_delete(fading->peers->node->xfrm, &fading->dst, fading->spi);
	fading_free(fading);
}

/* Whether the other end may still send through it: it has not begun with what came after, or nothing came. */
static bool may_be_used(const struct fading *fading)
{
	struct peer *peer = peers_by_if_id(fading->peers, fading->if_id);
	struct xfrm_state_use use;

	if (!peer || !peer->up)
		return false;
	if (fading->abandoned_ns)
		return fading->used || peer->established_ns < fading->abandoned_ns ||
		       clock_now_ns() < peer->established_ns + PEER_LINGER_MS * CLOCK_NS_PER_MS;
	return !xfrm_state_read(fading->peers->node->xfrm, &peer->local, peer->spi_in, &use) && !use.packets;
}

static bool another_is_used(const struct fading *fading)
{
	for (const struct fading *other = fading->peers->fading; other; other = other->next)
		if (other != fading && other->used && other->if_id == fading->if_id)
			return true;
	return false;
}

/*
 * Where no exchange comes through any more (a key service that cannot be reached), the other end may go on with a state for as
 * long as that lives. With one at a time: what it could keep here by using many has a bound.
 */
static void look_at_use(struct fading *fading)
{
	struct xfrm_state_use use;

	fading->used = !xfrm_state_read(fading->peers->node->xfrm, &fading->dst, fading->spi, &use) &&
		       use.packets != fading->packets && !another_is_used(fading);
	if (!fading->used)
		return;
	fading->packets = use.packets;
	fading->until_ns = clock_now_ns() + PEER_LINGER_UNUSED_MS * CLOCK_NS_PER_MS;
}

static void fading_due(evutil_socket_t fd, short what, void *context)
{
	static const struct timeval again = { .tv_sec = PEER_LINGER_MS / 1000 };
	struct fading *fading = context;

	if (fading->until_ns)
		look_at_use(fading);
	if (clock_now_ns() < fading->until_ns && may_be_used(fading))
		event_add(fading->timer, &again);
	else
		fading_end(fading);
}

/* Room for one more of this peer's: where there are enough, the oldest one goes that is not used. */
static void make_room(struct peers *peers, __u32 if_id)
{
	struct fading *oldest = NULL;
	unsigned int n = 0;

	for (struct fading *fading = peers->fading; fading; fading = fading->next) {
		if (fading->if_id != if_id)
			continue;
		n++;
		if (!fading->used || !oldest)
			oldest = fading;
	}
	if (n >= PEER_FADING_MAX)
		fading_end(oldest);
}

/* The state goes after linger_ms, or at once where there is no memory to wait with: NULL then. */
static struct fading *fade_state(const struct peer *peer, const struct hf_addr *dst, __u32 spi, unsigned int linger_ms)
{
	struct peers *peers = peer->peers;
	struct timeval linger = { .tv_sec = linger_ms / 1000, .tv_usec = linger_ms % 1000 * 1000 };
	struct fading *fading = calloc(1, sizeof(*fading));

	make_room(peers, peer->if_id);
	if (fading)
		fading->timer = evtimer_new(peers->base, fading_due, fading);
	if (!fading || !fading->timer) {
		free(fading);
		xfrm_state_delete(peers->node->xfrm, dst, spi);
		return NULL;
	}
	fading->peers = peers;
	fading->if_id = peer->if_id;
	fading->dst = *dst;
	fading->spi = spi;
	fading->next = peers->fading;
	peers->fading = fading;
	event_add(fading->timer, &linger);
	return fading;
}

void peer_fade_inbound(const struct peer *peer, const struct hf_addr *local, __u32 spi, __u64 abandoned_ns)
{
	struct fading *fading = fade_state(peer, local, spi, PEER_LINGER_MS);

	if (!fading)
		return;
	fading->until_ns = clock_now_ns() + PEER_LINGER_UNUSED_MS * CLOCK_NS_PER_MS;
	fading->abandoned_ns = abandoned_ns;
}

void peer_fade_outbound(const struct peer *peer, const struct hf_addr *remote, __u32 spi)
{
	fade_state(peer, remote, spi, PEER_LINGER_OUT_MS);
}

bool peer_is_fading(const struct peer *peer, __u32 spi)
{
	for (const struct fading *fading = peer->peers->fading; fading; fading = fading->next)
		if (fading->if_id == peer->if_id && fading->spi == spi)
			return true;
	return false;
}

/* The kernel takes the outbound state that was added last; this is the one before. */
void peer_fade(const struct peer *before)
{
	peer_fade_outbound(before, &before->remote, before->spi_out);
	peer_fade_inbound(before, &before->local, before->spi_in, 0);
}

void peers_end_fading(struct peers *peers)
{
	while (peers->fading && !peers->node->leave)
		fading_end(peers->fading);
	while (peers->fading)
		fading_free(peers->fading);
}
