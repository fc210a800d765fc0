/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Another policy for the clusters. What stays is renamed rather than made anew;
 * gateways that go are left in order: others first, then their sessions.
 */
#include "loader/cluster_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/auto.h"

/* The session of a gateway that was left stays so long: answers under way still come through it. */
#define DISPLACED_S 2
/* How often it may be so, while nobody else can be reached. */
#define DISPLACED_TRIES 5

/* A gateway that is no longer in the cluster of this slot, but has a session. */
struct displaced {
	struct clusters *all;
	struct event *timer;
	__u32 slot;
	__u32 if_id;
	unsigned int tries;
	struct displaced *next;
};

struct clusters_change {
	struct clusters *all;
	const struct policy *policy;
	struct cluster **cluster; /* as they will be; those that stay are the clusters' own until then */
	bool *stays;
	size_t n;
};

static void displaced_free(struct displaced *displaced)
{
	struct displaced **at = &displaced->all->displaced;

	while (*at != displaced)
		at = &(*at)->next;
	*at = displaced->next;
	event_free(displaced->timer);
	free(displaced);
}

void clusters_forget_displaced(struct clusters *all)
{
	while (all->displaced)
		displaced_free(all->displaced);
}

static void wait_displaced(struct displaced *displaced)
{
	static const struct timeval wait = { .tv_sec = DISPLACED_S };

	event_add(displaced->timer, &wait);
}

static void displaced_due(evutil_socket_t fd, short what, void *context)
{
	struct displaced *displaced = context;
	struct clusters *all = displaced->all;
	struct cluster *cluster = all->by_slot[displaced->slot];
	struct peer *peer = peers_by_if_id(all->config.peers, displaced->if_id);
	__u32 slot = displaced->slot, used = 0;

	/* The slot may be another's by now, and the gateway in its cluster again. */
	if (peer && cluster && cluster_gateway_index(cluster, &peer->remote) != FAILOVER_NOBODY) {
		displaced_free(displaced);
		return;
	}
	datapath_read_steer(all->config.node->dp, slot, &used);
	if (peer && used == displaced->if_id && ++displaced->tries < DISPLACED_TRIES) {
		wait_displaced(displaced);
		return;
	}
	/* Also where its session has ended meanwhile: whoever sends would be told of to nobody. */
	if (used == displaced->if_id)
		datapath_steer(all->config.node->dp, slot, 0);
	displaced_free(displaced);
	if (peer)
		clusters_leave(all, slot, peer, "the policy no longer names this gateway");
}

static void displace(struct cluster *cluster, struct peer *peer)
{
	struct displaced *displaced = calloc(1, sizeof(*displaced));

	if (displaced)
		displaced->timer = evtimer_new(cluster->all->config.base, displaced_due, displaced);
	if (!displaced || !displaced->timer) {
		free(displaced);
		return; /* its session ends with its lifetime */
	}
	displaced->all = cluster->all;
	displaced->slot = cluster->slot;
	displaced->if_id = peer->if_id;
	displaced->next = cluster->all->displaced;
	cluster->all->displaced = displaced;
	wait_displaced(displaced);
}

static __u32 free_slot(const struct clusters *all, __u32 from)
{
	while (from < DATAPATH_SLOTS &&
	       (clusters_have_slot(all, from) || all->config.slot_is_taken(all->config.context, from)))
		from++;
	return from;
}

int clusters_prepare(struct clusters *all, const struct policy *policy, const struct policy_difference *difference,
		     struct clusters_change **ret_change)
{
	struct clusters_change *change = calloc(1, sizeof(*change));
	size_t n = policy->n_clusters;
	__u32 slot = 0;

	if (!change)
		return -ENOMEM;
	change->all = all;
	change->policy = policy;
	change->cluster = calloc(n + 1, sizeof(*change->cluster));
	change->stays = calloc(n + 1, sizeof(*change->stays));
	if (!change->cluster || !change->stays)
		goto fail;
	for (; change->n < n; change->n++) {
		struct cluster **cluster = &change->cluster[change->n];

		change->stays[change->n] = difference->from[change->n] != POLICY_NEW;
		if (change->stays[change->n]) {
			*cluster = all->cluster[difference->from[change->n]];
			continue;
		}
		slot = free_slot(all, slot);
		if (slot == DATAPATH_SLOTS) {
			clusters_discard(change);
			return -ENOSPC;
		}
		*cluster = cluster_new(all, &policy->clusters[change->n], slot++);
		if (!*cluster)
			goto fail;
	}
	if (auto_wanted(policy) && auto_wanted(all->config.policy)) {
		change->stays[change->n] = true;
		change->cluster[change->n++] = all->cluster[all->n - 1];
	} else if (auto_wanted(policy)) {
		slot = free_slot(all, slot);
		change->cluster[change->n] = slot < DATAPATH_SLOTS ? cluster_new(all, &all->detected, slot) : NULL;
		if (!change->cluster[change->n++])
			goto fail;
	}
	*ret_change = change;
	return 0;
fail:
	clusters_discard(change);
	return -ENOMEM;
}

void clusters_discard(struct clusters_change *change)
{
	if (!change)
		return;
	for (size_t i = 0; change->cluster && i < change->n; i++)
		if (!change->stays[i])
			cluster_free(change->cluster[i]);
	free(change->cluster);
	free(change->stays);
	free(change);
}

__u32 clusters_change_slot(const struct clusters_change *change, size_t index)
{
	return change->cluster[index]->slot;
}

/* Those that come to the cluster with a session that others have already. */
static void welcome(struct cluster *cluster, const struct failover_change *change)
{
	for (int g = 0; g < change->config.n_gateways; g++) {
		struct peer *peer = change->from[g] == FAILOVER_NOBODY ? cluster_peer(cluster, g) : NULL;

		if (peer && !datapath_set_member(cluster->all->config.node->dp, cluster->slot, peer->if_id))
			cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g });
	}
}

static bool same_settings(const struct failover_config *a, const struct failover_config *b)
{
	return a->heartbeat == b->heartbeat && a->response_ns == b->response_ns && a->defer_ns == b->defer_ns &&
	       a->tries == b->tries && a->standby == b->standby && a->connect_at_start == b->connect_at_start;
}

static bool same_gateways(const struct policy_cluster *a, const struct policy_cluster *b)
{
	return a->n_gateways == b->n_gateways && !memcmp(a->gateways, b->gateways, a->n_gateways * sizeof(*a->gateways));
}

static void change_cluster(struct cluster *cluster, const struct policy *policy, const struct policy_cluster *new)
{
	const struct policy_cluster *old = cluster->policy;
	struct failover_change change;
	bool gone[FAILOVER_MAX_GATEWAYS];

	memset(gone, true, sizeof(gone));
	cluster_config(policy, new, &change.config);
	/* One that nobody has let in asks again at once: the identity may be another. */
	if (same_gateways(old, new) && same_settings(&change.config, &cluster->machine.config) && !cluster->machine.rounds) {
		cluster->policy = new;
		return;
	}
	for (int g = 0; g < change.config.n_gateways; g++) {
		change.from[g] = cluster_gateway_index(cluster, &new->gateways[g]);
		if (change.from[g] != FAILOVER_NOBODY)
			gone[change.from[g]] = false;
	}
	for (int g = 0; g < (int)old->n_gateways; g++) {
		struct peer *peer = gone[g] ? cluster_peer(cluster, g) : NULL;

		if (peer && cluster->awake)
			displace(cluster, peer);
	}
	if (cluster->request)
		keyservice_cancel(cluster->all->service, cluster->request);
	cluster->request = 0;
	cluster->policy = new;
	if (!cluster->awake) {
		cluster_begin(cluster);
		return;
	}
	cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_CHANGED, .change = &change });
	welcome(cluster, &change);
}

/* Clusters that are gone, and those that nothing leads to any more. */
static void put_to_rest(struct clusters *all, struct cluster **old, size_t n_old)
{
	static const char why[] = "the policy no longer leads there";

	for (size_t i = 0; i < n_old; i++)
		old[i]->listed = false;
	for (size_t i = 0; i < all->n; i++)
		all->cluster[i]->listed = true;
	for (size_t i = 0; i < n_old; i++) {
		bool stays = old[i]->listed;

		if (stays && (old[i]->tunnelled || old[i] == all->led_to || !old[i]->awake))
			continue;
		if (old[i]->awake)
			cluster_rest(old[i], why);
		if (stays)
			continue;
		all->by_slot[old[i]->slot] = NULL;
		all->before.sent += old[i]->sent;
		all->before.missed += old[i]->missed;
		all->before.failovers += old[i]->machine.failovers;
		cluster_free(old[i]);
	}
}

void clusters_commit(struct clusters_change *change)
{
	struct clusters *all = change->all;
	struct cluster **old = all->cluster;
	size_t n_old = all->n;

	all->config.policy = change->policy;
	for (size_t i = 0; i < change->n; i++)
		if (change->stays[i])
			change_cluster(change->cluster[i], change->policy,
				       i < change->policy->n_clusters ? &change->policy->clusters[i] : &all->detected);
	all->cluster = change->cluster;
	all->n = change->n;
	for (size_t i = 0; i < all->n; i++)
		all->by_slot[all->cluster[i]->slot] = all->cluster[i];
	clusters_note_tunnels(all);
	for (size_t i = 0; i < all->n; i++)
		if (!all->cluster[i]->awake && all->cluster[i]->tunnelled)
			cluster_wake(all->cluster[i]);
	put_to_rest(all, old, n_old);
	free(old);
	free(change->stays);
	free(change);
}

void clusters_begin_anew(struct clusters *all, const char *why)
{
	for (size_t i = 0; i < all->n; i++)
		all->cluster[i]->listed = all->cluster[i]->awake;
	/* All of them first: nobody moves to a session that is about to end. */
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i]->awake)
			cluster_rest(all->cluster[i], why);
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i]->listed)
			cluster_wake(all->cluster[i]);
}
