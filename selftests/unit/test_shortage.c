/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What counts as a shortage, and that it is said once, not at each try. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "loader/shortage.h"

static unsigned int told;
static char last[32];

static void listener(void *context, const json_t *event)
{
	told++;
	strncpy(last, json_string_value(json_object_get(event, "of")), sizeof(last) - 1);
}

static void kinds_of_errors(void **state)
{
	assert_int_equal(shortage_of(-ENOMEM, false), SHORTAGE_MEMORY);
	assert_int_equal(shortage_of(-EMFILE, false), SHORTAGE_DESCRIPTORS);
	assert_int_equal(shortage_of(-ENFILE, true), SHORTAGE_DESCRIPTORS);
	assert_int_equal(shortage_of(-E2BIG, true), SHORTAGE_MAP);
	assert_int_equal(shortage_of(-E2BIG, false), SHORTAGE_KINDS);
	assert_int_equal(shortage_of(-ENOSPC, true), SHORTAGE_MAP);
	assert_int_equal(shortage_of(-ENOSPC, false), SHORTAGE_SPACE);
	assert_int_equal(shortage_of(-ENOBUFS, false), SHORTAGE_NOTICES);
	assert_int_equal(shortage_of(-EINVAL, true), SHORTAGE_KINDS);
	assert_int_equal(shortage_of(0, true), SHORTAGE_KINDS);
}

static void said_once(void **state)
{
	struct event_base *base = event_base_new();
	struct eventlog *log;

	assert_non_null(base);
	assert_int_equal(eventlog_new(&log), 0);
	eventlog_listen(log, listener, NULL);
	assert_true(shortage_met(-EMFILE, false, "before anybody listens"));
	assert_int_equal(told, 0);
	assert_int_equal(shortage_begin(base, log), 0);
	assert_false(shortage_is_on(SHORTAGE_DESCRIPTORS));
	assert_false(shortage_met(-EINVAL, false, "a test"));
	for (int i = 0; i < 1000; i++)
		assert_true(shortage_met(-EMFILE, false, "a test"));
	assert_int_equal(told, 1);
	assert_string_equal(last, "descriptors");
	assert_true(shortage_is_on(SHORTAGE_DESCRIPTORS));
	assert_false(shortage_is_on(SHORTAGE_MEMORY));
	assert_true(shortage_met(-E2BIG, true, "a test"));
	assert_int_equal(told, 2);
	assert_string_equal(last, "map-entries");
	shortage_end();
	assert_false(shortage_is_on(SHORTAGE_MAP));
	eventlog_free(log);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_of_errors),
		cmocka_unit_test(said_once),
	};

	return cmocka_run_group_tests_name("shortage", tests, NULL, NULL);
}
