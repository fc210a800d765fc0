/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/tcp.h"

#include <stdlib.h>
#include <string.h>

#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

#define RTO_NS (200 * MS)
#define RTO_DOUBLINGS 4
#define TRIES_MAX 12

struct conn *conn_new(struct sim *sim, struct node *from, struct node *to)
{
	struct conn *conn = sim_alloc(1, sizeof(*conn));

	conn->end[0] = (struct end){ .node = from, .life = from->life };
	conn->end[1] = (struct end){ .node = to };
	conn->secret = rng_next(&sim->rng);
	conn->refs = 1;
	conn->next = sim->conns;
	conn->link = &sim->conns;
	if (conn->next)
		conn->next->link = &conn->next;
	sim->conns = conn;
	return conn;
}

void conn_hold(struct conn *conn)
{
	conn->refs++;
}

static void pipe_clear(struct pipe *pipe)
{
	while (pipe->first) {
		struct segment *segment = pipe->first;

		pipe->first = segment->next;
		free(segment);
	}
}

void conn_release(struct conn *conn)
{
	if (--conn->refs)
		return;
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	pipe_clear(&conn->pipe[0]);
	pipe_clear(&conn->pipe[1]);
	free(conn);
}

void conns_clear(struct sim *sim)
{
	while (sim->conns) {
		sim->conns->refs = 1;
		conn_release(sim->conns);
	}
}

static bool is_alive(const struct end *end)
{
	return end->node->up && end->node->life == end->life;
}

static void try_now(struct sim *sim, struct conn *conn, int side);

static void try_again(struct sim *sim, struct node *world, void *what, __u64 side)
{
	try_now(sim, what, (int)side);
	conn_release(what);
}

static void later(struct sim *sim, struct conn *conn, int side)
{
	struct pipe *pipe = &conn->pipe[side];
	unsigned int doublings = pipe->tries < RTO_DOUBLINGS ? pipe->tries : RTO_DOUBLINGS;

	if (++pipe->tries > TRIES_MAX) {
		pipe_clear(pipe);
		pipe->trying = false;
		return;
	}
	conn_hold(conn);
	sim_after(sim, RTO_NS << doublings, try_again, conn, (__u64)side, false);
}

static void reset_arrives(struct sim *sim, struct node *world, void *what, __u64 side)
{
	struct conn *conn = what;

	conn->broken = true;
	if (is_alive(&conn->end[side]))
		connection_broke(sim, conn, (int)side);
	conn_release(conn);
}

void tcp_reset(struct sim *sim, struct conn *conn, int side)
{
	int other = 1 - side, from = conn->end[side].node->index, to = conn->end[other].node->index;

	pipe_clear(&conn->pipe[side]);
	if (net_loses(sim, from, to))
		return; /* whatever the other end says is answered by the next one */
	conn_hold(conn);
	sim_after(sim, net_delay(sim, from, to), reset_arrives, conn, (__u64)other, false);
}

static void arrive(struct sim *sim, struct node *world, void *what, __u64 side)
{
	struct conn *conn = what;
	struct pipe *pipe = &conn->pipe[side];
	struct end *to = &conn->end[1 - side];
	struct segment *segment = pipe->first;

	if (!segment) {
		pipe->trying = false;
	} else if (!to->node->up) {
		later(sim, conn, (int)side);
	} else if (segment->kind != SEGMENT_SYN && !is_alive(to)) {
		tcp_reset(sim, conn, 1 - (int)side);
		later(sim, conn, (int)side);
	} else {
		pipe->first = segment->next;
		pipe->tries = 0;
		connection_take(sim, conn, 1 - (int)side, segment);
		free(segment);
		try_now(sim, conn, (int)side);
	}
	conn_release(conn);
}

static void try_now(struct sim *sim, struct conn *conn, int side)
{
	struct pipe *pipe = &conn->pipe[side];
	int from = conn->end[side].node->index, to = conn->end[1 - side].node->index;

	pipe->trying = pipe->first && is_alive(&conn->end[side]) && !conn->broken;
	if (!pipe->trying) {
		pipe_clear(pipe);
		return;
	}
	if (net_loses(sim, from, to) || net_is_cut(sim, to, from)) { /* without its acknowledgements TCP stands as well */
		later(sim, conn, side);
		return;
	}
	conn_hold(conn);
	sim_after(sim, net_delay(sim, from, to), arrive, conn, (__u64)side, false);
}

void tcp_send(struct sim *sim, struct conn *conn, int side, enum segment_kind kind, const __u8 *bytes, size_t len)
{
	struct pipe *pipe = &conn->pipe[side];
	struct segment *segment = sim_alloc(1, sizeof(*segment)), **at = &pipe->first;

	segment->kind = kind;
	segment->len = len;
	if (len)
		memcpy(segment->bytes, bytes, len);
	while (*at)
		at = &(*at)->next;
	*at = segment;
	if (!pipe->trying)
		try_now(sim, conn, side);
}
