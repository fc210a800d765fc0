/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of loader/cluster.c around the real state machine (loader/failover.h):
 * feeds it and carries its actions out, in the same order. Of a client, its one
 * cluster; of a gateway whose policy tunnels to its clients, one for each of them.
 */
#ifndef HF_SIM_CLUSTER_H
#define HF_SIM_CLUSTER_H

#include "selftests/sim/net.h"
#include "selftests/sim/peer.h"

struct cluster;
struct cluster_session {
	__u64 request;
	bool by_peer;
};

/* The machines at the start of a daemon, with nobody in use. */
void clusters_init(struct sim *sim, struct node *node);

/* Keys can be requested. */
void clusters_start(struct sim *sim, struct node *node);

void cluster_want(struct sim *sim, struct node *node, struct cluster *cluster, const struct inner *packet);
void cluster_payload(struct sim *sim, struct node *node, struct cluster *cluster);
void clusters_answered(struct sim *sim, struct node *node, const struct peer *peer);
void clusters_control(struct sim *sim, struct node *node, struct peer *peer, const struct inner *control);
void clusters_session_up(struct sim *sim, struct node *node, struct peer *peer, const struct cluster_session *session);
void clusters_session_down(struct sim *sim, struct node *node, int remote);
void clusters_attempt_failed(struct sim *sim, struct node *node, __u64 request, int error);
void clusters_rejected(struct sim *sim, struct node *node, __u64 request);
/* A session is to be renewed, or to end in a moment. */
void clusters_renew(struct sim *sim, struct node *node, struct peer *gateway);
void clusters_prefer_others(struct sim *sim, struct node *node, struct peer *gateway);

/* Another daemon has taken over: new machines, with the sessions that there are. */
void clusters_adopt(struct sim *sim, struct node *node);

/* The client's policy becomes another one: with fewer gateways, or all of them, in some order. */
void cluster_change(struct sim *sim, struct node *node, bool fewer);

void clusters_say_goodbye(struct sim *sim, struct node *node);

/* A user moves it to another gateway, or to the next one (FAILOVER_NOBODY). */
void cluster_move(struct sim *sim, struct node *node, struct cluster *cluster, int gateway);

/* The cluster that traffic of this client goes by, or NULL. */
struct cluster *cluster_of(const struct sim *sim, struct node *node, int client);

/* The node in use, or -1; and the one that traffic goes to, which may be one that the policy names no more. */
int cluster_current(const struct cluster *cluster);
int cluster_steered(const struct cluster *cluster);

/* Whether the cluster's policy names this node. */
bool cluster_names(const struct cluster *cluster, int remote);

#endif
