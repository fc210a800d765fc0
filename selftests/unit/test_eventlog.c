/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An event: its line in the log, with the priority that the journal is to show, and the object that a listener gets. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "loader/eventlog.h"

static json_t *heard;

static void listen(void *context, const json_t *event)
{
	json_decref(heard);
	heard = json_deep_copy(event);
}

/* What emitting one of the kind logs, read back from a pipe in the place of stderr. */
static const char *logged(struct eventlog *log, enum event_kind kind)
{
	static char line[256];
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t len;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(ends[1], STDERR_FILENO);
	eventlog_emit(log, kind, json_pack("{s:i}", "n", 7), "text of %d", (int)kind);
	dup2(saved, STDERR_FILENO);
	len = read(ends[0], line, sizeof(line) - 1);
	line[len > 0 ? len : 0] = '\0';
	close(ends[0]);
	close(ends[1]);
	close(saved);
	return line;
}

static void has_its_priority(void **state)
{
	static const struct {
		enum event_kind kind;
		const char *priority; /* sd-daemon(3); "": not shown */
	} cases[] = {
		{ EVENT_STARTED, "<6>" },      { EVENT_SESSION, "<6>" },	  { EVENT_FAILOVER, "<6>" },
		{ EVENT_REKEY, "" },	       { EVENT_HEARTBEAT_MISSED, "" },	  { EVENT_GATEWAY_FAILED, "<4>" },
		{ EVENT_REJECTED, "<4>" },     { EVENT_UPLINK_SUSPECTED, "<4>" }, { EVENT_KEY_SERVICE, "<4>" },
		{ EVENT_INADMISSIBLE, "<4>" }, { EVENT_CERTIFICATE, "<4>" },	  { EVENT_SHORTAGE, "<4>" },
		{ EVENT_SHORTAGE_OVER, "<6>" }, { EVENT_REPLACED, "<4>" },
	};
	struct eventlog *log;

	assert_int_equal(eventlog_new(&log), 0);
	eventlog_listen(log, listen, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *name = event_kind_name(cases[i].kind);
		char expected[256] = "";

		if (*cases[i].priority)
			snprintf(expected, sizeof(expected), "%stest: %s: text of %d\n", cases[i].priority, name, (int)cases[i].kind);
		assert_string_equal(logged(log, cases[i].kind), expected);
		assert_string_equal(json_string_value(json_object_get(heard, "event")), name);
		assert_int_equal(json_integer_value(json_object_get(heard, "n")), 7);
		assert_true(json_real_value(json_object_get(heard, "time")) > 1e9);
	}
	json_decref(heard);
	eventlog_free(log);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_its_priority),
	};

	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("test", LOG_LEVEL_INFO);
	return cmocka_run_group_tests_name("eventlog", tests, NULL, NULL);
}
