/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The failover state machine in virtual time: a small world of gateways that
 * live or are silent, with sessions or without, answers what the machine does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/failover.h"

#define MS 1000000ull
#define S (1000 * MS)
#define GATEWAYS 3

/* The world: what is true of each gateway, and when answers come back. */
struct world {
	struct failover machine;
	__u64 now;
	bool alive[GATEWAYS];	    /* answers heartbeats and requests */
	bool keeps_session[GATEWAYS]; /* has not forgotten our session */
	unsigned int loss;	    /* of a heartbeat or its answer, in 1/100 */
	__u64 rtt;
	struct {
		__u64 at;
		int gateway;
		bool auth;
	} answers[64];
	size_t n_answers;
	__u64 request_done; /* 0: none under way */
	int request[GATEWAYS];
	int n_request;

	/* What happened. */
	int steered; /* where the datapath sends */
	unsigned int beats, beats_to[GATEWAYS], requests, removed, switches, uplink, false_alarms, leaves;
	struct failover_action recovered;
	unsigned int recoveries, held, watched;
};

static void step(struct world *w, struct failover_event event);

static void carry_out(struct world *w, const struct failover_action *action)
{
	int g = action->gateway;

	switch (action->type) {
	case FAILOVER_DO_STEER:
		w->steered = g;
		w->held += g == FAILOVER_NOBODY;
		break;
	case FAILOVER_DO_BEAT:
	case FAILOVER_DO_PROBE:
		if (action->type == FAILOVER_DO_BEAT) {
			w->beats++;
			w->beats_to[g]++;
		}
		assert_true(w->machine.gateway[g].session); /* never to a gateway without a session */
		if (w->alive[g] && w->keeps_session[g] && (unsigned int)(rand() % 100) >= w->loss &&
		    (unsigned int)(rand() % 100) >= w->loss && w->n_answers < 64) {
			w->answers[w->n_answers].at = w->now + w->rtt;
			w->answers[w->n_answers].gateway = g;
			w->answers[w->n_answers++].auth = action->type == FAILOVER_DO_PROBE;
		}
		break;
	case FAILOVER_DO_LEAVE: w->leaves++; break;
	case FAILOVER_DO_WATCH: w->watched++; break;
	case FAILOVER_DO_REMOVE: w->removed++; break;
	case FAILOVER_SAY_SWITCHED: w->switches++; break;
	case FAILOVER_SAY_RECOVERED:
		w->recovered = *action;
		w->recoveries++;
		break;
	case FAILOVER_SAY_UPLINK: w->uplink++; break;
	case FAILOVER_SAY_FALSE_ALARM: w->false_alarms++; break;
	default: break;
	}
}

static void step(struct world *w, struct failover_event event)
{
	struct failover_actions actions;

	failover_step(&w->machine, &event, w->now, &actions);
	for (size_t i = 0; i < actions.n; i++) {
		if (actions.action[i].type != FAILOVER_DO_REQUEST) {
			carry_out(w, &actions.action[i]);
			continue;
		}
		w->requests++;
		w->n_request = actions.n_request;
		memcpy(w->request, actions.request, sizeof(w->request));
		assert_in_range(actions.n_request, 1, GATEWAYS);
		w->request_done = w->now + 20 * MS;
	}
}

static void finish_request(struct world *w)
{
	w->request_done = 0;
	for (int i = 0; i < w->n_request; i++) {
		int g = w->request[i];

		if (!w->alive[g])
			continue;
		w->keeps_session[g] = true;
		step(w, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .answers_request = true });
		return;
	}
	step(w, (struct failover_event){ .type = FAILOVER_REJECTED });
}

/* Lets the world go on until `end`, every event at its own time. */
static void run_until(struct world *w, __u64 end)
{
	for (unsigned int guard = 0; guard < 1000000; guard++) {
		__u64 next = failover_deadline_ns(&w->machine, w->now);
		size_t first = w->n_answers;

		for (size_t i = 0; i < w->n_answers; i++)
			if (w->answers[i].at <= next && (first == w->n_answers || w->answers[i].at < w->answers[first].at))
				first = i;
		if (first < w->n_answers)
			next = w->answers[first].at;
		if (w->request_done && w->request_done <= next) {
			next = w->request_done;
			first = w->n_answers;
		}
		if (next > end) {
			w->now = end;
			return;
		}
		if (next > w->now)
			w->now = next;
		if (w->request_done && w->request_done <= w->now) {
			finish_request(w);
		} else if (first < w->n_answers) {
			int g = w->answers[first].gateway;
			bool auth = w->answers[first].auth;

			w->answers[first] = w->answers[--w->n_answers];
			step(w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = g, .rx_ns = w->now,
							 .auth_ns = auth ? w->now : 0,
							 .answer_ns = auth ? 0 : w->now });
			if (auth)
				step(w, (struct failover_event){ .type = FAILOVER_ANSWERED, .gateway = g });
		} else {
			step(w, (struct failover_event){ .type = FAILOVER_TICK });
		}
	}
	fail_msg("the machine asks for ticks without end at %llu", (unsigned long long)w->now);
}

static void world_init(struct world *w, enum failover_heartbeat mode, unsigned int standby)
{
	struct failover_config config = { .heartbeat = mode, .response_ns = 50 * MS, .defer_ns = 100 * MS, .tries = 2,
					  .standby = standby, .n_gateways = GATEWAYS, .seed = 1 };

	srand(1);
	memset(w, 0, sizeof(*w));
	w->now = S;
	w->rtt = 2 * MS;
	w->steered = FAILOVER_NOBODY;
	for (int g = 0; g < GATEWAYS; g++)
		w->alive[g] = true;
	failover_init(&w->machine, &config);
	step(w, (struct failover_event){ .type = FAILOVER_START });
	assert_int_equal(w->requests, 0);
	step(w, (struct failover_event){ .type = FAILOVER_WANT });
	assert_int_equal(w->requests, 1);
	run_until(w, w->now + S);
}

static void first_session_is_used(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	assert_int_equal(w.steered, 0);
	assert_int_equal(failover_gateway_state(&w.machine, 0), FAILOVER_ACTIVE);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_STANDBY);
	assert_int_equal(failover_gateway_state(&w.machine, 2), FAILOVER_NONE);
	assert_int_equal(w.machine.failovers, 0);
}

static void dies_within_bound(void **state)
{
	struct world w;
	__u64 died;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.alive[0] = false;
	died = w.now;
	run_until(&w, died + 201 * MS); /* defer 100 + 2 x 50, as the specification counts */
	assert_int_equal(w.steered, 1);
	run_until(&w, died + 3 * S);
	assert_int_equal(w.recoveries, 1);
	assert_int_equal(w.recovered.from, 0);
	assert_int_equal(w.recovered.gateway, 1);
	assert_int_equal(w.recovered.reason, FAILOVER_SILENT);
	assert_in_range(w.recovered.value, 100 * MS, 210 * MS);
	assert_int_equal(w.removed, 1); /* the failed gateway's session */
	assert_int_equal(failover_gateway_state(&w.machine, 2), FAILOVER_STANDBY);
}

static void without_standby_a_request_is_made(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_NONE);
	w.alive[0] = false;
	run_until(&w, w.now + 225 * MS);
	assert_int_equal(w.held, 1); /* traffic is held, not lost, while the request is under way */
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.request[0], 1);
	run_until(&w, w.now + 3 * S);
	assert_int_equal(w.removed, 1); /* the failed gateway's session, here too */
	assert_int_equal(failover_gateway_state(&w.machine, 0), FAILOVER_FAILED);
}

static void two_dead_the_last_is_used(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.alive[0] = w.alive[1] = false;
	run_until(&w, w.now + S);
	assert_int_equal(w.steered, 2);
}

static void all_dead_then_one_back(void **state)
{
	/* With its session (the links were silent), and without (it was rebooted). */
	for (int keeps = 0; keeps < 2; keeps++) {
		for (int back = 0; back < GATEWAYS; back++) {
			struct world w;

			world_init(&w, FAILOVER_BEAT_INSTANT, 1);
			memset(w.alive, 0, sizeof(w.alive));
			run_until(&w, w.now + 20 * S);
			assert_int_equal(w.steered, FAILOVER_NOBODY);
			w.alive[back] = true;
			w.keeps_session[back] = w.keeps_session[back] && keeps;
			run_until(&w, w.now + 3 * S);
			assert_int_equal(w.steered, back);
		}
	}
}

static void uplink_is_suspected_and_sessions_kept(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	memset(w.alive, 0, sizeof(w.alive));
	run_until(&w, w.now + 5 * S);
	assert_int_equal(w.uplink, 1);
	assert_int_equal(w.removed, 0);
	memset(w.alive, 1, sizeof(w.alive));
	run_until(&w, w.now + S);
	assert_int_not_equal(w.steered, FAILOVER_NOBODY);
	assert_int_equal(w.removed, 0);
}

static void no_beats_while_packets_come(void **state)
{
	struct world w;
	unsigned int before;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	before = w.beats;
	for (int i = 0; i < 72000; i++) { /* an hour */
		step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now, .auth_ns = w.now });
		run_until(&w, w.now + 50 * MS);
	}
	assert_int_equal(w.beats, before);
}

static void beats_only_to_the_one_in_use(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 2);
	run_until(&w, w.now + 10 * S);
	assert_true(w.beats_to[0] > 50);
	assert_int_equal(w.beats_to[1] + w.beats_to[2], 0);
}

static void none_sends_nothing(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_NONE, 1);
	w.alive[0] = false;
	run_until(&w, w.now + 60 * S);
	assert_int_equal(w.beats, 0);
	assert_int_equal(w.steered, 0);
}

static void deferred_waits_for_payload(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	w.alive[0] = false;
	run_until(&w, w.now + 60 * S);
	assert_int_equal(w.beats, 0);
	assert_int_equal(w.watched, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	assert_int_equal(w.beats, 1);
	run_until(&w, w.now + 101 * MS);
	assert_int_equal(w.steered, 1);
}

static void deferred_renews_what_is_used(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	assert_true(failover_renews(&w.machine, w.now));
	run_until(&w, w.now + 100 * S);
	assert_false(failover_renews(&w.machine, w.now));
	/* Payload that is watched for; then what comes from the gateway, though nothing is watched for any more. */
	step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	assert_true(failover_renews(&w.machine, w.now));
	run_until(&w, w.now + 100 * S);
	assert_false(failover_renews(&w.machine, w.now));
	step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now, .auth_ns = w.now });
	assert_true(failover_renews(&w.machine, w.now));

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	run_until(&w, w.now + 100 * S);
	assert_true(failover_renews(&w.machine, w.now));
}

static void late_timer_does_not_blame(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	for (int i = 0; i < 50; i++) {
		/* The daemon sleeps for a second, again and again; nobody looks at answers meanwhile. */
		w.now += S;
		step(&w, (struct failover_event){ .type = FAILOVER_TICK });
		run_until(&w, w.now + 10 * MS);
	}
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.machine.failovers, 0);
}

static void loss_makes_no_storm(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.loss = 20;
	run_until(&w, w.now + 60 * S);
	/* Without adapting it were some 40 in a minute: 13 % of checks fail, one check each 0.15 s. */
	assert_in_range(w.machine.failovers, 0, 12);
	assert_true(failover_tries(&w.machine) > 2);
	w.loss = 0;
	run_until(&w, w.now + 60 * S);
	assert_int_equal(failover_tries(&w.machine), 2); /* and it forgets */
}

static unsigned int requests_within(struct world *w, __u64 span, bool denied)
{
	unsigned int before = w->requests;
	__u64 end = w->now + span;

	while (w->now < end) {
		w->now += 10 * MS;
		step(w, (struct failover_event){ .type = FAILOVER_WANT });
		if (!w->request_done)
			continue;
		w->request_done = 0;
		step(w, (struct failover_event){ .type = FAILOVER_REJECTED, .denied = denied });
	}
	return w->requests - before;
}

/* Silent gateways are asked again soon, they may come back at any time; those that deny us are spared. */
static void denied_backs_off(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	memset(w.alive, 0, sizeof(w.alive));
	run_until(&w, w.now + S);
	assert_true(requests_within(&w, 60 * S, false) >= 120);
	assert_in_range(requests_within(&w, 60 * S, true), 4, 15);
}

/* All were dead while nobody sent for an hour, so requests are rare: the first packet does not wait for the next. */
static void traffic_ends_an_idle_back_off(void **state)
{
	struct world w;
	unsigned int before;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	memset(w.alive, 0, sizeof(w.alive));
	run_until(&w, w.now + 3600 * S);
	before = w.requests;
	run_until(&w, w.now + 60 * S);
	assert_in_range(w.requests - before, 1, 6);
	memset(w.alive, 1, sizeof(w.alive));
	memset(w.keeps_session, 0, sizeof(w.keeps_session));
	step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	run_until(&w, w.now + 100 * MS);
	assert_int_not_equal(w.steered, FAILOVER_NOBODY);
}

static void asked_to_leave(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.leaves, 1);
	run_until(&w, w.now + 2 * S);
	assert_int_equal(w.steered, 1);
}

static void asked_to_leave_without_standby(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	assert_int_equal(w.steered, 0); /* it still forwards: nothing is lost while another is asked */
	run_until(&w, w.now + 30 * MS);
	assert_int_equal(w.steered, 1);
}

static void moved_by_the_user(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = FAILOVER_NOBODY });
	assert_int_equal(w.steered, 1);
	run_until(&w, w.now + 100 * MS);
	step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = 2 }); /* no session yet */
	assert_int_equal(w.steered, 1);
	run_until(&w, w.now + 100 * MS);
	assert_int_equal(w.steered, 2);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_STANDBY); /* kept */
}

static void session_ends(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
	assert_int_equal(w.steered, 1);
}

/* A gateway that starts a session with us. */
static void dials(struct world *w, int g)
{
	w->keeps_session[g] = true;
	step(w, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .by_peer = true });
}

/* Whatever comes in whatever order: no crash, no beat without a session, never an index out of range. */
static void random_events(void **state)
{
	for (unsigned int seed = 1; seed <= 300; seed++) {
		struct world w;

		world_init(&w, (enum failover_heartbeat)(seed % 3), seed % 4);
		srand(seed);
		for (int i = 0; i < 300; i++) {
			int g = rand() % GATEWAYS;

			switch (rand() % 9) {
			case 0: w.alive[g] = !w.alive[g]; break;
			case 1: w.keeps_session[g] = false; break;
			case 2: step(&w, (struct failover_event){ .type = FAILOVER_WANT }); break;
			case 3: step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = g }); break;
			case 4: step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = g }); break;
			case 5: step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = g }); break;
			case 6: w.loss = (unsigned int)(rand() % 50); break;
			case 7: step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = g }); break;
			case 8: dials(&w, g); break;
			}
			run_until(&w, w.now + (__u64)(rand() % 400) * MS);
			assert_in_range(w.steered + 1, 0, GATEWAYS);
			assert_int_equal(w.steered, w.machine.current);
			if (w.steered != FAILOVER_NOBODY)
				assert_true(w.machine.gateway[w.steered].session);
		}
		/* And when all is well again, and there is traffic, one is used. */
		w.loss = 0;
		memset(w.alive, 1, sizeof(w.alive));
		step(&w, (struct failover_event){ .type = FAILOVER_WANT });
		run_until(&w, w.now + 20 * S);
		if (seed % 3 == FAILOVER_BEAT_INSTANT) {
			assert_int_not_equal(w.steered, FAILOVER_NOBODY);
			assert_true(w.alive[w.steered] && w.keeps_session[w.steered]);
		}
	}
}

static void used_when_it_starts_a_session(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	assert_int_equal(w.steered, 0);
	dials(&w, 2);
	assert_int_equal(w.steered, 2);
	run_until(&w, w.now + S);
	assert_int_equal(w.machine.probes, 0); /* the way through the session was proven */
	dials(&w, 1);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.leaves, 2);
	run_until(&w, w.now + S);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.recovered.reason, FAILOVER_PEER);
	/* The same once more: it has forgotten us, and must hear that we use it. */
	dials(&w, 1);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.machine.probes, 1);
	assert_int_equal(w.switches, 3);
}

/* Back after one fault: at once. */
static void comes_back_by_itself(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 0);
	w.alive[0] = w.keeps_session[0] = false;
	run_until(&w, w.now + 3 * S);
	assert_int_equal(w.steered, 1);
	w.alive[0] = true;
	dials(&w, 0);
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.false_alarms, 0); /* it was away indeed, though not for long */
	run_until(&w, w.now + 60 * S);
	assert_int_equal(w.steered, 0);
}

/* One that dies and returns every few seconds, each time with a session of its own making, draws its clients once. */
static void flapping_gateway_does_not_drag(void **state)
{
	struct world w;
	unsigned int moves = 0;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 0);
	for (int round = 0; round < 100; round++) {
		w.alive[0] = w.keeps_session[0] = false;
		run_until(&w, w.now + 3 * S);
		assert_int_not_equal(w.steered, 0);
		w.alive[0] = true;
		dials(&w, 0);
		moves += w.steered == 0;
		run_until(&w, w.now + 3 * S);
	}
	assert_int_equal(moves, 1);

	/* It stays: and when it next asks for us, after a while, it is used again. */
	run_until(&w, w.now + 31 * S);
	assert_int_not_equal(w.steered, 0);
	dials(&w, 0);
	assert_int_equal(w.steered, 0);
}

/* Each time that it disappoints us, it waits twice as long, five minutes at most. */
static void waits_longer_each_time(void **state)
{
	struct world w;
	__u64 before = 0;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	run_until(&w, w.now + 10 * S);
	for (int fault = 1; fault <= 12; fault++) {
		__u64 left, wait;

		assert_int_equal(w.steered, 0);
		w.alive[0] = w.keeps_session[0] = false;
		while (w.steered == 0)
			run_until(&w, w.now + 10 * MS);
		left = w.now;
		w.alive[0] = true;
		run_until(&w, w.now + 500 * MS);
		while (w.now < w.machine.gateway[0].damped_ns)
			run_until(&w, w.machine.gateway[0].damped_ns);
		wait = w.now - left;
		if (fault == 1)
			assert_true(wait <= S);
		else if (fault == 2)
			assert_in_range(wait / S, 29, 31);
		else
			assert_in_range(wait / S, (2 * before / S < 300 ? 2 * before / S : 300) - 3, 301);
		before = wait;
		dials(&w, 0);
	}
	/* A quiet minute beyond that, and it is as good as new. */
	run_until(&w, w.now + 400 * S);
	w.alive[0] = w.keeps_session[0] = false;
	run_until(&w, w.now + 3 * S);
	w.alive[0] = true;
	dials(&w, 0);
	assert_int_equal(w.steered, 0);
}

/* Where there is no other, one that flaps is better than none. */
static void flapping_gateway_is_used_alone(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	w.alive[1] = w.alive[2] = false;
	step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	run_until(&w, w.now + S);
	for (int round = 0; round < 10; round++) {
		w.alive[0] = w.keeps_session[0] = false;
		run_until(&w, w.now + 3 * S);
		assert_int_equal(w.steered, FAILOVER_NOBODY);
		w.alive[0] = true;
		dials(&w, 0);
		assert_int_equal(w.steered, 0);
		run_until(&w, w.now + S);
	}
}

/* A killed daemon's sessions go on: nobody is switched to, and what happens to the gateway afterwards is noticed. */
static void adopted_goes_on(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	failover_init(&w.machine, &(struct failover_config){ .heartbeat = FAILOVER_BEAT_INSTANT, .response_ns = 50 * MS,
							      .defer_ns = 100 * MS, .tries = 2, .standby = 1,
							      .n_gateways = GATEWAYS, .seed = 1 });
	w.now += 100 * S;
	w.n_answers = 0;
	w.requests = w.switches = 0;
	w.steered = 1; /* as the datapath was left */
	w.keeps_session[0] = false;
	w.keeps_session[1] = w.keeps_session[2] = true;
	step(&w, (struct failover_event){ .type = FAILOVER_ADOPTED, .gateway = 2, .rx_ns = w.now - S });
	step(&w, (struct failover_event){ .type = FAILOVER_ADOPTED, .gateway = 1, .in_use = true, .rx_ns = w.now - 20 * S });
	step(&w, (struct failover_event){ .type = FAILOVER_START });
	run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.machine.current, 1);
	assert_int_equal(w.switches, 0);
	assert_int_equal(w.machine.failovers, 0);
	assert_int_equal(w.requests, 0); /* one stands by already */
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_ACTIVE);
	assert_int_equal(failover_gateway_state(&w.machine, 2), FAILOVER_STANDBY);

	w.alive[1] = w.keeps_session[1] = false;
	run_until(&w, w.now + 5 * S);
	assert_int_equal(w.steered, 2);
	assert_int_equal(w.switches, 1);
	assert_int_equal(w.machine.failovers, 1);
}

/* The policy changes: new gateway g was from[g] before. The world follows; what is on its way to it is lost. */
static void change_policy(struct world *w, struct failover_config config, const int *from, int n)
{
	struct failover_change change = { .config = config };
	bool alive[GATEWAYS], keeps_session[GATEWAYS];
	int steered = FAILOVER_NOBODY;

	change.config.n_gateways = n;
	memcpy(alive, w->alive, sizeof(alive));
	memcpy(keeps_session, w->keeps_session, sizeof(keeps_session));
	for (int g = 0; g < n; g++) {
		change.from[g] = from[g];
		w->alive[g] = from[g] == FAILOVER_NOBODY || alive[from[g]];
		w->keeps_session[g] = from[g] != FAILOVER_NOBODY && keeps_session[from[g]];
		if (from[g] == w->steered && steered == FAILOVER_NOBODY)
			steered = g;
	}
	w->steered = steered;
	w->n_answers = 0;
	w->request_done = 0;
	step(w, (struct failover_event){ .type = FAILOVER_CHANGED, .change = &change });
}

static void keeps_what_stays(void **state)
{
	static const int turned[] = { 2, 0, 1 };
	struct failover_config config;
	unsigned int switches;
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	switches = w.switches;
	config = w.machine.config;
	config.defer_ns = 300 * MS;
	change_policy(&w, config, turned, 3);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_ACTIVE);
	assert_int_equal(failover_gateway_state(&w.machine, 2), FAILOVER_STANDBY);
	assert_int_equal(failover_gateway_state(&w.machine, 0), FAILOVER_NONE);
	run_until(&w, w.now + 3 * S);
	assert_int_equal(w.switches, switches);
	assert_int_equal(w.held, 0);
	assert_int_equal(w.machine.failovers, 0);
	/* It is the gateway in use, by its new index and the new times, that is watched. */
	w.beats_to[1] = w.beats_to[2] = 0;
	run_until(&w, w.now + 3 * S);
	assert_in_range(w.beats_to[1], 9, 11);
	assert_int_equal(w.beats_to[2], 0);
	config.heartbeat = FAILOVER_BEAT_NONE;
	change_policy(&w, config, (const int[]){ 0, 1, 2 }, 3);
	w.beats = 0;
	run_until(&w, w.now + 3 * S);
	assert_int_equal(w.beats, 0);
}

static void one_in_use_is_gone_another_is_there(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	change_policy(&w, w.machine.config, (const int[]){ 1, 2 }, 2);
	assert_int_equal(w.machine.current, 0);
	assert_int_equal(w.held, 0);
	assert_int_equal(w.leaves, 0); /* whoever is gone has no index to be told by */
	run_until(&w, w.now + S);
	assert_int_equal(w.steered, 0);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_STANDBY);
}

static void one_in_use_is_gone_and_was_alone(void **state)
{
	struct world w;
	unsigned int requests;

	world_init(&w, FAILOVER_BEAT_NONE, 0);
	run_until(&w, w.now + 100 * S); /* long after the machine heard of traffic: what flows finds its gateway */
	requests = w.requests;
	change_policy(&w, w.machine.config, (const int[]){ 1, 2 }, 2);
	assert_int_equal(w.machine.current, FAILOVER_NOBODY);
	assert_int_equal(w.requests, requests + 1); /* at once */
	assert_int_equal(w.held, 0);		    /* nobody said that traffic should stop */
	run_until(&w, w.now + S);
	assert_int_equal(w.machine.current, 0);
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.held, 0);
}

/* Whatever happens before: afterwards it is a machine of the new policy, and works. */
static void changes_at_any_time(void **state)
{
	for (unsigned int round = 0; round < 2000; round++) {
		int from[GATEWAYS], n = 1 + (int)(round % GATEWAYS);
		struct world w;

		world_init(&w, (enum failover_heartbeat)(round % 3), round % 2);
		w.alive[round % GATEWAYS] = false;
		if (round % 5 == 0)
			step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = (int)(round % GATEWAYS) });
		if (round % 7 == 0)
			step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = (int)(round % 2) });
		run_until(&w, w.now + round * MS % S);
		for (int g = 0; g < n; g++)
			from[g] = (int)((round / 3 + (unsigned int)g) % (GATEWAYS + 1)) - 1;
		w.n_answers = 0;
		change_policy(&w, w.machine.config, from, n);
		assert_in_range(w.machine.current + 1, 0, n);
		for (int g = 0; g < n; g++)
			w.alive[g] = true;
		step(&w, (struct failover_event){ .type = FAILOVER_WANT });
		run_until(&w, w.now + 30 * S);
		assert_in_range(w.machine.current, 0, n - 1);
		assert_int_equal(w.steered, w.machine.current);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_session_is_used),
		cmocka_unit_test(dies_within_bound),
		cmocka_unit_test(without_standby_a_request_is_made),
		cmocka_unit_test(two_dead_the_last_is_used),
		cmocka_unit_test(all_dead_then_one_back),
		cmocka_unit_test(uplink_is_suspected_and_sessions_kept),
		cmocka_unit_test(no_beats_while_packets_come),
		cmocka_unit_test(beats_only_to_the_one_in_use),
		cmocka_unit_test(none_sends_nothing),
		cmocka_unit_test(deferred_waits_for_payload),
		cmocka_unit_test(deferred_renews_what_is_used),
		cmocka_unit_test(late_timer_does_not_blame),
		cmocka_unit_test(loss_makes_no_storm),
		cmocka_unit_test(denied_backs_off),
		cmocka_unit_test(traffic_ends_an_idle_back_off),
		cmocka_unit_test(asked_to_leave),
		cmocka_unit_test(asked_to_leave_without_standby),
		cmocka_unit_test(moved_by_the_user),
		cmocka_unit_test(session_ends),
		cmocka_unit_test(used_when_it_starts_a_session),
		cmocka_unit_test(comes_back_by_itself),
		cmocka_unit_test(flapping_gateway_does_not_drag),
		cmocka_unit_test(waits_longer_each_time),
		cmocka_unit_test(flapping_gateway_is_used_alone),
		cmocka_unit_test(adopted_goes_on),
		cmocka_unit_test(keeps_what_stays),
		cmocka_unit_test(one_in_use_is_gone_another_is_there),
		cmocka_unit_test(one_in_use_is_gone_and_was_alone),
		cmocka_unit_test(changes_at_any_time),
		cmocka_unit_test(random_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
