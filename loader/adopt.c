/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "loader/auto.h"
#include "loader/claim.h"
#include "loader/link.h"
#include "loader/route.h"
#include "loader/session_record.h"

/* Sessions. */

struct adoption {
	const struct adopt_parts *parts;
	enum hf_role role; /* clients first: they may have to leave a slot that is a cluster's now */
	struct adopt_result result;
};

static const char no_such_gateway[] = "the policy names no such gateway any more";

static bool is_our_address(struct node *node, const struct hf_addr *addr)
{
	struct link_path path;

	return !link_path(node->route, addr, &path) && path.local;
}

/* NULL: it may go on. */
static const char *why_not(const struct adopt_parts *parts, const struct hf_session *record)
{
	if (!session_record_is_valid(record, time(NULL)))
		return "the certificate of the other end has expired";
	if (!is_our_address(parts->node, &record->local))
		return "this machine no longer has the address that it came from";
	if (record->role == HF_ROLE_GATEWAY)
		return clusters_have(parts->clusters, &record->remote) || auto_wanted(parts->policy) ? NULL : no_such_gateway;
	if (!parts->policy->interface.accept && !record->named)
		return "the policy accepts no clients any more";
	return session_record_is_granted(record, parts->policy) ? NULL : "the policy no longer grants its addresses";
}

static int adopt_peer(const struct adopt_parts *parts, struct peer *peer)
{
	int err = 0;

	if (peer->role == HF_ROLE_CLIENT)
		err = clients_adopt(parts->clients, peer);
	if (!err && (peer->role == HF_ROLE_GATEWAY || peer->named))
		err = clusters_adopt(parts->clusters, peer);
	return err;
}

static int adopt_one(void *context, __u32 if_id, const struct hf_session *record)
{
	struct adoption *adoption = context;
	const struct adopt_parts *parts = adoption->parts;
	const char *reason;
	struct peer *peer;
	int err = 0;

	if (record->role != adoption->role)
		return 0;
	reason = why_not(parts, record);
	if (!reason) {
		err = peers_adopt(parts->peers, if_id, record, &peer);
		if (err == -ESTALE)
			reason = "its time is over, or its states are gone from the kernel";
	}
	if (!reason && !err)
		err = adopt_peer(parts, peer);
	if (!reason && !err) {
		adoption->result.adopted++;
		log_debug("session with %s (%.*s) goes on", addr_text(&record->remote).s, HF_NAME_MAX - 1, record->name);
		return 0;
	}
	adoption->result.refused++;
	eventlog_emit(parts->log, EVENT_SESSION_ENDED,
		      json_pack("{s:s, s:s}", record->role == HF_ROLE_GATEWAY ? "gateway" : "client",
				addr_text(&record->remote).s, "why", reason ? reason : strerror(-err)),
		      "session with %s is not adopted: %s", addr_text(&record->remote).s, reason ? reason : strerror(-err));
	return 0;
}

/* What is kept. */

static const struct policy_entry *find_entry(const struct policy_table *table, const struct hf_prefix *prefix)
{
	size_t low = 0, high = table->n_entries;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct policy_entry *entry = &table->entries[middle];
		int order = addr_cmp(&entry->prefix.addr, &prefix->addr);

		if (!order)
			return entry->prefix.len == prefix->len ? entry : NULL; /* disjoint: no two begin alike */
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool keep_peer(void *context, __u32 if_id)
{
	const struct adopt_parts *parts = context;

	return peers_by_if_id(parts->peers, if_id);
}

static bool keep_slot(void *context, __u32 slot)
{
	const struct adopt_parts *parts = context;

	return clusters_have_slot(parts->clusters, slot) || clients_have_slot(parts->clients, slot);
}

static bool keep_tunnel(void *context, const struct datapath_tunnel *tunnel)
{
	const struct adopt_parts *parts = context;
	__u32 slot;

	if (tunnel->number)
		return find_entry(parts->table, &tunnel->prefix);
	return clients_have_prefix(parts->clients, &tunnel->prefix, &slot) && slot == tunnel->slot;
}

/* Whether the policy or a client has this route. */
static bool keep_route(void *context, const struct route_seen *route)
{
	const struct adopt_parts *parts = context;
	const struct policy_entry *entry;

	if (route->main)
		return clients_have_claimed(parts->clients, &route->prefix);
	if (clients_have_prefix(parts->clients, &route->prefix, NULL))
		return true;
	entry = find_entry(parts->table, &route->prefix);
	if (!entry || route->unreachable)
		return entry;
	return parts->policy->tunnels[entry->tunnel].target == POLICY_TARGET_CLUSTER || parts->node->dialled.index;
}

static bool keep_claim(void *context, int index, const struct hf_addr *addr)
{
	const struct adopt_parts *parts = context;
	struct hf_prefix prefix = prefix_of_host(addr);

	for (size_t i = 0; i < parts->node->n_protected; i++)
		if (parts->node->protected[i].index == index)
			return clients_have_claimed(parts->clients, &prefix);
	return false;
}

/* Traffic is led elsewhere, or nowhere, before the states that it went through end. */
static int sweep(const struct adopt_parts *parts, size_t *ret_n)
{
	struct datapath_keep keep = { keep_peer, keep_slot, keep_tunnel, (void *)parts };
	struct netlink *route = parts->node->route;
	size_t entries = 0, states = 0, claims = 0, routes = 0;
	int err = datapath_sweep(parts->node->dp, &keep, &entries);

	if (!err)
		err = claim_sweep(route, keep_claim, (void *)parts, &claims);
	if (!err)
		err = route_sweep(route, keep_route, (void *)parts, &routes);
	if (!err)
		err = peers_sweep(parts->peers, &states);
	*ret_n = entries + states + claims + routes;
	if (*ret_n)
		log_info("left over and removed: %zu map entries, %zu states and policies, %zu claims, %zu routes", entries,
			 states, claims, routes);
	return err;
}

int adopt_sessions(const struct adopt_parts *parts, struct adopt_result *ret_result)
{
	struct adoption adoption = { .parts = parts, .role = HF_ROLE_CLIENT };
	int err = datapath_each_session(parts->node->dp, adopt_one, &adoption);

	adoption.role = HF_ROLE_GATEWAY;
	if (!err)
		err = datapath_each_session(parts->node->dp, adopt_one, &adoption);
	*ret_result = adoption.result;
	return err;
}

/* Ending one changes the list. */
static size_t end_unled(const struct adopt_parts *parts)
{
	struct peer *next;
	size_t n = 0;

	for (struct peer *peer = peers_next(parts->peers, NULL); peer; peer = next) {
		next = peers_next(parts->peers, peer);
		if (peer->role != HF_ROLE_GATEWAY || clusters_have(parts->clusters, &peer->remote))
			continue;
		clusters_session_end(parts->clusters, peer, no_such_gateway);
		n++;
	}
	return n;
}

int adopt_finish(const struct adopt_parts *parts, const struct adopt_result *result)
{
	size_t unled = end_unled(parts), left = 0, refused = result->refused + unled, adopted = result->adopted - unled;
	int err = sweep(parts, &left);

	if (err)
		return err;
	eventlog_emit(parts->log, EVENT_ADOPTED,
		      json_pack("{s:I, s:I, s:I}", "sessions", (json_int_t)adopted, "refused", (json_int_t)refused,
				"removed", (json_int_t)left),
		      "the datapath of the run before goes on: %zu sessions adopted, %zu not, %zu things left over removed",
		      adopted, refused, left);
	return 0;
}
