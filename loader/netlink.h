/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Netlink itself: a socket for requests (one by one, dumps, and batches of many
 * messages) and a socket that listens for changes of links, addresses and
 * routes. Knows messages and acknowledgements, not what they ask for: that is
 * xfrm.h, link.h, route.h and claim.h. Blocks only as long as the kernel takes
 * to answer. Not for use by two threads at once.
 */
#ifndef HF_LOADER_NETLINK_H
#define HF_LOADER_NETLINK_H

#include <linux/netlink.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"

/* The longest message that a request may be; nothing of ours comes near. */
#define NETLINK_REQUEST_MAX 2048

/* The number by which routes, rules and neighbour entries are known as Holdfast's (RTA_PROTOCOL etc.). */
#define NETLINK_HF_PROTOCOL 75

#define NETLINK_NAME_MAX 16 /* IFNAMSIZ, without a choice between <net/if.h> and <linux/if.h> */

struct netlink;

/*
 * Opens a socket of NETLINK_ROUTE or NETLINK_XFRM in the current network
 * namespace (it stays there) and reads acknowledgements with their texts.
 */
int netlink_open(int protocol, struct netlink **ret_nl);
/* Takes NULL. */
void netlink_close(struct netlink *nl);

/* The socket's port: notices of what it asked for bear it (nlmsg_pid). 0 for NULL. */
__u32 netlink_port(const struct netlink *nl);

/*
 * The kernel's own words (extended ack) about the last request that failed, or
 * "" where it had none. Valid until the next request.
 */
const char *netlink_text(const struct netlink *nl);

/* A request in the making: what the builders of messages fill. Zeroed by netlink_request(). */
struct netlink_request {
	union {
		struct nlmsghdr head;
		__u8 bytes[NETLINK_REQUEST_MAX];
		__u64 align; /* of the fixed headers that follow */
	};
};

/* Starts a message: type, flags beside NLM_F_REQUEST, and head_len zeroed bytes of its fixed header, returned. */
void *netlink_request(struct netlink_request *request, __u16 type, __u16 flags, size_t head_len);

/* An answer's message; returns 0 to go on, or -errno, which netlink_talk() then returns. */
typedef int (*netlink_answer)(void *context, const struct nlmsghdr *message);

/*
 * Sends the request, waits for its acknowledgement (or the end of the dump, if
 * NLM_F_DUMP is set) and hands every message that answers it to answer (which
 * may be NULL). Returns 0, the kernel's -errno, or -errno of the socket. A dump
 * that was interrupted by changes returns -EAGAIN: ask again.
 *
 * Request and receive buffer are wiped before it returns: either may have
 * carried keys.
 */
int netlink_talk(struct netlink *nl, struct netlink_request *request, netlink_answer answer, void *context);

/* Builds message i of a batch. Returns 0, or -errno, which ends the batch. */
typedef int (*netlink_build)(const void *context, size_t i, struct netlink_request *request);

/*
 * Sends n messages, many at a time. A message that fails does not stop the
 * others. Returns 0, or the first error that is not -tolerate (for example
 * EEXIST when adding, ESRCH when deleting; 0: none); netlink_text() is of that
 * one. Wipes as netlink_talk().
 */
int netlink_batch(struct netlink *nl, size_t n, netlink_build build, const void *context, int tolerate);

/*
 * Whether a whole message lies in these left bytes. mnl_nlmsg_ok() compares as int: it takes a length beyond 2^31 for a
 * short one, and mnl_nlmsg_next() then goes on for ever.
 */
bool netlink_message_ok(const struct nlmsghdr *message, int left);

/* What a dump collects, since nothing can be changed while it runs. Zero it first; items of one size. */
struct netlink_list {
	void *items;
	size_t n;
	size_t room;
};

int netlink_list_add(struct netlink_list *list, const void *item, size_t size);
void netlink_list_clear(struct netlink_list *list);

/* Puts an address as the attribute's 4 or 16 bytes; returns the family. */
int netlink_put_addr(struct netlink_request *request, __u16 type, const struct hf_addr *addr);
/* Reads 4 or 16 bytes of an address by family. Returns 0 or -EAFNOSUPPORT. */
int netlink_get_addr(int family, const void *bytes, struct hf_addr *ret_addr);
/* The length of a prefix in its own family: 24 of an IPv4 /24. */
__u8 netlink_prefix_len(const struct hf_prefix *prefix);

enum netlink_event_type {
	NETLINK_LINK,	   /* a link appeared or changed: index, name, up, running, point_to_point */
	NETLINK_LINK_GONE, /* index, name */
	NETLINK_ADDR,	   /* an IPv4 address was added: index, addr, peer */
	NETLINK_ADDR_GONE, /* index, addr, peer */
	NETLINK_ROUTE_CHANGE, /* an IPv4 route that is not Holdfast's own was added or removed */
	NETLINK_OVERRUN,   /* events were lost: read again what is of interest */
};

struct netlink_event {
	enum netlink_event_type type;
	int index;
	char name[NETLINK_NAME_MAX];
	bool up;      /* by the administrator */
	bool running; /* up, and operational: has its carrier */
	bool point_to_point;
	bool enslaved; /* a port of a bridge, a bond or the like */
	struct hf_addr addr;
	struct hf_addr peer; /* of the other end of a point-to-point link; zero: none */
};

typedef void (*netlink_notify)(void *context, const struct netlink_event *event);

struct netlink_monitor;

/* Listens for changes. Events of Holdfast's own routes are left out in the kernel already. */
int netlink_monitor_open(netlink_notify notify, void *context, struct netlink_monitor **ret_monitor);
void netlink_monitor_close(struct netlink_monitor *monitor);
/* For the event loop: readable when netlink_monitor_dispatch() has work. Non-blocking. */
int netlink_monitor_fd(const struct netlink_monitor *monitor);
/* Reads all that is there and calls notify for each. Returns 0 or -errno. notify must not close the monitor. */
int netlink_monitor_dispatch(struct netlink_monitor *monitor);

/* Calls notify for each link and then each IPv4 address that there is, as if they appeared now. nl is of NETLINK_ROUTE. */
int netlink_monitor_replay(struct netlink *nl, netlink_notify notify, void *context);

/* Whether flags and operstate (IFLA_OPERSTATE; -1 when not told) mean that frames can pass. Pure. */
bool netlink_is_running(unsigned int flags, int operstate);

#endif
