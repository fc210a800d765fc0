/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The addresses of clients that are gone. What this machine sends to one of them
 * itself would go in clear now: an ICMP error that quotes what was decrypted, or
 * what a service here sends once more. So they lead nowhere for a while.
 */
#include "loader/client_internal.h"

#include <stdlib.h>

#include "lib/clock.h"

#define CLOSED_NS (60 * CLOCK_NS_PER_S)
#define CLOSED_MAX 4096

struct closed {
	struct hf_prefix prefix;
	__u64 until_ns;
	struct closed *next;
};

/* Unless the prefix leads somewhere again. */
static void open_one(struct clients *clients, struct closed **at)
{
	struct closed *closed = *at;

	*at = closed->next;
	clients->n_closed--;
	datapath_open_tunnel(clients->config.node->dp, &closed->prefix);
	free(closed);
}

static void wait_first(struct clients *clients)
{
	__u64 now = clock_now_ns(), wait;
	struct timeval tv;

	if (!clients->closed)
		return;
	wait = clients->closed->until_ns > now ? clients->closed->until_ns - now : 0;
	tv = (struct timeval){ .tv_sec = (time_t)(wait / CLOCK_NS_PER_S),
			       .tv_usec = (suseconds_t)(wait % CLOCK_NS_PER_S / 1000) };
	event_add(clients->closed_timer, &tv);
}

static void closed_due(evutil_socket_t fd, short what, void *context)
{
	struct clients *clients = context;

	while (clients->closed && clients->closed->until_ns <= clock_now_ns())
		open_one(clients, &clients->closed);
	wait_first(clients);
}

/* The minute begins anew. */
static void forget(struct clients *clients, const struct hf_prefix *prefix)
{
	struct closed **at = &clients->closed, *closed;

	for (; (closed = *at); at = &closed->next)
		if (closed->prefix.len == prefix->len && addr_equal(&closed->prefix.addr, &prefix->addr)) {
			*at = closed->next;
			clients->n_closed--;
			free(closed);
			return;
		}
}

void clients_close_prefix(struct clients *clients, const struct hf_prefix *prefix)
{
	struct closed *closed = calloc(1, sizeof(*closed)), **end = &clients->closed;

	if (!clients->closed_timer)
		clients->closed_timer = evtimer_new(clients->config.base, closed_due, clients);
	if (!closed || !clients->closed_timer || datapath_close_tunnel(clients->config.node->dp, prefix)) {
		free(closed);
		datapath_del_tunnel(clients->config.node->dp, prefix);
		return;
	}
	forget(clients, prefix);
	if (clients->n_closed == CLOSED_MAX)
		open_one(clients, &clients->closed);
	*closed = (struct closed){ .prefix = *prefix, .until_ns = clock_now_ns() + CLOSED_NS };
	while (*end)
		end = &(*end)->next;
	*end = closed;
	clients->n_closed++;
	wait_first(clients);
}

void clients_open_prefix(struct clients *clients, const struct hf_prefix *prefix)
{
	struct closed **at = &clients->closed;

	while (*at)
		if (prefix_overlaps(&(*at)->prefix, prefix))
			open_one(clients, at);
		else
			at = &(*at)->next;
}

void clients_open_tunnelled(struct clients *clients, const struct policy *policy, const struct policy_table *table)
{
	static const struct hf_addr nobody;
	struct closed **at = &clients->closed;

	while (*at)
		if (policy_way_of(policy, table, &(*at)->prefix, &nobody) != POLICY_WAY_NONE)
			open_one(clients, at);
		else
			at = &(*at)->next;
}

void clients_free_closed(struct clients *clients)
{
	while (clients->closed) {
		struct closed *next = clients->closed->next;

		free(clients->closed);
		clients->closed = next;
	}
	if (clients->closed_timer)
		event_free(clients->closed_timer);
}
