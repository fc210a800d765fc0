/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who dials us: the listening sockets, and how many of their connections we
 * bear. Those that have not proved who they are yet are bounded overall and per source;
 * where there are too many, the oldest gives way, so that somebody who
 * authenticates promptly gets in during a flood of connections that do not. How
 * often somebody may come is said in kms/knock.h; who has a session with us
 * has a reserve of his own, and his packets are looked at first; where the
 * reserve is full, the next one counts as a stranger.
 */
#ifndef HF_KMS_ACCEPT_H
#define HF_KMS_ACCEPT_H

#include "kms/service.h"

#define ACCEPT_UNKNOWN_MAX 256	/* connections of strangers that are not authenticated */
#define ACCEPT_RESERVE 64	/* beyond it: of those who have sessions (KMS_KNOWN, or made here) */
#define ACCEPT_PER_SOURCE_MAX 8 /* of one IPv4 address or IPv6 /64 */
#define ACCEPT_ALL_MAX 768	/* with those whose exchange is under way */
#define ACCEPT_HANDSHAKE_MS 10000 /* to authenticate, where holdfastd does not set less */

/* Returns 0 or -ENOMEM. */
int acceptor_new(struct service *service, struct acceptor **ret_acceptor);

/* Closes everything it has accepted. Takes NULL. */
void acceptor_free(struct acceptor *acceptor);

/* This address has a session with us: for as long as one lasts, it is no stranger. */
void acceptor_know(struct acceptor *acceptor, const struct hf_addr *remote);

/* Takes these listening sockets in place of those before. What was accepted goes on. */
void acceptor_listen(struct acceptor *acceptor, const int *fds, size_t n);

#endif
