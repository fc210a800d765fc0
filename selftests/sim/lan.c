/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/lan.h"

#include <stdlib.h>

#include "selftests/sim/datapath.h"
#include "selftests/sim/node.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

#define DELAY_NS (100000 + rng_below(&sim->rng, 400000))
/* As Linux has them by default, about: base_reachable_time, retrans_time, and three tries. */
#define REACHABLE_NS (20 * SEC)
#define ASK_AGAIN_NS SEC
#define GIVE_UP_NS (3 * SEC)

void lan_init(struct sim *sim)
{
	sim->lan.loss = sim->shape.lan_loss;
	sim->lan.arp = sim_alloc((size_t)sim->shape.n_clients, sizeof(*sim->lan.arp));
	for (int i = 0; i < sim->shape.n_clients; i++)
		sim->lan.arp[i].gateway = -1;
}

void lan_clear(struct lan *lan)
{
	free(lan->arp);
}

static struct arp *arp_of(struct sim *sim, int client)
{
	return &sim->lan.arp[client - sim->shape.n_gateways];
}

static bool has_link(const struct node *gateway)
{
	return gateway->up && !gateway->gate.cut;
}

static bool loses(struct sim *sim)
{
	return sim->lan.loss && rng_chance(&sim->rng, sim->lan.loss);
}

/* ---- from the target to a gateway ---- */

struct frame {
	int gateway;
	struct inner packet;
};

static void gateway_receives(struct sim *sim, struct node *world, void *what, __u64 n)
{
	const struct frame *frame = what;
	struct node *gateway = &sim->nodes[frame->gateway];

	/* The route over hf0 exists with the session, or by the gateway's policy. */
	if (has_link(gateway) && (sim->shape.named || node_peer(sim, gateway, frame->packet.client)))
		datapath_encrypt(sim, gateway, &frame->packet);
}

static void to_gateway(struct sim *sim, int gateway, const struct inner *packet)
{
	struct frame *frame;

	if (loses(sim))
		return;
	frame = sim_alloc(1, sizeof(*frame));
	*frame = (struct frame){ gateway, *packet };
	sim_after(sim, DELAY_NS, gateway_receives, frame, 0, true);
}

/* n: the gateway and the client. */
static __u64 pair(int gateway, int client)
{
	return (__u64)gateway << 32 | (__u32)client;
}

static void target_hears(struct sim *sim, int gateway, int client)
{
	struct arp *arp = arp_of(sim, client);

	arp->gateway = gateway;
	arp->confirmed_ns = sim->now;
	arp->asked_ns = 0;
	if (arp->waiting)
		to_gateway(sim, gateway, &arp->packet);
	arp->waiting = false;
}

static void answer_arrives(struct sim *sim, struct node *world, void *what, __u64 n)
{
	target_hears(sim, (int)(n >> 32), (int)(__u32)n);
}

static void daemon_hears_request(struct sim *sim, struct node *node, void *what, __u64 client)
{
	serve_hear_request(sim, node, (int)client);
}

/* The kernel answers for what is claimed; the daemon looks whether it ought to say more. */
static void request_arrives(struct sim *sim, struct node *world, void *what, __u64 n)
{
	int client = (int)(__u32)n;
	struct node *gateway = &sim->nodes[n >> 32];
	struct peer *peer;

	if (!has_link(gateway))
		return;
	peer = node_peer(sim, gateway, client);
	if (!peer || !peer->claimed)
		return;
	if (!loses(sim))
		sim_after(sim, DELAY_NS, answer_arrives, NULL, n, false);
	sim_node_after(sim, gateway, true, gateway->link_ns, daemon_hears_request, NULL, (__u64)client, false);
}

static void ask(struct sim *sim, int client)
{
	for (int g = 0; g < sim->shape.n_gateways; g++)
		if (!loses(sim))
			sim_after(sim, DELAY_NS, request_arrives, NULL, pair(g, client), false);
}

static void look_up(struct sim *sim, struct arp *arp, int client)
{
	if (arp->gateway >= 0 && sim->now - arp->confirmed_ns < REACHABLE_NS)
		return;
	if (arp->asked_ns && arp->gateway >= 0 && sim->now - arp->asked_ns > GIVE_UP_NS)
		arp->gateway = -1;
	if (!arp->asked_ns)
		arp->asked_ns = sim->now;
	else if ((sim->now - arp->asked_ns) % ASK_AGAIN_NS > ASK_AGAIN_NS / 2)
		return;
	ask(sim, client);
}

static void target_sends(struct sim *sim, const struct inner *packet)
{
	struct arp *arp = arp_of(sim, packet->client);

	look_up(sim, arp, packet->client);
	if (arp->gateway >= 0) {
		to_gateway(sim, arp->gateway, packet);
	} else if (sim->shape.named) {
		/* Where nobody has claimed it, a route leads to one of the gateways. */
		to_gateway(sim, packet->client % sim->shape.n_gateways, packet);
	} else {
		arp->packet = *packet;
		arp->waiting = true;
	}
}

void lan_target_sends(struct sim *sim, int client)
{
	target_sends(sim, &(struct inner){ .client = client, .to_client = true });
}

/* ---- from a gateway ---- */

static void target_receives(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct inner answer = *(struct inner *)what;

	answer.to_client = true;
	target_sends(sim, &answer);
}

void lan_send(struct sim *sim, struct node *gateway, const struct inner *packet)
{
	struct inner *copy;

	if (!has_link(gateway) || loses(sim))
		return;
	copy = sim_alloc(1, sizeof(*copy));
	*copy = *packet;
	sim_after(sim, DELAY_NS, target_receives, copy, 0, true);
}

static void announcement_arrives(struct sim *sim, struct node *world, void *what, __u64 n)
{
	struct arp *arp = arp_of(sim, (int)(__u32)n);

	/* An announcement makes no entry (arp_accept 0), it changes one. */
	if (arp->gateway >= 0 || arp->asked_ns)
		target_hears(sim, (int)(n >> 32), (int)(__u32)n);
}

static void daemon_hears_announcement(struct sim *sim, struct node *node, void *what, __u64 client)
{
	serve_hear_announcement(sim, node, (int)client);
}

void lan_announce(struct sim *sim, struct node *gateway, int client)
{
	if (!has_link(gateway))
		return;
	if (!loses(sim))
		sim_after(sim, DELAY_NS, announcement_arrives, NULL, pair(gateway->index, client), false);
	for (int g = 0; g < sim->shape.n_gateways; g++)
		if (g != gateway->index && has_link(&sim->nodes[g]) && !loses(sim))
			sim_node_after(sim, &sim->nodes[g], true, DELAY_NS + sim->nodes[g].link_ns,
				       daemon_hears_announcement, NULL, (__u64)client, false);
}
