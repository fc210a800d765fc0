/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/policy.h"

static bool cluster_has(const struct policy_cluster *cluster, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < cluster->n_gateways; i++)
		if (addr_equal(&cluster->gateways[i], gateway))
			return true;
	return false;
}

static bool leads_to(const struct policy *policy, const struct policy_interval *interval, const struct hf_addr *gateway)
{
	const struct policy_tunnel *tunnel = &policy->tunnels[interval->tunnel];

	return tunnel->target == POLICY_TARGET_CLUSTER && cluster_has(&policy->clusters[tunnel->cluster], gateway);
}

static struct hf_addr last_of(const struct hf_prefix *prefix)
{
	struct hf_addr last = prefix->addr;

	for (unsigned int bit = prefix->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	return last;
}

/* The first interval that does not end before addr. */
static size_t first_not_before(const struct policy_table *table, const struct hf_addr *addr)
{
	size_t low = 0, high = table->n_intervals;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (addr_cmp(&table->intervals[middle].range.last, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void increment(struct hf_addr *addr)
{
	for (size_t i = sizeof(addr->b); i-- && !++addr->b[i];)
		;
}

enum policy_way policy_way_of(const struct policy *policy, const struct policy_table *table,
			      const struct hf_prefix *prefix, const struct hf_addr *gateway)
{
	struct hf_addr next = prefix->addr; /* the first address that no interval was found for yet */
	struct hf_addr last = last_of(prefix);
	size_t i = first_not_before(table, &next);

	if (i == table->n_intervals || addr_cmp(&table->intervals[i].range.first, &last) > 0)
		return POLICY_WAY_NONE;
	for (; i < table->n_intervals; i++) {
		const struct policy_interval *interval = &table->intervals[i];

		if (addr_cmp(&interval->range.first, &next) > 0 || !leads_to(policy, interval, gateway))
			break;
		if (addr_cmp(&interval->range.last, &last) >= 0)
			return POLICY_WAY_GATEWAY;
		next = interval->range.last;
		increment(&next);
	}
	return POLICY_WAY_OTHER;
}
