/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy's text as lines and tokens with their places. Knows the characters
 * (blanks, comments, dashes, quotes, line ends, the byte order mark), and
 * nothing of sections and keywords. Private to policy/.
 */
#ifndef HF_POLICY_LEX_H
#define HF_POLICY_LEX_H

#include "policy/policy.h"

struct lex_source {
	const char *at;
	const char *end;
	unsigned int line;
};

/* One line without its end, and how far it is read. */
struct lex_line {
	const char *start;
	const char *at;
	const char *end;
	unsigned int number;
};

/* A piece of a line. */
struct lex_token {
	const char *s;
	size_t len;
	struct policy_place place;
};

void lex_source_init(struct lex_source *source, const char *text, size_t len);

/* Takes the next line, with LF or CRLF at its end. False when there is none. */
bool lex_line_next(struct lex_source *source, struct lex_line *ret_line);

/* The first control character of the line but a tab, or NULL. */
const char *lex_line_control(const struct lex_line *line);

struct policy_place lex_place(const struct lex_line *line, const char *at);

/* Skips blanks; whether nothing but a comment follows. */
bool lex_at_end(struct lex_line *line);

/* After blanks, takes c when it stands there. */
bool lex_take_char(struct lex_line *line, char c);

/* After blanks, takes a hyphen or an en dash when one stands there. */
bool lex_take_dash(struct lex_line *line);

/*
 * After blanks, takes the words when they stand there in any case, their
 * blanks of any width, and end there. numbered: a digit may follow at once.
 */
bool lex_take_keyword(struct lex_line *line, const char *words, bool numbered);

/* After blanks, takes what lies before the next blank, comment or = (may be empty). */
struct lex_token lex_take_word(struct lex_line *line);

/* After blanks, takes an address's characters: as a word, and a dash ends it. */
struct lex_token lex_take_address(struct lex_line *line);

/* After blanks, takes what lies before the next = or comment, without blanks at its end. */
struct lex_token lex_take_head(struct lex_line *line);

/*
 * After blanks, takes the rest of the line: without blanks at its end, up to a
 * comment that has a blank before it; or all between double quotes. Returns 0,
 * or -EINVAL when a quote is not closed (the token is then where it opened).
 */
int lex_take_rest(struct lex_line *line, struct lex_token *ret_token);

/* Whether the token is the word, in any case. */
bool lex_token_is(const struct lex_token *token, const char *word);

#endif
