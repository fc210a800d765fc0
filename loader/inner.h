/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Putting packets into the tunnel interface from user space: control packets
 * (struct hf_control_wire), and packets that were held until a session stood.
 * What goes in here can leave by the tunnel interface only, whatever the routes
 * say. Knows no peers: the datapath steers. IPv4; IPv6 is -EAFNOSUPPORT.
 */
#ifndef HF_LOADER_INNER_H
#define HF_LOADER_INNER_H

#include <linux/types.h>
#include <stddef.h>

#include "lib/addr.h"

#define INNER_CONTROL_LEN (20 + sizeof(struct hf_control_wire))
#define INNER_CONTROL_TTL 64

struct inner {
	int control; /* marked HF_MARK, so that the tunnel's own table is not asked */
	int held;    /* not marked: what was held goes the way of any packet */
};

/* Opens both for the interface of this name; again when it was created anew. */
int inner_open(const char *interface, struct inner *ret_inner);
void inner_close(struct inner *inner);

/* Builds a control packet, from src to dst. Its length or -errno. Pure. */
int inner_control_build(const struct hf_addr *src, const struct hf_addr *dst,
			const struct hf_control_wire *control, __u8 ret_packet[INNER_CONTROL_LEN]);

/* Sends a control packet: src the sender's inner (or outer) address, see contract.h. */
int inner_control_send(const struct inner *inner, const struct hf_addr *src, const struct hf_addr *dst,
		       const struct hf_control_wire *control);

/*
 * Completes the TCP or UDP checksum of an IPv4 packet where only the
 * pseudo-header was summed, as the kernel leaves it to the network card: a packet
 * of this machine, copied on its way out, looks so. Others are not changed.
 * Pure. 0, or -EPROTO when the packet is not well-formed IPv4.
 */
int inner_finish_checksum(__u8 *packet, size_t len);

/*
 * Sends a packet that was held, from its IP header on; its source need not be an
 * address of this machine. Finishes the checksum in place. The kernel computes
 * the header's checksum anew and gives a packet with ID 0 an ID; all else
 * stays. -EMSGSIZE when larger than the interface's MTU, -EPROTO when not
 * well-formed.
 */
int inner_held_send(const struct inner *inner, __u8 *packet, size_t len);

#endif
