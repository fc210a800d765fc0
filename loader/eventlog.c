/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/eventlog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/log.h"

/* quiet: many of them are normal, so they go to the listeners, and to the log only with -v. */
static const struct {
	const char *name;
	bool quiet;
} kinds[EVENT_KINDS] = {
	[EVENT_STARTED] = { "started", false },
	[EVENT_ADOPTED] = { "adopted", false },
	[EVENT_REPLACED] = { "replaced", false },
	[EVENT_RECONCILED] = { "reconciled", false },
	[EVENT_SHORTAGE] = { "shortage", false },
	[EVENT_SHORTAGE_OVER] = { "shortage-over", false },
	[EVENT_STOPPING] = { "stopping", false },
	[EVENT_SESSION] = { "session", false },
	[EVENT_SESSION_ENDED] = { "session-ended", false },
	[EVENT_REKEY] = { "rekey", true },
	[EVENT_HEARTBEAT_MISSED] = { "heartbeat-missed", true },
	[EVENT_GATEWAY_FAILED] = { "gateway-failed", false },
	[EVENT_SWITCHED] = { "switched", false },
	[EVENT_FAILOVER] = { "failover", false },
	[EVENT_FALSE_ALARM] = { "false-alarm", false },
	[EVENT_UPLINK_SUSPECTED] = { "uplink-suspected", false },
	[EVENT_ATTEMPT_FAILED] = { "attempt-failed", false },
	[EVENT_REJECTED] = { "rejected", false },
	[EVENT_REFUSED] = { "refused", false },
	[EVENT_CLAIM] = { "claim", false },
	[EVENT_CLAIM_ENDED] = { "claim-ended", false },
	[EVENT_GATE] = { "gate", false },
	[EVENT_AUTO] = { "auto", false },
	[EVENT_KEY_SERVICE] = { "key-service", false },
	[EVENT_INADMISSIBLE] = { "inadmissible", false },
	[EVENT_RELOAD] = { "reload", false },
	[EVENT_CERTIFICATE] = { "certificate", false },
};

struct eventlog {
	eventlog_listener listener;
	void *context;
};

const char *event_kind_name(enum event_kind kind)
{
	return kinds[kind].name;
}

int eventlog_new(struct eventlog **ret_log)
{
	struct eventlog *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	*ret_log = log;
	return 0;
}

void eventlog_free(struct eventlog *log)
{
	free(log);
}

void eventlog_listen(struct eventlog *log, eventlog_listener listener, void *context)
{
	log->listener = listener;
	log->context = context;
}

void eventlog_emit(struct eventlog *log, enum event_kind kind, json_t *fields, const char *format, ...)
{
	struct timespec now;
	char text[512];
	va_list args;
	json_t *event;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	(kinds[kind].quiet ? log_debug : log_info)("%s: %s", kinds[kind].name, text);
	clock_gettime(CLOCK_REALTIME, &now);
	event = json_pack("{s:s, s:f, s:s}", "event", kinds[kind].name, "time",
			  (double)now.tv_sec + (double)now.tv_nsec / 1e9, "text", text);
	if (event && fields)
		json_object_update(event, fields);
	if (event && log->listener)
		log->listener(log->context, event);
	json_decref(event);
	json_decref(fields);
}
