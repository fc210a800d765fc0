/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "loader/claim.h"
#include "loader/keeper.h"
#include "loader/link.h"
#include "loader/node_internal.h"
#include "loader/route.h"
#include "loader/slots.h"
#include "loader/session_record.h"
#include "loader/xfrm.h"

static int open_netlinks(struct node *node)
{
	int err;

	err = node->route ? 0 : netlink_open(NETLINK_ROUTE, &node->route);
	if (!err)
		err = node->xfrm ? 0 : netlink_open(NETLINK_XFRM, &node->xfrm);
	if (err == -EPROTONOSUPPORT)
		return node_fail(node, err, "this kernel has no XFRM (IPsec) at all: use one with CONFIG_XFRM_USER");
	return err ? node_fail(node, err, "netlink: %s", strerror(-err)) : 0;
}

int node_preflight(struct node *node)
{
	struct datapath_kernel kernel;
	struct datapath_report report = { .text = "" };
	int err;

	if (geteuid() != 0)
		return node_fail(node, -EPERM, "needs root (CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW): start it with sudo");
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
	return err ? node_fail(node, err, "%s", report.text) : 0;
}

/*
 * Whether what is pinned cannot go on under this build, though nothing is short: another contract, or maps of another
 * shape (EINVAL: libbpf's, which has the same for programs that the kernel does not take). Then a set of its own loads.
 */
static bool is_other_layout(const struct datapath_config *config, int err)
{
	struct datapath_config unpinned = *config;
	struct datapath_report report;
	struct datapath *trial;

	if (err != -EPROTO && err != -EINVAL)
		return false;
	unpinned.instance = NULL;
	if (datapath_open(&unpinned, &report, &trial))
		return false;
	datapath_free(trial);
	return true;
}

/*
 * Adopts what is pinned, where its interface stands too; else makes it anew, and
 * tells in node->replaced why. What was there is given up only for one of these reasons.
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
	if (err && !is_other_layout(&dp, err)) {
		log_debug("%s", report.detail);
		return node_fail(node, err, "%s", report.text);
	}
	/* Begun anew, under other pins. */
	snprintf(node->replaced, sizeof(node->replaced), "%s", err ? report.text : LINK_TUNNEL " is gone");
	node->touched = true;
	datapath_free(node->dp);
	node->dp = NULL;
	datapath_unpin(NULL, config->instance);
	err = datapath_open(&dp, &report, &node->dp);
	if (!err)
		return 0;
	log_debug("%s", report.detail);
	return node_fail(node, err, "%s", report.text);
}

/* Goes on with what a run before has left, or clears it away; the routes have closed the way before. */
static int take_over(struct node *node, const struct node_config *config)
{
	int tunnel, err = node_find_tunnel(node, &tunnel);

	if (!err)
		err = open_datapath(node, config, tunnel);
	if (err)
		return err;
	node->touched = true;
	if (!node->adopted) {
		xfrm_flush(node->xfrm, NULL, NULL);
		claim_flush(node->route, NULL);
		err = node_make_tunnel(node);
	}
	if (!err)
		err = node_set_tunnel(node, config->policy);
	if (err)
		return err;
	free(node->slots);
	node->slots = NULL;
	err = slots_assign(node->dp, config->policy, &node->slots);
	return err ? node_fail(node, err, "filling the map of slots: %s", strerror(-err)) : 0;
}

/*
 * The interfaces, and the way closed in any case: a start that fails for want of them may be one that is tried again
 * (config->keep_closed). But hf0 of a run before still carries what is in its maps. A start that goes on may have a policy that
 * cuts a wider prefix into others, which would be hidden until its end if they were unreachable alone: so they are opened. One
 * that does not leaves all as it is.
 */
static int close_first(struct node *node, const struct node_config *config, const struct node_prefixes *prefixes)
{
	int err, found = node_find_interfaces(node, config->policy);
	struct node_rules before = { 0 };
	struct link_info tunnel;
	bool carries = !link_by_name(node->route, LINK_TUNNEL, &tunnel) && tunnel.external;

	if (found && carries)
		return found;
	if (carries && prefixes->n_clusters)
		route_add(node->route, tunnel.index, prefixes->prefix, prefixes->n_clusters, node_source_or_none(&node->source));
	err = node_close_way(node, config, prefixes, &before);
	node->closed_before = before.v4;
	return found ? found : err;
}

static int open_journal(struct node *node, const struct node_config *config)
{
	char journal[256];
	int err;

	snprintf(journal, sizeof(journal), "%s/sysctls", config->run_dir);
	err = sysctl_open(journal, &node->sysctls);
	return err ? node_fail(node, err, "%s: %s", journal, strerror(-err)) : 0;
}

int node_up(struct node *node, const struct node_config *config)
{
	struct node_prefixes prefixes = { .prefix = NULL };
	int err;

	node->beat_fd = node->inner.control = node->inner.held = -1;
	node->grants = session_record_grants(config->policy);
	err = node_tunnelled(config, &prefixes) ? node_fail(node, -ENOMEM, "out of memory") : open_netlinks(node);
	if (err)
		goto out;
	err = close_first(node, config, &prefixes);
	if (err)
		goto out;
	snprintf(node->keeper_path, sizeof(node->keeper_path), "%s/keeper.sock", config->run_dir);
	err = open_journal(node, config);
	if (err)
		goto out;
	err = take_over(node, config);
	if (!err)
		err = node_fill_tunnels(node, config, POLICY_TARGET_CLUSTER, 0);
	/* Adopted ones lead where AUTO led, which it may still do: node_dial() or node_hang_up() will tell. */
	if (!err && !node->adopted)
		err = node_fill_tunnels(node, config, POLICY_TARGET_AUTO, node->slots[config->policy->n_clusters]);
	if (!err)
		err = node_fill_protected(node);
	if (!err)
		err = node_attach(node);
	if (!err)
		node_guard_others(node, config->table, true);
	/* Nothing is forwarded before the underlay is guarded. */
	if (!err)
		err = node_set_sysctls(node, node_tunnels_v6(config->table), NULL);
	if (!err)
		err = node_open_sockets(node);
	if (!err)
		err = node_open_traffic(node, &prefixes);
out:
	free(prefixes.prefix);
	if (err) {
		node->leave = node->adopted;
		node_down(node, config);
	}
	return err;
}

/* It has another name, and there can be only one such interface. */
static int take_name_back(struct node *node)
{
	struct link_info info;
	int err;

	if (link_by_index(node->route, node->tunnel, &info) || strcmp(info.kind, "xfrm") || !info.external ||
	    !strcmp(info.name, LINK_TUNNEL))
		return 0;
	/* Down: what is up cannot be renamed before Linux 6.2, and is to be set up in any case. */
	err = link_set_up(node->route, node->tunnel, false);
	if (!err)
		err = link_rename(node->route, node->tunnel, LINK_TUNNEL);
	return err ? node_fail(node, err, "%s was renamed to %s: %s", LINK_TUNNEL, info.name, node_why(node->route, err)) : 0;
}

/*
 * hf0 is made anew where it is gone; up, with its addresses, in either case. *ret_new: it is another one, from this time or
 * from one before that failed midway.
 */
static int restore_tunnel(struct node *node, const struct node_config *config, bool *ret_new)
{
	int found, err = take_name_back(node);

	if (!err)
		err = node_find_tunnel(node, &found);
	if (!err && found != node->tunnel) {
		node->tunnel_unfinished = true;
		datapath_detach_tunnel(node->dp, (unsigned int)node->tunnel);
		err = node_make_tunnel(node);
	}
	*ret_new = node->tunnel_unfinished;
	if (!err)
		err = node_set_tunnel(node, config->policy);
	if (!err && *ret_new)
		err = node_fill_protected(node);
	if (!err && *ret_new)
		err = node_set_sysctls(node, node_tunnels_v6(config->table), NULL);
	if (!err && *ret_new) {
		node_close_fd(&node->beat_fd);
		inner_close(&node->inner);
		err = node_open_sockets(node);
	}
	return err;
}

static int restore_underlay(struct node *node, struct node_interface *underlay, bool *missed)
{
	struct datapath_attached attached = { 0 };
	struct datapath_report report = { .text = "" };
	int err;

	if (!node_is_there(node, underlay->index))
		return 0;
	err = datapath_restore_underlay(node->dp, (unsigned int)underlay->index, &report, &attached);
	underlay->xdp_id = attached.xdp_id;
	*missed |= attached.missed;
	return err ? node_fail(node, err, "%s", report.text) : 0;
}

/* *ret_missed: one was not there. -EBUSY: all are there but XDP programs whose place somebody else has taken. */
static int restore_programs(struct node *node, const struct node_config *config, bool *ret_missed)
{
	struct datapath_attached attached = { 0 };
	struct datapath_report report = { .text = "" };
	int err = datapath_restore_tunnel(node->dp, (unsigned int)node->tunnel, &report, &attached), busy = 0, result;

	*ret_missed = attached.missed;
	if (err)
		return node_fail(node, err, "%s", report.text);
	for (size_t i = 0; i <= node->n_underlay && !err; i++) {
		if (i == node->n_underlay && (!node->dialled.index || node_is_underlay(node, node->dialled.index)))
			continue;
		err = restore_underlay(node, i < node->n_underlay ? &node->underlay[i] : &node->dialled, ret_missed);
		if (err == -EBUSY) {
			busy = err;
			err = 0;
		}
	}
	if (err)
		return err;
	result = node_set_sysctls(node, node_tunnels_v6(config->table), NULL);
	return result ? result : busy;
}

int node_restore(struct node *node, const struct node_config *config, unsigned int parts, unsigned int *ret_done)
{
	struct node_prefixes prefixes = { .prefix = NULL };
	struct hf_addr source = node->source;
	struct node_rules rules = { true, true };
	int busy = 0;
	bool missed = false, new_tunnel = false, changed = false, other_way = false, other_protected = false;
	int err = node_tunnelled(config, &prefixes) ? node_fail(node, -ENOMEM, "out of memory") : 0;

	*ret_done = 0;
	if (!err && parts & (NODE_RULES | NODE_ROUTES))
		err = node_close_way(node, config, &prefixes, &rules);
	if (!rules.v4 || !rules.v6)
		*ret_done |= NODE_RULES;
	/* The address of one of them may be this machine's own, in a network of Address. */
	if (parts & (NODE_PROTECTED | NODE_ADDRESSES)) {
		other_protected = node_follow_protected(node);
		err = err ? err : node_fill_protected(node);
	}
	if (other_protected)
		*ret_done |= NODE_PROTECTED;
	if (!err && parts & (NODE_PROGRAMS | NODE_ADDRESSES)) {
		err = node_follow_underlay(node, config->policy, &other_way);
		source = node_own_address(node, &config->policy->interface);
	}
	if (!err && other_way) {
		*ret_done |= NODE_ADDRESSES;
		err = node_set_tunnel(node, config->policy);
	}
	if (!err && parts & NODE_TUNNEL)
		err = restore_tunnel(node, config, &new_tunnel);
	if (new_tunnel)
		*ret_done |= NODE_TUNNEL;
	if (!err && parts & (NODE_OTHERS | NODE_PROGRAMS))
		node_guard_others(node, config->table, false);
	if (!err && (parts & NODE_PROGRAMS || new_tunnel))
		err = restore_programs(node, config, &missed);
	if (err == -EBUSY) { /* that is no reason to leave the rest undone */
		busy = err;
		err = 0;
	}
	if (!err && new_tunnel)
		node->tunnel_unfinished = false;
	if (missed && !new_tunnel)
		*ret_done |= NODE_PROGRAMS;
	if (!err && (parts & (NODE_PROTECTED | NODE_SYSCTLS) || other_protected || other_way))
		err = node_set_sysctls(node, node_tunnels_v6(config->table), &changed);
	if (changed)
		*ret_done |= NODE_SYSCTLS;
	if (!addr_equal(&source, &node->source) && !addr_is_zero(&source)) {
		node->source = source;
		*ret_done |= NODE_ADDRESSES;
	}
	if (parts & (NODE_ROUTES | NODE_TUNNEL) || *ret_done & NODE_ADDRESSES)
		*ret_done |= NODE_ROUTES;
	if (!err && *ret_done & NODE_ROUTES)
		err = node_open_traffic(node, &prefixes);
	free(prefixes.prefix);
	return err ? err : busy;
}

/* The link as an underlay: guarded, marked, and no larger packets than it takes. */
static int take_link(struct node *node, int index)
{
	struct link_info info;
	int err = link_by_index(node->route, index, &info);

	if (err)
		return node_fail(node, err, "the link is gone");
	node->dialled = (struct node_interface){ .index = index, .running = info.running };
	memcpy(node->dialled.name, info.name, sizeof(node->dialled.name));
	if (!node_is_underlay(node, index))
		err = node_attach_underlay(node, &node->dialled);
	if (err)
		return err;
	err = sysctl_set_if(node->sysctls, "net/ipv4/conf/%s/src_valid_mark", info.name, "1");
	if (err < 0)
		return node_fail(node, err, "cannot set network sysctls of %s: %s", info.name, strerror(-err));
	err = link_set_mtu(node->route, node->tunnel, node_tunnel_mtu(node));
	return err ? node_fail(node, err, "MTU of %s: %s", LINK_TUNNEL, node_why(node->route, err)) : 0;
}

int node_dial(struct node *node, const struct node_config *config, int index, __u32 slot,
	      const struct hf_addr *source)
{
	const struct hf_addr *inner = config->policy->interface.n_address ? &node->source : source;
	char error[NODE_ERROR_MAX];
	struct node_prefixes prefixes;
	int err = take_link(node, index);

	if (!err)
		err = node_fill_tunnels(node, config, POLICY_TARGET_AUTO, slot);
	node->dialled_source = *inner;
	if (!err && node_tunnelled(config, &prefixes))
		err = node_fail(node, -ENOMEM, "out of memory");
	if (!err) {
		err = route_add(node->route, node->tunnel, prefixes.prefix + prefixes.n_clusters,
				prefixes.n - prefixes.n_clusters, node_source_or_none(inner));
		if (err)
			node_fail(node, err, "routes over %s: %s", LINK_TUNNEL, node_why(node->route, err));
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
	struct node_prefixes prefixes;
	int err = node_fill_tunnels(node, config, POLICY_TARGET_AUTO, node->slots[config->policy->n_clusters]);

	if (!node_tunnelled(config, &prefixes)) {
		route_close(node->route, prefixes.prefix + prefixes.n_clusters, prefixes.n - prefixes.n_clusters);
		free(prefixes.prefix);
	}
	if (node->dialled.index && !node_is_underlay(node, node->dialled.index))
		datapath_detach_underlay(node->dp, (unsigned int)node->dialled.index);
	memset(&node->dialled, 0, sizeof(node->dialled));
	link_set_mtu(node->route, node->tunnel, node_tunnel_mtu(node));
	return err;
}

/*
 * The one place that lets tunnelled destinations be reached in clear again. A
 * start that failed where a killed run had left the way closed leaves it closed; so
 * does any that is to be tried again.
 */
static void open_the_way(struct node *node, const struct node_config *config)
{
	if (node->started || !(node->closed_before || config->keep_closed)) {
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
	if (node->route)
		claim_flush(node->route, NULL);
	if (node->sysctls)
		sysctl_restore(node->sysctls);
	if (node->dp && node->route)
		node_unguard_others(node);
	if (node->dp)
		datapath_remove(node->dp);
}

void node_down(struct node *node, const struct node_config *config)
{
	bool ours = node->touched && !node->leave;

	if (ours)
		take_down(node);
	sysctl_close(node->sysctls);
	datapath_free(node->dp);
	node->sysctls = NULL;
	node->dp = NULL;
	free(node->slots);
	node->slots = NULL;
	node_close_fd(&node->beat_fd);
	inner_close(&node->inner);
	if (node->tunnel && ours)
		link_delete(node->route, LINK_TUNNEL);
	node->tunnel = 0;
	if (node->closed && !node->leave)
		open_the_way(node, config);
	netlink_close(node->route);
	netlink_close(node->xfrm);
	node->route = node->xfrm = NULL;
}

static void end_keeper(const char *run_dir)
{
	struct keeper_socket sockets[KEEPER_SOCKETS_MAX];
	struct keeper *keeper;
	char path[128];
	size_t n;

	snprintf(path, sizeof(path), "%s/keeper.sock", run_dir);
	if (keeper_open(path, false, &keeper, sockets, &n))
		return;
	while (n)
		close(sockets[--n].fd);
	keeper_end(keeper);
}

int node_clear(struct node *node, const struct node_config *config)
{
	bool others, pinned = datapath_is_pinned(NULL, config->instance, &others);
	size_t n_routes = 0;
	int err = open_netlinks(node);

	node->beat_fd = node->inner.control = node->inner.held = -1;
	if (!err)
		err = route_count(node->route, &n_routes);
	if (!err && node_find_tunnel(node, &node->tunnel))
		node->tunnel = 0; /* somebody else's */
	/* With maps of another instance only, the rest is that one's. */
	if (!err && !pinned && (others || (!n_routes && !node->tunnel)))
		err = node_fail(node, -ENOENT, "instance %s does not run here, and nothing of it is left", config->instance);
	if (!err) {
		err = open_journal(node, config);
		node->touched = node->started = node->closed = true;
		end_keeper(config->run_dir);
		take_down(node);
		if (datapath_clear(NULL, config->instance) && !err)
			err = node_fail(node, -EIO, "not all programs could be detached, or maps unpinned: see bpftool net");
	}
	node_down(node, config);
	return err;
}
