/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const struct {
	const char *name;
	const char *journal; /* sd-daemon(3): the priorities of syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "<3>" },
	[LOG_LEVEL_WARNING] = { "warning", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

static struct {
	const char *program;
	enum log_level level;
	bool journal;
} logger = { .program = "holdfast", .level = LOG_LEVEL_INFO };

void log_init(const char *program, enum log_level level)
{
	logger.program = program;
	logger.level = level;
	logger.journal = getenv("JOURNAL_STREAM") != NULL;
}

/* Text from elsewhere (a peer's name) must not forge a line of its own or drive a terminal. */
static void make_printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

static size_t add_text(char *line, size_t used, int printed)
{
	if (printed < 0)
		return used;
	used += (size_t)printed;
	return used < LINE_MAX_BYTES ? used : LINE_MAX_BYTES - 1;
}

__attribute__((format(printf, 2, 0))) static void log_va(enum log_level level, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];
	int saved = errno; /* callers log first and use errno after */
	ssize_t written;
	size_t n;

	if (level > logger.level)
		return;
	if (logger.journal)
		n = add_text(line, 0, snprintf(line, sizeof(line), "%s%s: ", levels[level].journal, logger.program));
	else
		n = add_text(line, 0, snprintf(line, sizeof(line), "%s %s: ", levels[level].name, logger.program));
	errno = saved;
	n = add_text(line, n, vsnprintf(line + n, sizeof(line) - n, format, args));
	make_printable(line, n);
	line[n++] = '\n';
	/* One write, so that the lines of the two daemons never mix. A lost line has nowhere to be told. */
	written = write(STDERR_FILENO, line, n);
	(void)written;
	errno = saved;
}

void log_at(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_va(level, format, args);
	va_end(args);
}

#define DEFINE_LOG(name, level)                  \
	void log_##name(const char *format, ...) \
	{                                        \
		va_list args;                    \
						 \
		va_start(args, format);          \
		log_va(level, format, args);     \
		va_end(args);                    \
	}

DEFINE_LOG(error, LOG_LEVEL_ERROR)
DEFINE_LOG(warning, LOG_LEVEL_WARNING)
DEFINE_LOG(info, LOG_LEVEL_INFO)
DEFINE_LOG(debug, LOG_LEVEL_DEBUG)
