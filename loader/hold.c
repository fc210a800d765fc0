/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct held {
	__u64 time_ns;
	size_t len;
	__u8 packet[];
};

/* A ring: n packets from first on. */
struct hold {
	size_t first;
	size_t n;
	__u64 *lost;
	struct held *ring[HOLD_PACKETS];
};

int hold_new(__u64 *lost, struct hold **ret_hold)
{
	struct hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return -ENOMEM;
	hold->lost = lost;
	*ret_hold = hold;
	return 0;
}

static struct held *take_first(struct hold *hold)
{
	struct held *held = hold->ring[hold->first];

	hold->first = (hold->first + 1) % HOLD_PACKETS;
	hold->n--;
	return held;
}

static void lose_first(struct hold *hold)
{
	free(take_first(hold));
	++*hold->lost;
}

void hold_free(struct hold *hold)
{
	if (!hold)
		return;
	while (hold->n)
		lose_first(hold);
	free(hold);
}

int hold_add(struct hold *hold, const __u8 *packet, size_t len, __u64 now_ns)
{
	struct held *held = malloc(sizeof(*held) + len);

	if (!held) {
		++*hold->lost;
		return -ENOMEM;
	}
	held->time_ns = now_ns;
	held->len = len;
	memcpy(held->packet, packet, len);
	if (hold->n == HOLD_PACKETS)
		lose_first(hold);
	hold->ring[(hold->first + hold->n++) % HOLD_PACKETS] = held;
	return 0;
}

size_t hold_flush(struct hold *hold, __u64 now_ns, int (*send)(void *context, __u8 *packet, size_t len),
		  void *context)
{
	size_t sent = 0;

	while (hold->n) {
		struct held *held = take_first(hold);

		if (now_ns - held->time_ns <= HOLD_AGE_NS && !send(context, held->packet, held->len))
			sent++;
		else
			++*hold->lost;
		free(held);
	}
	return sent;
}

size_t hold_count(const struct hold *hold)
{
	return hold->n;
}
