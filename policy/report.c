/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct quote_text quote(const char *s, size_t len)
{
	static const char cut[] = "...`";
	struct quote_text text;
	size_t used = 0;
	size_t step;

	text.s[used++] = '`';
	for (size_t i = 0; i < len; i += step) {
		size_t sequence = utf8_sequence(s + i, len - i);
		bool plain = sequence && !utf8_is_control(s + i, sequence);
		size_t need = plain ? sequence : 4;

		step = plain ? sequence : 1;
		if (used + need + sizeof(cut) > sizeof(text.s)) {
			memcpy(text.s + used, cut, sizeof(cut));
			return text;
		}
		if (plain)
			memcpy(text.s + used, s + i, sequence);
		else
			snprintf(text.s + used, need + 1, "\\x%02x", (unsigned char)s[i]);
		used += need;
	}
	text.s[used++] = '`';
	text.s[used] = 0;
	return text;
}

__attribute__((format(printf, 4, 0))) static void add(struct policy_report *report, enum policy_severity severity,
						      struct policy_place place, const char *format, va_list args)
{
	size_t *count = severity == POLICY_ERROR ? &report->errors : &report->warnings;
	struct policy_message *message;

	if ((*count)++ >= POLICY_REPORT_MAX)
		return;
	/* The capacity is the power of two at or above n. */
	if (!(report->n & (report->n - 1))) {
		size_t capacity = report->n ? 2 * report->n : 1;

		message = reallocarray(report->messages, capacity, sizeof(*message));
		if (!message)
			return;
		report->messages = message;
	}
	message = &report->messages[report->n++];
	memset(message, 0, sizeof(*message));
	message->severity = severity;
	message->place = place;
	vsnprintf(message->text, sizeof(message->text), format, args);
}

void report_error(struct policy_report *report, struct policy_place place, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(report, POLICY_ERROR, place, format, args);
	va_end(args);
}

void report_warning(struct policy_report *report, struct policy_place place, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(report, POLICY_WARNING, place, format, args);
	va_end(args);
}

static bool stands_after(const struct policy_place *a, const struct policy_place *b)
{
	return a->line != b->line ? a->line > b->line : a->column > b->column;
}

/* By insertion: at most 200 findings, nearly sorted. */
void report_sort(struct policy_report *report)
{
	for (size_t i = 1; i < report->n; i++) {
		struct policy_message message = report->messages[i];
		size_t k = i;

		for (; k && stands_after(&report->messages[k - 1].place, &message.place); k--)
			report->messages[k] = report->messages[k - 1];
		report->messages[k] = message;
	}
}

void policy_report_clear(struct policy_report *report)
{
	free(report->messages);
	memset(report, 0, sizeof(*report));
}
