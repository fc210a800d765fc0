/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tunnel's routing: a table of its own with the tunnelled prefixes, and one
 * rule per family that sends every packet without HF_MARK to it, before the
 * main table is asked. Each prefix stands there twice: over the tunnel
 * interface, and, with a worse metric, as unreachable, which remains if the
 * interface vanishes, so that nothing leaves in clear. Both families, by the
 * prefix. All functions take a netlink of NETLINK_ROUTE and return 0 or -errno,
 * and may be repeated: what is there (or gone) already is no error.
 */
#ifndef HF_LOADER_ROUTE_H
#define HF_LOADER_ROUTE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"
#include "loader/netlink.h"

#define ROUTE_TABLE 7546
#define ROUTE_RULE_PREFERENCE 7546 /* after local (0), before main (32766) */
#define ROUTE_METRIC 100
#define ROUTE_METRIC_UNREACHABLE 10000
#define ROUTE_METRIC_ANNOUNCED 7546 /* in the main table: nobody else's route is replaced, and any other goes before ours */

/*
 * Adds n prefixes over interface index and their unreachable twins, the twins
 * last, also where the others fail: alone they would hide the open route of a wider
 * prefix. The tunnel interface drops what it does not know. source, where not NULL, is the address that packets of this machine get
 * when they have none; used for prefixes of its family. Many at a time: a
 * hundred thousand prefixes are a matter of a second. Updates: a prefix that is
 * there gets the new interface and source.
 */
int route_add(struct netlink *nl, int index, const struct hf_prefix *prefixes, size_t n,
	      const struct hf_addr *source);

/* Only the unreachable twins: what fails closed before the interface exists. */
int route_add_unreachable(struct netlink *nl, const struct hf_prefix *prefixes, size_t n);

/* Removes n prefixes over the tunnel interface; their unreachable twins stay. */
int route_close(struct netlink *nl, const struct hf_prefix *prefixes, size_t n);

/* Removes n prefixes with their twins, the twins first: a wider prefix may lead the way from then on. */
int route_delete(struct netlink *nl, const struct hf_prefix *prefixes, size_t n);

/* Adds or deletes the rule of one family: AF_INET or AF_INET6. ret_existed (may be NULL): it was there before. */
int route_rule_add(struct netlink *nl, int family, bool *ret_existed);
int route_rule_delete(struct netlink *nl, int family);

/* A rule of somebody else's that is asked before Holdfast's. */
struct route_rule {
	int family; /* AF_INET or AF_INET6 */
	__u32 preference;
	__u32 table;
};

/*
 * Reads a notice of a rule, or an answer that has one. True for one that is asked before Holdfast's and can lead elsewhere what
 * is tunnelled: not the local table's, nor that of a VRF, which is for its own interfaces. Pure.
 */
bool route_rule_is_before(const struct nlmsghdr *message, struct route_rule *ret_rule);

/* All such rules, of both families, as struct route_rule; the list is the caller's to clear, also on failure. */
int route_rules_before(struct netlink *nl, struct netlink_list *ret_rules);

/* A route of Holdfast's, as a sweep sees it. */
struct route_seen {
	struct hf_prefix prefix;
	bool main;	  /* announced in the main table; else in Holdfast's own */
	bool unreachable;
};

/* How many routes of Holdfast's there are, in its own table and in main, of both families. */
int route_count(struct netlink *nl, size_t *ret_n);

/* Removes those of Holdfast's routes that keep does not say true to. *ret_n (may be NULL): how many. */
int route_sweep(struct netlink *nl, bool (*keep)(void *context, const struct route_seen *route), void *context,
		size_t *ret_n);

/* Removes all that is Holdfast's by protocol number, of both families: in its table, and what was announced. */
int route_flush(struct netlink *nl);

/*
 * A route in the main table over interface index: the claim in routed
 * networks, for a routing daemon to redistribute by its protocol number
 * (NETLINK_HF_PROTOCOL).
 */
int route_announce(struct netlink *nl, int index, const struct hf_prefix *prefix);
int route_withdraw(struct netlink *nl, int index, const struct hf_prefix *prefix);

#endif
