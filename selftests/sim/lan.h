/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The target network: one target that answers whatever it is sent, its ARP cache,
 * and what the gateways' kernels answer for the addresses that they claim.
 */
#ifndef HF_SIM_LAN_H
#define HF_SIM_LAN_H

#include "selftests/sim/net.h"

struct arp {
	int gateway; /* who has the client's address; -1: not known */
	__u64 confirmed_ns, asked_ns; /* asked_ns: 0, or since when an answer is awaited */
	bool waiting;
	struct inner packet; /* the last one that waits for the answer */
};

struct lan {
	unsigned int loss; /* per mille */
	struct arp *arp;   /* by client */
};

void lan_init(struct sim *sim);
void lan_clear(struct lan *lan);

/* A gateway passes on what a client sent. */
void lan_send(struct sim *sim, struct node *gateway, const struct inner *packet);

/* A gateway says that it has the addresses of this client (index of the node). */
void lan_announce(struct sim *sim, struct node *gateway, int client);

/* The target sends something to this client by itself. */
void lan_target_sends(struct sim *sim, int client);

#endif
