/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which gateway is used: which may be, which are damped because they come and
 * go, and the step from one to another.
 */
#include "loader/failover_internal.h"

/*
 * A gateway that comes back and starts a session with us is used at once after its first fault. From the second one
 * within the window on it must wait, twice as long each time; others are preferred to it meanwhile. That it starts one says
 * nothing of ESP, so one that was left because nothing went through its session waits longest from the first fault on.
 */
#define FAULT_WINDOW (60 * S)
#define DAMPED_FIRST (30 * S)
#define DAMPED_MAX (300 * S)
#define FAULTS_MAX 6 /* from here on the wait is no longer */

bool failover_usable(const struct failover *m, int g)
{
	return m->gateway[g].session && !m->gateway[g].failed && !m->gateway[g].leaving;
}

static bool damped(const struct failover *m, int g, __u64 now)
{
	return now < m->gateway[g].damped_ns;
}

int failover_next_usable(const struct failover *m, int after, __u64 now)
{
	int damped_one = FAILOVER_NOBODY;

	for (int i = 1; i <= m->config.n_gateways; i++) {
		int g = (after + i + m->config.n_gateways) % m->config.n_gateways;

		if (g == m->current || !failover_usable(m, g))
			continue;
		if (!damped(m, g, now))
			return g;
		if (damped_one == FAILOVER_NOBODY)
			damped_one = g;
	}
	return damped_one;
}

static void damp(struct failover_gateway *gateway, __u64 now)
{
	__u64 wait = gateway->faults < 2 ? 0 : DAMPED_FIRST << (gateway->faults - 2);

	gateway->damped_ns = now + (wait < DAMPED_MAX ? wait : DAMPED_MAX);
}

/* It was in use and is left for a fault of its own. */
static void count_fault(struct failover_gateway *gateway, enum failover_reason reason, __u64 now)
{
	if (now > gateway->damped_ns + FAULT_WINDOW)
		gateway->faults = 0;
	gateway->faults = reason == FAILOVER_PATH || gateway->faults >= FAULTS_MAX ? FAULTS_MAX : gateway->faults + 1;
	damp(gateway, now);
}

bool failover_draws(struct failover *m, int g, __u64 now)
{
	if (!damped(m, g, now))
		return true;
	failover_begins_anew(m, g, now);
	return false;
}

void failover_begins_anew(struct failover *m, int g, __u64 now)
{
	if (damped(m, g, now))
		damp(&m->gateway[g], now);
}

int failover_count_usable_others(const struct failover *m)
{
	int n = 0;

	for (int g = 0; g < m->config.n_gateways; g++)
		n += g != m->current && failover_usable(m, g);
	return n;
}

/*
 * Payload that leaves a `pace` or more after the last sign is a question. Where the one that was not answered came much
 * later than that, nobody was sending in between, and it began the outage; else traffic was under way from the last sign on.
 */
static __u64 silent_since(__u64 sign, __u64 asked, __u64 pace)
{
	return asked < sign || asked > sign + 2 * pace ? asked : sign;
}

/* Since when what was sent to the one in use, which is being left, may have been lost. */
static __u64 outage_since(const struct failover *m, enum failover_reason reason, __u64 now)
{
	const struct failover_gateway *gateway = &m->gateway[m->current];

	if (reason == FAILOVER_PATH)
		return silent_since(gateway->last_auth_ns, m->probed_from_ns, FAILOVER_PATH_AFTER);
	if (reason != FAILOVER_SILENT)
		return now; /* it forwarded until now, as far as we know */
	/* With INSTANT it is asked whether anybody sends or not: it was there at its last sign, and not at the next question. */
	return m->config.heartbeat == FAILOVER_BEAT_DEFERRED ?
		       silent_since(gateway->last_rx_ns, m->check_ns, m->config.defer_ns) : gateway->last_rx_ns;
}

void failover_steer(struct failover_step *s, int to, enum failover_reason reason)
{
	struct failover *m = s->m;
	int from = m->current;
	__u64 since = from != FAILOVER_NOBODY ? outage_since(m, reason, s->now) : 0;
	bool fault = reason == FAILOVER_SILENT || reason == FAILOVER_PATH || reason == FAILOVER_LEAVING ||
		     reason == FAILOVER_SESSION_LOST;
	struct failover_action *say;

	if (from != FAILOVER_NOBODY && fault)
		count_fault(&m->gateway[from], reason, s->now);

	m->current = to;
	m->beats = 0;
	m->beat_extended = false;
	m->watching = false;
	m->probes = 0;
	m->unproven = 0;
	m->doubt = m->patient = m->path_lost = false;
	m->proven_ns = s->now + FAILOVER_PROOF_FIRST - FAILOVER_PROOF_AFTER;
	failover_act(s, FAILOVER_DO_STEER, to);
	if (from != FAILOVER_NOBODY && !m->switching) {
		m->switching = true;
		m->left = from;
		m->why = reason;
		m->outage_from_ns = since;
		m->failovers++;
	}
	if (to == FAILOVER_NOBODY)
		return;

	m->was_used = true;
	m->switched_ns = s->now;
	failover_begin_probes(s);
	if (m->switching && m->left != to && m->gateway[m->left].session)
		failover_act(s, FAILOVER_DO_LEAVE, m->left);
	say = failover_act(s, FAILOVER_SAY_SWITCHED, to);
	say->from = m->switching ? m->left : FAILOVER_NOBODY;
	say->reason = m->switching ? m->why : reason;
}

void failover_pick_other(struct failover_step *s, enum failover_reason reason)
{
	struct failover *m = s->m;
	int next = failover_next_usable(m, m->current, s->now);
	int sessions = 0, silent = 0;

	if (next != FAILOVER_NOBODY) {
		failover_steer(s, next, reason);
		return;
	}
	for (int g = 0; g < m->config.n_gateways; g++) {
		sessions += m->gateway[g].session;
		silent += m->gateway[g].session && m->gateway[g].failed;
	}
	m->suspect = m->current;
	failover_steer(s, FAILOVER_NOBODY, reason);
	m->beat_ns = s->now;
	if (silent > 1 && silent == sessions && !m->silent)
		failover_act(s, FAILOVER_SAY_UPLINK, FAILOVER_NOBODY);
	m->silent = sessions > 0;
	m->request_after_ns = s->now;
	m->rounds = 0;
	m->ask_failed = false;
}

void failover_fail_current(struct failover_step *s, enum failover_reason reason)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[m->current];
	struct failover_action *say = failover_act(s, FAILOVER_SAY_FAILED, m->current);

	say->reason = reason;
	say->value = s->now - gateway->last_rx_ns;
	gateway->failed = true;
	gateway->mute = reason == FAILOVER_PATH;
	gateway->failed_ns = s->now;
	gateway->retry_ns = s->now + failover_backoff(m, S, 0, S);
	failover_pick_other(s, reason);
}
