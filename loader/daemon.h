/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The daemon as a whole: makes the parts in their order, connects them (an event
 * of the datapath or of the key management service goes to the part that it is
 * for), and takes them down. Decides nothing: the parts do.
 */
#ifndef HF_LOADER_DAEMON_H
#define HF_LOADER_DAEMON_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "lib/addr.h"

struct daemon;

struct daemon_config {
	const char *instance;
	const char *policy_path;
	const char *key_service; /* path of holdfast-kms */
	const char *run_dir;	 /* of the instance; exists */
	bool verbose;
	bool keep_closed; /* a start that fails is tried again by who started it: it leaves the way closed */
	void (*started)(void *context); /* ready for traffic */
	void (*failed)(void *context, const char *why); /* cannot start after all (identity) */
	/* What daemon_command() did not answer at once; the reply's reference is taken. */
	void (*answer)(void *context, __u64 visitor, json_t *reply);
	void *context;
};

#define DAEMON_ERROR_MAX 1024

/*
 * Reads the policy and starts everything. Returns 0: started() will follow once
 * the identity is read. Or -errno with error, one line that says what to do;
 * then nothing is left but what a run before had left.
 */
int daemon_start(struct event_base *base, const struct daemon_config *config, char error[DAEMON_ERROR_MAX],
		 struct daemon **ret_daemon);

/* The start fails after all: daemon_stop() will leave what was adopted of a run before as it runs. */
void daemon_leave(struct daemon *daemon);

/* The end that follows was asked for by name: it opens the way, also where the start is not over and a crash had closed it. */
void daemon_open_the_way(struct daemon *daemon);

/*
 * Says goodbye: clients are asked to leave, gateways to forget us, and who
 * follows the events is told. Once, before daemon_stop(). Returns true
 * when it is worth a moment before daemon_stop(), so that clients can move
 * without loss.
 */
bool daemon_retire(struct daemon *daemon);

/* Takes everything down in order; nothing is left behind. Takes NULL. */
void daemon_stop(struct daemon *daemon);

/*
 * The answer to a command of the control socket: a new object with "ok" and, if
 * false, "error"; perhaps with "report", lines for people. NULL: it will be
 * given to config.answer() with visitor, who asked.
 */
json_t *daemon_command(struct daemon *daemon, const json_t *request, __u64 visitor);

/* Reads the policy again, as the command "reload" does; what comes of it is an event. For SIGHUP. */
void daemon_reload(struct daemon *daemon);

/* Who hears the events (the control socket); NULL: nobody. */
void daemon_listen(struct daemon *daemon, void (*listener)(void *context, const json_t *event), void *context);

#endif
