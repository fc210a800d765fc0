/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a session is wanted, and which gateways are asked for one when; how long whoever failed is spared. */
#include "loader/failover_internal.h"

/* How long traffic that found no gateway keeps requests going. */
#define WANT_FOR (60 * S)
#define URGENT_FOR (300 * S)
#define URGENT_BACKOFF_MAX (500 * MS)
/* Certificates do not change from one second to the next: gateways that were reached and denied us, or are no good, are spared. */
#define DENIED_BACKOFF_MAX (10 * S)
#define IDLE_BACKOFF_MAX (30 * S)
#define STANDBY_BACKOFF_MAX (10 * S)
/* Sessions that come to nothing are in a row when no more than this is between the wait for one and the next. */
#define VAIN_FOR (60 * S)

/* xorshift64*: jitter needs to be spread, not secret. */
static __u64 jitter(struct failover *m, __u64 bound)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return bound ? (m->random * 0x2545f4914f6cdd1dull >> 16) % bound : 0;
}

__u64 failover_backoff(struct failover *m, __u64 first, unsigned int rounds, __u64 most)
{
	__u64 wait = first << (rounds < 16 ? rounds : 16);

	if (wait > most)
		wait = most;
	return wait / 2 + jitter(m, wait / 2 + 1);
}

static bool wanted_within(const struct failover *m, __u64 now, __u64 span)
{
	return m->wanted_ns && now - m->wanted_ns < span;
}

bool failover_wants(const struct failover *m, __u64 now)
{
	return m->config.connect_at_start || wanted_within(m, now, WANT_FOR) ||
	       (m->was_used && m->config.heartbeat == FAILOVER_BEAT_INSTANT);
}

bool failover_renews(const struct failover *m, __u64 now)
{
	return m->config.heartbeat != FAILOVER_BEAT_DEFERRED || failover_wants(m, now) ||
	       (m->current != FAILOVER_NOBODY && now - m->gateway[m->current].last_auth_ns < WANT_FOR);
}

/* Nobody in use, or one that asked to be left, or whose session is worth nothing: a session is urgent. */
static bool urgent(const struct failover *m)
{
	return m->current == FAILOVER_NOBODY || m->path_lost ||
	       (m->gateway[m->current].leaving && !failover_count_usable_others(m));
}

/* Whether it is no use to ask this one now. */
static bool is_spared(const struct failover *m, int g, __u64 now)
{
	const struct failover_gateway *gateway = &m->gateway[g];

	if (g == m->current)
		return !m->path_lost; /* a new session with it may do */
	/* One that has just asked to be left would ask again, and the one in use forwards meanwhile. */
	if (urgent(m) && gateway->leaving && m->current != FAILOVER_NOBODY)
		return now < gateway->retry_ns;
	return urgent(m) ? failover_usable(m, g) : gateway->session || now < gateway->retry_ns;
}

/* The gateways to ask now, in order; a mask, and the list. */
static __u64 plan(const struct failover *m, __u64 now, int *list, int *n)
{
	int first = m->current != FAILOVER_NOBODY ? m->current : m->was_used ? m->left : m->config.n_gateways - 1;
	bool failed_too = m->ask_failed;
	__u64 mask = 0;

	*n = 0;
	if (m->moving) {
		list[(*n)++] = m->move_to;
		mask = 1ull << m->move_to;
	}
	if (m->moving && !urgent(m))
		return mask;
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 1; i <= m->config.n_gateways; i++) {
			int g = (first + i + m->config.n_gateways) % m->config.n_gateways;
			const struct failover_gateway *gateway = &m->gateway[g];
			/* New sessions with the one in use have not helped. */
			bool vain = g == m->current && m->vain;
			bool bad = gateway->failed || gateway->leaving || vain;

			if (bad != (pass == 1) || mask & 1ull << g || is_spared(m, g, now))
				continue;
			list[(*n)++] = g;
			mask |= 1ull << g;
		}
		if (urgent(m) && *n && !failed_too)
			break;
	}
	return mask;
}

__u64 failover_request_due(const struct failover *m, __u64 now)
{
	__u64 due = NEVER;

	if (urgent(m)) {
		if (m->asked && m->asked_urgent)
			return NEVER;
		if (!failover_wants(m, now))
			return NEVER;
		return m->request_after_ns > m->vain_until_ns ? m->request_after_ns : m->vain_until_ns;
	}
	if (m->asked)
		return NEVER;
	if (m->moving)
		return 0;
	/* An idle client keeps quiet, but for INSTANT. */
	if ((unsigned int)failover_count_usable_others(m) >= m->config.standby || !failover_wants(m, now))
		return NEVER;
	for (int g = 0; g < m->config.n_gateways; g++)
		if (g != m->current && !m->gateway[g].session && m->gateway[g].retry_ns < due)
			due = m->gateway[g].retry_ns;
	return due;
}

void failover_run_request(struct failover_step *s)
{
	struct failover *m = s->m;

	if (s->now < failover_request_due(m, s->now))
		return;
	m->asked = plan(m, s->now, s->out->request, &s->out->n_request);
	m->asked_urgent = urgent(m);
	if (m->asked)
		failover_act(s, FAILOVER_DO_REQUEST, FAILOVER_NOBODY);
	else
		m->request_after_ns = s->now + URGENT_BACKOFF_MAX;
}

void failover_on_want(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	/* After an idle time the back-off has grown long: whoever sends now has not waited yet. */
	if (!wanted_within(m, s->now, WANT_FOR)) {
		m->request_after_ns = s->now;
		m->rounds = 0;
	}
	m->wanted_ns = s->now;
}

/* How long one waits at the most before the next request; denied: gateways were reached. */
static __u64 longest_wait(const struct failover *m, __u64 now, bool denied)
{
	if (!wanted_within(m, now, URGENT_FOR))
		return IDLE_BACKOFF_MAX;
	return denied ? DENIED_BACKOFF_MAX : URGENT_BACKOFF_MAX;
}

void failover_note_vain(struct failover_step *s)
{
	struct failover *m = s->m;

	if (s->now > m->vain_until_ns + VAIN_FOR)
		m->vain = 0;
	m->vain_until_ns = s->now + failover_backoff(m, 100 * MS, m->vain++, longest_wait(m, s->now, true));
}

void failover_forget_vain(struct failover *m)
{
	m->vain = 0;
	m->vain_until_ns = 0;
}

void failover_on_rejected(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	__u64 most = longest_wait(m, s->now, event->denied);

	for (int g = 0; g < m->config.n_gateways; g++)
		if (m->asked & 1ull << g)
			m->gateway[g].retry_ns = s->now + failover_backoff(m, S, m->rounds, STANDBY_BACKOFF_MAX);
	m->request_after_ns = s->now + failover_backoff(m, 100 * MS, m->rounds, most);
	if (m->asked && m->asked_urgent)
		m->ask_failed = true;
	m->asked = 0;
	m->rounds++;
	m->moving = false;
}
