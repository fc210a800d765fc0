/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The claim of a client's addresses on the protected networks: announcing them,
 * hearing who else does, and giving them up.
 */
#include "loader/client_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/clock.h"
#include "loader/claim.h"
#include "loader/route.h"

/* An announcement may be lost: it is repeated after these times. */
static const unsigned int announce_after_ms[] = { 100, 400, 1500 };
/* A client is asked again after these: a link may carry nothing for half a minute yet (spanning tree). */
static const unsigned int ask_after_ms[] = { 100, 400, 1500, 3000, 5000, 10000, 20000, 20000 };
#define ASK_TIMES (sizeof(ask_after_ms) / sizeof(*ask_after_ms))
#define ANNOUNCE_REPEATS (sizeof(announce_after_ms) / sizeof(*announce_after_ms))
/* A client heard within this time uses this gateway for sure. */
#define RECENTLY_NS (2 * CLOCK_NS_PER_S)
/*
 * What a client or a target can call for as often as it likes keeps a pace. An address costs some ten microseconds to claim
 * and announce: so much time for each leaves a client with four thousand of them a tenth of this thread's at the most.
 */
#define ANNOUNCE_PACE_NS (80 * CLOCK_NS_PER_MS) /* shorter than the first repeat */
#define ANNOUNCE_PACE_ADDR_NS (CLOCK_NS_PER_MS / 10)

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

/* From any of its interfaces: two may be on one segment, and each hear the other. */
static bool is_own(const struct clients *clients, const __u8 mac[6])
{
	for (size_t i = 0; i < clients->n_hearing; i++)
		if (!memcmp(mac, clients->hearing[i].interface->mac, sizeof(clients->hearing[i].interface->mac)))
			return true;
	return false;
}

static void on_arp(struct hearing *hearing, const struct claim_arp *arp)
{
	bool foreign = !is_own(hearing->clients, arp->sender_mac);

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

static void leave_interface(struct client *client, const struct node_interface *interface)
{
	for (size_t i = 0; i < client->peer->n_inner && client->claimed; i++)
		claim_delete(client->clients->config.node->route, interface->index, &client->peer->inner[i]);
}

static void leave_routes(struct client *client)
{
	struct node *node = client->clients->config.node;

	for (size_t i = 0; i < client->peer->n_inner && client->claimed; i++)
		if (!prefix_contains(&client->peer->inner[i], &client->peer->remote))
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

/* How long it is until all may be announced again; 0: it may now. */
static __u64 announce_wait_ns(const struct client *client)
{
	__u64 since = clock_now_ns() - client->announced_all_ns, addresses = 0, pace;

	for (size_t i = 0; i < client->peer->n_inner; i++)
		addresses += claim_count(&client->peer->inner[i]);
	pace = addresses * ANNOUNCE_PACE_ADDR_NS;
	if (pace < ANNOUNCE_PACE_NS)
		pace = ANNOUNCE_PACE_NS;
	return since < pace ? pace - since : 0;
}

static void announce(struct client *client)
{
	if (announce_wait_ns(client))
		return;
	client->announced_all_ns = clock_now_ns();
	for (size_t i = 0; i < client->peer->n_inner; i++)
		for (size_t k = 0; k < claim_count(&client->peer->inner[i]); k++) {
			struct hf_addr addr = claim_addr(&client->peer->inner[i], k);

			announce_addr(client, &addr);
		}
}

static void wait_ns(struct client *client, __u64 ns)
{
	struct timeval tv = { .tv_sec = (time_t)(ns / CLOCK_NS_PER_S), .tv_usec = (suseconds_t)(ns % CLOCK_NS_PER_S / 1000) };

	event_add(client->timer, &tv);
}

void client_announce_due(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;

	if (!client->claimed) { /* it came back a moment after it had left */
		if (client->lost_spi)
			client_ask(client);
		else
			client_claim(client);
		return;
	}
	if (client->announced)
		announce(client);
	if (client->announced < ANNOUNCE_REPEATS)
		wait_ns(client, announce_after_ms[client->announced++] * CLOCK_NS_PER_MS);
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

/*
 * Announces even what is claimed already: another gateway may have been in use since. A client that asks again and again is
 * served by the repeats; one that leaves and comes back all the time waits for its next claim.
 */
void client_claim(struct client *client)
{
	__u64 wait = announce_wait_ns(client);
	bool claimed = client->claimed;

	client->lost_spi = 0;
	if (!claimed && wait) {
		wait_ns(client, wait);
		return;
	}
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

	event_del(client->timer);
	client->lost_spi = 0;
	datapath_rearm_claim(node->dp, client->peer->if_id); /* also where the claim was still to come */
	if (!client->claimed)
		return;
	client->claimed = false;
	for (size_t i = 0; i < client->peer->n_inner; i++) {
		const struct hf_prefix *inner = &client->peer->inner[i];

		for (size_t p = 0; p < node->n_protected; p++)
			claim_delete(node->route, node->protected[p].index, inner);
		/* It may have been withdrawn before. */
		if (node->n_protected && !prefix_contains(inner, &client->peer->remote))
			route_withdraw(node->route, node->tunnel, inner);
	}
	record_claim(client);
	eventlog_emit(client->clients->config.log, EVENT_CLAIM_ENDED,
		      json_pack("{s:s, s:s, s:s}", "client", addr_text(&client->peer->remote).s, "name",
				client->peer->name, "why", why),
		      "the addresses of client %s (%s) are no longer claimed: %s", addr_text(&client->peer->remote).s,
		      client->peer->name, why);
}

void client_ask(struct client *client)
{
	/* A session that is newer is of a client that has found us gone. */
	if (client->lost_spi != client->peer->spi_in || client->asked == ASK_TIMES) {
		client->lost_spi = 0;
		return;
	}
	client_send_control(client, client->lost_nonce, HF_CONTROL_PROBE);
	wait_ns(client, ask_after_ms[client->asked++] * CLOCK_NS_PER_MS);
}

void client_answered(struct client *client, __u64 nonce)
{
	if (client->lost_spi && client->lost_spi == client->peer->spi_in && client->lost_nonce == nonce)
		client_claim(client);
}

static void lose_underlay(struct client *client)
{
	bool claimed;

	if (client->lost_spi) {
		event_del(client->timer); /* asked no more, until there is an underlay again */
		return;
	}
	claimed = client->claimed;
	client_unclaim(client, "no underlay interface has a link");
	if (claimed && getrandom(&client->lost_nonce, sizeof(client->lost_nonce), 0) == sizeof(client->lost_nonce))
		client->lost_spi = client->peer->spi_in;
}

void clients_underlay(struct clients *clients, bool reached)
{
	for (struct client *client = clients->first; client; client = client->next) {
		client->asked = 0;
		if (!reached)
			lose_underlay(client);
		else if (client->lost_spi)
			client_ask(client);
	}
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
