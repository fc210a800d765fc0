/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A node: a gateway or a client, with its clock, what its daemon knows, its key
 * service, and, of a client, the program that sends through the tunnel. Owns how
 * it starts, dies and reads the time; what each part does is in the files beside.
 */
#ifndef HF_SIM_NODE_H
#define HF_SIM_NODE_H

#include "lib/addr.h"
#include "loader/failover.h"
#include "selftests/sim/hold.h"
#include "selftests/sim/keys.h"
#include "selftests/sim/net.h"
#include "selftests/sim/peer.h"

#define BEATS_KEPT 32 /* as in loader/cluster.c */

struct cluster {
	struct failover machine;
	int gateway[SIM_GATEWAYS_MAX]; /* the order of this policy: indices of nodes */
	int slot_client;	       /* of a gateway: whose addresses lead here; of a client: itself */
	/* hf_steer */
	__u32 steer;
	bool watch;
	__u64 request;
	bool unreached;
	__u64 timer; /* which of the timers set is the last */
	struct {
		__u64 nonce;
		__u32 if_id;
	} beats[BEATS_KEPT];
	unsigned int n_beats;
	struct hold hold;
	/* Nobody is in use, but traffic goes on as it did before the policy changed: to this one (0, -1: there is none such). */
	__u32 kept;
	int kept_remote;
	/* For the invariants. Times are the node's; 0: not so. */
	__u64 idle_ns;	/* since when somebody is wanted, nobody is in use and nobody is asked for a session */
	bool denied;	/* the last request was: it may be long until the next one */
	__u64 asked_ns; /* when one was last asked for a sign of life, or left */
	bool at_once;	/* since the last recovery somebody was in use all the time */
	bool started; /* FAILOVER_START was told */
	int depth;
	__u64 tick_ns;
	unsigned int ticks;
};

struct gate {
	bool open, drained, no_link;
	unsigned int cut; /* faults that take the link of the protected network */
	__u64 open_until_ns;
	unsigned int refreshes;
};

struct app {
	__u64 number;
	__u64 window_from, window_to; /* the packets that must be answered; 0: none yet */
	__u64 seen; /* bits: which of them have been */
};

struct node {
	int index;
	char name[16];
	bool gateway, up;
	bool daemon_up;
	unsigned int down; /* how many faults keep it down */
	bool strict;		/* lets nobody in */
	bool flooded;		/* somebody sends it heartbeats in the clients' names */
	__u32 life;		/* one more with each death */
	__u32 daemon_life;	/* likewise of its daemon, which may die alone, and with each of its starts */
	__u64 stopped_until;	/* of the daemon; of one that was killed, when the next one starts */
	__u64 paused_until;	/* the whole machine: what comes meanwhile is taken after it */
	__u64 asleep_until;	/* the end of the last such time, whatever it was */
	__s64 clock_ns;		/* ahead of the true time by this at its beginning */
	int clock_ppm;
	__u64 far_ns;	/* from the middle of the network */
	__u64 link_ns;	/* between datapath, daemon and key service */
	struct hf_addr outer, inner[2];	/* inner: the certificate's addresses; the first is the one used */
	struct peer **peers;		/* by the other's index among its kind */
	__u32 last_if_id;
	struct cluster *clusters;
	int n_clusters;
	struct keys keys;
	struct gate gate;
	struct app app;
};

void nodes_init(struct sim *sim);
void nodes_start(struct sim *sim);
void nodes_clear(struct sim *sim);

/* It dies: all that it knew is gone. start brings it back, as after a boot. */
void node_crash(struct sim *sim, struct node *node);
void node_start(struct sim *sim, struct node *node);

/* Its daemon is killed, with the key service, and the datapath goes on; after so long another one starts, and adopts it. */
void node_kill_daemon(struct sim *sim, struct node *node, __u64 lasts_ns);

/* The key service dies; it is started again a moment later. */
void node_crash_keys(struct sim *sim, struct node *node);

/* Its daemon does nothing for so long. Not while it is stopped: what waits already would come after what is sent later. */
void node_stop_daemon(struct sim *sim, struct node *node, __u64 lasts_ns);

/* What its monotonic clock shows, and how long a wait by it takes in truth. */
__u64 node_now(const struct sim *sim, const struct node *node);
__u64 node_wait(const struct node *node, __u64 local_ns);

struct node *node_client(struct sim *sim, int client);

/* The peer with this node, or NULL; and its place. */
struct peer *node_peer(const struct sim *sim, const struct node *node, int remote);
struct peer **node_peer_place(const struct sim *sim, const struct node *node, int remote);
int node_peer_count(const struct sim *sim, const struct node *node);

#endif
