/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/invariants.h"

#include "selftests/sim/app.h"
#include "selftests/sim/cluster.h"
#include "selftests/sim/faults.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"
#include "selftests/sim/tcp.h"

#define TICKS_AT_ONCE 50
/* What README.md promises, and a little for the way to the daemon and back. */
#define ASK_WITHIN_NS (500 * MS)
#define SILENT_PACE_NS (250 * MS)
#define SLACK_NS (50 * MS)
#define NEEDLESS_ALL 6
#define NEEDLESS_EACH 5

void invariant_packet(struct sim *sim, const struct packet *packet)
{
	const struct node *from = &sim->nodes[packet->from];

	if (packet->kind == PACKET_BEAT) {
		if (packet->hops > NET_HOPS_MAX)
			sim_fault(sim, "a reflecting loop: %s sends a heartbeat on for the %uth time", from->name,
				  packet->hops);
		return;
	}
	if (!packet->key || !packet->spi)
		sim_fault(sim, "plaintext: %s sends %s without a session", from->name,
			  packet->inner.control ? "a control packet" : "payload");
}

void invariant_cluster(struct sim *sim, const struct node *node, const struct cluster *cluster)
{
	const struct failover *m = &cluster->machine;
	const struct peer *current = node_peer(sim, node, cluster_current(cluster));
	__u32 steer = current && current->up ? current->if_id : cluster->kept;

	for (int g = 0; g < m->config.n_gateways; g++) {
		const struct peer *peer = node_peer(sim, node, cluster->gateway[g]);

		if (m->gateway[g].session != (peer && peer->up))
			sim_fault(sim, "the machine of %s believes %s session with %s", node->name,
				  m->gateway[g].session ? "in a lost" : "in no", sim->nodes[cluster->gateway[g]].name);
	}
	if (cluster->steer != steer)
		sim_fault(sim, "%s does not steer to its current gateway, but to if_id %u instead of %u", node->name,
			  cluster->steer, steer);
	for (int g = 0; g < m->config.n_gateways && m->current == FAILOVER_NOBODY && cluster->started; g++)
		if (m->gateway[g].session && !m->gateway[g].failed && !m->gateway[g].leaving)
			sim_fault(sim, "%s uses nobody, though it has a session with %s", node->name,
				  sim->nodes[cluster->gateway[g]].name);
	if (m->current == FAILOVER_NOBODY)
		return;
	if (!m->gateway[m->current].session)
		sim_fault(sim, "%s uses %s without a session", node->name, sim->nodes[cluster_current(cluster)].name);
	if (m->gateway[m->current].failed)
		sim_fault(sim, "%s uses %s, which it holds to be dead", node->name,
			  sim->nodes[cluster_current(cluster)].name);
}

void invariant_adopted(struct sim *sim, const struct node *node, const struct cluster *cluster, const struct peer *peer,
		       bool in_use)
{
	if (in_use && cluster_current(cluster) != peer->remote)
		sim_fault(sim, "the machine of %s does not use %s, which the datapath it has adopted does", node->name,
			  sim->nodes[peer->remote].name);
}

void invariant_changed(struct sim *sim, const struct node *node, const struct cluster *cluster, int was)
{
	if (was >= 0 && cluster_names(cluster, was) && cluster_current(cluster) != was)
		sim_fault(sim, "%s leaves %s, which its new policy still names", node->name, sim->nodes[was].name);
}

void invariant_tick(struct sim *sim, const struct node *node, struct cluster *cluster)
{
	cluster->ticks = sim->now - cluster->tick_ns < 10000 ? cluster->ticks + 1 : 0;
	cluster->tick_ns = sim->now;
	if (cluster->ticks > TICKS_AT_ONCE)
		sim_fault(sim, "the machine of %s spins: its timer is due again and again", node->name);
}

/* The last sign of life that the datapath has stamped, whether the machine has been told or not. */
static __u64 stamped(const struct peer *peer)
{
	return peer->last_rx_ns > peer->beat_rx_ns ? peer->last_rx_ns : peer->beat_rx_ns;
}

/* How long ago this was, or the end of the time in which the daemon did nothing, whichever is less. */
static __u64 waking_since(const struct sim *sim, const struct node *node, __u64 since)
{
	__u64 waking = sim->now - node->asleep_until, past = node_now(sim, node) - since;

	return waking < past ? waking : past;
}

static bool is_asleep(const struct sim *sim, const struct node *node)
{
	return !node->daemon_up || sim->now < node->asleep_until;
}

static __u64 later(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

void invariant_takeover(struct sim *sim, const struct node *node, const struct cluster *cluster)
{
	const struct failover *m = &cluster->machine;
	const struct peer *peer = node_peer(sim, node, cluster_current(cluster));
	unsigned int tries = failover_tries(m), most = m->config.tries + SHAPE_EXTRA_TRIES;
	__u64 limit = m->config.defer_ns + ((tries < most ? tries : most) + 1) * m->config.response_ns + SLACK_NS;
	__u64 since;

	if (!peer || m->config.heartbeat != FAILOVER_BEAT_INSTANT || is_asleep(sim, node))
		return;
	since = later(later(stamped(peer), peer->established_ns), later(m->switched_ns, m->gateway[m->current].last_rx_ns));
	if (waking_since(sim, node, since) > limit)
		sim_fault(sim, "%s still uses %s, which is silent for %.1f ms: %u heartbeats ought to have shown it",
			  node->name, sim->nodes[peer->remote].name, (double)(node_now(sim, node) - since) / MS, tries);
}

void invariant_wanting(struct sim *sim, const struct node *node, const struct cluster *cluster)
{
	const struct failover *m = &cluster->machine;
	__u64 pace = later(SILENT_PACE_NS, m->config.response_ns), idle;

	if (is_asleep(sim, node) || m->current != FAILOVER_NOBODY)
		return;
	idle = cluster->idle_ns ? waking_since(sim, node, cluster->idle_ns) : 0;
	if (idle > ASK_WITHIN_NS + SLACK_NS && !cluster->denied && !m->vain)
		sim_fault(sim, "%s sends and uses nobody, and has asked nobody for a session for %.1f ms", node->name,
			  (double)idle / MS);
	if (m->silent && m->config.heartbeat != FAILOVER_BEAT_NONE &&
	    waking_since(sim, node, cluster->asked_ns) > 2 * pace + SLACK_NS)
		sim_fault(sim, "%s sends and all are silent, and it has asked none for a sign of life for %.1f ms",
			  node->name, (double)waking_since(sim, node, cluster->asked_ns) / MS);
}

void invariant_asked(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway)
{
	const struct failover *m = &cluster->machine;
	const struct peer *peer = node_peer(sim, node, gateway);
	__u64 quiet = node_now(sim, node) - stamped(peer);

	if (gateway == cluster_current(cluster) && m->beats == 1 && !m->beat_extended && quiet < m->config.defer_ns)
		sim_fault(sim, "%s asks %s for a sign of life, though there was one %.1f ms ago", node->name,
			  sim->nodes[gateway].name, (double)quiet / MS);
}

void invariant_missed(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway)
{
	if (stamped(node_peer(sim, node, gateway)) >= cluster->machine.check_ns)
		sim_fault(sim, "%s blames %s, which has answered", node->name, sim->nodes[gateway].name);
}

void invariant_recovered(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway)
{
	if (node_peer(sim, node, gateway)->last_rx_ns <= cluster->machine.switched_ns)
		sim_fault(sim, "%s takes %s for sound, though nothing has come through its session", node->name,
			  sim->nodes[gateway].name);
}

static bool terms_agree(const struct exchange_terms *a, const struct exchange_terms *b)
{
	return a->spi_initiator == b->spi_initiator && a->spi_responder == b->spi_responder &&
	       a->lifetime_s == b->lifetime_s && a->algorithm == b->algorithm &&
	       a->encapsulation == b->encapsulation && a->reversed == b->reversed && a->n_inner == b->n_inner &&
	       addr_equal(&a->inner[0].addr, &b->inner[0].addr);
}

void invariant_exchange(struct sim *sim, const struct conn *conn, int side, const struct exchange_actions *act)
{
	const struct end *end = &conn->end[side], *other = &conn->end[1 - side];
	const char *name = end->node->name;

	if (act->install && end->installed)
		sim_fault(sim, "the exchange of %s installs twice", name);
	if (act->activate && !end->installed)
		sim_fault(sim, "the exchange of %s activates what is not installed", name);
	if (act->activate && end->activated)
		sim_fault(sim, "the exchange of %s activates twice", name);
	if (act->activate && act->abandon)
		sim_fault(sim, "the exchange of %s activates and abandons", name);
	if (act->abandon && end->activated)
		sim_fault(sim, "the exchange of %s abandons a session that stands", name);
	if (act->activate && !side && !other->stands)
		sim_fault(sim, "%s uses a session that never stood at %s", name, other->node->name);
	if (act->activate && !terms_agree(&end->exchange.terms, &other->exchange.terms))
		sim_fault(sim, "%s and %s agree on different terms", name, other->node->name);
}

/* ---- in the end ---- */

/* Whether this client can use that gateway, from now on and for ever. */
static bool can_use(struct sim *sim, const struct node *client, const struct node *gateway)
{
	return gateway->up && cluster_names(&client->clusters[0], gateway->index) && !gateway->strict &&
	       !gateway->gate.cut && !gateway->gate.drained &&
	       !net_is_cut_for_esp(sim, client->index, gateway->index) &&
	       !net_is_cut_for_esp(sim, gateway->index, client->index);
}

static bool can_use_any(struct sim *sim, const struct node *client)
{
	for (int g = 0; g < sim->shape.n_gateways; g++)
		if (can_use(sim, client, &sim->nodes[g]))
			return true;
	return false;
}

/* In the second half of the time with losses they are known. */
static void needless(struct sim *sim, const struct node *node, const struct cluster *cluster)
{
	__u64 end = faults_end_ns(sim);

	if (sim->now < end - sim->shape.faults_ns / 2 || sim->now > end)
		return;
	sim->needless++;
	if (sim->needless > NEEDLESS_ALL + NEEDLESS_EACH * (unsigned int)sim->shape.n_clients)
		sim_fault(sim, "%u clients have left gateways that live %u times in half a minute, for %u %% of loss",
			  (unsigned int)sim->shape.n_clients, sim->needless, sim->shape.loss / 10);
}

void invariant_failed(struct sim *sim, const struct node *node, const struct cluster *cluster, int gateway)
{
	const struct node *other = &sim->nodes[gateway];
	const struct peer *peer;

	if (!node->gateway && sim->shape.only == SHAPE_ONLY_LOSS)
		needless(sim, node, cluster);
	if (!node->gateway && sim->shape.only == SHAPE_ONLY_STOPS)
		sim_fault(sim, "%s gives up %s for silent, though it was only its own machine or daemon that stopped",
			  node->name, other->name);
	if (node->gateway || sim->now < faults_end_ns(sim) + FAULTS_AFTERMATH_NS)
		return;
	peer = node_peer(sim, other, node->index);
	if (peer && peer->up && can_use(sim, node, other))
		sim_fault(sim, "%s gives up %s for silent, which lives and has its session", node->name, other->name);
}

/* Without heartbeats nobody notices a dead gateway (the specification's NONE): nothing is promised. */
static bool is_promised(const struct sim *sim)
{
	return sim->shape.machine.heartbeat != FAILOVER_BEAT_NONE;
}

static void settled(struct sim *sim, const struct node *client)
{
	int current = cluster_current(&client->clusters[0]);

	if (current < 0)
		sim_fault(sim, "%s uses nobody, though it could, %.1f s after the last fault", client->name,
			  (double)sim->shape.bound_ns / SEC);
	else if (!can_use(sim, client, &sim->nodes[current]))
		sim_fault(sim, "%s uses %s, which it cannot, though it could use another, %.1f s after the last fault",
			  client->name, sim->nodes[current].name, (double)sim->shape.bound_ns / SEC);
}

/* A half session whose exchange is long over, or a state that nobody speaks of any more. */
static void left_over(struct sim *sim)
{
	__u64 exchange = 3 * sim->shape.key_request_ns + SEC;

	for (int b = 0; b < SA_BUCKETS; b++)
		for (const struct sa *sa = sim->sas.bucket[b]; sa; sa = sa->next) {
			const struct node *node = &sim->nodes[sa->receiver];
			const struct peer *peer = node_peer(sim, node, sa->sender);

			if (!sa->in || sa->life != node->life || !node->up || sa->fading)
				continue;
			if (!peer || (peer->in != sa && peer->pending_in != sa))
				sim_fault(sim, "%s has left over the state of SPI %08x", node->name, sa->spi);
			else if (peer->pending_in == sa && sim->now - peer->pending_ns > exchange)
				sim_fault(sim, "%s has half a session with %s left over", node->name,
					  sim->nodes[sa->sender].name);
		}
}

void invariant_settled(struct sim *sim)
{
	left_over(sim);
	for (int i = 0; i < sim->shape.n_clients && is_promised(sim); i++) {
		struct node *client = node_client(sim, i);

		if (!can_use_any(sim, client))
			continue;
		settled(sim, client);
		app_window_begin(client);
	}
}

/* Of those that the target network hears. */
static void one_claimer(struct sim *sim, const struct node *client)
{
	const struct node *first = NULL;

	for (int g = 0; g < sim->shape.n_gateways; g++) {
		const struct node *gateway = &sim->nodes[g];
		const struct peer *peer = node_peer(sim, gateway, client->index);

		if (!gateway->up || gateway->gate.cut || !peer || !peer->claimed)
			continue;
		if (first)
			sim_fault(sim, "%s and %s both claim the addresses of %s", first->name, gateway->name, client->name);
		first = gateway;
	}
}

void invariant_answered(struct sim *sim)
{
	for (int i = 0; i < sim->shape.n_clients; i++)
		one_claimer(sim, node_client(sim, i));
	for (int i = 0; i < sim->shape.n_clients; i++) {
		const struct node *client = node_client(sim, i);
		unsigned int sent, answered;

		if (!client->app.window_from)
			continue;
		settled(sim, client);
		sent = app_window_sent(client);
		answered = app_window_answered(client);
		if (answered < sent)
			sim_fault(sim, "%s uses %s, but of %u packets sent long after the last fault %u are answered",
				  client->name, sim->nodes[cluster_current(&client->clusters[0])].name, sent, answered);
	}
}
