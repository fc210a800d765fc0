/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The health gate of a gateway: whether it answers heartbeats, or asks its clients to leave.
 * Open while every Protected interface has its link and nobody has drained the
 * gateway. The datapath's gate is a time that must be pushed on again and again,
 * so it closes by itself when holdfastd no longer runs. The links of the Underlay
 * do not move it (who could ask?), but are watched here as well.
 */
#ifndef HF_LOADER_GATE_H
#define HF_LOADER_GATE_H

#include <event2/event.h>
#include <stdbool.h>

#include "loader/eventlog.h"
#include "loader/node.h"

struct gate;

/* Called when the gate has closed, and again from time to time while it is closed. */
typedef void (*gate_closed)(void *context);

/* Called when the last Underlay interface has lost its link (reached: false), and when one has a link again. */
typedef void (*gate_underlay)(void *context, bool reached);

/* Opens the gate if all is well, and watches the links from here on. Needs node->dp. */
int gate_new(struct event_base *base, struct node *node, struct eventlog *log, gate_closed closed, gate_underlay underlay,
	     void *context, struct gate **ret_gate);
/* Closes the gate. Takes NULL. */
void gate_free(struct gate *gate);

/* A user's wish: closed until it is taken back. */
void gate_drain(struct gate *gate, bool drained);

/* What decides may be other than before: the node's protected interfaces. */
void gate_look(struct gate *gate);

bool gate_is_open(const struct gate *gate);
/* Why it is closed, for people; "" while open. */
const char *gate_reason(const struct gate *gate);

#endif
