/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "selftests/sim/cluster.h"
#include "selftests/sim/node.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

/* As in loader/peer.h. */
#define LINGER_NS (5 * SEC)
#define RENEW_PERCENT 80

/* The number of a session says whose it is (keys.h). */
static struct peer *by_pending(struct sim *sim, struct node *node, __u64 session)
{
	struct peer *peer = node_peer(sim, node, keys_session_remote(session));

	return peer && peer->pending_in && peer->pending.id == session ? peer : NULL;
}

static enum hf_role role_of(const struct session *session)
{
	return (session->role == KMS_INITIATOR) != session->reversed ? HF_ROLE_GATEWAY : HF_ROLE_CLIENT;
}

/* What the client of the two uses inside must be that client's; the inner check of the datapath relies on it. */
static void check_inner(struct sim *sim, const struct node *node, const struct session *session)
{
	const struct node *client = node->gateway ? &sim->nodes[session->remote] : node;

	if (session->inner.len != 128 || !addr_equal(&session->inner.addr, &client->inner[0]))
		sim_fault(sim, "%s installs inner addresses of %s that are not its own", node->name, client->name);
}

static void pending_clear(struct peer *peer)
{
	sa_remove_in(peer->pending_in);
	peer->pending_in = NULL;
}

static void peer_free(struct sim *sim, struct node *node, struct peer *peer)
{
	pending_clear(peer);
	sa_remove_in(peer->in);
	*node_peer_place(sim, node, peer->remote) = NULL;
	free(peer);
}

static struct peer *peer_new(struct sim *sim, struct node *node, const struct session *session)
{
	struct peer *peer = sim_alloc(1, sizeof(*peer));

	peer->remote = session->remote;
	peer->role = role_of(session);
	peer->if_id = ++node->last_if_id;
	peer->named = node->gateway && sim->shape.named;
	*node_peer_place(sim, node, session->remote) = peer;
	return peer;
}

int peer_install(struct sim *sim, struct node *node, struct session *session)
{
	struct peer *peer = node_peer(sim, node, session->remote);
	__u64 overtaken = peer && peer->pending_in ? peer->pending.request : 0;
	struct sa *sa;

	/* A gateway that dials its client: the session is turned round (loader/daemon_sessions.c, is_our_gateway). */
	if (!node->gateway && session->role == KMS_RESPONDER) {
		session->reversed = true;
		session->inner = prefix_of_host(&node->inner[0]);
		sim->count.reversed++;
	}
	check_inner(sim, node, session);
	if ((role_of(session) == HF_ROLE_GATEWAY) == node->gateway) {
		sim_fault(sim, "%s installs a session as if it were the other of the two", node->name);
		return -EINVAL;
	}
	if (!peer)
		peer = peer_new(sim, node, session);
	pending_clear(peer); /* the newer exchange wins */
	sa = sa_install_in(sim, node, session->remote, session->spi_in, session->key_in, peer->if_id);
	if (sa) {
		peer->pending = *session;
		peer->pending_in = sa;
		peer->pending_ns = sim->now;
		TRACE(sim, node, "installs SPI %08x for %s", session->spi_in, sim->nodes[session->remote].name);
	}
	/* As loader/daemon_sessions.c, on_install: the request of the older one has come to nothing, whatever its end. */
	if (overtaken) {
		keys_cancel(sim, node, overtaken);
		clusters_rejected(sim, node, overtaken);
	}
	return sa ? 0 : -EEXIST;
}

static void fading_end(struct sim *sim, struct node *node, void *what, __u64 n)
{
	sa_remove_in(what);
}

static void expiry_due(struct sim *sim, struct node *node, void *what, __u64 n);

static void set_expiry(struct sim *sim, struct node *node, struct peer *peer, __u64 wait, bool renew)
{
	/* if_id, which of its timers, and what for, in one number. */
	__u64 n = (__u64)peer->if_id << 32 | (++peer->expiry & 0x7fffffff) << 1 | renew;

	sim_node_after(sim, node, true, node_wait(node, wait), expiry_due, NULL, n, false);
}

static struct peer *by_if_id(struct sim *sim, struct node *node, __u32 if_id)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && node->peers[i]->if_id == if_id)
			return node->peers[i];
	return NULL;
}

static void expiry_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct peer *peer = by_if_id(sim, node, (__u32)(n >> 32));

	if (!peer || (peer->expiry & 0x7fffffff) != (n >> 1 & 0x7fffffff))
		return;
	if (!(n & 1)) {
		peer_end(sim, node, peer, "its lifetime has ended");
		return;
	}
	set_expiry(sim, node, peer, peer->established_ns + peer->lifetime_s * SEC - node_now(sim, node), false);
	if (peer->role == HF_ROLE_GATEWAY)
		peer->renewal = keys_request(sim, node, &peer->remote, 1);
}

/* The new states take over. */
static bool adopt(struct sim *sim, struct node *node, struct peer *peer)
{
	const struct session *session = &peer->pending;
	struct sa *out = sa_install_out(sim, node, session->remote, session->spi_out, session->key_out);

	if (!out)
		return false;
	if (peer->up) {
		peer->in->fading = true;
		sim_node_after(sim, node, true, node_wait(node, LINGER_NS), fading_end, peer->in, 0, false);
	}
	peer->in = peer->pending_in;
	peer->pending_in = NULL;
	peer->out = out;
	peer->lifetime_s = session->lifetime_s;
	peer->established_ns = node_now(sim, node);
	set_expiry(sim, node, peer, peer->lifetime_s * SEC / 100 * RENEW_PERCENT, true);
	sim->count.sessions++;
	sim->count.renewals += peer->up;
	peer->up = true;
	TRACE(sim, node, "the session with %s stands", sim->nodes[peer->remote].name);
	return true;
}

static void abandon(struct sim *sim, struct node *node, struct peer *peer)
{
	TRACE(sim, node, "abandons what was pending with %s", sim->nodes[peer->remote].name);
	sim->count.abandoned++;
	pending_clear(peer);
	if (!peer->up)
		peer_free(sim, node, peer);
}

int peer_activate(struct sim *sim, struct node *node, __u64 id)
{
	struct peer *peer = by_pending(sim, node, id);
	struct cluster_session session;

	if (!peer)
		return -ENOENT; /* overtaken */
	session = (struct cluster_session){ .request = peer->pending.request,
					    .by_peer = peer->pending.role == KMS_RESPONDER || peer->started };
	peer->started = false;
	if (!adopt(sim, node, peer)) {
		abandon(sim, node, peer);
		return -EEXIST;
	}
	if (session.request && session.request == peer->renewal)
		peer->renewal = 0;
	if (node->gateway)
		serve_session_up(sim, node, peer);
	clusters_session_up(sim, node, peer, &session);
	return 0;
}

void peer_abandon(struct sim *sim, struct node *node, __u64 id)
{
	struct peer *peer = by_pending(sim, node, id);

	if (peer)
		abandon(sim, node, peer);
}

void peers_abandon_all(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && node->peers[i]->pending_in)
			abandon(sim, node, node->peers[i]);
}

void peer_end(struct sim *sim, struct node *node, struct peer *peer, const char *why)
{
	__u64 request = peer->pending_in ? peer->pending.request : 0;
	int remote = peer->remote;

	TRACE(sim, node, "ends the session with %s: %s", sim->nodes[remote].name, why);
	if (node->gateway)
		serve_unclaim(sim, node, peer, why);
	peer_free(sim, node, peer);
	clusters_session_down(sim, node, remote);
	if (request) {
		keys_cancel(sim, node, request);
		clusters_rejected(sim, node, request);
	}
}
