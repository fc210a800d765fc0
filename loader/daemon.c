/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/daemon.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "loader/adopt.h"
#include "loader/certwatch.h"
#include "loader/daemon_internal.h"
#include "loader/link.h"
#include "loader/reload.h"
#include "loader/shortage.h"
#include "loader/status.h"
#include "policy/file.h"

/* What the datapath tells. */

static void on_control(struct daemon *daemon, const struct hf_event *event)
{
	struct peer *peer = peers_by_if_id(daemon->peers, event->if_id);

	if (peer && !peer->up && event->control == HF_CONTROL_START)
		peer->started = true; /* its end was quicker */
	if (!peer || !peer->up)
		return;
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_control(daemon->clusters, peer, event);
	else
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
		if (peer && peer->role == HF_ROLE_CLIENT)
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

/* What the key management service tells. */

static void on_ready(void *context, const struct kms_ready *ready)
{
	struct daemon *daemon = context;

	if (daemon->reload) {
		reload_identity(daemon, ready);
		return;
	}
	if (ready->result) {
		if (!daemon->ready) {
			daemon->node.leave = daemon->node.adopted;
			daemon->config.failed(daemon->config.context, ready->text);
		}
		else
			eventlog_emit(daemon->log, EVENT_CERTIFICATE, json_pack("{s:s}", "error", ready->text),
				      "%s: the identity before stays", ready->text);
		return;
	}
	log_info("this is %s (trust anchors: %u, revoked certificates: %u)", ready->name, ready->n_anchors, ready->n_revoked);
	certwatch_set(daemon->certwatch, ready->not_after);
	clusters_start(daemon->clusters, daemon->service);
	if (daemon->ready)
		return;
	daemon->ready = daemon->node.started = true;
	eventlog_emit(daemon->log, EVENT_STARTED, json_pack("{s:s}", "name", ready->name), "instance %s is up",
		      daemon->config.instance);
	daemon->config.started(daemon->config.context);
}

static void abandon(struct daemon *daemon, struct peer *peer)
{
	__u32 if_id = peer->if_id;

	if (peer->role == HF_ROLE_CLIENT)
		clients_abandon(daemon->clients, peer);
	else if (peers_abandon(peer))
		clusters_dismiss(daemon->clusters, if_id);
}

/* First half: the inbound state, and what the gateway may send. */
static int install_gateway(struct daemon *daemon, const struct kms_session *session)
{
	struct peer *peer = peers_find(daemon->peers, HF_ROLE_GATEWAY, &session->remote);
	int err = peers_install(daemon->peers, peer, session, &peer);

	if (err)
		return err;
	err = clusters_admit(daemon->clusters, peer);
	if (err)
		abandon(daemon, peer);
	return err;
}

/*
 * Whether the one who dialled is a gateway of ours that starts the session itself
 * (the specification: communication that starts from the gateway). A dialler that
 * asks for addresses which our policy tunnels to it is our client all the same:
 * unless it is its own address, somewhere behind several gateways.
 */
static bool is_our_gateway(const struct daemon *daemon, const struct kms_session *session)
{
	bool own = session->n_inner == 1 && session->inner[0].len == 128 &&
		   addr_equal(&session->inner[0].addr, &session->remote);

	if (session->role != KMS_RESPONDER || !session->proven || !clusters_have(daemon->clusters, &session->remote))
		return false;
	if (own && !clusters_alone(daemon->clusters, &session->remote))
		return true;
	for (size_t i = 0; i < session->n_inner; i++)
		if (policy_way_of(daemon->policy, daemon->table, &session->inner[i], &session->remote) ==
		    POLICY_WAY_GATEWAY)
			return false;
	return true;
}

/* The addresses inside are ours, then: what we would have asked for. */
static void reverse(const struct daemon *daemon, struct kms_session *session)
{
	session->reversed = 1;
	session->n_inner = (__u32)keyservice_inner(daemon->policy, session->inner);
	if (!session->n_inner)
		session->inner[session->n_inner++] = prefix_of_host(&session->local);
}

static void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	struct daemon *daemon = context;
	char untold[48] = "";

	if (more)
		snprintf(untold, sizeof(untold), " (and %u more before)", more);
	eventlog_emit(daemon->log, EVENT_INADMISSIBLE,
		      json_pack("{s:s, s:s}", "peer", addr_text(remote).s, "why", words),
		      "the key management service wanted a session with %s that is not admissible: %s%s",
		      addr_text(remote).s, words, untold);
}

static bool is_own_address(void *context, const struct hf_addr *addr)
{
	struct link_path path;

	return !link_path(((struct daemon *)context)->node.route, addr, &path) && path.local;
}

static int on_install(void *context, struct kms_session *session)
{
	struct daemon *daemon = context;
	int err;

	if (peers_by_pending(daemon->peers, session->id))
		return -EEXIST;
	if (is_our_gateway(daemon, session))
		reverse(daemon, session);
	err = peer_role_of(session) == HF_ROLE_GATEWAY ? install_gateway(daemon, session) :
							 clients_install(daemon->clients, session);
	if (err && !shortage_met(err, true, "installing a session"))
		log_warning("session with %s (%s) cannot be installed: %s%s%s", addr_text(&session->remote).s,
			    session->name, strerror(-err), *netlink_text(daemon->node.xfrm) ? ": " : "",
			    netlink_text(daemon->node.xfrm));
	return err;
}

/* Two that use each other as gateways have one session: the other way round from now on. */
static void end_other_role(struct daemon *daemon, const struct peer *peer)
{
	static const char why[] = "the other end is its client from now on, or its gateway";
	enum hf_role role = peer->role == HF_ROLE_GATEWAY ? HF_ROLE_CLIENT : HF_ROLE_GATEWAY;
	struct peer *other = peers_find(daemon->peers, role, &peer->remote);

	if (!other || !other->up || !(peer->named || other->named))
		return;
	if (role == HF_ROLE_GATEWAY)
		clusters_session_end(daemon->clusters, other, why);
	else
		clients_session_end(daemon->clients, other, why);
}

static int activate_gateway(struct daemon *daemon, struct peer *peer)
{
	struct clusters_session session = { .request = peers_pending_request(peer), .again = peer->up,
					    .by_peer = peers_pending_by_peer(peer) || peer->started };
	int err = peers_activate(peer);

	peer->started = false;
	if (!err)
		clusters_session_up(daemon->clusters, peer, &session);
	return err;
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

static void end_broken(void *context, struct peer *peer, const char *why)
{
	struct daemon *daemon = context;

	if (peer->role == HF_ROLE_GATEWAY)
		clusters_session_end(daemon->clusters, peer, why);
	else
		clients_session_end(daemon->clients, peer, why);
}

static void on_activate(void *context, __u64 session)
{
	struct daemon *daemon = context;
	struct peer *peer = peers_by_pending(daemon->peers, session);
	int err = -ENOENT;

	if (peer) {
		end_other_role(daemon, peer);
		err = peer->role == HF_ROLE_GATEWAY ? activate_gateway(daemon, peer) :
						      clients_activate(daemon->clients, peer);
	}
	if (!err)
		return;
	if (!shortage_met(err, true, "activating a session"))
		log_warning("session %llu cannot be activated: %s", (unsigned long long)session, strerror(-err));
	/* Half a session is none: the other end must not go on with it. */
	if (peer && peer->pending && peer->pending_id == session)
		abandon(daemon, peer);
	else if (peer)
		end_broken(daemon, peer, "it could not be activated");
}

static void on_abandon(void *context, __u64 session)
{
	struct daemon *daemon = context;
	struct peer *peer = peers_by_pending(daemon->peers, session);

	if (peer)
		abandon(daemon, peer);
}

static void on_attempt_failed(void *context, const struct kms_failure *failure)
{
	struct daemon *daemon = context;

	clusters_attempt_failed(daemon->clusters, failure->request, failure->error);
	if (failure->error == EALREADY) {
		log_debug("%s: %s", addr_text(&failure->peer).s, failure->text);
		return;
	}
	eventlog_emit(daemon->log, EVENT_ATTEMPT_FAILED,
		      json_pack("{s:s, s:s}", "gateway", addr_text(&failure->peer).s, "why", failure->text),
		      "gateway %s did not authenticate: %s", addr_text(&failure->peer).s, failure->text);
}

static void on_rejected(void *context, const struct kms_failure *failure)
{
	clusters_rejected(((struct daemon *)context)->clusters, failure->request, failure->error);
}

static void on_refused(void *context, const struct kms_failure *failure)
{
	struct daemon *daemon = context;

	/* It hung up itself, as a client does that another gateway answered first; or we dial it at this moment. */
	if (failure->error == ECONNRESET || failure->error == EALREADY) {
		log_debug("%s %s", addr_text(&failure->peer).s, failure->text);
		return;
	}
	eventlog_emit(daemon->log, EVENT_REFUSED,
		      json_pack("{s:s, s:s}", "peer", addr_text(&failure->peer).s, "why", failure->text),
		      "%s was refused: %s", addr_text(&failure->peer).s, failure->text);
}

/* What was under way in it comes as abandoned and rejected. */
static void on_died(void *context, const struct keyworker_death *death)
{
	struct daemon *daemon = context;

	eventlog_emit(daemon->log, EVENT_KEY_SERVICE,
		      json_pack("{s:s, s:i, s:i, s:i}", "why", death->why, "worker", (int)death->index + 1, "times",
				(int)death->times, "again_ms", (int)death->again_ms),
		      "key management service %zu died (%s)%s; it is started again in %u ms", death->index + 1, death->why,
		      death->times > 1 ? ", as the one before it did" : "", death->again_ms);
}

/* Whom the key management service is to know: live sessions, and those that are about to be. */
static size_t on_known(void *context, size_t from, struct kms_known *ret_known, size_t max)
{
	struct daemon *daemon = context;
	size_t at = 0, n = 0;

	for (struct peer *peer = peers_next(daemon->peers, NULL); peer && n < max; peer = peers_next(daemon->peers, peer)) {
		if (peer->up && at++ >= from)
			ret_known[n++] = (struct kms_known){ .remote = peer->remote, .certificate = peer->certificate };
		if (peer->pending && n < max && at++ >= from)
			ret_known[n++] = (struct kms_known){ .remote = peer->pending->remote,
							     .certificate = peer->pending->certificate };
	}
	return n;
}

static bool is_of(const struct kms_certificate *one, const struct kms_certificate *other)
{
	return one->serial_len && !memcmp(one, other, sizeof(*one));
}

static void end_session(struct daemon *daemon, struct peer *peer, const char *why)
{
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_session_end(daemon->clusters, peer, why);
	else
		clients_session_end(daemon->clients, peer, why);
}

static void on_revoked(void *context, const struct kms_certificate *certificate)
{
	struct daemon *daemon = context;
	struct peer *peer = peers_next(daemon->peers, NULL);

	while (peer) {
		if (peer->up && is_of(&peer->certificate, certificate)) {
			clusters_say_goodbye_to(daemon->clusters, peer);
			end_session(daemon, peer, "its certificate has been revoked");
		} else if (peer->pending && is_of(&peer->pending->certificate, certificate)) {
			abandon(daemon, peer);
		} else {
			peer = peers_next(daemon->peers, peer);
			continue;
		}
		peer = peers_next(daemon->peers, NULL); /* the end of one may be that of others */
	}
}

static void on_certificate_ends(void *context, int days, __s64 left_s)
{
	struct daemon *daemon = context;
	json_t *fields = json_pack("{s:i, s:I}", "days", days, "left_s", (json_int_t)left_s);

	if (days)
		eventlog_emit(daemon->log, EVENT_CERTIFICATE, fields, "our certificate ends within %d day%s", days,
			      days == 1 ? "" : "s");
	else
		eventlog_emit(daemon->log, EVENT_CERTIFICATE, fields,
			      "our certificate has ended: no session is made with it");
}

static void on_expiry(void *context, struct peer *peer, bool renew)
{
	struct daemon *daemon = context;

	if (!renew && peer->not_after && peer->not_after <= (__s64)time(NULL)) {
		end_session(daemon, peer, "its certificate has ended");
		return;
	}
	if (renew && peer->role == HF_ROLE_GATEWAY)
		clusters_renew(daemon->clusters, peer);
	else if (renew)
		clients_renew(daemon->clients, peer);
	else if (peer->role == HF_ROLE_GATEWAY)
		clusters_session_end(daemon->clusters, peer, "its keys have reached their limit");
	else
		clients_session_end(daemon->clients, peer, "its keys have reached their limit");
}

static void on_gate_closed(void *context)
{
	clients_ask_to_leave(((struct daemon *)context)->clients);
}

/* What the point-to-point links tell. */

struct node_config daemon_node_config(const struct daemon *daemon)
{
	return (struct node_config){ .instance = daemon->config.instance, .run_dir = daemon->config.run_dir,
				     .policy = daemon->policy, .table = daemon->table };
}

static const char *target_name(const struct daemon *daemon)
{
	return daemon->target < daemon->policy->n_clusters ? daemon->policy->clusters[daemon->target].name : "AUTO";
}

/* The tunnels first: from then on nothing is sent. */
void daemon_hang_up(struct daemon *daemon)
{
	struct node_config node = daemon_node_config(daemon);
	struct hf_addr local = daemon->server.local;
	struct link_path path;

	if (node_hang_up(&daemon->node, &node))
		log_error("AUTO: %s", daemon->node.error);
	daemon->server.index = 0;
	keyservice_listen_also(daemon->service, NULL);
	clusters_detected(daemon->clusters, NULL, 0);
	if (link_path(daemon->node.route, &local, &path) || !path.local)
		clusters_address_lost(daemon->clusters, &local);
}

/* To the server itself, or to the cluster that it is redirected to; over its link, and so from our address there. */
int daemon_dial(struct daemon *daemon, const struct auto_server *server)
{
	struct node_config node = daemon_node_config(daemon);
	size_t target = auto_target(daemon->policy, &server->address);
	int err = node_dial(&daemon->node, &node, server->index, clusters_slot(daemon->clusters, target), &server->local);

	if (err)
		return err;
	daemon->server = *server;
	daemon->target = target;
	if (daemon->policy->interface.accept && !node_is_underlay(&daemon->node, server->index))
		keyservice_listen_also(daemon->service, server->name);
	clusters_detected(daemon->clusters, &server->address, target);
	return 0;
}

static void say_no_server(struct daemon *daemon)
{
	eventlog_emit(daemon->log, EVENT_AUTO,
		      json_pack("{s:n, s:n, s:n}", "interface", "server", "target"),
		      "no point-to-point link has a server: tunnels to AUTO are closed");
}

static void say_server(struct daemon *daemon, const struct auto_server *server, const char *why_not)
{
	struct addr_text address = addr_text(&server->address);
	char several[64] = "";

	if (server->n_links > 1)
		snprintf(several, sizeof(several), " (of %zu such links the one that came up last)", server->n_links);
	eventlog_emit(daemon->log, EVENT_AUTO,
		      json_pack("{s:s, s:s, s:s?, s:I}", "interface", server->name, "server", address.s, "target",
				why_not ? NULL : target_name(daemon), "links", (json_int_t)server->n_links),
		      "%s is the server, on %s%s: tunnels to AUTO %s%s", address.s, server->name, several,
		      why_not ? "stay closed: " : daemon->target < daemon->policy->n_clusters ? "are redirected to " :
												"lead there",
		      why_not ? why_not : daemon->target < daemon->policy->n_clusters ? target_name(daemon) : "");
}

static void on_server(void *context, const struct auto_server *server)
{
	struct daemon *daemon = context;
	int err;

	if (daemon->server.index)
		daemon_hang_up(daemon);
	if (!server) {
		say_no_server(daemon);
		return;
	}
	err = daemon_dial(daemon, server);
	say_server(daemon, server, err ? daemon->node.error : NULL);
}

/* Start and stop. */

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
	int err = peers_new(base, &daemon->node, on_expiry, daemon, &daemon->peers);

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
		err = gate_new(base, &daemon->node, daemon->log, on_gate_closed, daemon, &daemon->gate);
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

/* When it is known where AUTO leads; nowhere: what led there does so no longer. */
static int finish_adoption(struct daemon *daemon, char *error)
{
	struct adopt_parts parts = adopt_parts(daemon);
	struct node_config node = daemon_node_config(daemon);
	int err = 0;

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

static void abandon_broken(void *context, struct peer *peer)
{
	abandon(context, peer);
}

static int keep_right(struct event_base *base, struct daemon *daemon, char *error)
{
	struct reconcile_config config = { .base = base, .node = &daemon->node, .node_config = node_config_now,
					   .peers = daemon->peers, .clients = daemon->clients, .log = daemon->log,
					   .end = end_broken, .abandon = abandon_broken, .context = daemon };
	int err = reconcile_new(&config, &daemon->reconcile);

	if (err)
		snprintf(error, DAEMON_ERROR_MAX, "netlink: cannot listen to changes: %s", strerror(-err));
	return err;
}

size_t daemon_listening(const struct daemon *daemon, const struct policy *policy, char (*ret_names)[POLICY_IFACE_MAX])
{
	size_t n = policy->interface.accept ? daemon->node.n_underlay : 0;

	for (size_t i = 0; i < n; i++)
		memcpy(ret_names[i], daemon->node.underlay[i].name, POLICY_IFACE_MAX);
	return n;
}

static int start_key_service(struct event_base *base, struct daemon *daemon, char *error)
{
	static const struct keyservice_calls calls = {
		.ready = on_ready, .is_own = is_own_address, .inadmissible = on_inadmissible,
		.install = on_install, .activate = on_activate, .abandon = on_abandon,
		.attempt_failed = on_attempt_failed, .rejected = on_rejected, .refused = on_refused, .died = on_died,
		.known = on_known, .revoked = on_revoked,
	};
	char names[NODE_INTERFACES_MAX][POLICY_IFACE_MAX];
	struct keyservice_config config = { .program = daemon->config.key_service, .policy = daemon->policy,
					    .policy_folder = daemon->folder, .listen = names,
					    .verbose = daemon->config.verbose };

	config.n_listen = daemon_listening(daemon, daemon->policy, names);
	return keyservice_start(base, &config, &calls, daemon, error, DAEMON_ERROR_MAX, &daemon->service);
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
		err = start_key_service(base, daemon, error);
	if (!err && auto_wanted(daemon->policy)) {
		err = auto_new(base, daemon->node.route, on_server, daemon, &daemon->watch);
		if (err)
			snprintf(error, DAEMON_ERROR_MAX, "AUTO: cannot watch the links: %s", strerror(-err));
	}
	if (!err)
		err = finish_adoption(daemon, error);
out:
	if (err) {
		daemon->node.leave = daemon->node.adopted;
		daemon_stop(daemon);
	} else {
		*ret_daemon = daemon;
	}
	return err;
}

bool daemon_retire(struct daemon *daemon)
{
	clusters_say_goodbye(daemon->clusters);
	gate_drain(daemon->gate, true);
	return clients_any(daemon->clients);
}

void daemon_stop(struct daemon *daemon)
{
	struct node_config node;

	if (!daemon)
		return;
	if (daemon->ready)
		eventlog_emit(daemon->log, EVENT_STOPPING, NULL, "instance %s goes down: tunnelled destinations are "
			      "reached in clear, or not at all, from here on", daemon->config.instance);
	reconcile_free(daemon->reconcile);
	reload_free(daemon);
	auto_free(daemon->watch);
	keyservice_stop(daemon->service);
	certwatch_free(daemon->certwatch);
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

/* Commands. */

json_t *daemon_refusal(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *auto_json(const struct daemon *daemon)
{
	bool any = daemon->server.index != 0;

	return json_pack("{s:s?, s:s?, s:s?}", "interface", any ? daemon->server.name : NULL, "server",
			 any ? addr_text(&daemon->server.address).s : NULL, "target", any ? target_name(daemon) : NULL);
}

static json_t *command_status(struct daemon *daemon, const json_t *request)
{
	struct status_sources sources = { .instance = daemon->config.instance, .node = &daemon->node,
					  .clusters = daemon->clusters, .clients = daemon->clients,
					  .gate = daemon->gate };
	json_t *status;

	status = status_json(&sources);
	if (daemon->watch)
		json_object_set_new(status, "auto", auto_json(daemon));
	return json_pack("{s:b, s:o}", "ok", 1, "status", status);
}

static json_t *command_failover(struct daemon *daemon, const json_t *request)
{
	const char *cluster = json_string_value(json_object_get(request, "cluster"));
	const char *gateway = json_string_value(json_object_get(request, "gateway"));
	struct hf_addr addr;
	int err;

	if (!cluster)
		return daemon_refusal("which cluster?");
	if (gateway && addr_parse(gateway, strlen(gateway), &addr))
		return daemon_refusal("%s is not an address", gateway);
	err = clusters_move(daemon->clusters, cluster, gateway ? &addr : NULL);
	if (err == -ENOENT)
		return daemon_refusal("no cluster is named %s; see `holdfast status`", cluster);
	if (err == -EINVAL)
		return daemon_refusal("%s is not a gateway of %s; see `holdfast status`", gateway, cluster);
	if (err == -ENODEV)
		return daemon_refusal("%s is not in use by any tunnel now; see `holdfast status`", cluster);
	if (err == -EALREADY)
		return daemon_refusal("%s uses %s already", cluster, gateway);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *command_drain(struct daemon *daemon, const json_t *request)
{
	gate_drain(daemon->gate, true);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *command_undrain(struct daemon *daemon, const json_t *request)
{
	gate_drain(daemon->gate, false);
	return json_pack("{s:b}", "ok", 1);
}

static const struct {
	const char *name;
	json_t *(*run)(struct daemon *daemon, const json_t *request);
} commands[] = {
	{ "status", command_status },
	{ "failover", command_failover },
	{ "drain", command_drain },
	{ "undrain", command_undrain },
};

json_t *daemon_command(struct daemon *daemon, const json_t *request, __u64 visitor)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	if (name && !strcmp(name, "reload"))
		return reload_start(daemon, visitor);
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run(daemon, request);
	return daemon_refusal("holdfastd knows no command %s", name ? name : "(none)");
}
