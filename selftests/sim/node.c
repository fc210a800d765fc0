/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "selftests/sim/app.h"
#include "selftests/sim/cluster.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

#define GATEWAYS_LOW 0x0a000001u  /* 10.0.0.1: below the clients', so that a gateway's dial goes first */
#define GATEWAYS_HIGH 0xc0000201u /* 192.0.2.1 */
#define CLIENTS_OUTER 0x64400001u /* 100.64.0.1 */
#define CLIENTS_INNER 0xac100001u /* 172.16.0.1 */

__u64 node_now(const struct sim *sim, const struct node *node)
{
	__s64 drift = (__s64)sim->now * node->clock_ppm / 1000000;

	return (__u64)((__s64)sim->now + node->clock_ns + drift);
}

__u64 node_wait(const struct node *node, __u64 local)
{
	if (local > 3600 * SEC)
		local = 3600 * SEC;
	return local * 1000000 / (__u64)(1000000 + node->clock_ppm) + 1;
}

int node_peer_count(const struct sim *sim, const struct node *node)
{
	return node->gateway ? sim->shape.n_clients : sim->shape.n_gateways;
}

struct peer **node_peer_place(const struct sim *sim, const struct node *node, int remote)
{
	return &node->peers[node->gateway ? remote - sim->shape.n_gateways : remote];
}

struct peer *node_peer(const struct sim *sim, const struct node *node, int remote)
{
	if (remote < 0 || (remote < sim->shape.n_gateways) == node->gateway)
		return NULL;
	return *node_peer_place(sim, node, remote);
}

struct node *node_client(struct sim *sim, int client)
{
	return &sim->nodes[sim->shape.n_gateways + client];
}

static struct hf_addr address(__u32 first, int n)
{
	return addr_from_be32(htonl(first + (__u32)n));
}

static void node_init(struct sim *sim, struct node *node, int index, __u32 gateways)
{
	const struct shape *shape = &sim->shape;
	int n = index - shape->n_gateways;

	node->index = index;
	node->gateway = n < 0;
	snprintf(node->name, sizeof(node->name), "%s%d", n < 0 ? "gw" : "c", n < 0 ? index : n);
	node->outer = n < 0 ? address(gateways, index) : address(CLIENTS_OUTER, n);
	node->inner[0] = n < 0 || shape->inner_is_outer ? node->outer : address(CLIENTS_INNER, n);
	node->inner[1] = node->outer;
	node->clock_ns = (__s64)rng_below(&sim->rng, 1000 * SEC);
	node->clock_ppm = (int)rng_below(&sim->rng, (__u64)(2 * shape->clock_ppm + 1)) - shape->clock_ppm;
	node->far_ns = rng_below(&sim->rng, shape->delay_ns + 1) / 2 + 50000;
	node->link_ns = rng_range(&sim->rng, 20000, 400000);
	node->strict = node->gateway && rng_chance(&sim->rng, shape->strict_per_mille);
	node->peers = sim_alloc((size_t)node_peer_count(sim, node), sizeof(struct peer *));
	node->n_clusters = node->gateway ? (shape->named ? shape->n_clients : 0) : 1;
	node->clusters = sim_alloc((size_t)node->n_clusters + 1, sizeof(struct cluster));
}

void nodes_init(struct sim *sim)
{
	__u32 gateways = rng_chance(&sim->rng, 500) ? GATEWAYS_LOW : GATEWAYS_HIGH;

	sim->n_nodes = sim->shape.n_gateways + sim->shape.n_clients;
	sim->nodes = sim_alloc((size_t)sim->n_nodes, sizeof(struct node));
	for (int i = 0; i < sim->n_nodes; i++)
		node_init(sim, &sim->nodes[i], i, gateways);
}

void nodes_start(struct sim *sim)
{
	for (int i = 0; i < sim->n_nodes; i++)
		node_start(sim, &sim->nodes[i]);
	for (int i = 0; i < sim->shape.n_clients; i++)
		app_start(sim, node_client(sim, i));
}

static void peers_free(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node_peer_count(sim, node); i++) {
		free(node->peers[i]);
		node->peers[i] = NULL;
	}
}

/* Before the connections are freed with the run. */
void nodes_clear(struct sim *sim)
{
	for (int i = 0; i < sim->n_nodes; i++) {
		keys_clear(&sim->nodes[i]);
		peers_free(sim, &sim->nodes[i]);
		free(sim->nodes[i].peers);
		free(sim->nodes[i].clusters);
	}
	free(sim->nodes);
}

static void keys_ready(struct sim *sim, struct node *node, void *what, __u64 n)
{
	if (node->keys.up)
		return;
	keys_start(node);
	clusters_start(sim, node);
}

/* What was meant for the one before is void. */
static void daemon_starts(struct sim *sim, struct node *node)
{
	node->daemon_up = true;
	node->daemon_life++;
	node->stopped_until = node->paused_until = 0;
}

static void go_on(struct sim *sim, struct node *node)
{
	if (node->gateway)
		gate_start(sim, node);
	/* Where the load is measured, no gateway is late: its clients would spread over the others. */
	sim_node_after(sim, node, true,
		       node->gateway && sim->shape.kind == SHAPE_SPREAD ? 0 : rng_range(&sim->rng, 20 * MS, 200 * MS),
		       keys_ready, NULL, 0, false);
}

void node_start(struct sim *sim, struct node *node)
{
	node->up = true;
	TRACE(sim, node, "starts");
	daemon_starts(sim, node);
	clusters_init(sim, node);
	go_on(sim, node);
}

void node_stop_daemon(struct sim *sim, struct node *node, __u64 lasts)
{
	__u64 until = sim->now + lasts;

	if (node->stopped_until < until)
		node->stopped_until = until;
	if (node->asleep_until < node->stopped_until)
		node->asleep_until = node->stopped_until;
}

static void next_daemon(struct sim *sim, struct node *node, void *what, __u64 n)
{
	TRACE(sim, node, "another daemon starts");
	daemon_starts(sim, node);
	peers_adopt(sim, node);
	clusters_adopt(sim, node);
	go_on(sim, node);
}

void node_kill_daemon(struct sim *sim, struct node *node, __u64 lasts)
{
	TRACE(sim, node, "its daemon is killed");
	sim->count.kills++;
	keys_die(sim, node);
	node->daemon_up = false;
	node->daemon_life++;
	node_stop_daemon(sim, node, lasts);
	sim_node_after(sim, node, false, node->stopped_until - sim->now, next_daemon, NULL, 0, false);
}

void node_crash(struct sim *sim, struct node *node)
{
	TRACE(sim, node, "dies");
	sim->count.crashes++;
	node->up = false;
	keys_die(sim, node);
	peers_free(sim, node);
	node->daemon_up = false;
	node->life++;
	node->daemon_life++;
	/* Machines that nobody feeds any more: the next start makes them anew. */
	clusters_init(sim, node);
}

/* As loader/daemon_sessions.c, on_died. */
static void daemon_hears_death(struct sim *sim, struct node *node, void *what, __u64 n)
{
	peers_abandon_all(sim, node);
	clusters_rejected(sim, node, 0);
}

void node_crash_keys(struct sim *sim, struct node *node)
{
	TRACE(sim, node, "its key service dies");
	keys_die(sim, node);
	sim_node_after(sim, node, true, node->link_ns, daemon_hears_death, NULL, 0, false);
	sim_node_after(sim, node, true, rng_range(&sim->rng, 200 * MS, SEC), keys_ready, NULL, 0, false);
}
