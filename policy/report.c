/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* First bytes of UTF-8 sequences, and the range of the second byte (RFC 3629, 4). */
static const struct {
	unsigned char from, to;
	size_t len;
	unsigned char second_from, second_to;
} utf8_leads[] = {
	{ 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
	{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
	{ 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
};

size_t utf8_sequence(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;

	if (!len)
		return 0;
	if (u[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(*utf8_leads); i++) {
		if (u[0] < utf8_leads[i].from || u[0] > utf8_leads[i].to)
			continue;
		if (len < utf8_leads[i].len || u[1] < utf8_leads[i].second_from || u[1] > utf8_leads[i].second_to)
			return 0;
		for (size_t k = 2; k < utf8_leads[i].len; k++)
			if (u[k] < 0x80 || u[k] > 0xbf)
				return 0;
		return utf8_leads[i].len;
	}
	return 0;
}

static bool is_control(const char *s, size_t sequence)
{
	unsigned char c = (unsigned char)*s;

	/* U+0080 to U+009F are controls as well: c2 80 to c2 9f. */
	return c < 0x20 || c == 0x7f || (sequence == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

struct quote_text quote(const char *s, size_t len)
{
	static const char cut[] = "...`";
	struct quote_text text;
	size_t used = 0;
	size_t step;

	text.s[used++] = '`';
	for (size_t i = 0; i < len; i += step) {
		size_t sequence = utf8_sequence(s + i, len - i);
		bool plain = sequence && !is_control(s + i, sequence);
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
