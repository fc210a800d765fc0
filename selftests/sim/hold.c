/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/hold.h"

#include <string.h>

#include "selftests/sim/datapath.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

#define HOLD_AGE_NS (5 * SEC) /* as in loader/hold.h */

void hold_put(struct hold *hold, const struct inner *packet, __u64 now)
{
	if (hold->n == HOLD_MAX) {
		memmove(hold->packet, hold->packet + 1, sizeof(hold->packet) - sizeof(hold->packet[0]));
		memmove(hold->since, hold->since + 1, sizeof(hold->since) - sizeof(hold->since[0]));
		hold->n--;
	}
	hold->packet[hold->n] = *packet;
	hold->since[hold->n++] = now;
}

void hold_send(struct sim *sim, struct node *node, struct hold *hold)
{
	struct hold taken = *hold;

	hold->n = 0;
	for (int i = 0; i < taken.n; i++)
		if (node_now(sim, node) - taken.since[i] <= HOLD_AGE_NS)
			datapath_encrypt(sim, node, &taken.packet[i]);
}
