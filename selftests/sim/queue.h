/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The events to come, by their time: a binary heap. Two at one instant come in the
 * order in which they were put in, so a run depends on its seed and nothing else.
 */
#ifndef HF_SIM_QUEUE_H
#define HF_SIM_QUEUE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct node;
struct sim;

/* what: the event's own; n: a number. Neither must be looked at where they were not given. */
typedef void (*sim_fire)(struct sim *sim, struct node *node, void *what, __u64 n);

struct event {
	__u64 at;
	__u64 order;
	sim_fire fire;
	struct node *node; /* NULL: the world's */
	__u32 life;	   /* the node's when the event was made: it is void when the node has died since */
	bool daemon;	   /* waits while the node's daemon is stopped; life is that daemon's */
	bool ring;	   /* in the datapath's ring buffer: a daemon that is killed does not take it along, the next one reads it */
	bool owned;	   /* what is freed after it */
	void *what;
	__u64 n;
};

struct queue {
	struct event *heap;
	size_t n, room;
	__u64 order;
};

/* Takes the event; its order is given here. Ends the process when there is no memory. */
void queue_push(struct queue *queue, struct event event);

/* The next event, or false when there is none. */
bool queue_pop(struct queue *queue, struct event *ret_event);

/* Frees it with all that its events own. */
void queue_clear(struct queue *queue);

#endif
