/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/peer_limits.h"
#include "selftests/sim/cluster.h"
#include "selftests/sim/datapath.h"
#include "selftests/sim/node.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

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

/* ---- what stays for a while ---- */

static void fading_end(struct peer *peer, struct sa *sa)
{
	struct sa **at = &peer->fading;

	while (*at != sa)
		at = &(*at)->next_fading;
	*at = sa->next_fading;
	sa_remove_in(sa);
}

/* As loader/peer_fade.c, may_be_used. */
static bool may_be_used(const struct peer *peer, const struct sa *sa, __u64 now)
{
	if (!peer->up)
		return false;
	if (sa->abandoned_ns)
		return sa->used || peer->established_ns < sa->abandoned_ns ||
		       now < peer->established_ns + PEER_LINGER_MS * MS;
	return !peer->in->taken;
}

static bool another_is_used(const struct peer *peer, const struct sa *sa)
{
	for (const struct sa *other = peer->fading; other; other = other->next_fading)
		if (other != sa && other->used)
			return true;
	return false;
}

static void fading_due(struct sim *sim, struct node *node, void *what, __u64 if_id)
{
	struct sa *sa = what;
	struct peer *peer = node_peer(sim, node, sa->sender);
	__u64 now = node_now(sim, node);

	if (!sa->in || !peer || peer->if_id != if_id)
		return;
	sa->used = sa->taken != sa->looked && !another_is_used(peer, sa);
	if (sa->used) {
		sa->looked = sa->taken;
		sa->until_ns = now + PEER_LINGER_UNUSED_MS * MS;
	}
	if (now < sa->until_ns && may_be_used(peer, sa, now))
		sim_node_after(sim, node, true, node_wait(node, PEER_LINGER_MS * MS), fading_due, sa, if_id, false);
	else
		fading_end(peer, sa);
}

static void make_room(struct peer *peer)
{
	struct sa *oldest = NULL;
	unsigned int n = 0;

	for (struct sa *sa = peer->fading; sa; sa = sa->next_fading, n++)
		if (!sa->used || !oldest)
			oldest = sa;
	if (n >= PEER_FADING_MAX)
		fading_end(peer, oldest);
}

/* abandoned_ns: 0 where it was in use. */
static void fade(struct sim *sim, struct node *node, struct peer *peer, struct sa *sa, __u64 abandoned_ns)
{
	make_room(peer);
	sa->fading = true;
	sa->abandoned_ns = abandoned_ns;
	sa->until_ns = node_now(sim, node) + PEER_LINGER_UNUSED_MS * MS;
	sa->next_fading = peer->fading;
	peer->fading = sa;
	sim_node_after(sim, node, true, node_wait(node, PEER_LINGER_MS * MS), fading_due, sa, peer->if_id, false);
}

static void renew_soon(struct sim *sim, struct node *node, struct peer *peer);

/* As loader/peer.c, pending_drop: whoever has dialled may be sent to in the new way already. */
static void pending_drop(struct sim *sim, struct node *node, struct peer *peer)
{
	struct sa *sa = peer->pending_in;

	peer->pending_in = NULL;
	if (sa && peer->up && peer->pending.role == KMS_INITIATOR) {
		fade(sim, node, peer, sa, node_now(sim, node));
		renew_soon(sim, node, peer);
	} else {
		sa_remove_in(sa);
	}
}

static void peer_free(struct sim *sim, struct node *node, struct peer *peer)
{
	while (peer->fading)
		fading_end(peer, peer->fading);
	sa_remove_in(peer->pending_in);
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
	__u64 overtaken = 0;
	struct sa *sa;

	if (!node->gateway && session->role == KMS_RESPONDER && !cluster_names(&node->clusters[0], session->remote))
		return -EACCES; /* no gateway of ours any more */
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
	sa = sa_install_in(sim, node, session->remote, session->spi_in, session->key_in, peer->if_id);
	if (sa) {
		overtaken = peer->pending_in ? peer->pending.request : 0;
		pending_drop(sim, node, peer); /* the newer exchange wins */
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
	if (!sa && !peer->up && !peer->pending_in)
		peer_free(sim, node, peer);
	return sa ? 0 : -EEXIST;
}

static void expiry_due(struct sim *sim, struct node *node, void *what, __u64 n);

static void set_expiry(struct sim *sim, struct node *node, struct peer *peer, __u64 wait)
{
	/* if_id, and which of its timers, in one number. */
	sim_node_after(sim, node, true, node_wait(node, wait), expiry_due, NULL,
		       (__u64)peer->if_id << 32 | (++peer->expiry & 0xffffffff), false);
}

/* As loader/peer_renew.c, peer_set_expiry. */
static void set_renewal(struct sim *sim, struct node *node, struct peer *peer)
{
	__u64 latest = peer->lifetime_s * SEC / 100 * PEER_RENEW_PERCENT, now = node_now(sim, node);
	__u64 after = sim->shape.rekey_s * SEC - rng_below(&sim->rng, sim->shape.rekey_s * SEC / 10);

	after = peer->established_ns + (after < latest ? after : latest);
	set_expiry(sim, node, peer, after > now ? after - now : 0);
}

static void renew_soon(struct sim *sim, struct node *node, struct peer *peer)
{
	set_expiry(sim, node, peer, PEER_RENEW_AGAIN_MIN_MS * MS);
}

static struct peer *by_if_id(struct sim *sim, struct node *node, __u32 if_id)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && node->peers[i]->if_id == if_id)
			return node->peers[i];
	return NULL;
}

/* As loader/peer_renew.c, peer_expiry_due, and daemon_on_expiry. */
static void expiry_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct peer *peer = by_if_id(sim, node, (__u32)(n >> 32));
	__u64 now = node_now(sim, node), end, wait;

	if (!peer || (peer->expiry & 0xffffffff) != (n & 0xffffffff))
		return;
	end = peer->established_ns + peer->lifetime_s * SEC;
	if (now >= end) {
		peer_end(sim, node, peer, "its lifetime has ended");
		return;
	}
	wait = (end - now) / 8;
	wait = wait > PEER_RENEW_AGAIN_MAX_MS * MS ? PEER_RENEW_AGAIN_MAX_MS * MS :
	       wait < PEER_RENEW_AGAIN_MIN_MS * MS ? PEER_RENEW_AGAIN_MIN_MS * MS : wait;
	set_expiry(sim, node, peer, wait < end - now ? wait : end - now);
	if (peer->role == HF_ROLE_CLIENT) {
		datapath_control(sim, node, peer, HF_CONTROL_REKEY, 0);
		return;
	}
	if (now + PEER_ENDING_MS * MS >= end)
		clusters_prefer_others(sim, node, peer);
	clusters_renew(sim, node, peer);
}

/* The new states take over. */
static bool adopt(struct sim *sim, struct node *node, struct peer *peer)
{
	const struct session *session = &peer->pending;
	struct sa *out = sa_install_out(sim, node, session->remote, session->spi_out, session->key_out);

	if (!out)
		return false;
	if (peer->up)
		fade(sim, node, peer, peer->in, 0);
	peer->in = peer->pending_in;
	peer->pending_in = NULL;
	peer->out = out;
	peer->lifetime_s = session->lifetime_s;
	peer->established_ns = node_now(sim, node);
	set_renewal(sim, node, peer);
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
	pending_drop(sim, node, peer);
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

/* As loader/peer_adopt.c, sweep_state: of an exchange under way, or one that was replaced; the run before has not said which. */
static void sweep(struct sim *sim, struct node *node, struct sa *sa)
{
	struct peer *peer = node_peer(sim, node, sa->sender);

	if (peer && peer->in == sa)
		return;
	if (!peer || peer->if_id != sa->if_id) {
		sa_remove_in(sa);
		return;
	}
	fade(sim, node, peer, sa, node_now(sim, node));
	renew_soon(sim, node, peer);
}

static void adopt_peer(struct sim *sim, struct node *node, struct peer *peer)
{
	__u64 now = node_now(sim, node), end = peer->established_ns + peer->lifetime_s * SEC;

	peer->pending_in = NULL; /* the state is swept */
	peer->fading = NULL;
	peer->started = false;
	peer->renewal = 0;
	peer->hold.n = 0;
	if (!peer->up || now >= end) {
		peer_free(sim, node, peer);
		return;
	}
	sim->count.adopted++;
	TRACE(sim, node, "adopts the session with %s", sim->nodes[peer->remote].name);
	set_renewal(sim, node, peer);
	if (node->gateway && peer->claimed)
		serve_claim(sim, node, peer);
	else if (node->gateway)
		peer->told = false;
}

void peers_adopt(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i])
			adopt_peer(sim, node, node->peers[i]);
	sa_each_in(sim, node, sweep);
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
