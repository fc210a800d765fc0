/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sessions of an earlier run of the daemon, and another policy: what is known of each gateway goes on. */
#include "loader/failover_internal.h"

#include <string.h>

/* As if it had been this machine's all the time: nothing moves, nothing is said. */
void failover_on_adopted(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	gateway->session = true;
	gateway->last_rx_ns = event->rx_ns;
	gateway->last_auth_ns = event->auth_ns;
	if (!event->in_use || m->current != FAILOVER_NOBODY)
		return;
	m->current = event->gateway;
	m->left = event->gateway;
	m->was_used = true;
	m->wanted_ns = s->now;
	m->switched_ns = s->now;
	m->proven_ns = s->now + FAILOVER_PROOF_FIRST - FAILOVER_PROOF_AFTER;
	/* It may have forgotten us meanwhile, or have been left for good by whoever steered here last. */
	failover_begin_probes(s);
}

/* What an index of before is now. */
static int renamed(const struct failover_change *change, int before)
{
	for (int g = 0; before != FAILOVER_NOBODY && g < change->config.n_gateways; g++)
		if (change->from[g] == before)
			return g;
	return FAILOVER_NOBODY;
}

static void rename_gateways(struct failover *m, const struct failover_change *change)
{
	struct failover_gateway gateway[FAILOVER_MAX_GATEWAYS] = { 0 };

	for (int g = 0; g < change->config.n_gateways; g++)
		if (change->from[g] != FAILOVER_NOBODY)
			gateway[g] = m->gateway[change->from[g]];
	memcpy(m->gateway, gateway, sizeof(m->gateway));
	m->current = renamed(change, m->current);
	m->left = renamed(change, m->left);
	m->suspect = renamed(change, m->suspect);
	m->move_to = m->moving ? renamed(change, m->move_to) : FAILOVER_NOBODY;
	m->moving = m->moving && m->move_to != FAILOVER_NOBODY;
	/* An outage that began with a gateway of before is measured no more. */
	m->switching = m->switching && m->left != FAILOVER_NOBODY;
	if (m->left == FAILOVER_NOBODY)
		m->left = change->config.n_gateways - 1;
}

void failover_on_changed(struct failover_step *s, const struct failover_event *event)
{
	const struct failover_change *change = event->change;
	struct failover *m = s->m;
	bool used = m->current != FAILOVER_NOBODY, other_mode = m->config.heartbeat != change->config.heartbeat;
	bool any = false;
	int next;

	rename_gateways(m, change);
	m->config = change->config;
	m->asked = 0;
	m->rounds = 0;
	m->request_after_ns = s->now;
	failover_forget_vain(m);
	for (int g = 0; g < m->config.n_gateways; g++)
		any |= m->gateway[g].session;
	m->silent = m->silent && any;
	if (other_mode || m->current == FAILOVER_NOBODY) {
		m->beats = 0;
		m->watching = false;
	}
	if (!used || m->current != FAILOVER_NOBODY)
		return;
	m->probes = 0;
	m->switching = false;
	m->wanted_ns = s->now;
	next = failover_next_usable(m, FAILOVER_NOBODY, s->now);
	if (next != FAILOVER_NOBODY)
		failover_steer(s, next, FAILOVER_POLICY);
}
