/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of node.h share, and nobody else (node_tunnels.c needs none of
 * it). node.c is the order: up, restored, dialled, down; node_parts.c the parts
 * themselves, node_interfaces.c where they go. What returns an int: 0 or -errno,
 * with node->error.
 */
#ifndef HF_LOADER_NODE_INTERNAL_H
#define HF_LOADER_NODE_INTERNAL_H

#include "loader/node.h"

/* The text as node->error. Returns error. */
int node_fail(struct node *node, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What the kernel said, else the error in words. */
const char *node_why(struct netlink *nl, int error);

/* node_interfaces.c */

/* The policy's, or by the route to the first gateway, and node->source. */
int node_find_interfaces(struct node *node, const struct policy *policy);

struct hf_addr node_own_address(const struct node *node, const struct policy_interface *names);

/*
 * What came back as another interface, or with another address, is taken note of; so is another interface where the route
 * makes it the underlay, with its programs attached. *ret_other: there is such a one.
 */
int node_follow_underlay(struct node *node, const struct policy *policy, bool *ret_other);
/* Likewise. Whether there is such a one. */
bool node_follow_protected(struct node *node);

/* node_parts.c */

struct node_prefixes {
	struct hf_prefix *prefix; /* those to clusters first, then those to AUTO */
	size_t n_clusters;
	size_t n;
};

/* What is tunnelled; the caller frees the prefixes. -ENOMEM without node->error. */
int node_tunnelled(const struct node_config *config, struct node_prefixes *ret);
bool node_tunnels_v6(const struct policy_table *table);

/* Which rules stood already; v6 also where none is wanted. */
struct node_rules {
	bool v4;
	bool v6;
};

int node_close_way(struct node *node, const struct node_config *config, const struct node_prefixes *prefixes,
		   struct node_rules *ret_before);

/* hf0. */
__u32 node_tunnel_mtu(struct node *node);
int node_find_tunnel(struct node *node, int *ret_index);
int node_make_tunnel(struct node *node);
int node_set_tunnel(struct node *node, const struct policy *policy);

/* Of all interfaces that are there. *ret_changed (may be NULL): one was not as it is to be. */
int node_set_sysctls(struct node *node, bool v6, bool *ret_changed);

/* The maps of tunnels and of protected interfaces. */
int node_fill_tunnels(struct node *node, const struct node_config *config, enum policy_target target,
		      __u32 auto_slot);
int node_fill_protected(struct node *node);

/* The programs: of one underlay; of hf0 and all underlays. */
int node_attach_underlay(struct node *node, struct node_interface *interface);
int node_attach(struct node *node);

/*
 * node_guard.c. Every interface that is neither underlay nor protected, nor a port of another one, has the guard from now on, if the
 * table has entries; what cannot be guarded is logged. anew: also those that have it, of a run before. And none has it, nor anything
 * that a run before has left there.
 */
void node_guard_others(struct node *node, const struct policy_table *table, bool anew);
void node_unguard_others(struct node *node);

/* The sockets that heartbeats and control packets leave by. */
int node_open_sockets(struct node *node);
void node_close_fd(int *fd);

/* NULL for an address that is zero. */
const struct hf_addr *node_source_or_none(const struct hf_addr *source);

/* hf0 up, and the routes over it. */
int node_open_traffic(struct node *node, const struct node_prefixes *prefixes);

#endif
