/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The failover state machine and gateways that start a session with us by themselves: once, or again and again. */
#include "selftests/unit/failover_world.h"

static void used_when_it_starts_a_session(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	assert_int_equal(w.steered, 0);
	world_dials(&w, 2);
	assert_int_equal(w.steered, 2);
	world_run_until(&w, w.now + S);
	assert_int_equal(w.machine.probes, 0); /* the way through the session was proven */
	world_dials(&w, 1);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.leaves, 2);
	world_run_until(&w, w.now + S);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.recovered.reason, FAILOVER_PEER);
	/* The same once more: it has forgotten us, and must hear that we use it. */
	world_dials(&w, 1);
	assert_int_equal(w.steered, 1);
	assert_int_equal(w.machine.probes, 1);
	assert_int_equal(w.switches, 3);
}

/* Back after one fault: at once. */
static void comes_back_by_itself(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 0);
	w.alive[0] = w.keeps_session[0] = false;
	world_run_until(&w, w.now + 3 * S);
	assert_int_equal(w.steered, 1);
	w.alive[0] = true;
	world_dials(&w, 0);
	assert_int_equal(w.steered, 0);
	assert_int_equal(w.false_alarms, 0); /* it was away indeed, though not for long */
	world_run_until(&w, w.now + 60 * S);
	assert_int_equal(w.steered, 0);
}

/* One that dies and returns every few seconds, each time with a session of its own making, draws its clients once. */
static void flapping_gateway_does_not_drag(void **state)
{
	struct world w;
	unsigned int moves = 0;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 0);
	for (int round = 0; round < 100; round++) {
		w.alive[0] = w.keeps_session[0] = false;
		world_run_until(&w, w.now + 3 * S);
		assert_int_not_equal(w.steered, 0);
		w.alive[0] = true;
		world_dials(&w, 0);
		moves += w.steered == 0;
		world_run_until(&w, w.now + 3 * S);
	}
	assert_int_equal(moves, 1);

	/* It stays: and when it next asks for us, after a while, it is used again. */
	world_run_until(&w, w.now + 31 * S);
	assert_int_not_equal(w.steered, 0);
	world_dials(&w, 0);
	assert_int_equal(w.steered, 0);
}

/* It goes on dying and returning while another is in use, and it is we who ask it for the session: no ground to trust it. */
static void flaps_behind_our_back(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 10 * S);
	for (int fault = 0; fault < 2; fault++) {
		assert_int_equal(w.steered, 0);
		w.alive[0] = w.keeps_session[0] = false;
		world_run_until(&w, w.now + 3 * S);
		assert_int_not_equal(w.steered, 0);
		w.alive[0] = true;
		world_dials(&w, 0);
		world_run_until(&w, w.now + 3 * S);
	}
	assert_int_not_equal(w.steered, 0);
	for (int round = 0; round < 10; round++) {
		world_run_until(&w, w.now + 20 * S);
		world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
		world_step(&w, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = 0, .answers_request = true });
	}
	world_run_until(&w, w.now + 20 * S);
	world_dials(&w, 0);
	assert_int_not_equal(w.steered, 0);
}

/* Each time that it disappoints us, it waits twice as long, five minutes at most. */
static void waits_longer_each_time(void **state)
{
	struct world w;
	__u64 before = 0;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 10 * S);
	for (int fault = 1; fault <= 12; fault++) {
		__u64 left, wait;

		assert_int_equal(w.steered, 0);
		w.alive[0] = w.keeps_session[0] = false;
		while (w.steered == 0)
			world_run_until(&w, w.now + 10 * MS);
		left = w.now;
		w.alive[0] = true;
		world_run_until(&w, w.now + 500 * MS);
		while (w.now < w.machine.gateway[0].damped_ns)
			world_run_until(&w, w.machine.gateway[0].damped_ns);
		wait = w.now - left;
		if (fault == 1)
			assert_true(wait <= S);
		else if (fault == 2)
			assert_in_range(wait / S, 29, 31);
		else
			assert_in_range(wait / S, (2 * before / S < 300 ? 2 * before / S : 300) - 3, 301);
		before = wait;
		world_dials(&w, 0);
	}
	/* A quiet minute beyond that, and it is as good as new. */
	world_run_until(&w, w.now + 400 * S);
	w.alive[0] = w.keeps_session[0] = false;
	world_run_until(&w, w.now + 3 * S);
	w.alive[0] = true;
	world_dials(&w, 0);
	assert_int_equal(w.steered, 0);
}

/* Where there is no other, one that flaps is better than none. */
static void flapping_gateway_is_used_alone(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 0);
	w.alive[1] = w.alive[2] = false;
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + S);
	for (int round = 0; round < 10; round++) {
		w.alive[0] = w.keeps_session[0] = false;
		world_run_until(&w, w.now + 3 * S);
		assert_int_equal(w.steered, FAILOVER_NOBODY);
		w.alive[0] = true;
		world_dials(&w, 0);
		assert_int_equal(w.steered, 0);
		world_run_until(&w, w.now + S);
	}
}

/* Nothing comes through its sessions, and yet it dials: that proves no more than that its key service is there. */
static void mute_one_does_not_drag(void **state)
{
	struct world w;

	world_init(&w, FAILOVER_BEAT_INSTANT, 1);
	world_step(&w, (struct failover_event){ .type = FAILOVER_WANT });
	world_run_until(&w, w.now + 10 * S);
	assert_int_equal(w.steered, 0);
	w.mute[2] = true;
	world_dials(&w, 2);
	assert_int_equal(w.steered, 2);
	world_run_until(&w, w.now + 3 * S);
	assert_int_not_equal(w.steered, 2);
	for (int round = 0; round < 90; round++) {
		world_dials(&w, 2);
		assert_int_not_equal(w.steered, 2);
		world_run_until(&w, w.now + 3 * S);
	}
	/* It leaves us alone for so long: it has a second chance. */
	w.mute[2] = false;
	world_run_until(&w, w.now + 301 * S);
	world_dials(&w, 2);
	assert_int_equal(w.steered, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(used_when_it_starts_a_session),
		cmocka_unit_test(comes_back_by_itself),
		cmocka_unit_test(flapping_gateway_does_not_drag),
		cmocka_unit_test(flaps_behind_our_back),
		cmocka_unit_test(waits_longer_each_time),
		cmocka_unit_test(flapping_gateway_is_used_alone),
		cmocka_unit_test(mute_one_does_not_drag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
