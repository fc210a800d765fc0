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
#include "policy/difference.h"
#include "policy/policy.h"

#define NODE_ERROR_MAX 512
#define NODE_INTERFACES_MAX 16

struct node_interface {
	int index;
	char name[IFNAMSIZ];
	__u8 mac[6];
	__u32 xdp_id; /* of an underlay's XDP program; what the kernel tells of another one is a change */
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
	__u64 held_lost; /* packets that were held and never sent, by any part */
	int tunnel; /* interface index of hf0; 0: not made */
	bool tunnel_unfinished; /* made anew by node_restore(), which has not yet come to its programs and sockets */
	bool closed;	  /* the routing rules stand */
	bool closed_before; /* they stood already: a run that was killed left them */
	bool adopted;	    /* the datapath of a run before goes on: its sessions can be adopted */
	char replaced[NODE_ERROR_MAX]; /* not adopted: what was found of a run before and why it was replaced; or empty */
	bool touched;	    /* the datapath is this run's, made or adopted: node_down() leaves that of a run before alone until then */
	bool leave;	    /* set by the daemon when the start fails: an adopted datapath is left as it is */
	char keeper_path[128]; /* of the sockets that outlive this process; see keeper.h */
	__u32 *slots;	    /* of the policy's clusters, and of AUTO at the end; see slots.h. Changed by reload.c */
	__u64 grants;	    /* session_record_grants() of the policy */
	bool started;	    /* set by the daemon once it is ready, or taken down by name: this run's end opens the way again */
	struct node_interface underlay[NODE_INTERFACES_MAX];
	size_t n_underlay;
	bool underlay_by_route; /* the policy names none: it is where the route to the first gateway leads */
	struct node_interface protected[NODE_INTERFACES_MAX];
	size_t n_protected;
	struct node_interface dialled; /* the link to the server of AUTO, one more underlay; index 0: none */
	struct hf_addr dialled_source; /* inner address of what goes there; zero: by the route */
	struct hf_addr source; /* inner address of this machine's own traffic; zero: by the route of each packet */
	char error[NODE_ERROR_MAX]; /* of the last call that failed: one line that says what to do */
};

struct node_config {
	const char *instance;
	const char *run_dir; /* of the instance: what must survive a crash */
	bool keep_closed; /* a start that fails leaves the way closed: it is tried again */
	const struct policy *policy;
	const struct policy_table *table;
};

/*
 * Whether this machine can do it at all: privileges, ESP, xfrm interface,
 * kfuncs, bpf file system. Changes nothing that stays. Returns 0, or -errno with node->error.
 */
int node_preflight(struct node *node);

/*
 * Sets everything up, and gives the policy's clusters their slots. Tunnels to AUTO
 * have the last of these, and no way there: they
 * are unreachable until node_dial(). The way is closed first. On failure everything is down
 * again, but for what a run before has left and this one has not replaced, and for the closed way
 * with keep_closed; node->error says why.
 */
int node_up(struct node *node, const struct node_config *config);

/*
 * The tunnels to AUTO lead to a slot from now on, and the link becomes an
 * underlay. source is this machine's address on it, and so its inner one, unless
 * the policy says Address. On failure they lead nowhere, and node->error says
 * why.
 */
int node_dial(struct node *node, const struct node_config *config, int index, __u32 slot,
	      const struct hf_addr *source);

/* What node_restore() makes sure of. */
enum node_part {
	NODE_RULES = 1 << 0,
	NODE_TUNNEL = 1 << 1,
	NODE_PROGRAMS = 1 << 2,
	NODE_ROUTES = 1 << 3,
	NODE_ADDRESSES = 1 << 4,
	NODE_PROTECTED = 1 << 5,
	NODE_SYSCTLS = 1 << 6,
	NODE_OTHERS = 1 << 7, /* the guard on all other interfaces; never told of as done */
};

/*
 * Puts back what somebody else has taken away, in the order of node_up(), and
 * follows an interface that came back, or has another address. parts:
 * bits of enum node_part that are in doubt. *ret_done: those that were not as
 * they are to be; but for NODE_ROUTES, which says only that they were all set
 * again. 0 or -errno, with node->error: the rest is to be tried again.
 */
int node_restore(struct node *node, const struct node_config *config, unsigned int parts, unsigned int *ret_done);

/* Whether the interface is one of [INTERFACE] Underlay. */
bool node_is_underlay(const struct node *node, int index);

/* Whether this machine has an interface of this index now. */
bool node_is_there(struct node *node, int index);

/* The reverse of node_dial(); the link may be gone. 0 or -errno, with node->error: the datapath was not told. */
int node_hang_up(struct node *node, const struct node_config *config);

/*
 * Another policy for the tunnels (node_tunnels.c). In the first step what is new
 * is added, entries of the map before routes: on failure node->error says why,
 * and the same with the difference the other way round takes it back. In the
 * second, what is gone is removed: it goes the ordinary way from then on. A
 * destination that is tunnelled before and after loses nothing, though its prefix
 * may be another.
 */
struct node_tunnels {
	const struct policy *policy; /* the new one */
	const struct policy_difference *difference;
	const __u32 *slots;	       /* of its clusters */
	__u32 auto_slot;	       /* where tunnels to AUTO lead */
	const struct hf_addr *auto_source; /* our address of the link to the server; NULL: there is none */
};

int node_add_tunnels(struct node *node, const struct node_tunnels *tunnels);
void node_remove_tunnels(struct node *node, const struct node_tunnels *tunnels);

/*
 * Other interfaces and inner addresses (node_change.c), in two steps. What is
 * new is added in the first: programs, sysctls, addresses of hf0; node's
 * interfaces and source are the new ones from then on. On failure node->error
 * says why, and all is as it was. Then either the second step, in which what is
 * gone is given up: 0, or -errno with node->error where the kernel refuses, which
 * node_restore() puts right; or the first one is taken back.
 */
struct node_places {
	struct node_interface underlay[NODE_INTERFACES_MAX];
	size_t n_underlay;
	bool underlay_by_route;
	struct node_interface protected[NODE_INTERFACES_MAX];
	size_t n_protected;
	struct hf_addr source;
};

struct node_change {
	const struct policy *old, *new;
	struct node_places before;
};

/* config: of the new policy, as the third one's. */
int node_change_prepare(struct node *node, const struct policy *old, const struct node_config *config,
			struct node_change *ret_change);
void node_change_discard(struct node *node, const struct node_change *change);
int node_change_commit(struct node *node, const struct node_change *change, const struct node_config *config);

/*
 * Takes down what a run of the instance that has died left, and opens the way; without its policy. -ENOENT: there is nothing
 * of it. Everything else that fails is passed over, and the first error returned, with node->error.
 */
int node_clear(struct node *node, const struct node_config *config);

/* Takes everything down in order; also after a failed node_up(). May be repeated. */
void node_down(struct node *node, const struct node_config *config);

#endif
