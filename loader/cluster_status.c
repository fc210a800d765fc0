/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is shown of the clusters: for status and metrics. */
#include "loader/cluster_internal.h"

#include "lib/clock.h"
#include "loader/peer_json.h"

static json_t *gateway_status(const struct cluster *cluster, int g)
{
	struct peer *peer = cluster_peer(cluster, g);
	struct hf_live live = { 0 };
	json_t *json = json_pack("{s:o, s:s}", "address", cluster_gateway_json(cluster, g), "state",
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
		const struct cluster *cluster = all->cluster[i];
		json_t *gateways = json_array();

		for (int g = 0; g < (int)cluster->policy->n_gateways; g++)
			json_array_append_new(gateways, gateway_status(cluster, g));
		json_array_append_new(array, json_pack("{s:s, s:o, s:o}", "name", cluster->policy->name, "current",
						       cluster_gateway_json(cluster, cluster->machine.current), "gateways",
						       gateways));
	}
	return array;
}

void clusters_count(const struct clusters *all, struct clusters_counts *ret)
{
	*ret = all->before;
	for (size_t i = 0; i < all->n; i++) {
		ret->sent += all->cluster[i]->sent;
		ret->missed += all->cluster[i]->missed;
		ret->failovers += all->cluster[i]->machine.failovers;
	}
	for (struct peer *peer = peers_next(all->config.peers, NULL); peer; peer = peers_next(all->config.peers, peer)) {
		struct hf_live live;

		if (peer->role == HF_ROLE_GATEWAY && !datapath_read_live(all->config.node->dp, peer->if_id, &live))
			ret->answered += live.beats_answered;
	}
}
