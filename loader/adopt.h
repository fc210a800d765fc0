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

/*
 * Before the tunnels are filled in: which peer each cluster of the policy used,
 * by its name, into node->used. Slots that now mean another cluster lead to
 * nobody (what comes is held) until their sessions are adopted. Also names the
 * slots, which is all that is done where nothing was adopted. 0 or -errno.
 */
int adopt_slots(struct node *node, const struct policy *policy);

/*
 * The policy is another from now on; slots: of its clusters, and of AUTO at the
 * end. Notes by their names what the slots are, for the run after this. 0 or
 * -errno: then a crash would cost sessions.
 */
int adopt_name_slots(struct node *node, const struct policy *policy, const __u32 *slots);

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
