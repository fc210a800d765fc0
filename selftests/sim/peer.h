/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of loader/peer*.c: sessions of a node, with their states in the kernel,
 * inbound before outbound, new before old; and of loader/daemon_sessions.c, which says
 * what the other end of a session is.
 */
#ifndef HF_SIM_PEER_H
#define HF_SIM_PEER_H

#include "kms/link.h"
#include "selftests/sim/hold.h"
#include "selftests/sim/sa.h"

struct node;
struct sim;

/* As struct kms_session, with keys that are numbers. */
struct session {
	__u64 id, request;
	int remote;
	enum kms_role role;
	bool reversed;
	__u32 spi_in, spi_out;
	__u64 key_in, key_out;
	__u32 lifetime_s;
	struct hf_prefix inner;
};

struct peer {
	int remote;
	enum hf_role role;
	__u32 if_id;
	bool up, named, started;
	struct sa *in, *out;
	struct sa *fading; /* inbound ones of before, and of exchanges that broke off */
	__u64 established_ns;
	__u32 lifetime_s;
	__u64 expiry; /* which of the timers set is the last */
	struct session pending;
	struct sa *pending_in; /* NULL: nothing is pending */
	__u64 pending_ns;      /* since when, in true time */
	/* hf_live, hf_claim */
	__u64 last_rx_ns, beat_rx_ns, reflect_ns;
	bool told;
	/* Of a client: the claim of its addresses. */
	bool claimed;
	struct hold hold; /* answers that came before the session stood in both directions */
	unsigned int announced;
	__u64 announced_ns, announcing;
	__u64 renewal; /* the request under way, or 0 */
};

/* First half; -errno where it cannot be. Sets session->reversed where the dialler is our gateway. */
int peer_install(struct sim *sim, struct node *node, struct session *session);

/* Second half, and its taking back, of the session of this number. */
int peer_activate(struct sim *sim, struct node *node, __u64 session);
void peer_abandon(struct sim *sim, struct node *node, __u64 session);

/* The key service has died. */
void peers_abandon_all(struct sim *sim, struct node *node);

/* What another daemon has left goes on, as far as its lifetime has not ended; what was half done does not. */
void peers_adopt(struct sim *sim, struct node *node);

/* The session is over: the peer is removed, and whoever used it moves on. */
void peer_end(struct sim *sim, struct node *node, struct peer *peer, const char *why);

#endif
