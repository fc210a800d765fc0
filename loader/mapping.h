/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel tells of peers behind address translation: a packet of ESP in
 * UDP that was authentic came from another address or port than its state says.
 * Only listens; what is to be done about it is the caller's (peer.h). The kernel
 * tells again each second for as long as the state is not changed.
 */
#ifndef HF_LOADER_MAPPING_H
#define HF_LOADER_MAPPING_H

#include <linux/types.h>

#include "lib/addr.h"

struct mapping_change {
	__u32 if_id;
	__u32 spi; /* of the inbound state, host order */
	struct hf_addr remote; /* where the peer's packets come from now */
	__u16 port;
};

typedef void (*mapping_notify)(void *context, const struct mapping_change *change);

struct mapping;

/* Listens in the current network namespace. 0 or -errno. */
int mapping_open(mapping_notify notify, void *context, struct mapping **ret_mapping);

/* Takes NULL. */
void mapping_close(struct mapping *mapping);

/* To be polled for reading; then mapping_dispatch(). */
int mapping_fd(const struct mapping *mapping);

/* Hands on all that has come. */
void mapping_dispatch(struct mapping *mapping);

#endif
