/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Peers, and the order in which a session comes and goes: its first and second
 * half, and the end.
 */
#include "loader/peer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/secret.h"
#include "loader/xfrm.h"

static const char *const algorithm_names[] = {
	[KMS_AES_256_GCM] = "AES-256-GCM",
	[KMS_AES_128_GCM] = "AES-128-GCM",
	[KMS_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

const char *peer_algorithm_name(enum kms_algorithm algorithm)
{
	return algorithm < sizeof(algorithm_names) / sizeof(*algorithm_names) && algorithm_names[algorithm] ?
		       algorithm_names[algorithm] : "unknown";
}

static void mapping_readable(evutil_socket_t fd, short what, void *context)
{
	mapping_dispatch(((struct peers *)context)->mapping);
}

static void expire_readable(evutil_socket_t fd, short what, void *context)
{
	expire_dispatch(((struct peers *)context)->expire);
}

static int hear(struct peers *peers, int fd, event_callback_fn readable, struct event **ret_event)
{
	*ret_event = event_new(peers->base, fd, EV_READ | EV_PERSIST, readable, peers);
	return *ret_event && !event_add(*ret_event, NULL) ? 0 : -ENOMEM;
}

int peers_new(struct event_base *base, struct node *node, peers_expiry expiry, void *context,
	      struct peers **ret_peers)
{
	struct peers *peers = calloc(1, sizeof(*peers));
	int err;

	if (!peers)
		return -ENOMEM;
	peers->base = base;
	peers->node = node;
	peers->expiry = expiry;
	peers->context = context;
	err = mapping_open(peers_follow, peers, &peers->mapping);
	if (!err)
		err = hear(peers, mapping_fd(peers->mapping), mapping_readable, &peers->mapping_readable);
	if (!err)
		err = expire_open(peers_on_limit, peers, &peers->expire);
	if (!err)
		err = hear(peers, expire_fd(peers->expire), expire_readable, &peers->expire_readable);
	if (err)
		peers_free(peers);
	else
		*ret_peers = peers;
	return err;
}

struct peer *peers_next(struct peers *peers, struct peer *peer)
{
	return peer ? peer->next : peers->first;
}

struct peer *peers_find(struct peers *peers, enum hf_role role, const struct hf_addr *remote)
{
	for (struct peer *peer = peers->first; peer; peer = peer->next)
		if (peer->role == role && addr_equal(&peer->remote, remote))
			return peer;
	return NULL;
}

struct peer *peers_by_if_id(struct peers *peers, __u32 if_id)
{
	for (struct peer *peer = peers->first; peer; peer = peer->next)
		if (peer->if_id == if_id)
			return peer;
	return NULL;
}

struct peer *peers_by_pending(struct peers *peers, __u64 id)
{
	for (struct peer *peer = peers->first; peer; peer = peer->next)
		if (peer->pending && peer->pending_id == id)
			return peer;
	return NULL;
}

static __u32 free_if_id(struct peers *peers)
{
	do {
		peers->last_if_id = (peers->last_if_id + 1) % (XFRM_IF_ID_COUNT - 1);
	} while (!peers->last_if_id || peers_by_if_id(peers, XFRM_IF_ID_BASE | peers->last_if_id));
	return XFRM_IF_ID_BASE | peers->last_if_id;
}

static int add_state(struct peers *peers, __u32 if_id, const struct kms_session *session,
		     const struct xfrm_limits *limits, enum xfrm_way way)
{
	struct xfrm_state_spec spec = {
		.way = way,
		.local = session->local,
		.remote = session->remote,
		.spi = way == XFRM_WAY_IN ? session->spi_in : session->spi_out,
		.if_id = if_id,
		.algorithm = session->algorithm,
		.key = way == XFRM_WAY_IN ? session->key_in : session->key_out,
		.key_len = session->key_len,
		.lifetime_s = session->lifetime_s,
		.limits = *limits,
	};

	if (session->encapsulation == KMS_ENCAP_UDP) {
		spec.encap_local = HF_UDP_ENCAP_PORT;
		spec.encap_remote = session->remote_port ? session->remote_port : HF_UDP_ENCAP_PORT;
	}
	return xfrm_state_add(peers->node->xfrm, &spec);
}

static void pending_clear(struct peer *peer)
{
	secret_free(peer->pending, sizeof(*peer->pending));
	peer->pending = NULL;
	peer->pending_id = 0;
}

/*
 * Who has dialled has confirmed, and may be sent to in the new way already: that is heard until the next exchange, which is
 * not left to whoever began this one.
 */
static void pending_drop(struct peer *peer)
{
	if (!peer->pending)
		return;
	if (peer->up && peer->pending->role == KMS_INITIATOR) {
		peer_fade_inbound(peer, &peer->pending->local, peer->pending->spi_in, clock_now_ns());
		peer_renew_soon(peer);
	} else {
		xfrm_state_delete(peer->peers->node->xfrm, &peer->pending->local, peer->pending->spi_in);
	}
	pending_clear(peer);
}

void peer_unlink(struct peer *peer)
{
	struct peer **at = &peer->peers->first;

	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	pending_clear(peer);
	if (peer->expiry)
		event_free(peer->expiry);
	free(peer);
}

enum hf_role peer_role_of(const struct kms_session *session)
{
	return (session->role == KMS_INITIATOR) != session->reversed ? HF_ROLE_GATEWAY : HF_ROLE_CLIENT;
}

struct peer *peer_new(struct peers *peers, const struct kms_session *session)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->peers = peers;
	peer->role = peer_role_of(session);
	peer->if_id = free_if_id(peers);
	peer->expiry = evtimer_new(peers->base, peer_expiry_due, peer);
	peer->next = peers->first;
	peers->first = peer;
	return peer;
}

/* What goes to the peer goes between these ends from now on. */
static int set_ends(struct peer *peer, const struct hf_addr *local, const struct hf_addr *remote)
{
	struct node *node = peer->peers->node;
	struct xfrm_peer ends = { .local = *local, .remote = *remote, .if_id = peer->if_id };
	int err = xfrm_policy_add(node->xfrm, &ends);

	return err ? err : datapath_set_peer(node->dp, peer->if_id, remote, peer->role);
}

/*
 * All of the first half that can fail. On failure what the peer had is as it was. The policies of a session that is up
 * let the new inbound state through as well, and lead out where they did, until the exchange has come to its end.
 */
static int install_inbound(struct peer *peer, const struct kms_session *session, const struct xfrm_limits *limits)
{
	struct peers *peers = peer->peers;
	int err = session->encapsulation == KMS_ENCAP_UDP ? peers_need_encap(peers, &session->local) : 0;

	if (!err)
		err = add_state(peers, peer->if_id, session, limits, XFRM_WAY_IN);
	if (err)
		return err;
	err = peer->up ? 0 : set_ends(peer, &session->local, &session->remote);
	if (!err)
		return 0;
	xfrm_state_delete(peers->node->xfrm, &session->local, session->spi_in);
	if (peer->pending)
		set_ends(peer, &peer->pending->local, &peer->pending->remote);
	return err;
}

int peers_install(struct peers *peers, struct peer *known, const struct kms_session *session,
		  struct peer **ret_peer)
{
	struct peer *peer = known ? known : peer_new(peers, session);
	struct kms_session *copy = secret_alloc(sizeof(*copy));
	struct xfrm_limits limits = peers_draw_limits(&peers->limits);
	int err = peer && copy ? 0 : -ENOMEM;

	if (err)
		goto out;
	*copy = *session;
	/* Its port is known from the session before, where something on the way translates it. */
	if (session->encapsulation == KMS_ENCAP_UDP && peer->up && peer->port && addr_equal(&peer->remote, &session->remote))
		copy->remote_port = peer->port;
	err = install_inbound(peer, copy, &limits);
	if (err)
		goto out;
	pending_drop(peer); /* the newer exchange wins, now that it is there */
	peer->pending = copy;
	peer->pending_id = session->id;
	peer->pending_limits = limits;
	peer->pending_spent = false;
	if (!known) {
		peer->local = session->local;
		peer->remote = session->remote;
	}
	*ret_peer = peer;
	return 0;
out:
	secret_free(copy, sizeof(*copy));
	if (peer && !known) {
		xfrm_policy_delete(peers->node->xfrm, peer->if_id);
		datapath_del_peer(peers->node->dp, peer->if_id);
		peer_unlink(peer);
	}
	return err;
}

void peer_take(struct peer *peer, const struct kms_session *session, __u64 established_ns)
{
	peer->local = session->local;
	peer->remote = session->remote;
	peer->port = session->encapsulation == KMS_ENCAP_UDP ?
			     (session->remote_port ? session->remote_port : HF_UDP_ENCAP_PORT) : 0;
	memcpy(peer->name, session->name, sizeof(peer->name));
	memcpy(peer->inner, session->inner, sizeof(peer->inner));
	peer->n_inner = session->n_inner;
	peer->spi_in = session->spi_in;
	peer->spi_out = session->spi_out;
	peer->algorithm = session->algorithm;
	peer->proven = session->proven;
	peer->not_after = session->not_after;
	peer->lifetime_s = session->lifetime_s;
	peer->established_ns = established_ns;
	peer->limits = peer->pending_limits;
	peer->renewals += peer->up;
	peer->certificate = session->certificate;
	peer->up = true;
	peer_set_expiry(peer);
}

__u64 peers_pending_request(const struct peer *peer)
{
	return peer->pending ? peer->pending->request : 0;
}

bool peers_pending_by_peer(const struct peer *peer)
{
	return peer->pending && peer->pending->role == KMS_RESPONDER;
}

/*
 * The outbound state. Where one is in use already, the policies are written anew even if the ends are the same: from
 * 6.13 on the kernel looks among the states that a policy has used before it looks for the one that was added last
 * (pol->state_cache_list in xfrm_state_find()).
 */
static int install_outbound(struct peer *peer)
{
	const struct kms_session *session = peer->pending;
	int err = add_state(peer->peers, peer->if_id, session, &peer->pending_limits, XFRM_WAY_OUT);

	if (err || !peer->up)
		return err;
	err = set_ends(peer, &session->local, &session->remote);
	if (!err)
		return 0;
	xfrm_state_delete(peer->peers->node->xfrm, &session->remote, session->spi_out);
	set_ends(peer, &peer->local, &peer->remote);
	return err;
}

int peers_activate(struct peer *peer)
{
	const struct peer before = *peer;
	int err = install_outbound(peer);

	if (err)
		return err;
	peer_take(peer, peer->pending, clock_now_ns());
	/* Before the old states go: a crash in between finds a session whole. */
	peers_record(peer);
	if (before.up)
		peer_fade(&before);
	if (peer->pending_spent)
		peer_expiry_after(peer, 0);
	pending_clear(peer);
	if (before.up && (before.port != peer->port || !addr_equal(&before.remote, &peer->remote)))
		peer_leave_outer(peer, &before.remote, before.port);
	return peer_enter_outer(peer);
}

bool peers_abandon(struct peer *peer)
{
	pending_drop(peer);
	if (peer->up)
		return false;
	peers_remove(peer);
	return true;
}

void peers_remove(struct peer *peer)
{
	struct node *node = peer->peers->node;

	if (peer->pending)
		xfrm_state_delete(node->xfrm, &peer->pending->local, peer->pending->spi_in);
	if (peer->up) {
		peer_leave_outer(peer, &peer->remote, peer->port);
		xfrm_state_delete(node->xfrm, &peer->remote, peer->spi_out);
		xfrm_state_delete(node->xfrm, &peer->local, peer->spi_in);
	}
	xfrm_policy_delete(node->xfrm, peer->if_id);
	datapath_del_peer(node->dp, peer->if_id);
	datapath_del_session(node->dp, peer->if_id);
	peer_unlink(peer);
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	while (peers->first && !peers->node->leave)
		peers_remove(peers->first);
	while (peers->first)
		peer_unlink(peers->first);
	peers_end_fading(peers);
	if (peers->mapping_readable)
		event_free(peers->mapping_readable);
	mapping_close(peers->mapping);
	if (peers->expire_readable)
		event_free(peers->expire_readable);
	expire_close(peers->expire);
	if (!peers->keeper)
		peers_find_keeper(peers, false); /* one that the run before needed, and this one did not */
	for (size_t i = 0; i < peers->n_encap; i++)
		close(peers->encap[i].fd);
	if (peers->node->leave)
		keeper_close(peers->keeper);
	else
		keeper_end(peers->keeper);
	free(peers);
}

int peers_read_use(const struct peer *peer, struct peer_use *ret_use)
{
	struct xfrm_state_use in, out;
	int err = xfrm_state_read(peer->peers->node->xfrm, &peer->local, peer->spi_in, &in);

	if (!err)
		err = xfrm_state_read(peer->peers->node->xfrm, &peer->remote, peer->spi_out, &out);
	if (err)
		return err;
	ret_use->bytes_in = in.bytes;
	ret_use->packets_in = in.packets;
	ret_use->bytes_out = out.bytes;
	ret_use->packets_out = out.packets;
	return 0;
}
