/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is set up, part by part: the closed way, hf0, the sysctls, the maps and
 * programs, the sockets, the routes that open the way. Each can be asked for
 * again when it is in doubt. Knows nothing of their order.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "loader/beat.h"
#include "loader/link.h"
#include "loader/node_internal.h"
#include "loader/route.h"

int node_fail(struct node *node, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(node->error, sizeof(node->error), format, args);
	va_end(args);
	return error;
}

const char *node_why(struct netlink *nl, int error)
{
	const char *text = netlink_text(nl);

	return *text ? text : strerror(-error);
}

static bool leads_to(const struct node_config *config, size_t entry, enum policy_target target)
{
	return config->policy->tunnels[config->table->entries[entry].tunnel].target == target;
}

int node_tunnelled(const struct node_config *config, struct node_prefixes *ret)
{
	static const enum policy_target order[] = { POLICY_TARGET_CLUSTER, POLICY_TARGET_AUTO };
	struct node_prefixes prefixes = { .prefix = calloc(config->table->n_entries + 1, sizeof(*prefixes.prefix)) };

	if (!prefixes.prefix)
		return -ENOMEM;
	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < config->table->n_entries; i++)
			if (leads_to(config, i, order[pass]))
				prefixes.prefix[prefixes.n++] = config->table->entries[i].prefix;
		if (order[pass] == POLICY_TARGET_CLUSTER)
			prefixes.n_clusters = prefixes.n;
	}
	*ret = prefixes;
	return 0;
}

bool node_tunnels_v6(const struct policy_table *table)
{
	for (size_t i = 0; i < table->n_entries; i++)
		if (!addr_is_v4(&table->entries[i].prefix.addr))
			return true;
	return false;
}

/* From here on nothing of the tunnelled ranges leaves in clear. */
int node_close_way(struct node *node, const struct node_config *config, const struct node_prefixes *prefixes,
		   struct node_rules *ret_before)
{
	struct node_rules before = { .v6 = true };
	int err = route_add_unreachable(node->route, prefixes->prefix, prefixes->n);

	if (err)
		return node_fail(node, err, "routes: %s", node_why(node->route, err));
	node->closed = true;
	err = route_rule_add(node->route, AF_INET, &before.v4);
	/* IPv6 is not carried yet: what the policy tunnels of it ends on hf0, as a counted drop. */
	if (!err && node_tunnels_v6(config->table))
		err = route_rule_add(node->route, AF_INET6, &before.v6);
	*ret_before = before;
	return err ? node_fail(node, err, "routing rule: %s", node_why(node->route, err)) : 0;
}

/* What fits through every underlay, and through the link to the server of AUTO. */
__u32 node_tunnel_mtu(struct node *node)
{
	__u32 mtu = LINK_TUNNEL_MTU;
	struct link_info info;

	for (size_t i = 0; i <= node->n_underlay; i++) {
		int index = i < node->n_underlay ? node->underlay[i].index : node->dialled.index;

		if (!link_by_index(node->route, index, &info) && info.mtu > 180 && info.mtu - 100 < mtu)
			mtu = info.mtu - 100;
	}
	return mtu;
}

/* That of a run before, or 0. */
int node_find_tunnel(struct node *node, int *ret_index)
{
	struct link_info info;

	*ret_index = 0;
	if (link_by_name(node->route, LINK_TUNNEL, &info))
		return 0;
	if (strcmp(info.kind, "xfrm") || !info.external)
		return node_fail(node, -EEXIST, "an interface named %s exists and is not Holdfast's: rename it", LINK_TUNNEL);
	*ret_index = info.index;
	return 0;
}

int node_make_tunnel(struct node *node)
{
	int err;

	/* Left by a run that was killed: its states are gone with the flush, so a new one takes its place. */
	link_delete(node->route, LINK_TUNNEL);
	err = link_tunnel_create(node->route, LINK_TUNNEL, node_tunnel_mtu(node), &node->tunnel);
	if (err == -EEXIST)
		return node_fail(node, err, "this network namespace has another xfrm interface in external mode already: "
				 "the kernel allows one (remove it, or use a namespace for Holdfast)");
	return err ? node_fail(node, err, "tunnel interface: %s", node_why(node->route, err)) : 0;
}

int node_set_tunnel(struct node *node, const struct policy *policy)
{
	int err = link_set_mtu(node->route, node->tunnel, node_tunnel_mtu(node));

	if (err)
		return node_fail(node, err, "MTU of %s: %s", LINK_TUNNEL, node_why(node->route, err));
	for (size_t i = 0; i < policy->interface.n_address && !err; i++)
		if (!policy_address_is_network(&policy->interface.address[i]))
			err = link_addr_add(node->route, node->tunnel, &policy->interface.address[i]);
	return err ? node_fail(node, err, "address of %s: %s", LINK_TUNNEL, node_why(node->route, err)) : 0;
}

int node_set_sysctls(struct node *node, bool v6, bool *ret_changed)
{
	const struct node_interface tunnel = { .name = LINK_TUNNEL, .index = node->tunnel };
	/* A machine with no protected network forwards nothing. */
	const struct {
		const char *key;
		const char *value;
		const struct node_interface *at;
		size_t n;
	} wanted[] = {
		{ "net/ipv4/conf/%s/forwarding", "1", &tunnel, node->n_protected != 0 },
		{ "net/ipv4/conf/%s/send_redirects", "0", &tunnel, 1 },
		{ "net/ipv6/conf/%s/disable_ipv6", "0", &tunnel, v6 }, /* where 1 is the default, no route leads over it */
		{ "net/ipv4/conf/%s/src_valid_mark", "1", node->underlay, node->n_underlay }, /* so that rp_filter=1 sees HF_MARK */
		{ "net/ipv4/conf/%s/forwarding", "1", node->protected, node->n_protected },
		{ "net/ipv4/neigh/%s/proxy_delay", "0", node->protected, node->n_protected }, /* claims answer ARP at once */
	};
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		for (size_t k = 0; k < wanted[i].n; k++) {
			const struct node_interface *at = &wanted[i].at[k];
			int result = sysctl_set_if(node->sysctls, wanted[i].key, at->name, wanted[i].value);

			if (result == -ENOENT && !node_is_there(node, at->index))
				continue; /* it is followed when it is back */
			if (result < 0)
				return node_fail(node, result, "cannot set network sysctls of %s: %s", at->name, strerror(-result));
			if (result && ret_changed)
				*ret_changed = true;
		}
	return 0;
}

/* The tunnels to clusters have theirs; those to AUTO have auto_slot. */
int node_fill_tunnels(struct node *node, const struct node_config *config, enum policy_target target,
		      __u32 auto_slot)
{
	struct datapath_tunnel *tunnels = calloc(config->table->n_entries + 1, sizeof(*tunnels));
	size_t n = 0;
	int err;

	if (!tunnels)
		return node_fail(node, -ENOMEM, "out of memory");
	for (size_t i = 0; i < config->table->n_entries; i++) {
		const struct policy_tunnel *tunnel = &config->policy->tunnels[config->table->entries[i].tunnel];

		if (tunnel->target != target)
			continue;
		tunnels[n].prefix = config->table->entries[i].prefix;
		tunnels[n].slot = target == POLICY_TARGET_CLUSTER ? node->slots[tunnel->cluster] : auto_slot;
		tunnels[n++].number = tunnel->number;
	}
	err = datapath_set_tunnels(node->dp, tunnels, n);
	free(tunnels);
	return err ? node_fail(node, err, "filling the map of tunnels: %s", strerror(-err)) : 0;
}

int node_fill_protected(struct node *node)
{
	unsigned int indexes[NODE_INTERFACES_MAX];
	int err;

	for (size_t i = 0; i < node->n_protected; i++)
		indexes[i] = (unsigned int)node->protected[i].index;
	err = datapath_set_protected(node->dp, indexes, node->n_protected, (unsigned int)node->tunnel);
	return err ? node_fail(node, err, "filling the map of protected interfaces: %s", strerror(-err)) : 0;
}

int node_attach_underlay(struct node *node, struct node_interface *interface)
{
	struct datapath_report report = { .text = "" };
	struct datapath_attached attached = { 0 };
	int err = datapath_attach_underlay(node->dp, (unsigned int)interface->index, &report, &attached);

	if (err) {
		log_debug("%s", report.detail);
		return node_fail(node, err, "%s", report.text);
	}
	interface->xdp_id = attached.xdp_id;
	if (attached.mode == DATAPATH_XDP_NONE) {
		log_info("%s has no Ethernet: TC in the place of XDP", interface->name);
		return 0;
	}
	log_info("XDP on %s: %s mode%s%s%s", interface->name,
		 attached.mode == DATAPATH_XDP_NATIVE ? "native" : "generic",
		 attached.dispatcher ? ", beside other programs" : "", *attached.note ? ": " : "", attached.note);
	return 0;
}

int node_attach(struct node *node)
{
	struct datapath_report report = { .text = "" };
	int err = datapath_attach_tunnel(node->dp, (unsigned int)node->tunnel, &report);

	if (err) {
		log_debug("%s", report.detail);
		return node_fail(node, err, "%s", report.text);
	}
	for (size_t i = 0; i < node->n_underlay && !err; i++)
		err = node_attach_underlay(node, &node->underlay[i]);
	return err;
}

void node_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int node_open_sockets(struct node *node)
{
	int err = inner_open(LINK_TUNNEL, &node->inner);

	node->beat_fd = beat_open();
	if (!err && node->beat_fd < 0)
		err = node->beat_fd;
	return err ? node_fail(node, err, "raw sockets: %s", strerror(-err)) : 0;
}

const struct hf_addr *node_source_or_none(const struct hf_addr *source)
{
	return addr_is_zero(source) ? NULL : source;
}

/* While this machine does not have it, the kernel takes no route with it; what is forwarded needs none. */
static const struct hf_addr *source_if_local(struct node *node, const struct hf_addr *source)
{
	struct link_path path;

	return !link_path(node->route, source, &path) && path.local ? node_source_or_none(source) : NULL;
}

/* What leads to AUTO stays unreachable. */
int node_open_traffic(struct node *node, const struct node_prefixes *prefixes)
{
	int err = link_set_up(node->route, node->tunnel, true);

	if (!err && prefixes->n_clusters)
		err = route_add(node->route, node->tunnel, prefixes->prefix, prefixes->n_clusters,
				source_if_local(node, &node->source));
	if (!err && node->dialled.index && prefixes->n > prefixes->n_clusters)
		err = route_add(node->route, node->tunnel, prefixes->prefix + prefixes->n_clusters,
				prefixes->n - prefixes->n_clusters, source_if_local(node, &node->dialled_source));
	return err ? node_fail(node, err, "routes over %s: %s", LINK_TUNNEL, node_why(node->route, err)) : 0;
}
