/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clients and their sessions: what they have in maps and routes, control packets, what is shown. */
#include "loader/client_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/inner.h"
#include "loader/peer_json.h"
#include "loader/route.h"

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
		err = clients_hear(clients, &config->node->protected[i]);
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
	for (size_t i = 0; i < clients->n_hearing; i++)
		hearing_clear(&clients->hearing[i]);
	clients_free_closed(clients);
	free(clients);
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
		clients_open_prefix(client->clients, &peer->inner[i]);
		err = datapath_set_tunnel(node->dp, &peer->inner[i], client->slot, 0);
		if (!err)
			err = route_add(node->route, node->tunnel, &peer->inner[i], 1, NULL);
	}
	return err;
}

/* close: packets of its session may still call for answers, which must not leave in clear. */
static void remove_entries(struct client *client, bool close)
{
	struct node *node = client->clients->config.node;
	struct peer *peer = client->peer;

	for (size_t i = 0; i < peer->n_inner; i++)
		if (!(client->named & 1u << i)) {
			if (close)
				clients_close_prefix(client->clients, &peer->inner[i]);
			else
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
	client->timer = evtimer_new(clients->config.base, client_announce_due, client);
	if (!client->slot || !client->timer || hold_new(&clients->config.node->held_lost, &client->hold)) {
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
	int err = clients_find_named(clients, session, &named);

	if (!err)
		err = clients_check_outside(clients, session, named);
	if (!err)
		err = clients_find_holder(clients, session, named, &client);
	if (err)
		return err;
	err = peers_install(clients->config.peers, client ? client->peer : NULL, session, &peer);
	if (err)
		return err;
	clients_end_others(clients, session, named);
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
			client_claim_addresses(client);
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
		client_claim_addresses(client);
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
	err = clients_find_named(clients, &session, &named);
	if (!err)
		err = clients_find_holder(clients, &session, named, &holder);
	if (!err && holder)
		err = -EADDRINUSE;
	if (!err)
		clients_end_others(clients, &session, named);
	if (!err)
		err = adopt_entries(clients, peer, named);
	if (!err) {
		peers_record(peer);
		return 0;
	}
	if (peer->owner) {
		remove_entries(peer->owner, false);
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
		remove_entries(client, false);
		client_unlink(client);
	}
	if (peers_abandon(peer) && named)
		clients->config.down(clients->config.context, &addr, if_id, 0);
}

static int send_held(void *context, __u8 *packet, size_t len)
{
	struct client *client = context;
	int err = inner_held_send(&client->clients->config.node->inner, packet, len);

	if (err)
		log_debug("held packet of %zu bytes for client %s: %s", len, client->peer->name, strerror(-err));
	return err;
}

void clients_want(struct clients *clients, __u32 slot, const __u8 *packet, size_t len)
{
	struct client *client = clients->first;

	while (client && client->slot != slot)
		client = client->next;
	if (client && len)
		hold_add(client->hold, packet, len, clock_now_ns());
	else if (len)
		clients->config.node->held_lost++; /* the client has gone since */
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

	client_unclaim(client, why);
	eventlog_emit(clients->config.log, EVENT_SESSION_ENDED,
		      json_pack("{s:s, s:s, s:s}", "client", addr_text(&peer->remote).s, "name", peer->name, "why", why),
		      "session with client %s (%s) ended: %s", addr_text(&peer->remote).s, peer->name, why);
	if (!datapath_read_live(clients->config.node->dp, peer->if_id, &live))
		clients->reflected_before += live.beats_reflected;
	remove_entries(client, true);
	client_unlink(client);
	peers_remove(peer);
	if (named)
		clients->config.down(clients->config.context, &addr, if_id, request);
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

void client_send_control(const struct client *client, __u64 nonce, enum hf_control_type type)
{
	const struct peer *peer = client->peer;

	if (peer->up && peer->n_inner)
		send_control(client->clients, peer, &peer->inner[0].addr, nonce, type);
}

void clients_control(struct clients *clients, struct peer *peer, const struct hf_event *event, bool open)
{
	if (event->control == HF_CONTROL_LEAVE) {
		client_unclaim(peer->owner, "the client has left for another gateway");
		return;
	}
	if (event->control == HF_CONTROL_BYE)
		clients_session_end(clients, peer, "the client goes down");
	if (event->control == HF_CONTROL_ANSWER)
		client_answered(peer->owner, event->nonce);
	if (event->control != HF_CONTROL_PROBE)
		return;
	if (!open) {
		send_control(clients, peer, &event->inner, event->nonce, HF_CONTROL_DRAIN);
		return;
	}
	send_control(clients, peer, &event->inner, event->nonce, HF_CONTROL_ANSWER);
	client_claim(peer->owner);
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

static void tell_all(struct clients *clients, enum hf_control_type type)
{
	for (struct client *client = clients->first; client; client = client->next)
		if (client->peer->up && client->peer->n_inner)
			send_control(clients, client->peer, &client->peer->inner[0].addr, 0, type);
}

void clients_ask_to_leave(struct clients *clients)
{
	tell_all(clients, HF_CONTROL_DRAIN);
}

void clients_say_goodbye(struct clients *clients)
{
	tell_all(clients, HF_CONTROL_BYE);
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
