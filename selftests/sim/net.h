/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The underlay: datagrams between nodes, which it loses, doubles, delays and brings
 * out of order, and ways that are cut, perhaps in one direction only. Looks at
 * each packet as an eavesdropper would: what is not encrypted is a fault.
 */
#ifndef HF_SIM_NET_H
#define HF_SIM_NET_H

#include <linux/types.h>
#include <stdbool.h>

#include "bpf/contract.h"

struct sim;
struct node;

/* What travels inside. */
struct inner {
	int client;	/* whose flow it is */
	bool to_client; /* from the target, or from its gateway */
	__u64 number;	/* of the flow's packets; 0 for what a target sends by itself */
	enum hf_control_type control; /* 0: payload */
	__u64 nonce;
	bool elsewhere; /* of another cluster of the client's, which uses this gateway: none of our flows */
};

enum packet_kind { PACKET_ESP, PACKET_BEAT };

struct packet {
	enum packet_kind kind;
	int from, to; /* outer addresses: indices of nodes */
	__u8 ttl;
	unsigned int hops; /* how often a node sent it on, whatever its ttl says */
	__u32 spi;
	__u64 key, sequence;
	__u64 nonce;
	struct inner inner;
};

#define NET_HOPS_MAX 1 /* a heartbeat and its answer */

struct net {
	unsigned int loss, duplicates, late; /* per mille, now */
	__u64 jitter_ns, late_ns;
	__u8 *cut; /* [from][to]: how many faults cut this way at present, for all and for ESP only */
};

void net_init(struct sim *sim);
void net_clear(struct net *net);

/* One fault more (+1) or less (-1) cuts the way from one node to another. */
void net_cut(struct sim *sim, int from, int to, int by);

/* The same of what is encrypted: heartbeats in clear and key requests still come through. */
void net_cut_esp(struct sim *sim, int from, int to, int by);

/* Whether this way is cut, for ESP at least. */
bool net_is_cut_for_esp(const struct sim *sim, int from, int to);

bool net_is_cut(const struct sim *sim, int from, int to);

/* How long a packet sent now takes, whether or not it arrives. */
__u64 net_delay(struct sim *sim, int from, int to);

/* Whether the network loses a packet that is sent now. */
bool net_loses(struct sim *sim, int from, int to);

void net_send(struct sim *sim, const struct packet *packet);

#endif
