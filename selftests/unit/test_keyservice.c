/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Workers of the key management service: who serves whom, what the death of one costs, where they listen. */
#include "selftests/unit/keyservice_scene.h"

static void chooses_a_worker_by_the_source(void **state)
{
	struct hf_addr a = node_addr("2001:db8:1:2::1"), b = node_addr("2001:db8:1:2:ffff::"), c;
	unsigned int count[WORKERS] = { 0 };
	char text[40];

	assert_int_equal(keylisten_worker_of(&a, WORKERS), keylisten_worker_of(&b, WORKERS));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "10.1.%u.%u", i / 200, i % 200);
		c = node_addr(text);
		count[keylisten_worker_of(&c, WORKERS)]++;
		assert_int_equal(keylisten_worker_of(&c, 1), 0);
	}
	for (size_t i = 0; i < WORKERS; i++)
		assert_in_range(count[i], 60, 140);
}

/* The kernel chooses the worker that we say: seen by stopping all the others. */
static void shares_the_port(void **state)
{
	struct scene scene = scene_make(WORKERS);

	for (size_t worker = 0; worker < WORKERS; worker++) {
		const char *source = source_of(worker, 0);

		for (size_t other = 0; other < WORKERS; other++)
			if (other != worker)
				kill(keyservice_pid(scene.service, other), SIGSTOP);
		make_session(source, NULL);
		for (size_t other = 0; other < WORKERS; other++)
			kill(keyservice_pid(scene.service, other), SIGCONT);
	}
	assert_int_equal(told.installed, WORKERS);
	assert_int_equal(told.deaths, 0);
	scene_end(&scene);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || (errno != EAGAIN && errno != EINTR);
}

/* In the worker when its first byte was read: so a byte that is no TLS is sent, but not enough to be refused. */
static void begin_handshake(int fd)
{
	until(send(fd, "\x16", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1);
}

static void a_crash_costs_its_own_handshakes(void **state)
{
	struct scene scene = scene_make(WORKERS);
	int fds[WORKERS];
	pid_t pids[WORKERS];

	for (size_t i = 0; i < WORKERS; i++) {
		pids[i] = keyservice_pid(scene.service, i);
		fds[i] = connect_from(source_of(i, 0));
		begin_handshake(fds[i]);
	}
	/* Whoever has made a session has accepted all that came before. */
	for (size_t i = 0; i < WORKERS; i++) {
		make_session(source_of(i, 1), NULL);
	}
	kill_worker(&scene, 1);
	until(is_closed(fds[1]));
	assert_false(is_closed(fds[0]));
	assert_false(is_closed(fds[2]));
	assert_int_equal(keyservice_pid(scene.service, 0), pids[0]);
	assert_int_equal(keyservice_pid(scene.service, 2), pids[2]);
	/* It is started again, and serves. */
	until(keyservice_pid(scene.service, 1) > 0 && told.ready == 2);
	make_session(source_of(2, 1), NULL);
	make_session(source_of(1, 2), NULL);
	for (size_t i = 0; i < WORKERS; i++)
		close(fds[i]);
	scene_end(&scene);
}

static void backs_off_in_a_crash_loop(void **state)
{
	struct scene scene = scene_make(WORKERS);
	unsigned int expected = 100;
	__u64 begun;

	for (unsigned int times = 1; times <= 5; times++) {
		begun = now_ms(); /* the timer counts from when its turn of the loop began, which is soon after this */
		kill_worker(&scene, 2);
		assert_int_equal(told.death.times, times);
		assert_int_equal(told.death.again_ms, expected);
		if (times == 5)
			break;
		until(keyservice_pid(scene.service, 2) > 0);
		assert_true(now_ms() - begun + 20 >= expected);
		expected *= 2;
	}
	/* Meanwhile another stands in for it. */
	make_session(source_of(2, 0), NULL);
	if (now_ms() - begun < 1600)
		assert_int_equal(keyservice_pid(scene.service, 2), 0);
	scene_end(&scene);
}

/* An address behind a link that swallows everything, and that belongs to this worker. */
static struct hf_addr silent_address(size_t worker)
{
	struct hf_addr addr;
	unsigned int i = 0;
	char text[32];

	do {
		snprintf(text, sizeof(text), "10.77.1.%u", ++i);
		addr = node_addr(text);
	} while (keylisten_worker_of(&addr, WORKERS) != worker);
	return addr;
}

static void rejects_what_the_dead_had(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct hf_addr gateways[2];
	__u64 ids[2];

	space_make_link("hole", "10.77.0.1/16");
	for (size_t i = 0; i < 2; i++) {
		gateways[i] = silent_address(i);
		assert_int_equal(keyservice_request(scene.service, &gateways[i], 1, &ids[i]), 0);
	}
	assert_int_not_equal(ids[0], ids[1]);
	kill_worker(&scene, 0);
	until(told.rejected);
	assert_int_equal(told.rejected, 1);
	assert_int_equal(told.last_rejected, ids[0]);
	assert_int_equal(told.last_error, ECONNABORTED);
	/* The other one is under way still: it can be cancelled, and then nothing comes of it. */
	keyservice_cancel(scene.service, ids[1]);
	kill_worker(&scene, 1);
	assert_int_equal(told.rejected, 1);
	scene_end(&scene);
}

static void does_not_share_with_others(void **state)
{
	static const struct keyservice_place lo = { "lo", 1, PORT };
	struct policy *policy = make_policy("gateway", WORKERS);
	struct keyservice_config config = { .program = node_program(), .policy = policy, .policy_folder = pki,
					    .listen = &lo, .n_listen = 1 };
	struct keyservice *service;
	char error[512] = "";
	int one = 1, fd;

	if (geteuid())
		skip();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(PORT) },
			      sizeof(struct sockaddr_in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	base = event_base_new();
	assert_int_equal(keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &service), -EADDRINUSE);
	assert_non_null(strstr(error, "cannot listen on lo, TCP port 7546"));
	close(fd);
	event_base_free(base);
	policy_free(policy);
}

/* Whether somebody listens at that port of lo. */
static bool is_listened_on(__u16 port)
{
	struct hf_addr addr = node_addr(GATEWAY);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, port, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool listened = !connect(fd, (struct sockaddr *)&sa, len);

	close(fd);
	return listened;
}

/* Other places, one after the other: what stays stays open, what is gone is closed, and a failure changes nothing. */
static void listens_where_it_is_told(void **state)
{
	struct keyservice_place places[] = { { "lo", 1, PORT }, { "lo", 1, PORT + 1 }, { "nowhere", 99, PORT } };
	struct scene scene = scene_make(WORKERS);
	char error[256] = "";

	assert_int_equal(keyservice_listen(scene.service, places, 2, error, sizeof(error)), 0);
	assert_true(is_listened_on(PORT) && is_listened_on(PORT + 1));
	assert_int_equal(keyservice_listen(scene.service, &places[1], 2, error, sizeof(error)), -ENODEV);
	assert_non_null(strstr(error, "cannot listen on nowhere"));
	assert_true(is_listened_on(PORT) && is_listened_on(PORT + 1));
	make_session(source_of(0, 0), NULL);
	assert_int_equal(keyservice_listen(scene.service, &places[1], 1, error, sizeof(error)), 0);
	assert_true(is_listened_on(PORT + 1));
	/* The workers have their descriptors of it until they are told. */
	until(!is_listened_on(PORT));
	/* An interface of the same name that is another one: its sockets are made anew. */
	places[0].index = 2;
	assert_int_equal(keyservice_listen(scene.service, places, 1, error, sizeof(error)), 0);
	until(!is_listened_on(PORT + 1));
	make_session(source_of(1, 0), NULL);
	assert_int_equal(keyservice_listen(scene.service, NULL, 0, error, sizeof(error)), 0);
	until(!is_listened_on(PORT));
	scene_end(&scene);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses_a_worker_by_the_source),
		cmocka_unit_test(shares_the_port),
		cmocka_unit_test(a_crash_costs_its_own_handshakes),
		cmocka_unit_test(backs_off_in_a_crash_loop),
		cmocka_unit_test(rejects_what_the_dead_had),
		cmocka_unit_test(does_not_share_with_others),
		cmocka_unit_test(listens_where_it_is_told),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("keyservice", tests, set_up, tear_down);
}
