/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard on interfaces that are neither underlay nor protected, nor ports of others, where the
 * policy tunnels anything: what is tunnelled does not leave there in clear, whatever
 * rule or route somebody puts before Holdfast's. Owns which interfaces these are.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "loader/node_internal.h"

static bool is_protected(const struct node *node, int index)
{
	for (size_t i = 0; i < node->n_protected; i++)
		if (node->protected[i].index == index)
			return true;
	return false;
}

/* Those that have programs of their own, and lo, which nothing leaves by. */
static bool has_its_own(const struct node *node, const struct netlink_event *link)
{
	return link->index == node->tunnel || link->index == node->dialled.index || node_is_underlay(node, link->index) ||
	       !strcmp(link->name, "lo");
}

/* All of them first: the same socket is asked about single ones. */
static void note_link(void *context, const struct netlink_event *event)
{
	if (event->type == NETLINK_LINK && netlink_list_add(context, event, sizeof(*event)))
		log_warning("out of memory: %s is not guarded", event->name);
}

static void each_link(struct node *node, void (*visit)(struct node *node, const struct netlink_event *link))
{
	struct netlink_list links = { 0 };
	const struct netlink_event *link;
	int err = netlink_monitor_replay(node->route, note_link, &links);

	if (err)
		log_warning("interfaces cannot be listed: %s: not all are guarded", strerror(-err));
	link = links.items;
	for (size_t i = 0; i < links.n; i++)
		visit(node, &link[i]);
	netlink_list_clear(&links);
}

/*
 * A run before may have left its programs on what is another kind of interface now. What passes a port of a bridge may be
 * anybody's; what this machine sends there leaves by the bridge, which is guarded.
 */
static void guard(struct node *node, const struct netlink_event *link)
{
	int err;

	if (has_its_own(node, link))
		return;
	err = link->enslaved || is_protected(node, link->index) ? datapath_unguard(node->dp, (unsigned int)link->index) :
								   datapath_guard(node->dp, (unsigned int)link->index);
	if (err && node_is_there(node, link->index))
		log_warning("%s cannot be guarded: %s: what is tunnelled might leave there in clear", link->name, strerror(-err));
}

static void guard_if_missing(struct node *node, const struct netlink_event *link)
{
	if (link->enslaved || is_protected(node, link->index) || !datapath_is_guarded(node->dp, (unsigned int)link->index))
		guard(node, link);
}

static void unguard(struct node *node, const struct netlink_event *link)
{
	if (!has_its_own(node, link))
		datapath_unguard(node->dp, (unsigned int)link->index);
}

void node_guard_others(struct node *node, const struct policy_table *table, bool anew)
{
	each_link(node, !table->n_entries ? unguard : anew ? guard : guard_if_missing);
}

void node_unguard_others(struct node *node)
{
	each_link(node, unguard);
}
