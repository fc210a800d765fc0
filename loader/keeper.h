/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The keeper: a process of its own that holds the sockets through which the
 * kernel receives ESP in UDP, and does nothing else, so that they survive
 * holdfastd, and sessions through them its crash. Started by the first one that
 * needs it, found by the next one through a socket beside the control socket,
 * ended by an orderly end. Knows no sessions; has no privileges, and no other
 * descriptors than these.
 */
#ifndef HF_LOADER_KEEPER_H
#define HF_LOADER_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"

#define KEEPER_SOCKETS_MAX 16 /* one per local address */
#define KEEPER_NAME "holdfast-keeper" /* argv[0] by which holdfastd becomes it */

struct keeper;

struct keeper_socket {
	struct hf_addr local;
	int fd;
};

/*
 * Finds the keeper that listens at path, or, with start, starts one.
 * ret_sockets: what it holds, now the caller's copies; *ret_n of them. -ENOENT:
 * there is none.
 */
int keeper_open(const char *path, bool start, struct keeper **ret_keeper,
		struct keeper_socket ret_sockets[KEEPER_SOCKETS_MAX], size_t *ret_n);

/* Has it keep one more. The descriptor stays the caller's as well. 0 or -errno. */
int keeper_add(struct keeper *keeper, const struct hf_addr *local, int fd);

/* Leaves it to the next run. Takes NULL. */
void keeper_close(struct keeper *keeper);

/* Ends it: the sockets are closed with the caller's copies. Takes NULL; closes. */
void keeper_end(struct keeper *keeper);

/* The process itself: listens on descriptor 3. Returns the status to exit with. */
int keeper_main(void);

#endif
