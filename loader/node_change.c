/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Other interfaces and inner addresses, for a node that is up: what is new comes
 * beside what is there, and only when nothing can fail any more does the old go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "loader/link.h"
#include "loader/node_internal.h"

static void places_save(const struct node *node, struct node_places *places)
{
	memcpy(places->underlay, node->underlay, sizeof(places->underlay));
	memcpy(places->protected, node->protected, sizeof(places->protected));
	places->n_underlay = node->n_underlay;
	places->n_protected = node->n_protected;
	places->underlay_by_route = node->underlay_by_route;
	places->source = node->source;
}

static void places_load(struct node *node, const struct node_places *places)
{
	memcpy(node->underlay, places->underlay, sizeof(node->underlay));
	memcpy(node->protected, places->protected, sizeof(node->protected));
	node->n_underlay = places->n_underlay;
	node->n_protected = places->n_protected;
	node->underlay_by_route = places->underlay_by_route;
	node->source = places->source;
}

static bool is_among(const struct node_interface *interface, const struct node_interface *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].index == interface->index)
			return true;
	return false;
}

/* Both sets are guarded until the old one is given up. */
static int guard_both(struct node *node, const struct node_places *before)
{
	unsigned int indexes[2 * NODE_INTERFACES_MAX];
	size_t n = 0;
	int err;

	for (size_t i = 0; i < node->n_protected; i++)
		indexes[n++] = (unsigned int)node->protected[i].index;
	for (size_t i = 0; i < before->n_protected; i++)
		if (!is_among(&before->protected[i], node->protected, node->n_protected))
			indexes[n++] = (unsigned int)before->protected[i].index;
	err = datapath_set_protected(node->dp, indexes, n, (unsigned int)node->tunnel);
	return err ? node_fail(node, err, "filling the map of protected interfaces: %s", strerror(-err)) : 0;
}

static int attach_new(struct node *node, const struct node_places *before)
{
	int err = 0;

	for (size_t i = 0; i < node->n_underlay && !err; i++)
		if (!is_among(&node->underlay[i], before->underlay, before->n_underlay))
			err = node_attach_underlay(node, &node->underlay[i]);
	return err;
}

/* The programs of those that are in list and not in kept. */
static void detach_others(struct node *node, const struct node_interface *list, size_t n,
			  const struct node_interface *kept, size_t n_kept)
{
	for (size_t i = 0; i < n; i++)
		if (!is_among(&list[i], kept, n_kept) && list[i].index != node->dialled.index &&
		    datapath_detach_underlay(node->dp, (unsigned int)list[i].index) && node_is_there(node, list[i].index))
			log_warning("%s: the programs cannot be taken off", list[i].name);
}

static void restore_sysctls(struct node *node, const struct node_interface *list, size_t n,
			    const struct node_interface *kept, size_t n_kept)
{
	for (size_t i = 0; i < n; i++)
		if (!is_among(&list[i], kept, n_kept) && list[i].index != node->dialled.index)
			sysctl_restore_if(node->sysctls, list[i].name);
}

/* Addresses of hf0 that one policy has and the other has not. */
static void delete_addresses(struct node *node, const struct policy *of, const struct policy *not_of)
{
	const struct policy_interface *a = &of->interface, *b = &not_of->interface;

	for (size_t i = 0; i < a->n_address; i++) {
		bool stays = policy_address_is_network(&a->address[i]);

		for (size_t k = 0; k < b->n_address && !stays; k++)
			stays = a->address[i].len == b->address[k].len && addr_equal(&a->address[i].addr, &b->address[k].addr);
		if (!stays && link_addr_delete(node->route, node->tunnel, &a->address[i]))
			log_warning("%s stays on %s: %s", prefix_text(&a->address[i]).s, LINK_TUNNEL, netlink_text(node->route));
	}
}

int node_change_prepare(struct node *node, const struct policy *old, const struct node_config *config,
			struct node_change *ret_change)
{
	int err;

	ret_change->old = old;
	ret_change->new = config->policy;
	places_save(node, &ret_change->before);
	err = node_find_interfaces(node, config->policy);
	if (err) {
		places_load(node, &ret_change->before);
		return err;
	}
	err = attach_new(node, &ret_change->before);
	if (!err)
		err = guard_both(node, &ret_change->before);
	if (!err)
		err = node_set_tunnel(node, config->policy);
	/* Nothing is forwarded before it is guarded. */
	if (!err)
		err = node_set_sysctls(node, node_tunnels_v6(config->table), NULL);
	if (err)
		node_change_discard(node, ret_change);
	return err;
}

void node_change_discard(struct node *node, const struct node_change *change)
{
	const struct node_places *before = &change->before;
	struct node_places after;
	char error[NODE_ERROR_MAX];

	memcpy(error, node->error, sizeof(error));
	places_save(node, &after);
	places_load(node, before);
	delete_addresses(node, change->new, change->old);
	restore_sysctls(node, after.protected, after.n_protected, before->protected, before->n_protected);
	restore_sysctls(node, after.underlay, after.n_underlay, before->underlay, before->n_underlay);
	if (node_fill_protected(node) || node_set_tunnel(node, change->old))
		log_warning("%s", node->error);
	detach_others(node, after.underlay, after.n_underlay, before->underlay, before->n_underlay);
	memcpy(node->error, error, sizeof(error));
}

int node_change_commit(struct node *node, const struct node_change *change, const struct node_config *config)
{
	const struct node_places *before = &change->before;
	struct node_prefixes prefixes = { .prefix = NULL };
	int err = 0;

	/* Another source first: the kernel removes a route with the address that is its source. */
	if (!addr_equal(&before->source, &node->source))
		err = node_tunnelled(config, &prefixes) ? node_fail(node, -ENOMEM, "out of memory") :
							  node_open_traffic(node, &prefixes);
	free(prefixes.prefix);
	delete_addresses(node, change->old, change->new);
	/* What is no longer guarded has ceased to forward for us before. */
	restore_sysctls(node, before->protected, before->n_protected, node->protected, node->n_protected);
	restore_sysctls(node, before->underlay, before->n_underlay, node->underlay, node->n_underlay);
	if (!node->n_protected && before->n_protected)
		sysctl_restore_if(node->sysctls, LINK_TUNNEL);
	if (!err)
		err = node_fill_protected(node);
	/* One that was of both kinds lost what the other needs; and hf0, where nothing is forwarded any more. */
	if (!err)
		err = node_set_sysctls(node, node_tunnels_v6(config->table), NULL);
	detach_others(node, before->underlay, before->n_underlay, node->underlay, node->n_underlay);
	node_guard_others(node, config->table, false);
	if (!err)
		err = node_set_tunnel(node, config->policy);
	return err;
}
