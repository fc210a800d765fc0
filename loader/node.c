/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "loader/auto.h"
#include "loader/beat.h"
#include "loader/claim.h"
#include "loader/link.h"
#include "loader/route.h"
#include "loader/slots.h"
#include "loader/session_record.h"
#include "loader/xfrm.h"

__attribute__((format(printf, 3, 4))) static int fail(struct node *node, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(node->error, sizeof(node->error), format, args);
	va_end(args);
	return error;
}

static const char *why(struct netlink *nl, int error)
{
	const char *text = netlink_text(nl);

	return *text ? text : strerror(-error);
}

static int open_netlinks(struct node *node)
{
	int err;

	err = node->route ? 0 : netlink_open(NETLINK_ROUTE, &node->route);
	if (!err)
		err = node->xfrm ? 0 : netlink_open(NETLINK_XFRM, &node->xfrm);
	if (err == -EPROTONOSUPPORT)
		return fail(node, err, "this kernel has no XFRM (IPsec) at all: use one with CONFIG_XFRM_USER");
	return err ? fail(node, err, "netlink: %s", strerror(-err)) : 0;
}

int node_preflight(struct node *node)
{
	struct datapath_kernel kernel;
	struct datapath_report report = { .text = "" };
	int err;

	if (geteuid() != 0)
		return fail(node, -EPERM, "needs root (CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW): start it with sudo");
	err = open_netlinks(node);
	if (err)
		return err;
	err = xfrm_probe(node->xfrm, node->error, sizeof(node->error));
	if (err)
		return err;
	err = link_probe_tunnel(node->route, node->error, sizeof(node->error));
	if (err)
		return err;
	err = datapath_probe_kernel(&kernel, &report);
	return err ? fail(node, err, "%s", report.text) : 0;
}

static int read_interface(struct node *node, const char *name, struct node_interface *ret)
{
	struct link_info info;
	struct hf_addr v4;
	int err = link_by_name(node->route, name, &info);

	if (err)
		return fail(node, err, "no interface %s on this machine (the policy names it in [INTERFACE])", name);
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
		return fail(node, -EINVAL, "the policy names no gateway, so it must say [INTERFACE] Underlay = NAME");
	err = link_path(node->route, &policy->clusters[0].gateways[0], &path);
	if (!err)
		err = link_by_index(node->route, path.index, &info);
	if (err)
		return fail(node, err, "no route to gateway %s: say [INTERFACE] Underlay = NAME, or set a route",
			    addr_text(&policy->clusters[0].gateways[0]).s);
	node->n_underlay = 1;
	err = read_interface(node, info.name, &node->underlay[0]);
	node->underlay[0].address = path.source;
	return err;
}

/*
 * What this machine's own traffic bears inside: the first host of Address; where there are networks only, what it has in
 * one of them.
 */
static struct hf_addr own_address(const struct node *node, const struct policy_interface *names)
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

static int find_interfaces(struct node *node, const struct policy *policy)
{
	const struct policy_interface *names = &policy->interface;
	int err = 0;

	if (names->n_underlay > NODE_INTERFACES_MAX || names->n_protected > NODE_INTERFACES_MAX)
		return fail(node, -E2BIG, "more than %d interfaces in one statement", NODE_INTERFACES_MAX);
	node->n_underlay = node->n_protected = 0;
	for (size_t i = 0; i < names->n_underlay && !err; i++)
		err = read_interface(node, names->underlay[i], &node->underlay[node->n_underlay++]);
	for (size_t i = 0; i < names->n_protected && !err; i++)
		err = read_interface(node, names->protected[i], &node->protected[node->n_protected++]);
	if (!err && !node->n_underlay)
		err = find_underlay(node, policy);
	if (err && !names->n_underlay && auto_wanted(policy)) { /* the link to the server will be one */
		node->n_underlay = 0;
		err = 0;
	}
	if (err)
		return err;
	if (!node->n_underlay)
		memset(&node->underlay[0].address, 0, sizeof(node->underlay[0].address));
	node->source = own_address(node, names);
	if (node->n_underlay && addr_is_zero(&node->source))
		return fail(node, -EADDRNOTAVAIL, "underlay interface %s has no IPv4 address", node->underlay[0].name);
	return 0;
}

static bool leads_to(const struct node_config *config, size_t entry, enum policy_target target)
{
	return config->policy->tunnels[config->table->entries[entry].tunnel].target == target;
}

struct prefixes {
	struct hf_prefix *prefix; /* those to clusters first, then those to AUTO */
	size_t n_clusters;
	size_t n;
};

static int tunnelled(const struct node_config *config, struct prefixes *ret)
{
	static const enum policy_target order[] = { POLICY_TARGET_CLUSTER, POLICY_TARGET_AUTO };
	struct prefixes prefixes = { .prefix = calloc(config->table->n_entries + 1, sizeof(*prefixes.prefix)) };

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

static bool tunnels_v6(const struct policy_table *table)
{
	for (size_t i = 0; i < table->n_entries; i++)
		if (!addr_is_v4(&table->entries[i].prefix.addr))
			return true;
	return false;
}

/* From here on nothing of the tunnelled ranges leaves in clear. */
static int close_way(struct node *node, const struct node_config *config, const struct prefixes *prefixes,
		     bool *ret_before)
{
	int err = route_add_unreachable(node->route, prefixes->prefix, prefixes->n);

	if (err)
		return fail(node, err, "routes: %s", why(node->route, err));
	node->closed = true;
	err = route_rule_add(node->route, AF_INET, ret_before);
	/* IPv6 is not carried yet: what the policy tunnels of it ends on hf0, as a counted drop. */
	if (!err && tunnels_v6(config->table))
		err = route_rule_add(node->route, AF_INET6, NULL);
	return err ? fail(node, err, "routing rule: %s", why(node->route, err)) : 0;
}

/* What fits through every underlay, and through the link to the server of AUTO. */
static __u32 tunnel_mtu(struct node *node)
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
static int find_tunnel(struct node *node, int *ret_index)
{
	struct link_info info;

	*ret_index = 0;
	if (link_by_name(node->route, LINK_TUNNEL, &info))
		return 0;
	if (strcmp(info.kind, "xfrm") || !info.external)
		return fail(node, -EEXIST, "an interface named %s exists and is not Holdfast's: rename it", LINK_TUNNEL);
	*ret_index = info.index;
	return 0;
}

static int make_tunnel(struct node *node)
{
	int err;

	/* Left by a run that was killed: its states are gone with the flush, so a new one takes its place. */
	link_delete(node->route, LINK_TUNNEL);
	err = link_tunnel_create(node->route, LINK_TUNNEL, tunnel_mtu(node), &node->tunnel);
	if (err == -EEXIST)
		return fail(node, err, "this network namespace has another xfrm interface in external mode already: "
				       "the kernel allows one (remove it, or use a namespace for Holdfast)");
	return err ? fail(node, err, "tunnel interface: %s", why(node->route, err)) : 0;
}

static int set_tunnel(struct node *node, const struct policy *policy)
{
	int err = link_set_mtu(node->route, node->tunnel, tunnel_mtu(node));

	if (err)
		return fail(node, err, "MTU of %s: %s", LINK_TUNNEL, why(node->route, err));
	for (size_t i = 0; i < policy->interface.n_address && !err; i++)
		if (!policy_address_is_network(&policy->interface.address[i]))
			err = link_addr_add(node->route, node->tunnel, &policy->interface.address[i]);
	return err ? fail(node, err, "address of %s: %s", LINK_TUNNEL, why(node->route, err)) : 0;
}

static int set_sysctls(struct node *node, bool v6)
{
	const struct node_interface tunnel = { .name = LINK_TUNNEL };
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
	int err = 0;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		for (size_t k = 0; k < wanted[i].n && !err; k++)
			err = sysctl_set_if(node->sysctls, wanted[i].key, wanted[i].at[k].name, wanted[i].value);
	return err ? fail(node, err, "cannot set network sysctls: %s", strerror(-err)) : 0;
}

/* The tunnels to clusters have theirs; those to AUTO have auto_slot. */
static int fill_tunnels(struct node *node, const struct node_config *config, enum policy_target target,
			__u32 auto_slot)
{
	struct datapath_tunnel *tunnels = calloc(config->table->n_entries + 1, sizeof(*tunnels));
	size_t n = 0;
	int err;

	if (!tunnels)
		return fail(node, -ENOMEM, "out of memory");
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
	return err ? fail(node, err, "filling the map of tunnels: %s", strerror(-err)) : 0;
}

static int fill_protected(struct node *node)
{
	unsigned int indexes[NODE_INTERFACES_MAX];
	int err;

	for (size_t i = 0; i < node->n_protected; i++)
		indexes[i] = (unsigned int)node->protected[i].index;
	err = datapath_set_protected(node->dp, indexes, node->n_protected);
	return err ? fail(node, err, "filling the map of protected interfaces: %s", strerror(-err)) : 0;
}

static int attach_underlay(struct node *node, const struct node_interface *interface)
{
	struct datapath_report report = { .text = "" };
	struct datapath_attached attached = { 0 };
	int err = datapath_attach_underlay(node->dp, (unsigned int)interface->index, &report, &attached);

	if (err) {
		log_debug("%s", report.detail);
		return fail(node, err, "%s", report.text);
	}
	if (attached.mode == DATAPATH_XDP_NONE) {
		log_info("%s has no Ethernet: TC in the place of XDP", interface->name);
		return 0;
	}
	log_info("XDP on %s: %s mode%s%s%s", interface->name,
		 attached.mode == DATAPATH_XDP_NATIVE ? "native" : "generic",
		 attached.dispatcher ? ", beside other programs" : "", *attached.note ? ": " : "", attached.note);
	return 0;
}

static int attach(struct node *node)
{
	struct datapath_report report = { .text = "" };
	int err = datapath_attach_tunnel(node->dp, (unsigned int)node->tunnel, &report);

	if (err) {
		log_debug("%s", report.detail);
		return fail(node, err, "%s", report.text);
	}
	for (size_t i = 0; i < node->n_underlay && !err; i++)
		err = attach_underlay(node, &node->underlay[i]);
	return err;
}

/*
 * Adopts what is pinned, where its interface stands too; else makes it anew, and
 * tells in node->replaced why.
 */
static int open_datapath(struct node *node, const struct node_config *config, int tunnel)
{
	struct datapath_config dp = { .instance = config->instance,
				      .key_service_port = config->policy->interface.key_service_port };
	struct datapath_report report = { .text = "" };
	int err = datapath_open(&dp, &report, &node->dp);

	if (!err && datapath_is_adopted(node->dp) && tunnel) {
		node->adopted = true;
		node->tunnel = tunnel;
		return 0;
	}
	if (!err && !datapath_is_adopted(node->dp)) {
		if (tunnel)
			snprintf(node->replaced, sizeof(node->replaced), "its maps are not pinned any more");
		return 0;
	}
	/* Another layout, half a set, an interface that is gone: begun anew, under other pins. */
	snprintf(node->replaced, sizeof(node->replaced), "%s", err ? report.text : LINK_TUNNEL " is gone");
	datapath_free(node->dp);
	node->dp = NULL;
	datapath_unpin(NULL, config->instance);
	err = datapath_open(&dp, &report, &node->dp);
	if (!err)
		return 0;
	node->replaced[0] = '\0'; /* it is not for what was found: this kernel takes none */
	log_debug("%s", report.detail);
	return fail(node, err, "%s", report.text);
}

/* Goes on with what a run before has left, or clears it away; the routes have closed the way before. */
static int take_over(struct node *node, const struct node_config *config)
{
	int tunnel, err = find_tunnel(node, &tunnel);

	if (!err)
		err = open_datapath(node, config, tunnel);
	if (err)
		return err;
	if (!node->adopted) {
		xfrm_flush(node->xfrm, NULL, NULL);
		claim_flush(node->route, NULL);
		err = make_tunnel(node);
	}
	if (!err)
		err = set_tunnel(node, config->policy);
	if (err)
		return err;
	free(node->slots);
	node->slots = NULL;
	err = slots_assign(node->dp, config->policy, &node->slots);
	return err ? fail(node, err, "filling the map of slots: %s", strerror(-err)) : 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_sockets(struct node *node)
{
	int err = inner_open(LINK_TUNNEL, &node->inner);

	node->beat_fd = beat_open();
	if (!err && node->beat_fd < 0)
		err = node->beat_fd;
	return err ? fail(node, err, "raw sockets: %s", strerror(-err)) : 0;
}

static const struct hf_addr *source_or_none(const struct hf_addr *source)
{
	return addr_is_zero(source) ? NULL : source;
}

/* What leads to AUTO stays unreachable. */
static int open_traffic(struct node *node, const struct prefixes *prefixes)
{
	int err = link_set_up(node->route, node->tunnel, true);

	if (!err && prefixes->n_clusters)
		err = route_add(node->route, node->tunnel, prefixes->prefix, prefixes->n_clusters,
				source_or_none(&node->source));
	if (!err && node->dialled.index && prefixes->n > prefixes->n_clusters)
		err = route_add(node->route, node->tunnel, prefixes->prefix + prefixes->n_clusters,
				prefixes->n - prefixes->n_clusters, source_or_none(&node->dialled_source));
	return err ? fail(node, err, "routes over %s: %s", LINK_TUNNEL, why(node->route, err)) : 0;
}

int node_up(struct node *node, const struct node_config *config)
{
	struct prefixes prefixes = { .prefix = NULL };
	char journal[256];
	int err;

	node->beat_fd = node->inner.control = node->inner.held = -1;
	node->grants = session_record_grants(config->policy);
	err = tunnelled(config, &prefixes) ? fail(node, -ENOMEM, "out of memory") : open_netlinks(node);
	if (err)
		goto out;
	err = find_interfaces(node, config->policy);
	if (err)
		goto out;
	snprintf(journal, sizeof(journal), "%s/sysctls", config->run_dir);
	snprintf(node->keeper_path, sizeof(node->keeper_path), "%s/keeper.sock", config->run_dir);
	err = sysctl_open(journal, &node->sysctls);
	if (err) {
		fail(node, err, "%s: %s", journal, strerror(-err));
		goto out;
	}
	err = close_way(node, config, &prefixes, &node->closed_before);
	if (err)
		goto out;
	err = take_over(node, config);
	if (!err)
		err = fill_tunnels(node, config, POLICY_TARGET_CLUSTER, 0);
	/* Adopted ones lead where AUTO led, which it may still do: node_dial() or node_hang_up() will tell. */
	if (!err && !node->adopted)
		err = fill_tunnels(node, config, POLICY_TARGET_AUTO, node->slots[config->policy->n_clusters]);
	if (!err)
		err = fill_protected(node);
	if (!err)
		err = attach(node);
	/* Nothing is forwarded before the underlay is guarded. */
	if (!err)
		err = set_sysctls(node, tunnels_v6(config->table));
	if (!err)
		err = open_sockets(node);
	if (!err)
		err = open_traffic(node, &prefixes);
out:
	free(prefixes.prefix);
	if (err) {
		node->leave = node->adopted;
		node_down(node, config);
	}
	return err;
}

/* hf0 is made anew where it is gone; up, with its addresses, in either case. *ret_new: it is another one. */
static int restore_tunnel(struct node *node, const struct node_config *config, bool *ret_new)
{
	int found, err = find_tunnel(node, &found);

	*ret_new = !err && found != node->tunnel;
	if (*ret_new) {
		datapath_detach_tunnel(node->dp, (unsigned int)node->tunnel);
		err = make_tunnel(node);
	}
	if (!err)
		err = set_tunnel(node, config->policy);
	if (!err && *ret_new)
		err = set_sysctls(node, tunnels_v6(config->table));
	if (!err && *ret_new) {
		close_fd(&node->beat_fd);
		inner_close(&node->inner);
		err = open_sockets(node);
	}
	return err;
}

/*
 * An underlay interface that came back is another one to the kernel. One that is
 * away is waited for. An address that stands stays.
 */
static void follow_underlay(struct node *node)
{
	struct node_interface now;
	struct link_path path;

	for (size_t i = 0; i < node->n_underlay; i++) {
		struct node_interface *known = &node->underlay[i];

		memset(&now, 0, sizeof(now));
		if (read_interface(node, known->name, &now))
			continue;
		if (now.index != known->index)
			datapath_detach_underlay(node->dp, (unsigned int)known->index);
		if (!addr_is_zero(&known->address) && !link_path(node->route, &known->address, &path) && path.local)
			now.address = known->address;
		*known = now;
	}
}

static bool is_there(struct node *node, int index)
{
	struct link_info info;

	return !link_by_index(node->route, index, &info);
}

static int restore_programs(struct node *node, const struct node_config *config)
{
	struct datapath_attached attached = { 0 };
	struct datapath_report report = { .text = "" };
	int err = datapath_attach_tunnel(node->dp, (unsigned int)node->tunnel, &report);

	if (err)
		return fail(node, err, "%s", report.text);
	for (size_t i = 0; i < node->n_underlay && !err; i++)
		if (is_there(node, node->underlay[i].index))
			err = datapath_restore_underlay(node->dp, (unsigned int)node->underlay[i].index, &report, &attached);
	if (!err && node->dialled.index && !node_is_underlay(node, node->dialled.index) && is_there(node, node->dialled.index))
		err = datapath_restore_underlay(node->dp, (unsigned int)node->dialled.index, &report, &attached);
	if (err)
		return fail(node, err, "%s", report.text);
	return set_sysctls(node, tunnels_v6(config->table));
}

int node_restore(struct node *node, const struct node_config *config, unsigned int parts, unsigned int *ret_done)
{
	struct prefixes prefixes = { .prefix = NULL };
	struct hf_addr source = node->source;
	bool new_tunnel = false, existed = true;
	int err = tunnelled(config, &prefixes) ? fail(node, -ENOMEM, "out of memory") : 0;

	*ret_done = 0;
	if (!err && parts & (NODE_RULES | NODE_ROUTES))
		err = close_way(node, config, &prefixes, &existed);
	if (!existed)
		*ret_done |= NODE_RULES;
	if (!err && parts & (NODE_PROGRAMS | NODE_ADDRESSES)) {
		follow_underlay(node);
		source = own_address(node, &config->policy->interface);
	}
	if (!err && parts & NODE_TUNNEL)
		err = restore_tunnel(node, config, &new_tunnel);
	if (new_tunnel)
		*ret_done |= NODE_TUNNEL;
	if (!err && (parts & NODE_PROGRAMS || new_tunnel))
		err = restore_programs(node, config);
	if (!err && parts & NODE_PROGRAMS)
		*ret_done |= NODE_PROGRAMS;
	if (!addr_equal(&source, &node->source) && !addr_is_zero(&source)) {
		node->source = source;
		*ret_done |= NODE_ADDRESSES;
	}
	if (parts & (NODE_ROUTES | NODE_TUNNEL) || *ret_done & NODE_ADDRESSES)
		*ret_done |= NODE_ROUTES;
	if (!err && *ret_done & NODE_ROUTES)
		err = open_traffic(node, &prefixes);
	free(prefixes.prefix);
	return err;
}

bool node_is_underlay(const struct node *node, int index)
{
	for (size_t i = 0; i < node->n_underlay; i++)
		if (node->underlay[i].index == index)
			return true;
	return false;
}

/* The link as an underlay: guarded, marked, and no larger packets than it takes. */
static int take_link(struct node *node, int index)
{
	struct link_info info;
	int err = link_by_index(node->route, index, &info);

	if (err)
		return fail(node, err, "the link is gone");
	node->dialled = (struct node_interface){ .index = index, .running = info.running };
	memcpy(node->dialled.name, info.name, sizeof(node->dialled.name));
	if (!node_is_underlay(node, index))
		err = attach_underlay(node, &node->dialled);
	if (err)
		return err;
	err = sysctl_set_if(node->sysctls, "net/ipv4/conf/%s/src_valid_mark", info.name, "1");
	if (err)
		return fail(node, err, "cannot set network sysctls of %s: %s", info.name, strerror(-err));
	err = link_set_mtu(node->route, node->tunnel, tunnel_mtu(node));
	return err ? fail(node, err, "MTU of %s: %s", LINK_TUNNEL, why(node->route, err)) : 0;
}

int node_dial(struct node *node, const struct node_config *config, int index, __u32 slot,
	      const struct hf_addr *source)
{
	const struct hf_addr *inner = config->policy->interface.n_address ? &node->source : source;
	char error[NODE_ERROR_MAX];
	struct prefixes prefixes;
	int err = take_link(node, index);

	if (!err)
		err = fill_tunnels(node, config, POLICY_TARGET_AUTO, slot);
	node->dialled_source = *inner;
	if (!err && tunnelled(config, &prefixes))
		err = fail(node, -ENOMEM, "out of memory");
	if (!err) {
		err = route_add(node->route, node->tunnel, prefixes.prefix + prefixes.n_clusters,
				prefixes.n - prefixes.n_clusters, source_or_none(inner));
		if (err)
			fail(node, err, "routes over %s: %s", LINK_TUNNEL, why(node->route, err));
		free(prefixes.prefix);
	}
	if (err) {
		memcpy(error, node->error, sizeof(error));
		node_hang_up(node, config);
		memcpy(node->error, error, sizeof(error));
	}
	return err;
}

int node_hang_up(struct node *node, const struct node_config *config)
{
	struct prefixes prefixes;
	int err = fill_tunnels(node, config, POLICY_TARGET_AUTO, node->slots[config->policy->n_clusters]);

	if (!tunnelled(config, &prefixes)) {
		route_close(node->route, prefixes.prefix + prefixes.n_clusters, prefixes.n - prefixes.n_clusters);
		free(prefixes.prefix);
	}
	if (node->dialled.index && !node_is_underlay(node, node->dialled.index))
		datapath_detach_underlay(node->dp, (unsigned int)node->dialled.index);
	memset(&node->dialled, 0, sizeof(node->dialled));
	link_set_mtu(node->route, node->tunnel, tunnel_mtu(node));
	return err;
}

/*
 * The one place that lets tunnelled destinations be reached in clear again. A
 * start that failed where a killed run had left the way closed leaves it closed.
 */
static void open_the_way(struct node *node)
{
	claim_flush(node->route, NULL);
	if (!node->closed_before || node->started) {
		route_flush(node->route);
		route_rule_delete(node->route, AF_INET);
		route_rule_delete(node->route, AF_INET6);
	}
	node->closed = false;
}

static void take_down(struct node *node)
{
	/* The reverse order; what tunnels was unreachable from the first step to the last one. */
	if (node->xfrm)
		xfrm_flush(node->xfrm, NULL, NULL);
	if (node->sysctls)
		sysctl_restore(node->sysctls);
	if (node->dp)
		datapath_remove(node->dp);
}

void node_down(struct node *node, const struct node_config *config)
{
	if (!node->leave)
		take_down(node);
	sysctl_close(node->sysctls);
	datapath_free(node->dp);
	node->sysctls = NULL;
	node->dp = NULL;
	free(node->slots);
	node->slots = NULL;
	close_fd(&node->beat_fd);
	inner_close(&node->inner);
	if (node->tunnel && !node->leave)
		link_delete(node->route, LINK_TUNNEL);
	node->tunnel = 0;
	if (node->closed && !node->leave)
		open_the_way(node);
	netlink_close(node->route);
	netlink_close(node->xfrm);
	node->route = node->xfrm = NULL;
}
