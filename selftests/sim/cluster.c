/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/cluster.h"

#include <errno.h>
#include <string.h>

#include "policy/policy.h"
#include "selftests/sim/datapath.h"
#include "selftests/sim/invariants.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

/* As in loader/cluster.c and cluster_change.c. */
#define STARTED_NS (10 * SEC)
#define REKEY_PACE_NS SEC
#define DISPLACED_NS (2 * SEC)
#define DISPLACED_TRIES 5

struct step {
	struct sim *sim;
	struct node *node;
	struct cluster *cluster;
};

static void cluster_step(struct sim *sim, struct node *node, struct cluster *cluster, struct failover_event event);

static struct peer *peer_of(const struct step *s, int g)
{
	struct peer *peer = g == FAILOVER_NOBODY ? NULL : node_peer(s->sim, s->node, s->cluster->gateway[g]);

	return peer && peer->up ? peer : NULL;
}

static int index_of(const struct cluster *cluster, int remote)
{
	for (int g = 0; g < cluster->machine.config.n_gateways; g++)
		if (cluster->gateway[g] == remote)
			return g;
	return FAILOVER_NOBODY;
}

int cluster_current(const struct cluster *cluster)
{
	return cluster->machine.current == FAILOVER_NOBODY ? -1 : cluster->gateway[cluster->machine.current];
}

int cluster_steered(const struct cluster *cluster)
{
	return cluster->kept ? cluster->kept_remote : cluster_current(cluster);
}

bool cluster_names(const struct cluster *cluster, int remote)
{
	return index_of(cluster, remote) != FAILOVER_NOBODY;
}

struct cluster *cluster_of(const struct sim *sim, struct node *node, int client)
{
	if (!node->n_clusters)
		return NULL;
	return node->gateway ? &node->clusters[client - sim->shape.n_gateways] : &node->clusters[0];
}

/* Carrying out: one function an action. */

static void do_steer(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);

	s->cluster->steer = peer ? peer->if_id : 0;
	s->cluster->kept = 0;
	s->cluster->watch = false;
	s->cluster->at_once &= peer != NULL;
	s->cluster->asked_ns = node_now(s->sim, s->node);
	if (peer)
		s->cluster->idle_ns = 0;
	TRACE(s->sim, s->node, "STEER to %s", peer ? s->sim->nodes[peer->remote].name : "nobody");
	if (peer)
		hold_send(s->sim, s->node, &s->cluster->hold);
}

static void send_control(const struct step *s, const struct peer *peer, enum hf_control_type type, __u64 nonce)
{
	datapath_control(s->sim, s->node, peer, type, nonce);
}

static void do_probe(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);

	if (peer)
		send_control(s, peer, HF_CONTROL_PROBE, ++s->sim->last_id);
}

static void do_watch(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);

	s->cluster->watch = peer && s->cluster->steer == peer->if_id;
}

static void do_leave(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);

	if (peer && peer->role == HF_ROLE_GATEWAY)
		send_control(s, peer, HF_CONTROL_LEAVE, 0);
}

static void do_beat(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);
	struct packet beat = { .kind = PACKET_BEAT, .from = s->node->index, .ttl = 64, .nonce = rng_next(&s->sim->rng) };

	if (!peer)
		return;
	s->cluster->asked_ns = node_now(s->sim, s->node);
	if (peer->role == HF_ROLE_CLIENT) {
		/* Clients reflect no heartbeats: they are asked through the SA. */
		send_control(s, peer, HF_CONTROL_PROBE, ++s->sim->last_id);
		return;
	}
	invariant_asked(s->sim, s->node, s->cluster, peer->remote);
	s->cluster->beats[s->cluster->n_beats % BEATS_KEPT].nonce = beat.nonce;
	s->cluster->beats[s->cluster->n_beats++ % BEATS_KEPT].if_id = peer->if_id;
	beat.to = peer->remote;
	TRACE(s->sim, s->node, "heartbeat to %s", s->sim->nodes[peer->remote].name);
	net_send(s->sim, &beat);
}

static void do_remove(const struct step *s, const struct failover_action *action)
{
	struct peer *peer = peer_of(s, action->gateway);

	if (peer)
		peer_end(s->sim, s->node, peer, "it failed");
}

static void request_failed(struct sim *sim, struct node *node, void *what, __u64 n)
{
	cluster_step(sim, node, &node->clusters[n], (struct failover_event){ .type = FAILOVER_REJECTED });
}

static void do_request(const struct step *s, const struct failover_actions *actions)
{
	struct cluster *cluster = s->cluster;
	int gateways[SIM_GATEWAYS_MAX];

	cluster->idle_ns = 0;
	for (int i = 0; i < actions->n_request; i++)
		gateways[i] = cluster->gateway[actions->request[i]];
	if (cluster->request)
		keys_cancel(s->sim, s->node, cluster->request);
	cluster->unreached = false;
	cluster->request = keys_request(s->sim, s->node, gateways, actions->n_request);
	TRACE(s->sim, s->node, "REQUEST of %d, first %s%s", actions->n_request, s->sim->nodes[gateways[0]].name,
	      cluster->request ? "" : ": the key service is down");
	if (!cluster->request)
		sim_node_after(s->sim, s->node, true, 0, request_failed, NULL, (__u64)(cluster - s->node->clusters), false);
}

static void say(const struct step *s, const struct failover_action *action)
{
	static const char *const words[] = {
		[FAILOVER_SAY_MISSED] = "missed a heartbeat of", [FAILOVER_SAY_FAILED] = "gives up",
		[FAILOVER_SAY_SWITCHED] = "uses now", [FAILOVER_SAY_RECOVERED] = "has heard",
		[FAILOVER_SAY_UPLINK] = "suspects its own uplink", [FAILOVER_SAY_FALSE_ALARM] = "false alarm about",
	};

	if (action->type == FAILOVER_SAY_MISSED)
		invariant_missed(s->sim, s->node, s->cluster, s->cluster->gateway[action->gateway]);
	if (action->type == FAILOVER_SAY_FAILED && action->reason == FAILOVER_SILENT)
		invariant_failed(s->sim, s->node, s->cluster, s->cluster->gateway[action->gateway]);
	if (action->type == FAILOVER_SAY_RECOVERED)
		invariant_recovered(s->sim, s->node, s->cluster, s->cluster->gateway[action->gateway]);
	if (action->type == FAILOVER_SAY_RECOVERED && s->cluster->machine.config.heartbeat == FAILOVER_BEAT_INSTANT) {
		sim_worst(&s->sim->worst, action->value, s->sim->seed);
		if (s->cluster->at_once)
			sim_worst(&s->sim->worst_at_once, action->value, s->sim->seed);
		s->cluster->at_once = true;
	}
	s->sim->count.failovers += action->type == FAILOVER_SAY_RECOVERED;
	s->sim->count.false_alarms += action->type == FAILOVER_SAY_FALSE_ALARM;
	TRACE(s->sim, s->node, "%s %s (%s, %.1f ms)", words[action->type],
	      action->gateway == FAILOVER_NOBODY ? "" : s->sim->nodes[s->cluster->gateway[action->gateway]].name,
	      failover_reason_name(action->reason), (double)action->value / MS);
}

static void (*const carry_out[])(const struct step *, const struct failover_action *) = {
	[FAILOVER_DO_STEER] = do_steer,	   [FAILOVER_DO_PROBE] = do_probe,
	[FAILOVER_DO_BEAT] = do_beat,	   [FAILOVER_DO_WATCH] = do_watch,
	[FAILOVER_DO_LEAVE] = do_leave,	   [FAILOVER_DO_REMOVE] = do_remove,
	[FAILOVER_SAY_MISSED] = say,	   [FAILOVER_SAY_FAILED] = say,
	[FAILOVER_SAY_SWITCHED] = say,	   [FAILOVER_SAY_RECOVERED] = say,
	[FAILOVER_SAY_UPLINK] = say,	   [FAILOVER_SAY_FALSE_ALARM] = say,
};

static void timer_due(struct sim *sim, struct node *node, void *what, __u64 n);

static void set_timer(struct sim *sim, struct node *node, struct cluster *cluster)
{
	__u64 now = node_now(sim, node), due = failover_deadline_ns(&cluster->machine, now);

	cluster->timer++;
	if (due != ~0ull)
		sim_node_after(sim, node, true, due > now ? node_wait(node, due - now) : 0, timer_due, NULL,
			       (cluster->timer << 16 | (__u64)(cluster - node->clusters)), false);
}

static void cluster_step(struct sim *sim, struct node *node, struct cluster *cluster, struct failover_event event)
{
	struct step s = { sim, node, cluster };
	struct failover_actions actions;

	sim->count.steps++;
	cluster->depth++;
	failover_step(&cluster->machine, &event, node_now(sim, node), &actions);
	for (size_t i = 0; i < actions.n; i++) {
		if (actions.action[i].type == FAILOVER_DO_REQUEST)
			do_request(&s, &actions);
		else
			carry_out[actions.action[i].type](&s, &actions.action[i]);
	}
	set_timer(sim, node, cluster);
	if (!--cluster->depth)
		invariant_cluster(sim, node, cluster);
}

/* What the datapath has stamped since the last look. */
static void look(struct sim *sim, struct node *node, struct cluster *cluster)
{
	struct step s = { sim, node, cluster };

	for (int g = 0; g < cluster->machine.config.n_gateways; g++) {
		struct peer *peer = peer_of(&s, g);
		struct failover_event event = { .type = FAILOVER_ALIVE, .gateway = g };

		if (!peer)
			continue;
		event.auth_ns = peer->last_rx_ns;
		event.answer_ns = peer->role == HF_ROLE_GATEWAY ? peer->beat_rx_ns : peer->last_rx_ns;
		event.rx_ns = peer->last_rx_ns > peer->beat_rx_ns ? peer->last_rx_ns : peer->beat_rx_ns;
		if (event.rx_ns > cluster->machine.gateway[g].last_rx_ns ||
		    event.auth_ns > cluster->machine.gateway[g].last_auth_ns)
			cluster_step(sim, node, cluster, event);
	}
}

static void timer_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct cluster *cluster = &node->clusters[n & 0xffff];

	if ((cluster->timer & 0xffffffffffff) != n >> 16)
		return;
	invariant_tick(sim, node, cluster);
	look(sim, node, cluster);
	cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_TICK });
}

/* ---- what the others tell ---- */

static __u32 draw(void *context, __u32 bound)
{
	return (__u32)rng_below(context, bound);
}

/* The order is drawn anew at every start, by the real policy_shuffle(). */
static void draw_order(struct sim *sim, struct cluster *cluster)
{
	struct hf_addr gateways[SIM_GATEWAYS_MAX];
	struct policy_cluster written = { .gateways = gateways, .n_gateways = (size_t)sim->shape.n_gateways };
	struct policy policy = { .clusters = &written, .n_clusters = 1 };

	for (int g = 0; g < sim->shape.n_gateways; g++)
		gateways[g] = sim->nodes[g].outer;
	policy.general.order = sim->shape.fixed_order ? POLICY_ORDER_FIXED : POLICY_ORDER_RANDOM;
	policy_shuffle(&policy, draw, &sim->rng);
	for (int g = 0; g < sim->shape.n_gateways; g++)
		for (int i = 0; i < sim->shape.n_gateways; i++)
			if (addr_equal(&gateways[g], &sim->nodes[i].outer))
				cluster->gateway[g] = i;
}

static void cluster_init(struct sim *sim, struct node *node, int i)
{
	struct cluster *cluster = &node->clusters[i];
	struct failover_config config = sim->shape.machine;
	int client = node->gateway ? sim->shape.n_gateways + i : node->index;

	*cluster = (struct cluster){ .slot_client = client, .timer = cluster->timer };
	config.seed = rng_next(&sim->rng);
	config.n_gateways = node->gateway ? 1 : sim->shape.n_gateways;
	if (node->gateway) {
		config.heartbeat = sim->shape.gateway_heartbeat;
		config.connect_at_start = false;
		config.standby = 0;
		cluster->gateway[0] = client;
	} else {
		draw_order(sim, cluster);
	}
	failover_init(&cluster->machine, &config);
}

void clusters_init(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node->n_clusters; i++)
		cluster_init(sim, node, i);
}

/* As loader/cluster.c, adopt_one. */
static void adopt_one(struct sim *sim, struct node *node, struct cluster *cluster, int g, __u32 steer)
{
	struct peer *peer = peer_of(&(struct step){ sim, node, cluster }, g);
	struct failover_event event = { .type = FAILOVER_ADOPTED, .gateway = g };

	if (!peer)
		return;
	event.auth_ns = peer->last_rx_ns;
	event.rx_ns = peer->last_rx_ns > peer->beat_rx_ns ? peer->last_rx_ns : peer->beat_rx_ns;
	if (event.rx_ns < peer->established_ns)
		event.rx_ns = peer->established_ns;
	event.in_use = peer->if_id == steer;
	if (event.in_use)
		cluster->steer = steer;
	cluster_step(sim, node, cluster, event);
	invariant_adopted(sim, node, cluster, peer, event.in_use);
}

/* The policy is read anew, and its order drawn; the datapath's slot leads where it did. */
void clusters_adopt(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node->n_clusters; i++) {
		struct cluster *cluster = &node->clusters[i];
		__u32 steer = cluster->steer;

		cluster_init(sim, node, i);
		cluster->depth++; /* of the sessions, it knows some */
		for (int g = 0; g < cluster->machine.config.n_gateways; g++)
			adopt_one(sim, node, cluster, g, steer);
		cluster->depth--;
		invariant_cluster(sim, node, cluster);
	}
}

void clusters_start(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node->n_clusters; i++) {
		node->clusters[i].started = true;
		cluster_step(sim, node, &node->clusters[i], (struct failover_event){ .type = FAILOVER_START });
	}
}

void cluster_want(struct sim *sim, struct node *node, struct cluster *cluster, const struct inner *packet)
{
	hold_put(&cluster->hold, packet, node_now(sim, node));
	if (cluster->machine.current != FAILOVER_NOBODY) { /* taken just before the switch */
		hold_send(sim, node, &cluster->hold);
		return;
	}
	invariant_wanting(sim, node, cluster);
	cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_WANT });
	if (cluster->machine.current == FAILOVER_NOBODY && !cluster->request && !cluster->idle_ns)
		cluster->idle_ns = node_now(sim, node);
}

void cluster_payload(struct sim *sim, struct node *node, struct cluster *cluster)
{
	if (cluster->machine.current == FAILOVER_NOBODY)
		return;
	look(sim, node, cluster);
	cluster_step(sim, node, cluster,
		     (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = cluster->machine.current });
}

/* We were first with our own dial, or it would have started the session itself: that makes no difference. */
static void start_by_gateway(struct sim *sim, struct node *node, struct cluster *cluster, int g)
{
	if (cluster->machine.gateway[g].session)
		cluster_step(sim, node, cluster,
			     (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .by_peer = true });
}

void clusters_prefer_others(struct sim *sim, struct node *node, struct peer *gateway)
{
	struct cluster *cluster = cluster_of(sim, node, gateway->remote);
	int g = cluster ? index_of(cluster, gateway->remote) : FAILOVER_NOBODY;

	if (g == FAILOVER_NOBODY)
		return;
	look(sim, node, cluster);
	cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = g });
}

/* As loader/cluster_request.c. */
void clusters_renew(struct sim *sim, struct node *node, struct peer *gateway)
{
	struct cluster *cluster = cluster_of(sim, node, gateway->remote);

	if (gateway->renewal)
		return;
	if (cluster && cluster_names(cluster, gateway->remote)) {
		look(sim, node, cluster);
		if (!failover_renews(&cluster->machine, node_now(sim, node)))
			return;
	}
	gateway->renewal = keys_request(sim, node, &gateway->remote, 1);
}

void clusters_answered(struct sim *sim, struct node *node, const struct peer *peer)
{
	struct cluster *cluster = cluster_of(sim, node, peer->remote);
	struct failover_event event = { .type = FAILOVER_ANSWERED };

	event.gateway = cluster ? index_of(cluster, peer->remote) : FAILOVER_NOBODY;
	if (event.gateway == FAILOVER_NOBODY)
		return;
	look(sim, node, cluster);
	cluster_step(sim, node, cluster, event);
}

void clusters_control(struct sim *sim, struct node *node, struct peer *peer, const struct inner *control)
{
	struct cluster *cluster = &node->clusters[0];
	int g = index_of(cluster, peer->remote);

	if (control->control == HF_CONTROL_BYE) {
		peer_end(sim, node, peer, "the gateway has ended it");
		return;
	}
	if (control->control == HF_CONTROL_DRAIN)
		clusters_prefer_others(sim, node, peer);
	if (control->control == HF_CONTROL_REKEY && node_now(sim, node) - peer->established_ns > REKEY_PACE_NS)
		clusters_renew(sim, node, peer);
	if (control->control == HF_CONTROL_PROBE)
		datapath_control(sim, node, peer, HF_CONTROL_ANSWER, control->nonce);
	if (control->control == HF_CONTROL_ANSWER)
		clusters_answered(sim, node, peer);
	if (g == FAILOVER_NOBODY || control->control != HF_CONTROL_START)
		return;
	look(sim, node, cluster);
	start_by_gateway(sim, node, cluster, g);
}

static bool was_about_to_start(struct sim *sim, const struct node *node, const struct cluster *cluster,
			       const struct peer *peer, const struct failover_event *event)
{
	const struct failover *machine = &cluster->machine;

	return peer->role == HF_ROLE_CLIENT && event->by_peer && machine->current == FAILOVER_NOBODY &&
	       machine->wanted_ns && node_now(sim, node) - machine->wanted_ns < STARTED_NS;
}

void clusters_session_up(struct sim *sim, struct node *node, struct peer *peer, const struct cluster_session *session)
{
	struct cluster *cluster = cluster_of(sim, node, peer->remote);
	struct failover_event event = { .type = FAILOVER_SESSION_UP, .by_peer = session->by_peer };

	event.gateway = cluster ? index_of(cluster, peer->remote) : FAILOVER_NOBODY;
	if (event.gateway == FAILOVER_NOBODY)
		return;
	event.answers_request = session->request && session->request == cluster->request;
	if (event.answers_request)
		cluster->request = 0;
	if (was_about_to_start(sim, node, cluster, peer, &event))
		datapath_control(sim, node, peer, HF_CONTROL_START, 0);
	cluster_step(sim, node, cluster, event);
}

void clusters_session_down(struct sim *sim, struct node *node, int remote)
{
	struct cluster *cluster = cluster_of(sim, node, remote);
	int g = cluster ? index_of(cluster, remote) : FAILOVER_NOBODY;

	if (g != FAILOVER_NOBODY && cluster->machine.gateway[g].session)
		cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = g });
}

void clusters_attempt_failed(struct sim *sim, struct node *node, __u64 request, int error)
{
	for (int i = 0; i < node->n_clusters; i++)
		if (node->clusters[i].request == request && error != EACCES)
			node->clusters[i].unreached = true;
}

void clusters_rejected(struct sim *sim, struct node *node, __u64 request)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && (!request || node->peers[i]->renewal == request))
			node->peers[i]->renewal = 0;
	for (int i = 0; i < node->n_clusters; i++) {
		struct cluster *cluster = &node->clusters[i];
		struct failover_event event = { .type = FAILOVER_REJECTED };

		if (!cluster->request || (request && cluster->request != request))
			continue;
		cluster->request = 0;
		event.denied = cluster->denied = request && !cluster->unreached;
		TRACE(sim, node, "key request rejected");
		cluster_step(sim, node, cluster, event);
	}
}

/* ---- another policy: as loader/cluster_change.c ---- */

/* n: the client's if_id of the gateway that the policy names no more, and how often it was looked at. */
static void displaced_due(struct sim *sim, struct node *node, void *what, __u64 n)
{
	struct cluster *cluster = &node->clusters[0];
	__u32 if_id = (__u32)(n >> 8);
	struct peer *peer = NULL;

	for (int i = 0; i < sim->shape.n_gateways && !peer; i++)
		if (node->peers[i] && node->peers[i]->if_id == if_id)
			peer = node->peers[i];
	if (peer && cluster_names(cluster, peer->remote))
		return;
	if (peer && cluster->kept == if_id && (n & 0xff) + 1 < DISPLACED_TRIES) {
		sim_node_after(sim, node, true, node_wait(node, DISPLACED_NS), displaced_due, NULL, n + 1, false);
		return;
	}
	if (cluster->kept == if_id)
		cluster->steer = cluster->kept = 0;
	if (!peer)
		return;
	datapath_control(sim, node, peer, HF_CONTROL_BYE, 0);
	peer_end(sim, node, peer, "the policy no longer names it");
}

/* In some order, all of them, or some; false: there is nothing to change. */
static bool draw_gateways(struct sim *sim, const struct cluster *cluster, bool fewer, int *ret_gateways, int *ret_n)
{
	int n = sim->shape.n_gateways, was = cluster->machine.config.n_gateways;
	bool same;

	for (int i = 0; i < n; i++) {
		int at = (int)rng_below(&sim->rng, (__u64)i + 1);

		ret_gateways[i] = ret_gateways[at];
		ret_gateways[at] = i;
	}
	*ret_n = fewer ? (int)rng_range(&sim->rng, 1, (__u64)n) : n;
	same = *ret_n == was;
	for (int i = 0; i < *ret_n && same; i++)
		same = ret_gateways[i] == cluster->gateway[i];
	return !same;
}

void cluster_change(struct sim *sim, struct node *node, bool fewer)
{
	struct cluster *cluster = &node->clusters[0];
	struct failover_change change = { .config = cluster->machine.config };
	int gateways[SIM_GATEWAYS_MAX], n, was = cluster_current(cluster);
	struct peer *peer;

	if (!draw_gateways(sim, cluster, fewer, gateways, &n))
		return;
	change.config.n_gateways = n;
	for (int g = 0; g < n; g++)
		change.from[g] = index_of(cluster, gateways[g]);
	sim->count.changes++;
	TRACE(sim, node, "the policy names %d gateways now, first %s", n, sim->nodes[gateways[0]].name);
	if (cluster->request)
		keys_cancel(sim, node, cluster->request);
	cluster->request = 0;
	if (!cluster->kept && cluster->steer) {
		cluster->kept = cluster->steer;
		cluster->kept_remote = was;
	}
	memcpy(cluster->gateway, gateways, sizeof(gateways));
	cluster->depth++; /* of those that come to it with a session it is told in a moment */
	cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_CHANGED, .change = &change });
	if (cluster->machine.current != FAILOVER_NOBODY)
		cluster->kept = 0;
	invariant_changed(sim, node, cluster, was);
	for (int i = 0; i < sim->shape.n_gateways; i++)
		if ((peer = node->peers[i]) && !cluster_names(cluster, i))
			sim_node_after(sim, node, true, node_wait(node, DISPLACED_NS), displaced_due, NULL,
				       (__u64)peer->if_id << 8, false);
	for (int g = 0; g < n; g++)
		if (change.from[g] == FAILOVER_NOBODY && peer_of(&(struct step){ sim, node, cluster }, g))
			cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g });
	cluster->depth--;
	invariant_cluster(sim, node, cluster);
}

void clusters_say_goodbye(struct sim *sim, struct node *node)
{
	for (int i = 0; i < node_peer_count(sim, node); i++)
		if (node->peers[i] && node->peers[i]->up && node->peers[i]->role == HF_ROLE_GATEWAY)
			datapath_control(sim, node, node->peers[i], HF_CONTROL_BYE, 0);
}

void cluster_move(struct sim *sim, struct node *node, struct cluster *cluster, int gateway)
{
	int g = gateway == FAILOVER_NOBODY ? FAILOVER_NOBODY : index_of(cluster, gateway);

	if (g != FAILOVER_NOBODY && g == cluster->machine.current)
		return;
	look(sim, node, cluster);
	cluster_step(sim, node, cluster, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = g });
}
