/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a key management service writes to its standard error (its own log, and
 * what a sanitizer or a library says of it): read from a pipe, and put into our
 * log line by line, as its words and at a pace. It may be in other hands: what it
 * writes is neither to look like another's, nor to fill the log, nor to hold us up.
 */
#ifndef HF_LOADER_KEYLOG_H
#define HF_LOADER_KEYLOG_H

#include <event2/event.h>
#include <stddef.h>

struct keylog;

/*
 * For the process of this index (in the lines: + 1). ret_write is the end to write
 * to, for its standard error: close-on-exec, the caller's to close. It does not
 * block: what is more than the pipe holds is lost. Returns 0 or -errno.
 */
int keylog_open(struct event_base *base, size_t index, struct keylog **ret_log, int *ret_write);

/* Takes in what is there still, as far as a pipe reaches, and closes. Takes NULL. */
void keylog_close(struct keylog *log);

#endif
