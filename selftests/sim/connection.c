/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/connection.h"

#include <errno.h>
#include <string.h>

#include "selftests/sim/cluster.h"
#include "selftests/sim/invariants.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"
#include "selftests/sim/tcp.h"

#define FEW_SPIS_FIRST 256 /* of 12 bits' worth: a gateway of 20 clients has some 1-2 % of them in use */

static bool is_there(const struct end *end)
{
	const struct node *node = end->node;

	return node->up && node->life == end->life && node->keys.up && node->keys.life == end->keys_life;
}

static void step(struct sim *sim, struct conn *conn, int side, const struct exchange_event *event);

/* Of the key service: void when that has died since. n: the side. */
static void key_event(struct sim *sim, struct conn *conn, int side, __u64 wait, sim_fire fire, __u64 n)
{
	conn_hold(conn);
	sim_after(sim, wait, fire, conn, n << 1 | (__u64)side, false);
}

/* ---- the end ---- */

static void tell_end(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct conn *conn = what;
	struct end *end = &conn->end[n & 1];

	if (is_there(end) && end->attempt)
		attempt_ended(sim, end->attempt, end->error);
	conn_release(conn);
}

static void connection_end(struct sim *sim, struct conn *conn, int side, int error)
{
	struct end *end = &conn->end[side];

	if (end->stage == STAGE_ENDED)
		return;
	end->stage = STAGE_ENDED;
	end->error = error;
	end->deadline++;
	tcp_send(sim, conn, side, SEGMENT_FIN, NULL, 0);
	key_event(sim, conn, side, 0, tell_end, 0);
}

void connection_stop(struct sim *sim, struct conn *conn, int side, int error)
{
	conn->end[side].attempt = NULL;
	if (conn->end[side].stage == STAGE_EXCHANGE && conn->end[side].exchange.role)
		step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_STOP, .error = error, .text = "stopped" });
	connection_end(sim, conn, side, error);
}

/* ---- the deadline ---- */

static void deadline_due(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct conn *conn = what;
	struct end *end = &conn->end[n & 1];

	if (is_there(end) && end->stage != STAGE_ENDED && end->deadline == n >> 1) {
		if (end->stage == STAGE_EXCHANGE && end->exchange.role)
			step(sim, conn, n & 1, &(struct exchange_event){ .type = EXCHANGE_STOP, .error = -ETIMEDOUT,
									 .text = "too late" });
		connection_end(sim, conn, n & 1, -ETIMEDOUT);
	}
	conn_release(conn);
}

static void set_deadline(struct sim *sim, struct conn *conn, int side, __u64 ns)
{
	struct end *end = &conn->end[side];

	end->left_ns = ns;
	end->due_ns = sim->now + node_wait(end->node, ns);
	key_event(sim, conn, side, node_wait(end->node, ns), deadline_due, ++end->deadline);
}

void connection_pause_deadline(struct sim *sim, struct conn *conn)
{
	struct end *end = &conn->end[0];

	end->left_ns = end->due_ns > sim->now ? end->due_ns - sim->now : 0;
	end->deadline++;
}

void connection_resume_deadline(struct sim *sim, struct conn *conn)
{
	set_deadline(sim, conn, 0, conn->end[0].left_ns);
}

/* ---- the exchange's actions ---- */

/* As kms/connection.c has it: the exporter's bytes depend on its context, half of them for each direction. */
static __u64 derive_key(const struct conn *conn, const struct exchange_terms *terms, bool from_initiator)
{
	__u8 context[WIRE_CONTEXT_LEN];
	__u64 key = conn->secret + from_initiator;

	if (!wire_key_len(terms->algorithm))
		return 0;
	wire_key_context(terms->spi_initiator, terms->spi_responder, terms->algorithm, terms->encapsulation, context);
	for (size_t i = 0; i < sizeof(context); i++)
		key = rng_mix(key ^ context[i]);
	return key | 1;
}

static void installed(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct conn *conn = what;

	if (is_there(&conn->end[n & 1]))
		connection_installed(sim, conn, n & 1, -(int)(n >> 2), n & 2,
				     &(struct hf_prefix){ .addr = conn->end[n & 1].node->inner[0], .len = 128 });
	conn_release(conn);
}

static void answer_install(struct sim *sim, struct conn *conn, int side, int error, bool reversed)
{
	key_event(sim, conn, side, conn->end[side].node->link_ns, installed, (__u64)-error << 1 | reversed);
}

static void daemon_installs(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct session *session = what;
	struct conn *conn = keys_conn(sim, node, session->id);
	int err = peer_install(sim, node, session);

	if (conn)
		answer_install(sim, conn, session->role == KMS_RESPONDER, err,
			       session->role == KMS_RESPONDER && session->reversed);
}

static void install(struct sim *sim, struct conn *conn, int side)
{
	struct end *end = &conn->end[side];
	const struct exchange_terms *terms = &end->exchange.terms;
	struct session *session;
	int err = side ? keys_give_way(sim, end->node, conn->end[0].node) : 0;

	if (err) {
		sim->count.both_dial++;
		step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_INSTALLED, .error = err });
		return;
	}
	session = sim_alloc(1, sizeof(*session));
	*session = (struct session){
		.id = end->session = keys_session_new(end->node, conn->end[1 - side].node->index),
		.request = end->request,
		.remote = conn->end[1 - side].node->index,
		.role = side ? KMS_RESPONDER : KMS_INITIATOR,
		.reversed = terms->reversed,
		.spi_in = side ? terms->spi_responder : terms->spi_initiator,
		.spi_out = side ? terms->spi_initiator : terms->spi_responder,
		.key_in = derive_key(conn, terms, side),
		.key_out = derive_key(conn, terms, !side),
		.lifetime_s = terms->lifetime_s,
		.inner = terms->inner[0],
	};
	end->installed = true;
	keys_remember(end->node, conn, side);
	sim_node_after(sim, end->node, true, end->node->link_ns, daemon_installs, session, 0, true);
}

static void activated(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct conn *conn = what;

	if (is_there(&conn->end[n & 1]) && conn->end[n & 1].stage == STAGE_EXCHANGE)
		step(sim, conn, n & 1, &(struct exchange_event){ .type = EXCHANGE_ACTIVATED, .error = -(int)(n >> 1) });
	conn_release(conn);
}

/* As loader/keyservice_messages.c: the responder's key service is told what came of it, the initiator's cluster if nothing did. */
static void daemon_activates(struct sim *sim, struct node *node, void *what, __u64 session)
{
	int err = peer_activate(sim, node, session);
	struct conn *conn = keys_conn(sim, node, session);
	int side = conn && conn->end[1].node == node;

	if (!conn)
		return;
	conn->end[side].stands = !err;
	if (side)
		key_event(sim, conn, side, node->link_ns, activated, (__u64)-err);
	else if (err && conn->end[0].request)
		clusters_rejected(sim, node, conn->end[0].request);
}

static void daemon_abandons(struct sim *sim, struct node *node, void *what, __u64 session)
{
	peer_abandon(sim, node, session);
}

static void step(struct sim *sim, struct conn *conn, int side, const struct exchange_event *event)
{
	struct end *end = &conn->end[side];
	struct exchange_actions act;
	struct node *node = end->node;

	exchange_step(&end->exchange, event, &act);
	invariant_exchange(sim, conn, side, &act);
	if (act.activate) {
		keys_remember(node, conn, side);
		sim_node_after(sim, node, true, node->link_ns, daemon_activates, NULL, end->session, false);
	}
	if (act.abandon)
		sim_node_after(sim, node, true, node->link_ns, daemon_abandons, NULL, end->session, false);
	end->activated |= act.activate;
	if (act.send_len)
		tcp_send(sim, conn, side, SEGMENT_DATA, act.send, act.send_len);
	if (act.install)
		install(sim, conn, side);
	if (exchange_has_ended(&end->exchange))
		connection_end(sim, conn, side, end->exchange.state == EXCHANGE_SUCCEEDED ? 0 : act.error);
}

void connection_installed(struct sim *sim, struct conn *conn, int side, int error, bool reversed,
			  const struct hf_prefix *inner)
{
	if (conn->end[side].stage == STAGE_EXCHANGE)
		step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_INSTALLED, .error = error,
								.reversed = reversed, .inner = inner, .n_inner = 1 });
}

/* ---- the stages ---- */

/* Certificates: what the other end may use. A strict gateway lets nobody use anything. */
static struct exchange_permit permit_of(const struct end *end, const struct node *peer)
{
	return (struct exchange_permit){ .name = peer->name, .hosts = peer->inner,
					 .n_hosts = end->node->strict ? 0 : 1 };
}

static __u32 spi_new(struct sim *sim)
{
	__u32 spi;

	if (sim->shape.few_spis)
		return (__u32)rng_range(&sim->rng, FEW_SPIS_FIRST, FEW_SPIS_FIRST + 0xfff);
	/* A walk through all 2^32 in an order of its own: no repetition by accident. */
	do {
		spi = (__u32)(++sim->last_spi * 0x9e3779b1u);
	} while (!wire_spi_is_valid(spi));
	return spi;
}

static void start_responder(struct sim *sim, struct conn *conn)
{
	struct end *end = &conn->end[1];
	struct exchange_permit permit = permit_of(end, conn->end[0].node);

	end->stage = STAGE_EXCHANGE;
	exchange_init_responder(&end->exchange, spi_new(sim), (__u32)sim->shape.lifetime_s, KMS_ENCAP_AUTO,
				&conn->end[0].node->outer, &permit);
	step(sim, conn, 1, &(struct exchange_event){ .type = EXCHANGE_OPEN });
}

void connection_offer(struct sim *sim, struct conn *conn, __u64 request)
{
	struct end *end = &conn->end[0];
	struct exchange_permit permit = permit_of(end, conn->end[1].node);
	struct wire_offer offer = { .lifetime_s = (__u32)sim->shape.lifetime_s, .encapsulation = KMS_ENCAP_AUTO,
				    .outer = end->node->outer, .n_inner = 1 };

	if (end->stage != STAGE_EXCHANGE)
		return;
	end->request = request;
	end->offered = true;
	offer.inner[0] = prefix_of_host(&end->node->inner[0]);
	exchange_init_initiator(&end->exchange, spi_new(sim), &offer, &permit);
	sim->count.exchanges++;
	step(sim, conn, 0, &(struct exchange_event){ .type = EXCHANGE_OPEN });
}

struct conn *connection_dial(struct sim *sim, struct node *node, int remote, struct attempt *attempt)
{
	struct conn *conn = conn_new(sim, node, &sim->nodes[remote]);

	conn->end[0].keys_life = node->keys.life;
	conn->end[0].attempt = attempt;
	conn->end[0].stage = STAGE_CONNECTING;
	set_deadline(sim, conn, 0, sim->shape.key_request_ns);
	tcp_send(sim, conn, 0, SEGMENT_SYN, NULL, 0);
	return conn;
}

static void take_syn(struct sim *sim, struct conn *conn)
{
	struct end *end = &conn->end[1];

	end->life = end->node->life;
	end->keys_life = end->node->keys.life;
	if (!end->node->keys.up) {
		tcp_reset(sim, conn, 1);
		return;
	}
	end->stage = STAGE_HANDSHAKE;
	set_deadline(sim, conn, 1, 2 * sim->shape.key_request_ns);
	tcp_send(sim, conn, 1, SEGMENT_SYNACK, NULL, 0);
}

/* A stream has no borders: a message may come in two pieces. */
static void take_data(struct sim *sim, struct conn *conn, int side, const struct segment *segment)
{
	size_t first = 1 + rng_below(&sim->rng, segment->len);

	step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = segment->bytes, .len = first });
	if (first < segment->len && conn->end[side].stage == STAGE_EXCHANGE)
		step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = segment->bytes + first,
								.len = segment->len - first });
}

void connection_broke(struct sim *sim, struct conn *conn, int side)
{
	struct end *end = &conn->end[side];

	if (!is_there(end) || end->stage == STAGE_NONE || end->stage == STAGE_ENDED)
		return;
	if (end->stage == STAGE_EXCHANGE && end->exchange.role)
		step(sim, conn, side, &(struct exchange_event){ .type = EXCHANGE_CLOSED });
	connection_end(sim, conn, side, -ECONNRESET);
}

void connection_take(struct sim *sim, struct conn *conn, int side, const struct segment *segment)
{
	struct end *end = &conn->end[side];

	if (segment->kind == SEGMENT_SYN) {
		take_syn(sim, conn);
		return;
	}
	if (!is_there(end)) {
		tcp_reset(sim, conn, side);
		return;
	}
	if (end->stage == STAGE_ENDED)
		return;
	switch (segment->kind) {
	case SEGMENT_SYNACK:
		end->stage = STAGE_HANDSHAKE;
		tcp_send(sim, conn, side, SEGMENT_HELLO, NULL, 0);
		break;
	case SEGMENT_HELLO:
		tcp_send(sim, conn, side, SEGMENT_FLIGHT, NULL, 0);
		break;
	case SEGMENT_FLIGHT:
		end->stage = STAGE_EXCHANGE;
		tcp_send(sim, conn, side, SEGMENT_FINISHED, NULL, 0);
		if (end->attempt)
			attempt_authenticated(sim, end->attempt);
		break;
	case SEGMENT_FINISHED:
		start_responder(sim, conn);
		break;
	case SEGMENT_DATA:
		take_data(sim, conn, side, segment);
		break;
	default:
		connection_broke(sim, conn, side);
	}
}
