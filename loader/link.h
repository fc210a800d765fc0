/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Network interfaces: the tunnel interface (an xfrm link in collect-metadata
 * mode, one per network namespace), its addresses, and what is to know about
 * others: index, state, MAC and IPv4 address, and which interface and source
 * address lead to a destination. Knows no routes of the tunnel (route.h). All
 * functions take a netlink of NETLINK_ROUTE and return 0 or -errno.
 */
#ifndef HF_LOADER_LINK_H
#define HF_LOADER_LINK_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"
#include "loader/netlink.h"

#define LINK_TUNNEL "hf0"
#define LINK_TUNNEL_MTU 1400 /* room for the outer header, ESP with its padding, and UDP, in 1500 */

struct link_info {
	int index;
	char name[NETLINK_NAME_MAX];
	char kind[16];	 /* "xfrm", "veth", ...; "" for hardware */
	char driver[32]; /* as ethtool(8) tells it; "" when it does not */
	__u32 mtu;
	bool up;
	bool running; /* up and with carrier; see netlink_is_running() */
	bool external; /* kind xfrm only: in collect-metadata mode */
	bool has_mac;
	__u8 mac[6];
};

/* -ENODEV when there is none with this name, or index. */
int link_by_name(struct netlink *nl, const char *name, struct link_info *ret_info);
int link_by_index(struct netlink *nl, int index, struct link_info *ret_info);

/*
 * Creates the tunnel interface (down). -EEXIST: the name is taken, or this
 * network namespace has an xfrm link in that mode already. -EOPNOTSUPP: the
 * kernel has no xfrm links.
 */
int link_tunnel_create(struct netlink *nl, const char *name, __u32 mtu, int *ret_index);

/* Deletes a link. 0 also when there was none. */
int link_delete(struct netlink *nl, const char *name);

int link_set_up(struct netlink *nl, int index, bool up);
int link_rename(struct netlink *nl, int index, const char *name);
int link_set_mtu(struct netlink *nl, int index, __u32 mtu);

/*
 * Adds or removes an address, prefix->addr with the prefix' length. 0 also when
 * it is there, or gone, already. The kernel makes no route for its prefix: routes
 * are route.h's alone.
 */
int link_addr_add(struct netlink *nl, int index, const struct hf_prefix *prefix);
int link_addr_delete(struct netlink *nl, int index, const struct hf_prefix *prefix);

/* The first global IPv4 address of an interface. -EADDRNOTAVAIL when it has none. */
int link_first_v4(struct netlink *nl, int index, struct hf_addr *ret_addr);

struct link_path {
	int index;		/* the interface that packets leave by */
	struct hf_addr source;	/* the address that they would bear */
	struct hf_addr gateway; /* zero when on the same network */
	__u32 mtu;		/* of the route; 0: the interface's own */
	bool local;		/* dst is an address of this machine */
	bool broadcast;		/* of all on a network of its */
};

/* How a packet with HF_MARK (ESP, heartbeat, key exchange) gets to dst. -ENETUNREACH etc. when it does not. */
int link_path(struct netlink *nl, const struct hf_addr *dst, struct link_path *ret_path);

/*
 * Whether the kernel has the xfrm link type; changes nothing. On failure text
 * says in one line, for people, what is missing.
 */
int link_probe_tunnel(struct netlink *nl, char *text, size_t size);

#endif
