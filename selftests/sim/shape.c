/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/shape.h"

#include <string.h>

#include "policy/policy.h"
#include "selftests/sim/rng.h"
#include "selftests/sim/sim.h"

/* As in loader/failover_check.c: the eight probes, the most there are, take 36 times this or the response time. */
#define PROBE_PACE (100 * MS)
/* Until what a client sends is known to be lost, though something comes: asked by routine, and 36 times half a second's patience. */
#define PROOF_NS (38 * SEC)

/* README.md, "The bound", says where each term comes from. */
__u64 shape_bound_ns(const struct shape *shape)
{
	const struct failover_config *m = &shape->machine;
	__u64 pace = m->response_ns > PROBE_PACE ? m->response_ns : PROBE_PACE;
	__u64 silence = m->defer_ns + (m->tries + SHAPE_EXTRA_TRIES + 2) * m->response_ns;
	__u64 per_gateway = silence + 36 * pace + 2 * shape->key_request_ns;

	return (__u64)shape->n_gateways * per_gateway + 20 * SEC + (shape->one_way ? PROOF_NS : 0);
}

static enum failover_heartbeat draw_heartbeat(struct rng *rng)
{
	__u64 n = rng_below(rng, 100);

	return n < 70 ? FAILOVER_BEAT_INSTANT : n < 92 ? FAILOVER_BEAT_DEFERRED : FAILOVER_BEAT_NONE;
}

/* By the policy, as the real policy_session_lifetime_s() has it; or what is left of the certificates is shorter. */
static void draw_lifetime(struct shape *shape, struct rng *rng)
{
	struct policy_general general = { 0 };

	shape->rekey_s = rng_chance(rng, 500) ? 3600 : rng_range(rng, 8, 25);
	general.rekey_ms = (__u32)shape->rekey_s * 1000;
	shape->lifetime_s = policy_session_lifetime_s(&general);
	if (rng_chance(rng, 150))
		shape->lifetime_s = rng_range(rng, 20, 40);
}

static void draw_policy(struct shape *shape, struct rng *rng)
{
	struct failover_config *m = &shape->machine;

	m->heartbeat = draw_heartbeat(rng);
	m->response_ns = rng_range(rng, 30, 300) * MS;
	m->defer_ns = rng_range(rng, 30, 1000) * MS;
	m->tries = (unsigned int)rng_range(rng, 1, 4);
	m->standby = (unsigned int)rng_below(rng, 3);
	m->connect_at_start = rng_chance(rng, 500);
	shape->key_request_ns = rng_range(rng, 1000, 3000) * MS;
	shape->patience_ns = 500 * MS;
	draw_lifetime(shape, rng);
	shape->inner_is_outer = rng_chance(rng, 300);
	shape->fixed_order = rng_chance(rng, 200);
	shape->strict_per_mille = rng_chance(rng, 150) ? 250 : 0;
	shape->named = rng_chance(rng, 300);
	shape->gateway_heartbeat = draw_heartbeat(rng);
	shape->few_spis = rng_chance(rng, 100);
}

static void draw_network(struct shape *shape, struct rng *rng)
{
	shape->loss = rng_chance(rng, 500) ? (unsigned int)rng_below(rng, 100) : 0;
	shape->duplicates = rng_chance(rng, 500) ? (unsigned int)rng_below(rng, 100) : 0;
	shape->late = rng_chance(rng, 300) ? (unsigned int)rng_below(rng, 50) : 0;
	shape->lan_loss = rng_chance(rng, 300) ? (unsigned int)rng_below(rng, 100) : 0;
	shape->delay_ns = rng_range(rng, 1, 30) * MS;
	shape->jitter_ns = rng_below(rng, 20) * MS;
	shape->late_ns = rng_range(rng, 100, 3000) * MS;
	shape->clock_ppm = rng_chance(rng, 300) ? 5000 : 100;
}

/* Nobody asks for answers sooner than the way there and back takes: such a policy finds every gateway dead. */
static void fit_policy(struct shape *shape)
{
	__u64 round_trip = 2 * (shape->delay_ns + shape->jitter_ns) + 5 * MS;

	if (shape->machine.response_ns < round_trip)
		shape->machine.response_ns = round_trip;
}

/* Clients' machines and daemons stop, and nothing else; or the network loses. */
static void draw_only(struct shape *shape, struct rng *rng)
{
	__u64 n = rng_below(rng, 100);

	if (n >= 10)
		return;
	shape->only = n < 5 ? SHAPE_ONLY_STOPS : SHAPE_ONLY_LOSS;
	shape->flood = false;
	shape->forged = shape->strict_per_mille = shape->late = 0;
	shape->loss = n < 5 ? 0 : (unsigned int)rng_range(rng, 30, 100);
	shape->machine.heartbeat = FAILOVER_BEAT_INSTANT;
	if (shape->only == SHAPE_ONLY_STOPS)
		return;
	shape->n_faults = 0;
	shape->faults_ns = 60 * SEC;
}

static void draw_small(struct shape *shape, struct rng *rng)
{
	__u64 most = rng_range(rng, 1, 20);

	shape->n_gateways = (int)rng_range(rng, 2, 5);
	shape->n_clients = (int)rng_range(rng, 1, most);
	draw_policy(shape, rng);
	draw_network(shape, rng);
	fit_policy(shape);
	shape->payload_ns = rng_range(rng, 100, 600) * MS;
	shape->faults_ns = rng_range(rng, 10, 30) * SEC;
	shape->n_faults = (unsigned int)rng_range(rng, 1, 12);
	shape->forged = rng_chance(rng, 200) ? 20 : 0;
	/* Where one miss is enough, no probe goes with the heartbeat. */
	shape->flood = rng_chance(rng, 200) && shape->machine.tries > 1;
	shape->elsewhere_ns = rng_chance(rng, 300) ? rng_range(rng, 50, 300) * MS : 0;
	if (shape->kind == SHAPE_SMALL)
		draw_only(shape, rng);
}

static void draw_crowd(struct shape *shape, struct rng *rng)
{
	draw_small(shape, rng);
	shape->n_gateways = 5;
	shape->n_clients = 3000;
	shape->few_spis = false;
	shape->named = false; /* a machine for each pair would be 15,000 of them, and nothing new */
	shape->machine.heartbeat = FAILOVER_BEAT_INSTANT;
	shape->payload_ns = SEC;
	shape->elsewhere_ns = 0;
	shape->n_faults = 8;
}

static void draw_spread(struct shape *shape, struct rng *rng)
{
	draw_crowd(shape, rng);
	shape->n_clients = 10000;
	shape->machine.standby = 0;
	shape->rekey_s = 3600;
	shape->lifetime_s = 4500;
	shape->fixed_order = false;
	shape->strict_per_mille = shape->loss = shape->duplicates = shape->late = shape->lan_loss = 0;
	shape->payload_ns = 2 * SEC;
	shape->n_faults = shape->forged = 0;
}

void shape_draw(struct shape *shape, enum shape_kind kind, __u64 seed)
{
	static void (*const draws[])(struct shape *shape, struct rng *rng) = {
		[SHAPE_SMALL] = draw_small, [SHAPE_CROWD] = draw_crowd, [SHAPE_SPREAD] = draw_spread,
	};
	struct rng rng;

	memset(shape, 0, sizeof(*shape));
	rng_seed(&rng, rng_mix(~seed));
	shape->kind = kind;
	draws[kind](shape, &rng);
	shape->bound_ns = shape_bound_ns(shape);
	shape->window_ns = 5 * SEC;
}
