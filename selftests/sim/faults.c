/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/faults.h"

#include "selftests/sim/cluster.h"
#include "selftests/sim/datapath.h"
#include "selftests/sim/node.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

struct kind;

struct fault {
	const struct kind *kind;
	struct node *gateway, *client, *any;
	unsigned int ways; /* bit 0: from the client, bit 1: from the gateway */
	unsigned int much;
	__u64 lasts_ns;
};

/* ---- one function a kind: begin (+1) and end (-1) ---- */

static void down(struct sim *sim, struct node *node, int by)
{
	if (by > 0 && !node->down++) {
		node_crash(sim, node);
	} else if (by < 0 && !--node->down) {
		node_start(sim, node);
	}
}

static void gateway_dies(struct sim *sim, const struct fault *fault, int by)
{
	down(sim, fault->gateway, by);
}

static void client_dies(struct sim *sim, const struct fault *fault, int by)
{
	down(sim, fault->client, by);
}

static void keys_dies(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0 && fault->any->up && fault->any->keys.up)
		node_crash_keys(sim, fault->any);
}

static void daemon_stops(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0 && fault->any->daemon_up && fault->any->stopped_until <= sim->now)
		node_stop_daemon(sim, fault->any, fault->lasts_ns);
}

/* The machine is paused, as a guest is: long enough that nobody takes it for an answer that is late. */
static void client_pauses(struct sim *sim, const struct fault *fault, int by)
{
	__u64 lasts = fault->lasts_ns < SEC ? SEC : fault->lasts_ns;

	if (by < 0 || !fault->client->daemon_up || fault->client->stopped_until > sim->now)
		return;
	node_stop_daemon(sim, fault->client, lasts);
	fault->client->paused_until = fault->client->stopped_until;
}

static void daemon_dies(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0 && fault->any->daemon_up)
		node_kill_daemon(sim, fault->any, fault->lasts_ns);
}

/* A user takes gateways out of the client's cluster, or orders them anew; in the end it is as it was, if it does not stay. */
static void policy_changes(struct sim *sim, const struct fault *fault, int by)
{
	if (fault->client->daemon_up)
		cluster_change(sim, fault->client, by > 0);
}

static void cut(struct sim *sim, int client, int gateway, unsigned int ways, int by)
{
	if (ways & 1)
		net_cut(sim, client, gateway, by);
	if (ways & 2)
		net_cut(sim, gateway, client, by);
}

static void pair_parts(struct sim *sim, const struct fault *fault, int by)
{
	cut(sim, fault->client->index, fault->gateway->index, fault->ways, by);
}

/* Something on the way drops what is encrypted, there, back or both, and lets heartbeats and key requests through. */
static void pair_loses_esp(struct sim *sim, const struct fault *fault, int by)
{
	if (fault->ways & 1)
		net_cut_esp(sim, fault->client->index, fault->gateway->index, by);
	if (fault->ways & 2)
		net_cut_esp(sim, fault->gateway->index, fault->client->index, by);
}

static void gateway_parts(struct sim *sim, const struct fault *fault, int by)
{
	for (int i = 0; i < sim->shape.n_clients; i++)
		cut(sim, node_client(sim, i)->index, fault->gateway->index, fault->ways, by);
}

static void client_parts(struct sim *sim, const struct fault *fault, int by)
{
	for (int g = 0; g < sim->shape.n_gateways; g++)
		cut(sim, fault->client->index, g, fault->ways, by);
}

static void link_noticed(struct sim *sim, struct node *node, void *what, __u64 n)
{
	node->gate.no_link = node->gate.cut > 0;
	gate_decide(sim, node);
}

static void link_goes(struct sim *sim, const struct fault *fault, int by)
{
	struct node *gateway = fault->gateway;

	gateway->gate.cut += (unsigned int)by;
	if (gateway->daemon_up)
		sim_node_after(sim, gateway, true, 5 * MS, link_noticed, NULL, 0, false);
}

/* The switch behind all of them is started anew. */
static void links_go(struct sim *sim, const struct fault *fault, int by)
{
	for (int g = 0; g < sim->shape.n_gateways; g++)
		link_goes(sim, &(struct fault){ .gateway = &sim->nodes[g] }, by);
}

static void gateway_drains(struct sim *sim, const struct fault *fault, int by)
{
	fault->gateway->gate.drained = by > 0;
	if (fault->gateway->daemon_up)
		gate_decide(sim, fault->gateway);
}

static void network_loses(struct sim *sim, const struct fault *fault, int by)
{
	sim->net.loss += (unsigned int)by * fault->much;
}

static void network_lags(struct sim *sim, const struct fault *fault, int by)
{
	sim->net.late += (unsigned int)by * fault->much;
}

/* In order: it says goodbye, and goes. */
static void client_stops(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0 && fault->client->daemon_up)
		clusters_say_goodbye(sim, fault->client);
	down(sim, fault->client, by);
}

/* Its clients are asked to leave, and a moment later it is gone. */
static void gateway_stops(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0)
		gateway_drains(sim, fault, by);
	down(sim, fault->gateway, by);
}

static void user_moves(struct sim *sim, const struct fault *fault, int by)
{
	if (by > 0 && fault->client->daemon_up)
		cluster_move(sim, fault->client, &fault->client->clusters[0],
			     fault->ways == 3 ? FAILOVER_NOBODY : fault->gateway->index);
}

static const struct kind {
	const char *name;
	void (*change)(struct sim *sim, const struct fault *fault, int by);
	unsigned int weight;
	unsigned int stays; /* per mille of them that never end */
} kinds[] = {
	{ "the gateway dies", gateway_dies, 20, 200 },
	{ "the client dies", client_dies, 10, 0 },
	{ "the key service dies", keys_dies, 8, 0 },
	{ "the daemon stops", daemon_stops, 10, 0 },
	{ "a pair is parted", pair_parts, 14, 300 },
	{ "the gateway is parted from all", gateway_parts, 14, 200 },
	{ "the client is parted from all", client_parts, 10, 0 },
	{ "the gateway's protected link goes", link_goes, 10, 200 },
	{ "the gateway drains", gateway_drains, 6, 200 },
	{ "the client stops in order", client_stops, 5, 0 },
	{ "the gateway stops in order", gateway_stops, 5, 0 },
	{ "the network loses", network_loses, 10, 0 },
	{ "the network lags", network_lags, 8, 0 },
	{ "a user moves the cluster", user_moves, 8, 0 },
	{ "all protected links go", links_go, 4, 0 },
	{ "the daemon is killed", daemon_dies, 10, 0 },
	{ "the policy changes", policy_changes, 10, 300 },
	{ "a pair loses ESP", pair_loses_esp, 6, 300 },
	{ "the client pauses", client_pauses, 6, 0 },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- the plan ---- */

static void change(struct sim *sim, struct node *world, void *what, __u64 begins)
{
	const struct fault *fault = what;

	TRACE(sim, NULL, "%s: %s (%s, %s, %s; ways %u)", begins ? "FAULT begins" : "fault ends", fault->kind->name,
	      fault->gateway->name, fault->client->name, fault->any->name, fault->ways);
	fault->kind->change(sim, fault, begins ? 1 : -1);
}

static void forge(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct packet beat = { .kind = PACKET_BEAT, .from = (int)rng_below(&sim->rng, (__u64)sim->n_nodes),
			       .to = (int)rng_below(&sim->rng, (__u64)sim->n_nodes),
			       .ttl = (__u8)rng_below(&sim->rng, 256), .nonce = rng_next(&sim->rng) };

	/* One of the two is a gateway: between clients there is no way. */
	if (beat.from >= sim->shape.n_gateways)
		beat.to = (int)rng_below(&sim->rng, (__u64)sim->shape.n_gateways);
	sim->count.forged++;
	net_send(sim, &beat);
}

static const struct kind *draw_kind(struct sim *sim)
{
	__u64 all = 0, n;

	for (size_t i = 0; i < N_KINDS; i++)
		all += kinds[i].weight;
	n = rng_below(&sim->rng, all);
	for (size_t i = 0;; i++) {
		if (n < kinds[i].weight)
			return &kinds[i];
		n -= kinds[i].weight;
	}
}

/* Many are short; some are as long as what they are to outlast. */
static __u64 draw_length(struct sim *sim)
{
	return rng_chance(&sim->rng, 300) ? rng_range(&sim->rng, 10, 500) * MS : rng_range(&sim->rng, 500, 15000) * MS;
}

static void plan_one(struct sim *sim)
{
	struct fault *fault = sim_alloc(1, sizeof(*fault)), *end;
	__u64 room = sim->shape.faults_ns - SEC, begins = rng_below(&sim->rng, room);

	do
		fault->kind = draw_kind(sim);
	while (sim->shape.only == SHAPE_ONLY_STOPS && fault->kind->change != daemon_stops && fault->kind->change != client_pauses);
	fault->gateway = &sim->nodes[rng_below(&sim->rng, (__u64)sim->shape.n_gateways)];
	fault->client = node_client(sim, (int)rng_below(&sim->rng, (__u64)sim->shape.n_clients));
	fault->any = &sim->nodes[rng_below(&sim->rng, (__u64)sim->n_nodes)];
	if (sim->shape.only == SHAPE_ONLY_STOPS)
		fault->any = fault->client;
	fault->ways = (unsigned int)rng_range(&sim->rng, 1, 3);
	fault->much = (unsigned int)rng_range(&sim->rng, 50, 500);
	if (fault->kind->change == pair_loses_esp && fault->ways == 1)
		sim->shape.one_way = true;
	fault->lasts_ns = draw_length(sim);
	if (begins + fault->lasts_ns > room)
		fault->lasts_ns = room - begins;
	if (!rng_chance(&sim->rng, fault->kind->stays)) {
		end = sim_alloc(1, sizeof(*end));
		*end = *fault;
		sim_after(sim, begins + fault->lasts_ns, change, end, 0, true);
	}
	sim_after(sim, begins, change, fault, 1, true);
}

/* Late, and at every gateway: before that it could not be told from the other faults, and a client would go where it is not. */
static void flood(struct sim *sim, struct node *world, void *what, __u64 n)
{
	TRACE(sim, NULL, "the reflectors are flooded");
	for (int g = 0; g < sim->shape.n_gateways; g++)
		sim->nodes[g].flooded = true;
}

static void calm_down(struct sim *sim, struct node *world, void *what, __u64 n)
{
	TRACE(sim, NULL, "faults stop");
	sim->calm = true;
	sim->net.loss = sim->net.duplicates = sim->net.late = sim->lan.loss = 0;
	sim->net.jitter_ns /= 10;
	if (sim->shape.flood)
		sim_after(sim, FAULTS_AFTERMATH_NS, flood, NULL, 0, false);
}

__u64 faults_end_ns(const struct sim *sim)
{
	return SEC + sim->shape.faults_ns;
}

void faults_plan(struct sim *sim)
{
	for (unsigned int i = 0; i < sim->shape.n_faults; i++)
		plan_one(sim);
	sim->shape.bound_ns = shape_bound_ns(&sim->shape);
	for (unsigned int i = 0; i < sim->shape.forged; i++)
		sim_after(sim, rng_below(&sim->rng, sim->shape.faults_ns), forge, NULL, 0, false);
	sim_after(sim, sim->shape.faults_ns, calm_down, NULL, 0, false);
}
