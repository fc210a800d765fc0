/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tunnels of a node that is up, when the policy is another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/node.h"
#include "loader/route.h"

/* The prefixes that are written: those whose way is open first, then those to AUTO while there is no server. */
struct prefixes {
	struct hf_prefix *prefix;
	size_t n_open;
	size_t n;
	bool v6;
};

static const struct policy_tunnel *tunnel_of(const struct node_tunnels *tunnels, size_t written)
{
	return &tunnels->policy->tunnels[tunnels->difference->written[written].tunnel];
}

static int list_prefixes(const struct node_tunnels *tunnels, struct prefixes *ret)
{
	const struct policy_difference *difference = tunnels->difference;

	*ret = (struct prefixes){ .prefix = calloc(difference->n_written + 1, sizeof(*ret->prefix)) };
	if (!ret->prefix)
		return -ENOMEM;
	for (int closed = 0; closed < 2; closed++) {
		for (size_t i = 0; i < difference->n_written; i++) {
			bool open = tunnel_of(tunnels, i)->target == POLICY_TARGET_CLUSTER || tunnels->auto_source;

			if (open == !closed)
				ret->prefix[ret->n++] = difference->written[i].prefix;
			ret->v6 |= !addr_is_v4(&difference->written[i].prefix.addr);
		}
		if (!closed)
			ret->n_open = ret->n;
	}
	return 0;
}

static int write_entries(struct node *node, const struct node_tunnels *tunnels)
{
	size_t n = tunnels->difference->n_written;
	struct datapath_tunnel *entries = calloc(n + 1, sizeof(*entries));
	int err;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct policy_tunnel *tunnel = tunnel_of(tunnels, i);

		entries[i].prefix = tunnels->difference->written[i].prefix;
		entries[i].slot = tunnel->target == POLICY_TARGET_CLUSTER ? tunnels->slots[tunnel->cluster] :
									    tunnels->auto_slot;
		entries[i].number = tunnel->number;
	}
	err = datapath_set_tunnels(node->dp, entries, n);
	free(entries);
	return err;
}

/* What this machine's own packets bear inside: to AUTO, the address on the link, unless the policy says Address. */
static int open_routes(struct node *node, const struct node_tunnels *tunnels, const struct prefixes *prefixes)
{
	bool own = tunnels->policy->interface.n_address || !tunnels->auto_source;
	const struct hf_addr *source = addr_is_zero(&node->source) ? NULL : &node->source;
	int err = 0;

	for (size_t i = 0; i < tunnels->difference->n_written && !err; i++) {
		bool automatic = tunnel_of(tunnels, i)->target == POLICY_TARGET_AUTO;
		const struct hf_prefix *prefix = &tunnels->difference->written[i].prefix;

		if (automatic && tunnels->auto_source)
			err = route_add(node->route, node->tunnel, prefix, 1, own ? source : tunnels->auto_source);
		else if (!automatic && tunnels->auto_source)
			err = route_add(node->route, node->tunnel, prefix, 1, source);
	}
	/* Without a server they are all alike, and go many at a time. */
	if (!tunnels->auto_source && prefixes->n_open)
		err = route_add(node->route, node->tunnel, prefixes->prefix, prefixes->n_open, source);
	return err;
}

int node_add_tunnels(struct node *node, const struct node_tunnels *tunnels)
{
	struct prefixes prefixes;
	int err = list_prefixes(tunnels, &prefixes);

	if (!err && prefixes.n > prefixes.n_open) {
		err = route_add_unreachable(node->route, prefixes.prefix + prefixes.n_open, prefixes.n - prefixes.n_open);
		if (!err)
			err = route_close(node->route, prefixes.prefix + prefixes.n_open, prefixes.n - prefixes.n_open);
	}
	if (!err)
		err = write_entries(node, tunnels);
	if (!err)
		err = open_routes(node, tunnels, &prefixes);
	if (!err && prefixes.v6)
		err = route_rule_add(node->route, AF_INET6, NULL);
	free(prefixes.prefix);
	if (err)
		snprintf(node->error, sizeof(node->error), "tunnels: %s%s%s", strerror(-err),
			 *netlink_text(node->route) ? ": " : "", netlink_text(node->route));
	return err;
}

void node_remove_tunnels(struct node *node, const struct node_tunnels *tunnels)
{
	const struct policy_difference *difference = tunnels->difference;

	if (difference->n_gone)
		route_delete(node->route, difference->gone, difference->n_gone);
	for (size_t i = 0; i < difference->n_gone; i++)
		datapath_del_tunnel(node->dp, &difference->gone[i]);
}
