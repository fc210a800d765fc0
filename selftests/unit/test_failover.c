/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The failover state machine: signs of life and their absence, what is asked of
 * the key service, wishes of gateways and users; and whatever comes in whatever
 * order.
 */
#include "selftests/unit/failover_world.h"

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
	world_run_until(&w, died + 201 * MS); /* defer 100 + 2 x 50, as the specification counts */
	assert_int_equal(w.steered, 1);
	world_run_until(&w, died + 3 * S);
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
	world_run_until(&w, w.now + 225 * MS);
	assert_int_equal(w.held, 1); /* traffic is held, not lost, while the request is under way */
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.request[0], 1);
	world_run_until(&w, w.now + 3 * S);
	assert_int_equal(w.removed, 1); /* the failed gateway's session, here too */
	assert_int_equal(failover_gateway_state(&w.machine, 0), FAILOVER_FAILED);
}

static void two_dead_the_last_is_used(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.alive[0] = w.alive[1] = false;
	world_run_until(&w, w.now + S);
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
			world_run_until(&w, w.now + 20 * S);
			assert_int_equal(w.steered, FAILOVER_NOBODY);
			w.alive[back] = true;
			w.keeps_session[back] = w.keeps_session[back] && keeps;
			world_run_until(&w, w.now + 3 * S);
			assert_int_equal(w.steered, back);
		}
	}
}

static void uplink_is_suspected_and_sessions_kept(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	memset(w.alive, 0, sizeof(w.alive));
	world_run_until(&w, w.now + 5 * S);
	assert_int_equal(w.uplink, 1);
	assert_int_equal(w.removed, 0);
	memset(w.alive, 1, sizeof(w.alive));
	world_run_until(&w, w.now + S);
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
		world_step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now, .auth_ns = w.now });
		world_run_until(&w, w.now + 50 * MS);
	}
	assert_int_equal(w.beats, before);
}

static void beats_only_to_the_one_in_use(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 2);
	world_run_until(&w, w.now + 10 * S);
	assert_true(w.beats_to[0] > 50);
	assert_int_equal(w.beats_to[1] + w.beats_to[2], 0);
}

static void none_sends_nothing(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_NONE, 1);
	w.alive[0] = false;
	world_run_until(&w, w.now + 60 * S);
	assert_int_equal(w.beats, 0);
	assert_int_equal(w.steered, 0);
}

static void deferred_waits_for_payload(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	w.alive[0] = false;
	world_run_until(&w, w.now + 60 * S);
	assert_int_equal(w.beats, 0);
	assert_int_equal(w.watched, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	assert_int_equal(w.beats, 1);
	world_run_until(&w, w.now + 101 * MS);
	assert_int_equal(w.steered, 1);
}

/* Where nobody had sent for an hour, the outage is not an hour; where traffic was under way, it began with the silence. */
static void deferred_outage_is_that_of_the_traffic(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	w.alive[0] = false;
	world_run_until(&w, w.now + 3600 * S);
	world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	world_run_until(&w, w.now + S);
	assert_int_equal(w.recoveries, 1);
	assert_in_range(w.recovered.value, 100 * MS, 110 * MS); /* 2 x 50, and the probe */

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now, .auth_ns = w.now });
	w.alive[0] = false;
	world_run_until(&w, w.now + 120 * MS);
	world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	world_run_until(&w, w.now + S);
	assert_int_equal(w.recoveries, 1);
	assert_in_range(w.recovered.value, 220 * MS, 230 * MS);
}

/* Until the move the old one forwarded: the outage is no more than the way there and back. */
static void planned_moves_are_no_outage(void **state)
{
	static const struct failover_event moves[] = {
		{ .type = FAILOVER_MOVE, .gateway = 1 },
		{ .type = FAILOVER_LEAVE_ME, .gateway = 0 },
		{ .type = FAILOVER_SESSION_UP, .gateway = 1, .by_peer = true },
		{ .type = FAILOVER_SESSION_DOWN, .gateway = 0 },
	};

	for (enum failover_heartbeat mode = FAILOVER_BEAT_NONE; mode <= FAILOVER_BEAT_INSTANT; mode++)
		for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
			struct world w;

			world_init(&w, mode, 1);
			world_run_until(&w, w.now + 3600 * S);
			world_step(&w, moves[i]);
			assert_int_equal(w.steered, 1);
			world_run_until(&w, w.now + S);
			assert_int_equal(w.recoveries, 1);
			assert_int_equal(w.recovered.value, w.rtt);
		}
}

static void deferred_renews_what_is_used(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_DEFERRED, 1);
	assert_true(failover_renews(&w.machine, w.now));
	world_run_until(&w, w.now + 100 * S);
	assert_false(failover_renews(&w.machine, w.now));
	/* Payload that is watched for; then what comes from the gateway, though nothing is watched for any more. */
	world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	assert_true(failover_renews(&w.machine, w.now));
	world_run_until(&w, w.now + 100 * S);
	assert_false(failover_renews(&w.machine, w.now));
	world_step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now, .auth_ns = w.now });
	assert_true(failover_renews(&w.machine, w.now));

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_run_until(&w, w.now + 100 * S);
	assert_true(failover_renews(&w.machine, w.now));
}

static void late_timer_does_not_blame(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	for (int i = 0; i < 50; i++) {
		/* The daemon sleeps for a second, again and again; nobody looks at answers meanwhile. */
		w.now += S;
		world_step(&w, (struct failover_event){ .type = FAILOVER_TICK });
		world_run_until(&w, w.now + 10 * MS);
	}
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.machine.failovers, 0);
}

static void loss_makes_no_storm(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.loss = 20;
	world_run_until(&w, w.now + 60 * S);
	/* Without adapting it were some 40 in a minute: 13 % of checks fail, one check each 0.15 s. */
	assert_in_range(w.machine.failovers, 0, 12);
	assert_true(failover_tries(&w.machine) > 2);
	w.loss = 0;
	world_run_until(&w, w.now + 60 * S);
	assert_int_equal(failover_tries(&w.machine), 2); /* and it forgets */
}

/* A false alarm, and traffic from then on, which leaves no heartbeat to learn from: it is not slow for ever. */
static void false_alarm_is_forgotten(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.alive[0] = false;
	world_run_until(&w, w.now + S);
	assert_int_equal(w.steered, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = w.now });
	assert_int_equal(w.false_alarms, 1);
	assert_int_equal(failover_tries(&w.machine), 4);
	w.beats = 0;
	for (int i = 0; i < 100 * 20; i++) {
		world_step(&w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 1, .rx_ns = w.now, .auth_ns = w.now });
		world_run_until(&w, w.now + 50 * MS);
	}
	assert_int_equal(w.beats, 0);
	assert_int_equal(failover_tries(&w.machine), 2);
}

/* Somebody sends heartbeats in our name until the gateway's rate is used up. It lives, and says so through the session. */
static void flood_of_heartbeats_condemns_nobody(void **state)
{
	for (enum failover_heartbeat mode = FAILOVER_BEAT_DEFERRED; mode <= FAILOVER_BEAT_INSTANT; mode++) {
		struct world w;

		world_init(&w, mode, 1);
		memset(w.flooded, 1, sizeof(w.flooded));
		for (int i = 0; i < 600; i++) {
			world_run_until(&w, w.now + 100 * MS);
			world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
		}
		assert_true(w.beats > 100);
		assert_int_equal(w.machine.failovers, 0);
		assert_int_equal(w.requests, 2); /* the two sessions */
		/* And one that is dead is left as soon as ever, but for the misses that the flood has taught it to expect. */
		w.alive[0] = false;
		world_run_until(&w, w.now + (100 + 50 * (2 + 6) + 1) * MS);
		world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
		world_run_until(&w, w.now + (mode == FAILOVER_BEAT_DEFERRED ? 50 * (2 + 6) + 1 : 0) * MS);
		assert_int_equal(w.steered, 1);
	}
}

static unsigned int probes_of_a_check(unsigned int tries)
{
	struct failover_config config;
	struct world w;
	unsigned int probes;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	config = w.machine.config;
	config.tries = tries;
	w.machine.config = config;
	w.alive[1] = w.alive[2] = false;
	world_run_until(&w, w.now + 10 * S);
	probes = w.probes;
	w.alive[0] = false;
	world_run_until(&w, w.now + S);
	assert_int_equal(w.steered, FAILOVER_NOBODY);
	return w.probes - probes;
}

/* With the last heartbeat of a check, where it is not the first as well: heartbeats that are answered cost no probe. */
static void probes_only_in_need(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	w.probes = 0;
	world_run_until(&w, w.now + 60 * S);
	assert_int_equal(w.probes, 0);
	assert_int_equal(probes_of_a_check(1), 0);
	assert_int_equal(probes_of_a_check(2), 1);
	assert_int_equal(probes_of_a_check(4), 1);
}

static unsigned int requests_within(struct world *w, __u64 span, bool denied)
{
	unsigned int before = w->requests;
	__u64 end = w->now + span;

	while (w->now < end) {
		w->now += 10 * MS;
		world_step(w, (struct failover_event){ .type = FAILOVER_WANT });
		if (!w->request_done)
			continue;
		w->request_done = 0;
		world_step(w, (struct failover_event){ .type = FAILOVER_REJECTED, .denied = denied });
	}
	return w->requests - before;
}

/* Silent gateways are asked again soon, they may come back at any time; those that deny us are spared. */
static void denied_backs_off(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	memset(w.alive, 0, sizeof(w.alive));
	world_run_until(&w, w.now + S);
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
	world_run_until(&w, w.now + 3600 * S);
	before = w.requests;
	world_run_until(&w, w.now + 60 * S);
	assert_in_range(w.requests - before, 1, 6);
	memset(w.alive, 1, sizeof(w.alive));
	memset(w.keeps_session, 0, sizeof(w.keeps_session));
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 100 * MS);
	assert_int_not_equal(w.steered, FAILOVER_NOBODY);
}

static void asked_to_leave(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.leaves, 1);
	world_run_until(&w, w.now + 2 * S);
	assert_int_equal(w.steered, 1);
}

static void asked_to_leave_without_standby(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	assert_int_equal(w.steered, 0); /* it still forwards: nothing is lost while another is asked */
	world_run_until(&w, w.now + 30 * MS);
	assert_int_equal(w.steered, 1);
}

/* The switch of the protected networks is down, so every gateway lets us in and asks to be left. */
static void all_gates_are_closed(void **state)
{
	for (unsigned int standby = 0; standby < 2; standby++) {
		struct world w;
		unsigned int before;

		world_init(&w, FAILOVER_BEAT_INSTANT, standby);
		w.rtt = MS;
		before = w.requests;
		memset(w.closed, 1, sizeof(w.closed));
		for (int g = 0; g < GATEWAYS; g++)
			world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = g });
		world_run_until(&w, w.now + 10 * S);
		assert_in_range(w.requests - before, 1, 20);
		before = w.requests;
		world_run_until(&w, w.now + 300 * S);
		assert_in_range(w.requests - before, 20, 120);
		/* One opens again. */
		w.closed[1] = false;
		world_run_until(&w, w.now + 15 * S);
		assert_int_equal(w.steered, 1);
		world_run_until(&w, w.now + 60 * S);
		assert_int_equal(w.steered, 1);
		/* And is as good as any: when it dies, the others are asked at once. */
		memset(w.closed, 0, sizeof(w.closed));
		world_run_until(&w, w.now + 60 * S);
		w.alive[1] = false;
		world_run_until(&w, w.now + 250 * MS);
		assert_int_not_equal(w.steered, FAILOVER_NOBODY);
		assert_int_not_equal(w.steered, 1);
	}
}

/* The same where answers still come through the one that wants to be left: it is used on, and the others are asked with patience. */
static void gates_close_under_traffic(void **state)
{
	struct world w;
	unsigned int before;

	world_init(&w, FAILOVER_BEAT_NONE, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	memset(w.closed, 1, sizeof(w.closed));
	w.rtt = MS;
	before = w.requests;
	world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	world_run_until(&w, w.now + 10 * S);
	assert_in_range(w.requests - before, 1, 20);
	assert_int_not_equal(w.steered, FAILOVER_NOBODY);
}

/* TCP and heartbeats come through, ESP does not, and there is no other: new sessions do not help, so they are rare. */
static void lets_in_but_passes_nothing(void **state)
{
	struct world w;
	unsigned int before;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	w.alive[1] = w.alive[2] = false;
	world_dials(&w, 0); /* it must be probed */
	w.mute[0] = true;
	w.n_answers = 0;
	before = w.requests;
	world_run_until(&w, w.now + 3600 * S);
	assert_in_range(w.requests - before, 60, 400);
	assert_int_equal(w.steered, 0);
}

/* Where probes are never answered (clients that are dialled do not tell us), sessions long ago are no reason to wait. */
static void vain_sessions_are_forgotten(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_NONE, 0);
	memset(w.mute, 1, sizeof(w.mute));
	for (int round = 0; round < 20; round++) {
		world_run_until(&w, w.now + 300 * S);
		for (int again = 0; again < 2; again++) {
			world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = w.steered });
			world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
			world_run_until(&w, w.now + 150 * MS);
			assert_int_not_equal(w.steered, FAILOVER_NOBODY);
		}
	}
}

/* What keeps others standing by takes nothing from the haste with which one is looked for when all are gone. */
static void standbys_do_not_slow(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	for (int round = 0; round < 20; round++) {
		world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 1 });
		world_run_until(&w, w.now + 3 * S);
		world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 2 });
		world_run_until(&w, w.now + 3 * S);
	}
	assert_int_equal(w.steered, 0);
	w.alive[0] = false;
	for (int g = 1; g < GATEWAYS; g++)
		world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = g });
	world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
	world_run_until(&w, w.now + 30 * MS);
	assert_int_not_equal(w.steered, FAILOVER_NOBODY);
}

static void moved_by_the_user(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = FAILOVER_NOBODY });
	assert_int_equal(w.steered, 1);
	world_run_until(&w, w.now + 100 * MS);
	world_step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = 2 }); /* no session yet */
	assert_int_equal(w.steered, 1);
	world_run_until(&w, w.now + 100 * MS);
	assert_int_equal(w.steered, 2);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_STANDBY); /* kept */
}

/* Nobody has sent for long, or ever, so there is no session: a user's wish is reason enough for one. */
static void moved_without_a_session(void **state)
{
	for (enum failover_heartbeat mode = FAILOVER_BEAT_NONE; mode <= FAILOVER_BEAT_INSTANT; mode++)
		for (int to = FAILOVER_NOBODY; to < GATEWAYS; to++)
			for (int idle = 0; idle < 2; idle++) {
				struct world w;
				struct failover_config config;
				unsigned int before;

				world_init(&w, mode, 0);
				config = w.machine.config;
				if (idle) {
					world_run_until(&w, w.now + 300 * S);
					w.alive[0] = w.alive[1] = w.alive[2] = false;
					world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
					world_run_until(&w, w.now + 300 * S);
					w.alive[0] = w.alive[1] = w.alive[2] = true;
				} else {
					failover_init(&w.machine, &config);
				}
				w.steered = FAILOVER_NOBODY;
				before = w.requests;
				world_step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = to });
				assert_int_equal(w.requests, before + 1);
				assert_int_equal(w.request[0], to == FAILOVER_NOBODY ? 0 : to);
				assert_int_equal(w.n_request, GATEWAYS); /* any is better than none */
				world_run_until(&w, w.now + 100 * MS);
				assert_int_equal(w.steered, to == FAILOVER_NOBODY ? 0 : to);
			}
}

static void session_ends(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
	assert_int_equal(w.steered, 1);
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
			case 2: world_step(&w, (struct failover_event){ .type = FAILOVER_WANT }); break;
			case 3: world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = g }); break;
			case 4: world_step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = g }); break;
			case 5: world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = g }); break;
			case 6: w.loss = (unsigned int)(rand() % 50); break;
			case 7: world_step(&w, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = g }); break;
			case 8: world_dials(&w, g); break;
			}
			world_run_until(&w, w.now + (__u64)(rand() % 400) * MS);
			assert_in_range(w.steered + 1, 0, GATEWAYS);
			assert_int_equal(w.steered, w.machine.current);
			if (w.steered != FAILOVER_NOBODY)
				assert_true(w.machine.gateway[w.steered].session);
		}
		/* And when all is well again, and there is traffic, one is used. */
		w.loss = 0;
		memset(w.alive, 1, sizeof(w.alive));
		world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
		world_run_until(&w, w.now + 20 * S);
		if (seed % 3 == FAILOVER_BEAT_INSTANT) {
			assert_int_not_equal(w.steered, FAILOVER_NOBODY);
			assert_true(w.alive[w.steered] && w.keeps_session[w.steered]);
		}
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
		cmocka_unit_test(deferred_outage_is_that_of_the_traffic),
		cmocka_unit_test(planned_moves_are_no_outage),
		cmocka_unit_test(deferred_renews_what_is_used),
		cmocka_unit_test(late_timer_does_not_blame),
		cmocka_unit_test(loss_makes_no_storm),
		cmocka_unit_test(false_alarm_is_forgotten),
		cmocka_unit_test(flood_of_heartbeats_condemns_nobody),
		cmocka_unit_test(probes_only_in_need),
		cmocka_unit_test(denied_backs_off),
		cmocka_unit_test(traffic_ends_an_idle_back_off),
		cmocka_unit_test(asked_to_leave),
		cmocka_unit_test(asked_to_leave_without_standby),
		cmocka_unit_test(all_gates_are_closed),
		cmocka_unit_test(gates_close_under_traffic),
		cmocka_unit_test(lets_in_but_passes_nothing),
		cmocka_unit_test(vain_sessions_are_forgotten),
		cmocka_unit_test(standbys_do_not_slow),
		cmocka_unit_test(moved_by_the_user),
		cmocka_unit_test(moved_without_a_session),
		cmocka_unit_test(session_ends),
		cmocka_unit_test(random_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
