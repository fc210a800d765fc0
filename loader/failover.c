/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/failover.h"

#include <string.h>

#define MS 1000000ull
#define S (1000 * MS)
#define NEVER (~0ull)

/* A session that failed is kept this long after another was proven: answers under way still come through it. */
#define REMOVE_AFTER (2 * S)
/* How long traffic that found no gateway keeps requests going. */
#define WANT_FOR (60 * S)
#define URGENT_FOR (300 * S)
#define URGENT_BACKOFF_MAX (500 * MS)
/* Certificates do not change from one second to the next: gateways that were reached and denied us are spared. */
#define DENIED_BACKOFF_MAX (10 * S)
#define IDLE_BACKOFF_MAX (30 * S)
#define STANDBY_BACKOFF_MAX (10 * S)
/* While all are silent, one of them is asked at this pace. */
#define SILENT_PACE (250 * MS)
#define PROBE_PACE (100 * MS)
#define PROBE_MAX 8
/*
 * Payload leaves, heartbeats are answered, but nothing came through the session for so long: the other end may have
 * another session than we (its last message of a renewal was lost), or something on the way may drop ESP.
 */
#define PATH_AFTER (5 * S)
/* After so many heartbeats in a row without an answer, though something came, a probe has to be answered. */
#define UNPROVEN_MAX 8
/* A gateway that lives within this time after it failed was a false alarm. */
#define FALSE_ALARM_WITHIN (5 * S)
#define LEAVING_FOR (15 * S)
/*
 * A gateway that comes back and starts a session with us is used at once after its first fault. From the second one
 * within the window on it must wait, twice as long each time; others are preferred to it meanwhile.
 */
#define FAULT_WINDOW (60 * S)
#define DAMPED_FIRST (30 * S)
#define DAMPED_MAX (300 * S)
/* Loss in 1/1024: the chance of a false alarm aimed at for one check is one of this many. */
#define LOSS_ONE 1024
#define FALSE_ALARM_ODDS 1000
#define EXTRA_TRIES_MAX 6

struct step {
	struct failover *m;
	__u64 now;
	struct failover_actions *out;
};

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

static struct failover_action *act(struct step *s, enum failover_action_type type, int gateway)
{
	static struct failover_action spilled;
	struct failover_action *action;

	/* The list is larger than any step can fill (one removal a gateway and a few more). */
	action = s->out->n < FAILOVER_MAX_ACTIONS ? &s->out->action[s->out->n++] : &spilled;
	*action = (struct failover_action){ .type = type, .gateway = gateway, .from = FAILOVER_NOBODY };
	return action;
}

/* xorshift64*: jitter needs to be spread, not secret. */
static __u64 jitter(struct failover *m, __u64 bound)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return bound ? (m->random * 0x2545f4914f6cdd1dull >> 16) % bound : 0;
}

static __u64 backoff(struct failover *m, __u64 first, unsigned int rounds, __u64 most)
{
	__u64 wait = first << (rounds < 16 ? rounds : 16);

	if (wait > most)
		wait = most;
	return wait / 2 + jitter(m, wait / 2 + 1);
}

static bool usable(const struct failover *m, int g)
{
	return m->gateway[g].session && !m->gateway[g].failed && !m->gateway[g].leaving;
}

static bool damped(const struct failover *m, int g, __u64 now)
{
	return now < m->gateway[g].damped_ns;
}

/*
 * The next usable gateway in the cluster's order, beginning after `after`; not the current one, and one that
 * comes and goes only when there is no other.
 */
static int next_usable(const struct failover *m, int after, __u64 now)
{
	int damped_one = FAILOVER_NOBODY;

	for (int i = 1; i <= m->config.n_gateways; i++) {
		int g = (after + i + m->config.n_gateways) % m->config.n_gateways;

		if (g == m->current || !usable(m, g))
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
	__u64 wait = gateway->faults < 2 ? 0 : DAMPED_FIRST << (gateway->faults < 8 ? gateway->faults - 2 : 6);

	gateway->damped_ns = now + (wait < DAMPED_MAX ? wait : DAMPED_MAX);
}

/* It was in use and is left for a fault of its own. */
static void count_fault(struct failover_gateway *gateway, __u64 now)
{
	if (now > gateway->damped_ns + FAULT_WINDOW)
		gateway->faults = 0;
	gateway->faults++;
	damp(gateway, now);
}

/* It has started a session with us: whether we are to use it. One that had to begin anew once more waits anew. */
static bool draws(struct failover *m, int g, __u64 now)
{
	if (!damped(m, g, now))
		return true;
	damp(&m->gateway[g], now);
	return false;
}

static int count_usable_others(const struct failover *m)
{
	int n = 0;

	for (int g = 0; g < m->config.n_gateways; g++)
		n += g != m->current && usable(m, g);
	return n;
}

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
static void loss_sample(struct failover *m, unsigned int missed, unsigned int answered)
{
	while (missed--)
		m->loss += (LOSS_ONE - m->loss + 15) / 16;
	while (answered--)
		m->loss -= (m->loss + 15) / 16;
}

static void begin_probes(struct step *s)
{
	s->m->probes = 1;
	s->m->probe_ns = s->m->probed_from_ns = s->now;
	act(s, FAILOVER_DO_PROBE, s->m->current);
}

static void steer(struct step *s, int to, enum failover_reason reason)
{
	struct failover *m = s->m;
	int from = m->current;
	bool fault = reason == FAILOVER_SILENT || reason == FAILOVER_PATH || reason == FAILOVER_LEAVING ||
		     reason == FAILOVER_SESSION_LOST;
	struct failover_action *say;

	if (from != FAILOVER_NOBODY && fault)
		count_fault(&m->gateway[from], s->now);

	m->current = to;
	m->beats = 0;
	m->beat_extended = false;
	m->watching = false;
	m->probes = 0;
	m->unproven = 0;
	m->doubt = m->path_lost = false;
	act(s, FAILOVER_DO_STEER, to);
	if (from != FAILOVER_NOBODY && !m->switching) {
		m->switching = true;
		m->left = from;
		m->why = reason;
		m->outage_from_ns = m->gateway[from].last_rx_ns;
		m->failovers++;
	}
	if (to == FAILOVER_NOBODY)
		return;

	m->was_used = true;
	m->switched_ns = s->now;
	begin_probes(s);
	if (m->switching && m->left != to && m->gateway[m->left].session)
		act(s, FAILOVER_DO_LEAVE, m->left);
	say = act(s, FAILOVER_SAY_SWITCHED, to);
	say->from = m->switching ? m->left : FAILOVER_NOBODY;
	say->reason = m->switching ? m->why : reason;
}

static void pick_other(struct step *s, enum failover_reason reason)
{
	struct failover *m = s->m;
	int next = next_usable(m, m->current, s->now);
	int sessions = 0, silent = 0;

	if (next != FAILOVER_NOBODY) {
		steer(s, next, reason);
		return;
	}
	for (int g = 0; g < m->config.n_gateways; g++) {
		sessions += m->gateway[g].session;
		silent += m->gateway[g].session && m->gateway[g].failed;
	}
	m->suspect = m->current;
	steer(s, FAILOVER_NOBODY, reason);
	m->beat_ns = s->now;
	if (silent > 1 && silent == sessions && !m->silent)
		act(s, FAILOVER_SAY_UPLINK, FAILOVER_NOBODY);
	m->silent = sessions > 0;
	m->request_after_ns = s->now;
	m->rounds = 0;
	m->ask_failed = false;
}

static void fail_current(struct step *s, enum failover_reason reason)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[m->current];
	struct failover_action *say = act(s, FAILOVER_SAY_FAILED, m->current);

	say->reason = reason;
	say->value = s->now - gateway->last_rx_ns;
	gateway->failed = true;
	gateway->mute = reason == FAILOVER_PATH;
	gateway->failed_ns = s->now;
	gateway->retry_ns = s->now + backoff(m, S, 0, S);
	pick_other(s, reason);
}

static void beat(struct step *s)
{
	s->m->beat_ns = s->now;
	act(s, FAILOVER_DO_BEAT, s->m->current);
}

static void begin_check(struct step *s)
{
	s->m->beats = 1;
	s->m->beat_extended = false;
	s->m->check_ns = s->now;
	beat(s);
}

static void run_check(struct step *s)
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
			act(s, FAILOVER_DO_WATCH, m->current);
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
	act(s, FAILOVER_SAY_MISSED, m->current)->value = m->beats;
	if (m->beats >= failover_tries(m)) {
		fail_current(s, FAILOVER_SILENT);
		return;
	}
	m->beats++;
	m->beat_extended = false;
	beat(s);
}

static __u64 probe_due(const struct failover *m)
{
	__u64 pace = m->config.response_ns > PROBE_PACE ? m->config.response_ns : PROBE_PACE;

	return m->current != FAILOVER_NOBODY && m->probes ? m->probe_ns + pace * m->probes : NEVER;
}

static void run_probe(struct step *s)
{
	struct failover *m = s->m;

	if (s->now < probe_due(m))
		return;
	if (m->probes < PROBE_MAX) {
		m->probes++;
		m->probe_ns = s->now;
		act(s, FAILOVER_DO_PROBE, m->current);
		return;
	}
	m->probes = 0;
	if (m->config.heartbeat == FAILOVER_BEAT_NONE)
		return;
	if (count_usable_others(m) > 0) {
		fail_current(s, FAILOVER_PATH);
		return;
	}
	if (!m->path_lost)
		m->request_after_ns = s->now;
	m->path_lost = true;
}

/* When nothing has come through the session for too long. */
static __u64 path_due(const struct failover *m)
{
	if (m->current == FAILOVER_NOBODY || m->watching || m->probes || m->config.heartbeat == FAILOVER_BEAT_NONE)
		return NEVER;
	return m->gateway[m->current].last_auth_ns + PATH_AFTER;
}

/* An idle client keeps quiet: it matters when payload leaves. */
static void run_path(struct step *s)
{
	if (s->now < path_due(s->m))
		return;
	s->m->watching = true;
	act(s, FAILOVER_DO_WATCH, s->m->current);
}

static bool wanted_within(const struct failover *m, __u64 now, __u64 span)
{
	return m->wanted_ns && now - m->wanted_ns < span;
}

/* Whether a session is wanted though nobody sends at this moment. */
static bool wants(const struct failover *m, __u64 now)
{
	return m->config.connect_at_start || wanted_within(m, now, WANT_FOR) ||
	       (m->was_used && m->config.heartbeat == FAILOVER_BEAT_INSTANT);
}

bool failover_renews(const struct failover *m, __u64 now)
{
	return m->config.heartbeat != FAILOVER_BEAT_DEFERRED || wants(m, now) ||
	       (m->current != FAILOVER_NOBODY && now - m->gateway[m->current].last_auth_ns < WANT_FOR);
}

static __u64 silent_due(const struct failover *m)
{
	__u64 pace = m->config.response_ns > SILENT_PACE ? m->config.response_ns : SILENT_PACE;

	if (m->current != FAILOVER_NOBODY || !m->silent || m->config.heartbeat == FAILOVER_BEAT_NONE)
		return NEVER;
	return m->beat_ns + pace;
}

/* All with a session are silent: nobody is in use, and they are asked in turn. */
static void run_silent(struct step *s)
{
	struct failover *m = s->m;

	if (s->now < silent_due(m))
		return;
	m->beat_ns = s->now;
	if (!wants(m, s->now))
		return;
	for (int i = 1; i <= m->config.n_gateways; i++) {
		int g = (m->suspect + i + m->config.n_gateways) % m->config.n_gateways;

		if (m->gateway[g].session) {
			m->suspect = g;
			act(s, FAILOVER_DO_BEAT, g);
			return;
		}
	}
	m->silent = false;
}

/* One that is being asked for a new session is not to lose it halfway. */
static __u64 remove_due(const struct failover *m, int g)
{
	return m->gateway[g].remove_ns && !(m->asked & 1ull << g) ? m->gateway[g].remove_ns : NEVER;
}

static void run_removals(struct step *s)
{
	for (int g = 0; g < s->m->config.n_gateways; g++) {
		struct failover_gateway *gateway = &s->m->gateway[g];

		if (gateway->leaving && s->now >= gateway->failed_ns + LEAVING_FOR) {
			gateway->leaving = false;
			if (s->m->current == FAILOVER_NOBODY && usable(s->m, g))
				steer(s, g, FAILOVER_RETURNED);
		}
		if (s->now < remove_due(s->m, g))
			continue;
		gateway->remove_ns = 0;
		gateway->session = false;
		act(s, FAILOVER_DO_REMOVE, g);
	}
}

/* Nobody in use, or one that asked to be left, or whose session is worth nothing: a session is urgent. */
static bool urgent(const struct failover *m)
{
	return m->current == FAILOVER_NOBODY || m->path_lost ||
	       (m->gateway[m->current].leaving && !count_usable_others(m));
}

/* Whether it is no use to ask this one now. */
static bool is_spared(const struct failover *m, int g, __u64 now)
{
	const struct failover_gateway *gateway = &m->gateway[g];

	if (g == m->current)
		return !m->path_lost; /* a new session with it may do */
	return urgent(m) ? usable(m, g) : gateway->session || now < gateway->retry_ns;
}

/* The gateways to ask now, in order; a mask, and the list. */
static __u64 plan(const struct failover *m, __u64 now, int *list, int *n)
{
	int first = m->current != FAILOVER_NOBODY ? m->current : m->was_used ? m->left : m->config.n_gateways - 1;
	bool failed_too = m->ask_failed;
	__u64 mask = 0;

	*n = 0;
	if (m->moving && !urgent(m)) {
		list[(*n)++] = m->move_to;
		return 1ull << m->move_to;
	}
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 1; i <= m->config.n_gateways; i++) {
			int g = (first + i + m->config.n_gateways) % m->config.n_gateways;
			const struct failover_gateway *gateway = &m->gateway[g];
			bool bad = gateway->failed || gateway->leaving;

			if (bad != (pass == 1) || is_spared(m, g, now))
				continue;
			list[(*n)++] = g;
			mask |= 1ull << g;
		}
		if (urgent(m) && *n && !failed_too)
			break;
	}
	return mask;
}

static __u64 request_due(const struct failover *m, __u64 now)
{
	__u64 due = NEVER;

	if (urgent(m)) {
		if (m->asked && m->asked_urgent)
			return NEVER;
		return wants(m, now) ? m->request_after_ns : NEVER;
	}
	if (m->asked)
		return NEVER;
	if (m->moving)
		return 0;
	/* An idle client keeps quiet, but for INSTANT. */
	if ((unsigned int)count_usable_others(m) >= m->config.standby || !wants(m, now))
		return NEVER;
	for (int g = 0; g < m->config.n_gateways; g++)
		if (g != m->current && !m->gateway[g].session && m->gateway[g].retry_ns < due)
			due = m->gateway[g].retry_ns;
	return due;
}

static void run_request(struct step *s)
{
	struct failover *m = s->m;

	if (s->now < request_due(m, s->now))
		return;
	m->asked = plan(m, s->now, s->out->request, &s->out->n_request);
	m->asked_urgent = urgent(m);
	if (m->asked)
		act(s, FAILOVER_DO_REQUEST, FAILOVER_NOBODY);
	else
		m->request_after_ns = s->now + URGENT_BACKOFF_MAX;
}

static void on_tick(struct step *s, const struct failover_event *event)
{
	run_removals(s); /* first: none that goes is to be asked */
	run_check(s);
	run_probe(s);
	run_path(s);
	run_silent(s);
}

static void on_start(struct step *s, const struct failover_event *event)
{
}

static void on_want(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	/* After an idle time the back-off has grown long: whoever sends now has not waited yet. */
	if (!wanted_within(m, s->now, WANT_FOR)) {
		m->request_after_ns = s->now;
		m->rounds = 0;
	}
	m->wanted_ns = s->now;
}

static void on_payload(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	m->watching = false;
	m->wanted_ns = s->now;
	if (m->current != event->gateway)
		return;
	if (s->now >= path_due(m))
		begin_probes(s);
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

/* The first sign of life of the gateway in use after a switch. */
static void recovered(struct step *s, __u64 rx_ns)
{
	struct failover *m = s->m;
	struct failover_action *say = act(s, FAILOVER_SAY_RECOVERED, m->current);

	say->from = m->left;
	say->reason = m->why;
	say->value = rx_ns > m->outage_from_ns ? rx_ns - m->outage_from_ns : 0;
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

static void revive(struct step *s, int g)
{
	struct failover_gateway *gateway = &s->m->gateway[g];

	if (s->now - gateway->failed_ns < FALSE_ALARM_WITHIN && !s->m->silent) {
		loss_sample(s->m, s->m->config.tries, 0);
		act(s, FAILOVER_SAY_FALSE_ALARM, g);
	}
	if (s->m->silent)
		forgive(gateway);
	gateway->failed = false;
	gateway->remove_ns = 0;
}

/* The check of the gateway in use is over: something came. Whether it was what the check asked for is remembered. */
static void end_check(struct step *s, bool answered)
{
	struct failover *m = s->m;

	m->unproven = answered ? 0 : m->unproven + m->beats;
	m->beats = 0;
	if (m->unproven < UNPROVEN_MAX || m->doubt)
		return;
	m->doubt = true;
	begin_probes(s);
}

static void on_alive(struct step *s, const struct failover_event *event)
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
		revive(s, event->gateway);
		if (m->current == FAILOVER_NOBODY)
			steer(s, event->gateway, FAILOVER_RETURNED);
	}
	if (m->current != event->gateway)
		return;
	if (m->beats && gateway->last_rx_ns >= m->check_ns) {
		loss_sample(m, m->beats - 1, 1);
		end_check(s, event->answer_ns >= m->check_ns);
	}
	if (!m->doubt && gateway->last_auth_ns > m->probed_from_ns) {
		m->probes = 0;
		m->path_lost = false;
	}
	if (m->switching && gateway->last_rx_ns > m->switched_ns)
		recovered(s, gateway->last_rx_ns);
}

static void on_answered(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	if (m->current != event->gateway)
		return;
	m->probes = 0;
	m->unproven = 0;
	m->doubt = m->path_lost = false;
}

/* The one in use has a new session, and was there a moment ago: whatever was asked of the old one is settled. */
static void renewed(struct step *s, bool by_peer)
{
	struct failover *m = s->m;
	bool probe = by_peer || m->probes || m->path_lost;

	m->beats = 0;
	m->unproven = 0;
	m->doubt = m->path_lost = false;
	/* One that dialled had forgotten us, so it must learn anew that we use it. */
	if (probe)
		begin_probes(s);
}

static void on_session_up(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	/* One that dials us may have been away: that it is here now makes no false alarm. */
	if (gateway->failed && !event->by_peer)
		revive(s, event->gateway);
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
		steer(s, event->gateway, FAILOVER_ADMIN);
	} else if (m->current == FAILOVER_NOBODY) {
		m->silent = false; /* one could be reached: those that are silent have failed */
		steer(s, event->gateway, FAILOVER_FIRST);
	} else if (m->current != event->gateway && m->gateway[m->current].leaving) {
		steer(s, event->gateway, FAILOVER_LEAVING);
	} else if (m->current != event->gateway && m->path_lost) {
		fail_current(s, FAILOVER_PATH);
	} else if (m->current != event->gateway && event->by_peer && draws(m, event->gateway, s->now)) {
		steer(s, event->gateway, FAILOVER_PEER);
	} else if (m->current == event->gateway) {
		renewed(s, event->by_peer);
	}
}

static void on_session_down(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;

	m->gateway[event->gateway].session = false;
	m->gateway[event->gateway].remove_ns = 0;
	if (m->current == event->gateway)
		pick_other(s, FAILOVER_SESSION_LOST);
}

static void on_rejected(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	__u64 most = !wanted_within(m, s->now, URGENT_FOR) ? IDLE_BACKOFF_MAX :
		     event->denied			    ? DENIED_BACKOFF_MAX : URGENT_BACKOFF_MAX;

	for (int g = 0; g < m->config.n_gateways; g++)
		if (m->asked & 1ull << g)
			m->gateway[g].retry_ns = s->now + backoff(m, S, m->rounds, STANDBY_BACKOFF_MAX);
	m->request_after_ns = s->now + backoff(m, 100 * MS, m->rounds, most);
	if (m->asked && m->asked_urgent)
		m->ask_failed = true;
	m->asked = 0;
	m->rounds++;
	m->moving = false;
}

static void on_leave_me(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	struct failover_gateway *gateway = &m->gateway[event->gateway];

	if (!gateway->session)
		return;
	gateway->leaving = true;
	gateway->failed_ns = s->now;
	gateway->retry_ns = s->now + backoff(m, 5 * S, 0, 5 * S);
	if (m->current == event->gateway && next_usable(m, m->current, s->now) != FAILOVER_NOBODY)
		steer(s, next_usable(m, m->current, s->now), FAILOVER_LEAVING);
}

static void on_move(struct step *s, const struct failover_event *event)
{
	struct failover *m = s->m;
	int to = event->gateway;

	if (to == FAILOVER_NOBODY)
		to = next_usable(m, m->current, s->now);
	if (to == FAILOVER_NOBODY)
		to = (m->current + 1) % m->config.n_gateways;
	if (to == m->current)
		return;
	m->moving = !usable(m, to);
	m->move_to = to;
	if (!m->moving)
		steer(s, to, FAILOVER_ADMIN);
	else
		m->asked = 0; /* this request takes the place of one for a standby */
}

/* As if it had been this machine's all the time: nothing moves, nothing is said. */
static void on_adopted(struct step *s, const struct failover_event *event)
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
	/* It may have forgotten us meanwhile, or have been left for good by whoever steered here last. */
	m->probes = 1;
	m->probe_ns = s->now;
	act(s, FAILOVER_DO_PROBE, event->gateway);
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

static void on_changed(struct step *s, const struct failover_event *event)
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
	next = next_usable(m, FAILOVER_NOBODY, s->now);
	if (next != FAILOVER_NOBODY)
		steer(s, next, FAILOVER_POLICY);
}

static void (*const handlers[])(struct step *, const struct failover_event *) = {
	[FAILOVER_TICK] = on_tick,
	[FAILOVER_START] = on_start,
	[FAILOVER_WANT] = on_want,
	[FAILOVER_PAYLOAD] = on_payload,
	[FAILOVER_ALIVE] = on_alive,
	[FAILOVER_ANSWERED] = on_answered,
	[FAILOVER_SESSION_UP] = on_session_up,
	[FAILOVER_SESSION_DOWN] = on_session_down,
	[FAILOVER_REJECTED] = on_rejected,
	[FAILOVER_LEAVE_ME] = on_leave_me,
	[FAILOVER_MOVE] = on_move,
	[FAILOVER_ADOPTED] = on_adopted,
	[FAILOVER_CHANGED] = on_changed,
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
	struct step s = { m, now, out };

	out->n = 0;
	out->n_request = 0;
	handlers[event->type](&s, event);
	run_check(&s);
	run_request(&s);
}

__u64 failover_deadline_ns(const struct failover *m, __u64 now)
{
	__u64 due[] = { NEVER, probe_due(m), silent_due(m), request_due(m, now), NEVER, path_due(m) };
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
