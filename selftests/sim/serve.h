/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The model of loader/client*.c and loader/gate.c: a gateway and its clients, the
 * claim of the way back, and whether the gateway is good for them.
 */
#ifndef HF_SIM_SERVE_H
#define HF_SIM_SERVE_H

#include "selftests/sim/net.h"
#include "selftests/sim/peer.h"

/* A packet for a client whose session does not stand yet is held until it does. */
void serve_want(struct sim *sim, struct node *node, const struct inner *packet);
void serve_session_up(struct sim *sim, struct node *node, struct peer *peer);

/* The datapath heard the client for the first time since the claim ended. */
void serve_claim(struct sim *sim, struct node *node, struct peer *peer);
void serve_unclaim(struct sim *sim, struct node *node, struct peer *peer, const char *why);

void serve_control(struct sim *sim, struct node *node, struct peer *peer, const struct inner *control);

/* Another gateway announces the addresses of this client on the target network; somebody asks who has them. */
void serve_hear_announcement(struct sim *sim, struct node *node, int client);
void serve_hear_request(struct sim *sim, struct node *node, int client);

/* The gate of a daemon that has just started; and a look at what decides it. */
void gate_start(struct sim *sim, struct node *node);
void gate_decide(struct sim *sim, struct node *node);

#endif
