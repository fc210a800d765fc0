/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Adoption: what a run of holdfastd that was killed has left in the kernel goes
 * on under the next one, where the policy still wants it; the rest is removed.
 * Owns the order of that, and what is believed of a record; knows nothing of
 * how sessions are made.
 *
 * The node first (adopt_slots(), from node_up()), then the parts (adopt_sessions()), then, when it is known where AUTO
 * leads, the rest (adopt_finish()).
 */
#ifndef HF_LOADER_ADOPT_H
#define HF_LOADER_ADOPT_H

#include "loader/client.h"
#include "loader/cluster.h"
#include "loader/eventlog.h"
#include "loader/node.h"
#include "loader/peer.h"

struct adopt_parts {
	struct node *node;
	const struct policy *policy;
	const struct policy_table *table;
	struct peers *peers;
	struct clusters *clusters;
	struct clients *clients;
	struct eventlog *log;
};

struct adopt_result {
	size_t adopted;
	size_t refused;
};

/*
 * Adopts the sessions that were recorded. Those of gateways that only AUTO may
 * lead to are kept in suspense. To be called once, with the parts just made,
 * when node->adopted. 0 or -errno: then there is no telling what is in the kernel.
 */
int adopt_sessions(const struct adopt_parts *parts, struct adopt_result *ret_result);

/*
 * Ends the sessions that nothing leads to after all, removes whatever is
 * Holdfast's and belongs to no session (states, policies, entries in the maps,
 * claims, routes), and says what was adopted. 0 or -errno.
 */
int adopt_finish(const struct adopt_parts *parts, const struct adopt_result *result);

#endif
