/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "selftests/sim/datapath.h"
#include "selftests/sim/invariants.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

/* Ways exist between a client and a gateway only: the matrix has a row for each node and a column for each gateway, four times. */
static __u8 *cut_of(const struct sim *sim, int from, int to, bool esp)
{
	int n = sim->shape.n_gateways;
	int client = from < n ? to : from, gateway = from < n ? from : to;

	return &sim->net.cut[(client * n + gateway) * 4 + esp * 2 + (from < n)];
}

void net_init(struct sim *sim)
{
	const struct shape *shape = &sim->shape;

	sim->net = (struct net){ .loss = shape->loss, .duplicates = shape->duplicates, .late = shape->late,
				 .jitter_ns = shape->jitter_ns, .late_ns = shape->late_ns };
	sim->net.cut = sim_alloc((size_t)(sim->n_nodes * shape->n_gateways), 4);
}

void net_clear(struct net *net)
{
	free(net->cut);
}

void net_cut(struct sim *sim, int from, int to, int by)
{
	*cut_of(sim, from, to, false) = (__u8)(*cut_of(sim, from, to, false) + by);
}

void net_cut_esp(struct sim *sim, int from, int to, int by)
{
	*cut_of(sim, from, to, true) = (__u8)(*cut_of(sim, from, to, true) + by);
}

bool net_is_cut_for_esp(const struct sim *sim, int from, int to)
{
	return net_is_cut(sim, from, to) || *cut_of(sim, from, to, true);
}

bool net_is_cut(const struct sim *sim, int from, int to)
{
	return *cut_of(sim, from, to, false);
}

__u64 net_delay(struct sim *sim, int from, int to)
{
	__u64 delay = sim->nodes[from].far_ns + sim->nodes[to].far_ns + rng_below(&sim->rng, sim->net.jitter_ns + 1);

	if (sim->net.late && rng_chance(&sim->rng, sim->net.late))
		delay += rng_below(&sim->rng, sim->net.late_ns);
	return delay;
}

bool net_loses(struct sim *sim, int from, int to)
{
	return net_is_cut(sim, from, to) || (sim->net.loss && rng_chance(&sim->rng, sim->net.loss));
}

static void arrive(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct packet *packet = what;
	struct node *node = &sim->nodes[packet->to];

	if (!node->up)
		return;
	if (node->paused_until > sim->now) {
		struct packet *copy = sim_alloc(1, sizeof(*copy));

		/* Its timers come first: what is overdue is looked at before the network is. */
		*copy = *packet;
		sim_after(sim, node->paused_until + MS - sim->now, arrive, copy, 0, true);
		return;
	}
	datapath_receive(sim, node, packet);
}

void net_send(struct sim *sim, const struct packet *packet)
{
	int copies = 1 + (sim->net.duplicates && rng_chance(&sim->rng, sim->net.duplicates));

	invariant_packet(sim, packet);
	for (int i = 0; i < copies && !sim->failed; i++) {
		struct packet *copy;

		if ((packet->kind == PACKET_ESP && net_is_cut_for_esp(sim, packet->from, packet->to)) ||
		    net_loses(sim, packet->from, packet->to)) {
			TRACE(sim, NULL, "lost on the way from %s to %s", sim->nodes[packet->from].name,
			      sim->nodes[packet->to].name);
			continue;
		}
		copy = sim_alloc(1, sizeof(*copy));
		*copy = *packet;
		sim_after(sim, net_delay(sim, packet->from, packet->to), arrive, copy, 0, true);
	}
}
