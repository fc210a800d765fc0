/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/serve.h"

#include "selftests/sim/datapath.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

/* As in loader/client_claim.c and loader/gate.c. */
#define RECENTLY_NS (2 * SEC)
#define ANNOUNCE_PACE_NS (100 * MS)
#define REFRESH_NS (500 * MS)
#define OPEN_FOR_NS (3 * SEC)
#define ASK_EVERY 4

static const unsigned int announce_after_ms[] = { 100, 400, 1500 };
#define ANNOUNCE_REPEATS (sizeof(announce_after_ms) / sizeof(*announce_after_ms))

static void announce(struct sim *sim, struct node *node, struct peer *peer)
{
	peer->announced_ns = node_now(sim, node);
	lan_announce(sim, node, peer->remote);
}

static void announce_due(struct sim *sim, struct node *node, void *what, __u64 n);

static void announce_next(struct sim *sim, struct node *node, struct peer *peer)
{
	if (peer->announced == ANNOUNCE_REPEATS)
		return;
	sim_node_after(sim, node, true, node_wait(node, announce_after_ms[peer->announced++] * MS), announce_due, NULL,
		       peer->announcing << 16 | (__u64)peer->remote, false);
}

static void announce_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct peer *peer = node_peer(sim, node, (int)(n & 0xffff));

	if (!peer || !peer->claimed || peer->announcing != n >> 16)
		return;
	announce(sim, node, peer);
	announce_next(sim, node, peer);
}

/* Announces even what is claimed already: another gateway may have been in use since. */
void serve_claim(struct sim *sim, struct node *node, struct peer *peer)
{
	if (!peer->claimed)
		TRACE(sim, node, "claims the addresses of %s", sim->nodes[peer->remote].name);
	peer->claimed = true;
	peer->announced = 0;
	peer->announcing = ++sim->last_id;
	announce(sim, node, peer);
	announce_next(sim, node, peer);
}

void serve_unclaim(struct sim *sim, struct node *node, struct peer *peer, const char *why)
{
	if (!peer->claimed)
		return;
	TRACE(sim, node, "gives up the addresses of %s: %s", sim->nodes[peer->remote].name, why);
	peer->claimed = false;
	peer->told = false;
}

void serve_want(struct sim *sim, struct node *node, const struct inner *packet)
{
	struct peer *peer = node_peer(sim, node, packet->client);

	if (peer)
		hold_put(&peer->hold, packet, node_now(sim, node));
}

/* Of a named client, its cluster holds the packets. */
void serve_session_up(struct sim *sim, struct node *node, struct peer *peer)
{
	hold_send(sim, node, &peer->hold);
}

void serve_control(struct sim *sim, struct node *node, struct peer *peer, const struct inner *control)
{
	if (control->control == HF_CONTROL_LEAVE)
		serve_unclaim(sim, node, peer, "the client has left for another gateway");
	else if (control->control == HF_CONTROL_BYE)
		peer_end(sim, node, peer, "the client goes down");
	if (control->control != HF_CONTROL_PROBE)
		return;
	if (!node->gate.open) {
		datapath_control(sim, node, peer, HF_CONTROL_DRAIN, control->nonce);
		return;
	}
	datapath_control(sim, node, peer, HF_CONTROL_ANSWER, control->nonce);
	serve_claim(sim, node, peer);
}

void serve_hear_announcement(struct sim *sim, struct node *node, int client)
{
	struct peer *peer = node_peer(sim, node, client);

	if (peer)
		serve_unclaim(sim, node, peer, "another gateway announces them");
}

void serve_hear_request(struct sim *sim, struct node *node, int client)
{
	struct peer *peer = node_peer(sim, node, client);
	__u64 now = node_now(sim, node), heard;

	if (!peer || !peer->claimed)
		return;
	heard = peer->last_rx_ns > peer->reflect_ns ? peer->last_rx_ns : peer->reflect_ns;
	if (now - heard < RECENTLY_NS && now - peer->announced_ns > ANNOUNCE_PACE_NS)
		announce(sim, node, peer);
}

static void ask_to_leave(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && node->peers[i]->up)
			datapath_control(sim, node, node->peers[i], HF_CONTROL_DRAIN, 0);
}

static void write_gate(struct sim *sim, struct node *node)
{
	node->gate.open_until_ns = node->gate.open ? node_now(sim, node) + OPEN_FOR_NS : 0;
}

static void refresh_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	write_gate(sim, node);
	if (!node->gate.open && ++node->gate.refreshes % ASK_EVERY == 0)
		ask_to_leave(sim, node);
	sim_node_after(sim, node, true, node_wait(node, REFRESH_NS), refresh_due, NULL, 0, false);
}

void gate_decide(struct sim *sim, struct node *node)
{
	struct gate *gate = &node->gate;
	bool open = !gate->no_link && !gate->drained;

	if (open == gate->open)
		return;
	TRACE(sim, node, "the gate is %s", open ? "open" : "closed");
	gate->open = open;
	gate->refreshes = 0;
	write_gate(sim, node);
	if (!open)
		ask_to_leave(sim, node);
}

void gate_start(struct sim *sim, struct node *node)
{
	unsigned int cut = node->gate.cut;

	node->gate = (struct gate){ .cut = cut, .no_link = cut > 0 };
	gate_decide(sim, node);
	refresh_due(sim, node, NULL, 0);
}
