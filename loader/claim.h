/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The claim of inner addresses on a target network: proxy neighbour entries
 * (the kernel then answers ARP for them), ARP announcements, and hearing those
 * of others. Knows no clients and no timers: the caller says when, and how
 * often. IPv4; an IPv6 address is -EAFNOSUPPORT.
 *
 * The kernel answers for a proxy entry only while the interface forwards
 * (net.ipv4.conf.X.forwarding), the address is routed over another interface,
 * and after a random delay up to net.ipv4.neigh.X.proxy_delay.
 */
#ifndef HF_LOADER_CLAIM_H
#define HF_LOADER_CLAIM_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"
#include "loader/netlink.h"

/* The widest range whose addresses are claimed each for itself: an IPv4 /24. */
#define CLAIM_RANGE_LEN 120

/* How many addresses a prefix has that are claimed: 0 for a wider one, and for IPv6; and the i-th of them. */
size_t claim_count(const struct hf_prefix *prefix);
struct hf_addr claim_addr(const struct hf_prefix *prefix, size_t i);

/*
 * Adds or deletes the proxy entries for a prefix on interface index (netlink of
 * NETLINK_ROUTE): one for each address, none for a prefix that is wider. May be repeated.
 */
int claim_add(struct netlink *nl, int index, const struct hf_prefix *prefix);
int claim_delete(struct netlink *nl, int index, const struct hf_prefix *prefix);

/*
 * Deletes those proxy entries that Holdfast made and keep does not say true to.
 * *ret_n (may be NULL): how many.
 */
int claim_sweep(struct netlink *nl, bool (*keep)(void *context, int index, const struct hf_addr *addr), void *context,
		size_t *ret_n);

/* Deletes all proxy entries that Holdfast made, on all interfaces; *ret_n (may be NULL): how many. */
int claim_flush(struct netlink *nl, size_t *ret_n);

#define CLAIM_ARP_LEN 42 /* Ethernet header and ARP for IPv4 */

/* An ARP packet, as far as it matters here. */
struct claim_arp {
	struct hf_addr sender;
	struct hf_addr target;
	__u8 sender_mac[6];
	bool reply;
	bool announcement; /* sender == target, not zero: RFC 5227, 1.1 (gratuitous) */
	bool probe;	   /* sender zero: asks whether target is taken (RFC 5227, 1.1) */
};

/* Reads a frame from its Ethernet header on. -EPROTO when it is not ARP for IPv4 over Ethernet. Pure. */
int claim_arp_parse(const void *frame, size_t len, struct claim_arp *ret_arp);

/* Builds the announcement of addr by mac. Pure. */
int claim_arp_build(const struct hf_addr *addr, const __u8 mac[6], __u8 ret_frame[CLAIM_ARP_LEN]);

/*
 * A non-blocking socket that sends on interface index and hears ARP for IPv4
 * there, and nothing else. The descriptor, for the event loop and close(2), or
 * -errno. Does not hear what this machine sends.
 */
int claim_arp_open(int index);

/* Announces addr once, from the interface's mac. -ENETDOWN while the link is down. */
int claim_arp_announce(int fd, const struct hf_addr *addr, const __u8 mac[6]);

/* Receives one packet. 0; -EAGAIN when there is none left; -EPROTO for one to be skipped. */
int claim_arp_receive(int fd, struct claim_arp *ret_arp);

#endif
