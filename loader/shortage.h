/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Running out: memory, file descriptors, entries of a map, room for netlink's
 * notices, space on a file system. Whoever meets it says so here and goes on as
 * it would after any error; this makes one event of it, and one when it is over,
 * however often it is met. A process has one set of these resources, so there is
 * one of this. Knows nothing of what was being done.
 */
#ifndef HF_LOADER_SHORTAGE_H
#define HF_LOADER_SHORTAGE_H

#include <event2/event.h>
#include <stdbool.h>

#include "loader/eventlog.h"

enum shortage_kind {
	SHORTAGE_MEMORY,
	SHORTAGE_DESCRIPTORS,
	SHORTAGE_MAP,
	SHORTAGE_NOTICES,
	SHORTAGE_SPACE,
	SHORTAGE_KINDS
};

/* Not met again for so long, it is over: longer than what failed for it waits before it is tried again. */
#define SHORTAGE_OVER_MS 12000

/* From here on to the log; 0 or -errno. Before, and after shortage_end(), it is only logged. */
int shortage_begin(struct event_base *base, struct eventlog *log);
void shortage_end(void);

/*
 * err (-errno) came of doing, words like "opening a socket". Returns whether it
 * was a shortage; then the caller need not say it again. in_map: of a BPF map,
 * whose "full" is E2BIG (hash) or ENOSPC (trie).
 */
bool shortage_met(int err, bool in_map, const char *doing);

/* "memory", "descriptors", "map-entries", ...: in the event, and in status --json. */
const char *shortage_name(enum shortage_kind kind);

/* Whether it is going on. */
bool shortage_is_on(enum shortage_kind kind);

/* What an error is a shortage of; SHORTAGE_KINDS: of nothing. Pure. */
enum shortage_kind shortage_of(int err, bool in_map);

#endif
