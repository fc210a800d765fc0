/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/model.h"

#include <stdlib.h>

#include "policy/wide.h"

struct policy *model_new(void)
{
	struct policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return NULL;
	policy->general = (struct policy_general){
		.heartbeat = POLICY_HEARTBEAT_NONE,
		.response_ms = 1000,
		.defer_ms = 5000,
		.tries = 2,
		.order = POLICY_ORDER_RANDOM,
		.standby = 1,
		.connect = POLICY_CONNECT_TRAFFIC,
		.key_request_ms = 3000,
		.rekey_ms = 3600000,
		.rekey_bytes = 256ull << 30,
		.rekey_packets = 1ull << 30,
	};
	policy->interface.key_service_port = 7546;
	policy->interface.accept = true;
	policy->interface.encapsulation = POLICY_ENCAP_AUTO;
	return policy;
}

__u32 policy_session_lifetime_s(const struct policy_general *general)
{
	__u32 rekey_s = (general->rekey_ms + 999) / 1000;
	__u32 rest_s = rekey_s / 4;

	/* Long enough for some tries, whatever the user says. */
	return rekey_s + (rest_s < 30 ? 30 : rest_s);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->n_clusters; i++)
		free(policy->clusters[i].gateways);
	free(policy->clusters);
	free(policy->tunnels);
	free(policy->redirects);
	free(policy->peers);
	free(policy->identity.certificate);
	free(policy->identity.private_key);
	free(policy->identity.trust_anchors);
	free(policy->identity.revocation_list);
	free(policy->interface.underlay);
	free(policy->interface.protected);
	free(policy->interface.address);
	free(policy);
}

void *model_grow(void *array, size_t n, size_t item_size)
{
	/* The room is the power of two at or above n, so it is used up only when n is one. */
	if (n & (n - 1))
		return array;
	return reallocarray(array, n ? 2 * n : 1, item_size);
}

struct range_text range_text(const struct policy_range *range)
{
	struct range_text text;

	if (range_is_single(range))
		snprintf(text.s, sizeof(text.s), "%s", addr_text(&range->first).s);
	else
		snprintf(text.s, sizeof(text.s), "%s - %s", addr_text(&range->first).s,
			 addr_text(&range->last).s);
	return text;
}

bool range_is_single(const struct policy_range *range)
{
	return addr_equal(&range->first, &range->last);
}

bool range_contains(const struct policy_range *range, const struct hf_addr *addr)
{
	return addr_is_v4(&range->first) == addr_is_v4(addr) && addr_cmp(&range->first, addr) <= 0 &&
	       addr_cmp(addr, &range->last) <= 0;
}

/* The number of addresses, less one. */
static unsigned __int128 width(const struct policy_range *range)
{
	return wide_from_addr(&range->last) - wide_from_addr(&range->first);
}

int range_cmp_width(const struct policy_range *a, const struct policy_range *b)
{
	unsigned __int128 width_a = width(a);
	unsigned __int128 width_b = width(b);

	return (width_a > width_b) - (width_a < width_b);
}

int tunnel_cmp(const struct policy_tunnel *a, const struct policy_tunnel *b)
{
	int by_width = range_cmp_width(&a->range, &b->range);

	return by_width ? by_width : (a->number > b->number) - (a->number < b->number);
}

/* Fisher and Yates: every order is as likely as any other. */
static void shuffle(struct hf_addr *items, size_t n, __u32 (*random)(void *context, __u32 bound), void *context)
{
	for (; n > 1; n--) {
		size_t chosen = random(context, (__u32)n);
		struct hf_addr last = items[n - 1];

		items[n - 1] = items[chosen];
		items[chosen] = last;
	}
}

void policy_shuffle(struct policy *policy, __u32 (*random)(void *context, __u32 bound), void *context)
{
	if (policy->general.order != POLICY_ORDER_RANDOM)
		return;
	for (size_t i = 0; i < policy->n_clusters; i++)
		shuffle(policy->clusters[i].gateways, policy->clusters[i].n_gateways, random, context);
}

bool policy_address_is_network(const struct hf_prefix *address)
{
	struct hf_prefix masked = *address;

	prefix_mask(&masked);
	return address->len <= 126 && addr_equal(&masked.addr, &address->addr);
}

size_t policy_key_service_workers(const struct policy *policy, size_t processors)
{
	if (policy->interface.key_service_workers)
		return policy->interface.key_service_workers;
	if (!policy->interface.accept || !policy->interface.n_protected)
		return 1;
	for (size_t i = 0; i < policy->n_clusters; i++)
		if (policy->clusters[i].n_gateways > 1)
			return 1;
	return processors < 1 ? 1 : processors > 4 ? 4 : processors;
}
