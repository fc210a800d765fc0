/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/auto.h"

#define NONE DATAPATH_SLOTS

struct assignment {
	struct datapath *dp;
	const struct policy *policy;
	size_t n;
	__u32 *slots;
	bool *taken;
};

static size_t count(const struct policy *policy)
{
	return policy->n_clusters + auto_wanted(policy);
}

static const char *name_of(const struct policy *policy, size_t cluster)
{
	return cluster < policy->n_clusters ? policy->clusters[cluster].name : "AUTO";
}

static int take_clients(void *context, __u32 if_id, const struct hf_session *record)
{
	struct assignment *all = context;

	if (record->role == HF_ROLE_CLIENT && record->slot < DATAPATH_SLOTS)
		all->taken[record->slot] = true;
	return 0;
}

/*
 * What was a cluster's before is no new one's: packets of its tunnels may be on their way yet. It is steered on, for this
 * start may fail still; the sweep of adopt_finish() ends it.
 */
static int take_known(void *context, __u32 slot, const char *name)
{
	struct assignment *all = context;

	if (slot >= DATAPATH_SLOTS)
		return 0;
	all->taken[slot] = true;
	for (size_t i = 0; i < all->n; i++)
		if (all->slots[i] == NONE && !strcmp(name, name_of(all->policy, i))) {
			all->slots[i] = slot;
			return 0;
		}
	return 0;
}

static int take_free(struct assignment *all)
{
	__u32 slot = 0;

	for (size_t i = 0; i < all->n; i++) {
		int err;

		if (all->slots[i] != NONE)
			continue;
		while (slot < DATAPATH_SLOTS && all->taken[slot])
			slot++;
		if (slot == DATAPATH_SLOTS)
			return -ENOSPC;
		err = datapath_steer(all->dp, slot, 0);
		if (err)
			return err;
		all->slots[i] = slot++;
	}
	return 0;
}

int slots_assign(struct datapath *dp, const struct policy *policy, __u32 **ret_slots)
{
	struct assignment all = { .dp = dp, .policy = policy, .n = count(policy) };
	int err = -ENOMEM;

	all.slots = calloc(policy->n_clusters + 1, sizeof(*all.slots));
	all.taken = calloc(DATAPATH_SLOTS, sizeof(*all.taken));
	if (!all.slots || !all.taken)
		goto out;
	for (size_t i = 0; i <= policy->n_clusters; i++)
		all.slots[i] = NONE;
	err = datapath_each_session(dp, take_clients, &all);
	if (!err)
		err = datapath_each_slot(dp, take_known, &all);
	if (!err)
		err = take_free(&all);
	if (!err) {
		*ret_slots = all.slots;
		all.slots = NULL;
	}
out:
	free(all.slots);
	free(all.taken);
	return err;
}

struct naming {
	struct datapath *dp;
	const struct policy *policy;
	const __u32 *slots;
};

static int unname_if_other(void *context, __u32 slot, const char *name)
{
	const struct naming *naming = context;

	for (size_t i = 0; i < count(naming->policy); i++)
		if (naming->slots[i] == slot && !strcmp(name_of(naming->policy, i), name))
			return 0;
	return datapath_unname_slot(naming->dp, slot);
}

int slots_note(struct datapath *dp, const struct policy *policy, const __u32 *slots)
{
	struct naming naming = { .dp = dp, .policy = policy, .slots = slots };
	int err = datapath_each_slot(dp, unname_if_other, &naming);

	for (size_t i = 0; i < count(policy) && !err; i++)
		err = datapath_name_slot(dp, slots[i], name_of(policy, i));
	return err;
}
