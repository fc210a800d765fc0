/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/check.h"

#include <errno.h>
#include <stdlib.h>

#include "policy/model.h"
#include "policy/report.h"

/* Turns the number of a cluster into its index. False, and an error, when there is none. */
static bool resolve(struct draft *draft, const struct draft_target *target, size_t *ret_cluster)
{
	struct hf_addr key = index_key_number(target->cluster);
	const size_t *found;

	if (!target->cluster)
		return true;
	found = index_find(&draft->clusters, &key);
	if (!found) {
		report_error(draft->report, target->place,
			     "Cluster %u is not defined; expected a statement Cluster %u = ... in [CLUSTER]",
			     target->cluster, target->cluster);
		return false;
	}
	*ret_cluster = *found;
	return true;
}

/*
 * A gateway behind its own tunnel could not be reached. The one exception is a
 * single host that is its own gateway: nothing else is tunnelled there.
 */
static void check_gateways_outside(struct draft *draft, const struct policy_tunnel *tunnel,
				   struct policy_place place)
{
	const struct policy_cluster *cluster = &draft->policy->clusters[tunnel->cluster];

	if (range_is_single(&tunnel->range) && cluster->n_gateways == 1)
		return;
	for (size_t i = 0; i < cluster->n_gateways; i++) {
		if (!range_contains(&tunnel->range, &cluster->gateways[i]))
			continue;
		report_error(draft->report, place,
			     "gateway %s lies within the range of its own tunnel, %s: it could not be reached",
			     addr_text(&cluster->gateways[i]).s, range_text(&tunnel->range).s);
		return;
	}
}

static void check_targets(struct draft *draft)
{
	struct policy *policy = draft->policy;

	for (size_t i = 0; i < policy->n_tunnels; i++) {
		struct policy_tunnel *tunnel = &policy->tunnels[i];
		const struct draft_target *target = &draft->tunnel_targets[i];

		if (tunnel->target == POLICY_TARGET_CLUSTER && resolve(draft, target, &tunnel->cluster))
			check_gateways_outside(draft, tunnel, target->place);
	}
	for (size_t i = 0; i < policy->n_redirects; i++)
		resolve(draft, &draft->redirect_targets[i], &policy->redirects[i].cluster);
}

static int check_unused_clusters(struct draft *draft)
{
	struct policy *policy = draft->policy;
	bool *used = calloc(policy->n_clusters + 1, sizeof(*used));

	if (!used)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_tunnels; i++)
		if (policy->tunnels[i].target == POLICY_TARGET_CLUSTER)
			used[policy->tunnels[i].cluster] = true;
	for (size_t i = 0; i < policy->n_redirects; i++)
		used[policy->redirects[i].cluster] = true;
	for (size_t i = 0; i < policy->n_clusters; i++)
		if (!used[i] && policy->clusters[i].number)
			report_warning(draft->report, policy->clusters[i].place, "%s is not used by any tunnel",
				       policy->clusters[i].name);
	free(used);
	return 0;
}

/* Of two redirects of one server, the first would always be taken. */
static int check_redirects(struct draft *draft)
{
	const struct policy *policy = draft->policy;
	struct index servers = { .slots = NULL };
	bool any_auto = false;
	int err = 0;

	for (size_t i = 0; !any_auto && i < policy->n_tunnels; i++)
		any_auto = policy->tunnels[i].target == POLICY_TARGET_AUTO;
	for (size_t i = 0; !err && i < policy->n_redirects; i++) {
		const struct policy_redirect *redirect = &policy->redirects[i];
		const size_t *line = index_find(&servers, &redirect->server);

		if (!any_auto)
			report_warning(draft->report, redirect->place,
				       "Redirect Tunnel%u has no effect: no tunnel has the target AUTO",
				       redirect->number);
		if (line)
			report_error(draft->report, redirect->place, "server %s is already redirected in line %zu",
				     addr_text(&redirect->server).s, *line);
		else
			err = index_add(&servers, &redirect->server, redirect->place.line);
	}
	index_clear(&servers);
	return err;
}

static void check_heartbeat(struct draft *draft)
{
	static const struct {
		enum draft_key key;
		const char *name;
	} timings[] = {
		{ DRAFT_KEY_RESPONSE_TIME, "HeartbeatResponseTime" },
		{ DRAFT_KEY_DEFER_TIME, "HeartbeatDeferTime" },
		{ DRAFT_KEY_TRIES, "HeartbeatTries" },
	};

	if (draft->policy->general.heartbeat != POLICY_HEARTBEAT_NONE)
		return;
	for (size_t i = 0; i < sizeof(timings) / sizeof(*timings); i++)
		if (draft->keys[timings[i].key].line)
			report_warning(draft->report, draft->keys[timings[i].key],
				       "%s has no effect with Heartbeat = NONE%s", timings[i].name,
				       draft->keys[DRAFT_KEY_HEARTBEAT].line ? "" : ", which is the default");
}

/* The specification's default is the one that never notices. Said once: the cause is one line that lacks. */
static void check_unwatched(struct draft *draft)
{
	const struct policy *policy = draft->policy;

	if (draft->keys[DRAFT_KEY_HEARTBEAT].line)
		return;
	for (size_t i = 0; i < policy->n_clusters; i++)
		if (policy->clusters[i].n_gateways > 1) {
			report_warning(draft->report, policy->clusters[i].place,
				       "%s has several gateways, but Heartbeat is NONE, the default: a dead one is not noticed",
				       policy->clusters[i].name);
			return;
		}
}

/* All of it can be said, and is dropped: said where it stands, since nothing else tells before packets are missed. */
static void check_ipv6(struct draft *draft)
{
	static const char dropped[] = "IPv6 is not carried yet: what goes to %s is dropped";
	const struct policy *policy = draft->policy;

	for (size_t i = 0; i < policy->n_tunnels; i++)
		if (!addr_is_v4(&policy->tunnels[i].range.first))
			report_warning(draft->report, policy->tunnels[i].place, dropped,
				       range_text(&policy->tunnels[i].range).s);
	for (size_t i = 0; i < policy->interface.n_address; i++)
		if (!addr_is_v4(&policy->interface.address[i].addr))
			report_warning(draft->report, draft->keys[DRAFT_KEY_ADDRESS], dropped,
				       prefix_text(&policy->interface.address[i]).s);
	for (size_t i = 0; i < policy->n_clusters; i++)
		for (size_t k = 0; k < policy->clusters[i].n_gateways; k++)
			if (!addr_is_v4(&policy->clusters[i].gateways[k]))
				report_warning(draft->report, policy->clusters[i].place,
					       "IPv6 is not carried yet: gateway %s cannot be used",
					       addr_text(&policy->clusters[i].gateways[k]).s);
}

static void check_identity(struct draft *draft)
{
	static const struct {
		enum draft_key key;
		const char *name;
	} needed[] = {
		{ DRAFT_KEY_CERTIFICATE, "Certificate" },
		{ DRAFT_KEY_PRIVATE_KEY, "PrivateKey" },
		{ DRAFT_KEY_TRUST_ANCHORS, "TrustAnchors" },
	};
	const struct policy_place *given = NULL;

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (draft->keys[needed[i].key].line && !given)
			given = &draft->keys[needed[i].key];
	for (size_t i = 0; given && i < sizeof(needed) / sizeof(*needed); i++)
		if (!draft->keys[needed[i].key].line)
			report_warning(draft->report, *given, "[IDENTITY] lacks %s: holdfastd does not start",
				       needed[i].name);
	/* With errors, it may stand below the name of a section that is misspelt. */
	if (!given && !draft->report->errors)
		report_warning(draft->report, (struct policy_place){ 1, 1 },
			       "[IDENTITY] lacks Certificate, PrivateKey and TrustAnchors: holdfastd does not start");
}

/* The first interval within the tunnel's range that another tunnel has, or NULL. */
static const struct policy_interval *find_lost(const struct policy_table *table, const struct policy_tunnel *tunnel,
					       size_t index)
{
	const struct policy_interval *interval = policy_table_find(table, &tunnel->range.first);
	const struct policy_interval *end = table->intervals + table->n_intervals;

	/* The first address is covered by this tunnel at least, so there is an interval. Intervals
	 * that are this tunnel's own are passed over once by each tunnel only: O(n) in all. */
	for (; interval < end && addr_cmp(&interval->range.first, &tunnel->range.last) <= 0; interval++)
		if (interval->tunnel != index &&
		    addr_is_v4(&interval->range.first) == addr_is_v4(&tunnel->range.first))
			return interval;
	return NULL;
}

static void warn_overlap(struct draft *draft, const struct policy_tunnel *loser, const struct policy_tunnel *winner,
			 bool owns_any)
{
	bool same_width = !range_cmp_width(&loser->range, &winner->range);

	if (owns_any)
		report_warning(draft->report, loser->place,
			       "Tunnel%u (%s) overlaps Tunnel%u (line %u), which %s and wins where both cover",
			       loser->number, range_text(&loser->range).s, winner->number, winner->place.line,
			       same_width ? "has the lower number" : "is narrower");
	else if (same_width)
		report_warning(draft->report, loser->place,
			       "Tunnel%u (%s) is never used: Tunnel%u (line %u) covers it and has the lower number",
			       loser->number, range_text(&loser->range).s, winner->number, winner->place.line);
	else
		report_warning(draft->report, loser->place,
			       "Tunnel%u (%s) is never used: narrower ones, like Tunnel%u (line %u), cover all of it",
			       loser->number, range_text(&loser->range).s, winner->number, winner->place.line);
}

/* A tunnel is warned of when another has a part of its range, as compiled. */
static int check_overlaps(struct draft *draft)
{
	const struct policy *policy = draft->policy;
	struct policy_table *table = NULL;
	bool *owns = calloc(policy->n_tunnels + 1, sizeof(*owns));
	int err = -ENOMEM;

	if (!owns)
		goto out;
	err = policy_compile(policy, &table);
	if (err)
		goto out;
	for (size_t i = 0; i < table->n_intervals; i++)
		owns[table->intervals[i].tunnel] = true;
	for (size_t i = 0; i < policy->n_tunnels; i++) {
		const struct policy_interval *lost = find_lost(table, &policy->tunnels[i], i);

		if (lost)
			warn_overlap(draft, &policy->tunnels[i], &policy->tunnels[lost->tunnel], owns[i]);
	}
out:
	policy_table_free(table);
	free(owns);
	return err;
}

int check_draft(struct draft *draft)
{
	int err;

	check_targets(draft);
	check_heartbeat(draft);
	check_identity(draft);
	err = check_redirects(draft);
	/* With errors, what is unused, lacks or overlaps may only seem so. */
	if (err || draft->report->errors)
		return err;
	check_unwatched(draft);
	check_ipv6(draft);
	err = check_unused_clusters(draft);
	return err ? err : check_overlaps(draft);
}
