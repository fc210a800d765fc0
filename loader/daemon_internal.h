/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of daemon.h and reload.c share, and nobody else: the daemon
 * itself, and the few things of it that several do. daemon.c makes the parts and
 * connects them, daemon_sessions.c brings sessions to them, daemon_auto.c the
 * server of AUTO, daemon_commands.c what the control socket asks.
 */
#ifndef HF_LOADER_DAEMON_INTERNAL_H
#define HF_LOADER_DAEMON_INTERNAL_H

#include "loader/adopt.h"
#include "loader/auto.h"
#include "loader/certwatch.h"
#include "loader/client.h"
#include "loader/cluster.h"
#include "lib/pace.h"
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
	struct certwatch *listwatch; /* the same, of the revocation lists */
	struct event *datapath_readable;
	struct reconcile *reconcile;
	struct adopt_result adopted;
	struct auto_watch *watch;  /* NULL: no tunnel leads to AUTO */
	struct auto_server server; /* that AUTO leads to; index 0: none */
	size_t target;		   /* the cluster's index; that of the cluster AUTO is the policy's n_clusters */
	bool ready;
	__s64 not_after; /* of our certificate, seconds since 1970 */
	struct pace warnings;	/* of sessions that cannot be: as often as the key management service wants one */
	struct reload *reload; /* under way; NULL: none */
};

/* What the node is to be, by the policy in force. */
struct node_config daemon_node_config(const struct daemon *daemon);

/* The limits of the policy's [GENERAL], for the peers. */
void daemon_set_limits(struct daemon *daemon);

/*
 * When it is known where AUTO leads, and that nothing of this start can fail any more: the clusters' slots are
 * noted, and what is left of the run before and is nobody's is removed. 0 or -errno, with error (DAEMON_ERROR_MAX).
 */
int daemon_finish_adoption(struct daemon *daemon, char *error);

/* daemon_sessions.c: starts the service whose messages it hears. 0 or -errno, with error (DAEMON_ERROR_MAX). */
int daemon_start_key_service(struct event_base *base, struct daemon *daemon, char *error);

/* This identity is ours from now on: when it ends, and its lists. */
void daemon_note_ends(struct daemon *daemon, const struct kms_ready *ready);

/* A session that is not yet one, and that never will be. */
void daemon_abandon(struct daemon *daemon, struct peer *peer);
/* The same where we are the reason, so that its request has come to nothing, whatever the key service says of it. */
void daemon_give_up(struct daemon *daemon, struct peer *peer);

/* A live one, in either role. */
void daemon_end_session(struct daemon *daemon, struct peer *peer, const char *why);

/* For peers_new(): a session is to be renewed, or has reached its limit. */
void daemon_on_expiry(void *context, struct peer *peer, bool renew);

/* Every underlay, and the link to the server of AUTO. */
#define DAEMON_LISTENING_MAX (NODE_INTERFACES_MAX + 1)

/* Those of them that are there, to listen on for others' dials. Returns how many; 0 with Accept = NO. */
size_t daemon_listening(struct daemon *daemon, const struct policy *policy,
			struct keyservice_place ret_places[DAEMON_LISTENING_MAX]);

/* The interfaces may be others than before: listens there, by the policy in force. 0 or -errno, which is logged. */
int daemon_listen_where_due(struct daemon *daemon);

/* Watches the links for the server of AUTO where a tunnel leads there, by the policy in force. 0 or -errno. */
int daemon_watch_servers(struct daemon *daemon);

/* The name of the cluster that AUTO leads to. */
const char *daemon_auto_target(const struct daemon *daemon);

/* The server of AUTO: away from it, tunnels first; and to it. */
void daemon_hang_up(struct daemon *daemon);
int daemon_dial(struct daemon *daemon, const struct auto_server *server);

/* {"ok": false, "error": text} */
json_t *daemon_refusal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
