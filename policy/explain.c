/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way of one address through the policy, in words for a person. */
#include <errno.h>
#include <stdlib.h>

#include "policy/model.h"
#include "policy/policy.h"

/* Of the tunnels that also cover an address, so many are named. */
#define LOSERS_MAX 20

static void print_gateways(const struct policy *policy, const struct policy_cluster *cluster, FILE *out)
{
	/* The implicit cluster's name is its one address. */
	fprintf(out, "%s", cluster->name);
	if (cluster->number)
		for (size_t i = 0; i < cluster->n_gateways; i++)
			fprintf(out, "%s %s", i ? "" : ":", addr_text(&cluster->gateways[i]).s);
	if (cluster->n_gateways > 1)
		fprintf(out, policy->general.order == POLICY_ORDER_RANDOM ?
				     " (order drawn at random at each read)" :
				     " (always in this order)");
}

static void print_target(const struct policy *policy, const struct policy_tunnel *tunnel, FILE *out)
{
	if (tunnel->target == POLICY_TARGET_CLUSTER) {
		print_gateways(policy, &policy->clusters[tunnel->cluster], out);
		fprintf(out, "\n");
		return;
	}
	fprintf(out, "the server that is detected automatically (AUTO)\n"
		     "  that is the peer of the point-to-point link which came up last; without one, nothing is sent\n");
	for (size_t i = 0; i < policy->n_redirects; i++) {
		const struct policy_redirect *redirect = &policy->redirects[i];

		fprintf(out, "  Redirect Tunnel%u (line %u): if that is %s, then instead to ", redirect->number,
			redirect->place.line, addr_text(&redirect->server).s);
		print_gateways(policy, &policy->clusters[redirect->cluster], out);
		fprintf(out, "\n");
	}
}

static int cmp_tunnel(const void *a, const void *b)
{
	return tunnel_cmp(*(const struct policy_tunnel *const *)a, *(const struct policy_tunnel *const *)b);
}

/* The tunnels beside the winner that cover addr, the next best first. */
static int print_losers(const struct policy *policy, const struct policy_tunnel *winner, const struct hf_addr *addr,
			FILE *out)
{
	const struct policy_tunnel **losers = calloc(policy->n_tunnels, sizeof(*losers));
	size_t n = 0;

	if (!losers)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_tunnels; i++)
		if (&policy->tunnels[i] != winner && range_contains(&policy->tunnels[i].range, addr))
			losers[n++] = &policy->tunnels[i];
	qsort(losers, n, sizeof(*losers), cmp_tunnel);
	for (size_t i = 0; i < n && i < LOSERS_MAX; i++)
		fprintf(out, "  Tunnel%u (%s, line %u) also covers it, but %s\n", losers[i]->number,
			range_text(&losers[i]->range).s, losers[i]->place.line,
			range_cmp_width(&losers[i]->range, &winner->range) ? "is wider" : "has the higher number");
	if (n > LOSERS_MAX)
		fprintf(out, "  and %zu more tunnels, all wider or of a higher number\n", n - LOSERS_MAX);
	free(losers);
	return 0;
}

/* A surprise worth a line: gateways are reached directly, so seldom lie in a tunnel. */
static void print_as_gateway(const struct policy *policy, const struct hf_addr *addr, FILE *out)
{
	for (size_t i = 0; i < policy->n_clusters; i++)
		for (size_t k = 0; k < policy->clusters[i].n_gateways; k++)
			if (addr_equal(&policy->clusters[i].gateways[k], addr)) {
				if (policy->clusters[i].number)
					fprintf(out, "  it is a gateway of %s (line %u)\n", policy->clusters[i].name,
						policy->clusters[i].place.line);
				else
					fprintf(out, "  it is a gateway (line %u)\n", policy->clusters[i].place.line);
			}
}

int policy_explain(const struct policy *policy, const struct policy_table *table, const struct hf_addr *addr,
		   FILE *out)
{
	const struct policy_interval *interval = policy_table_find(table, addr);
	const struct policy_tunnel *tunnel;

	if (!interval) {
		fprintf(out, "%s is not tunnelled: no tunnel covers it\n", addr_text(addr).s);
		print_as_gateway(policy, addr, out);
		return -ENOENT;
	}
	tunnel = &policy->tunnels[interval->tunnel];
	fprintf(out, "%s is tunnelled by Tunnel%u (%s, line %u) to ", addr_text(addr).s, tunnel->number,
		range_text(&tunnel->range).s, tunnel->place.line);
	print_target(policy, tunnel, out);
	if (!addr_is_v4(addr))
		fprintf(out, "  but IPv6 is not carried yet: what goes there is dropped\n");
	print_as_gateway(policy, addr, out);
	return print_losers(policy, tunnel, addr, out);
}
