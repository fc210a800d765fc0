/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which interfaces of this machine are underlay and protected, by the policy or by
 * its routes, and which address its own traffic bears inside; also when one of
 * them comes back as another.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "loader/auto.h"
#include "loader/link.h"
#include "loader/node_internal.h"

static int read_interface(struct node *node, const char *name, struct node_interface *ret)
{
	struct link_info info;
	struct hf_addr v4;
	int err = link_by_name(node->route, name, &info);

	if (err)
		return node_fail(node, err, "no interface %s on this machine (the policy names it in [INTERFACE])", name);
	ret->index = info.index;
	memcpy(ret->mac, info.mac, sizeof(ret->mac));
	ret->running = info.running;
	snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	if (!link_first_v4(node->route, info.index, &v4))
		ret->address = v4;
	return 0;
}

/* Without Underlay in the policy: the interface that leads to the first gateway. */
static int find_underlay(struct node *node, const struct policy *policy)
{
	struct link_path path;
	struct link_info info;
	int err;

	if (!policy->n_clusters)
		return node_fail(node, -EINVAL, "the policy names no gateway, so it must say [INTERFACE] Underlay = NAME");
	err = link_path(node->route, &policy->clusters[0].gateways[0], &path);
	if (!err)
		err = link_by_index(node->route, path.index, &info);
	if (err)
		return node_fail(node, err, "no route to gateway %s: say [INTERFACE] Underlay = NAME, or set a route",
				 addr_text(&policy->clusters[0].gateways[0]).s);
	node->n_underlay = 1;
	node->underlay_by_route = true;
	err = read_interface(node, info.name, &node->underlay[0]);
	node->underlay[0].address = path.source;
	return err;
}

/*
 * What this machine's own traffic bears inside: the first host of Address; where there are networks only, what it has in
 * one of them.
 */
struct hf_addr node_own_address(const struct node *node, const struct policy_interface *names)
{
	for (size_t i = 0; i < names->n_address; i++)
		if (!policy_address_is_network(&names->address[i]))
			return names->address[i].addr;
	for (size_t i = 0; i < names->n_address; i++)
		for (size_t p = 0; p < node->n_protected; p++)
			if (prefix_contains(&names->address[i], &node->protected[p].address))
				return node->protected[p].address;
	if (names->n_address)
		log_warning("no interface of Protected has an address in a network of Address: this machine itself reaches "
			    "nothing through the tunnels");
	return node->underlay[0].address;
}

int node_find_interfaces(struct node *node, const struct policy *policy)
{
	const struct policy_interface *names = &policy->interface;
	int err = 0;

	if (names->n_underlay > NODE_INTERFACES_MAX || names->n_protected > NODE_INTERFACES_MAX)
		return node_fail(node, -E2BIG, "more than %d interfaces in one statement", NODE_INTERFACES_MAX);
	node->n_underlay = node->n_protected = 0;
	node->underlay_by_route = false;
	for (size_t i = 0; i < names->n_underlay && !err; i++)
		err = read_interface(node, names->underlay[i], &node->underlay[node->n_underlay++]);
	for (size_t i = 0; i < names->n_protected && !err; i++)
		err = read_interface(node, names->protected[i], &node->protected[node->n_protected++]);
	if (!err && !node->n_underlay)
		err = find_underlay(node, policy);
	if (err && !names->n_underlay && auto_wanted(policy)) { /* the link to the server will be one */
		node->n_underlay = 0;
		node->underlay_by_route = false;
		err = 0;
	}
	if (err)
		return err;
	if (!node->n_underlay)
		memset(&node->underlay[0].address, 0, sizeof(node->underlay[0].address));
	node->source = node_own_address(node, names);
	if (node->n_underlay && addr_is_zero(&node->source))
		return node_fail(node, -EADDRNOTAVAIL, "underlay interface %s has no IPv4 address", node->underlay[0].name);
	return 0;
}

/* The route to the first gateway leads by another interface than before: guarded first, then the other is given up. */
static int follow_route(struct node *node, const struct policy *policy, bool *ret_other)
{
	struct node_interface now = { .index = 0 };
	struct link_path path;
	struct link_info info;
	int err;

	if (!policy->n_clusters || link_path(node->route, &policy->clusters[0].gateways[0], &path) ||
	    path.index == node->underlay[0].index || path.index == node->tunnel || path.index == node->dialled.index ||
	    link_by_index(node->route, path.index, &info))
		return 0;
	err = read_interface(node, info.name, &now);
	if (!err)
		err = node_attach_underlay(node, &now);
	if (err)
		return err;
	log_info("the way to the gateways leads by %s now, before: %s", now.name, node->underlay[0].name);
	datapath_detach_underlay(node->dp, (unsigned int)node->underlay[0].index);
	now.address = path.source;
	node->underlay[0] = now;
	*ret_other = true;
	return 0;
}

/*
 * An underlay interface that came back is another one to the kernel. One that is
 * away is waited for. An address that stands stays.
 */
int node_follow_underlay(struct node *node, const struct policy *policy, bool *ret_other)
{
	struct node_interface now;
	struct link_path path;
	int err = node->underlay_by_route ? follow_route(node, policy, ret_other) : 0;

	if (err)
		return err;
	for (size_t i = 0; i < node->n_underlay; i++) {
		struct node_interface *known = &node->underlay[i];

		memset(&now, 0, sizeof(now));
		if (read_interface(node, known->name, &now))
			continue;
		if (now.index != known->index)
			datapath_detach_underlay(node->dp, (unsigned int)known->index);
		if (!addr_is_zero(&known->address) && !link_path(node->route, &known->address, &path) && path.local)
			now.address = known->address;
		now.xdp_id = known->xdp_id;
		*known = now;
	}
	return 0;
}

bool node_follow_protected(struct node *node)
{
	struct node_interface now;
	bool other = false;

	for (size_t i = 0; i < node->n_protected; i++) {
		struct node_interface *known = &node->protected[i];

		memset(&now, 0, sizeof(now));
		if (read_interface(node, known->name, &now))
			continue;
		other = other || now.index != known->index || memcmp(now.mac, known->mac, sizeof(now.mac));
		*known = now;
	}
	return other;
}

bool node_is_there(struct node *node, int index)
{
	struct link_info info;

	return !link_by_index(node->route, index, &info);
}

bool node_is_underlay(const struct node *node, int index)
{
	for (size_t i = 0; i < node->n_underlay; i++)
		if (node->underlay[i].index == index)
			return true;
	return false;
}
