/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/auto.h"
#include "loader/cluster_internal.h"
#include "loader/hold.h"
#include "loader/shortage.h"

/* Traffic for a client that has waited no longer than this when the client dials was about to make us dial. */
#define STARTED_NS (10 * CLOCK_NS_PER_S)
/* A gateway's wish for new keys is not heard more often: one that was under way while they came is not for these. */
#define REKEY_PACE_NS CLOCK_NS_PER_S

struct peer *cluster_peer(const struct cluster *cluster, int g)
{
	struct peers *peers = cluster->all->config.peers;

	for (struct peer *peer = peers_next(peers, NULL); peer; peer = peers_next(peers, peer))
		if (peer->up && (peer->role == HF_ROLE_GATEWAY || peer->named) &&
		    addr_equal(&peer->remote, &cluster->policy->gateways[g]))
			return peer;
	return NULL;
}

int cluster_gateway_index(const struct cluster *cluster, const struct hf_addr *addr)
{
	for (size_t g = 0; g < cluster->policy->n_gateways; g++)
		if (addr_equal(&cluster->policy->gateways[g], addr))
			return (int)g;
	return FAILOVER_NOBODY;
}

static void set_timer(struct cluster *cluster)
{
	__u64 now = clock_now_ns();
	__u64 due = failover_deadline_ns(&cluster->machine, now);
	__u64 wait = due > now ? due - now : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait / CLOCK_NS_PER_S),
			      .tv_usec = (suseconds_t)(wait % CLOCK_NS_PER_S / 1000) };

	if (due == ~0ull)
		event_del(cluster->timer);
	else
		event_add(cluster->timer, &tv);
}

void cluster_step(struct cluster *cluster, const struct failover_event *event)
{
	struct failover_actions actions;

	if (!cluster->awake)
		return;
	failover_step(&cluster->machine, event, clock_now_ns(), &actions);
	cluster_carry_out(cluster, &actions);
	set_timer(cluster);
}

/* What the datapath has stamped since the last look: before any timer blames a gateway. */
void cluster_look(struct cluster *cluster)
{
	for (int g = 0; g < (int)cluster->policy->n_gateways; g++) {
		struct peer *peer = cluster_peer(cluster, g);
		struct hf_live live;
		struct failover_event event = { .type = FAILOVER_ALIVE, .gateway = g };

		if (!peer || datapath_read_live(cluster->all->config.node->dp, peer->if_id, &live))
			continue;
		event.auth_ns = live.last_rx_ns;
		/* A client is asked by probes, and any packet is an answer. */
		event.answer_ns = peer->role == HF_ROLE_GATEWAY ? live.beat_rx_ns : live.last_rx_ns;
		event.rx_ns = live.last_rx_ns > live.beat_rx_ns ? live.last_rx_ns : live.beat_rx_ns;
		if (event.rx_ns > cluster->machine.gateway[g].last_rx_ns ||
		    event.auth_ns > cluster->machine.gateway[g].last_auth_ns)
			cluster_step(cluster, &event);
	}
}

static void timer_due(evutil_socket_t fd, short what, void *context)
{
	struct cluster *cluster = context;

	cluster_look(cluster);
	cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_TICK });
}

void cluster_config(const struct policy *policy, const struct policy_cluster *cluster,
			   struct failover_config *ret)
{
	static const enum failover_heartbeat modes[] = {
		[POLICY_HEARTBEAT_NONE] = FAILOVER_BEAT_NONE,
		[POLICY_HEARTBEAT_DEFERRED] = FAILOVER_BEAT_DEFERRED,
		[POLICY_HEARTBEAT_INSTANT] = FAILOVER_BEAT_INSTANT,
	};

	*ret = (struct failover_config){
		.heartbeat = modes[policy->general.heartbeat],
		.response_ns = policy->general.response_ms * CLOCK_NS_PER_MS,
		.defer_ns = policy->general.defer_ms * CLOCK_NS_PER_MS,
		.tries = policy->general.tries,
		.standby = policy->general.standby,
		.connect_at_start = policy->general.connect == POLICY_CONNECT_START,
		.n_gateways = (int)cluster->n_gateways,
	};
	if (getrandom(&ret->seed, sizeof(ret->seed), 0) != sizeof(ret->seed))
		ret->seed = clock_now_ns();
}

void cluster_begin(struct cluster *cluster)
{
	__u64 failovers = cluster->machine.failovers;
	struct failover_config machine;

	cluster_config(cluster->all->config.policy, cluster->policy, &machine);
	failover_init(&cluster->machine, &machine);
	cluster->machine.failovers = failovers;
}

struct cluster *cluster_new(struct clusters *all, const struct policy_cluster *policy, __u32 slot)
{
	struct cluster *cluster = calloc(1, sizeof(*cluster));

	if (!cluster)
		return NULL;
	cluster->all = all;
	cluster->policy = policy;
	cluster->slot = slot;
	cluster->timer = evtimer_new(all->config.base, timer_due, cluster);
	cluster->failed = evtimer_new(all->config.base, cluster_request_failed, cluster);
	if (!cluster->timer || !cluster->failed || hold_new(&all->config.node->held_lost, &cluster->hold)) {
		cluster_free(cluster);
		return NULL;
	}
	cluster_begin(cluster);
	return cluster;
}

void cluster_free(struct cluster *cluster)
{
	if (!cluster)
		return;
	hold_free(cluster->hold);
	if (cluster->timer)
		event_free(cluster->timer);
	if (cluster->failed)
		event_free(cluster->failed);
	free(cluster);
}

void clusters_note_tunnels(struct clusters *all)
{
	const struct policy *policy = all->config.policy;

	for (size_t i = 0; i < all->n; i++)
		all->cluster[i]->tunnelled = false;
	for (size_t i = 0; i < policy->n_tunnels; i++)
		if (policy->tunnels[i].target == POLICY_TARGET_CLUSTER)
			all->cluster[policy->tunnels[i].cluster]->tunnelled = true;
}

int clusters_new(const struct clusters_config *config, struct clusters **ret_clusters)
{
	struct clusters *all = calloc(1, sizeof(*all));
	size_t n = config->policy->n_clusters;

	if (!all)
		return -ENOMEM;
	all->config = *config;
	snprintf(all->detected.name, sizeof(all->detected.name), "AUTO");
	all->detected.gateways = &all->server;
	all->cluster = calloc(n + 1, sizeof(*all->cluster));
	all->by_slot = calloc(DATAPATH_SLOTS, sizeof(*all->by_slot));
	if (!all->cluster || !all->by_slot || n >= DATAPATH_SLOTS)
		goto fail;
	for (size_t i = 0; i < n + auto_wanted(config->policy); i++) {
		struct cluster *cluster = cluster_new(all, i < n ? &config->policy->clusters[i] : &all->detected,
						      config->node->slots[i]);

		if (!cluster)
			goto fail;
		all->cluster[all->n++] = all->by_slot[cluster->slot] = cluster;
	}
	clusters_note_tunnels(all);
	for (size_t i = 0; i < n; i++)
		all->cluster[i]->awake = all->cluster[i]->tunnelled;
	*ret_clusters = all;
	return 0;
fail:
	clusters_free(all);
	return -ENOMEM;
}

void clusters_free(struct clusters *all)
{
	if (!all)
		return;
	clusters_forget_displaced(all);
	for (size_t i = 0; i < all->n; i++)
		cluster_free(all->cluster[i]);
	free(all->cluster);
	free(all->by_slot);
	free(all);
}

bool clusters_have_slot(const struct clusters *all, __u32 slot)
{
	return slot < DATAPATH_SLOTS && all->by_slot[slot];
}

__u32 clusters_slot(const struct clusters *all, size_t index)
{
	return all->cluster[index]->slot;
}

void clusters_start(struct clusters *all, struct keyservice *service)
{
	bool first = !all->service;

	all->service = service;
	/* An adopted session may have been due before there was anybody to ask. */
	for (struct peer *peer = peers_next(all->config.peers, NULL); first && peer; peer = peers_next(all->config.peers, peer))
		if (peer->role == HF_ROLE_GATEWAY && peers_is_due(peer))
			clusters_renew(all, peer);
	for (size_t i = 0; i < all->n; i++)
		cluster_step(all->cluster[i], &(struct failover_event){ .type = FAILOVER_START });
}

void clusters_want(struct clusters *all, __u32 slot, const __u8 *packet, size_t len)
{
	struct cluster *cluster;

	if (!clusters_have_slot(all, slot))
		return;
	cluster = all->by_slot[slot];
	if (!cluster->awake) {
		all->config.node->held_lost += len > 0;
		return;
	}
	if (len)
		hold_add(cluster->hold, packet, len, clock_now_ns());
	if (cluster->machine.current != FAILOVER_NOBODY) /* taken just before the switch */
		hold_flush(cluster->hold, clock_now_ns(), cluster_send_held, cluster);
	else
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_WANT });
}

void clusters_payload(struct clusters *all, __u32 slot)
{
	struct cluster *cluster = clusters_have_slot(all, slot) ? all->by_slot[slot] : NULL;

	if (!cluster || cluster->machine.current == FAILOVER_NOBODY)
		return;
	cluster_look(cluster);
	cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = cluster->machine.current });
}

bool clusters_have(const struct clusters *all, const struct hf_addr *addr)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i]->awake && cluster_gateway_index(all->cluster[i], addr) != FAILOVER_NOBODY)
			return true;
	return false;
}

void clusters_leave(struct clusters *all, __u32 slot, struct peer *peer, const char *why)
{
	if (clusters_have(all, &peer->remote)) {
		datapath_del_member(all->config.node->dp, slot, peer->if_id);
		return;
	}
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_send_control(all, peer, HF_CONTROL_BYE, 0);
	clusters_forget_renewal(all, &peer->remote);
	clusters_end_session_of(all, peer, why);
}

void cluster_rest(struct cluster *cluster, const char *why)
{
	struct clusters *all = cluster->all;
	size_t n = cluster->policy->n_gateways;

	cluster->awake = false;
	if (cluster->request)
		keyservice_cancel(all->service, cluster->request);
	cluster->request = 0;
	event_del(cluster->timer);
	cluster_begin(cluster);
	datapath_steer(all->config.node->dp, cluster->slot, 0);
	for (int g = 0; g < (int)n; g++) {
		struct peer *peer = cluster_peer(cluster, g);

		if (peer)
			clusters_leave(all, cluster->slot, peer, why);
	}
}

/* Goes on with a gateway's session of an earlier run. Returns whether the slot leads to it. */
static bool adopt_one(struct cluster *cluster, const struct peer *gateway, int g)
{
	struct node *node = cluster->all->config.node;
	struct failover_event event = { .type = FAILOVER_ADOPTED, .gateway = g };
	struct hf_live live = { 0 };
	__u32 used;

	datapath_read_live(node->dp, gateway->if_id, &live);
	event.auth_ns = live.last_rx_ns;
	event.rx_ns = live.last_rx_ns > live.beat_rx_ns ? live.last_rx_ns : live.beat_rx_ns;
	if (event.rx_ns < gateway->established_ns) /* it had just authenticated */
		event.rx_ns = gateway->established_ns;
	event.in_use = !datapath_read_steer(node->dp, cluster->slot, &used) && used == gateway->if_id;
	cluster_step(cluster, &event);
	return event.in_use;
}

/* With the sessions that its gateways have already, as those of other clusters. */
void cluster_wake(struct cluster *cluster)
{
	cluster->awake = true;
	cluster_begin(cluster);
	for (int g = 0; g < (int)cluster->policy->n_gateways; g++) {
		struct peer *peer = cluster_peer(cluster, g);

		if (!peer || datapath_set_member(cluster->all->config.node->dp, cluster->slot, peer->if_id))
			continue;
		if (!adopt_one(cluster, peer, g))
			cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g });
	}
	if (cluster->all->service)
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_START });
}

void clusters_detected(struct clusters *all, const struct hf_addr *server, size_t target)
{
	struct cluster *old = all->led_to, *new = server ? all->cluster[target] : NULL;

	if (old && !old->tunnelled)
		cluster_rest(old, "AUTO no longer leads there");
	all->led_to = new;
	all->detected.n_gateways = new && new->policy == &all->detected;
	if (all->detected.n_gateways)
		all->server = *server;
	if (new && !new->awake)
		cluster_wake(new);
}

void clusters_address_lost(struct clusters *all, const struct hf_addr *local)
{
	for (struct peer *peer = peers_next(all->config.peers, NULL), *next; peer; peer = next) {
		next = peers_next(all->config.peers, peer);
		if (peer->role == HF_ROLE_GATEWAY && peer->up && addr_equal(&peer->local, local))
			clusters_session_end(all, peer, "this machine has lost the address that it came from");
	}
}

void clusters_say_goodbye(struct clusters *all)
{
	struct peers *peers = all->config.peers;

	for (struct peer *peer = peers_next(peers, NULL); peer; peer = peers_next(peers, peer))
		if (peer->up && peer->role == HF_ROLE_GATEWAY)
			clusters_send_control(all, peer, HF_CONTROL_BYE, 0);
}

void clusters_say_goodbye_to(struct clusters *all, const struct peer *peer)
{
	clusters_send_control(all, peer, HF_CONTROL_BYE, 0);
}

/* We were first with our own dial, or it would have started the session itself: that makes no difference. */
static void start_by_gateway(struct cluster *cluster, int g)
{
	if (cluster->machine.gateway[g].session)
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .by_peer = true });
}

void clusters_prefer_others(struct clusters *all, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < all->n; i++) {
		struct failover_event event = { .type = FAILOVER_LEAVE_ME,
						.gateway = cluster_gateway_index(all->cluster[i], gateway) };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		cluster_look(all->cluster[i]);
		cluster_step(all->cluster[i], &event);
	}
}

void clusters_answered(struct clusters *all, const struct peer *peer)
{
	for (size_t i = 0; i < all->n; i++) {
		struct failover_event event = { .type = FAILOVER_ANSWERED,
						.gateway = cluster_gateway_index(all->cluster[i], &peer->remote) };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		cluster_look(all->cluster[i]);
		cluster_step(all->cluster[i], &event);
	}
}

void clusters_control(struct clusters *all, struct peer *gateway, const struct hf_event *control)
{
	if (control->control == HF_CONTROL_BYE) {
		clusters_session_end(all, gateway, "the gateway has ended it");
		return;
	}
	if (control->control == HF_CONTROL_DRAIN)
		clusters_prefer_others(all, &gateway->remote);
	if (control->control == HF_CONTROL_REKEY && clock_now_ns() - gateway->established_ns > REKEY_PACE_NS)
		clusters_renew(all, gateway);
	/* A gateway that tunnels to us asks whether we live. */
	if (control->control == HF_CONTROL_PROBE)
		clusters_send_control(all, gateway, HF_CONTROL_ANSWER, control->nonce);
	if (control->control == HF_CONTROL_ANSWER)
		clusters_answered(all, gateway);
	if (control->control != HF_CONTROL_START)
		return;
	for (size_t i = 0; i < all->n; i++) {
		int g = cluster_gateway_index(all->cluster[i], &gateway->remote);

		if (g == FAILOVER_NOBODY)
			continue;
		cluster_look(all->cluster[i]);
		start_by_gateway(all->cluster[i], g);
	}
}

bool clusters_alone(const struct clusters *all, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i]->awake && all->cluster[i]->policy->n_gateways > 1 &&
		    cluster_gateway_index(all->cluster[i], gateway) != FAILOVER_NOBODY)
			return false;
	return true;
}

int clusters_admit(struct clusters *all, struct peer *gateway)
{
	int err = 0;

	for (size_t i = 0; i < all->n && !err; i++)
		if (cluster_gateway_index(all->cluster[i], &gateway->remote) != FAILOVER_NOBODY)
			err = datapath_set_member(all->config.node->dp, all->cluster[i]->slot, gateway->if_id);
	return err;
}

int clusters_adopt(struct clusters *all, struct peer *gateway)
{
	int err = clusters_admit(all, gateway);

	for (size_t i = 0; i < all->n && !err; i++) {
		int g = cluster_gateway_index(all->cluster[i], &gateway->remote);

		if (g != FAILOVER_NOBODY && all->cluster[i]->awake)
			adopt_one(all->cluster[i], gateway, g);
	}
	return err;
}

void clusters_dismiss(struct clusters *all, __u32 if_id)
{
	for (size_t i = 0; i < all->n; i++)
		datapath_del_member(all->config.node->dp, all->cluster[i]->slot, if_id);
}

/* Whether traffic for this client was waiting while it dialled. */
static bool was_about_to_start(const struct cluster *cluster, const struct peer *peer, const struct failover_event *event)
{
	const struct failover *machine = &cluster->machine;

	return peer->role == HF_ROLE_CLIENT && event->by_peer && machine->current == FAILOVER_NOBODY &&
	       machine->wanted_ns && clock_now_ns() - machine->wanted_ns < STARTED_NS;
}

static void say_session(const struct clusters *all, const struct peer *gateway, bool again)
{
	eventlog_emit(all->config.log, again ? EVENT_REKEY : EVENT_SESSION,
		      json_pack("{s:s, s:s, s:s}", "gateway", addr_text(&gateway->remote).s, "name", gateway->name,
				"algorithm", peer_algorithm_name(gateway->algorithm)),
		      "session with gateway %s (%s, %s)", addr_text(&gateway->remote).s, gateway->name,
		      peer_algorithm_name(gateway->algorithm));
}

void clusters_session_up(struct clusters *all, struct peer *gateway, const struct clusters_session *session)
{
	__u64 request = session->request;

	if (request)
		clusters_renewal_over(all, request);
	if (gateway->role == HF_ROLE_GATEWAY)
		say_session(all, gateway, session->again);
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = all->cluster[i];
		struct failover_event event = { .type = FAILOVER_SESSION_UP,
						.gateway = cluster_gateway_index(cluster, &gateway->remote),
						.by_peer = session->by_peer,
						.answers_request = request && request == cluster->request };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		if (event.answers_request)
			cluster->request = 0;
		if (was_about_to_start(cluster, gateway, &event))
			clusters_send_control(all, gateway, HF_CONTROL_START, 0);
		cluster_step(cluster, &event);
	}
}

void clusters_session_end(struct clusters *all, struct peer *gateway, const char *why)
{
	struct hf_addr addr = gateway->remote;
	__u64 request = peers_pending_request(gateway);
	__u32 if_id = gateway->if_id;
	struct hf_live live;

	eventlog_emit(all->config.log, EVENT_SESSION_ENDED, json_pack("{s:s, s:s}", "gateway", addr_text(&addr).s, "why", why),
		      "session with gateway %s ended: %s", addr_text(&addr).s, why);
	if (!datapath_read_live(all->config.node->dp, if_id, &live))
		all->before.answered += live.beats_answered;
	peers_remove(gateway);
	clusters_session_down(all, &addr, if_id, request);
}

void clusters_session_down(struct clusters *all, const struct hf_addr *gateway, __u32 if_id, __u64 request)
{
	clusters_dismiss(all, if_id);
	for (size_t i = 0; i < all->n; i++) {
		struct failover_event event = { .type = FAILOVER_SESSION_DOWN,
						.gateway = cluster_gateway_index(all->cluster[i], gateway) };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		if (all->cluster[i]->machine.gateway[event.gateway].session)
			cluster_step(all->cluster[i], &event);
	}
	clusters_give_up(all, request);
}

int clusters_move(struct clusters *all, const char *name, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = all->cluster[i];
		struct failover_event event = { .type = FAILOVER_MOVE, .gateway = FAILOVER_NOBODY };

		if (strcasecmp(cluster->policy->name, name))
			continue;
		if (!cluster->awake)
			return -ENODEV;
		if (gateway) {
			event.gateway = cluster_gateway_index(cluster, gateway);
			if (event.gateway == FAILOVER_NOBODY)
				return -EINVAL;
			if (event.gateway == cluster->machine.current)
				return -EALREADY;
		}
		cluster_look(cluster);
		cluster_step(cluster, &event);
		return 0;
	}
	return -ENOENT;
}
