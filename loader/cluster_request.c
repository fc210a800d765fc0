/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of the clusters' key requests, and the renewals beside them. */
#include "loader/cluster_internal.h"

#include <errno.h>

#include "lib/log.h"

void clusters_renew(struct clusters *all, struct peer *gateway)
{
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++)
		if (all->renewals[i].request && addr_equal(&all->renewals[i].gateway, &gateway->remote))
			return;
	for (size_t i = 0; i < FAILOVER_MAX_GATEWAYS; i++) {
		if (all->renewals[i].request)
			continue;
		all->renewals[i].gateway = gateway->remote;
		if (keyservice_request(all->service, &gateway->remote, 1, &all->renewals[i].request))
			all->renewals[i].request = 0;
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
		event.denied = request && !cluster->unreached;
		if (error == EALREADY)
			log_debug("%s: the gateway dials us itself", cluster->policy->name);
		else
			eventlog_emit(all->config.log, EVENT_REJECTED, json_pack("{s:s}", "cluster", cluster->policy->name),
				      "%s: key request rejected: no gateway authenticated", cluster->policy->name);
		cluster_step(cluster, &event);
	}
}
