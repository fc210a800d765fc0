/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of the clusters' key requests, and the renewals beside them. */
#include "loader/cluster_internal.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/shortage.h"

static bool is_worth_renewing(struct clusters *all, const struct hf_addr *gateway)
{
	bool used = false;

	for (size_t i = 0; i < all->n; i++) {
		if (!all->cluster[i]->awake || cluster_gateway_index(all->cluster[i], gateway) == FAILOVER_NOBODY)
			continue;
		used = true;
		cluster_look(all->cluster[i]);
		if (failover_renews(&all->cluster[i]->machine, clock_now_ns()))
			return true;
	}
	return !used;
}

void clusters_renew(struct clusters *all, struct peer *gateway)
{
	int err;

	if (!all->service || !is_worth_renewing(all, &gateway->remote))
		return;
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++)
		if (all->renewals[i].request && addr_equal(&all->renewals[i].gateway, &gateway->remote))
			return;
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++) {
		if (all->renewals[i].request)
			continue;
		all->renewals[i].gateway = gateway->remote;
		err = keyservice_request(all->service, &gateway->remote, 1, &all->renewals[i].request);
		if (err)
			all->renewals[i].request = 0;
		shortage_met(err, false, "renewing a session");
		return;
	}
}

void clusters_renewal_over(struct clusters *all, __u64 request)
{
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++)
		if (!request || all->renewals[i].request == request)
			all->renewals[i].request = 0;
}

void clusters_forget_renewal(struct clusters *all, const struct hf_addr *gateway)
{
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++) {
		if (!all->renewals[i].request || !addr_equal(&all->renewals[i].gateway, gateway))
			continue;
		keyservice_cancel(all->service, all->renewals[i].request);
		all->renewals[i].request = 0;
	}
}

void clusters_attempt_failed(struct clusters *all, __u64 request, int error)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->cluster[i]->request == request && error != EACCES)
			all->cluster[i]->unreached = true;
}

void clusters_rejected(struct clusters *all, __u64 request, int error)
{
	clusters_renewal_over(all, request);
	for (size_t i = 0; i < all->n; i++) {
		struct cluster *cluster = all->cluster[i];
		struct failover_event event = { .type = FAILOVER_REJECTED };

		if (!cluster->request || (request && cluster->request != request))
			continue;
		cluster->request = 0;
		event.denied = request && error != ECONNABORTED && error != ECANCELED && !cluster->unreached;
		if (error == EALREADY)
			log_debug("%s: the gateway dials us itself", cluster->policy->name);
		else if (error == ECANCELED)
			log_debug("%s: the session that it asked for was overtaken, or did not come up", cluster->policy->name);
		else
			eventlog_emit(all->config.log, EVENT_REJECTED, json_pack("{s:s}", "cluster", cluster->policy->name),
				      "%s: key request rejected: no gateway authenticated", cluster->policy->name);
		cluster_step(cluster, &event);
	}
}

void clusters_give_up(struct clusters *all, __u64 request)
{
	if (!request)
		return;
	keyservice_cancel(all->service, request);
	clusters_rejected(all, request, ECANCELED);
}
