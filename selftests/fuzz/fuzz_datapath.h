/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an input of fuzz_datapath.c begins with, and who its programs know; for that
 * target and for seeds.c. Included after either <linux/types.h> or vmlinux.h.
 */
#ifndef HF_SELFTESTS_FUZZ_DATAPATH_H
#define HF_SELFTESTS_FUZZ_DATAPATH_H

enum datapath_program {
	DATAPATH_XDP,
	DATAPATH_BARE,
	DATAPATH_UNDERLAY,
	DATAPATH_OUT,
	DATAPATH_ENCRYPT,
	DATAPATH_DECRYPTED,
	DATAPATH_PROGRAMS
};

enum datapath_flags {
	DATAPATH_GATE_OPEN = 1,
	DATAPATH_STEERED = 2, /* the cluster has a gateway in use */
	DATAPATH_WATCHED = 4,
	DATAPATH_RING_FULL = 8,
	DATAPATH_PULL_FAILS = 16,
	DATAPATH_XFRM_FAILS = 32,
	DATAPATH_NO_XFRM = 64, /* the kernel lacks it */
	DATAPATH_RING_HALF = 128, /* full, for packets that are to be held */
};

struct datapath_setting {
	__u8 program;
	__u8 flags;
	__u8 fib;     /* what a look-up of the route says */
	__u8 network; /* TC after decryption: where the network header is */
	__u16 protocol; /* of the skb, host order */
	__u16 linear; /* bytes of the packet in its linear part */
	__u32 from_if_id;
	__u32 mark;
	__u32 ingress;
	__u32 gso;
	__u64 last_rx_ns;
	__u64 reflect_ns;
	__u64 tokens;
	__u32 len; /* set by the target */
	__u32 pad;
};

#define DATAPATH_NOW_NS 5000000000ull
#define DATAPATH_NONCE 0x1122334455667788ull

/* Addresses as numbers. */
#define DATAPATH_US 0xc0000201u	     /* 192.0.2.1 */
#define DATAPATH_GATEWAY 0xc0000202u /* ours */
#define DATAPATH_CLIENT 0xc0000203u  /* of ours */
#define DATAPATH_TARGETS 0x0a000000u /* 10.0.0.0/24, tunnelled */
#define DATAPATH_INNER 0x0a090005u   /* 10.9.0.5, the client's */

#define DATAPATH_GATEWAY_IF_ID 0x48000001u
#define DATAPATH_CLIENT_IF_ID 0x48000002u
#define DATAPATH_CLUSTER_SLOT 0u
#define DATAPATH_CLIENT_SLOT 5u
#define DATAPATH_PROTECTED 3u
#define DATAPATH_TUNNEL 4u

#endif
