/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/xfrm.h"

#define ENCAP_SOCKETS_MAX 16

/* An inbound state that is no longer spoken of, and goes when its time has come. */
struct fading {
	struct event *timer;
	struct peers *peers;
	struct hf_addr local;
	__u32 spi;
	struct fading *next;
};

struct peers {
	struct event_base *base;
	struct node *node;
	peers_expiry expiry;
	void *context;
	struct peer *first;
	struct fading *fading;
	__u32 last_if_id;
	struct {
		struct hf_addr local;
		int fd;
	} encap[ENCAP_SOCKETS_MAX];
	size_t n_encap;
};

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

int peers_new(struct event_base *base, struct node *node, peers_expiry expiry, void *context,
	      struct peers **ret_peers)
{
	struct peers *peers = calloc(1, sizeof(*peers));

	if (!peers)
		return -ENOMEM;
	peers->base = base;
	peers->node = node;
	peers->expiry = expiry;
	peers->context = context;
	*ret_peers = peers;
	return 0;
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

/* ESP in UDP reaches the kernel's states only through a socket that says so; one per local address. */
static int need_encap(struct peers *peers, const struct hf_addr *local)
{
	int fd;

	for (size_t i = 0; i < peers->n_encap; i++)
		if (addr_equal(&peers->encap[i].local, local))
			return 0;
	if (peers->n_encap == ENCAP_SOCKETS_MAX)
		return -ENOSPC;
	fd = xfrm_encap_open(local, HF_UDP_ENCAP_PORT);
	if (fd < 0)
		return fd;
	peers->encap[peers->n_encap].local = *local;
	peers->encap[peers->n_encap++].fd = fd;
	return 0;
}

static int add_state(struct peers *peers, __u32 if_id, const struct kms_session *session, enum xfrm_way way)
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
	};

	if (session->encapsulation == KMS_ENCAP_UDP) {
		spec.encap_local = HF_UDP_ENCAP_PORT;
		spec.encap_remote = session->remote_port ? session->remote_port : HF_UDP_ENCAP_PORT;
	}
	return xfrm_state_add(peers->node->xfrm, &spec);
}

static void pending_clear(struct peer *peer)
{
	if (peer->pending) {
		explicit_bzero(peer->pending, sizeof(*peer->pending));
		free(peer->pending);
	}
	peer->pending = NULL;
	peer->pending_id = 0;
}

static void peer_unlink(struct peer *peer)
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

static void expiry_due(evutil_socket_t fd, short what, void *context)
{
	struct peer *peer = context;
	__u64 age_s = (clock_now_ns() - peer->established_ns) / CLOCK_NS_PER_S;
	bool renew = age_s < peer->lifetime_s;
	struct timeval rest = { .tv_sec = renew ? (time_t)(peer->lifetime_s - age_s) : 0 };

	if (renew)
		event_add(peer->expiry, &rest);
	peer->peers->expiry(peer->peers->context, peer, renew);
}

enum hf_role peer_role_of(const struct kms_session *session)
{
	return (session->role == KMS_INITIATOR) != session->reversed ? HF_ROLE_GATEWAY : HF_ROLE_CLIENT;
}

static struct peer *peer_new(struct peers *peers, const struct kms_session *session)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->peers = peers;
	peer->role = peer_role_of(session);
	peer->if_id = free_if_id(peers);
	peer->expiry = evtimer_new(peers->base, expiry_due, peer);
	peer->next = peers->first;
	peers->first = peer;
	return peer;
}

int peers_install(struct peers *peers, struct peer *known, const struct kms_session *session,
		  struct peer **ret_peer)
{
	struct peer *peer = known ? known : peer_new(peers, session);
	struct xfrm_peer ends;
	struct kms_session *copy;
	int err = 0;

	if (!peer)
		return -ENOMEM;
	copy = malloc(sizeof(*copy));
	if (!copy) {
		err = -ENOMEM;
		goto out;
	}
	if (peer->pending) { /* the newer exchange wins */
		xfrm_state_delete(peers->node->xfrm, &peer->pending->local, peer->pending->spi_in);
		pending_clear(peer);
	}
	if (session->encapsulation == KMS_ENCAP_UDP)
		err = need_encap(peers, &session->local);
	if (err)
		goto out;
	err = add_state(peers, peer->if_id, session, XFRM_WAY_IN);
	if (err)
		goto out;
	ends = (struct xfrm_peer){ .local = session->local, .remote = session->remote, .if_id = peer->if_id };
	err = xfrm_policy_add(peers->node->xfrm, &ends);
	if (!err)
		err = datapath_set_peer(peers->node->dp, peer->if_id, &session->remote, peer->role);
	if (err) {
		xfrm_state_delete(peers->node->xfrm, &session->local, session->spi_in);
		goto out;
	}
	*copy = *session;
	peer->pending = copy;
	peer->pending_id = session->id;
	if (!known) {
		peer->local = session->local;
		peer->remote = session->remote;
	}
	*ret_peer = peer;
	return 0;
out:
	free(copy);
	if (!known) {
		xfrm_policy_delete(peers->node->xfrm, peer->if_id);
		datapath_del_peer(peers->node->dp, peer->if_id);
		peer_unlink(peer);
	}
	return err;
}

static void fading_end(struct fading *fading)
{
	struct fading **at = &fading->peers->fading;

	while (*at != fading)
		at = &(*at)->next;
	*at = fading->next;
	xfrm_state_delete(fading->peers->node->xfrm, &fading->local, fading->spi);
	event_free(fading->timer);
	free(fading);
}

static void fading_due(evutil_socket_t fd, short what, void *context)
{
	fading_end(context);
}

static void fade(struct peer *peer)
{
	static const struct timeval linger = { .tv_sec = PEER_LINGER_MS / 1000,
					       .tv_usec = PEER_LINGER_MS % 1000 * 1000 };
	struct fading *fading = calloc(1, sizeof(*fading));

	xfrm_state_delete(peer->peers->node->xfrm, &peer->remote, peer->spi_out);
	if (!fading) {
		xfrm_state_delete(peer->peers->node->xfrm, &peer->local, peer->spi_in);
		return;
	}
	fading->peers = peer->peers;
	fading->local = peer->local;
	fading->spi = peer->spi_in;
	fading->timer = evtimer_new(peer->peers->base, fading_due, fading);
	fading->next = peer->peers->fading;
	peer->peers->fading = fading;
	event_add(fading->timer, &linger);
}

static void peer_adopt(struct peer *peer, const struct kms_session *session)
{
	struct timeval renew = { .tv_sec = session->lifetime_s * PEER_RENEW_PERCENT / 100 };

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
	peer->lifetime_s = session->lifetime_s;
	peer->established_ns = clock_now_ns();
	peer->up = true;
	if (session->lifetime_s)
		event_add(peer->expiry, &renew);
}

__u64 peers_pending_request(const struct peer *peer)
{
	return peer->pending ? peer->pending->request : 0;
}

bool peers_pending_by_peer(const struct peer *peer)
{
	return peer->pending && peer->pending->role == KMS_RESPONDER;
}

int peers_activate(struct peer *peer)
{
	struct node *node = peer->peers->node;
	int err = add_state(peer->peers, peer->if_id, peer->pending, XFRM_WAY_OUT);

	if (err)
		return err;
	if (peer->up) {
		fade(peer);
		if (!addr_equal(&peer->remote, &peer->pending->remote))
			datapath_del_outer(node->dp, &peer->remote, peer->port);
	}
	peer_adopt(peer, peer->pending);
	pending_clear(peer);
	return datapath_set_outer(node->dp, &peer->remote, peer->port, peer->if_id, peer->role == HF_ROLE_CLIENT);
}

bool peers_abandon(struct peer *peer)
{
	xfrm_state_delete(peer->peers->node->xfrm, &peer->pending->local, peer->pending->spi_in);
	pending_clear(peer);
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
		datapath_del_outer(node->dp, &peer->remote, peer->port);
		xfrm_state_delete(node->xfrm, &peer->remote, peer->spi_out);
		xfrm_state_delete(node->xfrm, &peer->local, peer->spi_in);
	}
	xfrm_policy_delete(node->xfrm, peer->if_id);
	datapath_del_peer(node->dp, peer->if_id);
	peer_unlink(peer);
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	while (peers->first)
		peers_remove(peers->first);
	while (peers->fading)
		fading_end(peers->fading);
	for (size_t i = 0; i < peers->n_encap; i++)
		close(peers->encap[i].fd);
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
