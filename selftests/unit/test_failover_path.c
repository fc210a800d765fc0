/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The failover state machine where heartbeats do not tell the truth about the
 * session, step by step: what the simulation (selftests/sim) has found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "loader/failover.h"

#define MS 1000000ull
#define S (1000 * MS)

struct scene {
	struct failover machine;
	struct failover_actions did; /* in the last step */
	__u64 now;
	unsigned int ticks;
};

static void step(struct scene *scene, struct failover_event event)
{
	failover_step(&scene->machine, &event, scene->now, &scene->did);
}

static unsigned int count(const struct scene *scene, enum failover_action_type type)
{
	unsigned int n = 0;

	for (size_t i = 0; i < scene->did.n; i++)
		n += scene->did.action[i].type == type;
	return n;
}

static bool asks(const struct scene *scene, int gateway)
{
	for (int i = 0; i < scene->did.n_request; i++)
		if (scene->did.request[i] == gateway)
			return true;
	return false;
}

/* To the next deadline; what the gateway in use does meanwhile is the caller's to say. */
static void tick(struct scene *scene)
{
	__u64 due = failover_deadline_ns(&scene->machine, scene->now);

	assert_true(due != ~0ull);
	assert_true(++scene->ticks < 10000); /* it does not spin */
	scene->now = due > scene->now ? due : scene->now;
	step(scene, (struct failover_event){ .type = FAILOVER_TICK });
}

static void session_up(struct scene *scene, int gateway)
{
	step(scene, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = gateway, .answers_request = true });
}

/* The heartbeats are answered, and nothing comes through the session. */
static void heartbeat_answered(struct scene *scene)
{
	scene->now += MS;
	step(scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = scene->machine.current,
					     .rx_ns = scene->now, .answer_ns = scene->now });
}

static void packet_comes(struct scene *scene)
{
	scene->now += MS;
	step(scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = scene->machine.current,
					     .rx_ns = scene->now, .auth_ns = scene->now });
}

/* Two gateways; the first is in use, and its probe was answered. */
static void begin(struct scene *scene, unsigned int tries, bool standby)
{
	struct failover_config config = { .heartbeat = FAILOVER_BEAT_INSTANT, .response_ns = 100 * MS, .defer_ns = 200 * MS,
					  .tries = tries, .standby = standby, .n_gateways = 2, .seed = 1 };

	memset(scene, 0, sizeof(*scene));
	scene->now = S;
	failover_init(&scene->machine, &config);
	step(scene, (struct failover_event){ .type = FAILOVER_WANT });
	session_up(scene, 0);
	assert_int_equal(scene->machine.current, 0);
	packet_comes(scene);
	step(scene, (struct failover_event){ .type = FAILOVER_ANSWERED, .gateway = 0 });
	assert_int_equal(scene->machine.probes, 0);
	if (standby)
		session_up(scene, 1);
}

/* A heartbeat is out when the session is renewed: the renewal was the sign of life, its answer is older than that. */
static void renewed_during_a_check(void **state)
{
	struct scene scene;

	begin(&scene, 1, true);
	while (!count(&scene, FAILOVER_DO_BEAT))
		tick(&scene);
	scene.now += 10 * MS;
	session_up(&scene, 0);
	for (int i = 0; i < 3; i++) {
		scene.now += 40 * MS;
		step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
		assert_int_equal(count(&scene, FAILOVER_SAY_FAILED), 0);
	}
	assert_int_equal(scene.machine.current, 0);
}

/*
 * The response time is over, and the caller tells gateway by gateway what the datapath has stamped: another one first,
 * which other clusters use as well. The answer of the one in use came long ago.
 */
static void not_blamed_before_its_stamp_is_read(void **state)
{
	struct scene scene;

	begin(&scene, 1, true);
	for (int round = 0; round < 20; round++) {
		__u64 answered;

		while (!count(&scene, FAILOVER_DO_BEAT))
			tick(&scene);
		answered = scene.now + 10 * MS;
		scene.now += 101 * MS;
		step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 1, .rx_ns = scene.now,
						      .auth_ns = scene.now });
		assert_int_equal(count(&scene, FAILOVER_SAY_MISSED), 0);
		step(&scene, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = 1 });
		assert_int_equal(count(&scene, FAILOVER_SAY_MISSED), 0);
		step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = answered,
						      .answer_ns = answered });
		step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
		assert_int_equal(count(&scene, FAILOVER_SAY_MISSED), 0);
	}
	assert_int_equal(scene.machine.current, 0);
	assert_int_equal(failover_tries(&scene.machine), 1);
}

/* Nor is it asked before that: packets of it may have come that nobody has told of yet. */
static void not_asked_before_its_stamp_is_read(void **state)
{
	struct scene scene;

	begin(&scene, 2, true);
	scene.now += 201 * MS;
	step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 1, .rx_ns = scene.now, .auth_ns = scene.now });
	assert_int_equal(count(&scene, FAILOVER_DO_BEAT), 0);
	step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = scene.now - MS,
					      .auth_ns = scene.now - MS });
	step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
	assert_int_equal(count(&scene, FAILOVER_DO_BEAT), 0);
}

/* Heartbeats in clear are answered; payload leaves by the session, and nothing comes back. Returns the probes sent. */
static unsigned int play_dead_session(struct scene *scene, __u64 end)
{
	unsigned int probes = 0;

	while (scene->now < end) {
		tick(scene);
		probes += count(scene, FAILOVER_DO_PROBE);
		if (scene->did.n_request || count(scene, FAILOVER_SAY_FAILED))
			break;
		if (count(scene, FAILOVER_DO_WATCH)) {
			step(scene, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
			probes += count(scene, FAILOVER_DO_PROBE);
		} else if (count(scene, FAILOVER_DO_BEAT)) {
			heartbeat_answered(scene);
		}
	}
	return probes;
}

static void dead_session_is_left(void **state)
{
	struct scene scene;

	begin(&scene, 2, true);
	assert_int_equal(play_dead_session(&scene, scene.now + 60 * S), 2 + 2 + 1); /* the last one to the other */
	assert_true(scene.now < 8 * S);
	assert_int_equal(scene.machine.current, 1);
	/* Its heartbeats' answers do not make it good again. */
	scene.now += 10 * MS;
	step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = scene.now,
					      .answer_ns = scene.now });
	assert_int_equal(failover_gateway_state(&scene.machine, 0), FAILOVER_FAILED);
}

/* Each new session is as dead as the one before, and comes before the probes have come to an end. */
static void dead_session_is_left_however_often_renewed(void **state)
{
	struct scene scene;
	__u64 from;

	begin(&scene, 2, true);
	session_up(&scene, 0);
	step(&scene, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = 0, .by_peer = true });
	assert_int_equal(count(&scene, FAILOVER_DO_PROBE), 1);
	from = scene.now;
	for (__u64 renewed = scene.now; scene.machine.current == 0;) {
		tick(&scene);
		assert_true(scene.now < from + 20 * S);
		if (scene.machine.current == 0 && count(&scene, FAILOVER_DO_BEAT))
			heartbeat_answered(&scene);
		if (scene.machine.current == 0 && scene.now > renewed + S) {
			session_up(&scene, 0);
			assert_int_equal(count(&scene, FAILOVER_DO_PROBE), 1); /* it has its chance */
			renewed = scene.now;
		}
	}
	assert_int_equal(scene.machine.current, 1);
}

static void dead_session_alone_is_replaced(void **state)
{
	struct scene scene;

	begin(&scene, 2, false);
	assert_int_equal(play_dead_session(&scene, scene.now + 60 * S), 8);
	assert_true(scene.now < 12 * S);
	assert_int_equal(scene.machine.current, 0); /* nothing better is there yet */
	assert_true(asks(&scene, 0) && asks(&scene, 1));
	session_up(&scene, 0);
	assert_int_equal(scene.machine.current, 0);
	assert_int_equal(count(&scene, FAILOVER_DO_PROBE), 1);
	assert_int_equal(scene.did.n_request, 0);
}

static void dead_session_gives_way_to_another(void **state)
{
	struct scene scene;

	begin(&scene, 2, false);
	play_dead_session(&scene, scene.now + 60 * S);
	session_up(&scene, 1);
	assert_int_equal(scene.machine.current, 1);
	assert_int_equal(failover_gateway_state(&scene.machine, 0), FAILOVER_FAILED);
}

/* The one in use is given up, falsely, and another takes over: at its next deadline it has been told of no answer. */
static void give_up_the_first(struct scene *scene)
{
	begin(scene, 2, true);
	while (scene->machine.current == 0)
		tick(scene);
	assert_int_equal(scene->machine.current, 1);
	assert_int_equal(count(scene, FAILOVER_DO_PROBE), 1);
}

/* Heartbeats prove that a machine answers, not that anything comes through the session: until that is sure, the old one stays. */
static void heartbeats_are_no_recovery(void **state)
{
	struct scene scene;
	unsigned int removed = 0;

	give_up_the_first(&scene);
	for (__u64 end = scene.now + 3 * S; scene.now < end;) {
		heartbeat_answered(&scene);
		assert_int_equal(count(&scene, FAILOVER_SAY_RECOVERED), 0);
		tick(&scene);
		assert_int_equal(count(&scene, FAILOVER_DO_REMOVE), 0);
	}
	packet_comes(&scene);
	assert_int_equal(count(&scene, FAILOVER_SAY_RECOVERED), 1);
	for (__u64 end = scene.now + 3 * S; scene.now < end;) {
		packet_comes(&scene);
		tick(&scene);
		removed += count(&scene, FAILOVER_DO_REMOVE);
	}
	assert_int_equal(removed, 1);
}

/* Nothing ever comes: new sessions with it do not help, so at last the one that was given up is asked, before it. */
static void given_up_one_is_asked_before_a_mute_one(void **state)
{
	struct scene scene;
	unsigned int rounds = 0;

	for (give_up_the_first(&scene); scene.machine.current == 1 && rounds < 3;) {
		tick(&scene);
		if (count(&scene, FAILOVER_DO_BEAT))
			heartbeat_answered(&scene);
		if (!scene.did.n_request)
			continue;
		assert_int_equal(count(&scene, FAILOVER_DO_REMOVE), 0);
		rounds++;
		session_up(&scene, scene.did.request[0]);
	}
	assert_int_equal(scene.machine.current, 0);
	assert_int_equal(rounds, 2); /* the mute one first: its session may just have been forgotten */
	assert_true(scene.now < 15 * S);
}

static __u64 outage(const struct scene *scene)
{
	for (size_t i = 0; i < scene->did.n; i++)
		if (scene->did.action[i].type == FAILOVER_SAY_RECOVERED)
			return scene->did.action[i].value;
	fail_msg("nothing has recovered");
	return 0;
}

/* Heartbeats were answered all the time, so they say nothing of since when it was an outage: packets of the session do. */
static void outage_of_a_dead_session(void **state)
{
	struct scene scene;
	__u64 last = 0;

	begin(&scene, 2, true);
	last = scene.now;
	play_dead_session(&scene, scene.now + 60 * S);
	packet_comes(&scene);
	assert_int_equal(outage(&scene), scene.now - last);
	/* An idle hour before is none. */
	begin(&scene, 2, true);
	while (scene.now < 1000 * S) {
		tick(&scene);
		if (count(&scene, FAILOVER_DO_BEAT))
			heartbeat_answered(&scene);
	}
	last = scene.now;
	step(&scene, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
	play_dead_session(&scene, scene.now + 60 * S);
	packet_comes(&scene);
	assert_int_equal(outage(&scene), scene.now - last);
}

/* An idle client sends nothing for it. */
static void idle_session_is_not_probed(void **state)
{
	struct scene scene;
	unsigned int probes = 0;

	begin(&scene, 2, true);
	while (scene.now < 60 * S) {
		tick(&scene);
		probes += count(&scene, FAILOVER_DO_PROBE);
		if (count(&scene, FAILOVER_DO_BEAT))
			heartbeat_answered(&scene);
	}
	assert_int_equal(probes, 0);
	assert_int_equal(scene.machine.current, 0);
}

/* The gateway does not hear us, but what it sends by itself comes: each packet ends a check that was not answered. */
static void heard_but_not_hearing(void **state)
{
	struct scene scene;
	__u64 begun;

	begin(&scene, 2, true);
	for (begun = scene.now; scene.machine.current == 0 && scene.now < begun + 60 * S;) {
		tick(&scene);
		if (count(&scene, FAILOVER_DO_BEAT))
			packet_comes(&scene);
	}
	assert_int_equal(scene.machine.current, 1);
	assert_true(scene.now < begun + 10 * S);
	/* More of the same does not make it good again. */
	scene.now += 10 * MS;
	step(&scene, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = 0, .rx_ns = scene.now, .auth_ns = scene.now });
	assert_int_equal(failover_gateway_state(&scene.machine, 0), FAILOVER_FAILED);
}

/* Its heartbeats are lost, the session stands: an answer to the probe is proof enough. */
static void answer_ends_the_doubt(void **state)
{
	struct scene scene;
	unsigned int probes = 0;

	begin(&scene, 2, true);
	while (scene.now < 60 * S) {
		tick(&scene);
		if (count(&scene, FAILOVER_DO_BEAT))
			packet_comes(&scene);
		if (count(&scene, FAILOVER_DO_PROBE)) {
			probes++;
			step(&scene, (struct failover_event){ .type = FAILOVER_ANSWERED, .gateway = 0 });
		}
	}
	assert_int_equal(scene.machine.current, 0);
	assert_in_range(probes, 1, 60 * 5 / 8 + 1); /* one for eight heartbeats, of which there are five a second at most */
}

/*
 * The targets send by themselves, all the time, and payload leaves: until the end, or until it is left. Its daemon answers
 * probes from `answers_from` on. With `renewed` there is a new session that often. Returns the probes.
 */
static unsigned int play_one_way(struct scene *scene, __u64 end, __u64 answers_from, __u64 renewed)
{
	unsigned int probes = 0;
	__u64 next = scene->now + renewed;

	while (scene->now < end && scene->machine.current == 0) {
		unsigned int asked = 0;

		scene->now += 20 * MS;
		packet_comes(scene);
		step(scene, (struct failover_event){ .type = FAILOVER_TICK });
		asked += count(scene, FAILOVER_DO_PROBE);
		if (count(scene, FAILOVER_DO_WATCH)) {
			step(scene, (struct failover_event){ .type = FAILOVER_PAYLOAD, .gateway = 0 });
			asked += count(scene, FAILOVER_DO_PROBE);
		}
		probes += asked;
		if (asked && scene->machine.current == 0 && scene->now >= answers_from)
			step(scene, (struct failover_event){ .type = FAILOVER_ANSWERED, .gateway = 0 });
		if (renewed && scene->machine.current == 0 && scene->now >= next) {
			session_up(scene, 0);
			next = scene->now + renewed;
		}
	}
	return probes;
}

/* What we send is lost, and only that: heartbeats are answered, and the targets send by themselves. */
static void nothing_of_ours_arrives(void **state)
{
	static const __u64 renewed[] = { 0, 10 * S, 3 * S, S };

	for (size_t i = 0; i < sizeof(renewed) / sizeof(*renewed); i++) {
		struct scene scene;
		__u64 begun;

		begin(&scene, 2, true);
		begun = scene.now;
		play_one_way(&scene, begun + 120 * S, ~0ull, renewed[i]);
		assert_int_equal(scene.machine.current, 1);
		assert_true(scene.now < begun + 60 * S);
		assert_int_equal(failover_gateway_state(&scene.machine, 0), FAILOVER_FAILED);
	}
}

/* The daemon of the gateway stands still for ten seconds: its datapath forwards. */
static void its_daemon_stands_still(void **state)
{
	for (__u64 at = 0; at < 30; at++) {
		struct scene scene;

		begin(&scene, 2, true);
		play_one_way(&scene, scene.now + at * S, 0, 0);
		play_one_way(&scene, scene.now + 30 * S, scene.now + 10 * S, 0);
		assert_int_equal(scene.machine.current, 0);
		assert_int_equal(scene.machine.probes, 0);
	}
}

static void proven_by_routine(void **state)
{
	struct scene scene;

	begin(&scene, 2, true);
	assert_in_range(play_one_way(&scene, scene.now + 600 * S, 0, 0), 28, 30);
	assert_int_equal(scene.machine.current, 0);
}

/* The one that failed is asked for a new session: it keeps the old one until the answer is there. */
static void not_removed_while_it_is_asked(void **state)
{
	struct scene scene;

	begin(&scene, 2, true);
	step(&scene, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 0 });
	assert_int_equal(scene.machine.current, 1);
	while (!scene.did.n_request)
		tick(&scene);
	assert_true(asks(&scene, 0));
	/* As if its session of before had failed, and its time had come. */
	scene.machine.gateway[0].session = scene.machine.gateway[0].failed = true;
	scene.machine.gateway[0].remove_ns = scene.now + MS;
	scene.now += S;
	step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
	assert_int_equal(count(&scene, FAILOVER_DO_REMOVE), 0);
	step(&scene, (struct failover_event){ .type = FAILOVER_REJECTED });
	step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
	assert_int_equal(count(&scene, FAILOVER_DO_REMOVE), 1);
}

/* It asked to be left and fell silent, nobody is in use: when its time is over, it is tried again. */
static void left_one_is_used_again(void **state)
{
	struct scene scene;

	begin(&scene, 2, false);
	step(&scene, (struct failover_event){ .type = FAILOVER_LEAVE_ME, .gateway = 0 });
	scene.machine.gateway[1].session = true;
	step(&scene, (struct failover_event){ .type = FAILOVER_MOVE, .gateway = 1 });
	step(&scene, (struct failover_event){ .type = FAILOVER_SESSION_DOWN, .gateway = 1 });
	assert_int_equal(scene.machine.current, FAILOVER_NOBODY);
	scene.now += 16 * S;
	step(&scene, (struct failover_event){ .type = FAILOVER_TICK });
	assert_int_equal(scene.machine.current, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renewed_during_a_check),
		cmocka_unit_test(not_blamed_before_its_stamp_is_read),
		cmocka_unit_test(not_asked_before_its_stamp_is_read),
		cmocka_unit_test(dead_session_is_left),
		cmocka_unit_test(dead_session_is_left_however_often_renewed),
		cmocka_unit_test(dead_session_alone_is_replaced),
		cmocka_unit_test(dead_session_gives_way_to_another),
		cmocka_unit_test(heartbeats_are_no_recovery),
		cmocka_unit_test(given_up_one_is_asked_before_a_mute_one),
		cmocka_unit_test(outage_of_a_dead_session),
		cmocka_unit_test(idle_session_is_not_probed),
		cmocka_unit_test(heard_but_not_hearing),
		cmocka_unit_test(answer_ends_the_doubt),
		cmocka_unit_test(nothing_of_ours_arrives),
		cmocka_unit_test(its_daemon_stands_still),
		cmocka_unit_test(proven_by_routine),
		cmocka_unit_test(not_removed_while_it_is_asked),
		cmocka_unit_test(left_one_is_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
