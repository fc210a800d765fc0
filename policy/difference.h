/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What it takes to get from one policy to another while the first is in force:
 * which clusters stay, which entries are to be written and which removed, and
 * what cannot be changed without a new start. Pure, as all of policy.h: who
 * does it, and in which order, is the daemon's.
 */
#ifndef HF_POLICY_DIFFERENCE_H
#define HF_POLICY_DIFFERENCE_H

#include "policy/policy.h"

#define POLICY_NEW ((size_t)-1)

struct policy_counts {
	size_t added, removed, changed;
};

struct policy_difference {
	/* The first keyword that needs a new start, like "[INTERFACE] KeyServiceWorkers"; NULL: none does. */
	const char *refused;
	/* For each cluster of the new policy: its index in the old one, or POLICY_NEW. One that stays has its name. */
	size_t *from;
	/* Entries of the new table that are to be written: not in the old one, or leading elsewhere there. Ascending. */
	struct policy_entry *written;
	size_t n_written;
	/* Prefixes of the old table that are not in the new one, ascending: perhaps parts or wholes of those written. */
	struct hf_prefix *gone;
	size_t n_gone;
	size_t n_opened; /* ranges that the old policy tunnels and the new one does not: they go in clear. Exact, parts included */
	/* For people. A cluster has changed when its gateways or their order have; a tunnel, when range or target have. */
	struct policy_counts clusters, tunnels;
	/* Whether anything of these is another. */
	bool general, peers, redirects, accept, encapsulation, identity, underlay, protected, address, port;
};

/* Fills ret_difference, to be freed with policy_difference_clear(). O(n log n). 0 or -ENOMEM. */
int policy_compare(const struct policy *old, const struct policy_table *old_table, const struct policy *new,
		   const struct policy_table *new_table, struct policy_difference *ret_difference);

void policy_difference_clear(struct policy_difference *difference);

/*
 * Where both policies say RANDOM and a cluster of the new one has the gateways
 * that it had: their order is the old one. Otherwise a reload would draw anew,
 * though nothing was changed. 0 or -ENOMEM.
 */
int policy_keep_order(const struct policy *old, struct policy *new);

/*
 * In one line, for people: "1 cluster added, [PEER] changed", "2 tunnels removed, 1 range goes in clear from now on", or
 * "nothing changed".
 */
void policy_difference_text(const struct policy_difference *difference, char *text, size_t size);

#endif
