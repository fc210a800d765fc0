/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/daemon.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/adopt.h"
#include "loader/certwatch.h"
#include "loader/daemon_internal.h"
#include "loader/reload.h"
#include "loader/shortage.h"
#include "loader/slots.h"
#include "policy/file.h"

#define STALE_NS CLOCK_NS_PER_S

/* What the datapath tells. */

/*
 * It lay unread, since nobody ran or we were stopped: whoever sent it has moved on. To claim its addresses now would take
 * them from the gateway that it uses.
 */
static bool is_stale(const struct hf_event *event)
{
	return clock_now_ns() > event->time_ns + STALE_NS;
}

static void on_control(struct daemon *daemon, const struct hf_event *event)
{
	struct peer *peer = peers_by_if_id(daemon->peers, event->if_id);

	if (peer && !peer->up && event->control == HF_CONTROL_START)
		peer->started = true; /* its end was quicker */
	if (!peer || !peer->up)
		return;
	if (peer->role == HF_ROLE_CLIENT && event->control == HF_CONTROL_ANSWER)
		clusters_answered(daemon->clusters, peer);
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_control(daemon->clusters, peer, event);
	else if (event->control != HF_CONTROL_PROBE || !is_stale(event)) /* it is repeated by who waits for the answer */
		clients_control(daemon->clients, peer, event, gate_is_open(daemon->gate));
}

static void on_datapath(void *context, const struct hf_event *event, const __u8 *packet)
{
	struct daemon *daemon = context;
	struct peer *peer;

	switch (event->type) {
	case HF_EVENT_WANT:
		if (clusters_have_slot(daemon->clusters, event->slot))
			clusters_want(daemon->clusters, event->slot, packet, event->packet_len);
		else
			clients_want(daemon->clients, event->slot, packet, event->packet_len);
		break;
	case HF_EVENT_PAYLOAD:
		clusters_payload(daemon->clusters, event->slot);
		break;
	case HF_EVENT_CLAIM:
		peer = peers_by_if_id(daemon->peers, event->if_id);
		if (peer && peer->role == HF_ROLE_CLIENT && is_stale(event))
			datapath_rearm_claim(daemon->node.dp, event->if_id); /* by its next packet, if there is one */
		else if (peer && peer->role == HF_ROLE_CLIENT)
			clients_claim(daemon->clients, peer);
		break;
	case HF_EVENT_CONTROL:
		on_control(daemon, event);
		break;
	}
}

static void datapath_readable(evutil_socket_t fd, short what, void *context)
{
	datapath_consume_events(((struct daemon *)context)->node.dp);
}

/* What clients.c asks of the clusters, for clients that the policy names. */

static int admit_client(void *context, struct peer *peer)
{
	return clusters_admit(((struct daemon *)context)->clusters, peer);
}

static void client_up(void *context, struct peer *peer, const struct clients_session *session)
{
	clusters_session_up(((struct daemon *)context)->clusters, peer,
			    &(struct clusters_session){ .request = session->request, .again = session->again,
							.by_peer = session->by_peer });
}

static void client_down(void *context, const struct hf_addr *client, __u32 if_id, __u64 request)
{
	clusters_session_down(((struct daemon *)context)->clusters, client, if_id, request);
}

static void end_client(void *context, struct peer *client, const char *why)
{
	clients_session_end(((struct daemon *)context)->clients, client, why);
}

/* What reconcile.c asks, and what certwatch.c and gate.c tell. */

static void end_broken(void *context, struct peer *peer, const char *why)
{
	daemon_end_session(context, peer, why);
}

/* ends: "... ends"; ended: what is no longer done. */
static void say_ends(struct daemon *daemon, enum event_kind kind, int days, __s64 left_s, const char *ends, const char *ended)
{
	json_t *fields = json_pack("{s:i, s:I}", "days", days, "left_s", (json_int_t)left_s);

	if (days)
		eventlog_emit(daemon->log, kind, fields, "%s within %d day%s", ends, days, days == 1 ? "" : "s");
	else
		eventlog_emit(daemon->log, kind, fields, "%s", ended);
}

static void on_certificate_ends(void *context, int days, __s64 left_s)
{
	say_ends(context, EVENT_CERTIFICATE, days, left_s, "our certificate ends",
		 "our certificate has ended: no session is made with it");
}

static void on_list_ends(void *context, int days, __s64 left_s)
{
	say_ends(context, EVENT_REVOCATION_LIST, days, left_s, "a revocation list runs out",
		 "a revocation list has run out: no certificate of its authority is accepted");
}

static void on_gate_closed(void *context)
{
	clients_ask_to_leave(((struct daemon *)context)->clients);
}

static void on_underlay(void *context, bool reached)
{
	clients_underlay(((struct daemon *)context)->clients, reached);
}

/* Start and stop. */

struct node_config daemon_node_config(const struct daemon *daemon)
{
	return (struct node_config){ .instance = daemon->config.instance, .run_dir = daemon->config.run_dir,
				     .keep_closed = daemon->config.keep_closed,
				     .policy = daemon->policy, .table = daemon->table };
}

static int read_policy(struct daemon *daemon, char *error)
{
	struct policy_report report = { 0 };
	char copy[4096];
	int err = policyfile_load(daemon->config.policy_path, &daemon->policy, &report, error, DAEMON_ERROR_MAX);

	policyfile_print_report(daemon->config.policy_path, &report, stderr);
	if (err && report.errors)
		snprintf(error, DAEMON_ERROR_MAX, "%s: the policy has %zu error%s; nothing was applied",
			 daemon->config.policy_path, report.errors, report.errors == 1 ? "" : "s");
	policy_report_clear(&report);
	if (err)
		return err;
	policyfile_shuffle(daemon->policy);
	snprintf(copy, sizeof(copy), "%s", daemon->config.policy_path);
	snprintf(daemon->folder, sizeof(daemon->folder), "%s", dirname(copy));
	err = policy_compile(daemon->policy, &daemon->table);
	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "policy: %s", strerror(-err));
	return err;
}

void daemon_set_limits(struct daemon *daemon)
{
	const struct policy_general *general = &daemon->policy->general;

	peers_set_limits(daemon->peers, &(struct peers_limits){ .rekey_ms = general->rekey_ms,
								.bytes = general->rekey_bytes,
								.packets = general->rekey_packets });
}

static bool is_clients_slot(void *context, __u32 slot)
{
	struct daemon *daemon = context;

	return daemon->clients && clients_have_slot(daemon->clients, slot);
}

static bool is_clusters_slot(void *context, __u32 slot)
{
	return clusters_have_slot(((struct daemon *)context)->clusters, slot);
}

static int make_parts(struct event_base *base, struct daemon *daemon, char *error)
{
	struct clusters_config clusters = { .base = base, .node = &daemon->node, .log = daemon->log,
					    .policy = daemon->policy, .end_client = end_client,
					    .slot_is_taken = is_clients_slot, .context = daemon };
	struct clients_config clients = { .base = base, .node = &daemon->node, .log = daemon->log,
					  .policy = daemon->policy, .table = daemon->table, .admit = admit_client,
					  .up = client_up, .down = client_down,
					  .slot_is_taken = is_clusters_slot, .context = daemon,
					  .first_slot = (__u32)daemon->policy->n_clusters + 1 };
	int err = peers_new(base, &daemon->node, daemon_on_expiry, daemon, &daemon->peers);

	clusters.peers = clients.peers = daemon->peers;
	if (!err)
		daemon_set_limits(daemon);
	if (!err)
		err = clusters_new(&clusters, &daemon->clusters);
	if (!err)
		err = clients_new(&clients, &daemon->clients);
	if (!err)
		err = certwatch_new(base, on_certificate_ends, daemon, &daemon->certwatch);
	if (!err)
		err = certwatch_new(base, on_list_ends, daemon, &daemon->listwatch);
	if (!err)
		err = gate_new(base, &daemon->node, daemon->log, on_gate_closed, on_underlay, daemon, &daemon->gate);
	if (!err) {
		datapath_on_event(daemon->node.dp, on_datapath, daemon);
		daemon->datapath_readable = event_new(base, datapath_events_fd(daemon->node.dp), EV_READ | EV_PERSIST,
						      datapath_readable, daemon);
		err = daemon->datapath_readable && !event_add(daemon->datapath_readable, NULL) ? 0 : -ENOMEM;
	}
	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "start: %s", strerror(-err));
	return err;
}

static struct adopt_parts adopt_parts(struct daemon *daemon)
{
	return (struct adopt_parts){ .node = &daemon->node, .policy = daemon->policy, .table = daemon->table,
				     .peers = daemon->peers, .clusters = daemon->clusters, .clients = daemon->clients,
				     .log = daemon->log };
}

/* What a run before has left: its sessions go on, or it is said why not. */
static int adopt(struct daemon *daemon, char *error)
{
	struct adopt_parts parts = adopt_parts(daemon);
	int err;

	if (*daemon->node.replaced)
		eventlog_emit(daemon->log, EVENT_REPLACED, json_pack("{s:s}", "why", daemon->node.replaced),
			      "what a run before has left was replaced in order, its sessions are made anew: %s",
			      daemon->node.replaced);
	err = daemon->node.adopted ? adopt_sessions(&parts, &daemon->adopted) : 0;
	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "adopting what a run before has left: %s", strerror(-err));
	return err;
}

/* Nowhere that AUTO leads: what led there does so no longer. */
int daemon_finish_adoption(struct daemon *daemon, char *error)
{
	struct adopt_parts parts = adopt_parts(daemon);
	struct node_config node = daemon_node_config(daemon);
	int err = slots_note(daemon->node.dp, daemon->policy, daemon->node.slots);

	if (err) {
		snprintf(error, DAEMON_ERROR_MAX, "noting the clusters' slots: %s", strerror(-err));
		return err;
	}
	if (!daemon->node.adopted)
		return 0;
	if (auto_wanted(daemon->policy) && !daemon->server.index)
		err = node_hang_up(&daemon->node, &node);
	if (!err)
		err = adopt_finish(&parts, &daemon->adopted);
	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "removing what a run before has left: %s", strerror(-err));
	return err;
}

static struct node_config node_config_now(void *context)
{
	return daemon_node_config(context);
}

static int follow_underlay(void *context)
{
	struct daemon *daemon = context;

	return daemon->service ? daemon_listen_where_due(daemon) : 0;
}

static void abandon_broken(void *context, struct peer *peer)
{
	daemon_give_up(context, peer);
}

static int keep_right(struct event_base *base, struct daemon *daemon, char *error)
{
	struct reconcile_config config = { .base = base, .node = &daemon->node, .node_config = node_config_now,
					   .peers = daemon->peers, .clients = daemon->clients, .log = daemon->log,
					   .underlay_followed = follow_underlay, .end = end_broken,
					   .abandon = abandon_broken, .context = daemon };
	int err = reconcile_new(&config, &daemon->reconcile);

	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "netlink: cannot listen to changes: %s", strerror(-err));
	return err;
}

int daemon_start(struct event_base *base, const struct daemon_config *config, char error[DAEMON_ERROR_MAX],
		 struct daemon **ret_daemon)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	struct node_config node;
	int err;

	if (!daemon)
		return -ENOMEM;
	daemon->base = base;
	daemon->config = *config;
	err = read_policy(daemon, error);
	if (!err)
		err = eventlog_new(&daemon->log);
	if (!err)
		err = shortage_begin(base, daemon->log);
	if (err)
		goto out;
	node = daemon_node_config(daemon);
	err = node_preflight(&daemon->node);
	if (!err)
		err = node_up(&daemon->node, &node);
	if (err) {
		snprintf(error, DAEMON_ERROR_MAX, "%s", daemon->node.error);
		goto out;
	}
	daemon->node_up = true;
	err = make_parts(base, daemon, error);
	if (!err)
		err = adopt(daemon, error);
	if (!err)
		err = keep_right(base, daemon, error);
	if (!err)
		err = daemon_start_key_service(base, daemon, error);
	if (!err) {
		err = daemon_watch_servers(daemon);
		if (err)
			snprintf(error, DAEMON_ERROR_MAX, "AUTO: cannot watch the links: %s", strerror(-err));
	}
out:
	if (err) {
		daemon_leave(daemon);
		daemon_stop(daemon);
	} else {
		*ret_daemon = daemon;
	}
	return err;
}

void daemon_leave(struct daemon *daemon)
{
	daemon->node.leave = daemon->node.adopted;
}

void daemon_open_the_way(struct daemon *daemon)
{
	daemon->node.started = true;
}

bool daemon_retire(struct daemon *daemon)
{
	/* While the loop still turns, so that those who follow the events read it. */
	if (daemon->ready)
		eventlog_emit(daemon->log, EVENT_STOPPING, NULL, "instance %s goes down: tunnelled destinations are "
			      "reached in clear, or not at all, when it has", daemon->config.instance);
	clusters_say_goodbye(daemon->clusters);
	gate_drain(daemon->gate, true);
	return clients_any(daemon->clients);
}

void daemon_stop(struct daemon *daemon)
{
	struct node_config node;

	if (!daemon)
		return;
	/* Those that have moved may still count on their session here. */
	if (daemon->ready && !daemon->node.leave)
		clients_say_goodbye(daemon->clients);
	reconcile_free(daemon->reconcile);
	reload_free(daemon);
	auto_free(daemon->watch);
	keyservice_stop(daemon->service);
	certwatch_free(daemon->certwatch);
	certwatch_free(daemon->listwatch);
	gate_free(daemon->gate);
	if (daemon->datapath_readable)
		event_free(daemon->datapath_readable);
	clients_free(daemon->clients);
	clusters_free(daemon->clusters);
	peers_free(daemon->peers);
	node = daemon_node_config(daemon);
	node_down(&daemon->node, &node);
	shortage_end();
	eventlog_free(daemon->log);
	policy_table_free(daemon->table);
	policy_free(daemon->policy);
	free(daemon);
}

void daemon_listen(struct daemon *daemon, void (*listener)(void *context, const json_t *event), void *context)
{
	eventlog_listen(daemon->log, listener, context);
}
