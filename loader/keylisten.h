/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The TCP sockets of the key management service, made here since they need privileges: those that listen, one for each
 * worker on each interface, and those to dial with. Owns how connections are shared out among workers: by their source,
 * so that all that concerns one address is in one process.
 */
#ifndef HF_LOADER_KEYLISTEN_H
#define HF_LOADER_KEYLISTEN_H

#include <stddef.h>

#include "lib/addr.h"

#define KEYLISTEN_WORKERS_MAX 16

/*
 * Makes n listening sockets on the interface's port, of which the kernel chooses one for each connection, as
 * keylisten_worker_of() does. Returns 0, or -errno with error (size bytes) filled: then there is none.
 */
int keylisten_open(const char *interface, __u16 port, size_t n, int ret_fds[KEYLISTEN_WORKERS_MAX], char *error,
		   size_t size);

/* Which of n workers what concerns this address belongs to: an IPv4 address, an IPv6 /64. */
size_t keylisten_worker_of(const struct hf_addr *addr, size_t n);

/* A socket to dial with: marked, non-blocking, not connected. Returns it or -errno. */
int keylisten_dialling(void);

#endif
