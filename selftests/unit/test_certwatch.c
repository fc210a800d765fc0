/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When it is warned that a certificate ends: each of the four times once, however the clock goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/certwatch.h"

#define END 1800000000ll
#define DAY 86400ll

static void warns_once_at_each_time(void **state)
{
	static const struct {
		__s64 before; /* seconds to the end */
		int told;
		int due;
	} cases[] = {
		{ 31 * DAY, CERTWATCH_NEVER, -1 },
		{ 30 * DAY + 1, CERTWATCH_NEVER, -1 },
		{ 30 * DAY, CERTWATCH_NEVER, 30 },
		{ 30 * DAY, 30, -1 },
		{ 8 * DAY, 30, -1 },
		{ 7 * DAY, 30, 7 },
		{ 7 * DAY, 7, -1 },
		{ 1 * DAY, 7, 1 },
		{ 1, 1, -1 },
		{ 0, 1, 0 },
		{ -5 * DAY, 0, -1 },
		{ -5 * DAY, CERTWATCH_NEVER, 0 }, /* at the start: only what is worst */
		{ 3 * DAY, CERTWATCH_NEVER, 7 },
		{ 20 * DAY, 1, -1 }, /* the clock was set back */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(certwatch_due(END, END - cases[i].before, cases[i].told), cases[i].due);
	assert_int_equal(certwatch_due(INT64_MIN, END, CERTWATCH_NEVER), 0); /* as a process in other hands may say */
	assert_int_equal(certwatch_due(CERTWATCH_NO_END, END, CERTWATCH_NEVER), -1);
}

struct warned {
	unsigned int times;
	int days;
};

static void on_warning(void *context, int days, __s64 left_s)
{
	struct warned *warned = context;

	warned->times++;
	warned->days = days;
	assert_true(left_s <= days * DAY);
}

static void tells_of_a_new_certificate_anew(void **state)
{
	struct event_base *base = event_base_new();
	struct certwatch *watch;
	struct warned warned = { 0 };
	__s64 now = (__s64)time(NULL);

	assert_int_equal(certwatch_new(base, on_warning, &warned, &watch), 0);
	certwatch_set(watch, now + 60 * DAY);
	assert_int_equal(warned.times, 0);
	certwatch_set(watch, now + 6 * DAY);
	certwatch_set(watch, now + 6 * DAY);
	assert_int_equal(warned.times, 1);
	assert_int_equal(warned.days, 7);
	certwatch_set(watch, now + 5 * DAY);
	assert_int_equal(warned.times, 2);
	certwatch_set(watch, CERTWATCH_NO_END); /* as of a list that is not used any more */
	assert_int_equal(warned.times, 2);
	certwatch_free(watch);
	certwatch_free(NULL);
	event_base_free(base);
}

/* Not at the next look, which may be an hour later. */
static void tells_when_it_ends(void **state)
{
	struct event_base *base = event_base_new();
	struct certwatch *watch;
	struct warned warned = { 0 };
	const struct timeval limit = { .tv_sec = 10 };
	__s64 end = (__s64)time(NULL) + 2;

	assert_int_equal(certwatch_new(base, on_warning, &warned, &watch), 0);
	certwatch_set(watch, end);
	assert_int_equal(warned.days, 1);
	event_base_loopexit(base, &limit);
	while (warned.times < 2 && !event_base_got_exit(base))
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(warned.times, 2);
	assert_int_equal(warned.days, 0);
	assert_true((__s64)time(NULL) >= end);
	certwatch_free(watch);
	event_base_free(base);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(warns_once_at_each_time),
		cmocka_unit_test(tells_of_a_new_certificate_anew),
		cmocka_unit_test(tells_when_it_ends),
	};

	return cmocka_run_group_tests_name("certwatch", tests, NULL, NULL);
}
