/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clients of this gateway: their sessions as responder, the routes and slots of
 * their inner addresses, and the claim of the way back (design, section 5) on
 * the protected networks. Knows nothing of clusters and failover: of a client
 * whose inner addresses the policy tunnels to it ("named") it tells its owner.
 */
#ifndef HF_LOADER_CLIENT_H
#define HF_LOADER_CLIENT_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "loader/eventlog.h"
#include "loader/node.h"
#include "loader/peer.h"

struct clients;

/* Of a named client's session that stands now. */
struct clients_session {
	__u64 request; /* the KMS request of ours that it answers, or 0 */
	bool again;    /* another session stood before */
	bool by_peer;  /* the client dialled */
};

struct clients_config {
	struct event_base *base;
	struct node *node;
	struct peers *peers;
	struct eventlog *log;
	const struct policy *policy;
	const struct policy_table *table; /* what the policy tunnels: only who is named in it may use it as its own */
	__u32 first_slot;		  /* slots are handed out from here on */
	/* Whether somebody else has this slot. */
	bool (*slot_is_taken)(void *context, __u32 slot);
	/* Calls for named clients: their slot is that of the policy's tunnel, and is the caller's. */
	int (*admit)(void *context, struct peer *peer); /* its inbound half is being installed; 0 or -errno */
	void (*up)(void *context, struct peer *peer, const struct clients_session *session);
	/* The peer has been removed; request: ours that a session of it was about to answer, or 0. */
	void (*down)(void *context, const struct hf_addr *client, __u32 if_id, __u64 request);
	void *context;
};

int clients_new(const struct clients_config *config, struct clients **ret_clients);
/* The sessions are the peers': they are to be removed with them. Takes NULL. */
void clients_free(struct clients *clients);

/*
 * First and second half of a client's session, and its end, as in peer.h.
 * -EADDRINUSE: an inner address is another client's, somebody is reached at it
 * outside, or the policy tunnels it to somebody else. -EACCES: we dialled, but for none of these addresses.
 */
int clients_install(struct clients *clients, const struct kms_session *session);
int clients_activate(struct clients *clients, struct peer *peer);
void clients_abandon(struct clients *clients, struct peer *peer);
void clients_session_end(struct clients *clients, struct peer *peer, const char *why);

/*
 * A client's session of an earlier run goes on, with its record's slot where
 * that is free, and its claim. -EADDRINUSE, -EACCES as above: the policy has
 * changed. On failure the peer is removed.
 */
int clients_adopt(struct clients *clients, struct peer *peer);

/* A protected interface is another one: hears there, and claims there what is claimed. 0 or -errno. */
int clients_follow(struct clients *clients);

/*
 * The node's protected interfaces are others now; before are those until now.
 * Claims go where they are, and away from where they are not. 0 or -errno:
 * clients_follow() tries again.
 */
int clients_change_protected(struct clients *clients, const struct node_interface *before, size_t n_before);

/* Puts the clients' routes and claims back where somebody has removed them. 0 or -errno. */
int clients_restore(struct clients *clients);

/* Whether a client has the slot; or this inner prefix, routed over the tunnel; or has it claimed. */
bool clients_have_slot(const struct clients *clients, __u32 slot);
bool clients_have_prefix(const struct clients *clients, const struct hf_prefix *prefix, __u32 *ret_slot);
bool clients_have_claimed(const struct clients *clients, const struct hf_prefix *prefix);

/* Packets for a client whose session does not stand yet in both directions: held until it does. */
void clients_want(struct clients *clients, __u32 slot, const __u8 *packet, size_t len);

/*
 * Somebody is reached at this address outside from now on: what is announced of
 * it is withdrawn, unless the policy gives it to the client that has it.
 */
void clients_make_way(struct clients *clients, const struct hf_addr *remote);

/* The client was heard through its SA for the first time since the claim ended: it uses us. */
void clients_claim(struct clients *clients, struct peer *peer);

/*
 * Whether clients can be reached at all. When not, their claims end: who uses another gateway meanwhile cannot say so, and where
 * the target network is routed, nobody else does. When they can be again, those that had one are asked, for a minute: who still has
 * the session of then has not moved, and need not send anything to be claimed again.
 */
void clients_underlay(struct clients *clients, bool reached);

/* A control packet of a client. open: whether the gate is; a closed one leaves probes unanswered. */
void clients_control(struct clients *clients, struct peer *peer, const struct hf_event *event, bool open);

/*
 * The policy is another from now on. Sessions whose inner addresses it tunnels
 * otherwise than before, or that a [PEER] statement allowed and no longer does,
 * are ended: the client may ask anew.
 */
void clients_change_policy(struct clients *clients, const struct policy *policy, const struct policy_table *table);

/* The session needs new keys: the client, who is the one that dials, is asked for them through it. */
void clients_renew(struct clients *clients, struct peer *peer);

/* Whether there are any. */
bool clients_any(const struct clients *clients);

/* Asks all clients, through their SAs, to leave for another gateway. */
void clients_ask_to_leave(struct clients *clients);

/* Tells all, through their SAs, that their sessions with this gateway are over. What becomes of these is the caller's. */
void clients_say_goodbye(struct clients *clients);

/* The "clients" array of status --json, or NULL. */
json_t *clients_status(const struct clients *clients);

/* Heartbeats reflected for clients so far. */
__u64 clients_reflected(const struct clients *clients);

#endif
