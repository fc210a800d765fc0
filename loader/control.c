/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "loader/shortage.h"

/* A visitor who lets this much pile up does not read: he is asked nothing more, or as a listener cut off. */
#ifndef UNREAD_MAX
#define UNREAD_MAX (1024 * 1024)
#endif
#define ACCEPT_PAUSE_MS 200

struct visitor {
	struct control *control;
	struct bufferevent *stream;
	struct event *turn; /* there may be another line: it is taken when the others have had their turn */
	__u64 id; /* not zero */
	bool events;
	bool doomed; /* does not read: cut off once whoever is at work here has returned */
	struct visitor *next;
};

struct control {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct evconnlistener *listener;
	struct event *again;
	struct event *sweep; /* of the doomed */
	control_command command;
	void *context;
	struct visitor *first;
	size_t n;
	__u64 last_id;
};

static void visitor_free(struct visitor *visitor)
{
	struct visitor **at = &visitor->control->first;

	while (*at != visitor)
		at = &(*at)->next;
	*at = visitor->next;
	visitor->control->n--;
	event_free(visitor->turn);
	bufferevent_free(visitor->stream);
	free(visitor);
}

static bool does_not_read(const struct visitor *visitor)
{
	return evbuffer_get_length(bufferevent_get_output(visitor->stream)) > UNREAD_MAX;
}

static void send_json(struct visitor *visitor, const json_t *json)
{
	static const char none[] = "{\"ok\":false,\"error\":\"there is no answer that can be given (memory?)\"}";
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	const char *line = text ? text : none;

	bufferevent_write(visitor->stream, line, strlen(line));
	bufferevent_write(visitor->stream, "\n", 1);
	free(text);
}

static void answer(struct visitor *visitor, const char *line)
{
	json_t *request = json_loads(line, 0, NULL);
	const char *command = json_string_value(json_object_get(request, "command"));
	json_t *reply;

	if (!json_is_object(request)) {
		reply = json_pack("{s:b, s:s}", "ok", 0, "error", "not a JSON object");
	} else if (command && !strcmp(command, "events")) {
		visitor->events = true;
		reply = json_pack("{s:b}", "ok", 1);
	} else {
		reply = visitor->control->command(visitor->control->context, request, visitor->id);
	}
	if (!json_is_null(reply))
		send_json(visitor, reply);
	json_decref(reply);
	json_decref(request);
}

/* Not at once: an event may come from a command, and so from the midst of this visitor's own request. */
static void doom(struct visitor *visitor)
{
	visitor->doomed = true;
	bufferevent_disable(visitor->stream, EV_READ | EV_WRITE);
	event_active(visitor->control->sweep, 0, 0);
}

static void sweep_due(evutil_socket_t fd, short what, void *context)
{
	struct visitor *next;

	for (struct visitor *visitor = ((struct control *)context)->first; visitor; visitor = next) {
		next = visitor->next;
		if (visitor->doomed)
			visitor_free(visitor);
	}
}

static void take_turn(struct visitor *visitor)
{
	static const struct timeval next = { 0 };

	event_add(visitor->turn, &next);
}

/* One line, and none while its answer would only be put to those that are not read: goes on when all of them have been. */
static void turn_due(evutil_socket_t fd, short what, void *context)
{
	struct visitor *visitor = context;
	struct evbuffer *in = bufferevent_get_input(visitor->stream);
	char *line;

	if (visitor->doomed || does_not_read(visitor))
		return;
	line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF);
	if (line) {
		take_turn(visitor);
		answer(visitor, line);
		free(line);
	} else if (evbuffer_get_length(in) > CONTROL_REQUEST_MAX) {
		visitor_free(visitor);
	} else {
		bufferevent_enable(visitor->stream, EV_READ);
	}
}

/* What else he sends is left in the socket until this has been answered. */
static void readable(struct bufferevent *stream, void *context)
{
	bufferevent_disable(stream, EV_READ);
	take_turn(context);
}

static void all_read(struct bufferevent *stream, void *context)
{
	take_turn(context);
}

static void ended(struct bufferevent *stream, short what, void *context)
{
	visitor_free(context);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len, void *context)
{
	struct control *control = context;
	struct visitor *visitor = control->n < CONTROL_CLIENTS_MAX ? calloc(1, sizeof(*visitor)) : NULL;

	if (visitor)
		visitor->turn = evtimer_new(evconnlistener_get_base(listener), turn_due, visitor);
	if (visitor && visitor->turn)
		visitor->stream = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!visitor || !visitor->stream) {
		if (visitor && visitor->turn)
			event_free(visitor->turn);
		free(visitor);
		close(fd);
		return;
	}
	visitor->control = control;
	visitor->id = ++control->last_id;
	visitor->next = control->first;
	control->first = visitor;
	control->n++;
	bufferevent_setcb(visitor->stream, readable, all_read, ended, visitor);
	bufferevent_enable(visitor->stream, EV_READ | EV_WRITE);
}

/* No descriptor left, say: whoever waits at the door keeps it readable, so it is not looked at for a while. */
static void cannot_accept(struct evconnlistener *listener, void *context)
{
	static const struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };
	struct control *control = context;
	int err = -EVUTIL_SOCKET_ERROR();

	evconnlistener_disable(listener);
	event_add(control->again, &pause);
	if (!shortage_met(err, false, "answering on the control socket"))
		log_warning("control socket: %s", strerror(-err));
}

static void accept_again(evutil_socket_t fd, short what, void *context)
{
	evconnlistener_enable(((struct control *)context)->listener);
}

int control_open(struct event_base *base, const char *path, control_command command, void *context,
		 struct control **ret_control)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct control *control;
	mode_t mask;
	int err;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	strcpy(control->path, path);
	strcpy(sun.sun_path, path);
	control->command = command;
	control->context = context;
	unlink(path);
	mask = umask(0177);
	control->listener = evconnlistener_new_bind(base, accepted, control,
						    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
						    (struct sockaddr *)&sun, sizeof(sun));
	err = control->listener ? 0 : -errno;
	umask(mask);
	if (err) {
		free(control);
		return err;
	}
	control->again = evtimer_new(base, accept_again, control);
	control->sweep = event_new(base, -1, 0, sweep_due, control);
	if (!control->again || !control->sweep) {
		control_close(control);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(control->listener, cannot_accept);
	*ret_control = control;
	return 0;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	while (control->first)
		visitor_free(control->first);
	if (control->again)
		event_free(control->again);
	if (control->sweep)
		event_free(control->sweep);
	evconnlistener_free(control->listener);
	unlink(control->path);
	free(control);
}

void control_answer(struct control *control, __u64 id, json_t *reply)
{
	for (struct visitor *visitor = control->first; visitor; visitor = visitor->next)
		if (visitor->id == id)
			send_json(visitor, reply);
	json_decref(reply);
}

void control_publish(struct control *control, const json_t *event)
{
	for (struct visitor *visitor = control->first; visitor; visitor = visitor->next) {
		if (!visitor->events || visitor->doomed)
			continue;
		if (does_not_read(visitor))
			doom(visitor);
		else
			send_json(visitor, event);
	}
}
