/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's ESP: states (keys) and policies of one peer, by its if_id. Every
 * state and policy of Holdfast has reqid == if_id and an if_id out of a
 * reserved range; by these two together its own are recognised, so that a start
 * after a crash can clean up and never touches those of others. Knows no
 * session, no gateway and no order of things: the caller adds the new one,
 * switches, and deletes the old one.
 *
 * All functions take a netlink of NETLINK_XFRM and return 0 or -errno; the
 * kernel's words are netlink_text(). Messages that carried keys are wiped; the
 * keys of the caller stay the caller's to wipe.
 */
#ifndef HF_LOADER_XFRM_H
#define HF_LOADER_XFRM_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "kms/link.h"
#include "lib/addr.h"
#include "loader/netlink.h"

/* if_ids of Holdfast: XFRM_IF_ID_BASE | 1..XFRM_IF_ID_COUNT-2; the last one is for the probe. */
#define XFRM_IF_ID_BASE 0x48000000u
#define XFRM_IF_ID_MASK 0xff000000u
#define XFRM_IF_ID_COUNT 0x01000000u

#define XFRM_REPLAY_WINDOW 4096 /* XFRMA_REPLAY_ESN_MAX: the most that the kernel takes */

enum xfrm_way { XFRM_WAY_IN, XFRM_WAY_OUT };

/* What one state may carry, in bytes and packets; 0: no limit. expire.h tells of both: soft goes on, hard does not. */
struct xfrm_limits {
	__u64 soft_bytes, hard_bytes;
	__u64 soft_packets, hard_packets;
};

struct xfrm_state_spec {
	enum xfrm_way way;
	struct hf_addr local; /* outer addresses, of one family */
	struct hf_addr remote;
	__u32 spi; /* host order */
	__u32 if_id;
	enum kms_algorithm algorithm;
	const __u8 *key; /* with the 4 bytes of salt at its end */
	size_t key_len;
	__u32 lifetime_s;    /* hard: the kernel deletes it then; 0: none */
	struct xfrm_limits limits;
	__u16 encap_local;   /* UDP encapsulation: our port, host order; 0: plain ESP */
	__u16 encap_remote;  /* the peer's port */
};

/*
 * Adds a state: tunnel mode, both inner families, ESN, replay window 4096
 * inbound. An outbound one marks its ESP packets with HF_MARK, so that they are
 * routed past the tunnel's own rule, and does not copy the inner packets' DSCP. -EEXIST: a state with this destination and
 * SPI exists, and is left as it was; states cannot be replaced (design: add the
 * new one under its new SPI, then delete the old one). Among several outbound
 * states of one if_id the kernel takes the one added last, to the second; from 6.13 on, of those that the policy has not
 * been used with before, only once it is written anew.
 * -EINVAL also for a key of another length than the algorithm's, an if_id
 * outside of the range, or an SPI that ESP reserves.
 */
int xfrm_state_add(struct netlink *nl, const struct xfrm_state_spec *spec);

/*
 * Tells a state with UDP encapsulation the peer's new port, in place: encap_remote
 * and the lifetime (which counts from when it was added) are new, the rest (the limits as well) is as it was added; the
 * key is not looked at. -ESRCH: no such state.
 */
int xfrm_state_move(struct netlink *nl, const struct xfrm_state_spec *spec);

/* Deletes the state with this destination (local for inbound) and SPI. 0 also when there was none. */
int xfrm_state_delete(struct netlink *nl, const struct hf_addr *dst, __u32 spi);

struct xfrm_state_use {
	__u64 bytes;
	__u64 packets;
	__u64 added_s;	  /* time(2) */
	__u64 first_use_s; /* time(2); 0: never used */
	__u64 seq;	  /* inbound: highest seen; outbound: last sent (64 bits, ESN) */
	__u32 if_id;
};

/* Reads how much a state was used; no keys pass. -ESRCH: none with this destination and SPI. */
int xfrm_state_read(struct netlink *nl, const struct hf_addr *dst, __u32 spi, struct xfrm_state_use *ret_use);

/* A peer's ends, as its policies need them. */
struct xfrm_peer {
	struct hf_addr local;
	struct hf_addr remote;
	__u32 if_id;
};

/*
 * Adds the policies out, in and fwd of a peer: any-to-any of IPv4 inside
 * (IPv6 inside is not carried yet, and so dropped), through its states: outward between these ends, inward through
 * any that has its if_id (a template without a source: xfrm_state_addr_cmp() in include/net/xfrm.h). Idempotent: those
 * that exist already are updated in place, also to other outer addresses. On failure some may be written, and none of
 * those that were there are gone: a living session may need them.
 */
int xfrm_policy_add(struct netlink *nl, const struct xfrm_peer *peer);

/* Deletes a peer's policies. 0 also when some or all were missing. */
int xfrm_policy_delete(struct netlink *nl, __u32 if_id);

/*
 * Deletes all states and policies in this network namespace that are
 * Holdfast's. *ret_states and *ret_policies (either may be NULL): how many.
 */
int xfrm_flush(struct netlink *nl, size_t *ret_states, size_t *ret_policies);

struct xfrm_found {
	__u32 if_id;
	struct hf_addr dst;
	__u32 spi;
	struct xfrm_limits limits;
	__u64 added_s; /* time(2) */
	bool spent; /* it has reached a soft limit, of which the kernel tells once */
};

/* Calls visit for each state of Holdfast's, until it returns another value than 0, and returns that: for adopting them. */
int xfrm_state_list(struct netlink *nl, int (*visit)(void *context, const struct xfrm_found *state), void *context);

/* Calls visit for the if_id of each policy of Holdfast's: three times for a peer. */
int xfrm_policy_list(struct netlink *nl, int (*visit)(void *context, __u32 if_id), void *context);

/*
 * Whether the kernel can do ESP with AES-GCM: adds a state to 127.0.0.1 and deletes it
 * again. On failure text says in one line, for people, what is missing.
 */
int xfrm_probe(struct netlink *nl, char *text, size_t size);

/*
 * A UDP socket bound to local:port that hands ESP in UDP (RFC 3948) to the
 * kernel's states; must stay open as long as they are in use. Other datagrams
 * (keepalives excepted) stay readable on it. Marked HF_MARK. Returns the descriptor or -errno.
 */
int xfrm_encap_open(const struct hf_addr *local, __u16 port);

#endif
