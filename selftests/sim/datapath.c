/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/datapath.h"

#include <string.h>

#include "selftests/sim/app.h"
#include "selftests/sim/cluster.h"
#include "selftests/sim/node.h"
#include "selftests/sim/serve.h"
#include "selftests/sim/sim.h"

/* Of the heartbeats of a client in whose name others are sent, per mille: what is left of its rate. */
#define FLOODED_ANSWERED 10

/* An event of the ring buffer. */
struct told {
	enum hf_event_type type;
	int remote;
	__u32 if_id;
	struct inner packet;
};

static void daemon_hears(struct sim *sim, struct node *node, void *what, __u64 n)
{
	const struct told *told = what;
	struct cluster *cluster = cluster_of(sim, node, told->packet.client);
	struct peer *peer = node_peer(sim, node, told->remote);

	if (told->type == HF_EVENT_WANT) {
		if (cluster)
			cluster_want(sim, node, cluster, &told->packet);
		else
			serve_want(sim, node, &told->packet);
		return;
	}
	if (told->type == HF_EVENT_PAYLOAD) {
		cluster_payload(sim, node, cluster);
		return;
	}
	if (!peer || peer->if_id != told->if_id)
		return;
	if (told->type == HF_EVENT_CLAIM) {
		if (node->gateway)
			serve_claim(sim, node, peer);
		return;
	}
	if (!peer->up && told->packet.control == HF_CONTROL_START)
		peer->started = true; /* its end was quicker */
	if (!peer->up)
		return;
	if (node->gateway && told->packet.control == HF_CONTROL_ANSWER)
		clusters_answered(sim, node, peer);
	if (node->gateway)
		serve_control(sim, node, peer, &told->packet);
	else
		clusters_control(sim, node, peer, &told->packet);
}

static void tell(struct sim *sim, struct node *node, enum hf_event_type type, const struct peer *peer,
		 const struct inner *packet)
{
	struct told *told = sim_alloc(1, sizeof(*told));

	*told = (struct told){ .type = type, .packet = *packet };
	if (peer) {
		told->remote = peer->remote;
		told->if_id = peer->if_id;
	}
	sim_tell_daemon(sim, node, daemon_hears, told);
}

/* ---- out ---- */

/* Without an outbound state the kernel drops. */
static void emit(struct sim *sim, struct node *node, const struct peer *peer, const struct inner *inner)
{
	struct packet packet = { .kind = PACKET_ESP, .from = node->index, .to = peer->remote, .ttl = 64, .inner = *inner };

	if (!peer->up || !peer->out)
		return;
	packet.spi = peer->out->spi;
	packet.key = peer->out->key;
	packet.sequence = ++peer->out->sent;
	net_send(sim, &packet);
}

void datapath_control(struct sim *sim, struct node *node, const struct peer *peer, enum hf_control_type type,
		      __u64 nonce)
{
	struct inner inner = { .client = node->gateway ? peer->remote : node->index, .to_client = node->gateway,
			       .control = type, .nonce = nonce };

	emit(sim, node, peer, &inner);
}

void datapath_elsewhere(struct sim *sim, struct node *client, const struct peer *gateway)
{
	emit(sim, client, gateway, &(struct inner){ .client = client->index, .elsewhere = true });
}

/* Its answer from somewhere behind the gateway. */
static void answer_elsewhere(struct sim *sim, struct node *node, const struct peer *peer)
{
	if (node->gateway && !node->gate.cut)
		emit(sim, node, peer, &(struct inner){ .client = peer->remote, .to_client = true, .elsewhere = true });
}

/* hf_steer by slot: of a named client that of its cluster, of another client its own. */
static struct peer *steered(struct sim *sim, struct node *node, const struct inner *packet, bool *ret_watched)
{
	struct cluster *cluster = cluster_of(sim, node, packet->client);
	struct peer *peer = node_peer(sim, node, cluster ? cluster_steered(cluster) : packet->client);

	*ret_watched = cluster && cluster->watch;
	if (!peer || !peer->up || (cluster && cluster->steer != peer->if_id))
		return NULL;
	if (cluster)
		cluster->watch = false;
	return peer;
}

void datapath_encrypt(struct sim *sim, struct node *node, const struct inner *packet)
{
	bool watched;
	struct peer *peer = steered(sim, node, packet, &watched);

	/* Where traffic goes on as it did before a change, and that session has ended since, nobody is told. */
	if (!peer && cluster_of(sim, node, packet->client) && cluster_of(sim, node, packet->client)->kept)
		return;
	if (!peer) {
		tell(sim, node, HF_EVENT_WANT, NULL, packet);
		return;
	}
	if (watched)
		tell(sim, node, HF_EVENT_PAYLOAD, peer, packet);
	emit(sim, node, peer, packet);
}

/* ---- heartbeats ---- */

static bool answers(struct sim *sim, struct node *node, const struct packet *packet)
{
	struct peer *peer = node_peer(sim, node, packet->from);

	for (int i = 0; i < node->n_clusters; i++)
		for (int k = 0; k < BEATS_KEPT; k++)
			if (packet->nonce && node->clusters[i].beats[k].nonce == packet->nonce && peer &&
			    peer->if_id == node->clusters[i].beats[k].if_id) {
				node->clusters[i].beats[k].nonce = 0;
				peer->beat_rx_ns = node_now(sim, node);
				return true;
			}
	return false;
}

static bool gate_is_open(struct sim *sim, const struct node *node)
{
	return node_now(sim, node) < node->gate.open_until_ns;
}

static void take_beat(struct sim *sim, struct node *node, const struct packet *packet)
{
	struct peer *peer = node_peer(sim, node, packet->from);
	struct packet answer = *packet;

	if (answers(sim, node, packet))
		return;
	if (!peer || !peer->up || peer->role != HF_ROLE_CLIENT || packet->ttl <= 1 || !gate_is_open(sim, node))
		return;
	if (node->flooded && !rng_chance(&sim->rng, FLOODED_ANSWERED))
		return;
	sim->count.reflected++;
	peer->reflect_ns = node_now(sim, node);
	answer.from = packet->to;
	answer.to = packet->from;
	answer.ttl--;
	answer.hops++;
	net_send(sim, &answer);
}

/* ---- in ---- */

static void decrypted(struct sim *sim, struct node *node, struct peer *peer, const struct inner *inner)
{
	/* The inner source is one that this peer may use. */
	if (node->gateway ? inner->to_client || inner->client != peer->remote :
			    !inner->to_client || inner->client != node->index)
		return;
	if (node->gateway || inner->control != HF_CONTROL_PROBE) /* a gateway that asks may not hear us */
		peer->last_rx_ns = node_now(sim, node);
	if (inner->elsewhere) {
		answer_elsewhere(sim, node, peer);
		return;
	}
	if (inner->control) {
		tell(sim, node, HF_EVENT_CONTROL, peer, inner);
		return;
	}
	if (!peer->told) {
		peer->told = true;
		tell(sim, node, HF_EVENT_CLAIM, peer, inner);
	}
	if (node->gateway)
		lan_send(sim, node, inner);
	else
		app_receive(sim, node, inner);
}

static void take_esp(struct sim *sim, struct node *node, const struct packet *packet)
{
	struct sa *sa = sa_find(sim, node, packet->spi);
	struct peer *peer;

	if (!sa) {
		sim->count.undecryptable++;
		return;
	}
	if (sa->key != packet->key && sim->shape.few_spis) {
		sim->count.undecryptable++; /* meant for one that had the number before */
		return;
	}
	if (sa->key != packet->key) {
		sim_fault(sim, "two keys for one SPI: %s receives under %08x with a key that is not the one it has",
			  node->name, packet->spi);
		return;
	}
	if (!sa_take_number(sa, packet->sequence)) {
		sim->count.replayed++;
		return;
	}
	peer = node_peer(sim, node, sa->sender);
	if (peer && peer->if_id == sa->if_id)
		decrypted(sim, node, peer, &packet->inner);
}

void datapath_receive(struct sim *sim, struct node *node, const struct packet *packet)
{
	if (packet->kind == PACKET_BEAT)
		take_beat(sim, node, packet);
	else
		take_esp(sim, node, packet);
}
