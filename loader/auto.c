/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "loader/link.h"

struct auto_watch {
	struct netlink *route;
	auto_changed changed;
	void *context;
	struct netlink_monitor *monitor;
	struct event *readable;
	struct auto_links links;
	bool overrun;
	struct auto_server told; /* index 0: none */
};

static struct auto_link *find(const struct auto_links *links, int index)
{
	for (size_t i = 0; i < links->n; i++)
		if (links->link[i].index == index)
			return &links->link[i];
	return NULL;
}

static void forget(struct auto_links *links, int index)
{
	struct auto_link *link = find(links, index);

	if (link)
		*link = links->link[--links->n];
}

static int note_link(struct auto_links *links, const struct netlink_event *event)
{
	struct auto_link *link = find(links, event->index), *more;

	if (!event->point_to_point || !strcmp(event->name, LINK_TUNNEL)) {
		forget(links, event->index);
		return 0;
	}
	if (!link) {
		more = reallocarray(links->link, links->n + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		links->link = more;
		link = &more[links->n++];
		*link = (struct auto_link){ .index = event->index };
	}
	memcpy(link->name, event->name, sizeof(link->name));
	link->running = event->running;
	return 0;
}

static void note_addr(struct auto_links *links, const struct netlink_event *event)
{
	struct auto_link *link = find(links, event->index);

	if (!link || addr_is_zero(&event->peer))
		return;
	if (event->type == NETLINK_ADDR) {
		if (!addr_equal(&link->peer, &event->peer) || !addr_equal(&link->local, &event->addr))
			link->came_up = 0; /* another server: it comes up anew */
		link->local = event->addr;
		link->peer = event->peer;
	} else if (addr_equal(&link->peer, &event->peer) && addr_equal(&link->local, &event->addr)) {
		memset(&link->peer, 0, sizeof(link->peer));
		memset(&link->local, 0, sizeof(link->local));
	}
}

int auto_links_note(struct auto_links *links, const struct netlink_event *event)
{
	struct auto_link *link;
	int err = 0;

	if (event->type == NETLINK_LINK)
		err = note_link(links, event);
	else if (event->type == NETLINK_LINK_GONE)
		forget(links, event->index);
	else if (event->type == NETLINK_ADDR || event->type == NETLINK_ADDR_GONE)
		note_addr(links, event);
	link = find(links, event->index);
	if (!link)
		return err;
	if (!link->running || addr_is_zero(&link->peer))
		link->came_up = 0;
	else if (!link->came_up)
		link->came_up = ++links->last;
	return err;
}

void auto_links_clear(struct auto_links *links)
{
	free(links->link);
	*links = (struct auto_links){ .last = 0 };
}

const struct auto_link *auto_links_pick(const struct auto_links *links, size_t *ret_n)
{
	const struct auto_link *last = NULL;
	size_t n = 0;

	for (size_t i = 0; i < links->n; i++) {
		const struct auto_link *link = &links->link[i];

		n += link->came_up != 0;
		if (link->came_up && (!last || link->came_up > last->came_up))
			last = link;
	}
	*ret_n = n;
	return last;
}

size_t auto_target(const struct policy *policy, const struct hf_addr *server)
{
	for (size_t i = 0; i < policy->n_redirects; i++)
		if (addr_equal(&policy->redirects[i].server, server))
			return policy->redirects[i].cluster;
	return policy->n_clusters;
}

bool auto_wanted(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_tunnels; i++)
		if (policy->tunnels[i].target == POLICY_TARGET_AUTO)
			return true;
	return false;
}

/* Watching. */

static void note(void *context, const struct netlink_event *event)
{
	struct auto_watch *watch = context;

	if (event->type == NETLINK_OVERRUN)
		watch->overrun = true;
	else if (auto_links_note(&watch->links, event))
		log_error("out of memory: the link %s is not watched", event->name);
}

/* Reads all links anew; those that are as before keep their place in the order. */
static int read_all(struct auto_watch *watch)
{
	struct auto_links before = watch->links;
	int err;

	watch->overrun = false;
	watch->links = (struct auto_links){ .last = before.last };
	err = netlink_monitor_replay(watch->route, note, watch);
	for (size_t i = 0; i < watch->links.n; i++) {
		struct auto_link *link = &watch->links.link[i];
		const struct auto_link *old = find(&before, link->index);

		if (old && old->came_up && link->came_up && addr_equal(&old->peer, &link->peer) &&
		    addr_equal(&old->local, &link->local))
			link->came_up = old->came_up;
	}
	auto_links_clear(&before);
	return err;
}

/* Tells when what was told last is no longer so. */
static void tell(struct auto_watch *watch)
{
	struct auto_server server = { .index = 0 }, *told = &watch->told;
	const struct auto_link *link = auto_links_pick(&watch->links, &server.n_links);

	if (link) {
		server.index = link->index;
		memcpy(server.name, link->name, sizeof(server.name));
		server.local = link->local;
		server.address = link->peer;
	}
	if (server.index == told->index && addr_equal(&server.local, &told->local) &&
	    addr_equal(&server.address, &told->address))
		return;
	*told = server;
	watch->changed(watch->context, link ? told : NULL);
}

/* What arrives together is looked at together: an address that is replaced is not a link that goes down. */
static void monitor_readable(evutil_socket_t fd, short what, void *context)
{
	struct auto_watch *watch = context;
	int err = netlink_monitor_dispatch(watch->monitor);

	if (!err && watch->overrun)
		err = read_all(watch);
	if (err)
		log_error("AUTO: cannot read the state of links: %s", strerror(-err));
	tell(watch);
}

int auto_new(struct event_base *base, struct netlink *route, auto_changed changed, void *context,
	     struct auto_watch **ret_watch)
{
	struct auto_watch *watch = calloc(1, sizeof(*watch));
	int err;

	if (!watch)
		return -ENOMEM;
	watch->route = route;
	watch->changed = changed;
	watch->context = context;
	/* The monitor first: a change during the reading must not be missed. */
	err = netlink_monitor_open(note, watch, &watch->monitor);
	if (!err)
		err = read_all(watch);
	if (!err) {
		watch->readable = event_new(base, netlink_monitor_fd(watch->monitor), EV_READ | EV_PERSIST,
					    monitor_readable, watch);
		err = watch->readable && !event_add(watch->readable, NULL) ? 0 : -ENOMEM;
	}
	if (err) {
		auto_free(watch);
		return err;
	}
	*ret_watch = watch;
	tell(watch);
	return 0;
}

void auto_free(struct auto_watch *watch)
{
	if (!watch)
		return;
	if (watch->readable)
		event_free(watch->readable);
	netlink_monitor_close(watch->monitor);
	auto_links_clear(&watch->links);
	free(watch);
}
