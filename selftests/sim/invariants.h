/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What must always hold, asked after every step of what the step has touched, and
 * what must hold in the end. Each ends the run by sim_fault(); README.md is the
 * list of them in words.
 */
#ifndef HF_SIM_INVARIANTS_H
#define HF_SIM_INVARIANTS_H

#include "kms/exchange.h"
#include "selftests/sim/net.h"

struct cluster;
struct conn;
struct peer;

/* Of every packet that is put on the underlay. */
void invariant_packet(struct sim *sim, const struct packet *packet);

/* After every step of a state machine. */
void invariant_cluster(struct sim *sim, const struct node *node, const struct cluster *cluster);

/* The machine was told of a session of a daemon before: where traffic goes through it, it is the one in use. */
void invariant_adopted(struct sim *sim, const struct node *node, const struct cluster *cluster, const struct peer *peer,
		       bool in_use);

/* The policy is another; was: the node in use before. Whom it still names is not left for that. */
void invariant_changed(struct sim *sim, const struct node *node, const struct cluster *cluster, int was);

/* A heartbeat was sent, missed, or the gateway has recovered: what the datapath has stamped must agree. */
void invariant_asked(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway);
void invariant_missed(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway);
void invariant_recovered(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway);

/* Now and then: whoever is in use has given a sign of life, or is left in time. */
void invariant_takeover(struct sim *sim, const struct node *node, const struct cluster *cluster);

/* Somebody sends, and nobody is in use: a session is asked for, and those that are silent are asked whether they live. */
void invariant_wanting(struct sim *sim, const struct node *node, const struct cluster *cluster);

/*
 * A gateway is given up since it was silent: long after the last fault it was, whatever strangers send; at any time where
 * nothing happens but that clients' daemons and machines stop; and not too often where nothing happens but loss.
 */
void invariant_failed(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway);

/* At every timer of a state machine: it does not spin. */
void invariant_tick(struct sim *sim, const struct node *node, struct cluster *cluster);

/* After every step of an exchange, before its actions are carried out. */
void invariant_exchange(struct sim *sim, const struct conn *conn, int side, const struct exchange_actions *act);

/* The bound has passed: whoever can use a gateway does, and nothing is left over. */
void invariant_settled(struct sim *sim);

/* Likewise, after the window: all that was sent in it has been answered. */
void invariant_answered(struct sim *sim);

#endif
