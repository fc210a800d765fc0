/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The claim of a client's addresses on the protected networks: announcing them,
 * hearing who else does, and giving them up.
 */
#include "loader/client_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "loader/claim.h"
#include "loader/route.h"

/* An announcement may be lost: it is repeated after these times. */
static const unsigned int announce_after_ms[] = { 100, 400, 1500 };
/* A client heard within this time uses this gateway for sure; announcements that requests call for keep a pace. */
#define RECENTLY_NS (2 * CLOCK_NS_PER_S)
#define ANNOUNCE_PACE_NS (100 * CLOCK_NS_PER_MS)
#define ANNOUNCE_REPEATS (sizeof(announce_after_ms) / sizeof(*announce_after_ms))

static void announce_addr(struct client *client, const struct hf_addr *addr);

/*
 * A gateway whose links were silent for a while still claims clients that have
 * left it, and both it and the one in use would answer this request. The kernel
 * has answered; the announcement of the one whom the client is heard by comes
 * after that, and makes the other give up its claim.
 */
static void on_request(struct client *client, int index, const struct hf_addr *addr, __u64 now)
{
	struct hf_prefix prefix = prefix_of_host(addr);
	struct hf_live live;
	__u64 heard_ns;

	if (datapath_read_live(client->clients->config.node->dp, client->peer->if_id, &live))
		return;
	heard_ns = live.last_rx_ns > live.reflect_ns ? live.last_rx_ns : live.reflect_ns;
	if (now - heard_ns >= RECENTLY_NS || now - client->announced_ns <= ANNOUNCE_PACE_NS)
		return;
	announce_addr(client, addr);
	/* The kernel tells nobody when somebody removes a proxy entry: it is put back when it is missed. */
	claim_add(client->clients->config.node->route, index, &prefix);
}

static void on_arp(struct hearing *hearing, const struct claim_arp *arp)
{
	bool foreign = memcmp(arp->sender_mac, hearing->interface->mac, sizeof(arp->sender_mac));

	for (struct client *client = hearing->clients->first; client; client = client->next) {
		for (size_t i = 0; i < client->peer->n_inner && client->claimed; i++) {
			const struct hf_prefix *inner = &client->peer->inner[i];

			if (arp->announcement && foreign && prefix_contains(inner, &arp->sender))
				client_unclaim(client, "another gateway announces its address");
			else if (!arp->announcement && !arp->reply && prefix_contains(inner, &arp->target))
				on_request(client, hearing->interface->index, &arp->target, clock_now_ns());
		}
	}
}

static void heard(evutil_socket_t fd, short what, void *context)
{
	struct hearing *hearing = context;
	struct claim_arp arp;
	int err;

	while ((err = claim_arp_receive(hearing->fd, &arp)) != -EAGAIN) {
		if (err == -EPROTO)
			continue;
		if (err)
			return;
		on_arp(hearing, &arp);
	}
}

static int hearing_begin(struct hearing *hearing)
{
	hearing->index = hearing->interface->index;
	hearing->fd = claim_arp_open(hearing->index);
	if (hearing->fd < 0)
		return hearing->fd;
	hearing->readable = event_new(hearing->clients->config.base, hearing->fd, EV_READ | EV_PERSIST, heard, hearing);
	return hearing->readable && !event_add(hearing->readable, NULL) ? 0 : -ENOMEM;
}

void hearing_clear(struct hearing *hearing)
{
	if (hearing->readable)
		event_free(hearing->readable);
	if (hearing->fd >= 0)
		close(hearing->fd);
	hearing->readable = NULL;
	hearing->fd = -1;
}

int clients_hear(struct clients *clients, const struct node_interface *interface)
{
	struct hearing *hearing = &clients->hearing[clients->n_hearing++];

	hearing->clients = clients;
	hearing->interface = interface;
	return hearing_begin(hearing);
}

int clients_follow(struct clients *clients)
{
	int err = 0;

	for (size_t i = 0; i < clients->n_hearing; i++) {
		struct hearing *hearing = &clients->hearing[i];
		int result = 0;

		if (hearing->fd >= 0 && hearing->index == hearing->interface->index)
			continue;
		hearing_clear(hearing);
		result = hearing_begin(hearing);
		err = err ? err : result;
	}
	for (struct client *client = clients->first; client; client = client->next)
		if (client->claimed) {
			client_claim_addresses(client);
			client_claim(client);
		}
	return err;
}

/* Inner addresses that are also the outer one cannot be routed over hf0 in the main table: ESP goes there. */
static bool announced_by_route(const struct client *client, const struct hf_prefix *inner)
{
	return !prefix_contains(inner, &client->peer->remote);
}

static void leave_interface(struct client *client, const struct node_interface *interface)
{
	for (size_t i = 0; i < client->peer->n_inner && client->claimed; i++)
		claim_delete(client->clients->config.node->route, interface->index, &client->peer->inner[i]);
}

static void leave_routes(struct client *client)
{
	struct node *node = client->clients->config.node;

	for (size_t i = 0; i < client->peer->n_inner && client->claimed; i++)
		if (announced_by_route(client, &client->peer->inner[i]))
			route_withdraw(node->route, node->tunnel, &client->peer->inner[i]);
}

int clients_change_protected(struct clients *clients, const struct node_interface *before, size_t n_before)
{
	const struct node *node = clients->config.node;

	for (size_t b = 0; b < n_before; b++) {
		bool stays = false;

		for (size_t p = 0; p < node->n_protected; p++)
			stays |= node->protected[p].index == before[b].index;
		for (struct client *client = clients->first; client && !stays; client = client->next)
			leave_interface(client, &before[b]);
	}
	for (struct client *client = clients->first; client && n_before && !node->n_protected; client = client->next)
		leave_routes(client);
	while (clients->n_hearing)
		hearing_clear(&clients->hearing[--clients->n_hearing]);
	for (size_t p = 0; p < node->n_protected; p++) {
		struct hearing *hearing = &clients->hearing[clients->n_hearing++];

		*hearing = (struct hearing){ .clients = clients, .interface = &node->protected[p], .fd = -1 };
	}
	return clients_follow(clients);
}

static void announce_addr(struct client *client, const struct hf_addr *addr)
{
	struct clients *clients = client->clients;

	client->announced_ns = clock_now_ns();
	for (size_t h = 0; h < clients->n_hearing; h++)
		claim_arp_announce(clients->hearing[h].fd, addr, clients->hearing[h].interface->mac);
}

static void announce(struct client *client)
{
	for (size_t i = 0; i < client->peer->n_inner; i++)
		for (size_t k = 0; k < claim_count(&client->peer->inner[i]); k++) {
			struct hf_addr addr = claim_addr(&client->peer->inner[i], k);

			announce_addr(client, &addr);
		}
}

void client_announce_due(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;
	struct timeval tv = { 0 };

	if (client->announced)
		announce(client);
	if (client->announced == ANNOUNCE_REPEATS)
		return;
	tv.tv_usec = (suseconds_t)announce_after_ms[client->announced++] * 1000;
	tv.tv_sec = tv.tv_usec / 1000000;
	tv.tv_usec %= 1000000;
	event_add(client->timer, &tv);
}

/* The kernel answers ARP for the client's addresses, and routing daemons see them. */
void client_claim_addresses(struct client *client)
{
	struct node *node = client->clients->config.node;

	for (size_t i = 0; i < client->peer->n_inner; i++) {
		const struct hf_prefix *inner = &client->peer->inner[i];

		for (size_t p = 0; p < node->n_protected; p++)
			claim_add(node->route, node->protected[p].index, inner);
		if (node->n_protected && client_is_announced(client, i))
			route_announce(node->route, node->tunnel, inner);
	}
}

static void record_claim(struct client *client)
{
	client->peer->claimed = client->claimed;
	peers_record(client->peer);
}

/* Announces even what is claimed already: another gateway may have been in use since. */
void client_claim(struct client *client)
{
	bool claimed = client->claimed;

	client->claimed = true;
	if (!claimed) {
		client_claim_addresses(client);
		record_claim(client);
	}
	announce(client);
	client->announced = 0;
	client_announce_due(-1, 0, client);
	if (!claimed)
		eventlog_emit(client->clients->config.log, EVENT_CLAIM,
			      json_pack("{s:s, s:s}", "client", addr_text(&client->peer->remote).s, "name",
					client->peer->name),
			      "client %s (%s) uses this gateway; its addresses are claimed",
			      addr_text(&client->peer->remote).s, client->peer->name);
}

void client_unclaim(struct client *client, const char *why)
{
	struct node *node = client->clients->config.node;

	if (!client->claimed)
		return;
	client->claimed = false;
	event_del(client->timer);
	for (size_t i = 0; i < client->peer->n_inner; i++) {
		const struct hf_prefix *inner = &client->peer->inner[i];

		for (size_t p = 0; p < node->n_protected; p++)
			claim_delete(node->route, node->protected[p].index, inner);
		/* It may have been withdrawn before. */
		if (node->n_protected && !prefix_contains(inner, &client->peer->remote))
			route_withdraw(node->route, node->tunnel, inner);
	}
	datapath_rearm_claim(node->dp, client->peer->if_id);
	record_claim(client);
	eventlog_emit(client->clients->config.log, EVENT_CLAIM_ENDED,
		      json_pack("{s:s, s:s, s:s}", "client", addr_text(&client->peer->remote).s, "name",
				client->peer->name, "why", why),
		      "the addresses of client %s (%s) are no longer claimed: %s", addr_text(&client->peer->remote).s,
		      client->peer->name, why);
}

void clients_make_way(struct clients *clients, const struct hf_addr *remote)
{
	struct node *node = clients->config.node;

	for (struct client *client = clients->first; client; client = client->next)
		for (size_t i = 0; client->claimed && node->n_protected && i < client->peer->n_inner; i++)
			if (prefix_contains(&client->peer->inner[i], remote) && !client_is_announced(client, i))
				route_withdraw(node->route, node->tunnel, &client->peer->inner[i]);
}

void clients_claim(struct clients *clients, struct peer *peer)
{
	client_claim(peer->owner);
}
