/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel tells of states whose limits are reached (xfrm.h): the soft
 * one, once, while the state goes on; the hard one when it has deleted it. Only
 * listens; what is to be done about it is the caller's (peer.h). States of
 * others are heard as well: the caller knows its own.
 */
#ifndef HF_LOADER_EXPIRE_H
#define HF_LOADER_EXPIRE_H

#include <linux/types.h>
#include <stdbool.h>

struct expire_notice {
	__u32 if_id;
	__u32 spi; /* host order */
	bool hard;
};

/* notice NULL: some were lost, and the kernel tells each only once. */
typedef void (*expire_notify)(void *context, const struct expire_notice *notice);

struct expire;

/* Listens in the current network namespace. 0 or -errno. */
int expire_open(expire_notify notify, void *context, struct expire **ret_expire);

/* Takes NULL. */
void expire_close(struct expire *expire);

/* To be polled for reading; then expire_dispatch(). */
int expire_fd(const struct expire *expire);

/* Hands on all that has come. */
void expire_dispatch(struct expire *expire);

#endif
