/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of peer.h share, and nobody else: the peers themselves. peer.c
 * is the order in which a session comes and goes, peer_fade.c what stays of it
 * for a while, peer_renew.c when new keys are due, peer_outer.c where a peer is
 * outside, peer_adopt.c what goes on from run to run.
 */
#ifndef HF_LOADER_PEER_INTERNAL_H
#define HF_LOADER_PEER_INTERNAL_H

#include "loader/expire.h"
#include "loader/keeper.h"
#include "loader/mapping.h"
#include "loader/peer.h"

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

/* Among the peers, with an if_id of its own and nothing in the kernel. NULL: out of memory. */
struct peer *peer_new(struct peers *peers, const struct kms_session *session);

/* The reverse; what is in the kernel stays. */
void peer_unlink(struct peer *peer);

/* The session, with the pending limits, is the peer's from now on. */
void peer_take(struct peer *peer, const struct kms_session *session, __u64 established_ns);

/* peer_fade.c. The states of the session that the peer had before go, each in its time; see PEER_LINGER_MS. */
void peer_fade(const struct peer *before);

/*
 * An inbound state likewise: that of the session before (abandoned_ns: 0), or
 * of an exchange that broke off at that time (CLOCK_MONOTONIC), and that the
 * other end may use already.
 */
void peer_fade_inbound(const struct peer *peer, const struct hf_addr *local, __u32 spi, __u64 abandoned_ns);

/* An outbound state, which the kernel uses no longer, likewise. */
void peer_fade_outbound(const struct peer *peer, const struct hf_addr *remote, __u32 spi);

/* Whether a state of the peer with this SPI is fading. */
bool peer_is_fading(const struct peer *peer, __u32 spi);

/* All of them go at once; where the datapath is left as it is (node.h), the next run will see to them. */
void peers_end_fading(struct peers *peers);

/* peer_renew.c. The limits of a session's states, drawn anew. */
struct xfrm_limits peers_draw_limits(const struct peers_limits *limits);

/* New keys are due then. */
void peer_expiry_after(struct peer *peer, __u64 wait_ns);

/* And soon: the two ends may not be agreed on which keys are in use, and unused states do not stay for long. */
void peer_renew_soon(struct peer *peer);

/* The same, by the session's age. */
void peer_set_expiry(struct peer *peer);

/* The event of a peer's timer, with the peer as context. */
void peer_expiry_due(evutil_socket_t fd, short what, void *context);

/* For expire_open(), with the peers as context. */
void peers_on_limit(void *context, const struct expire_notice *notice);

/*
 * peer_outer.c. The keeper of the run before, if there is one, with the sockets
 * that it has; start: another one where there is none.
 */
void peers_find_keeper(struct peers *peers, bool start);

/* The socket for ESP in UDP to this address of ours. 0 or -errno. */
int peers_need_encap(struct peers *peers, const struct hf_addr *local);

/* The reflector's entry of a peer. 0 or -errno. */
int peer_enter_outer(struct peer *peer);

/* The peer is no longer there. */
void peer_leave_outer(struct peer *peer, const struct hf_addr *remote, __u16 port);

/* For mapping_open(), with the peers as context. */
void peers_follow(void *context, const struct mapping_change *change);

#endif
