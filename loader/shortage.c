/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/shortage.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"

static const struct {
	const char *name;
	const char *text;
} kinds[SHORTAGE_KINDS] = {
	[SHORTAGE_MEMORY] = { "memory", "memory" },
	[SHORTAGE_DESCRIPTORS] = { "descriptors", "file descriptors (see LimitNOFILE)" },
	[SHORTAGE_MAP] = { "map-entries", "entries in a map of the datapath: it has as many peers as it can" },
	[SHORTAGE_NOTICES] = { "notices", "room for the kernel's notices; all that they are about is read anew" },
	[SHORTAGE_SPACE] = { "space", "space on a file system" },
};

static struct {
	struct eventlog *log;
	struct event *timers[SHORTAGE_KINDS]; /* pending: it is going on */
} shortage;

static void over(evutil_socket_t fd, short what, void *context)
{
	enum shortage_kind kind = (enum shortage_kind)(size_t)context;

	eventlog_emit(shortage.log, EVENT_SHORTAGE_OVER, json_pack("{s:s}", "of", kinds[kind].name),
		      "no longer short of %s", kinds[kind].text);
}

int shortage_begin(struct event_base *base, struct eventlog *log)
{
	shortage.log = log;
	for (size_t i = 0; i < SHORTAGE_KINDS; i++) {
		shortage.timers[i] = evtimer_new(base, over, (void *)i);
		if (!shortage.timers[i]) {
			shortage_end();
			return -ENOMEM;
		}
	}
	return 0;
}

void shortage_end(void)
{
	for (size_t i = 0; i < SHORTAGE_KINDS; i++)
		if (shortage.timers[i])
			event_free(shortage.timers[i]);
	memset(&shortage, 0, sizeof(shortage));
}

enum shortage_kind shortage_of(int err, bool in_map)
{
	switch (-err) {
	case ENOMEM: return SHORTAGE_MEMORY;
	case EMFILE:
	case ENFILE: return SHORTAGE_DESCRIPTORS;
	case E2BIG: return in_map ? SHORTAGE_MAP : SHORTAGE_KINDS;
	case ENOSPC: return in_map ? SHORTAGE_MAP : SHORTAGE_SPACE;
	case EDQUOT: return SHORTAGE_SPACE;
	case ENOBUFS: return SHORTAGE_NOTICES;
	default: return SHORTAGE_KINDS;
	}
}

const char *shortage_name(enum shortage_kind kind)
{
	return kinds[kind].name;
}

bool shortage_is_on(enum shortage_kind kind)
{
	return shortage.timers[kind] && evtimer_pending(shortage.timers[kind], NULL);
}

bool shortage_met(int err, bool in_map, const char *doing)
{
	static const struct timeval quiet = { .tv_sec = SHORTAGE_OVER_MS / 1000 };
	enum shortage_kind kind = shortage_of(err, in_map);

	if (kind == SHORTAGE_KINDS)
		return false;
	if (!shortage.log) {
		log_warning("short of %s: %s", kinds[kind].text, doing);
		return true;
	}
	if (!shortage_is_on(kind))
		eventlog_emit(shortage.log, EVENT_SHORTAGE, json_pack("{s:s, s:s}", "of", kinds[kind].name, "doing", doing),
			      "short of %s; failed: %s", kinds[kind].text, doing);
	event_add(shortage.timers[kind], &quiet);
	return true;
}
