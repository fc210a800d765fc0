/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One run: the true time, the queue of events, what the seed drew, the world that it
 * is played in, and the first fault that was found. Knows of no protocol; each part
 * of the world has a header of its own.
 */
#ifndef HF_SIM_SIM_H
#define HF_SIM_SIM_H

#include <stdarg.h>
#include <stdio.h>

#include "selftests/sim/lan.h"
#include "selftests/sim/net.h"
#include "selftests/sim/queue.h"
#include "selftests/sim/rng.h"
#include "selftests/sim/sa.h"
#include "selftests/sim/shape.h"

#define MS 1000000ull
#define SEC (1000 * MS)

struct conn;

struct worst {
	__u64 ns, seed;
};

struct sim {
	__u64 seed;
	__u64 now; /* ns of the true time, which no node sees */
	struct rng rng;
	struct queue queue;
	struct shape shape;
	struct net net;
	struct lan lan;
	struct sa_table sas;
	struct conn *conns; /* all that are not freed yet */
	struct node *nodes; /* the gateways, then the clients */
	int n_nodes;
	bool calm; /* faults have stopped */
	__u64 last_spi, last_id;

	FILE *trace; /* NULL: none */
	unsigned int needless; /* gateways left in vain, see invariants.c */
	struct worst worst, worst_at_once; /* outages that a machine has measured: any, and where another session stood */
	bool failed;
	char why[256];
	struct {
		__u64 events, steps, exchanges, sessions, renewals, failovers, reflected, forged, sent, answered, crashes;
		__u64 both_dial, reversed, abandoned, false_alarms, replayed, undecryptable;
		__u64 kills, adopted, changes, collisions;
	} count;
};

/* Builds the world that the seed draws in this kind of run. */
void sim_init(struct sim *sim, enum shape_kind kind, __u64 seed, FILE *trace);
void sim_clear(struct sim *sim);

/* Runs until this time, or until a fault is found (sim->failed). */
void sim_run(struct sim *sim, __u64 until_ns);

/* Keeps the longer one. */
void sim_worst(struct worst *worst, __u64 ns, __u64 seed);

/* An event of the world. owned: what is freed after it. */
void sim_after(struct sim *sim, __u64 wait_ns, sim_fire fire, void *what, __u64 n, bool owned);

/* The same of a node: void when the node has died meanwhile. daemon: it waits while the node's daemon is stopped. */
void sim_node_after(struct sim *sim, struct node *node, bool daemon, __u64 wait_ns, sim_fire fire, void *what, __u64 n,
		    bool owned);

/* The datapath tells the daemon: what a daemon that is killed has not read, the next one does. The data is freed after it. */
void sim_tell_daemon(struct sim *sim, struct node *node, sim_fire fire, void *what);

/* An invariant does not hold: the run ends. */
void __attribute__((format(printf, 2, 3))) sim_fault(struct sim *sim, const char *format, ...);

/* A line of the trace. node: who did it, or NULL. */
void __attribute__((format(printf, 3, 4)))
sim_say(struct sim *sim, const struct node *node, const char *format, ...);

/* Arguments are not looked at where nobody traces. */
#define TRACE(sim, ...)                               \
	do {                                          \
		if ((sim)->trace)                     \
			sim_say((sim), __VA_ARGS__);  \
	} while (0)

/* calloc() that ends the process when there is no memory. */
void *sim_alloc(size_t n, size_t size);

#endif
