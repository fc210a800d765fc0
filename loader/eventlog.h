/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events: what happened, for people and for programs. Each one goes to the log
 * as a line and to every listener as a JSON object. Owns the kinds of events and
 * nothing else; who listens is the control socket's business.
 */
#ifndef HF_LOADER_EVENTLOG_H
#define HF_LOADER_EVENTLOG_H

#include <jansson.h>
#include <linux/types.h>

enum event_kind {
	EVENT_STARTED,
	EVENT_ADOPTED,
	EVENT_REPLACED,
	EVENT_RECONCILED,
	EVENT_RULE_BEFORE,
	EVENT_SHORTAGE,
	EVENT_SHORTAGE_OVER,
	EVENT_STOPPING,
	EVENT_SESSION,
	EVENT_SESSION_ENDED,
	EVENT_REKEY,
	EVENT_HEARTBEAT_MISSED,
	EVENT_GATEWAY_FAILED,
	EVENT_SWITCHED,
	EVENT_FAILOVER,
	EVENT_FALSE_ALARM,
	EVENT_UPLINK_SUSPECTED,
	EVENT_ATTEMPT_FAILED,
	EVENT_REJECTED,
	EVENT_REFUSED,
	EVENT_CLAIM,
	EVENT_CLAIM_ENDED,
	EVENT_GATE,
	EVENT_AUTO,
	EVENT_KEY_SERVICE,
	EVENT_INADMISSIBLE,
	EVENT_RELOAD,
	EVENT_CERTIFICATE,
	EVENT_REVOCATION_LIST,
	EVENT_KINDS
};

/* As in the "event" field: "session", "heartbeat-missed", ... */
const char *event_kind_name(enum event_kind kind);

struct eventlog;
typedef void (*eventlog_listener)(void *context, const json_t *event);

int eventlog_new(struct eventlog **ret_log);
void eventlog_free(struct eventlog *log);

/* The one listener (the control socket), called for each event; NULL: none. */
void eventlog_listen(struct eventlog *log, eventlog_listener listener, void *context);

/*
 * Emits one event: {"event", "time" (seconds since 1970), "text", ...fields}.
 * text is for people. fields is an object whose reference is taken, or NULL.
 */
void eventlog_emit(struct eventlog *log, enum event_kind kind, json_t *fields, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
