/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of cluster.h share, and nobody else: the clusters themselves,
 * and who of the peers is which gateway. cluster.c is what comes in,
 * cluster_actions.c what goes out, cluster_status.c what is shown.
 */
#ifndef HF_LOADER_CLUSTER_INTERNAL_H
#define HF_LOADER_CLUSTER_INTERNAL_H

#include "loader/cluster.h"
#include "loader/failover.h"

/* Heartbeats that may be answered late; the oldest is forgotten for each new one. */
#define CLUSTER_BEATS_KEPT 32

struct cluster {
	struct clusters *all;
	const struct policy_cluster *policy;
	__u32 slot;
	struct failover machine;
	bool tunnelled; /* a tunnel of the policy leads here, whatever AUTO does */
	bool awake;	/* traffic is led here; a cluster at rest asks for nothing and hears nothing */
	bool listed;	/* among the clusters, while they change */
	struct hold *hold;
	struct event *timer;
	struct event *failed; /* the request could not even be made */
	__u64 request; /* under way at the KMS; 0: none */
	bool unreached; /* an attempt of it failed for another reason than certificates */
	__u64 beats[CLUSTER_BEATS_KEPT]; /* nonces */
	unsigned int n_beats;
	__u64 sent;
	__u64 missed;
};

struct clusters {
	struct clusters_config config;
	struct keyservice *service;
	struct cluster **cluster; /* in the order of the policy; then AUTO, if a tunnel leads there */
	size_t n;
	struct cluster **by_slot; /* of DATAPATH_SLOTS */
	struct displaced *displaced; /* cluster_change.c */
	struct policy_cluster detected; /* of the cluster AUTO: none or one gateway */
	struct hf_addr server;
	struct cluster *led_to; /* where AUTO leads; NULL: nowhere */
	struct clusters_counts before; /* of peers and clusters that are gone */
	__u32 sequence;
	/* A renewal is a request of its own, beside those of the machines. */
	struct {
		__u64 request;
		struct hf_addr gateway;
	} renewals[FAILOVER_MAX_GATEWAYS];
};

/* At rest, with nobody in use. NULL: out of memory. */
struct cluster *cluster_new(struct clusters *clusters, const struct policy_cluster *policy, __u32 slot);
void cluster_free(struct cluster *cluster);

/* The settings of its machine. */
void cluster_config(const struct policy *policy, const struct policy_cluster *cluster, struct failover_config *ret);

/* The machine, with nobody in use; what was counted before stays. */
void cluster_begin(struct cluster *cluster);

/* To rest: nobody in use, nothing under way. Sessions that no other cluster has are ended. */
void cluster_rest(struct cluster *cluster, const char *why);

/* The reverse, with the sessions that its gateways have already, as those of other clusters. */
void cluster_wake(struct cluster *cluster);

/* Which clusters tunnels of the policy lead to. */
void clusters_note_tunnels(struct clusters *clusters);

/*
 * The cluster of a slot has nothing more to do with this gateway: its session is
 * over, and it is told so, unless another cluster has it.
 */
void clusters_leave(struct clusters *clusters, __u32 slot, struct peer *peer, const char *why);

/* The renewal of this request has ended, well or not; 0: all have. */
void clusters_renewal_over(struct clusters *clusters, __u64 request);

/* A renewal that is under way with this gateway is given up. */
void clusters_forget_renewal(struct clusters *clusters, const struct hf_addr *gateway);

/* cluster_change.c: its timers are to be gone before the clusters are. */
void clusters_forget_displaced(struct clusters *clusters);

/* One step of the machine, its actions, and its timer. Nothing for a cluster at rest. */
void cluster_step(struct cluster *cluster, const struct failover_event *event);

/* Tells the machine what the datapath has stamped since. */
void cluster_look(struct cluster *cluster);

/* The event of a request that could not be made, with the cluster as context. */
void cluster_request_failed(evutil_socket_t fd, short what, void *context);

/* In their order. */
void cluster_carry_out(struct cluster *cluster, const struct failover_actions *actions);

/* The peer that stands for gateway g; NULL without a session. */
struct peer *cluster_peer(const struct cluster *cluster, int g);

/* FAILOVER_NOBODY: none of this cluster's. */
int cluster_gateway_index(const struct cluster *cluster, const struct hf_addr *addr);

/* A gateway's address; g may be FAILOVER_NOBODY: "nobody", and null. */
const char *cluster_gateway_text(const struct cluster *cluster, int g, struct addr_text *buffer);
json_t *cluster_gateway_json(const struct cluster *cluster, int g);

/* For hold_flush(), with the cluster as context. */
int cluster_send_held(void *context, __u8 *packet, size_t len);

/* Through the peer's SA: from the client's inner address to the gateway's outer one, or the reverse to a client. */
void clusters_send_control(const struct clusters *clusters, const struct peer *peer, enum hf_control_type type,
			   __u64 nonce);

/* The session of a gateway, or of a client that is used as one. */
void clusters_end_session_of(struct clusters *clusters, struct peer *peer, const char *why);

#endif
