/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Peers: the other ends of sessions, with what each has in the kernel: an
 * if_id, XFRM states and policies, and its entries in the datapath's maps. Owns
 * the order in which a session comes and goes: inbound before outbound, new
 * before old. Knows not why a session is wanted or ended, and nothing of
 * clusters, slots and claims.
 */
#ifndef HF_LOADER_PEER_H
#define HF_LOADER_PEER_H

#include <event2/event.h>

#include "kms/link.h"
#include "loader/node.h"
#include "loader/peer_limits.h"
#include "loader/xfrm.h"

struct peer {
	enum hf_role role;
	__u32 if_id;
	struct hf_addr local; /* outer addresses */
	struct hf_addr remote;
	__u16 port; /* the peer's UDP port, 0 without encapsulation in UDP */
	char name[KMS_NAME_MAX];
	struct hf_prefix inner[KMS_MAX_INNER]; /* what the client of the two, they or we, uses inside */
	size_t n_inner;

	bool named; /* a client whose inner addresses the policy tunnels to it: its clusters use it as they use gateways */
	bool started; /* a gateway that said so (HF_CONTROL_START) before the session stood at our end */
	bool proven;  /* remote is an address of its certificate */
	__s64 not_after; /* of its certificate, seconds since 1970 */
	bool up; /* both directions stand */
	__u32 spi_in;
	__u32 spi_out;
	enum kms_algorithm algorithm;
	__u64 established_ns;
	__u32 lifetime_s;
	struct kms_certificate certificate;
	__u64 renew_ns; /* when new keys are due by time */
	unsigned int renewals; /* how often it got new ones */

	/* What the owner of a client wants to find again after a crash; peers_record() keeps it. */
	__u32 slot;
	__u32 named_bits;
	bool claimed;

	/* Private to peer*.c (peer_internal.h). */
	__u64 pending_id;	     /* the KMS's session that waits for peers_activate(); 0: none */
	struct kms_session *pending; /* with its outbound key */
	struct xfrm_limits pending_limits;
	bool pending_spent; /* the other end was quick: its inbound state has reached a limit already */
	struct xfrm_limits limits; /* of each of the two states */
	struct event *expiry;
	struct peers *peers;
	void *owner; /* of the caller: a client's entry; NULL for a gateway */
	struct peer *next;
};

struct peers;

/* What the other end of a session is to us: usually whom we dialled is the gateway; the other way round when reversed. */
enum hf_role peer_role_of(const struct kms_session *session);

/* What a session may do before it gets new keys. */
struct peers_limits {
	__u32 rekey_ms;
	__u64 bytes; /* each way, as the packets */
	__u64 packets;
};

/*
 * The session has ended: its lifetime, or a hard limit. Or (renew) a new one is
 * wanted now, since its time or a soft limit has come: this is called again
 * every few seconds until it has come.
 */
typedef void (*peers_expiry)(void *context, struct peer *peer, bool renew);

int peers_new(struct event_base *base, struct node *node, peers_expiry expiry, void *context,
	      struct peers **ret_peers);

/*
 * For sessions from now on; those that stand keep theirs in bytes and packets,
 * and follow in time. Each session draws its own from the last tenth, so that
 * many that were made together are not renewed together.
 */
void peers_set_limits(struct peers *peers, const struct peers_limits *limits);

/* Removes all peers. Takes NULL. */
void peers_free(struct peers *peers);

struct peer *peers_find(struct peers *peers, enum hf_role role, const struct hf_addr *remote);
struct peer *peers_by_if_id(struct peers *peers, __u32 if_id);
/* The peer whose session waits under the KMS's number. */
struct peer *peers_by_pending(struct peers *peers, __u64 id);
/* For walking: NULL gives the first. */
struct peer *peers_next(struct peers *peers, struct peer *peer);

/*
 * First half of a session: inbound state, policies, entries in the maps. peer
 * NULL: a new one. What leaves through a session that is up is not touched. The
 * outbound half waits, with its key, for peers_activate(). An exchange that
 * waited already has been overtaken. Returns 0 and the peer, or -errno with
 * nothing changed: -EEXIST where its SPI is that of another state.
 */
int peers_install(struct peers *peers, struct peer *peer, const struct kms_session *session,
		  struct peer **ret_peer);

/* Second half: the outbound state, and the ends; the session before, if there was one, fades. On failure the peer is as before. */
int peers_activate(struct peer *peer);

/* The KMS request that the waiting session answers, or 0. */
__u64 peers_pending_request(const struct peer *peer);

/* Whether the other end dialled for the waiting session. */
bool peers_pending_by_peer(const struct peer *peer);

/* Takes back peers_install(), if that is not done already. A peer that has no other session is removed: then true is returned. */
bool peers_abandon(struct peer *peer);

/* Removes the peer with its states, policies and entries. */
void peers_remove(struct peer *peer);

/*
 * Adoption: the session of a run before, of which the record tells, becomes a
 * peer as if it had been installed now. Its states must stand; policies and
 * entries in the maps are made sure of. -ESTALE: a state is gone, or it has
 * ended; -EEXIST: there is such a peer. Nothing is changed then.
 */
int peers_adopt(struct peers *peers, __u32 if_id, const struct hf_session *record, struct peer **ret_peer);

/* Writes the peer's record, for the next run; after each change of what it tells. A peer that is not up has none. */
void peers_record(struct peer *peer);

/*
 * Ends the states and policies with if_ids of Holdfast's that are no peer's now:
 * those of an earlier run. Inbound ones of a peer that is there fade. How many
 * in *ret_n. 0 or -errno.
 */
int peers_sweep(struct peers *peers, size_t *ret_n);

/* Whether its session is up, and so old that it should have been renewed. */
bool peers_is_due(const struct peer *peer);

/* Whether its session is up, and at its end within a few seconds: whoever uses it had better leave now. */
bool peers_is_ending(const struct peer *peer);

/* Whether both states of a peer that is up stand in the kernel; and the inbound one of a session that waits, if any does. */
bool peers_stand(const struct peer *peer);
bool peers_pending_stands(const struct peer *peer);

/* Makes sure of the policies of all peers. 0 or -errno. */
int peers_restore_policies(struct peers *peers);

struct peer_use {
	__u64 bytes_in, bytes_out;
	__u64 packets_in, packets_out;
};

/* How much the present states were used. 0 or -errno. */
int peers_read_use(const struct peer *peer, struct peer_use *ret_use);

/* "AES-256-GCM", ... */
const char *peer_algorithm_name(enum kms_algorithm algorithm);

#endif
