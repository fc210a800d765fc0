/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loader/client_closed: the addresses of clients that are gone lead nowhere for a minute, or until somebody has them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "loader/client_internal.h"

static __u64 passed_s; /* of time, beside what really passes */
static struct {
	unsigned int closed, opened, deleted;
	char last[64]; /* what was opened last */
	int error;     /* what closing comes to */
} done;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_datapath_close_tunnel(struct datapath *dp, const struct hf_prefix *prefix);
int __wrap_datapath_open_tunnel(struct datapath *dp, const struct hf_prefix *prefix);
int __wrap_datapath_del_tunnel(struct datapath *dp, const struct hf_prefix *prefix);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int err = __real_clock_gettime(id, ts);

	ts->tv_sec += (time_t)passed_s;
	return err;
}

int __wrap_datapath_close_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	done.closed += !done.error;
	return done.error;
}

int __wrap_datapath_open_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	done.opened++;
	snprintf(done.last, sizeof(done.last), "%s", prefix_text(prefix).s);
	return 0;
}

int __wrap_datapath_del_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	done.deleted++;
	return 0;
}

static struct hf_prefix prefix(const char *text, unsigned int len_v4)
{
	struct hf_prefix ret = { .len = (__u8)(96 + len_v4) };

	assert_int_equal(addr_parse(text, strlen(text), &ret.addr), 0);
	return ret;
}

static struct node node;

static struct clients *world_open(void)
{
	struct clients_config config = { .base = event_base_new(), .node = &node };
	struct clients *clients;

	memset(&done, 0, sizeof(done));
	passed_s = 0;
	assert_int_equal(clients_new(&config, &clients), 0);
	return clients;
}

static void world_close(struct clients *clients)
{
	struct event_base *base = clients->config.base;

	clients_free(clients);
	event_base_free(base);
}

static void close_one(struct clients *clients, const char *text, unsigned int len_v4)
{
	struct hf_prefix one = prefix(text, len_v4);

	clients_close_prefix(clients, &one);
}

static void open_one(struct clients *clients, const char *text, unsigned int len_v4)
{
	struct hf_prefix one = prefix(text, len_v4);

	clients_open_prefix(clients, &one);
}

static void timer(struct clients *clients)
{
	event_active(clients->closed_timer, EV_TIMEOUT, 0);
	event_base_loop(clients->config.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void test_a_minute(void **state)
{
	struct clients *clients = world_open();

	close_one(clients, "10.0.0.1", 32);
	passed_s = 30;
	close_one(clients, "10.0.0.2", 32);
	assert_int_equal(done.closed, 2);
	passed_s = 58;
	timer(clients);
	assert_int_equal(done.opened, 0);
	passed_s = 61;
	timer(clients);
	assert_int_equal(done.opened, 1);
	assert_string_equal(done.last, "10.0.0.1");
	passed_s = 91;
	timer(clients);
	assert_int_equal(done.opened, 2);
	assert_int_equal(clients->n_closed, 0);
	world_close(clients);
}

/* Whoever has an address of it, wider or narrower, opens it; its neighbours stay closed. */
static void test_somebody_has_it(void **state)
{
	struct clients *clients = world_open();

	close_one(clients, "10.0.0.1", 32);
	close_one(clients, "10.1.0.0", 24);
	close_one(clients, "10.2.0.1", 32);
	open_one(clients, "10.0.1.0", 24);
	assert_int_equal(done.opened, 0);
	open_one(clients, "10.0.0.0", 24);
	assert_int_equal(done.opened, 1);
	open_one(clients, "10.1.0.9", 32);
	assert_int_equal(done.opened, 2);
	assert_string_equal(done.last, "10.1.0.0/24");
	assert_int_equal(clients->n_closed, 1);
	world_close(clients);
}

/* Closed again: the minute begins anew, and the time of before opens nothing that is closed. */
static void test_again(void **state)
{
	struct clients *clients = world_open();

	close_one(clients, "10.0.0.1", 32);
	passed_s = 40;
	close_one(clients, "10.0.0.1", 32);
	passed_s = 70;
	timer(clients);
	assert_int_equal(done.opened, 0);
	passed_s = 101;
	timer(clients);
	assert_int_equal(done.opened, 1);
	world_close(clients);
}

static void test_bound(void **state)
{
	struct clients *clients = world_open();

	for (unsigned int i = 0; i <= 4096; i++) {
		struct hf_prefix one = prefix("10.0.0.0", 32);

		one.addr.b[14] = (__u8)(i >> 8);
		one.addr.b[15] = (__u8)i;
		clients_close_prefix(clients, &one);
	}
	assert_int_equal(done.opened, 1);
	assert_string_equal(done.last, "10.0.0.0");
	assert_int_equal(clients->n_closed, 4096);
	world_close(clients);
}

/* What cannot be closed leads nowhere in particular, as what is gone. */
static void test_no_room(void **state)
{
	struct clients *clients = world_open();

	done.error = -ENOSPC;
	close_one(clients, "10.0.0.1", 32);
	assert_int_equal(done.deleted, 1);
	assert_int_equal(clients->n_closed, 0);
	world_close(clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_minute),
		cmocka_unit_test(test_somebody_has_it),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests_name("client_closed", tests, NULL, NULL);
}
