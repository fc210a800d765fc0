/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether a client fits: its inner addresses are nobody else's, and the policy
 * leads them to it or nowhere.
 */
#include "loader/client_internal.h"

#include <errno.h>
#include <string.h>

bool prefix_overlaps(const struct hf_prefix *a, const struct hf_prefix *b)
{
	return a->len <= b->len ? prefix_contains(a, &b->addr) : prefix_contains(b, &a->addr);
}

static bool holds(const struct client *client, const struct kms_session *session)
{
	for (size_t i = 0; i < client->peer->n_inner; i++)
		for (size_t k = 0; k < session->n_inner; k++)
			if (prefix_overlaps(&client->peer->inner[i], &session->inner[k]))
				return true;
	return false;
}

static bool same_inner(const struct peer *peer, const struct kms_session *session)
{
	return peer->n_inner == session->n_inner &&
	       !memcmp(peer->inner, session->inner, session->n_inner * sizeof(*session->inner));
}

/* The same client, with some of the same addresses; and whether with all of them, as the same one of the policy's. */
static bool is_of_same_name(const struct client *client, const struct kms_session *session)
{
	return holds(client, session) && !strcmp(client->peer->name, session->name);
}

static bool is_renewed_by(const struct client *client, const struct kms_session *session, __u32 named)
{
	return is_of_same_name(client, session) && same_inner(client->peer, session) &&
	       (!named || addr_equal(&client->peer->remote, &session->remote));
}

/*
 * Who has the session's inner addresses already: the same client in *ret_client
 * (NULL: nobody), or -EADDRINUSE where it is somebody else. Those that the policy
 * names may share addresses: they are gateways of one network.
 */
int clients_find_holder(struct clients *clients, const struct kms_session *session, __u32 named,
		       struct client **ret_client)
{
	*ret_client = NULL;
	for (struct client *client = clients->first; client; client = client->next)
		if (holds(client, session) && strcmp(client->peer->name, session->name) && !(named && client->named))
			return -EADDRINUSE;
	for (struct client *client = clients->first; client; client = client->next)
		if (is_renewed_by(client, session, named))
			*ret_client = client;
	return 0;
}

/* The same client with other addresses than before begins anew. The end of one may be that of others. */
void clients_end_others(struct clients *clients, const struct kms_session *session, __u32 named)
{
	struct client *client = clients->first;

	while (client)
		if (!is_of_same_name(client, session) || is_renewed_by(client, session, named)) {
			client = client->next;
		} else {
			clients_session_end(clients, client->peer, "the client asks for other addresses");
			client = clients->first;
		}
}

/*
 * Which of the session's inner prefixes the policy tunnels to this very client.
 * What it tunnels elsewhere is nobody's own; nor is it a client's whose
 * certificate does not name the address that the policy means.
 */
int clients_find_named(const struct clients *clients, const struct kms_session *session, __u32 *ret_named)
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

/* Whether the policy gives the inner prefix of this number to whoever has this name: by [PEER], or as a tunnel to it. */
static bool is_given(const struct policy *policy, const char *name, __u32 named, size_t i, const struct hf_prefix *inner)
{
	return named & 1u << i || peer_statement_allows(policy, name, inner);
}

/* Whether somebody else, by another name, is outside within this prefix. */
static bool is_outside(const struct clients *clients, const char *name, const struct hf_prefix *prefix)
{
	for (const struct peer *peer = peers_next(clients->config.peers, NULL); peer;
	     peer = peers_next(clients->config.peers, (struct peer *)peer))
		if (prefix_contains(prefix, &peer->remote) && strcmp(peer->name, name))
			return true;
	return false;
}

int clients_check_outside(const struct clients *clients, const struct kms_session *session, __u32 named)
{
	for (__u32 i = 0; i < session->n_inner; i++)
		if (!is_given(clients->config.policy, session->name, named, i, &session->inner[i]) &&
		    is_outside(clients, session->name, &session->inner[i]))
			return -EADDRINUSE;
	return 0;
}

bool client_is_announced(const struct client *client, size_t i)
{
	const struct peer *peer = client->peer;
	const struct hf_prefix *inner = &peer->inner[i];

	return !prefix_contains(inner, &peer->remote) &&
	       (is_given(client->clients->config.policy, peer->name, client->named, i, inner) ||
		!is_outside(client->clients, peer->name, inner));
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
	clients_open_tunnelled(clients, policy, table);
	clients->config.policy = policy;
	clients->config.table = table;
}
