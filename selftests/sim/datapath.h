/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of the datapath (bpf/): which session a packet takes, what is taken
 * from which session, the reflector, and what the daemon is told. Decides from the
 * maps' contents only, which here are fields of cluster, peer and gate.
 */
#ifndef HF_SIM_DATAPATH_H
#define HF_SIM_DATAPATH_H

#include "selftests/sim/net.h"

struct peer;

/* hf_tc_encrypt: payload on hf0. To the peer in use, or to the daemon, which holds it. */
void datapath_encrypt(struct sim *sim, struct node *node, const struct inner *packet);

/* A control packet for this peer. */
void datapath_control(struct sim *sim, struct node *node, const struct peer *peer, enum hf_control_type type,
		      __u64 nonce);

/* A packet of another cluster of the client's, by way of this gateway. */
void datapath_elsewhere(struct sim *sim, struct node *client, const struct peer *gateway);

/* hf_xdp_underlay, the kernel's decryption, hf_tc_decrypted. */
void datapath_receive(struct sim *sim, struct node *node, const struct packet *packet);

#endif
