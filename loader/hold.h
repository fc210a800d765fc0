/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that found no session, kept until one stands: a bounded queue per
 * slot. When full, the oldest goes first; what is older than HOLD_AGE is not
 * sent any more (its sender has long sent it again). Knows no sessions.
 */
#ifndef HF_LOADER_HOLD_H
#define HF_LOADER_HOLD_H

#include <linux/types.h>
#include <stddef.h>

#define HOLD_PACKETS 512
#define HOLD_AGE_NS 5000000000ull

struct hold;

int hold_new(struct hold **ret_hold);
/* Drops what is held. Takes NULL. */
void hold_free(struct hold *hold);

/* Copies a packet into the queue. Returns 0 or -ENOMEM. */
int hold_add(struct hold *hold, const __u8 *packet, size_t len, __u64 now_ns);

/* Calls send for each that is young enough, oldest first, and empties the queue. Returns how many. */
size_t hold_flush(struct hold *hold, __u64 now_ns, void (*send)(void *context, __u8 *packet, size_t len),
		  void *context);

size_t hold_count(const struct hold *hold);

#endif
