/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What Holdfast owns in the kernel stays as it is to be: the kernel tells when
 * somebody else has changed it, or when links and addresses come and go, and
 * what is missing is put back, within a second. A session whose states are gone
 * is ended (keys are not kept), and so asked for anew. What is foreign is not
 * touched. Owns the listening and the pace; what is right is known by the parts.
 */
#ifndef HF_LOADER_RECONCILE_H
#define HF_LOADER_RECONCILE_H

#include <event2/event.h>

#include "loader/client.h"
#include "loader/eventlog.h"
#include "loader/node.h"
#include "loader/peer.h"

struct nlmsghdr;
struct reconcile;

struct reconcile_config {
	struct event_base *base;
	struct node *node;
	/* The policy in force, as node_restore() needs it. */
	struct node_config (*node_config)(void *context);
	struct peers *peers;
	struct clients *clients;
	struct eventlog *log;
	/* Interfaces of the underlay may be others than before. 0, or -errno: it is called again. */
	int (*underlay_followed)(void *context);
	/* The session of a peer cannot go on: it is to be ended. The peer is gone when this returns. */
	void (*end)(void *context, struct peer *peer, const char *why);
	/* The half session that waits is broken; the one before, if there is one, stays. */
	void (*abandon)(void *context, struct peer *peer);
	void *context;
};

/* Listens from now on. 0 or -errno. */
int reconcile_new(const struct reconcile_config *config, struct reconcile **ret_reconcile);
/* All is looked at, and put right where it is not, as when notices were lost. */
void reconcile_doubt(struct reconcile *reconcile);
/* Takes NULL. */
void reconcile_free(struct reconcile *reconcile);

/* What a notice of the kernel is about; several may be one notice's. */
enum reconcile_part {
	RECONCILE_STATES = 1 << 0,
	RECONCILE_POLICIES = 1 << 1,
	RECONCILE_RULES = 1 << 2,
	RECONCILE_ROUTES = 1 << 3,
	RECONCILE_TUNNEL = 1 << 4,    /* hf0: there, up, with its addresses */
	RECONCILE_PROGRAMS = 1 << 5,  /* TC and XDP */
	RECONCILE_ADDRESSES = 1 << 6, /* of the underlay */
	RECONCILE_PROTECTED = 1 << 7, /* interfaces towards the targets */
	RECONCILE_SYSCTLS = 1 << 8,   /* those of which the kernel tells: forwarding */
	RECONCILE_BEFORE = 1 << 9,    /* foreign rules that are asked before Holdfast's: said, and not touched */
	RECONCILE_OTHERS = 1 << 10,   /* the guard on interfaces that are nothing of Holdfast's */
	RECONCILE_ALL = (1 << 11) - 1,
};

/* What is ours, for the reading of notices. */
struct reconcile_ours {
	int tunnel; /* interface index of hf0 */
	const struct node *node;
	__u32 route_port; /* of our own netlink sockets: what we do ourselves is no surprise */
	__u32 xfrm_port;
};

#define RECONCILE_GROUPS_MAX 8
/* The groups of NETLINK_ROUTE that tell of these things. Returns how many. */
size_t reconcile_route_groups(unsigned int ret_groups[RECONCILE_GROUPS_MAX]);

/* Which parts a notice of NETLINK_ROUTE or NETLINK_XFRM makes doubtful: bits of enum reconcile_part. Pure. */
unsigned int reconcile_read_route(const struct reconcile_ours *ours, const struct nlmsghdr *message);
unsigned int reconcile_read_xfrm(const struct reconcile_ours *ours, const struct nlmsghdr *message);

#endif
