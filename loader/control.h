/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control socket: a UNIX stream socket for root, one JSON object a line in
 * each direction. A request names a command and is answered by one object with
 * "ok"; the command "events" is followed by every event from then on. Whoever sends
 * many requests has one answered in each turn of the loop, and none while he does
 * not read the answers. Knows no commands but that one: they are given to a function.
 */
#ifndef HF_LOADER_CONTROL_H
#define HF_LOADER_CONTROL_H

#include <event2/event.h>
#include <jansson.h>
#include <linux/types.h>

#define CONTROL_RUN_ROOT "/run/holdfast"
/* What is said of an instance (%s) that was taken down. */
#define CONTROL_DOWN_TEXT "instance %s is down: what it tunnelled goes the ordinary way, in clear, from now on\n"
#define CONTROL_REQUEST_MAX 65536
#define CONTROL_CLIENTS_MAX 64

struct control;

/* What a command returns that is answered by control_answer(), for this visitor, later: an answer is an object. */
#define CONTROL_LATER json_null()

/* Answers a request with a new object, or CONTROL_LATER. NULL: there is none to be had; the visitor is told so. */
typedef json_t *(*control_command)(void *context, const json_t *request, __u64 visitor);

/* Listens on path (mode 0600; an old socket there is replaced). Returns 0 or -errno. */
int control_open(struct event_base *base, const char *path, control_command command, void *context,
		 struct control **ret_control);

/* Closes all connections and removes the socket. Takes NULL. */
void control_close(struct control *control);

/* The answer that was owed; the reply's reference is taken. Nothing happens when the visitor is gone. */
void control_answer(struct control *control, __u64 visitor, json_t *reply);

/* Sends an event to all who asked for events. One who does not read is cut off, thereafter: it may be called from within a command. */
void control_publish(struct control *control, const json_t *event);

#endif
