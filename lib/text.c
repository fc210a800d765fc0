/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/text.h"

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

bool utf8_is_control(const char *s, size_t sequence)
{
	unsigned char c = (unsigned char)*s;

	/* U+0080 to U+009F: c2 80 to c2 9f. */
	return c < 0x20 || c == 0x7f || (sequence == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* The length of what may be shown at s, or 0. */
static size_t printable(const char *s)
{
	size_t sequence = utf8_sequence(s, strlen(s));

	return sequence && !utf8_is_control(s, sequence) ? sequence : 0;
}

bool text_is_printable(const char *text)
{
	for (size_t sequence; *text; text += sequence) {
		sequence = printable(text);
		if (!sequence)
			return false;
	}
	return true;
}

void text_make_printable(char *text)
{
	for (size_t sequence; *text; text += sequence ? sequence : 1) {
		sequence = printable(text);
		if (!sequence)
			*text = '?';
	}
}

bool text_is_instance(const char *text)
{
	return *text && strlen(text) < 32 && *text != '.' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(text);
}
