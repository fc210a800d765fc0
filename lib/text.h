/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Text of unknown origin: whether it is UTF-8 that may be shown on a terminal and
 * put into JSON, and making it so; whether it can be an instance's name. Pure.
 */
#ifndef HF_LIB_TEXT_H
#define HF_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the well-formed UTF-8 sequence at s (RFC 3629, 4), or 0. */
size_t utf8_sequence(const char *s, size_t len);

/* Whether the well-formed sequence at s is a control character, one of U+0080 to U+009F included. */
bool utf8_is_control(const char *s, size_t sequence);

/* Whether text is well-formed UTF-8 without control characters. */
bool text_is_printable(const char *text);

/* Puts ? in the place of each byte that is not. */
void text_make_printable(char *text);

/*
 * Whether text can name an instance, and so a folder of its own in /run and among the pins: 1 to 31 letters, digits, dots,
 * hyphens and underscores, no dot first.
 */
bool text_is_instance(const char *text);

#endif
