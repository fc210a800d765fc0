/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control socket: a visitor that writes what the input says, in its pieces, to
 * the real socket, and the commands of holdfastd. What the commands would do to the
 * kernel is left out (the functions with __wrap_ below are linked in their place).
 * Every line is answered by one line, an object with "ok"; of a reload perhaps later.
 */
#include "loader/daemon_commands.c"
#include "loader/control.c"

#include "selftests/fuzz/fuzz.h"

static struct event_base *base;
static struct control *control;
static struct daemon daemon_under_test;
static char folder[] = "/tmp/holdfast-fuzz-XXXXXX";
static struct sockaddr_un place = { .sun_family = AF_UNIX };

int __wrap_clusters_move(struct clusters *clusters, const char *name, const struct hf_addr *gateway);
json_t *__wrap_status_json(const struct status_sources *sources);
void __wrap_gate_drain(struct gate *gate, bool drained);
json_t *__wrap_reload_start(struct daemon *daemon, __u64 visitor);

int __wrap_clusters_move(struct clusters *clusters, const char *name, const struct hf_addr *gateway)
{
	static const int answers[] = { 0, -ENOENT, -EINVAL, -ENODEV, -EALREADY };

	/* What comes from a JSON string has an end, and a gateway is an address. */
	MUST(!gateway || addr_text(gateway).s[0]);
	return answers[strlen(name) % (gateway ? 5 : 4)];
}

json_t *__wrap_status_json(const struct status_sources *sources)
{
	return json_object();
}

void __wrap_gate_drain(struct gate *gate, bool drained)
{
}

/* Those who wait for the end of a reload, some of whom have left. One of two is answered at once. */
static __u64 waiting[64];
static size_t n_waiting, reloads;

json_t *__wrap_reload_start(struct daemon *daemon, __u64 visitor)
{
	MUST(daemon == &daemon_under_test && visitor);
	if (reloads++ % 2 || n_waiting == sizeof(waiting) / sizeof(waiting[0]))
		return daemon_refusal("another reload is under way");
	waiting[n_waiting++] = visitor;
	return NULL;
}

static void end_reloads(void)
{
	while (n_waiting)
		control_answer(control, waiting[--n_waiting], json_pack("{s:b}", "ok", 1));
}

static json_t *command(void *context, const json_t *request, __u64 visitor)
{
	return daemon_command(context, request, visitor);
}

static void clean_up(void)
{
	control_close(control);
	rmdir(folder);
	event_base_free(base);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	base = event_base_new();
	MUST(base && mkdtemp(folder));
	snprintf(place.sun_path, sizeof(place.sun_path), "%s/control.sock", folder);
	MUST(!control_open(base, place.sun_path, command, &daemon_under_test, &control));
	atexit(clean_up);
	return 0;
}

/* One line of what came back. */
static void check_answer(const char *line, size_t len)
{
	json_t *answer = json_loadb(line, len, 0, NULL);
	json_t *ok = json_object_get(answer, "ok");

	MUST(json_is_object(answer));
	MUST(json_is_boolean(ok) || json_object_get(answer, "event"));
	MUST(!json_is_false(ok) || json_is_string(json_object_get(answer, "error")));
	json_decref(answer);
}

/* Takes what there is; answers are as many as whole lines were sent, and the events. */
static size_t take_answers(int fd, char *rest, size_t size, size_t *len)
{
	size_t lines = 0;
	ssize_t got;

	while ((got = recv(fd, rest + *len, size - *len, MSG_DONTWAIT)) > 0) {
		char *end, *line = rest;

		*len += (size_t)got;
		for (; (end = memchr(line, '\n', *len - (size_t)(line - rest))); line = end + 1, lines++)
			check_answer(line, (size_t)(end - line));
		*len -= (size_t)(line - rest);
		memmove(rest, line, *len);
	}
	return lines;
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	static char rest[1 << 20];
	struct input in = { data, size };
	size_t sent = 0, answered = 0, unread = 0, len;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	json_t *event = json_pack("{s:s, s:s}", "event", "session", "text", "something happened");

	reloads = 0;
	MUST(fd >= 0 && !connect(fd, (struct sockaddr *)&place, sizeof(place)));
	while (in.left) {
		__u8 *piece = input_piece(&in, 8192, &len);

		for (size_t i = 0; i < len; i++)
			sent += piece[i] == '\n';
		MUST(send(fd, piece, len, MSG_NOSIGNAL) == (ssize_t)len);
		free(piece);
		event_base_loop(base, EVLOOP_NONBLOCK);
		control_publish(control, event);
		if (len % 2)
			end_reloads();
		event_base_loop(base, EVLOOP_NONBLOCK);
		answered += take_answers(fd, rest, sizeof(rest), &unread);
	}
	for (int i = 0; i < 4; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		end_reloads();
	}
	answered += take_answers(fd, rest, sizeof(rest), &unread);
	MUST(answered >= sent && !unread);
	/* The last one leaves while it waits. */
	waiting[n_waiting++] = control->last_id;
	close(fd);
	while (control->first)
		event_base_loop(base, EVLOOP_ONCE);
	end_reloads();
	json_decref(event);
	return 0;
}
