/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control socket: a visitor that writes what the input says, in its pieces, to
 * the real socket, and the commands of holdfastd. What the commands would do to the
 * kernel is left out (the functions with __wrap_ below are linked in their place).
 * Every line is answered by one line, an object with "ok"; of a reload perhaps later.
 * A second visitor, a listener, sends the same and reads nothing before the end: what
 * waits for him is bounded, here by little, so that an input gets there.
 */
#define UNREAD_MAX 4096

#include "loader/daemon_commands.c"
#include "loader/control.c"

#include <signal.h>

#include "selftests/fuzz/fuzz.h"

static struct event_base *base;
static struct control *control;
static struct daemon daemon_under_test;
static json_t *event;
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

/* As the gate does: at once. */
void __wrap_gate_drain(struct gate *gate, bool drained)
{
	control_publish(control, event);
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
	return CONTROL_LATER;
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
	json_decref(event);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	base = event_base_new();
	event = json_pack("{s:s, s:s}", "event", "session", "text", "something happened");
	signal(SIGPIPE, SIG_IGN); /* as holdfastd does */
	MUST(base && event && mkdtemp(folder));
	snprintf(place.sun_path, sizeof(place.sun_path), "%s/control.sock", folder);
	MUST(!control_open(base, place.sun_path, command, &daemon_under_test, &control));
	atexit(clean_up);
	return 0;
}

/* One line of what came back. Returns whether it is an answer; else it is an event. */
static bool check_answer(const char *line, size_t len)
{
	json_t *answer = json_loadb(line, len, 0, NULL);
	json_t *ok = json_object_get(answer, "ok");
	bool is_answer = json_is_boolean(ok);

	MUST(json_is_object(answer));
	MUST(is_answer || json_object_get(answer, "event"));
	MUST(!json_is_false(ok) || json_is_string(json_object_get(answer, "error")));
	json_decref(answer);
	return is_answer;
}

/* Takes what there is. Returns how many answers. */
static size_t take_answers(int fd, char *rest, size_t size, size_t *len)
{
	size_t answers = 0;
	ssize_t got;

	while ((got = recv(fd, rest + *len, size - *len, MSG_DONTWAIT)) > 0) {
		char *end, *line = rest;

		*len += (size_t)got;
		for (; (end = memchr(line, '\n', *len - (size_t)(line - rest))); line = end + 1)
			answers += check_answer(line, (size_t)(end - line));
		*len -= (size_t)(line - rest);
		memmove(rest, line, *len);
	}
	return answers;
}

static int visit(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && !connect(fd, (struct sockaddr *)&place, sizeof(place)));
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	MUST(control->first);
	return fd;
}

/* Who listens, and has little room to be sent to. */
static int visit_deaf(void)
{
	static const char listen_to_events[] = "{\"command\":\"events\"}\n";
	static const int room = 1;
	int fd = visit();

	MUST(!setsockopt(bufferevent_getfd(control->first->stream), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	MUST(send(fd, listen_to_events, strlen(listen_to_events), MSG_NOSIGNAL) > 0);
	return fd;
}

/* One turn; and what waits for each is what the bound says, and one answer and the event that it caused more. */
static void turn(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	for (const struct visitor *visitor = control->first; visitor; visitor = visitor->next)
		MUST(evbuffer_get_length(bufferevent_get_output(visitor->stream)) <= UNREAD_MAX + 4096);
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	static char rest[1 << 20];
	struct input in = { data, size };
	size_t sent = 0, answered = 0, unread = 0, len;
	int deaf = visit_deaf(), fd = visit();

	reloads = 0;
	while (in.left) {
		__u8 *piece = input_piece(&in, 8192, &len);

		for (size_t i = 0; i < len; i++)
			sent += piece[i] == '\n';
		MUST(send(fd, piece, len, MSG_NOSIGNAL) == (ssize_t)len);
		if (send(deaf, piece, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			/* he may have been cut off, or the socket is full */
		}
		free(piece);
		turn();
		control_publish(control, event);
		if (len % 2)
			end_reloads();
		turn();
		answered += take_answers(fd, rest, sizeof(rest), &unread);
	}
	/* One request is answered in a turn, or when the reload ends; some turns only read. */
	for (size_t i = 0; answered < sent && i < 4 * sent + 16; i++) {
		turn();
		end_reloads();
		answered += take_answers(fd, rest, sizeof(rest), &unread);
	}
	turn();
	answered += take_answers(fd, rest, sizeof(rest), &unread);
	MUST(answered == sent && !unread);
	take_answers(deaf, rest, sizeof(rest), &unread);
	/* The last one leaves while it waits. */
	waiting[n_waiting++] = control->last_id;
	close(fd);
	close(deaf);
	while (control->first)
		event_base_loop(base, EVLOOP_ONCE);
	end_reloads();
	return 0;
}
