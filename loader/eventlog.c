/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/eventlog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/log.h"
#include "lib/text.h"

/*
 * Debug: many of them are normal, so they go to the listeners, and to the log only with -v. Warning: somebody should look
 * (journalctl -p warning).
 */
static const struct {
	const char *name;
	enum log_level level;
} kinds[EVENT_KINDS] = {
	[EVENT_STARTED] = { "started", LOG_LEVEL_INFO },
	[EVENT_ADOPTED] = { "adopted", LOG_LEVEL_INFO },
	[EVENT_REPLACED] = { "replaced", LOG_LEVEL_WARNING },
	[EVENT_RECONCILED] = { "reconciled", LOG_LEVEL_INFO },
	[EVENT_RULE_BEFORE] = { "rule-before", LOG_LEVEL_WARNING },
	[EVENT_SHORTAGE] = { "shortage", LOG_LEVEL_WARNING },
	[EVENT_SHORTAGE_OVER] = { "shortage-over", LOG_LEVEL_INFO },
	[EVENT_STOPPING] = { "stopping", LOG_LEVEL_INFO },
	[EVENT_SESSION] = { "session", LOG_LEVEL_INFO },
	[EVENT_SESSION_ENDED] = { "session-ended", LOG_LEVEL_INFO },
	[EVENT_REKEY] = { "rekey", LOG_LEVEL_DEBUG },
	[EVENT_HEARTBEAT_MISSED] = { "heartbeat-missed", LOG_LEVEL_DEBUG },
	[EVENT_GATEWAY_FAILED] = { "gateway-failed", LOG_LEVEL_WARNING },
	[EVENT_SWITCHED] = { "switched", LOG_LEVEL_INFO },
	[EVENT_FAILOVER] = { "failover", LOG_LEVEL_INFO },
	[EVENT_FALSE_ALARM] = { "false-alarm", LOG_LEVEL_INFO },
	[EVENT_UPLINK_SUSPECTED] = { "uplink-suspected", LOG_LEVEL_WARNING },
	[EVENT_ATTEMPT_FAILED] = { "attempt-failed", LOG_LEVEL_INFO },
	[EVENT_REJECTED] = { "rejected", LOG_LEVEL_WARNING },
	[EVENT_REFUSED] = { "refused", LOG_LEVEL_INFO },
	[EVENT_CLAIM] = { "claim", LOG_LEVEL_INFO },
	[EVENT_CLAIM_ENDED] = { "claim-ended", LOG_LEVEL_INFO },
	[EVENT_GATE] = { "gate", LOG_LEVEL_INFO },
	[EVENT_AUTO] = { "auto", LOG_LEVEL_INFO },
	[EVENT_KEY_SERVICE] = { "key-service", LOG_LEVEL_WARNING },
	[EVENT_INADMISSIBLE] = { "inadmissible", LOG_LEVEL_WARNING },
	[EVENT_RELOAD] = { "reload", LOG_LEVEL_INFO },
	[EVENT_CERTIFICATE] = { "certificate", LOG_LEVEL_WARNING },
	[EVENT_REVOCATION_LIST] = { "revocation-list", LOG_LEVEL_WARNING },
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
	text_make_printable(text); /* it may end in the midst of a character */

	log_at(kinds[kind].level, "%s: %s", kinds[kind].name, text);
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
