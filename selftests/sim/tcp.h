/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP, as far as an exchange sees it: bytes arrive in their order and once, late
 * where the network loses them, and not at all while the way is cut. The end of a
 * node that died, or of a key service that died, answers with a reset when it
 * is there again. Owns the connections; what is said on them is connection.h.
 */
#ifndef HF_SIM_TCP_H
#define HF_SIM_TCP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "kms/wire.h"
#include "selftests/sim/connection.h"

enum segment_kind {
	SEGMENT_SYN,
	SEGMENT_SYNACK,
	SEGMENT_HELLO,	  /* TLS, the initiator's first flight */
	SEGMENT_FLIGHT,	  /* the responder's: from here on the initiator knows who it is */
	SEGMENT_FINISHED, /* the initiator's second: and now the responder does */
	SEGMENT_DATA,
	SEGMENT_FIN,
};

struct segment {
	enum segment_kind kind;
	size_t len;
	__u8 bytes[WIRE_FRAME_MAX];
	struct segment *next;
};

/* One direction: what was said and did not arrive yet. */
struct pipe {
	struct segment *first;
	bool trying;
	unsigned int tries; /* of the first */
};

struct conn {
	struct end end[2]; /* who dialled, who was dialled */
	struct pipe pipe[2]; /* from this end */
	__u64 secret;	     /* what TLS agreed on */
	bool broken;
	int refs;
	struct conn *next, **link;
};

/* A new one, with its dialling end not yet filled in. Held until conn_release(). */
struct conn *conn_new(struct sim *sim, struct node *from, struct node *to);
void conn_hold(struct conn *conn);
void conn_release(struct conn *conn);

/* Says something from this end (0 or 1). */
void tcp_send(struct sim *sim, struct conn *conn, int side, enum segment_kind kind, const __u8 *bytes, size_t len);

/* This end's process is gone: the other end is told by a reset, when it can be. */
void tcp_reset(struct sim *sim, struct conn *conn, int side);

void conns_clear(struct sim *sim);

#endif
