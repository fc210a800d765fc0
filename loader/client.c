/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/claim.h"
#include "loader/hold.h"
#include "loader/inner.h"
#include "loader/peer_json.h"
#include "loader/route.h"

/* An announcement may be lost: it is repeated after these times. */
static const unsigned int announce_after_ms[] = { 100, 400, 1500 };
/* A client heard within this time uses this gateway for sure; announcements that requests call for keep a pace. */
#define RECENTLY_NS (2 * CLOCK_NS_PER_S)
#define ANNOUNCE_PACE_NS (100 * CLOCK_NS_PER_MS)
#define ANNOUNCE_REPEATS (sizeof(announce_after_ms) / sizeof(*announce_after_ms))

struct client {
	struct clients *clients;
	struct peer *peer;
	__u32 slot;
	__u32 named; /* bit i: peer->inner[i] is tunnelled to the client by the policy, which has made its entries */
	struct hold *hold; /* answers that came before the session stood in both directions */
	bool claimed;
	size_t announced; /* repeats so far */
	__u64 announced_ns;
	struct event *timer;
	struct client *next;
};

struct hearing {
	struct clients *clients;
	const struct node_interface *interface;
	int fd;
	struct event *readable;
};

struct clients {
	struct clients_config config;
	struct client *first;
	__u32 last_slot;
	__u64 reflected_before; /* for clients that are gone */
	struct hearing hearing[NODE_INTERFACES_MAX];
	size_t n_hearing;
};

static void announce_addr(struct client *client, const struct hf_addr *addr);
static void unclaim(struct client *client, const char *why);

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
				unclaim(client, "another gateway announces its address");
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

static int hear(struct clients *clients, const struct node_interface *interface)
{
	struct hearing *hearing = &clients->hearing[clients->n_hearing];

	hearing->clients = clients;
	hearing->interface = interface;
	hearing->fd = claim_arp_open(interface->index);
	if (hearing->fd < 0)
		return hearing->fd;
	clients->n_hearing++;
	hearing->readable = event_new(clients->config.base, hearing->fd, EV_READ | EV_PERSIST, heard, hearing);
	return hearing->readable && !event_add(hearing->readable, NULL) ? 0 : -ENOMEM;
}

static void client_free(struct client *client)
{
	if (client->timer)
		event_free(client->timer);
	hold_free(client->hold);
	free(client);
}

int clients_new(const struct clients_config *config, struct clients **ret_clients)
{
	struct clients *clients = calloc(1, sizeof(*clients));
	int err = 0;

	if (!clients)
		return -ENOMEM;
	clients->config = *config;
	clients->last_slot = config->first_slot;
	for (size_t i = 0; i < config->node->n_protected && !err; i++)
		err = hear(clients, &config->node->protected[i]);
	if (err)
		clients_free(clients);
	else
		*ret_clients = clients;
	return err;
}

void clients_free(struct clients *clients)
{
	if (!clients)
		return;
	while (clients->first) {
		struct client *client = clients->first;

		clients->first = client->next;
		client_free(client);
	}
	for (size_t i = 0; i < clients->n_hearing; i++) {
		if (clients->hearing[i].readable)
			event_free(clients->hearing[i].readable);
		close(clients->hearing[i].fd);
	}
	free(clients);
}

/* The claim. */

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

static void announce_due(evutil_socket_t fd, short what, void *context)
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

/* Inner addresses that are also the outer one cannot be routed over hf0 in the main table: ESP goes there. */
static bool announced_by_route(const struct client *client, const struct hf_prefix *inner)
{
	return !prefix_contains(inner, &client->peer->remote);
}

/* The kernel answers ARP for the client's addresses, and routing daemons see them. */
static void claim_addresses(struct client *client)
{
	struct node *node = client->clients->config.node;

	for (size_t i = 0; i < client->peer->n_inner; i++) {
		const struct hf_prefix *inner = &client->peer->inner[i];

		for (size_t p = 0; p < node->n_protected; p++)
			claim_add(node->route, node->protected[p].index, inner);
		if (node->n_protected && announced_by_route(client, inner))
			route_announce(node->route, node->tunnel, inner);
	}
}

static void record_claim(struct client *client)
{
	client->peer->claimed = client->claimed;
	peers_record(client->peer);
}

/* Announces even what is claimed already: another gateway may have been in use since. */
static void claim(struct client *client)
{
	bool claimed = client->claimed;

	client->claimed = true;
	if (!claimed) {
		claim_addresses(client);
		record_claim(client);
	}
	announce(client);
	client->announced = 0;
	announce_due(-1, 0, client);
	if (!claimed)
		eventlog_emit(client->clients->config.log, EVENT_CLAIM,
			      json_pack("{s:s, s:s}", "client", addr_text(&client->peer->remote).s, "name",
					client->peer->name),
			      "client %s (%s) uses this gateway; its addresses are claimed",
			      addr_text(&client->peer->remote).s, client->peer->name);
}

static void unclaim(struct client *client, const char *why)
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
		if (node->n_protected && announced_by_route(client, inner))
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

/* Sessions. */

static bool overlaps(const struct hf_prefix *a, const struct hf_prefix *b)
{
	return a->len <= b->len ? prefix_contains(a, &b->addr) : prefix_contains(b, &a->addr);
}

static bool holds(const struct client *client, const struct kms_session *session)
{
	for (size_t i = 0; i < client->peer->n_inner; i++)
		for (size_t k = 0; k < session->n_inner; k++)
			if (overlaps(&client->peer->inner[i], &session->inner[k]))
				return true;
	return false;
}

static bool same_inner(const struct peer *peer, const struct kms_session *session)
{
	return peer->n_inner == session->n_inner &&
	       !memcmp(peer->inner, session->inner, session->n_inner * sizeof(*session->inner));
}

/*
 * Who has the session's inner addresses already: the same client in *ret_client
 * (NULL: nobody), or -EADDRINUSE where it is somebody else. The same client with
 * other addresses than before begins anew. Those that the policy names may share
 * addresses: they are gateways of one network.
 */
static int find_holder(struct clients *clients, const struct kms_session *session, __u32 named,
		       struct client **ret_client)
{
	struct client *next;

	*ret_client = NULL;
	for (struct client *client = clients->first; client; client = client->next)
		if (holds(client, session) && strcmp(client->peer->name, session->name) && !(named && client->named))
			return -EADDRINUSE;
	for (struct client *client = clients->first; client; client = next) {
		next = client->next;
		if (!holds(client, session) || strcmp(client->peer->name, session->name))
			continue;
		if (same_inner(client->peer, session) &&
		    (!named || addr_equal(&client->peer->remote, &session->remote)))
			*ret_client = client;
		else
			clients_session_end(clients, client->peer, "the client asks for other addresses");
	}
	return 0;
}

/*
 * Which of the session's inner prefixes the policy tunnels to this very client.
 * What it tunnels elsewhere is nobody's own; nor is it a client's whose
 * certificate does not name the address that the policy means.
 */
static int find_named(const struct clients *clients, const struct kms_session *session, __u32 *ret_named)
{
	__u32 named = 0;

	for (__u32 i = 0; i < session->n_inner; i++) {
		enum policy_way way = policy_way_of(clients->config.policy, clients->config.table, &session->inner[i],
						    &session->remote);

		if (way == POLICY_WAY_OTHER || (way == POLICY_WAY_GATEWAY && !session->proven))
			return -EADDRINUSE;
		if (way == POLICY_WAY_GATEWAY)
			named |= 1u << i;
	}
	if (session->role == KMS_INITIATOR && !named)
		return -EACCES;
	*ret_named = named;
	return 0;
}

bool clients_have_slot(const struct clients *clients, __u32 slot)
{
	for (const struct client *client = clients->first; client; client = client->next)
		if (client->slot == slot)
			return true;
	return false;
}

static __u32 free_slot(struct clients *clients)
{
	for (__u32 tries = clients->config.first_slot; tries < DATAPATH_SLOTS; tries++) {
		bool taken = false;

		if (++clients->last_slot >= DATAPATH_SLOTS)
			clients->last_slot = clients->config.first_slot;
		taken = clients_have_slot(clients, clients->last_slot) ||
			clients->config.slot_is_taken(clients->config.context, clients->last_slot);
		if (!taken)
			return clients->last_slot;
	}
	return 0;
}

/*
 * What lies in the maps and routes for the client's inner addresses. The routes
 * stand before the client can send: an answer must not find the main table.
 */
static int enter(struct client *client)
{
	const struct clients_config *config = &client->clients->config;
	struct node *node = config->node;
	struct peer *peer = client->peer;
	int err = datapath_set_member(node->dp, client->slot, peer->if_id);

	if (!err && client->named)
		err = config->admit(config->context, peer);
	for (size_t i = 0; i < peer->n_inner && !err; i++) {
		if (client->named & 1u << i)
			continue;
		err = datapath_set_tunnel(node->dp, &peer->inner[i], client->slot, 0);
		if (!err)
			err = route_add(node->route, node->tunnel, &peer->inner[i], 1, NULL);
	}
	return err;
}

static void remove_entries(struct client *client)
{
	struct node *node = client->clients->config.node;
	struct peer *peer = client->peer;

	for (size_t i = 0; i < peer->n_inner; i++)
		if (!(client->named & 1u << i)) {
			datapath_del_tunnel(node->dp, &peer->inner[i]);
			route_delete(node->route, &peer->inner[i], 1);
		}
	datapath_steer(node->dp, client->slot, 0);
	datapath_del_member(node->dp, client->slot, peer->if_id);
}

static void client_unlink(struct client *client)
{
	struct client **at = &client->clients->first;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	client_free(client);
}

/* slot 0: any. */
static struct client *client_new(struct clients *clients, struct peer *peer, __u32 slot)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->clients = clients;
	client->peer = peer;
	client->slot = slot ? slot : free_slot(clients);
	client->timer = evtimer_new(clients->config.base, announce_due, client);
	if (!client->slot || !client->timer || hold_new(&client->hold)) {
		client_free(client);
		return NULL;
	}
	client->next = clients->first;
	clients->first = client;
	peer->owner = client;
	return client;
}

int clients_install(struct clients *clients, const struct kms_session *session)
{
	struct client *client;
	struct peer *peer;
	__u32 named;
	int err = find_named(clients, session, &named);

	if (!err)
		err = find_holder(clients, session, named, &client);
	if (err)
		return err;
	err = peers_install(clients->config.peers, client ? client->peer : NULL, session, &peer);
	if (err)
		return err;
	if (!client) {
		client = client_new(clients, peer, 0);
		/* Known by these until the session stands, so that a second exchange finds it. */
		memcpy(peer->name, session->name, sizeof(peer->name));
		memcpy(peer->inner, session->inner, sizeof(peer->inner));
		peer->n_inner = session->n_inner;
		peer->named = named != 0;
		if (client) {
			client->named = peer->named_bits = named;
			peer->slot = client->slot;
		}
	}
	err = client ? enter(client) : -ENOSPC;
	if (err)
		clients_abandon(clients, peer);
	return err;
}

int clients_restore(struct clients *clients)
{
	struct node *node = clients->config.node;
	int err = 0;

	for (struct client *client = clients->first; client && !err; client = client->next) {
		for (size_t i = 0; i < client->peer->n_inner && !err; i++)
			if (!(client->named & 1u << i))
				err = route_add(node->route, node->tunnel, &client->peer->inner[i], 1, NULL);
		if (client->claimed)
			claim_addresses(client);
	}
	return err;
}

static const struct client *find_prefix(const struct clients *clients, const struct hf_prefix *prefix, bool claimed)
{
	for (const struct client *client = clients->first; client; client = client->next)
		for (size_t i = 0; i < client->peer->n_inner; i++) {
			const struct hf_prefix *inner = &client->peer->inner[i];

			if (claimed ? client->claimed && prefix->len >= inner->len && prefix_contains(inner, &prefix->addr) :
				      !(client->named & 1u << i) && prefix->len == inner->len &&
						addr_equal(&prefix->addr, &inner->addr))
				return client;
		}
	return NULL;
}

bool clients_have_prefix(const struct clients *clients, const struct hf_prefix *prefix, __u32 *ret_slot)
{
	const struct client *client = find_prefix(clients, prefix, false);

	if (client && ret_slot)
		*ret_slot = client->slot;
	return client;
}

bool clients_have_claimed(const struct clients *clients, const struct hf_prefix *prefix)
{
	return find_prefix(clients, prefix, true);
}

/* The peer as the session that is checked when a client comes in. */
static void session_of(const struct peer *peer, struct kms_session *ret)
{
	*ret = (struct kms_session){ .local = peer->local, .remote = peer->remote, .role = KMS_RESPONDER,
				     .proven = peer->proven, .n_inner = (__u32)peer->n_inner };
	memcpy(ret->inner, peer->inner, sizeof(ret->inner));
	memcpy(ret->name, peer->name, sizeof(ret->name));
}

/* The slot leads there before its tunnels do: an answer under way is not held. */
static int adopt_entries(struct clients *clients, struct peer *peer, __u32 named)
{
	struct node *node = clients->config.node;
	bool kept = peer->slot && !clients_have_slot(clients, peer->slot) &&
		    !clients->config.slot_is_taken(clients->config.context, peer->slot);
	struct client *client = client_new(clients, peer, kept ? peer->slot : 0);
	int err;

	if (!client)
		return -ENOSPC;
	client->named = peer->named_bits = named;
	client->claimed = peer->claimed;
	peer->named = named != 0;
	peer->slot = client->slot;
	err = datapath_steer(node->dp, client->slot, peer->if_id);
	if (!err)
		err = enter(client);
	if (!err && client->claimed)
		claim_addresses(client);
	if (!err && !client->claimed)
		datapath_rearm_claim(node->dp, peer->if_id);
	return err;
}

int clients_adopt(struct clients *clients, struct peer *peer)
{
	struct kms_session session;
	struct client *holder;
	__u32 named;
	int err;

	session_of(peer, &session);
	err = find_named(clients, &session, &named);
	if (!err)
		err = find_holder(clients, &session, named, &holder);
	if (!err && holder)
		err = -EADDRINUSE;
	if (!err)
		err = adopt_entries(clients, peer, named);
	if (!err) {
		peers_record(peer);
		return 0;
	}
	if (peer->owner) {
		remove_entries(peer->owner);
		client_unlink(peer->owner);
	}
	peers_remove(peer);
	return err;
}

void clients_abandon(struct clients *clients, struct peer *peer)
{
	struct client *client = peer->owner;
	struct hf_addr addr = peer->remote;
	__u32 if_id = peer->if_id;
	bool named = peer->named;

	if (client && !peer->up) {
		remove_entries(client);
		client_unlink(client);
	}
	if (peers_abandon(peer) && named)
		clients->config.down(clients->config.context, &addr, if_id, 0);
}

static void send_held(void *context, __u8 *packet, size_t len)
{
	struct client *client = context;

	int err = inner_held_send(&client->clients->config.node->inner, packet, len);

	if (err)
		log_debug("held packet of %zu bytes for client %s: %s", len, client->peer->name, strerror(-err));
}

void clients_want(struct clients *clients, __u32 slot, const __u8 *packet, size_t len)
{
	for (struct client *client = clients->first; client; client = client->next)
		if (client->slot == slot && len)
			hold_add(client->hold, packet, len, clock_now_ns());
}

int clients_activate(struct clients *clients, struct peer *peer)
{
	struct node *node = clients->config.node;
	struct client *client = peer->owner;
	struct clients_session session = { .request = peers_pending_request(peer), .again = peer->up,
					   .by_peer = peers_pending_by_peer(peer) };
	int err = peers_activate(peer);

	if (!err)
		err = datapath_steer(node->dp, client->slot, peer->if_id);
	if (err)
		return err;
	hold_flush(client->hold, clock_now_ns(), send_held, client);
	eventlog_emit(clients->config.log, session.again ? EVENT_REKEY : EVENT_SESSION,
		      json_pack("{s:s, s:s, s:s}", "client", addr_text(&peer->remote).s, "name", peer->name, "algorithm",
				peer_algorithm_name(peer->algorithm)),
		      "session with client %s (%s, %s)", addr_text(&peer->remote).s, peer->name,
		      peer_algorithm_name(peer->algorithm));
	if (peer->named)
		clients->config.up(clients->config.context, peer, &session);
	return 0;
}

void clients_session_end(struct clients *clients, struct peer *peer, const char *why)
{
	struct client *client = peer->owner;
	struct hf_addr addr = peer->remote;
	__u64 request = peers_pending_request(peer);
	__u32 if_id = peer->if_id;
	bool named = peer->named;
	struct hf_live live;

	unclaim(client, why);
	eventlog_emit(clients->config.log, EVENT_SESSION_ENDED,
		      json_pack("{s:s, s:s, s:s}", "client", addr_text(&peer->remote).s, "name", peer->name, "why", why),
		      "session with client %s (%s) ended: %s", addr_text(&peer->remote).s, peer->name, why);
	if (!datapath_read_live(clients->config.node->dp, peer->if_id, &live))
		clients->reflected_before += live.beats_reflected;
	remove_entries(client);
	client_unlink(client);
	peers_remove(peer);
	if (named)
		clients->config.down(clients->config.context, &addr, if_id, request);
}

void clients_claim(struct clients *clients, struct peer *peer)
{
	claim(peer->owner);
}

static void send_control(struct clients *clients, const struct peer *peer, const struct hf_addr *to, __u64 nonce,
			 enum hf_control_type type)
{
	struct hf_control_wire control = { .magic = htonl(HF_CONTROL_MAGIC), .if_id = htonl(peer->if_id),
					   .nonce = nonce, .type = (__u8)type };
	int err = inner_control_send(&clients->config.node->inner, &peer->local, to, &control);

	if (err)
		log_debug("control packet to %s: %s", addr_text(to).s, strerror(-err));
}

void clients_control(struct clients *clients, struct peer *peer, const struct hf_event *event, bool open)
{
	if (event->control == HF_CONTROL_LEAVE) {
		unclaim(peer->owner, "the client has left for another gateway");
		return;
	}
	if (event->control == HF_CONTROL_BYE)
		clients_session_end(clients, peer, "the client goes down");
	if (event->control != HF_CONTROL_PROBE)
		return;
	if (!open) {
		send_control(clients, peer, &event->inner, event->nonce, HF_CONTROL_DRAIN);
		return;
	}
	send_control(clients, peer, &event->inner, event->nonce, HF_CONTROL_ANSWER);
	claim(peer->owner);
}

static bool peer_statement_allows(const struct policy *policy, const char *name, const struct hf_prefix *inner)
{
	struct hf_addr last = inner->addr;

	for (unsigned int bit = inner->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	for (size_t i = 0; i < policy->n_peers; i++)
		if (!strcmp(policy->peers[i].name, name) && addr_cmp(&policy->peers[i].range.first, &inner->addr) <= 0 &&
		    addr_cmp(&last, &policy->peers[i].range.last) <= 0)
			return true;
	return false;
}

/* Why a client cannot stay as it is under another policy; NULL: it can. */
static const char *unfit(const struct client *client, const struct policy *policy, const struct policy_table *table)
{
	const struct clients_config *old = &client->clients->config;
	const struct peer *peer = client->peer;

	for (size_t i = 0; i < peer->n_inner; i++) {
		const struct hf_prefix *inner = &peer->inner[i];

		if (policy_way_of(old->policy, old->table, inner, &peer->remote) !=
		    policy_way_of(policy, table, inner, &peer->remote))
			return "the policy tunnels its addresses otherwise now";
		if (peer_statement_allows(old->policy, peer->name, inner) &&
		    !peer_statement_allows(policy, peer->name, inner))
			return "[PEER] no longer allows its addresses";
	}
	return NULL;
}

void clients_change_policy(struct clients *clients, const struct policy *policy, const struct policy_table *table)
{
	struct client *next;

	for (struct client *client = clients->first; client; client = next) {
		const char *why = unfit(client, policy, table);

		next = client->next;
		if (why && client->peer->up)
			clients_session_end(clients, client->peer, why);
		else if (why)
			clients_abandon(clients, client->peer);
	}
	clients->config.policy = policy;
	clients->config.table = table;
}

void clients_renew(struct clients *clients, struct peer *peer)
{
	if (peer->n_inner)
		send_control(clients, peer, &peer->inner[0].addr, 0, HF_CONTROL_REKEY);
}

bool clients_any(const struct clients *clients)
{
	return clients->first;
}

void clients_ask_to_leave(struct clients *clients)
{
	for (struct client *client = clients->first; client; client = client->next)
		if (client->peer->up && client->peer->n_inner)
			send_control(clients, client->peer, &client->peer->inner[0].addr, 0, HF_CONTROL_DRAIN);
}

json_t *clients_status(const struct clients *clients)
{
	json_t *array = json_array();

	for (const struct client *client = clients->first; client; client = client->next) {
		json_t *inner = json_array();

		for (size_t i = 0; i < client->peer->n_inner; i++)
			json_array_append_new(inner, json_string(prefix_text(&client->peer->inner[i]).s));
		json_array_append_new(array, json_pack("{s:s, s:s, s:o, s:b, s:o}", "address",
						       addr_text(&client->peer->remote).s, "name", client->peer->name,
						       "inner", inner, "claimed", client->claimed, "session",
						       peer_session_json(client->peer)));
	}
	return array;
}

__u64 clients_reflected(const struct clients *clients)
{
	__u64 reflected = clients->reflected_before;

	for (const struct client *client = clients->first; client; client = client->next) {
		struct hf_live live;

		if (!datapath_read_live(clients->config.node->dp, client->peer->if_id, &live))
			reflected += live.beats_reflected;
	}
	return reflected;
}
