/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "loader/expire.h"
#include "loader/keeper.h"
#include "loader/mapping.h"
#include "loader/session_record.h"
#include "loader/shortage.h"
#include "loader/xfrm.h"

/* While a renewal is due it is asked for again after an eighth of the time that is left, within these. */
#define RENEW_AGAIN_MIN_NS CLOCK_NS_PER_S
#define RENEW_AGAIN_MAX_NS (5 * CLOCK_NS_PER_S)
/* Between soft and hard limit there is room for a renewal, even with small limits and a fast line. */
#define ROOM_BYTES (1ull << 30)
#define ROOM_PACKETS (1ull << 20)

/* A state that is no longer spoken of, and goes when its time has come. */
struct fading {
	struct event *timer;
	struct peers *peers;
	struct hf_addr dst;
	__u32 spi;
	__u32 if_id;
	__u64 until_ns; /* the latest that it stays: while its successor is not used, or none has come */
	__u64 abandoned_ns; /* 0: it was in use */
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
	struct expire *expire;
	struct event *expire_readable;
	struct peers_limits limits;
	struct keeper_socket encap[KEEPER_SOCKETS_MAX];
	size_t n_encap;
	struct keeper *keeper; /* of the same; NULL: none needed yet, or there can be none */
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
static void on_limit(void *context, const struct expire_notice *notice);

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
	err = mapping_open(follow, peers, &peers->mapping);
	if (!err)
		err = hear(peers, mapping_fd(peers->mapping), mapping_readable, &peers->mapping_readable);
	if (!err)
		err = expire_open(on_limit, peers, &peers->expire);
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

/* The keeper of the run before, if there is one, with the sockets that it has. */
static void find_keeper(struct peers *peers, bool start)
{
	int err;

	if (peers->keeper || !*peers->node->keeper_path)
		return;
	err = keeper_open(peers->node->keeper_path, start, &peers->keeper, peers->encap, &peers->n_encap);
	if (err && (start || err != -ENOENT))
		log_warning("the keeper of UDP port %d: %s: sessions with ESP in UDP would not survive a crash",
			    HF_UDP_ENCAP_PORT, strerror(-err));
}

/* ESP in UDP reaches the kernel's states only through a socket that says so; one per local address. */
static int need_encap(struct peers *peers, const struct hf_addr *local)
{
	int fd, err;

	if (!peers->n_encap)
		find_keeper(peers, true);

	for (size_t i = 0; i < peers->n_encap; i++)
		if (addr_equal(&peers->encap[i].local, local))
			return 0;
	if (peers->n_encap == KEEPER_SOCKETS_MAX)
		return -ENOSPC;
	fd = xfrm_encap_open(local, HF_UDP_ENCAP_PORT);
	if (fd < 0)
		return fd;
	peers->encap[peers->n_encap].local = *local;
	peers->encap[peers->n_encap++].fd = fd;
	err = peers->keeper ? keeper_add(peers->keeper, local, fd) : 0;
	if (err)
		log_warning("the keeper of UDP port %d: %s", HF_UDP_ENCAP_PORT, strerror(-err));
	return 0;
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

/* Uniform within the last tenth before it: those who began together do not go on together. */
static __u64 jitter(__u64 limit)
{
	__u64 tenth = limit / 10, number;

	if (!tenth || getrandom(&number, sizeof(number), 0) != sizeof(number))
		return limit;
	return limit - number % tenth;
}

static struct xfrm_limits draw_limits(const struct peers_limits *limits)
{
	__u64 bytes = limits->bytes, packets = limits->packets;

	if (!bytes || !packets)
		return (struct xfrm_limits){ 0 };
	return (struct xfrm_limits){
		.soft_bytes = jitter(bytes),
		.hard_bytes = bytes + (bytes > ROOM_BYTES ? bytes : ROOM_BYTES),
		.soft_packets = jitter(packets),
		.hard_packets = packets + (packets > ROOM_PACKETS ? packets : ROOM_PACKETS),
	};
}

static void expiry_after(struct peer *peer, __u64 wait_ns)
{
	struct timeval tv = { .tv_sec = (time_t)(wait_ns / CLOCK_NS_PER_S),
			      .tv_usec = (suseconds_t)(wait_ns % CLOCK_NS_PER_S / 1000) };

	event_add(peer->expiry, &tv);
}

/* The time that new keys are due: by our own policy, but before the end that was agreed on. */
static void set_expiry(struct peer *peer)
{
	__u64 latest_ns = peer->lifetime_s * CLOCK_NS_PER_S * PEER_RENEW_PERCENT / 100;
	__u64 after_ns = jitter(peer->peers->limits.rekey_ms * CLOCK_NS_PER_MS);
	__u64 now = clock_now_ns();

	if (!peer->lifetime_s)
		return;
	if (!after_ns || after_ns > latest_ns)
		after_ns = latest_ns;
	peer->renew_ns = peer->established_ns + after_ns;
	expiry_after(peer, peer->renew_ns > now ? peer->renew_ns - now : 0);
}

void peers_set_limits(struct peers *peers, const struct peers_limits *limits)
{
	peers->limits = *limits;
	for (struct peer *peer = peers->first; peer; peer = peer->next)
		if (peer->up)
			set_expiry(peer);
}

/* New keys are due, or it is too late for them. Asks again until they are there: an answer may fail to come. */
static void expiry_due(evutil_socket_t fd, short what, void *context)
{
	struct peer *peer = context;
	__u64 now = clock_now_ns(), end_ns = peer->established_ns + peer->lifetime_s * CLOCK_NS_PER_S;
	bool renew = !peer->lifetime_s || now < end_ns;
	__u64 wait_ns = RENEW_AGAIN_MAX_NS;

	if (renew && peer->lifetime_s) {
		__u64 left_ns = end_ns - now;

		wait_ns = left_ns / 8 > RENEW_AGAIN_MAX_NS ? RENEW_AGAIN_MAX_NS :
			  left_ns / 8 < RENEW_AGAIN_MIN_NS ? RENEW_AGAIN_MIN_NS : left_ns / 8;
		if (wait_ns > left_ns)
			wait_ns = left_ns;
	}
	if (renew)
		expiry_after(peer, wait_ns);
	peer->peers->expiry(peer->peers->context, peer, renew);
}

/* The kernel tells of a soft limit once; if it could not, what was carried is looked at. */
static void look_at_limits(struct peers *peers)
{
	struct peer_use use;

	for (struct peer *peer = peers->first; peer; peer = peer->next) {
		const struct xfrm_limits *limits = &peer->limits;

		if (!peer->up || !limits->soft_bytes)
			continue;
		/* States that are gone have reached their hard limit: the renewal will tell. */
		if (peers_read_use(peer, &use) || use.bytes_in >= limits->soft_bytes || use.bytes_out >= limits->soft_bytes ||
		    use.packets_in >= limits->soft_packets || use.packets_out >= limits->soft_packets)
			expiry_after(peer, 0);
	}
}

/* Of states that were replaced meanwhile nothing is to be done. */
static void on_limit(void *context, const struct expire_notice *notice)
{
	struct peers *peers = context;
	struct peer *peer = notice ? peers_by_if_id(peers, notice->if_id) : NULL;

	if (!notice)
		look_at_limits(peers);
	if (peer && peer->pending && notice->spi == peer->pending->spi_in)
		peer->pending_spent = true;
	if (!peer || !peer->up || (notice->spi != peer->spi_in && notice->spi != peer->spi_out))
		return;
	if (notice->hard)
		peers->expiry(peers->context, peer, false);
	else
		expiry_due(-1, 0, peer);
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
	struct xfrm_limits limits;
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
	limits = draw_limits(&peers->limits);
	err = add_state(peers, peer->if_id, copy, &limits, XFRM_WAY_IN);
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
	xfrm_state_delete(fading->peers->node->xfrm, &fading->dst, fading->spi);
	event_free(fading->timer);
	free(fading);
}

/* Whether the other end may still send through it: it has not begun with what came after, or nothing came. */
static bool may_be_used(const struct fading *fading)
{
	struct peer *peer = peers_by_if_id(fading->peers, fading->if_id);
	struct xfrm_state_use use;

	if (!peer || !peer->up)
		return false;
	if (fading->abandoned_ns)
		return peer->established_ns < fading->abandoned_ns;
	return !xfrm_state_read(fading->peers->node->xfrm, &peer->local, peer->spi_in, &use) && !use.packets;
}

static void fading_due(evutil_socket_t fd, short what, void *context)
{
	static const struct timeval again = { .tv_sec = PEER_LINGER_MS / 1000 };
	struct fading *fading = context;

	if (clock_now_ns() < fading->until_ns && may_be_used(fading))
		event_add(fading->timer, &again);
	else
		fading_end(fading);
}

static struct fading *fade_state(const struct peer *peer, const struct hf_addr *dst, __u32 spi, unsigned int linger_ms)
{
	struct peers *peers = peer->peers;
	struct timeval linger = { .tv_sec = linger_ms / 1000, .tv_usec = linger_ms % 1000 * 1000 };
	struct fading *fading = calloc(1, sizeof(*fading));

	if (fading)
		fading->timer = evtimer_new(peers->base, fading_due, fading);
	if (!fading || !fading->timer) {
		free(fading);
		xfrm_state_delete(peers->node->xfrm, dst, spi);
		return NULL;
	}
	fading->peers = peers;
	fading->if_id = peer->if_id;
	fading->dst = *dst;
	fading->spi = spi;
	fading->next = peers->fading;
	peers->fading = fading;
	event_add(fading->timer, &linger);
	return fading;
}

static void fade_inbound(const struct peer *peer, const struct hf_addr *local, __u32 spi, __u64 abandoned_ns)
{
	struct fading *fading = fade_state(peer, local, spi, PEER_LINGER_MS);

	if (!fading)
		return;
	fading->until_ns = clock_now_ns() + PEER_LINGER_UNUSED_MS * CLOCK_NS_PER_MS;
	fading->abandoned_ns = abandoned_ns;
}

/* The kernel takes the outbound state that was added last; this is the one before. */
static void fade(const struct peer *before)
{
	fade_state(before, &before->remote, before->spi_out, PEER_LINGER_OUT_MS);
	fade_inbound(before, &before->local, before->spi_in, 0);
}

static void peer_take(struct peer *peer, const struct kms_session *session, __u64 established_ns)
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
	set_expiry(peer);
}

void peers_record(struct peer *peer)
{
	struct node *node = peer->peers->node;
	struct hf_session record;
	int err;

	if (!peer->up)
		return;
	session_record_fill(peer, node->grants, &record);
	err = datapath_set_session(node->dp, peer->if_id, &record);
	if (err && !shortage_met(err, true, "recording a session: a crash would end it"))
		log_warning("%s (%s): its session cannot be recorded (%s): a crash would end it", addr_text(&peer->remote).s,
			    peer->name, strerror(-err));
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
	const struct peer before = *peer;
	int err = add_state(peer->peers, peer->if_id, peer->pending, &peer->pending_limits, XFRM_WAY_OUT);

	if (err)
		return err;
	peer_take(peer, peer->pending, clock_now_ns());
	/* Before the old states go: a crash in between finds a session whole. */
	peers_record(peer);
	if (before.up)
		fade(&before);
	if (peer->pending_spent)
		expiry_after(peer, 0);
	pending_clear(peer);
	if (before.up && (before.port != peer->port || !addr_equal(&before.remote, &peer->remote)))
		leave_outer(peer, &before.remote, before.port);
	return enter_outer(peer);
}

static int move_state(const struct peer *peer, enum xfrm_way way, __u32 spi, __u16 port)
{
	struct xfrm_state_spec spec = { .way = way, .local = peer->local, .remote = peer->remote, .spi = spi,
					.if_id = peer->if_id, .algorithm = peer->algorithm,
					.lifetime_s = peer->lifetime_s, .limits = peer->limits,
					.encap_local = HF_UDP_ENCAP_PORT, .encap_remote = port };

	return xfrm_state_move(peer->peers->node->xfrm, &spec);
}

/* A packet may come before the session stands in both directions. */
static void follow_pending(struct peer *peer, __u16 port)
{
	struct kms_session *pending = peer->pending;
	struct peer like = { .peers = peer->peers, .local = pending->local, .remote = pending->remote,
			     .if_id = peer->if_id, .algorithm = pending->algorithm, .lifetime_s = pending->lifetime_s,
			     .limits = peer->pending_limits };

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
	peers_record(peer);
	if (err)
		log_warning("%s (%s): port %u: %s", addr_text(&peer->remote).s, peer->name, peer->port, strerror(-err));
}

bool peers_abandon(struct peer *peer)
{
	/* Who has dialled has confirmed, and may be sent to in the new way already: that is heard until the next exchange. */
	if (peer->up && peer->pending->role == KMS_INITIATOR)
		fade_inbound(peer, &peer->pending->local, peer->pending->spi_in, clock_now_ns());
	else
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
	datapath_del_session(node->dp, peer->if_id);
	peer_unlink(peer);
}

static bool state_stands(struct peers *peers, __u32 if_id, const struct hf_addr *dst, __u32 spi)
{
	struct xfrm_state_use use = { .if_id = 0 };

	return !xfrm_state_read(peers->node->xfrm, dst, spi, &use) && use.if_id == if_id;
}

static bool record_is_alive(struct peers *peers, __u32 if_id, const struct hf_session *record)
{
	__u64 age_s = (clock_now_ns() - record->established_ns) / CLOCK_NS_PER_S;

	return clock_now_ns() >= record->established_ns && (!record->lifetime_s || age_s < record->lifetime_s) &&
	       state_stands(peers, if_id, &record->local, record->spi_in) &&
	       state_stands(peers, if_id, &record->remote, record->spi_out);
}

int peers_adopt(struct peers *peers, __u32 if_id, const struct hf_session *record, struct peer **ret_peer)
{
	struct kms_session session;
	struct xfrm_peer ends;
	struct peer *peer;
	int err;

	if (session_record_read(record, &session) || (if_id & XFRM_IF_ID_MASK) != XFRM_IF_ID_BASE ||
	    !record_is_alive(peers, if_id, record))
		return -ESTALE;
	/* Of clients there may be several behind one translator. */
	if (peers_by_if_id(peers, if_id) ||
	    (record->role == HF_ROLE_GATEWAY && peers_find(peers, HF_ROLE_GATEWAY, &record->remote)))
		return -EEXIST;
	err = session.encapsulation == KMS_ENCAP_UDP ? need_encap(peers, &session.local) : 0;
	if (err)
		return err;
	ends = (struct xfrm_peer){ .local = session.local, .remote = session.remote, .if_id = if_id };
	err = xfrm_policy_add(peers->node->xfrm, &ends);
	if (!err)
		err = datapath_set_peer(peers->node->dp, if_id, &session.remote, record->role);
	if (err)
		return err;
	peer = peer_new(peers, &session);
	if (!peer)
		return -ENOMEM;
	peer->if_id = if_id;
	peer->pending_limits = draw_limits(&peers->limits);
	peer_take(peer, &session, record->established_ns);
	peer->slot = record->slot;
	peer->named_bits = record->named;
	peer->claimed = record->claimed;
	err = enter_outer(peer);
	if (err) {
		peer_unlink(peer);
		return err;
	}
	*ret_peer = peer;
	return 0;
}

bool peers_is_due(const struct peer *peer)
{
	__u64 age_s = (clock_now_ns() - peer->established_ns) / CLOCK_NS_PER_S;

	return peer->up && peer->lifetime_s && age_s >= (__u64)peer->lifetime_s * PEER_RENEW_PERCENT / 100;
}

bool peers_stand(const struct peer *peer)
{
	return state_stands(peer->peers, peer->if_id, &peer->local, peer->spi_in) &&
	       state_stands(peer->peers, peer->if_id, &peer->remote, peer->spi_out);
}

bool peers_pending_stands(const struct peer *peer)
{
	return !peer->pending || state_stands(peer->peers, peer->if_id, &peer->pending->local, peer->pending->spi_in);
}

int peers_restore_policies(struct peers *peers)
{
	int err = 0;

	for (struct peer *peer = peers->first; peer && !err; peer = peer->next) {
		struct xfrm_peer ends = { .local = peer->local, .remote = peer->remote, .if_id = peer->if_id };

		err = xfrm_policy_add(peers->node->xfrm, &ends);
	}
	return err;
}

struct sweep {
	struct peers *peers;
	size_t n;
};

static int sweep_state(void *context, __u32 if_id, const struct hf_addr *dst, __u32 spi)
{
	struct sweep *sweep = context;
	struct peer *peer = peers_by_if_id(sweep->peers, if_id);

	if (peer && (spi == peer->spi_in ? addr_equal(dst, &peer->local) :
					   spi == peer->spi_out && addr_equal(dst, &peer->remote)))
		return 0;
	sweep->n++;
	if (!peer || !addr_equal(dst, &peer->local))
		return xfrm_state_delete(sweep->peers->node->xfrm, dst, spi);
	fade_state(peer, dst, spi, PEER_LINGER_MS);
	return 0;
}

static int sweep_policy(void *context, __u32 if_id)
{
	struct sweep *sweep = context;

	if (peers_by_if_id(sweep->peers, if_id))
		return 0;
	sweep->n++;
	return xfrm_policy_delete(sweep->peers->node->xfrm, if_id);
}

int peers_sweep(struct peers *peers, size_t *ret_n)
{
	struct sweep sweep = { .peers = peers };
	int err = xfrm_state_list(peers->node->xfrm, sweep_state, &sweep);

	if (!err)
		err = xfrm_policy_list(peers->node->xfrm, sweep_policy, &sweep);
	*ret_n = sweep.n;
	return err;
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	while (peers->first && !peers->node->leave)
		peers_remove(peers->first);
	while (peers->first)
		peer_unlink(peers->first);
	while (peers->fading)
		fading_end(peers->fading);
	if (peers->mapping_readable)
		event_free(peers->mapping_readable);
	mapping_close(peers->mapping);
	if (peers->expire_readable)
		event_free(peers->expire_readable);
	expire_close(peers->expire);
	if (!peers->keeper)
		find_keeper(peers, false); /* one that the run before needed, and this one did not */
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
