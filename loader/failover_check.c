/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether the gateway in use is there: heartbeats, probes through the session,
 * payload that is watched for, the silent ones in turn; and what their answers
 * say. Also how many heartbeats may be lost.
 */
#include "loader/failover_internal.h"

/* A session that failed is kept this long after another was proven: answers under way still come through it. */
#define REMOVE_AFTER (2 * S)
/* While all are silent, one of them is asked at this pace. */
#define SILENT_PACE (250 * MS)
#define PROBE_PACE (100 * MS)
#define PROBE_MAX 8
/* Where there is another to go to, as many as heartbeats, and so many more: the answer is holdfastd's, which may have to wait. */
#define PROBE_MORE 2
/* By routine: 18 s in all. */
#define PATIENT_PACE (500 * MS)
/* After so many heartbeats in a row without an answer, though something came, a probe has to be answered. */
#define UNPROVEN_MAX 8
/* A gateway that lives within this time after it failed was a false alarm. */
#define FALSE_ALARM_WITHIN (5 * S)
/* Loss in 1/1024: the chance of a false alarm aimed at for one check is one of this many. */
#define LOSS_ONE 1024
#define FALSE_ALARM_ODDS 1000
#define EXTRA_TRIES_MAX 6
/* Traffic leaves no heartbeat to learn from: what is known of the path grows old, as if one were answered this often. */
#define LOSS_PACE (4 * S)

unsigned int failover_tries(const struct failover *m)
{
	unsigned int tries = m->config.tries;
	__u64 chance = (__u64)LOSS_ONE * LOSS_ONE;

	for (unsigned int i = 0; i < tries; i++)
		chance = chance * m->loss / LOSS_ONE;
	while (tries < m->config.tries + EXTRA_TRIES_MAX &&
	       chance * FALSE_ALARM_ODDS > (__u64)LOSS_ONE * LOSS_ONE) {
		chance = chance * m->loss / LOSS_ONE;
		tries++;
	}
	return tries;
}

/* An exponential average over heartbeats whose fate is known for sure, weight 1/16. */
static void loss_sample(struct failover_step *s, unsigned int missed, unsigned int answered)
{
	struct failover *m = s->m;

	m->loss_ns = s->now;
	while (missed--)
		m->loss += (LOSS_ONE - m->loss + 15) / 16;
	while (answered--)
		m->loss -= (m->loss + 15) / 16;
}

void failover_forget_loss(struct failover_step *s)
{
	struct failover *m = s->m;

	for (; m->loss && s->now >= m->loss_ns + LOSS_PACE; m->loss_ns += LOSS_PACE)
		m->loss -= (m->loss + 15) / 16;
}

void failover_begin_probes(struct failover_step *s)
{
	s->m->probes = 1;
	s->m->probe_ns = s->m->probed_from_ns = s->now;
	failover_act(s, FAILOVER_DO_PROBE, s->m->current);
}

static __u64 probe_pace(const struct failover *m)
{
	__u64 least = m->patient ? PATIENT_PACE : PROBE_PACE;

	return m->config.response_ns > least ? m->config.response_ns : least;
}

__u64 failover_probe_due(const struct failover *m)
{
	return m->current != FAILOVER_NOBODY && m->probes ? m->probe_ns + probe_pace(m) * m->probes : NEVER;
}

void failover_repeat_probe(struct failover_step *s)
{
	struct failover *m = s->m;
	__u64 pace = probe_pace(m);

	/* It has time to be answered, but those before it have had theirs: sessions that come often would put off the end for ever. */
	if (failover_probe_due(m) < s->now + pace)
		m->probe_ns = s->now + pace - pace * m->probes;
	m->probed_from_ns = s->now; /* that it is new is no sign that the way stands */
	failover_act(s, FAILOVER_DO_PROBE, m->current);
}

static void beat(struct failover_step *s)
{
	s->m->beat_ns = s->now;
	failover_act(s, FAILOVER_DO_BEAT, s->m->current);
}

static void begin_check(struct failover_step *s)
{
	s->m->beats = 1;
	s->m->beat_extended = false;
	s->m->check_ns = s->now;
	beat(s);
}

void failover_run_check(struct failover_step *s)
{
	struct failover *m = s->m;

	if (m->current == FAILOVER_NOBODY || m->config.heartbeat == FAILOVER_BEAT_NONE)
		return;
	if (!m->beats) {
		if (s->now < m->gateway[m->current].last_rx_ns + m->config.defer_ns)
			return;
		if (m->config.heartbeat == FAILOVER_BEAT_INSTANT) {
			begin_check(s);
		} else if (!m->watching) {
			m->watching = true;
			failover_act(s, FAILOVER_DO_WATCH, m->current);
		}
		return;
	}
	if (s->now < m->beat_ns + m->config.response_ns)
		return;
	if (s->now > m->beat_ns + 2 * m->config.response_ns && !m->beat_extended) {
		/* We are late ourselves, so a starved machine may not have looked at the answer yet. */
		m->beat_extended = true;
		beat(s);
		return;
	}
	failover_act(s, FAILOVER_SAY_MISSED, m->current)->value = m->beats;
	if (m->beats >= failover_tries(m)) {
		failover_fail_current(s, FAILOVER_SILENT);
		return;
	}
	m->beats++;
	m->beat_extended = false;
	beat(s);
	/* Heartbeats are in clear, and strangers can use up what is answered of them: the last question is put through the session too. */
	if (m->beats == failover_tries(m))
		failover_act(s, FAILOVER_DO_PROBE, m->current);
}

static unsigned int probe_tries(const struct failover *m)
{
	unsigned int tries = failover_tries(m) + PROBE_MORE;

	return tries < PROBE_MAX && !m->patient && failover_count_usable_others(m) ? tries : PROBE_MAX;
}

void failover_run_probe(struct failover_step *s)
{
	struct failover *m = s->m;

	if (s->now < failover_probe_due(m))
		return;
	if (m->probes < probe_tries(m)) {
		m->probes++;
		m->probe_ns = s->now;
		failover_act(s, FAILOVER_DO_PROBE, m->current);
		return;
	}
	m->probes = 0;
	m->patient = false;
	m->proven_ns = s->now; /* that it is not so is known: no further question by routine before its time */
	if (m->config.heartbeat == FAILOVER_BEAT_NONE)
		return;
	if (failover_count_usable_others(m) > 0) {
		failover_fail_current(s, FAILOVER_PATH);
		return;
	}
	if (!m->path_lost)
		m->request_after_ns = s->now;
	m->path_lost = true;
}

/* When nothing has come through the session for too long. */
static __u64 nothing_came_ns(const struct failover *m)
{
	return m->gateway[m->current].last_auth_ns + FAILOVER_PATH_AFTER;
}

__u64 failover_path_due(const struct failover *m)
{
	__u64 routine = m->proven_ns + FAILOVER_PROOF_AFTER;

	if (m->current == FAILOVER_NOBODY || m->watching || m->probes || m->config.heartbeat == FAILOVER_BEAT_NONE)
		return NEVER;
	return nothing_came_ns(m) < routine ? nothing_came_ns(m) : routine;
}

/* An idle client keeps quiet: it matters when payload leaves. */
void failover_run_path(struct failover_step *s)
{
	if (s->now < failover_path_due(s->m))
		return;
	s->m->watching = true;
	failover_act(s, FAILOVER_DO_WATCH, s->m->current);
}

__u64 failover_silent_due(const struct failover *m)
{
	__u64 pace = m->config.response_ns > SILENT_PACE ? m->config.response_ns : SILENT_PACE;

	if (m->current != FAILOVER_NOBODY || !m->silent || m->config.heartbeat == FAILOVER_BEAT_NONE)
		return NEVER;
	return m->beat_ns + pace;
}

/* All with a session are silent: nobody is in use, and they are asked in turn. */
void failover_run_silent(struct failover_step *s)
{
	struct failover *m = s->m;

	if (s->now < failover_silent_due(m))
		return;
	m->beat_ns = s->now;
	if (!failover_wants(m, s->now))
		return;
	for (int i = 1; i <= m->config.n_gateways; i++) {
		int g = (m->suspect + i + m->config.n_gateways) % m->config.n_gateways;

		if (m->gateway[g].session) {
			m->suspect = g;
			failover_act(s, FAILOVER_DO_BEAT, g);
			return;
		}
	}
	m->silent = false;
}

void failover_on_payload(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	m->watching = false;
	m->wanted_ns = s->now;
	if (m->current != event->gateway)
		return;
	if (s->now >= failover_path_due(m)) {
		m->patient = s->now < nothing_came_ns(m);
		m->doubt |= m->patient;
		failover_begin_probes(s);
	}
	if (m->config.heartbeat == FAILOVER_BEAT_DEFERRED && !m->beats &&
	    s->now >= m->gateway[m->current].last_rx_ns + m->config.defer_ns)
		begin_check(s);
}

/* It was our own uplink. */
static void forgive(struct failover_gateway *gateway)
{
	if (gateway->faults)
		gateway->faults--;
	gateway->damped_ns = 0;
}

/*
 * The first packet through the session of the gateway in use after a switch. The answer to a heartbeat in clear is not
 * enough: it does not prove the session, and the old one's is removed on the strength of this.
 */
static void recovered(struct failover_step *s, __u64 auth_ns)
{
	struct failover *m = s->m;
	struct failover_action *say = failover_act(s, FAILOVER_SAY_RECOVERED, m->current);

	say->from = m->left;
	say->reason = m->why;
	say->value = auth_ns > m->outage_from_ns ? auth_ns - m->outage_from_ns : 0;
	m->switching = false;
	for (int g = 0; g < m->config.n_gateways; g++) {
		struct failover_gateway *gateway = &m->gateway[g];

		if (!gateway->failed || !gateway->session || g == m->current)
			continue;
		/* All silent at once was the own uplink: the others are as good as this one. */
		gateway->failed = !m->silent || gateway->mute;
		if (!gateway->failed)
			forgive(gateway);
		gateway->remove_ns = gateway->failed ? s->now + REMOVE_AFTER : 0;
	}
	m->silent = false;
}

void failover_revive(struct failover_step *s, int g)
{
	struct failover_gateway *gateway = &s->m->gateway[g];

	if (s->now - gateway->failed_ns < FALSE_ALARM_WITHIN && !s->m->silent) {
		loss_sample(s, s->m->config.tries, 0);
		failover_act(s, FAILOVER_SAY_FALSE_ALARM, g);
	}
	if (s->m->silent)
		forgive(gateway);
	gateway->failed = false;
	gateway->remove_ns = 0;
}

/* The check of the gateway in use is over: something came. Whether it was what the check asked for is remembered. */
static void end_check(struct failover_step *s, bool answered)
{
	struct failover *m = s->m;

	m->unproven = answered ? 0 : m->unproven + m->beats;
	m->beats = 0;
	if (m->unproven < UNPROVEN_MAX || (m->doubt && !m->patient))
		return;
	m->doubt = true;
	m->patient = false;
	failover_begin_probes(s);
}

void failover_on_alive(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	if (!gateway->session)
		return;
	if (event->rx_ns > gateway->last_rx_ns)
		gateway->last_rx_ns = event->rx_ns;
	if (event->auth_ns > gateway->last_auth_ns)
		gateway->last_auth_ns = event->auth_ns;
	if (gateway->failed && !gateway->mute && gateway->last_rx_ns > gateway->failed_ns) {
		failover_revive(s, event->gateway);
		if (m->current == FAILOVER_NOBODY)
			failover_steer(s, event->gateway, FAILOVER_RETURNED);
	}
	if (m->current != event->gateway)
		return;
	if (m->beats && gateway->last_rx_ns >= m->check_ns) {
		loss_sample(s, m->beats - 1, 1);
		end_check(s, event->answer_ns >= m->check_ns);
	}
	if (!m->doubt && gateway->last_auth_ns > m->probed_from_ns) {
		m->probes = 0;
		m->path_lost = false;
	}
	if (m->switching && event->auth_ns > m->switched_ns) /* last_auth_ns is that of a new session's beginning as well */
		recovered(s, event->auth_ns);
}

void failover_on_answered(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	if (m->current != event->gateway)
		return;
	m->probes = 0;
	m->unproven = 0;
	m->doubt = m->patient = m->path_lost = false;
	m->proven_ns = s->now;
	failover_forget_vain(m);
}
