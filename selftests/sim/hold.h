/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets that found no session, kept until one stands (loader/hold.h). When it is full, the oldest goes. */
#ifndef HF_SIM_HOLD_H
#define HF_SIM_HOLD_H

#include "selftests/sim/net.h"

#define HOLD_MAX 16

struct hold {
	struct inner packet[HOLD_MAX];
	__u64 since[HOLD_MAX];
	int n;
};

void hold_put(struct hold *hold, const struct inner *packet, __u64 now_ns);

/* Sends those that are young enough, and empties it. */
void hold_send(struct sim *sim, struct node *node, struct hold *hold);

#endif
