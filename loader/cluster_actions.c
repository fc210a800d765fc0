/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a state machine wants done: one function an action, in one table. */
#include "loader/cluster_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/beat.h"
#include "loader/hold.h"
#include "loader/shortage.h"

const char *cluster_gateway_text(const struct cluster *cluster, int g, struct addr_text *buffer)
{
	if (g == FAILOVER_NOBODY)
		return "nobody";
	*buffer = addr_text(&cluster->policy->gateways[g]);
	return buffer->s;
}

json_t *cluster_gateway_json(const struct cluster *cluster, int g)
{
	struct addr_text text;

	return g == FAILOVER_NOBODY ? json_null() : json_string(cluster_gateway_text(cluster, g, &text));
}

int cluster_send_held(void *context, __u8 *packet, size_t len)
{
	struct cluster *cluster = context;
	int err = inner_held_send(&cluster->all->config.node->inner, packet, len);

	if (err)
		log_debug("%s: a held packet of %zu bytes could not be sent: %s", cluster->policy->name, len,
			  strerror(-err));
	return err;
}

static void do_steer(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = action->gateway == FAILOVER_NOBODY ? NULL : cluster_peer(cluster, action->gateway);
	int err = datapath_steer(cluster->all->config.node->dp, cluster->slot, peer ? peer->if_id : 0);

	if (err)
		log_error("%s: cannot steer: %s", cluster->policy->name, strerror(-err));
	if (peer && !err)
		hold_flush(cluster->hold, clock_now_ns(), cluster_send_held, cluster);
}

/* From the client's inner address to the gateway's outer one, or the reverse where the peer is our client. */
void clusters_send_control(const struct clusters *all, const struct peer *peer, enum hf_control_type type, __u64 nonce)
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
		clusters_send_control(all, peer, HF_CONTROL_PROBE, nonce);
}

static void do_probe(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = cluster_peer(cluster, action->gateway);

	if (peer)
		send_probe(cluster->all, peer);
}

static void do_watch(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = cluster_peer(cluster, action->gateway);

	if (peer)
		datapath_watch(cluster->all->config.node->dp, cluster->slot, peer->if_id);
}

static void do_leave(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = cluster_peer(cluster, action->gateway);

	if (peer && peer->role == HF_ROLE_GATEWAY)
		clusters_send_control(cluster->all, peer, HF_CONTROL_LEAVE, 0);
}

static void do_beat(struct cluster *cluster, const struct failover_action *action)
{
	struct clusters *all = cluster->all;
	struct peer *peer = cluster_peer(cluster, action->gateway);
	__u64 *kept = &cluster->beats[cluster->n_beats++ % CLUSTER_BEATS_KEPT];
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
		err = beat_send(all->config.node->beat_fd, &beat);
	}
	if (!err)
		cluster->sent++;
	else
		log_debug("%s: heartbeat to %s: %s", cluster->policy->name, addr_text(&peer->remote).s, strerror(-err));
}

void clusters_end_session_of(struct clusters *all, struct peer *peer, const char *why)
{
	if (peer->role == HF_ROLE_GATEWAY)
		clusters_session_end(all, peer, why);
	else
		all->config.end_client(all->config.context, peer, why);
}

static void do_remove(struct cluster *cluster, const struct failover_action *action)
{
	struct peer *peer = cluster_peer(cluster, action->gateway);

	if (peer)
		clusters_end_session_of(cluster->all, peer, "it failed");
}

void cluster_request_failed(evutil_socket_t fd, short what, void *context)
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
		/* At the start it comes a moment after the first traffic. */
		if (cluster->all->service && !shortage_met(err, false, "asking for a session"))
			log_warning("%s: key request: %s", cluster->policy->name, strerror(-err));
		event_add(cluster->failed, &at_once);
	}
}

static void say_missed(struct cluster *cluster, const struct failover_action *action)
{
	struct addr_text text;

	cluster->missed++;
	eventlog_emit(cluster->all->config.log, EVENT_HEARTBEAT_MISSED,
		      json_pack("{s:s, s:o, s:I, s:i}", "cluster", cluster->policy->name, "gateway",
				cluster_gateway_json(cluster, action->gateway), "in_a_row", (json_int_t)action->value, "tries",
				(int)failover_tries(&cluster->machine)),
		      "%s: %s did not answer heartbeat %llu of %u", cluster->policy->name,
		      cluster_gateway_text(cluster, action->gateway, &text), (unsigned long long)action->value,
		      failover_tries(&cluster->machine));
}

static void say_failed(struct cluster *cluster, const struct failover_action *action)
{
	double silent_ms = (double)action->value / (double)CLOCK_NS_PER_MS;
	struct addr_text text;

	eventlog_emit(cluster->all->config.log, EVENT_GATEWAY_FAILED,
		      json_pack("{s:s, s:o, s:s, s:f}", "cluster", cluster->policy->name, "gateway",
				cluster_gateway_json(cluster, action->gateway), "reason", failover_reason_name(action->reason),
				"silent_ms", silent_ms),
		      "%s: %s has failed (%s): last sign of life %.1f ms ago", cluster->policy->name,
		      cluster_gateway_text(cluster, action->gateway, &text), failover_reason_name(action->reason), silent_ms);
}

static void say_switched(struct cluster *cluster, const struct failover_action *action)
{
	struct addr_text to, from;

	eventlog_emit(cluster->all->config.log, EVENT_SWITCHED,
		      json_pack("{s:s, s:o, s:o, s:s}", "cluster", cluster->policy->name, "from",
				cluster_gateway_json(cluster, action->from), "to", cluster_gateway_json(cluster, action->gateway),
				"reason", failover_reason_name(action->reason)),
		      "%s: traffic goes to %s, before: %s (%s)", cluster->policy->name,
		      cluster_gateway_text(cluster, action->gateway, &to), cluster_gateway_text(cluster, action->from, &from),
		      failover_reason_name(action->reason));
}

static void say_recovered(struct cluster *cluster, const struct failover_action *action)
{
	double outage_ms = (double)action->value / (double)CLOCK_NS_PER_MS;
	struct addr_text to, from;

	eventlog_emit(cluster->all->config.log, EVENT_FAILOVER,
		      json_pack("{s:s, s:o, s:o, s:s, s:f}", "cluster", cluster->policy->name, "from",
				cluster_gateway_json(cluster, action->from), "to", cluster_gateway_json(cluster, action->gateway),
				"reason", failover_reason_name(action->reason), "outage_ms", outage_ms),
		      "%s: from %s to %s (%s), an outage of %.1f ms",
		      cluster->policy->name, cluster_gateway_text(cluster, action->from, &from),
		      cluster_gateway_text(cluster, action->gateway, &to), failover_reason_name(action->reason), outage_ms);
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
				cluster_gateway_json(cluster, action->gateway), "tries", (int)failover_tries(&cluster->machine)),
		      "%s: %s lives; %u heartbeats must be missed from now on", cluster->policy->name,
		      cluster_gateway_text(cluster, action->gateway, &text), failover_tries(&cluster->machine));
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

void cluster_carry_out(struct cluster *cluster, const struct failover_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++) {
		if (actions->action[i].type == FAILOVER_DO_REQUEST)
			do_request(cluster, actions);
		else
			carry_out[actions->action[i].type](cluster, &actions->action[i]);
	}
}
