/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket and visitors who do not read: what they may cost, and that they harm nobody. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/text.h"
#include "loader/control.h"
#include "loader/daemon_internal.h"
#include "loader/eventlog.h"

#define BIG_BYTES 100000
#define UNREAD_MOST (2 << 20) /* what may wait for one visitor, all in all */

static char folder[] = "/tmp/holdfast-control-XXXXXX";
static struct sockaddr_un place = { .sun_family = AF_UNIX };
static struct event_base *base;
static struct control *control;
static unsigned int asked; /* how many requests came through */

static const char *big(void)
{
	static char text[BIG_BYTES];

	memset(text, 'x', sizeof(text) - 1);
	return text;
}

static void publish(const char *text)
{
	json_t *event = json_pack("{s:s, s:s}", "event", "gate", "text", text);

	control_publish(control, event);
	json_decref(event);
}

/* "big" is answered at length; "drain" causes an event at once, "storm" many. */
static json_t *command(void *context, const json_t *request, __u64 visitor)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	asked++;
	if (!strcmp(name, "nothing"))
		return NULL;
	if (!strcmp(name, "later"))
		return CONTROL_LATER;
	if (!strcmp(name, "drain"))
		publish("");
	for (unsigned int i = 0; !strcmp(name, "storm") && i < 20; i++)
		publish(big());
	return json_pack("{s:b, s:s}", "ok", 1, "text", strcmp(name, "big") ? "" : big());
}

static int set_up(void **state)
{
	base = event_base_new();
	assert_non_null(base);
	assert_int_equal(control_open(base, place.sun_path, command, NULL, &control), 0);
	asked = 0;
	return 0;
}

static int tear_down(void **state)
{
	control_close(control);
	event_base_free(base);
	return 0;
}

static int visit(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof(place)), 0);
	return fd;
}

static void ask(int fd, const char *name, unsigned int times)
{
	static char lines[1 << 16];
	size_t len = 0;

	while (times--)
		len += (size_t)snprintf(lines + len, sizeof(lines) - len, "{\"command\":\"%s\"}\n", name);
	assert_int_equal(send(fd, lines, len, MSG_NOSIGNAL), len);
}

static void turn(unsigned int times)
{
	while (times--)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* Reads all that is there; how many lines that were. SIZE_MAX: and then came the end. */
static size_t take_lines(int fd)
{
	static char bytes[1 << 16];
	size_t lines = 0;
	ssize_t got;

	while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += bytes[i] == '\n';
	return got ? lines : SIZE_MAX;
}

static size_t take_all(int fd, size_t lines)
{
	size_t taken = 0;

	for (unsigned int i = 0; taken < lines && i < 10000; i++) {
		turn(1);
		taken += take_lines(fd);
	}
	return taken;
}

/* The events are what finds him out, and they are of his own request. */
static void cuts_off_who_does_not_read_in_the_midst_of_his_request(void **state)
{
	int fd = visit();

	ask(fd, "events", 1);
	ask(fd, "storm", 1);
	ask(fd, "big", 1);
	turn(8);
	assert_int_equal(take_lines(fd), SIZE_MAX);
	close(fd);
}

static void cuts_off_nobody_else(void **state)
{
	int deaf = visit(), other = visit();

	ask(deaf, "events", 1);
	ask(other, "events", 1);
	assert_int_equal(take_all(other, 1), 1);
	for (unsigned int i = 0; i < 20; i++) {
		publish(big());
		assert_int_equal(take_all(other, 1), 1);
	}
	ask(other, "drain", 1);
	assert_int_equal(take_all(other, 2), 2); /* the answer and the event */
	assert_int_equal(take_lines(deaf), SIZE_MAX);
	close(deaf);
	close(other);
}

/* He may ask what he likes; what waits for him stays what one answer more than the bound is. */
static void asks_nothing_more_of_who_does_not_read(void **state)
{
	const unsigned int most = UNREAD_MOST / BIG_BYTES;
	int fd = visit();

	ask(fd, "big", 3 * most);
	turn(6 * most);
	assert_in_range(asked, 2, most);
	/* Nothing is lost: it goes on when he has read. */
	assert_int_equal(take_all(fd, 3 * most), 3 * most);
	assert_int_equal(asked, 3 * most);
	close(fd);
}

static void takes_one_request_a_turn(void **state)
{
	int many = visit(), one = visit();

	ask(many, "x", 1000);
	ask(one, "x", 1);
	turn(6);
	assert_in_range(asked, 2, 12);
	assert_int_equal(take_lines(one), 1);
	assert_int_equal(take_all(many, 1000), 1000);
	close(many);
	close(one);
}

static void cuts_off_who_ends_no_line(void **state)
{
	static char bytes[CONTROL_REQUEST_MAX + 1];
	int fd = visit();

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
	turn(100);
	assert_int_equal(take_lines(fd), SIZE_MAX);
	close(fd);
}

/* "later" is answered when it is; what failed is, too, and at once. */
static void answers_what_failed(void **state)
{
	int fd = visit();

	ask(fd, "nothing", 1);
	ask(fd, "later", 1);
	ask(fd, "x", 1);
	assert_int_equal(take_all(fd, 2), 2);
	control_answer(control, 1, NULL);
	assert_int_equal(take_all(fd, 1), 1);
	close(fd);
}

static const char *seen_text;
static char seen_room[1024];

static void listener(void *context, const json_t *event)
{
	snprintf(seen_room, sizeof(seen_room), "%s", json_string_value(json_object_get(event, "text")));
	seen_text = seen_room;
}

/* Texts have an end, also in the midst of a character: one byte sooner or later. */
static void repeats_words_up_to_the_midst_of_a_character(void **state)
{
	char words[2000] = "";
	struct eventlog *log;

	for (unsigned int i = 0; i < 900; i++)
		strcat(words, "\xc3\xa9");
	assert_int_equal(eventlog_new(&log), 0);
	eventlog_listen(log, listener, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		json_t *refusal = daemon_refusal("%s%s", i ? "x" : "", words);

		assert_non_null(refusal);
		assert_true(text_is_printable(json_string_value(json_object_get(refusal, "error"))));
		json_decref(refusal);
		seen_text = NULL;
		eventlog_emit(log, EVENT_GATE, NULL, "%s%s", i ? "x" : "", words);
		assert_non_null(seen_text);
		assert_true(text_is_printable(seen_text));
	}
	eventlog_free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cuts_off_who_does_not_read_in_the_midst_of_his_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cuts_off_nobody_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(asks_nothing_more_of_who_does_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_one_request_a_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cuts_off_who_ends_no_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(answers_what_failed, set_up, tear_down),
		cmocka_unit_test(repeats_words_up_to_the_midst_of_a_character),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	assert_non_null(mkdtemp(folder));
	snprintf(place.sun_path, sizeof(place.sun_path), "%s/control.sock", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
