/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What Holdfast sets up on this machine and takes down again: the tunnel
 * interface, the datapath on it and on the underlay, routes, rule, sysctls, and
 * the sockets that heartbeats and control packets leave by. Owns their order:
 * fail closed first, traffic last. Knows the policy's tunnels and interfaces;
 * knows no sessions, gateways in use or clients.
 */
#ifndef HF_LOADER_NODE_H
#define HF_LOADER_NODE_H

#include <net/if.h>

#include "loader/datapath.h"
#include "loader/inner.h"
#include "loader/netlink.h"
#include "loader/sysctl.h"
#include "policy/policy.h"

#define NODE_ERROR_MAX 512
#define NODE_INTERFACES_MAX 16

struct node_interface {
	int index;
	char name[IFNAMSIZ];
	__u8 mac[6];
	bool running; /* as read at the start; the monitor keeps it up to date */
	struct hf_addr address; /* first IPv4; zero without */
};

struct node {
	struct netlink *route; /* NETLINK_ROUTE */
	struct netlink *xfrm;  /* NETLINK_XFRM */
	struct datapath *dp;
	struct sysctl_journal *sysctls;
	struct inner inner;
	int beat_fd;
	int tunnel; /* interface index of hf0; 0: not made */
	bool closed;	  /* the routing rules stand */
	bool closed_before; /* they stood already: a run that was killed left them */
	bool started;	    /* set by the daemon once it is ready: this run's end opens the way again */
	struct node_interface underlay[NODE_INTERFACES_MAX];
	size_t n_underlay;
	struct node_interface protected[NODE_INTERFACES_MAX];
	size_t n_protected;
	struct hf_addr source; /* inner address of this machine's own traffic */
	char error[NODE_ERROR_MAX]; /* of the last call that failed: one line that says what to do */
};

struct node_config {
	const char *instance;
	const char *run_dir; /* of the instance: what must survive a crash */
	const struct policy *policy;
	const struct policy_table *table;
};

/*
 * Whether this machine can do it at all: privileges, ESP, xfrm interface,
 * kfuncs, bpf file system. Changes nothing that stays. Returns 0, or -errno with node->error.
 */
int node_preflight(struct node *node);

/*
 * Sets everything up; the tunnels' slots are the indices of the policy's
 * clusters. On failure everything is down again and node->error says why.
 */
int node_up(struct node *node, const struct node_config *config);

/* Takes everything down in order; also after a failed node_up(). May be repeated. */
void node_down(struct node *node, const struct node_config *config);

#endif
