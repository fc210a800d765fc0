/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clusters of gateways: feeds each one's failover state machine with what the
 * datapath, the key management service and the user say, and carries its actions
 * out (map writes, heartbeats, probes, requests, held packets). Their slots of
 * the datapath are those of slots.h; a reload hands out more. The one after the
 * last is the cluster AUTO, whose one gateway is the server that was detected, or none.
 * Decides nothing itself: that is failover.h.
 */
#ifndef HF_LOADER_CLUSTER_H
#define HF_LOADER_CLUSTER_H

#include <event2/event.h>
#include <jansson.h>

#include "loader/eventlog.h"
#include "loader/failover.h"
#include "loader/keyservice.h"
#include "loader/node.h"
#include "loader/peer.h"
#include "policy/difference.h"

struct clusters;

struct clusters_config {
	struct event_base *base;
	struct node *node;
	struct peers *peers;
	struct eventlog *log;
	const struct policy *policy;
	/* Ends the session of a client that a cluster used as a gateway. */
	void (*end_client)(void *context, struct peer *client, const char *why);
	/* Whether somebody else has this slot. */
	bool (*slot_is_taken)(void *context, __u32 slot);
	void *context;
};

int clusters_new(const struct clusters_config *config, struct clusters **ret_clusters);
void clusters_free(struct clusters *clusters);

/* The slot of the cluster with this index in the policy; n_clusters: of AUTO, where a tunnel leads there. */
__u32 clusters_slot(const struct clusters *clusters, size_t index);

/* Whether a slot is a cluster's. */
bool clusters_have_slot(const struct clusters *clusters, __u32 slot);

/*
 * Another policy, in two steps. The first does all that can fail and changes
 * nothing: it takes slots for new clusters. Returns 0, -ENOMEM or -ENOSPC. The
 * second puts the policy in force: clusters that stay keep their slot, their
 * sessions and what is known of their gateways; those that are new take over
 * sessions that others have; those that are gone end theirs. A gateway that is
 * no longer in its cluster is used until there is another (ten seconds at the
 * most), and its session ends two seconds later. The policy must live until
 * the next change; the change is freed by either of the two.
 */
struct clusters_change;
int clusters_prepare(struct clusters *clusters, const struct policy *policy, const struct policy_difference *difference,
		     struct clusters_change **ret_change);
__u32 clusters_change_slot(const struct clusters_change *change, size_t index);
void clusters_commit(struct clusters_change *change);
/* Takes NULL. */
void clusters_discard(struct clusters_change *change);

/* From here on keys can be requested. */
void clusters_start(struct clusters *clusters, struct keyservice *service);

/* Traffic for a slot found no gateway; packet (len bytes) is held. len 0: it was too large for that. */
void clusters_want(struct clusters *clusters, __u32 slot, const __u8 *packet, size_t len);

/* Payload left by the slot, which was watched for it. */
void clusters_payload(struct clusters *clusters, __u32 slot);

/*
 * AUTO leads to the cluster of this index from now on; where that is the one
 * after the policy's last, it is the cluster AUTO with this server as its one
 * gateway. server NULL: it leads nowhere. A cluster that nothing leads to any
 * more is at rest: its sessions are ended, and it asks for none.
 */
void clusters_detected(struct clusters *clusters, const struct hf_addr *server, size_t target);

/*
 * Every session with a gateway ends, with a goodbye, and so does what is asked
 * for; it is asked for anew where it is wanted, and what is sent meanwhile is
 * held. For what a session cannot be told: that our addresses inside are others.
 */
void clusters_begin_anew(struct clusters *clusters, const char *why);

/* This machine has lost an address: the sessions from there are over. */
void clusters_address_lost(struct clusters *clusters, const struct hf_addr *local);

/* Tells every gateway, through its SA, that this client goes down. */
void clusters_say_goodbye(struct clusters *clusters);

/* Tells one peer, gateway or client, through its SA, that its session is over. */
void clusters_say_goodbye_to(struct clusters *clusters, const struct peer *peer);

/* A probe through the SA of this peer, a gateway or a client that the policy names, was answered. */
void clusters_answered(struct clusters *clusters, const struct peer *peer);

/* A control packet came through the SA of a gateway. */
void clusters_control(struct clusters *clusters, struct peer *gateway, const struct hf_event *event);

/* Whether this is a gateway of a cluster that is not at rest; and whether it is the only one of each that it is in. */
bool clusters_have(const struct clusters *clusters, const struct hf_addr *gateway);
bool clusters_alone(const struct clusters *clusters, const struct hf_addr *gateway);

/*
 * In all that follows, "gateway" is also a client whose inner addresses the
 * policy tunnels to it (peer->named): its clusters use it like any gateway.
 */

/* The gateway's inbound half is being installed: what it may send is entered in the maps. 0 or -errno. */
int clusters_admit(struct clusters *clusters, struct peer *gateway);

/* Takes back clusters_admit() for a peer that is gone. */
void clusters_dismiss(struct clusters *clusters, __u32 if_id);

struct clusters_session {
	__u64 request; /* the KMS request it answers, or 0 */
	bool again;    /* another session stood before */
	bool by_peer;  /* the other end dialled */
};

/*
 * A session of an earlier run goes on. The cluster that is steered to it already
 * goes on using it; nothing is switched. 0 or -errno.
 */
int clusters_adopt(struct clusters *clusters, struct peer *gateway);

/* The session of a gateway stands. */
void clusters_session_up(struct clusters *clusters, struct peer *gateway, const struct clusters_session *session);

/* The session of a gateway, no client, is over: the peer is removed, and whoever used it moves on. */
void clusters_session_end(struct clusters *clusters, struct peer *gateway, const char *why);

/*
 * The peer of this gateway has been removed: whoever used it moves on. request:
 * that which a session of it was about to answer, or 0: it counts as rejected.
 */
void clusters_session_down(struct clusters *clusters, const struct hf_addr *gateway, __u32 if_id, __u64 request);

/* The session with this gateway is about to end: whoever uses it takes another one, if there is one. It goes on until it ends. */
void clusters_prefer_others(struct clusters *clusters, const struct hf_addr *gateway);

/* The session of a gateway needs new keys: ask for another one with the same, unless that is under way. */
void clusters_renew(struct clusters *clusters, struct peer *gateway);

/* One gateway of a request did not authenticate; error: an errno, positive. */
void clusters_attempt_failed(struct clusters *clusters, __u64 request, int error);

/*
 * A request was rejected as a whole; request 0: all of them (the KMS died).
 * error: EALREADY where the gateway dials us itself at this moment.
 */
void clusters_rejected(struct clusters *clusters, __u64 request, int error);

/*
 * What this request had installed here is gone (0: there was none), so even a good end of its exchange would be none: it
 * is cancelled, and counts as rejected.
 */
void clusters_give_up(struct clusters *clusters, __u64 request);

/*
 * Moves the cluster of this name to a gateway, or to the next one (NULL). Returns
 * 0 when it moved or is on its way; -ENOENT: no such cluster; -EINVAL: not one
 * of its gateways; -ENODEV: nothing leads to it now (AUTO); -EALREADY: in use
 * already.
 */
int clusters_move(struct clusters *clusters, const char *name, const struct hf_addr *gateway);

/* The "clusters" array of status --json (design, section 9), or NULL. */
json_t *clusters_status(const struct clusters *clusters);

struct clusters_counts {
	__u64 sent, answered, missed, failovers;
};

void clusters_count(const struct clusters *clusters, struct clusters_counts *ret_counts);

#endif
