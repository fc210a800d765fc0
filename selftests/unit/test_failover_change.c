/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The failover state machine when the daemon is a new one, or the policy another. */
#include "selftests/unit/failover_world.h"

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
	world_step(&w, (struct failover_event){ .type = FAILOVER_ADOPTED, .gateway = 2, .rx_ns = w.now - S });
	world_step(&w, (struct failover_event){ .type = FAILOVER_ADOPTED, .gateway = 1, .in_use = true,
					       .rx_ns = w.now - 20 * S });
	world_step(&w, (struct failover_event){ .type = FAILOVER_START });
	world_run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.machine.current, 1);
	assert_int_equal(w.switches, 0);
	assert_int_equal(w.machine.failovers, 0);
	assert_int_equal(w.requests, 0); /* one stands by already */
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_ACTIVE);
	assert_int_equal(failover_gateway_state(&w.machine, 2), FAILOVER_STANDBY);

	w.alive[1] = w.keeps_session[1] = false;
	world_run_until(&w, w.now + 5 * S);
	assert_int_equal(w.steered, 2);
	assert_int_equal(w.switches, 1);
	assert_int_equal(w.machine.failovers, 1);
}

/* A new daemon, a hundred seconds later, that has adopted nothing yet. */
static void restart(struct world *w, enum failover_heartbeat mode)
{
	struct failover_config config;

	world_init(w, mode, 1);
	config = w->machine.config;
	failover_init(&w->machine, &config);
	w->now += 100 * S;
	w->n_answers = 0;
	w->requests = w->switches = 0;
	w->steered = FAILOVER_NOBODY;
	memset(w->keeps_session, 0, sizeof(w->keeps_session));
}

static void adopt(struct world *w, int g, bool in_use, __u64 rx_ns)
{
	w->keeps_session[g] = true;
	if (in_use)
		w->steered = g;
	world_step(w, (struct failover_event){ .type = FAILOVER_ADOPTED, .gateway = g, .in_use = in_use, .rx_ns = rx_ns,
					      .auth_ns = rx_ns });
}

/* It is probed through its session until something comes through that: it may have forgotten us, and yet answer heartbeats. */
static void adopted_is_proven(void **state)
{
	struct world w;

	restart(&w, FAILOVER_BEAT_INSTANT);
	w.mute[1] = true;
	adopt(&w, 0, false, w.now - S);
	adopt(&w, 1, true, w.now - S);
	world_step(&w, (struct failover_event){ .type = FAILOVER_START });
	world_run_until(&w, w.now + 200 * MS);
	assert_int_equal(w.steered, 1);
	assert_true(w.machine.probes > 1);
	world_run_until(&w, w.now + 4 * S);
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.recovered.reason, FAILOVER_PATH);
}

/* Nobody was steered to: all had been silent, or the one in use is not among the adopted ones. */
static void adopted_is_used_though_nobody_was(void **state)
{
	for (enum failover_heartbeat mode = FAILOVER_BEAT_NONE; mode <= FAILOVER_BEAT_INSTANT; mode++) {
		struct world w;

		restart(&w, mode);
		adopt(&w, 1, false, w.now - 20 * S);
		adopt(&w, 2, false, w.now - 20 * S);
		world_step(&w, (struct failover_event){ .type = FAILOVER_WANT }); /* the key service is not there yet */
		world_step(&w, (struct failover_event){ .type = FAILOVER_START });
		assert_int_equal(w.steered, 1);
		world_run_until(&w, w.now + 10 * S);
		assert_int_equal(w.steered, 1);
		assert_int_equal(w.machine.failovers, 0);
		/* Once more, as after a reload: nothing moves. */
		world_step(&w, (struct failover_event){ .type = FAILOVER_START });
		assert_int_equal(w.switches, 1);
	}
}

/* They are silent still: whoever lives is found, and those that do not are given up in turn. */
static void adopted_but_silent(void **state)
{
	struct world w;

	restart(&w, FAILOVER_BEAT_INSTANT);
	memset(w.alive, 0, sizeof(w.alive));
	adopt(&w, 0, false, w.now - 20 * S);
	adopt(&w, 1, false, w.now - 20 * S);
	world_step(&w, (struct failover_event){ .type = FAILOVER_START });
	world_run_until(&w, w.now + 3 * S);
	assert_int_equal(w.steered, FAILOVER_NOBODY);
	assert_int_equal(w.uplink, 1);
	w.alive[1] = true;
	world_run_until(&w, w.now + S);
	assert_int_equal(w.steered, 1);
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
	world_step(w, (struct failover_event){ .type = FAILOVER_CHANGED, .change = &change });
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
	world_run_until(&w, w.now + 3 * S);
	assert_int_equal(w.switches, switches);
	assert_int_equal(w.held, 0);
	assert_int_equal(w.machine.failovers, 0);
	/* It is the gateway in use, by its new index and the new times, that is watched. */
	w.beats_to[1] = w.beats_to[2] = 0;
	world_run_until(&w, w.now + 3 * S);
	assert_in_range(w.beats_to[1], 9, 11);
	assert_int_equal(w.beats_to[2], 0);
	config.heartbeat = FAILOVER_BEAT_NONE;
	change_policy(&w, config, (const int[]){ 0, 1, 2 }, 3);
	w.beats = 0;
	world_run_until(&w, w.now + 3 * S);
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
	world_run_until(&w, w.now + S);
	assert_int_equal(w.steered, 0);
	assert_int_equal(failover_gateway_state(&w.machine, 1), FAILOVER_STANDBY);
}

static void one_in_use_is_gone_and_was_alone(void **state)
{
	struct world w;
	unsigned int requests;

	world_init(&w, FAILOVER_BEAT_NONE, 0);
	world_run_until(&w, w.now + 100 * S); /* long after the machine heard of traffic: what flows finds its gateway */
	requests = w.requests;
	change_policy(&w, w.machine.config, (const int[]){ 1, 2 }, 2);
	assert_int_equal(w.machine.current, FAILOVER_NOBODY);
	assert_int_equal(w.requests, requests + 1); /* at once */
	assert_int_equal(w.held, 0);		    /* nobody said that traffic should stop */
	world_run_until(&w, w.now + S);
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
			world_step(&w, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = (int)(round % GATEWAYS) });
		if (round % 7 == 0)
			world_step(&w, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = (int)(round % 2) });
		world_run_until(&w, w.now + round * MS % S);
		for (int g = 0; g < n; g++)
			from[g] = (int)((round / 3 + (unsigned int)g) % (GATEWAYS + 1)) - 1;
		w.n_answers = 0;
		change_policy(&w, w.machine.config, from, n);
		assert_in_range(w.machine.current + 1, 0, n);
		for (int g = 0; g < n; g++)
			w.alive[g] = true;
		world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
		world_run_until(&w, w.now + 30 * S);
		assert_in_range(w.machine.current, 0, n - 1);
		assert_int_equal(w.steered, w.machine.current);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adopted_goes_on),
		cmocka_unit_test(adopted_is_proven),
		cmocka_unit_test(adopted_is_used_though_nobody_was),
		cmocka_unit_test(adopted_but_silent),
		cmocka_unit_test(keeps_what_stays),
		cmocka_unit_test(one_in_use_is_gone_another_is_there),
		cmocka_unit_test(one_in_use_is_gone_and_was_alone),
		cmocka_unit_test(changes_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
