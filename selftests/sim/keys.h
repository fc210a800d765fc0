/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of holdfast-kms: requests, with their tries one after the other
 * (kms/request.c), and who goes on when both ends dial at once. Told by the
 * daemon what is wanted; tells it what became of it, over a link that takes
 * a moment and keeps the order.
 */
#ifndef HF_SIM_KEYS_H
#define HF_SIM_KEYS_H

#include <linux/types.h>
#include <stdbool.h>

#include "selftests/sim/shape.h"

struct conn;
struct node;
struct request;
struct sim;

struct attempt {
	struct request *request;
	int gateway;
	bool waiting; /* authenticated while another one leads */
	struct conn *conn; /* NULL: not begun, or over */
};

struct keys {
	bool up;
	__u32 life;
	__u64 last_session, last_request;
	struct request *requests;
	struct remembered *remembered; /* installs that the daemon has not answered */
};

/* Asks for a session with one of these; returns the number of the request, or 0 while the key service is down. */
__u64 keys_request(struct sim *sim, struct node *node, const int *gateways, int n);
void keys_cancel(struct sim *sim, struct node *node, __u64 request);

/* A dial of ours and one of the other end's meet: -EALREADY: ours goes on; 0: it gave way, or there is none. */
int keys_give_way(struct sim *sim, struct node *node, struct node *dialler);

/* The numbers of sessions, which say with whom they are. */
__u64 keys_session_new(struct node *node, int remote);
int keys_session_remote(__u64 session);

/* Which connection an install came from, until the daemon has answered it. */
void keys_remember(struct node *node, struct conn *conn, int side);
struct conn *keys_conn(struct sim *sim, struct node *node, __u64 session);

/* From connection.h. */
void attempt_authenticated(struct sim *sim, struct attempt *attempt);
void attempt_ended(struct sim *sim, struct attempt *attempt, int error);

/* The process starts, with nothing under way, or dies with all that is. */
void keys_start(struct node *node);
void keys_die(struct sim *sim, struct node *node);
void keys_clear(struct node *node);

#endif
