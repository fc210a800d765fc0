/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What daemon.c and reload.c share, and nobody else: the daemon itself, and the
 * few things of it that both do.
 */
#ifndef HF_LOADER_DAEMON_INTERNAL_H
#define HF_LOADER_DAEMON_INTERNAL_H

#include "loader/adopt.h"
#include "loader/auto.h"
#include "loader/certwatch.h"
#include "loader/client.h"
#include "loader/cluster.h"
#include "loader/daemon.h"
#include "loader/eventlog.h"
#include "loader/gate.h"
#include "loader/keyservice.h"
#include "loader/node.h"
#include "loader/peer.h"
#include "loader/reconcile.h"

struct daemon {
	struct event_base *base;
	struct daemon_config config;
	struct policy *policy;
	struct policy_table *table;
	char folder[4096];
	struct node node;
	bool node_up;
	struct eventlog *log;
	struct peers *peers;
	struct clusters *clusters;
	struct clients *clients;
	struct gate *gate;
	struct keyservice *service;
	struct certwatch *certwatch;
	struct event *datapath_readable;
	struct reconcile *reconcile;
	struct adopt_result adopted;
	struct auto_watch *watch;  /* NULL: no tunnel leads to AUTO */
	struct auto_server server; /* that AUTO leads to; index 0: none */
	size_t target;		   /* the cluster's index; that of the cluster AUTO is the policy's n_clusters */
	bool ready;
	struct reload *reload; /* under way; NULL: none */
};

/* What the node is to be, by the policy in force. */
struct node_config daemon_node_config(const struct daemon *daemon);

/* The limits of the policy's [GENERAL], for the peers. */
void daemon_set_limits(struct daemon *daemon);

/* Underlays to listen on for others' dials: ret_names has NODE_INTERFACES_MAX. Returns how many; 0 with Accept = NO. */
size_t daemon_listening(const struct daemon *daemon, const struct policy *policy, char (*ret_names)[POLICY_IFACE_MAX]);

/* The server of AUTO: away from it, tunnels first; and to it. */
void daemon_hang_up(struct daemon *daemon);
int daemon_dial(struct daemon *daemon, const struct auto_server *server);

/* {"ok": false, "error": text} */
json_t *daemon_refusal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
