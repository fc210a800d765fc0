/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "loader/mapping.h"
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
	struct mapping *mapping;
	struct event *mapping_readable;
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

static void follow(void *context, const struct mapping_change *change);

static void mapping_readable(evutil_socket_t fd, short what, void *context)
{
	mapping_dispatch(((struct peers *)context)->mapping);
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
	err = mapping_open(follow, peers, &peers->mapping);
	if (!err) {
		peers->mapping_readable = event_new(base, mapping_fd(peers->mapping), EV_READ | EV_PERSIST, mapping_readable,
						    peers);
		err = peers->mapping_readable && !event_add(peers->mapping_readable, NULL) ? 0 : -ENOMEM;
	}
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
	secret_free(peer->pending, sizeof(*peer->pending));
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
	copy = secret_alloc(sizeof(*copy));
	if (!copy) {
		err = -ENOMEM;
		goto out;
	}
	if (peer->pending) { /* the newer exchange wins */
		xfrm_state_delete(peers->node->xfrm, &peer->pending->local, peer->pending->spi_in);
		pending_clear(peer);
	}
	*copy = *session;
	/* Its port is known from the session before, where something on the way translates it. */
	if (session->encapsulation == KMS_ENCAP_UDP && peer->up && peer->port && addr_equal(&peer->remote, &session->remote))
		copy->remote_port = peer->port;
	if (session->encapsulation == KMS_ENCAP_UDP)
		err = need_encap(peers, &session->local);
	if (err)
		goto out;
	err = add_state(peers, peer->if_id, copy, XFRM_WAY_IN);
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
	peer->pending = copy;
	peer->pending_id = session->id;
	if (!known) {
		peer->local = session->local;
		peer->remote = session->remote;
	}
	*ret_peer = peer;
	return 0;
out:
	secret_free(copy, sizeof(*copy));
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
	peer->not_after = session->not_after;
	peer->certificate = session->certificate;
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

static int enter_outer(struct peer *peer)
{
	return datapath_set_outer(peer->peers->node->dp, &peer->remote, peer->port, peer->if_id,
				  peer->role == HF_ROLE_CLIENT);
}

/*
 * The peer is no longer at this address and port. Peers behind one translator
 * share its address, and, until a packet has shown it, the port that is
 * assumed: then the entry is another's.
 */
static void leave_outer(struct peer *peer, const struct hf_addr *remote, __u16 port)
{
	for (struct peer *other = peer->peers->first; other; other = other->next) {
		if (other == peer || !other->up || other->port != port || !addr_equal(&other->remote, remote))
			continue;
		enter_outer(other);
		return;
	}
	datapath_del_outer(peer->peers->node->dp, remote, port);
}

int peers_activate(struct peer *peer)
{
	struct hf_addr remote = peer->remote;
	__u16 port = peer->port;
	bool again = peer->up;
	int err = add_state(peer->peers, peer->if_id, peer->pending, XFRM_WAY_OUT);

	if (err)
		return err;
	if (again)
		fade(peer);
	peer_adopt(peer, peer->pending);
	pending_clear(peer);
	if (again && (port != peer->port || !addr_equal(&remote, &peer->remote)))
		leave_outer(peer, &remote, port);
	return enter_outer(peer);
}

static int move_state(const struct peer *peer, enum xfrm_way way, __u32 spi, __u16 port)
{
	struct xfrm_state_spec spec = { .way = way, .local = peer->local, .remote = peer->remote, .spi = spi,
					.if_id = peer->if_id, .algorithm = peer->algorithm,
					.lifetime_s = peer->lifetime_s, .encap_local = HF_UDP_ENCAP_PORT,
					.encap_remote = port };

	return xfrm_state_move(peer->peers->node->xfrm, &spec);
}

/* A packet may come before the session stands in both directions. */
static void follow_pending(struct peer *peer, __u16 port)
{
	struct kms_session *pending = peer->pending;
	struct peer like = { .peers = peer->peers, .local = pending->local, .remote = pending->remote,
			     .if_id = peer->if_id, .algorithm = pending->algorithm, .lifetime_s = pending->lifetime_s };

	pending->remote_port = port;
	move_state(&like, XFRM_WAY_IN, pending->spi_in, port);
}

/*
 * The peer's packets come from another port: something translates addresses. What goes to it goes there from now on. Not
 * followed: another address, for which the states would have to be made anew.
 */
static void follow(void *context, const struct mapping_change *change)
{
	struct peer *peer = peers_by_if_id(context, change->if_id);
	__u16 before;
	int err;

	if (peer && peer->pending && peer->pending->spi_in == change->spi) {
		if (addr_equal(&peer->pending->remote, &change->remote))
			follow_pending(peer, change->port);
		return;
	}
	if (!peer || !peer->up || !peer->port || peer->spi_in != change->spi || peer->port == change->port ||
	    !addr_equal(&peer->remote, &change->remote))
		return;
	log_info("%s (%s) sends from port %u, before: %u", addr_text(&peer->remote).s, peer->name, change->port, peer->port);
	before = peer->port;
	peer->port = change->port;
	leave_outer(peer, &peer->remote, before);
	err = enter_outer(peer);
	if (!err)
		err = move_state(peer, XFRM_WAY_IN, peer->spi_in, peer->port);
	if (!err)
		err = move_state(peer, XFRM_WAY_OUT, peer->spi_out, peer->port);
	if (err)
		log_warning("%s (%s): port %u: %s", addr_text(&peer->remote).s, peer->name, peer->port, strerror(-err));
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
		leave_outer(peer, &peer->remote, peer->port);
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
	if (peers->mapping_readable)
		event_free(peers->mapping_readable);
	mapping_close(peers->mapping);
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
