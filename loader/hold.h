/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that found no session, kept until one stands: a bounded queue per
 * slot. When full, the oldest goes first; what is older than HOLD_AGE is not
 * sent any more (its sender has long sent it again). What is lost so, or when
 * it is sent, is counted: nobody else can. Knows no sessions.
 */
#ifndef HF_LOADER_HOLD_H
#define HF_LOADER_HOLD_H

#include <linux/types.h>
#include <stddef.h>

#define HOLD_PACKETS 512
#define HOLD_AGE_NS 5000000000ull

struct hold;

/* *lost goes up by one for each packet that is lost; it may be many queues'. 0 or -ENOMEM. */
int hold_new(__u64 *lost, struct hold **ret_hold);
/* What is held is lost. Takes NULL. */
void hold_free(struct hold *hold);

/* Copies a packet into the queue. Returns 0 or -ENOMEM. */
int hold_add(struct hold *hold, const __u8 *packet, size_t len, __u64 now_ns);

/* Calls send (0 or -errno) for each that is young enough, oldest first, and empties the queue. Returns how many were sent. */
size_t hold_flush(struct hold *hold, __u64 now_ns, int (*send)(void *context, __u8 *packet, size_t len),
		  void *context);

size_t hold_count(const struct hold *hold);

#endif
