/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a seed draws before the run begins: how many nodes, their policies and
 * clocks, how good the network is, which faults may come, and how long. The kinds of
 * runs differ in the ranges only.
 */
#ifndef HF_SIM_SHAPE_H
#define HF_SIM_SHAPE_H

#include <linux/types.h>
#include <stdbool.h>

#include "loader/failover.h"

#define SIM_GATEWAYS_MAX 8
#define SIM_CLIENTS_MAX 20000
#define SHAPE_EXTRA_TRIES 6 /* as in loader/failover_check.c: so many more a lossy past may have added */

enum shape_kind {
	SHAPE_SMALL,	/* 1-20 clients, 2-5 gateways, everything that can go wrong */
	SHAPE_CROWD,	/* thousands of clients, and a fault that meets all of them */
	SHAPE_SPREAD,	/* 10,000 clients of one policy, one death: how even the load is */
};

/* Some runs have faults of one kind only, so that what must not come of those can be told. */
enum shape_only { SHAPE_ALL_FAULTS, SHAPE_ONLY_STOPS, SHAPE_ONLY_LOSS };

struct shape {
	enum shape_kind kind;
	int n_gateways, n_clients;

	/* The clients' policy. */
	struct failover_config machine; /* without n_gateways and seed */
	__u64 key_request_ns, patience_ns;
	__u64 rekey_s, lifetime_s; /* RekeyTime, and how long a session may live */
	bool inner_is_outer; /* the inner address is the outer one */
	bool fixed_order;
	unsigned int strict_per_mille; /* of gateways that let nobody in (no [PEER] range, address not in the certificate) */

	/* The gateways'. */
	bool named; /* they tunnel the clients' addresses to the clients, and so dial them */
	enum failover_heartbeat gateway_heartbeat;

	bool few_spis; /* SPIs are drawn from so few that they collide with others that stand */

	/* The network while faults go on; per mille, ns. */
	unsigned int loss, duplicates, late, lan_loss;
	__u64 delay_ns, jitter_ns, late_ns;
	int clock_ppm; /* at most */

	__u64 payload_ns; /* how often a client sends */
	__u64 elsewhere_ns; /* how often it does by other clusters, through gateways that this one does not use; 0: never */
	__u64 faults_ns, bound_ns, window_ns;
	bool one_way; /* ESP from a client to a gateway is lost, and that way only, perhaps for ever */
	unsigned int n_faults;
	enum shape_only only;
	unsigned int forged; /* hostile heartbeats */
	bool flood;	     /* in the end, so many of them in the clients' names that nearly none of their own are answered */
};

void shape_draw(struct shape *shape, enum shape_kind kind, __u64 seed);

/* The liveness bound: from the last fault until every client that can use a gateway uses one. README.md derives it. */
__u64 shape_bound_ns(const struct shape *shape);

#endif
