/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sending heartbeats: a packet that looks like ESP (or ESP in UDP) with the SPI
 * 0xFFFFFFFF, struct hf_beat_wire. The answers are consumed in the datapath and
 * are never seen here. Knows no peers and no timers. IPv4; IPv6 addresses are
 * -EAFNOSUPPORT.
 */
#ifndef HF_LOADER_BEAT_H
#define HF_LOADER_BEAT_H

#include <linux/types.h>
#include <stddef.h>

#include "lib/addr.h"

#define BEAT_PACKET_MAX (20 + 8 + sizeof(struct hf_beat_wire))
#define BEAT_TTL 64

struct beat {
	struct hf_addr local;
	struct hf_addr remote;
	__u16 remote_port; /* host order; 0: plain ESP, else in UDP from HF_UDP_ENCAP_PORT */
	__u32 sequence;
	__u64 nonce;
};

/* A fresh nonce, never zero. Put it into the map before beat_send(): the answer may come at once. */
int beat_nonce(__u64 *ret_nonce);

/* Builds the whole IPv4 packet; the kernel fills in the checksum of its header. Its length, or -errno. Pure. */
int beat_build(const struct beat *beat, __u8 ret_packet[BEAT_PACKET_MAX]);

/* A raw socket, marked HF_MARK, for all peers. The descriptor or -errno. */
int beat_open(void);

/* Sends one heartbeat from its local address, which routing takes into account. 0 or -errno. */
int beat_send(int fd, const struct beat *beat);

#endif
