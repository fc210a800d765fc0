/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of kms/connection.c: one connection from the dial to its end, with the
 * real exchange (kms/exchange.c) at both ends. Owns the handshake, the deadline
 * and the keys; not which gateway is dialled, which is keys.h.
 */
#ifndef HF_SIM_CONNECTION_H
#define HF_SIM_CONNECTION_H

#include "kms/exchange.h"

struct attempt;
struct conn;
struct node;
struct segment;
struct sim;

enum stage { STAGE_NONE, STAGE_CONNECTING, STAGE_HANDSHAKE, STAGE_EXCHANGE, STAGE_ENDED };

struct end {
	struct node *node;
	__u32 life;	 /* of the node */
	__u32 keys_life; /* of its key service */
	enum stage stage;
	bool offered;
	struct exchange exchange;
	__u64 deadline, left_ns, due_ns; /* deadline: which of the timers set is the last */
	__u64 session, request;
	struct attempt *attempt; /* of the dialling end, while the request is interested */
	int error;
	/* For the invariants: what was done for the session. */
	bool installed, activated;
	bool stands; /* the daemon has activated it */
};

/* Dials for this attempt; the connection is held for it. */
struct conn *connection_dial(struct sim *sim, struct node *node, int remote, struct attempt *attempt);

/* The dialling end, authenticated, makes its offer. */
void connection_offer(struct sim *sim, struct conn *conn, __u64 request);

/* Ends this end without a word to its attempt. */
void connection_stop(struct sim *sim, struct conn *conn, int side, int error);

void connection_pause_deadline(struct sim *sim, struct conn *conn);
void connection_resume_deadline(struct sim *sim, struct conn *conn);

/* The daemon has answered for this session. */
void connection_installed(struct sim *sim, struct conn *conn, int side, int error, bool reversed,
			  const struct hf_prefix *inner);

/* From tcp.h: something arrived at this end, or the connection broke. */
void connection_take(struct sim *sim, struct conn *conn, int side, const struct segment *segment);
void connection_broke(struct sim *sim, struct conn *conn, int side);

#endif
