/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/keys.h"

#include <errno.h>
#include <stdlib.h>

#include "selftests/sim/cluster.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"
#include "selftests/sim/tcp.h"

struct request {
	__u64 id;
	struct node *node;
	struct attempt attempts[SIM_GATEWAYS_MAX];
	int n, started;
	struct attempt *leader; /* the only one whose exchange is under way */
	__u64 patience;		/* which of the timers set is the last; 0: none */
	bool patient;
	bool both_dial;
	struct request *next;
};

struct remembered {
	__u64 session;
	struct conn *conn;
	struct remembered *next;
};

/* ---- to the daemon ---- */

static void daemon_rejected(struct sim *sim, struct node *node, void *what, __u64 request)
{
	clusters_rejected(sim, node, request);
}

static void daemon_attempt_failed(struct sim *sim, struct node *node, void *what, __u64 n)
{
	clusters_attempt_failed(sim, node, n >> 1, n & 1 ? EACCES : ETIMEDOUT);
}

static void tell(struct sim *sim, struct node *node, sim_fire fire, __u64 n)
{
	sim_node_after(sim, node, true, node->link_ns, fire, NULL, n, false);
}

/* ---- requests ---- */

static struct request *find(struct node *node, __u64 id)
{
	for (struct request *request = node->keys.requests; request; request = request->next)
		if (request->id == id)
			return request;
	return NULL;
}

static void forget(struct attempt *attempt)
{
	if (attempt->conn)
		conn_release(attempt->conn);
	attempt->conn = NULL;
}

static void request_free(struct sim *sim, struct request *request)
{
	struct request **at = &request->node->keys.requests;

	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	for (int i = 0; i < request->n; i++) {
		if (request->attempts[i].conn)
			connection_stop(sim, request->attempts[i].conn, 0, -ECANCELED);
		forget(&request->attempts[i]);
	}
	free(request);
}

static bool under_way(const struct request *request)
{
	for (int i = 0; i < request->started; i++)
		if (request->attempts[i].conn)
			return true;
	return false;
}

static void start_next(struct sim *sim, struct request *request);

static void patience_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct request *request = find(node, n >> 16);

	if (request && request->patient && (request->patience & 0xffff) == (n & 0xffff))
		start_next(sim, request);
}

static void be_patient(struct sim *sim, struct request *request)
{
	if (request->started >= request->n)
		return;
	request->patient = true;
	sim_node_after(sim, request->node, false, node_wait(request->node, sim->shape.patience_ns), patience_due, NULL,
		       request->id << 16 | (++request->patience & 0xffff), false);
}

static void lead(struct sim *sim, struct attempt *attempt)
{
	attempt->request->leader = attempt;
	attempt->waiting = false;
	connection_offer(sim, attempt->conn, attempt->request->id);
}

void attempt_authenticated(struct sim *sim, struct attempt *attempt)
{
	if (!attempt->request->leader) {
		lead(sim, attempt);
		return;
	}
	attempt->waiting = true;
	connection_pause_deadline(sim, attempt->conn);
}

static bool pass_lead(struct sim *sim, struct request *request)
{
	for (int i = 0; i < request->started; i++)
		if (request->attempts[i].waiting && request->attempts[i].conn) {
			connection_resume_deadline(sim, request->attempts[i].conn);
			lead(sim, &request->attempts[i]);
			return true;
		}
	return false;
}

void attempt_ended(struct sim *sim, struct attempt *attempt, int error)
{
	struct request *request = attempt->request;
	bool was_latest = attempt == &request->attempts[request->started - 1];

	forget(attempt);
	attempt->waiting = false;
	if (!error) {
		request_free(sim, request);
		return;
	}
	request->both_dial |= error == -EALREADY;
	tell(sim, request->node, daemon_attempt_failed, request->id << 1 | (error == -EACCES));
	if (request->leader == attempt) {
		request->leader = NULL;
		if (pass_lead(sim, request)) {
			if (!request->patient)
				be_patient(sim, request);
			return;
		}
	}
	if (was_latest || !under_way(request))
		start_next(sim, request);
}

/* Begins the next one. With none left and none under way, that was it. */
static void start_next(struct sim *sim, struct request *request)
{
	request->patient = false;
	if (request->started < request->n) {
		struct attempt *attempt = &request->attempts[request->started++];

		attempt->conn = connection_dial(sim, request->node, attempt->gateway, attempt);
		be_patient(sim, request);
		return;
	}
	if (under_way(request))
		return;
	tell(sim, request->node, daemon_rejected, request->id);
	request_free(sim, request);
}

static void takes_request(struct sim *sim, struct node *node, void *what, __u64 life)
{
	struct request *request = find(node, *(__u64 *)what);

	if (request && node->keys.life == life)
		start_next(sim, request);
}

/* The list is filled at once and begun when the message has arrived: a cancellation in between finds it. */
__u64 keys_request(struct sim *sim, struct node *node, const int *gateways, int n)
{
	struct request *request;
	__u64 *id;

	if (!node->keys.up)
		return 0;
	request = sim_alloc(1, sizeof(*request));
	request->id = ++node->keys.last_request;
	request->node = node;
	request->n = n;
	for (int i = 0; i < n; i++)
		request->attempts[i] = (struct attempt){ .request = request, .gateway = gateways[i] };
	request->next = node->keys.requests;
	node->keys.requests = request;
	id = sim_alloc(1, sizeof(*id));
	*id = request->id;
	sim_node_after(sim, node, false, node->link_ns, takes_request, id, node->keys.life, true);
	return request->id;
}

static void takes_cancel(struct sim *sim, struct node *node, void *what, __u64 id)
{
	struct request *request = find(node, id);

	if (request)
		request_free(sim, request);
}

void keys_cancel(struct sim *sim, struct node *node, __u64 id)
{
	sim_node_after(sim, node, false, node->link_ns, takes_cancel, NULL, id, false);
}

static struct attempt *find_attempt(struct node *node, int gateway, bool offered)
{
	for (struct request *request = node->keys.requests; request; request = request->next)
		for (int i = 0; i < request->started; i++) {
			struct attempt *attempt = &request->attempts[i];

			if (attempt->conn && attempt->gateway == gateway && (!offered || attempt->conn->end[0].offered))
				return attempt;
		}
	return NULL;
}

int keys_give_way(struct sim *sim, struct node *node, struct node *dialler)
{
	struct attempt *attempt;

	if (addr_cmp(&node->outer, &dialler->outer) < 0)
		return find_attempt(node, dialler->index, true) ? -EALREADY : 0;
	while ((attempt = find_attempt(node, dialler->index, false))) {
		connection_stop(sim, attempt->conn, 0, -EALREADY);
		attempt_ended(sim, attempt, -EALREADY);
	}
	return 0;
}

/* ---- sessions ---- */

__u64 keys_session_new(struct node *node, int remote)
{
	return ++node->keys.last_session << 16 | (__u64)remote;
}

int keys_session_remote(__u64 session)
{
	return session & 0xffff;
}

void keys_remember(struct node *node, struct conn *conn, int side)
{
	struct remembered *remembered = sim_alloc(1, sizeof(*remembered));

	conn_hold(conn);
	remembered->session = conn->end[side].session;
	remembered->conn = conn;
	remembered->next = node->keys.remembered;
	node->keys.remembered = remembered;
}

static void remembered_free(struct remembered **at)
{
	struct remembered *remembered = *at;

	*at = remembered->next;
	conn_release(remembered->conn);
	free(remembered);
}

/* It is not freed here: tcp.h's list still holds it for the rest of this event. */
struct conn *keys_conn(struct sim *sim, struct node *node, __u64 session)
{
	for (struct remembered **at = &node->keys.remembered; *at; at = &(*at)->next)
		if ((*at)->session == session) {
			struct conn *conn = (*at)->conn;
			bool last = conn->refs == 1;

			remembered_free(at);
			return last ? NULL : conn;
		}
	return NULL;
}

/* ---- the process ---- */

void keys_start(struct node *node)
{
	node->keys.up = true;
	node->keys.life++;
}

void keys_clear(struct node *node)
{
	while (node->keys.requests) {
		struct request *request = node->keys.requests;

		node->keys.requests = request->next;
		for (int i = 0; i < request->n; i++)
			forget(&request->attempts[i]);
		free(request);
	}
	while (node->keys.remembered)
		remembered_free(&node->keys.remembered);
}

/* The kernel ends its connections. */
static void reset_all(struct sim *sim, struct node *node)
{
	for (struct conn *conn = sim->conns, *next; conn; conn = next) {
		next = conn->next;
		for (int side = 0; side < 2; side++)
			if (conn->end[side].node == node && conn->end[side].life == node->life &&
			    conn->end[side].stage != STAGE_NONE)
				tcp_reset(sim, conn, side);
	}
}

void keys_die(struct sim *sim, struct node *node)
{
	if (node->up)
		reset_all(sim, node);
	node->keys.up = false;
	keys_clear(node);
}
