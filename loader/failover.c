/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/failover_internal.h"

#include <string.h>

#define LEAVING_FOR (15 * S)

static const char *const reason_names[] = {
	[FAILOVER_FIRST] = "first",		  [FAILOVER_SILENT] = "silent",
	[FAILOVER_PATH] = "path",		  [FAILOVER_LEAVING] = "leaving",
	[FAILOVER_SESSION_LOST] = "session-lost", [FAILOVER_ADMIN] = "admin",
	[FAILOVER_PEER] = "peer",		  [FAILOVER_RETURNED] = "returned",
	[FAILOVER_POLICY] = "policy",
};

static const char *const state_names[] = {
	[FAILOVER_NONE] = "none",
	[FAILOVER_STANDBY] = "standby",
	[FAILOVER_ACTIVE] = "active",
	[FAILOVER_FAILED] = "failed",
};

const char *failover_reason_name(enum failover_reason reason)
{
	return reason_names[reason];
}

const char *failover_state_name(enum failover_state state)
{
	return state_names[state];
}

struct failover_action *failover_act(struct failover_step *s, enum failover_action_type type, int gateway)
{
	static struct failover_action spilled;
	struct failover_action *action;

	/* The list is larger than any step can fill (one removal a gateway and a few more). */
	action = s->out->n < FAILOVER_MAX_ACTIONS ? &s->out->action[s->out->n++] : &spilled;
	*action = (struct failover_action){ .type = type, .gateway = gateway, .from = FAILOVER_NOBODY };
	return action;
}

/* One that is being asked for a new session is not to lose it halfway. */
static __u64 remove_due(const struct failover *m, int g)
{
	return m->gateway[g].remove_ns && !(m->asked & 1ull << g) ? m->gateway[g].remove_ns : NEVER;
}

static void run_removals(struct failover_step *s)
{
	for (int g = 0; g < s->m->config.n_gateways; g++) {
		struct failover_gateway *gateway = &s->m->gateway[g];

		if (gateway->leaving && s->now >= gateway->failed_ns + LEAVING_FOR) {
			gateway->leaving = false;
			if (s->m->current == FAILOVER_NOBODY && failover_usable(s->m, g))
				failover_steer(s, g, FAILOVER_RETURNED);
		}
		if (s->now < remove_due(s->m, g))
			continue;
		gateway->remove_ns = 0;
		gateway->session = false;
		failover_act(s, FAILOVER_DO_REMOVE, g);
	}
}

static void on_tick(struct failover_step *s, const struct failover_event *event)
{
	run_removals(s); /* first: none that goes is to be asked */
	/* Only here: what the datapath stamped is told gateway by gateway, and nobody is blamed before all of it. */
	failover_run_check(s);
	failover_run_probe(s);
	failover_run_path(s);
	failover_run_silent(s);
}

/* Adopted sessions that nobody is steered to: all were silent, or the one in use was not adopted. */
static void on_start(struct failover_step *s, const struct failover_event *event)
{
	int g = failover_next_usable(s->m, FAILOVER_NOBODY, s->now);

	if (s->m->current == FAILOVER_NOBODY && g != FAILOVER_NOBODY)
		failover_steer(s, g, FAILOVER_FIRST);
}

/* The one in use has a new session, and was there a moment ago: whatever was asked of the old one is settled. */
static void renewed(struct failover_step *s, bool by_peer)
{
	struct failover *m = s->m;
	bool probe = by_peer || m->path_lost;

	m->beats = 0;
	m->unproven = 0;
	m->doubt = m->patient; /* a question by routine is still one */
	m->path_lost = false;
	/*
	 * Probes under way go on, through the new session: begun anew at each renewal, they would never come to an end where that
	 * comes often. One that dialled had forgotten us, so it must learn anew that we use it.
	 */
	if (m->probes)
		failover_repeat_probe(s);
	else if (probe)
		failover_begin_probes(s);
}

static void on_session_up(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	/* One that dials us may have been away: that it is here now makes no false alarm. */
	if (gateway->failed && !event->by_peer)
		failover_revive(s, event->gateway);
	if (!gateway->session)
		failover_begins_anew(m, event->gateway, s->now);
	gateway->failed = false;
	gateway->session = true;
	gateway->leaving = false;
	gateway->remove_ns = 0;
	gateway->mute = false;
	gateway->last_rx_ns = gateway->last_auth_ns = s->now; /* it has just authenticated */
	if (event->answers_request) {
		m->asked = 0;
		m->rounds = 0;
		m->ask_failed = false;
	}
	if (m->moving && event->gateway == m->move_to) {
		m->moving = false;
		failover_steer(s, event->gateway, FAILOVER_ADMIN);
	} else if (m->current == FAILOVER_NOBODY) {
		m->silent = false; /* one could be reached: those that are silent have failed */
		failover_steer(s, event->gateway, FAILOVER_FIRST);
	} else if (m->current != event->gateway && m->gateway[m->current].leaving) {
		failover_steer(s, event->gateway, FAILOVER_LEAVING);
	} else if (m->current != event->gateway && m->path_lost) {
		failover_fail_current(s, FAILOVER_PATH);
	} else if (m->current != event->gateway && event->by_peer && failover_draws(m, event->gateway, s->now)) {
		failover_steer(s, event->gateway, FAILOVER_PEER);
	} else if (m->current == event->gateway) {
		renewed(s, event->by_peer);
	}
	if (event->answers_request && m->current == event->gateway)
		failover_note_vain(s);
}

static void on_session_down(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	m->gateway[event->gateway].session = false;
	m->gateway[event->gateway].remove_ns = 0;
	if (m->current == event->gateway)
		failover_pick_other(s, FAILOVER_SESSION_LOST);
}

static void on_leave_me(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	if (!gateway->session)
		return;
	gateway->leaving = true;
	gateway->failed_ns = s->now;
	gateway->retry_ns = s->now + failover_backoff(m, 5 * S, 0, 5 * S);
	if (m->current == event->gateway && failover_next_usable(m, m->current, s->now) != FAILOVER_NOBODY)
		failover_steer(s, failover_next_usable(m, m->current, s->now), FAILOVER_LEAVING);
}

static void on_move(struct failover_step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	int to = event->gateway;

	if (to == FAILOVER_NOBODY)
		to = failover_next_usable(m, m->current, s->now);
	if (to == FAILOVER_NOBODY)
		to = (m->current + 1) % m->config.n_gateways;
	if (to == m->current)
		return;
	m->moving = !failover_usable(m, to);
	m->move_to = to;
	if (!m->moving) {
		failover_steer(s, to, FAILOVER_ADMIN);
		return;
	}
	/* A wish is as good as traffic, and does not wait. This request takes the place of one under way. */
	m->wanted_ns = m->request_after_ns = s->now;
	m->asked = 0;
	failover_forget_vain(m);
}

static void (*const handlers[])(struct failover_step *, const struct failover_event *) = {
	[FAILOVER_TICK] = on_tick,
	[FAILOVER_START] = on_start,
	[FAILOVER_WANT] = failover_on_want,
	[FAILOVER_PAYLOAD] = failover_on_payload,
	[FAILOVER_ALIVE] = failover_on_alive,
	[FAILOVER_ANSWERED] = failover_on_answered,
	[FAILOVER_SESSION_UP] = on_session_up,
	[FAILOVER_SESSION_DOWN] = on_session_down,
	[FAILOVER_REJECTED] = failover_on_rejected,
	[FAILOVER_LEAVE_ME] = on_leave_me,
	[FAILOVER_MOVE] = on_move,
	[FAILOVER_ADOPTED] = failover_on_adopted,
	[FAILOVER_CHANGED] = failover_on_changed,
};

void failover_init(struct failover *m, const struct failover_config *config)
{
	memset(m, 0, sizeof(*m));
	m->config = *config;
	m->current = FAILOVER_NOBODY;
	m->left = config->n_gateways - 1;
	m->suspect = FAILOVER_NOBODY;
	m->random = config->seed | 1;
}

void failover_step(struct failover *m, const struct failover_event *event, __u64 now, struct failover_actions *out)
{
	struct failover_step s = { m, now, out };

	out->n = 0;
	out->n_request = 0;
	failover_forget_loss(&s);
	handlers[event->type](&s, event);
	failover_run_request(&s);
}

__u64 failover_deadline_ns(const struct failover *m, __u64 now)
{
	__u64 due[] = { NEVER, failover_probe_due(m), failover_silent_due(m), failover_request_due(m, now), NEVER,
			failover_path_due(m) };
	__u64 first = NEVER;

	if (m->current != FAILOVER_NOBODY && m->config.heartbeat != FAILOVER_BEAT_NONE) {
		if (m->beats)
			due[0] = m->beat_ns + m->config.response_ns;
		else if (m->config.heartbeat == FAILOVER_BEAT_INSTANT || !m->watching)
			due[0] = m->gateway[m->current].last_rx_ns + m->config.defer_ns;
	}
	for (int g = 0; g < m->config.n_gateways; g++) {
		if (remove_due(m, g) < due[4])
			due[4] = remove_due(m, g);
		if (m->gateway[g].leaving && m->gateway[g].failed_ns + LEAVING_FOR < due[4])
			due[4] = m->gateway[g].failed_ns + LEAVING_FOR;
	}
	for (size_t i = 0; i < sizeof(due) / sizeof(*due); i++)
		if (due[i] < first)
			first = due[i];
	return first;
}

enum failover_state failover_gateway_state(const struct failover *m, int g)
{
	const struct failover_gateway *gateway = &m->gateway[g];

	if (gateway->failed || gateway->leaving)
		return FAILOVER_FAILED;
	if (g == m->current)
		return FAILOVER_ACTIVE;
	return gateway->session ? FAILOVER_STANDBY : FAILOVER_NONE;
}
