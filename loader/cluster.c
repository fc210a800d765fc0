/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/auto.h"
#include "loader/beat.h"
#include "loader/hold.h"
#include "loader/peer_json.h"

/* Heartbeats that may be answered late; the oldest is forgotten for each new one. */
#define BEATS_KEPT 32
/* Traffic for a client that has waited no longer than this when the client dials was about to make us dial. */
#define STARTED_NS (10 * CLOCK_NS_PER_S)

struct cluster {
	struct clusters *all;
	const struct policy_cluster *policy;
	__u32 slot;
	struct failover machine;
	bool tunnelled; /* a tunnel of the policy leads here, whatever AUTO does */
	bool awake;	/* traffic is led here; a cluster at rest asks for nothing and hears nothing */
	struct hold *hold;
	struct event *timer;
	__u64 request; /* under way at the KMS; 0: none */
	bool unreached; /* an attempt of it failed for another reason than certificates */
	__u64 beats[BEATS_KEPT]; /* nonces */
	unsigned int n_beats;
	__u64 sent;
	__u64 missed;
};

struct clusters {
	struct clusters_config config;
	struct keyservice *service;
	struct cluster *cluster;
	size_t n;
	struct policy_cluster detected; /* of the cluster AUTO: none or one gateway */
	struct hf_addr server;
	struct cluster *led_to; /* where AUTO leads; NULL: nowhere */
	__u64 answered_before; /* of peers that are gone */
	__u32 sequence;
	/* A renewal is a request of its own, beside those of the machines. */
	struct {
		__u64 request;
		struct hf_addr gateway;
	} renewals[FAILOVER_MAX_GATEWAYS];
};

static void cluster_step(struct cluster *cluster, const struct failover_event *event);

static struct peer *gateway_peer(const struct cluster *cluster, int g)
{
	struct peers *peers = cluster->all->config.peers;

	for (struct peer *peer = peers_next(peers, NULL); peer; peer = peers_next(peers, peer))
		if (peer->up && (peer->role == HF_ROLE_GATEWAY || peer->named) &&
		    addr_equal(&peer->remote, &cluster->policy->gateways[g]))
			return peer;
	return NULL;
}

static int gateway_index(const struct cluster *cluster, const struct hf_addr *addr)
{
	for (size_t g = 0; g < cluster->policy->n_gateways; g++)
		if (addr_equal(&cluster->policy->gateways[g], addr))
			return (int)g;
	return FAILOVER_NOBODY;
}

static const char *gateway_text(const struct cluster *cluster, int g, struct addr_text *buffer)
{
	if (g == FAILOVER_NOBODY)
		return "nobody";
	*buffer = addr_text(&cluster->policy->gateways[g]);
	return buffer->s;
}

static json_t *gateway_json(const struct cluster *cluster, int g)
{
	struct addr_text text;

	return g == FAILOVER_NOBODY ? json_null() : json_string(gateway_text(cluster, g, &text));
}

/* Carrying out: one function an action. */

static void send_held(void *context, __u8 *packet, size_t len)
{
	struct cluster *cluster = context;
	int err = inner_held_send(&cluster->all->config.node->inner, packet, len);

	if (err)
		log_debug("%s: a held packet of %zu bytes could not be sent: %s", cluster->policy->name, len,
			  strerror(-err));
}

static void do_steer(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = action->gateway == FAILOVER_NOBODY ? NULL : gateway_peer(cluster, action->gateway);
	int err = datapath_steer(cluster->all->config.node->dp, cluster->slot, peer ? peer->if_id : 0);

	if (err)
		log_error("%s: cannot steer: %s", cluster->policy->name, strerror(-err));
	if (peer && !err)
		hold_flush(cluster->hold, clock_now_ns(), send_held, cluster);
}

/* From the client's inner address to the gateway's outer one, or the reverse where the peer is our client. */
static void send_control(const struct clusters *all, const struct peer *peer, enum hf_control_type type, __u64 nonce)
{
	struct hf_control_wire control = { .magic = htonl(HF_CONTROL_MAGIC), .if_id = htonl(peer->if_id),
					   .nonce = nonce, .type = (__u8)type };
	bool client = peer->role == HF_ROLE_CLIENT;
	int err;

	if (!peer->n_inner)
		return;
	err = inner_control_send(&all->config.node->inner, client ? &peer->local : &peer->inner[0].addr,
				 client ? &peer->inner[0].addr : &peer->remote, &control);
	if (err)
		log_debug("control packet %d to %s: %s", type, addr_text(&peer->remote).s, strerror(-err));
}

static void send_probe(const struct clusters *all, const struct peer *peer)
{
	__u64 nonce;

	if (getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce))
		send_control(all, peer, HF_CONTROL_PROBE, nonce);
}

static void do_probe(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = gateway_peer(cluster, action->gateway);

	if (peer)
		send_probe(cluster->all, peer);
}

static void do_watch(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = gateway_peer(cluster, action->gateway);

	if (peer)
		datapath_watch(cluster->all->config.node->dp, cluster->slot, peer->if_id);
}

static void do_leave(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = gateway_peer(cluster, action->gateway);

	if (peer && peer->role == HF_ROLE_GATEWAY)
		send_control(cluster->all, peer, HF_CONTROL_LEAVE, 0);
}

static void do_beat(struct cluster *cluster, const struct failover_action *action)
{
	struct clusters *all = cluster->all;
	struct peer *peer = gateway_peer(cluster, action->gateway);
	__u64 *kept = &cluster->beats[cluster->n_beats++ % BEATS_KEPT];
	struct beat beat;
	int err;

	if (!peer)
		return;
	if (peer->role == HF_ROLE_CLIENT) {
		/* Clients reflect no heartbeats: they are asked through the SA. */
		send_probe(all, peer);
		return;
	}
	if (*kept)
		datapath_del_beat(all->config.node->dp, *kept);
	*kept = 0;
	beat = (struct beat){ .local = peer->local, .remote = peer->remote, .remote_port = peer->port,
			      .sequence = ++all->sequence };
	err = beat_nonce(&beat.nonce);
	if (!err)
		err = datapath_add_beat(all->config.node->dp, beat.nonce, peer->if_id, clock_now_ns());
	if (!err) {
		*kept = beat.nonce;
		cluster->sent++;
		err = beat_send(all->config.node->beat_fd, &beat);
	}
	if (err)
		log_debug("%s: heartbeat to %s: %s", cluster->policy->name, addr_text(&peer->remote).s, strerror(-err));
}

static void end_session(struct clusters *all, struct peer *peer, const char *why)
{
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_session_end(all, peer, why);
	else
		all->config.end_client(all->config.context, peer, why);
}

static void do_remove(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = gateway_peer(cluster, action->gateway);

	if (peer)
		end_session(cluster->all, peer, "it failed");
}

static void request_failed(evutil_socket_t fd, short what, void *context)
{
	cluster_step(context, &(struct failover_event){ .type = FAILOVER_REJECTED });
}

static void do_request(struct cluster *cluster, const struct failover_actions *actions)
{
	struct hf_addr gateways[FAILOVER_MAX_GATEWAYS];
	static const struct timeval at_once;
	int err = -ENOTCONN;

	for (int i = 0; i < actions->n_request; i++)
		gateways[i] = cluster->policy->gateways[actions->request[i]];
	if (cluster->request)
		keyservice_cancel(cluster->all->service, cluster->request);
	cluster->request = 0;
	cluster->unreached = false;
	if (cluster->all->service)
		err = keyservice_request(cluster->all->service, gateways, (size_t)actions->n_request, &cluster->request);
	if (err) {
		if (cluster->all->service) /* at the start it comes a moment after the first traffic */
			log_warning("%s: key request: %s", cluster->policy->name, strerror(-err));
		event_base_once(cluster->all->config.base, -1, EV_TIMEOUT, request_failed, cluster, &at_once);
	}
}

static void say_missed(struct cluster *cluster, const struct failover_action *action)
{
	struct addr_text text;

	cluster->missed++;
	eventlog_emit(cluster->all->config.log, EVENT_HEARTBEAT_MISSED,
		      json_pack("{s:s, s:o, s:I, s:i}", "cluster", cluster->policy->name, "gateway",
				gateway_json(cluster, action->gateway), "in_a_row", (json_int_t)action->value, "tries",
				(int)failover_tries(&cluster->machine)),
		      "%s: %s did not answer heartbeat %llu of %u", cluster->policy->name,
		      gateway_text(cluster, action->gateway, &text), (unsigned long long)action->value,
		      failover_tries(&cluster->machine));
}

static void say_failed(struct cluster *cluster, const struct failover_action *action)
{
	double silent_ms = (double)action->value / (double)CLOCK_NS_PER_MS;
	struct addr_text text;

	eventlog_emit(cluster->all->config.log, EVENT_GATEWAY_FAILED,
		      json_pack("{s:s, s:o, s:s, s:f}", "cluster", cluster->policy->name, "gateway",
				gateway_json(cluster, action->gateway), "reason", failover_reason_name(action->reason),
				"silent_ms", silent_ms),
		      "%s: %s has failed (%s): last sign of life %.1f ms ago", cluster->policy->name,
		      gateway_text(cluster, action->gateway, &text), failover_reason_name(action->reason), silent_ms);
}

static void say_switched(struct cluster *cluster, const struct failover_action *action)
{
	struct addr_text to, from;

	eventlog_emit(cluster->all->config.log, EVENT_SWITCHED,
		      json_pack("{s:s, s:o, s:o, s:s}", "cluster", cluster->policy->name, "from",
				gateway_json(cluster, action->from), "to", gateway_json(cluster, action->gateway),
				"reason", failover_reason_name(action->reason)),
		      "%s: traffic goes to %s, before: %s (%s)", cluster->policy->name,
		      gateway_text(cluster, action->gateway, &to), gateway_text(cluster, action->from, &from),
		      failover_reason_name(action->reason));
}

static void say_recovered(struct cluster *cluster, const struct failover_action *action)
{
	double outage_ms = (double)action->value / (double)CLOCK_NS_PER_MS;
	struct addr_text to, from;

	eventlog_emit(cluster->all->config.log, EVENT_FAILOVER,
		      json_pack("{s:s, s:o, s:o, s:s, s:f}", "cluster", cluster->policy->name, "from",
				gateway_json(cluster, action->from), "to", gateway_json(cluster, action->gateway),
				"reason", failover_reason_name(action->reason), "outage_ms", outage_ms),
		      "%s: from %s to %s (%s), %.1f ms from the last sign of the one to the first of the other",
		      cluster->policy->name, gateway_text(cluster, action->from, &from),
		      gateway_text(cluster, action->gateway, &to), failover_reason_name(action->reason), outage_ms);
}

static void say_uplink(struct cluster *cluster, const struct failover_action *action)
{
	eventlog_emit(cluster->all->config.log, EVENT_UPLINK_SUSPECTED,
		      json_pack("{s:s}", "cluster", cluster->policy->name),
		      "%s: every gateway is silent; the own uplink is suspected, sessions are kept", cluster->policy->name);
}

static void say_false_alarm(struct cluster *cluster, const struct failover_action *action)
{
	struct addr_text text;

	eventlog_emit(cluster->all->config.log, EVENT_FALSE_ALARM,
		      json_pack("{s:s, s:o, s:i}", "cluster", cluster->policy->name, "gateway",
				gateway_json(cluster, action->gateway), "tries", (int)failover_tries(&cluster->machine)),
		      "%s: %s lives; %u heartbeats must be missed from now on", cluster->policy->name,
		      gateway_text(cluster, action->gateway, &text), failover_tries(&cluster->machine));
}

static void (*const carry_out[])(struct cluster *, const struct failover_action *) = {
	[FAILOVER_DO_STEER] = do_steer,
	[FAILOVER_DO_PROBE] = do_probe,
	[FAILOVER_DO_BEAT] = do_beat,
	[FAILOVER_DO_WATCH] = do_watch,
	[FAILOVER_DO_LEAVE] = do_leave,
	[FAILOVER_DO_REMOVE] = do_remove,
	[FAILOVER_SAY_MISSED] = say_missed,
	[FAILOVER_SAY_FAILED] = say_failed,
	[FAILOVER_SAY_SWITCHED] = say_switched,
	[FAILOVER_SAY_RECOVERED] = say_recovered,
	[FAILOVER_SAY_UPLINK] = say_uplink,
	[FAILOVER_SAY_FALSE_ALARM] = say_false_alarm,
};

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

static void cluster_step(struct cluster *cluster, const struct failover_event *event)
{
	struct failover_actions actions;

	if (!cluster->awake)
		return;
	failover_step(&cluster->machine, event, clock_now_ns(), &actions);
	for (size_t i = 0; i < actions.n; i++) {
		if (actions.action[i].type == FAILOVER_DO_REQUEST)
			do_request(cluster, &actions);
		else
			carry_out[actions.action[i].type](cluster, &actions.action[i]);
	}
	set_timer(cluster);
}

/* What the datapath has stamped since the last look: before any timer blames a gateway. */
static void look(struct cluster *cluster)
{
	for (int g = 0; g < (int)cluster->policy->n_gateways; g++) {
		struct peer *peer = gateway_peer(cluster, g);
		struct hf_live live;
		struct failover_event event = { .type = FAILOVER_ALIVE, .gateway = g };

		if (!peer || datapath_read_live(cluster->all->config.node->dp, peer->if_id, &live))
			continue;
		event.auth_ns = live.last_rx_ns;
		event.rx_ns = live.last_rx_ns > live.beat_rx_ns ? live.last_rx_ns : live.beat_rx_ns;
		if (event.rx_ns > cluster->machine.gateway[g].last_rx_ns ||
		    event.auth_ns > cluster->machine.gateway[g].last_auth_ns)
			cluster_step(cluster, &event);
	}
}

static void timer_due(evutil_socket_t fd, short what, void *context)
{
	struct cluster *cluster = context;

	look(cluster);
	cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_TICK });
}

static void cluster_config(const struct policy *policy, const struct policy_cluster *cluster,
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

/* The machine, with nobody in use; what was counted before stays. */
static void cluster_begin(struct cluster *cluster)
{
	__u64 failovers = cluster->machine.failovers;
	struct failover_config machine;

	cluster_config(cluster->all->config.policy, cluster->policy, &machine);
	failover_init(&cluster->machine, &machine);
	cluster->machine.failovers = failovers;
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
	if (!all->cluster)
		goto fail;
	for (size_t i = 0; i < n + auto_wanted(config->policy); i++) {
		struct cluster *cluster = &all->cluster[i];

		cluster->all = all;
		cluster->policy = i < n ? &config->policy->clusters[i] : &all->detected;
		cluster->slot = (__u32)i;
		cluster->timer = evtimer_new(config->base, timer_due, cluster);
		all->n++;
		if (hold_new(&cluster->hold) || !cluster->timer)
			goto fail;
		cluster_begin(cluster);
	}
	for (size_t i = 0; i < config->policy->n_tunnels; i++)
		if (config->policy->tunnels[i].target == POLICY_TARGET_CLUSTER)
			all->cluster[config->policy->tunnels[i].cluster].tunnelled = true;
	for (size_t i = 0; i < n; i++)
		all->cluster[i].awake = all->cluster[i].tunnelled;
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
	for (size_t i = 0; i < all->n; i++) {
		hold_free(all->cluster[i].hold);
		if (all->cluster[i].timer)
			event_free(all->cluster[i].timer);
	}
	free(all->cluster);
	free(all);
}

void clusters_start(struct clusters *all, struct keyservice *service)
{
	all->service = service;
	for (size_t i = 0; i < all->n; i++)
		cluster_step(&all->cluster[i], &(struct failover_event){ .type = FAILOVER_START });
}

void clusters_want(struct clusters *all, __u32 slot, const __u8 *packet, size_t len)
{
	struct cluster *cluster;

	if (slot >= all->n)
		return;
	cluster = &all->cluster[slot];
	if (!cluster->awake)
		return;
	if (len)
		hold_add(cluster->hold, packet, len, clock_now_ns());
	if (cluster->machine.current != FAILOVER_NOBODY) /* taken just before the switch */
		hold_flush(cluster->hold, clock_now_ns(), send_held, cluster);
	else
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_WANT });
}

void clusters_payload(struct clusters *all, __u32 slot)
{
	struct cluster *cluster = slot < all->n ? &all->cluster[slot] : NULL;

	if (!cluster || cluster->machine.current == FAILOVER_NOBODY)
		return;
	look(cluster);
	cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = cluster->machine.current });
}

/* Whether a cluster that is not at rest has it as a gateway. */
static bool is_gateway(const struct clusters *all, const struct hf_addr *addr)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i].awake && gateway_index(&all->cluster[i], addr) != FAILOVER_NOBODY)
			return true;
	return false;
}

/* To rest: nobody in use, nothing under way. Sessions that no other cluster has are ended. */
static void cluster_rest(struct cluster *cluster)
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
		struct peer *peer = gateway_peer(cluster, g);

		if (peer && is_gateway(all, &peer->remote))
			datapath_del_member(all->config.node->dp, cluster->slot, peer->if_id);
		else if (peer)
			end_session(all, peer, "AUTO no longer leads there");
	}
}

/* With the sessions that its gateways have already, as those of other clusters. */
static void cluster_wake(struct cluster *cluster)
{
	cluster->awake = true;
	cluster_begin(cluster);
	for (int g = 0; g < (int)cluster->policy->n_gateways; g++) {
		struct peer *peer = gateway_peer(cluster, g);

		if (peer && !datapath_set_member(cluster->all->config.node->dp, cluster->slot, peer->if_id))
			cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g });
	}
	if (cluster->all->service)
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_START });
}

void clusters_detected(struct clusters *all, const struct hf_addr *server, size_t target)
{
	struct cluster *old = all->led_to, *new = server ? &all->cluster[target] : NULL;

	if (old && !old->tunnelled)
		cluster_rest(old);
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
			send_control(all, peer, HF_CONTROL_BYE, 0);
}

void clusters_say_goodbye_to(struct clusters *all, const struct peer *peer)
{
	send_control(all, peer, HF_CONTROL_BYE, 0);
}

/* We were first with our own dial, or it would have started the session itself: that makes no difference. */
static void start_by_gateway(struct cluster *cluster, int g)
{
	if (cluster->machine.gateway[g].session)
		cluster_step(cluster, &(struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .by_peer = true });
}

void clusters_control(struct clusters *all, struct peer *gateway, const struct hf_event *control)
{
	if (control->control == HF_CONTROL_BYE) {
		clusters_session_end(all, gateway, "the gateway has ended it");
		return;
	}
	/* A gateway that tunnels to us asks whether we live. */
	if (control->control == HF_CONTROL_PROBE)
		send_control(all, gateway, HF_CONTROL_ANSWER, control->nonce);
	for (size_t i = 0; i < all->n; i++) {
		struct failover_event event = { .type = FAILOVER_LEAVE_ME,
						.gateway = gateway_index(&all->cluster[i], &gateway->remote) };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		look(&all->cluster[i]);
		if (control->control == HF_CONTROL_DRAIN)
			cluster_step(&all->cluster[i], &event);
		else if (control->control == HF_CONTROL_START)
			start_by_gateway(&all->cluster[i], event.gateway);
	}
}

bool clusters_have(const struct clusters *all, const struct hf_addr *gateway)
{
	return is_gateway(all, gateway);
}

bool clusters_alone(const struct clusters *all, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i].awake && all->cluster[i].policy->n_gateways > 1 &&
		    gateway_index(&all->cluster[i], gateway) != FAILOVER_NOBODY)
			return false;
	return true;
}

int clusters_admit(struct clusters *all, struct peer *gateway)
{
	int err = 0;

	for (size_t i = 0; i < all->n && !err; i++)
		if (gateway_index(&all->cluster[i], &gateway->remote) != FAILOVER_NOBODY)
			err = datapath_set_member(all->config.node->dp, all->cluster[i].slot, gateway->if_id);
	return err;
}

void clusters_dismiss(struct clusters *all, __u32 if_id)
{
	for (size_t i = 0; i < all->n; i++)
		datapath_del_member(all->config.node->dp, all->cluster[i].slot, if_id);
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

	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++)
		if (request && all->renewals[i].request == request)
			all->renewals[i].request = 0;
	if (gateway->role == HF_ROLE_GATEWAY)
		say_session(all, gateway, session->again);
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = &all->cluster[i];
		struct failover_event event = { .type = FAILOVER_SESSION_UP,
						.gateway = gateway_index(cluster, &gateway->remote),
						.by_peer = session->by_peer,
						.answers_request = request && request == cluster->request };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		if (event.answers_request)
			cluster->request = 0;
		if (was_about_to_start(cluster, gateway, &event))
			send_control(all, gateway, HF_CONTROL_START, 0);
		cluster_step(cluster, &event);
	}
}

void clusters_session_end(struct clusters *all, struct peer *gateway, const char *why)
{
	struct hf_addr addr = gateway->remote;
	__u32 if_id = gateway->if_id;
	struct hf_live live;

	eventlog_emit(all->config.log, EVENT_SESSION_ENDED, json_pack("{s:s, s:s}", "gateway", addr_text(&addr).s, "why", why),
		      "session with gateway %s ended: %s", addr_text(&addr).s, why);
	if (!datapath_read_live(all->config.node->dp, if_id, &live))
		all->answered_before += live.beats_answered;
	peers_remove(gateway);
	clusters_session_down(all, &addr, if_id);
}

void clusters_session_down(struct clusters *all, const struct hf_addr *gateway, __u32 if_id)
{
	clusters_dismiss(all, if_id);
	for (size_t i = 0; i < all->n; i++) {
		struct failover_event event = { .type = FAILOVER_SESSION_DOWN,
						.gateway = gateway_index(&all->cluster[i], gateway) };

		if (event.gateway == FAILOVER_NOBODY)
			continue;
		if (all->cluster[i].machine.gateway[event.gateway].session)
			cluster_step(&all->cluster[i], &event);
	}
}

void clusters_renew(struct clusters *all, struct peer *gateway)
{
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++) {
		if (all->renewals[i].request)
			continue;
		all->renewals[i].gateway = gateway->remote;
		if (keyservice_request(all->service, &gateway->remote, 1, &all->renewals[i].request))
			all->renewals[i].request = 0;
		return;
	}
}

void clusters_attempt_failed(struct clusters *all, __u64 request, int error)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i].request == request && error != EACCES)
			all->cluster[i].unreached = true;
}

void clusters_rejected(struct clusters *all, __u64 request, int error)
{
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++)
		if (!request || all->renewals[i].request == request)
			all->renewals[i].request = 0;
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = &all->cluster[i];
		struct failover_event event = { .type = FAILOVER_REJECTED };

		if (!cluster->request || (request && cluster->request != request))
			continue;
		cluster->request = 0;
		event.denied = request && error != ECONNABORTED && !cluster->unreached;
		if (error == EALREADY)
			log_debug("%s: the gateway dials us itself", cluster->policy->name);
		else
			eventlog_emit(all->config.log, EVENT_REJECTED, json_pack("{s:s}", "cluster", cluster->policy->name),
				      "%s: key request rejected: no gateway authenticated", cluster->policy->name);
		cluster_step(cluster, &event);
	}
}

int clusters_move(struct clusters *all, const char *name, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = &all->cluster[i];
		struct failover_event event = { .type = FAILOVER_MOVE, .gateway = FAILOVER_NOBODY };

		if (strcasecmp(cluster->policy->name, name))
			continue;
		if (!cluster->awake)
			return -ENODEV;
		if (gateway) {
			event.gateway = gateway_index(cluster, gateway);
			if (event.gateway == FAILOVER_NOBODY)
				return -EINVAL;
			if (event.gateway == cluster->machine.current)
				return -EALREADY;
		}
		look(cluster);
		cluster_step(cluster, &event);
		return 0;
	}
	return -ENOENT;
}

static json_t *gateway_status(const struct cluster *cluster, int g)
{
	struct peer *peer = gateway_peer(cluster, g);
	struct hf_live live = { 0 };
	json_t *json = json_pack("{s:o, s:s}", "address", gateway_json(cluster, g), "state",
				 failover_state_name(failover_gateway_state(&cluster->machine, g)));
	__u64 rx = 0;

	if (peer && !datapath_read_live(cluster->all->config.node->dp, peer->if_id, &live))
		rx = live.last_rx_ns > live.beat_rx_ns ? live.last_rx_ns : live.beat_rx_ns;
	json_object_set_new(json, "last_rx_ms",
			    rx ? json_integer((json_int_t)((clock_now_ns() - rx) / CLOCK_NS_PER_MS)) : json_null());
	json_object_set_new(json, "rtt_us", live.beat_rtt_ns ? json_integer((json_int_t)(live.beat_rtt_ns / 1000)) : json_null());
	json_object_set_new(json, "session", peer_session_json(peer));
	return json;
}

json_t *clusters_status(const struct clusters *all)
{
	json_t *array = json_array();

	for (size_t i = 0; i < all->n; i++) {
		const struct cluster *cluster = &all->cluster[i];
		json_t *gateways = json_array();

		for (int g = 0; g < (int)cluster->policy->n_gateways; g++)
			json_array_append_new(gateways, gateway_status(cluster, g));
		json_array_append_new(array, json_pack("{s:s, s:o, s:o}", "name", cluster->policy->name, "current",
						       gateway_json(cluster, cluster->machine.current), "gateways",
						       gateways));
	}
	return array;
}

void clusters_count(const struct clusters *all, struct clusters_counts *ret)
{
	*ret = (struct clusters_counts){ .answered = all->answered_before };
	for (size_t i = 0; i < all->n; i++) {
		ret->sent += all->cluster[i].sent;
		ret->missed += all->cluster[i].missed;
		ret->failovers += all->cluster[i].machine.failovers;
	}
	for (struct peer *peer = peers_next(all->config.peers, NULL); peer; peer = peers_next(all->config.peers, peer)) {
		struct hf_live live;

		if (peer->role == HF_ROLE_GATEWAY && !datapath_read_live(all->config.node->dp, peer->if_id, &live))
			ret->answered += live.beats_answered;
	}
}
