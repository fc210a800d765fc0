/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * AUTO: finds the address of the dial-in server from the point-to-point link,
 * the peer address that rtnetlink reports of it, and follows it: up, down, and
 * to another server. Owns the list of such links and the choice among them.
 * Knows nothing of what is done with the server: it tells.
 */
#ifndef HF_LOADER_AUTO_H
#define HF_LOADER_AUTO_H

#include <event2/event.h>

#include "loader/netlink.h"
#include "policy/policy.h"

/* One point-to-point link. */
struct auto_link {
	int index;
	char name[NETLINK_NAME_MAX];
	bool running;
	struct hf_addr local;
	struct hf_addr peer; /* zero: none reported */
	__u64 came_up;	     /* 0: without a server; else greater than of all that came up before */
};

struct auto_links {
	struct auto_link *link;
	size_t n;
	__u64 last;
};

/* Takes in one event. 0 or -ENOMEM, then the link is not known. Pure, as are the three that follow. */
int auto_links_note(struct auto_links *links, const struct netlink_event *event);
void auto_links_clear(struct auto_links *links);

/* The link whose peer is the server: of several the one that came up last. NULL: none. ret_n: how many have one. */
const struct auto_link *auto_links_pick(const struct auto_links *links, size_t *ret_n);

/* Index of the cluster that the server is redirected to; policy->n_clusters when it is the gateway itself. */
size_t auto_target(const struct policy *policy, const struct hf_addr *server);

/* Whether a tunnel of the policy leads to AUTO. */
bool auto_wanted(const struct policy *policy);

/* What was found. */
struct auto_server {
	int index;
	char name[NETLINK_NAME_MAX]; /* of the link */
	struct hf_addr local;
	struct hf_addr address;
	size_t n_links; /* how many links have a server: more than one is worth a word */
};

/* The server is another than before, or on another link; NULL: there is none. */
typedef void (*auto_changed)(void *context, const struct auto_server *server);

struct auto_watch;

/*
 * Begins to watch, with what there is now: changed is called before this
 * returns when a server is there. route is a NETLINK_ROUTE socket to ask with,
 * the caller's. Returns 0 or -errno.
 */
int auto_new(struct event_base *base, struct netlink *route, auto_changed changed, void *context,
	     struct auto_watch **ret_watch);

/* Takes NULL. Tells nothing any more. */
void auto_free(struct auto_watch *watch);

#endif
