/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/reconcile.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/xfrm.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/link.h"
#include "loader/route.h"
#include "loader/shortage.h"
#include "loader/xfrm.h"

/* Changes come in groups: a look is taken this long after the first one, and no more often than at this pace. */
#define AFTER_MS 50
#define PACE_MS 500
#define FAILING_PACE_MS 5000
#define RECEIVE_MAX 32768
/* A flush of ten thousand states is told one by one. */
#define RECEIVE_MEMORY (4 << 20)

struct listener {
	struct reconcile *all;
	struct mnl_socket *socket;
	unsigned int (*read)(const struct reconcile_ours *ours, const struct nlmsghdr *message);
	struct event *readable;
};

struct reconcile {
	struct reconcile_config config;
	struct listener route;
	struct listener xfrm;
	struct event *timer;
	unsigned int doubtful; /* bits of enum reconcile_part */
	__u64 looked_ns;
	__u64 due_ns; /* of the next look, while the timer runs */
	struct netlink_list before; /* struct route_rule: foreign ones that were said to be asked before ours */
	bool unfollowed; /* a protected interface is another one, and clients.c does not know yet */
	bool failing; /* the last look could not put all right: it is said once, and tried again at a slower pace */
	__u8 buffer[RECEIVE_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* Putting right. */

static const char states_gone[] = "its states were removed from the kernel";
static const char address_gone[] = "this machine has lost the address that it came from";

static bool is_local(const struct node *node, const struct hf_addr *addr)
{
	struct link_path path;
	int err = link_path(node->route, addr, &path);

	return !err && path.local;
}

/* NULL: nothing. */
static const char *what_is_wrong(const struct reconcile *all, const struct peer *peer)
{
	const struct node *node = all->config.node;

	if (!peer->up)
		return NULL;
	if (all->doubtful & RECONCILE_STATES && !peers_stand(peer))
		return states_gone;
	if (all->doubtful & RECONCILE_ADDRESSES && !is_local(node, &peer->local))
		return address_gone;
	return NULL;
}

static bool is_half_broken(const struct reconcile *all, const struct peer *peer)
{
	return all->doubtful & RECONCILE_STATES && !peers_pending_stands(peer);
}

static size_t end_one(struct reconcile *all, __u32 if_id)
{
	const struct reconcile_config *config = &all->config;
	struct peer *peer = peers_by_if_id(config->peers, if_id);
	const char *why;
	size_t n = 0;

	if (peer && is_half_broken(all, peer)) {
		config->abandon(config->context, peer);
		peer = peers_by_if_id(config->peers, if_id);
		n++;
	}
	why = peer ? what_is_wrong(all, peer) : NULL;
	if (why) {
		config->end(config->context, peer, why);
		n++;
	}
	return n;
}

/* Ending one session may change the list, so they are noted first, by their if_id: the kernel is asked once for each that stands. */
static int end_broken(struct reconcile *all, size_t *ret_n)
{
	struct netlink_list broken = { 0 };
	int err = 0;

	*ret_n = 0;
	if (!(all->doubtful & (RECONCILE_STATES | RECONCILE_ADDRESSES)))
		return 0;
	for (struct peer *peer = peers_next(all->config.peers, NULL); peer && !err; peer = peers_next(all->config.peers, peer))
		if (is_half_broken(all, peer) || what_is_wrong(all, peer))
			err = netlink_list_add(&broken, &peer->if_id, sizeof(peer->if_id));
	for (size_t i = 0; i < broken.n; i++)
		*ret_n += end_one(all, ((const __u32 *)broken.items)[i]);
	netlink_list_clear(&broken);
	return err;
}

static const struct {
	enum reconcile_part part;
	const char *name;
} part_names[] = {
	{ RECONCILE_STATES, "states" },	      { RECONCILE_POLICIES, "policies" }, { RECONCILE_RULES, "rules" },
	{ RECONCILE_ROUTES, "routes" },	      { RECONCILE_TUNNEL, "tunnel" },	  { RECONCILE_PROGRAMS, "programs" },
	{ RECONCILE_ADDRESSES, "addresses" }, { RECONCILE_PROTECTED, "protected" }, { RECONCILE_SYSCTLS, "sysctls" },
};

static void say(struct reconcile *all, unsigned int parts, size_t ended, int err)
{
	json_t *array = json_array();
	char text[128] = "";

	for (size_t i = 0; i < sizeof(part_names) / sizeof(*part_names); i++) {
		if (!(parts & part_names[i].part))
			continue;
		json_array_append_new(array, json_string(part_names[i].name));
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? ", " : "", part_names[i].name);
	}
	eventlog_emit(all->config.log, EVENT_RECONCILED,
		      json_pack("{s:o, s:I, s:s?}", "parts", array, "ended", (json_int_t)ended, "error",
				err ? strerror(-err) : NULL),
		      "somebody else changed what is Holdfast's (%s): %s%s; %zu sessions had to end", text,
		      err ? "not all could be put back: " : "put right", err ? strerror(-err) : "", ended);
}

static const struct {
	enum reconcile_part part;
	enum node_part node;
} of_node[] = {
	{ RECONCILE_RULES, NODE_RULES },	 { RECONCILE_TUNNEL, NODE_TUNNEL }, { RECONCILE_PROGRAMS, NODE_PROGRAMS },
	{ RECONCILE_ROUTES, NODE_ROUTES },	 { RECONCILE_ADDRESSES, NODE_ADDRESSES },
	{ RECONCILE_PROTECTED, NODE_PROTECTED }, { RECONCILE_SYSCTLS, NODE_SYSCTLS },
	{ RECONCILE_OTHERS, NODE_OTHERS },
};

/* What belongs to no session. *ret_done: what was not as it is to be. */
static int restore_node(struct reconcile *all, unsigned int *ret_done)
{
	const struct reconcile_config *config = &all->config;
	struct node_config node_config = config->node_config(config->context);
	size_t before = 0, after = 0;
	unsigned int parts = 0, done = 0;
	int err;

	for (size_t i = 0; i < sizeof(of_node) / sizeof(*of_node); i++)
		if (all->doubtful & of_node[i].part)
			parts |= of_node[i].node;
	if (!parts)
		return 0;
	route_count(config->node->route, &before);
	err = node_restore(config->node, &node_config, parts, &done);
	if (err && !all->failing)
		log_warning("%s", config->node->error);
	if (!err && parts & (NODE_PROGRAMS | NODE_ADDRESSES))
		err = config->underlay_followed(config->context);
	all->unfollowed |= (done & NODE_PROTECTED) != 0;
	if (!err && all->unfollowed)
		err = clients_follow(config->clients);
	if (!err)
		all->unfollowed = false;
	if (!err && done & NODE_ROUTES)
		err = clients_restore(config->clients);
	route_count(config->node->route, &after);
	if (after <= before)
		done &= ~(unsigned int)NODE_ROUTES;
	for (size_t i = 0; i < sizeof(of_node) / sizeof(*of_node); i++)
		if (done & of_node[i].node)
			*ret_done |= of_node[i].part;
	return err;
}

static int count_policy(void *context, __u32 if_id)
{
	++*(size_t *)context;
	return 0;
}

static int restore_policies(struct reconcile *all, unsigned int *ret_done)
{
	size_t before = 0, after = 0;
	int err;

	if (!(all->doubtful & RECONCILE_POLICIES))
		return 0;
	xfrm_policy_list(all->config.node->xfrm, count_policy, &before);
	err = peers_restore_policies(all->config.peers);
	xfrm_policy_list(all->config.node->xfrm, count_policy, &after);
	if (after > before)
		*ret_done |= RECONCILE_POLICIES;
	return err;
}

static bool has_rule(const struct netlink_list *rules, const struct route_rule *rule)
{
	for (size_t i = 0; i < rules->n; i++)
		if (!memcmp((const struct route_rule *)rules->items + i, rule, sizeof(*rule)))
			return true;
	return false;
}

/* Foreign rules are an administrator's, who is told once what each does. */
static int look_before(struct reconcile *all)
{
	struct netlink_list now = { 0 };
	int err;

	if (!(all->doubtful & RECONCILE_BEFORE))
		return 0;
	err = route_rules_before(all->config.node->route, &now);
	if (err) {
		netlink_list_clear(&now);
		return err;
	}
	for (size_t i = 0; i < now.n; i++) {
		const struct route_rule *rule = (const struct route_rule *)now.items + i;

		if (!has_rule(&all->before, rule))
			eventlog_emit(all->config.log, EVENT_RULE_BEFORE,
				      json_pack("{s:I, s:I, s:i}", "preference", (json_int_t)rule->preference, "table",
						(json_int_t)rule->table, "family", rule->family == AF_INET ? 4 : 6),
				      "rule %u of IPv%d (table %u) is asked before Holdfast's: what it leads elsewhere of what is "
				      "tunnelled is dropped there", rule->preference, rule->family == AF_INET ? 4 : 6, rule->table);
	}
	netlink_list_clear(&all->before);
	all->before = now;
	return 0;
}

/* What failed is tried again at the slower pace, unless something is heard meanwhile: it may be what that waited for. */
static void arm(struct reconcile *all, bool heard)
{
	__u64 now = clock_now_ns();
	__u64 since_ms = (now - all->looked_ns) / CLOCK_NS_PER_MS;
	__u64 pace_ms = all->failing && !heard ? FAILING_PACE_MS : PACE_MS;
	__u64 wait_ms = since_ms + AFTER_MS >= pace_ms ? AFTER_MS : pace_ms - since_ms;
	struct timeval tv = { .tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000) };

	if (evtimer_pending(all->timer, NULL) && all->due_ns <= now + wait_ms * CLOCK_NS_PER_MS)
		return;
	all->due_ns = now + wait_ms * CLOCK_NS_PER_MS;
	event_add(all->timer, &tv);
}

static void look(evutil_socket_t fd, short what, void *context)
{
	struct reconcile *all = context;
	unsigned int parts = 0;
	size_t ended;
	int err, other;

	all->looked_ns = clock_now_ns();
	/* What closes the way comes first. */
	err = restore_node(all, &parts);
	other = restore_policies(all, &parts);
	err = err ? err : other;
	other = look_before(all);
	err = err ? err : other;
	other = end_broken(all, &ended);
	if (ended)
		parts |= all->doubtful & RECONCILE_STATES;
	/* What failed (an interface that is not there yet) is tried again. */
	all->doubtful = err ? all->doubtful & ~(unsigned int)RECONCILE_STATES : other ? RECONCILE_STATES | RECONCILE_ADDRESSES : 0;
	if (parts || (err && !all->failing))
		say(all, parts, ended, err);
	all->failing = err;
	if (all->doubtful)
		arm(all, false);
}

/* Listening. */

static void readable(evutil_socket_t fd, short what, void *context)
{
	struct listener *listener = context;
	struct reconcile *all = listener->all;
	struct reconcile_ours ours = { .tunnel = all->config.node->tunnel, .node = all->config.node,
				       .route_port = netlink_port(all->config.node->route),
				       .xfrm_port = netlink_port(all->config.node->xfrm) };
	unsigned int heard = 0;
	ssize_t got;

	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)all->buffer;
		int left;

		got = mnl_socket_recvfrom(listener->socket, all->buffer, sizeof(all->buffer));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
			/* Some notices are lost: everything is doubtful, and read anew. */
			shortage_met(-ENOBUFS, false, "hearing the kernel's notices");
			reconcile_doubt(all);
			continue;
		}
		if (got < 0)
			break;
		left = (int)got;
		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
			heard |= listener->read(&ours, message);
	}
	explicit_bzero(all->buffer, sizeof(all->buffer)); /* notices of new states have keys */
	all->doubtful |= heard;
	if (heard)
		arm(all, true);
}

static int listen_to(struct reconcile *all, struct listener *listener, int protocol, const unsigned int *groups, size_t n,
		     unsigned int (*read)(const struct reconcile_ours *, const struct nlmsghdr *))
{
	int memory = RECEIVE_MEMORY, fd;

	listener->all = all;
	listener->read = read;
	listener->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!listener->socket || mnl_socket_bind(listener->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	fd = mnl_socket_get_fd(listener->socket);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &memory, sizeof(memory));
	for (size_t i = 0; i < n; i++)
		if (mnl_socket_setsockopt(listener->socket, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i], sizeof(groups[i])) < 0)
			return -errno;
	listener->readable = event_new(all->config.base, fd, EV_READ | EV_PERSIST, readable, listener);
	return listener->readable && !event_add(listener->readable, NULL) ? 0 : -ENOMEM;
}

static void listener_clear(struct listener *listener)
{
	if (listener->readable)
		event_free(listener->readable);
	if (listener->socket)
		mnl_socket_close(listener->socket);
}

int reconcile_new(const struct reconcile_config *config, struct reconcile **ret_reconcile)
{
	unsigned int route_groups[RECONCILE_GROUPS_MAX];
	static const unsigned int xfrm_groups[] = { XFRMNLGRP_SA, XFRMNLGRP_POLICY, XFRMNLGRP_EXPIRE };
	struct reconcile *all = calloc(1, sizeof(*all));
	int err = -ENOMEM;

	if (!all)
		return err;
	all->config = *config;
	all->timer = evtimer_new(config->base, look, all);
	if (all->timer)
		err = listen_to(all, &all->route, NETLINK_ROUTE, route_groups,
				reconcile_route_groups(route_groups), reconcile_read_route);
	if (!err)
		err = listen_to(all, &all->xfrm, NETLINK_XFRM, xfrm_groups, sizeof(xfrm_groups) / sizeof(*xfrm_groups),
				reconcile_read_xfrm);
	if (err) {
		reconcile_free(all);
		return err;
	}
	/* What was changed between the setting up and here was heard by nobody. */
	all->doubtful = RECONCILE_ALL;
	arm(all, true);
	*ret_reconcile = all;
	return 0;
}

void reconcile_doubt(struct reconcile *all)
{
	all->doubtful = RECONCILE_ALL;
	arm(all, true);
}

void reconcile_free(struct reconcile *all)
{
	if (!all)
		return;
	listener_clear(&all->route);
	listener_clear(&all->xfrm);
	if (all->timer)
		event_free(all->timer);
	netlink_list_clear(&all->before);
	free(all);
}
