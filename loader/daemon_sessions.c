/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The sessions, as they come and go: what the key management service tells is
 * brought to the part that it is for (the peers, and the clusters or the
 * clients), and the other way round whom it is to know. Owns which of the two
 * roles a session has here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/admission.h"
#include "loader/certwatch.h"
#include "loader/daemon_internal.h"
#include "loader/link.h"
#include "loader/reload.h"
#include "loader/shortage.h"

/* As of what is inadmissible (keyservice_internal.h). */
#define WARNINGS_BURST 10
#define WARNINGS_NS CLOCK_NS_PER_S

void daemon_note_ends(struct daemon *daemon, const struct kms_ready *ready)
{
	daemon->not_after = ready->not_after;
	certwatch_set(daemon->certwatch, ready->not_after);
	certwatch_set(daemon->listwatch, ready->lists_end ? ready->lists_end : CERTWATCH_NO_END);
}

/* Of a start: what was adopted goes on without it. */
static void fail(struct daemon *daemon, const char *why)
{
	daemon_leave(daemon);
	daemon->config.failed(daemon->config.context, why);
}

static void on_ready(void *context, const struct kms_ready *ready)
{
	struct daemon *daemon = context;
	char error[DAEMON_ERROR_MAX];

	if (daemon->reload) {
		reload_identity(daemon, ready);
		return;
	}
	if (ready->result) {
		if (!daemon->ready)
			fail(daemon, ready->text);
		else
			eventlog_emit(daemon->log, EVENT_CERTIFICATE, json_pack("{s:s}", "error", ready->text),
				      "%s: the identity before stays", ready->text);
		return;
	}
	log_info("this is %s (trust anchors: %u, revoked certificates: %u)", ready->name, ready->n_anchors, ready->n_revoked);
	daemon_note_ends(daemon, ready);
	if (!daemon->ready && daemon_finish_adoption(daemon, error)) {
		fail(daemon, error);
		return;
	}
	clusters_start(daemon->clusters, daemon->service);
	if (daemon->ready)
		return;
	daemon->ready = daemon->node.started = true;
	eventlog_emit(daemon->log, EVENT_STARTED, json_pack("{s:s}", "name", ready->name), "instance %s is up",
		      daemon->config.instance);
	daemon->config.started(daemon->config.context);
}

void daemon_abandon(struct daemon *daemon, struct peer *peer)
{
	__u32 if_id = peer->if_id;

	if (peer->role == HF_ROLE_CLIENT)
		clients_abandon(daemon->clients, peer);
	else if (peers_abandon(peer))
		clusters_dismiss(daemon->clusters, if_id);
}

void daemon_give_up(struct daemon *daemon, struct peer *peer)
{
	__u64 request = peers_pending_request(peer);

	daemon_abandon(daemon, peer);
	clusters_give_up(daemon->clusters, request);
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
		daemon_abandon(daemon, peer);
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
	session->n_inner = (__u32)admission_own_inner(daemon->policy, session->inner);
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

/* The request of the half session that there is with the same other end, or 0. */
static __u64 request_under_way(const struct daemon *daemon, const struct kms_session *session)
{
	struct peer *peer = peers_find(daemon->peers, peer_role_of(session), &session->remote);

	return peer ? peers_pending_request(peer) : 0;
}

static bool is_broadcast_address(void *context, const struct hf_addr *addr)
{
	struct link_path path;

	return !link_path(((struct daemon *)context)->node.route, addr, &path) && path.broadcast;
}

/* Of a server that is dialled the policy knows nothing before: its address is no client's. */
static bool takes_server(const struct daemon *daemon, const struct kms_session *session)
{
	for (__u32 i = 0; daemon->server.index && i < session->n_inner; i++)
		if (session->inner[i].len == 128 && addr_equal(&session->inner[i].addr, &daemon->server.address) &&
		    !addr_equal(&session->inner[i].addr, &session->remote))
			return true;
	return false;
}

static int install_client(struct daemon *daemon, const struct kms_session *session)
{
	return takes_server(daemon, session) ? -EADDRINUSE : clients_install(daemon->clients, session);
}

/* ret_more: how many were left out before, in words. false: this one is, too. */
static bool may_warn(struct daemon *daemon, char *ret_more, size_t size)
{
	unsigned int untold;

	daemon->warnings.burst = WARNINGS_BURST;
	daemon->warnings.interval_ns = WARNINGS_NS;
	if (!pace_allows(&daemon->warnings, clock_now_ns(), &untold))
		return false;
	*ret_more = '\0';
	if (untold)
		snprintf(ret_more, size, " (and %u more before)", untold);
	return true;
}

static int on_install(void *context, struct kms_session *session)
{
	struct daemon *daemon = context;
	__u64 before;
	char more[48];
	int err;

	if (peers_by_pending(daemon->peers, session->id))
		return -EEXIST;
	if (is_our_gateway(daemon, session))
		reverse(daemon, session);
	before = request_under_way(daemon, session);
	err = peer_role_of(session) == HF_ROLE_GATEWAY ? install_gateway(daemon, session) :
							 install_client(daemon, session);
	if (!err)
		clients_make_way(daemon->clients, &session->remote);
	if (err && !shortage_met(err, true, "installing a session") && may_warn(daemon, more, sizeof(more)))
		log_warning("session with %s (%s) cannot be installed: %s%s%s%s", addr_text(&session->remote).s,
			    session->name, strerror(-err), *netlink_text(daemon->node.xfrm) ? ": " : "",
			    netlink_text(daemon->node.xfrm), more);
	/* The newer exchange has overtaken the one of another request. */
	if (before != request_under_way(daemon, session))
		clusters_give_up(daemon->clusters, before);
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

static int on_activate(void *context, __u64 session)
{
	struct daemon *daemon = context;
	struct peer *peer = peers_by_pending(daemon->peers, session);
	char more[48];
	int err;

	if (!peer) {
		log_debug("session %llu has been overtaken by a newer one", (unsigned long long)session);
		return -ECANCELED;
	}
	end_other_role(daemon, peer);
	err = peer->role == HF_ROLE_GATEWAY ? activate_gateway(daemon, peer) : clients_activate(daemon->clients, peer);
	if (!err)
		return 0;
	if (!shortage_met(err, true, "activating a session") && may_warn(daemon, more, sizeof(more)))
		log_warning("session %llu cannot be activated: %s%s", (unsigned long long)session, strerror(-err), more);
	/* Half a session is none: the other end must not go on with it. */
	if (peer->pending && peer->pending_id == session)
		daemon_abandon(daemon, peer);
	else
		daemon_end_session(daemon, peer, "it could not be activated");
	return err;
}

static void on_abandon(void *context, __u64 session)
{
	struct daemon *daemon = context;
	struct peer *peer = peers_by_pending(daemon->peers, session);

	if (peer)
		daemon_abandon(daemon, peer);
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

	/*
	 * It hung up itself, as a client does that another gateway answered first; or we dial it at this moment; or it has
	 * overtaken itself.
	 */
	if (failure->error == ECONNRESET || failure->error == EALREADY || failure->error == ECANCELED) {
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
	return one->n && !memcmp(one, other, sizeof(*one));
}

void daemon_end_session(struct daemon *daemon, struct peer *peer, const char *why)
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
			daemon_end_session(daemon, peer, "its certificate has been revoked");
		} else if (peer->pending && is_of(&peer->pending->certificate, certificate)) {
			daemon_give_up(daemon, peer);
		} else {
			peer = peers_next(daemon->peers, peer);
			continue;
		}
		peer = peers_next(daemon->peers, NULL); /* the end of one may be that of others */
	}
}

void daemon_on_expiry(void *context, struct peer *peer, bool renew)
{
	struct daemon *daemon = context;
	__s64 now = (__s64)time(NULL);

	if (!renew && peer->not_after && peer->not_after <= now) {
		daemon_end_session(daemon, peer, "its certificate has ended");
	} else if (!renew && daemon->not_after <= now) {
		daemon_end_session(daemon, peer, "this machine's own certificate has ended");
	} else if (!renew && peers_is_ending(peer)) {
		daemon_end_session(daemon, peer, "its time is over");
	} else if (!renew) {
		/* xfrm_timer_handler() goes by the clock of the day when states are a second old, and by a timer from then on. */
		daemon_end_session(daemon, peer, "its keys have reached their limit, or the clock jumped when they were new");
	} else if (peer->role == HF_ROLE_GATEWAY) {
		if (peers_is_ending(peer))
			clusters_prefer_others(daemon->clusters, &peer->remote);
		clusters_renew(daemon->clusters, peer);
	} else {
		clients_renew(daemon->clients, peer);
	}
}

size_t daemon_listening(struct daemon *daemon, const struct policy *policy,
			struct keyservice_place ret_places[DAEMON_LISTENING_MAX])
{
	struct node *node = &daemon->node;
	size_t n = 0;

	for (size_t i = 0; i <= node->n_underlay && policy->interface.accept; i++) {
		const struct node_interface *at = i < node->n_underlay ? &node->underlay[i] : &node->dialled;

		/* One that is away is followed when it is back. */
		if (!at->index || !node_is_there(node, at->index) || (at == &node->dialled && node_is_underlay(node, at->index)))
			continue;
		ret_places[n].index = at->index;
		ret_places[n].port = policy->interface.key_service_port;
		memcpy(ret_places[n++].name, at->name, POLICY_IFACE_MAX);
	}
	return n;
}

int daemon_listen_where_due(struct daemon *daemon)
{
	struct keyservice_place places[DAEMON_LISTENING_MAX];
	char error[DAEMON_ERROR_MAX];
	size_t n = daemon_listening(daemon, daemon->policy, places);
	int err = keyservice_listen(daemon->service, places, n, error, sizeof(error));

	if (err)
		log_warning("%s: nobody can start a session there", error);
	return err;
}

int daemon_start_key_service(struct event_base *base, struct daemon *daemon, char *error)
{
	static const struct keyservice_calls calls = {
		.ready = on_ready, .is_own = is_own_address,
		.is_broadcast = is_broadcast_address, .inadmissible = on_inadmissible,
		.install = on_install, .activate = on_activate, .abandon = on_abandon,
		.attempt_failed = on_attempt_failed, .rejected = on_rejected, .refused = on_refused, .died = on_died,
		.known = on_known, .revoked = on_revoked,
	};
	struct keyservice_place places[DAEMON_LISTENING_MAX];
	struct keyservice_config config = { .program = daemon->config.key_service, .policy = daemon->policy,
					    .policy_folder = daemon->folder, .listen = places,
					    .verbose = daemon->config.verbose };

	config.n_listen = daemon_listening(daemon, daemon->policy, places);
	return keyservice_start(base, &config, &calls, daemon, error, DAEMON_ERROR_MAX, &daemon->service);
}
