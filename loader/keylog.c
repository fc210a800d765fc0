/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keylog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/pace.h"
#include "lib/text.h"

#define LINE_MAX_BYTES 900 /* with what is before it in our log, one line there */
#define READ_AT_ONCE 4096
#define READ_AT_END 65536 /* what a pipe holds */
/* A sanitizer's report has its place in it. */
#define LINES_BURST 256
#define LINES_NS (CLOCK_NS_PER_S / 16)

struct keylog {
	size_t index;
	int fd;
	struct event *readable;
	struct pace pace;
	size_t len;
	char line[LINE_MAX_BYTES + 1];
};

/* As lib/log.h writes it where there is no journal. Anything else may be of importance. */
static const struct {
	const char *begins;
	void (*log)(const char *format, ...);
} levels[] = {
	{ "error holdfast-kms: ", log_error },
	{ "warning holdfast-kms: ", log_warning },
	{ "info holdfast-kms: ", log_info },
	{ "debug holdfast-kms: ", log_debug },
	{ "", log_warning },
};

static void end_line(struct keylog *log)
{
	unsigned int untold;
	size_t level = 0, skip;

	log->line[log->len] = '\0';
	log->len = 0;
	if (!log->line[0] || !pace_allows(&log->pace, clock_now_ns(), &untold))
		return;
	if (untold)
		log_warning("key management service %zu wrote %u lines more than one may write in this time", log->index + 1,
			    untold);
	text_make_printable(log->line);
	while (strncmp(log->line, levels[level].begins, skip = strlen(levels[level].begins)))
		level++;
	levels[level].log("key management service %zu: %s", log->index + 1, log->line + skip);
}

/* Returns how much there was; 0: it has ended; or -errno. */
static ssize_t take(struct keylog *log)
{
	char bytes[READ_AT_ONCE];
	ssize_t got = read(log->fd, bytes, sizeof(bytes));

	if (got < 0)
		return -errno;
	for (ssize_t i = 0; i < got; i++) {
		if (bytes[i] != '\n')
			log->line[log->len++] = bytes[i] ? bytes[i] : '?';
		if (bytes[i] == '\n' || log->len == LINE_MAX_BYTES)
			end_line(log);
	}
	return got;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct keylog *log = context;
	ssize_t got = take(log);

	if (!got || (got < 0 && got != -EAGAIN && got != -EINTR))
		event_del(log->readable); /* closed with its process */
}

int keylog_open(struct event_base *base, size_t index, struct keylog **ret_log, int *ret_write)
{
	struct keylog *log = calloc(1, sizeof(*log));
	int ends[2], err;

	if (!log)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
		err = -errno;
		free(log);
		return err;
	}
	log->index = index;
	log->fd = ends[0];
	log->pace = (struct pace){ .burst = LINES_BURST, .interval_ns = LINES_NS };
	log->readable = event_new(base, log->fd, EV_READ | EV_PERSIST, on_readable, log);
	if (!log->readable || event_add(log->readable, NULL)) {
		keylog_close(log);
		close(ends[1]);
		return -ENOMEM;
	}
	*ret_log = log;
	*ret_write = ends[1];
	return 0;
}

void keylog_close(struct keylog *log)
{
	size_t taken = 0;
	ssize_t got;

	if (!log)
		return;
	while (taken < READ_AT_END && (got = take(log)) > 0)
		taken += (size_t)got;
	end_line(log);
	if (log->readable)
		event_free(log->readable);
	close(log->fd);
	free(log);
}
