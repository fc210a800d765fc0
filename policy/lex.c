/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/lex.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";
static const char en_dash[] = "\xe2\x80\x93";

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_comment(char c)
{
	return c == ';' || c == '#';
}

static size_t left(const struct lex_line *line)
{
	return (size_t)(line->end - line->at);
}

/* The length of the dash at line->at, or 0. */
static size_t dash_len(const struct lex_line *line)
{
	if (left(line) && *line->at == '-')
		return 1;
	if (left(line) >= sizeof(en_dash) - 1 && !memcmp(line->at, en_dash, sizeof(en_dash) - 1))
		return sizeof(en_dash) - 1;
	return 0;
}

void lex_source_init(struct lex_source *source, const char *text, size_t len)
{
	*source = (struct lex_source){ .at = text, .end = text + len };
	if (len >= sizeof(byte_order_mark) - 1 && !memcmp(text, byte_order_mark, sizeof(byte_order_mark) - 1))
		source->at += sizeof(byte_order_mark) - 1;
}

bool lex_line_next(struct lex_source *source, struct lex_line *ret_line)
{
	const char *newline;
	const char *end;

	if (source->at == source->end)
		return false;
	newline = memchr(source->at, '\n', (size_t)(source->end - source->at));
	end = newline ? newline : source->end;
	if (end > source->at && end[-1] == '\r')
		end--;
	*ret_line = (struct lex_line){ source->at, source->at, end, ++source->line };
	source->at = newline ? newline + 1 : source->end;
	return true;
}

const char *lex_line_control(const struct lex_line *line)
{
	for (const char *c = line->start; c < line->end; c++)
		if ((unsigned char)*c < 0x20 ? *c != '\t' : *c == 0x7f)
			return c;
	return NULL;
}

struct policy_place lex_place(const struct lex_line *line, const char *at)
{
	return (struct policy_place){ line->number, (unsigned int)(at - line->start) + 1 };
}

static void skip_blanks(struct lex_line *line)
{
	while (left(line) && is_blank(*line->at))
		line->at++;
}

bool lex_at_end(struct lex_line *line)
{
	skip_blanks(line);
	return !left(line) || is_comment(*line->at);
}

bool lex_take_char(struct lex_line *line, char c)
{
	skip_blanks(line);
	if (!left(line) || *line->at != c)
		return false;
	line->at++;
	return true;
}

bool lex_take_dash(struct lex_line *line)
{
	size_t len;

	skip_blanks(line);
	len = dash_len(line);
	line->at += len;
	return len;
}

/* Whether a keyword that ends at line->at ends there as a whole word. */
static bool ends_word(const struct lex_line *line, bool numbered)
{
	unsigned char c;

	if (!left(line))
		return true;
	c = (unsigned char)*line->at;
	if (isdigit(c))
		return numbered;
	return !isalpha(c) && c != '_' && c != '.' && c != ':' && c < 0x80 && !dash_len(line);
}

bool lex_take_keyword(struct lex_line *line, const char *words, bool numbered)
{
	struct lex_line trial = *line;

	skip_blanks(&trial);
	for (; *words; words++) {
		if (*words == ' ') {
			if (!left(&trial) || !is_blank(*trial.at))
				return false;
			skip_blanks(&trial);
			continue;
		}
		if (!left(&trial) || tolower((unsigned char)*trial.at) != tolower((unsigned char)*words))
			return false;
		trial.at++;
	}
	if (!ends_word(&trial, numbered))
		return false;
	*line = trial;
	return true;
}

static struct lex_token take(struct lex_line *line, bool to_dash, bool to_blank)
{
	struct lex_token token;

	skip_blanks(line);
	token = (struct lex_token){ .s = line->at, .place = lex_place(line, line->at) };
	while (left(line) && !is_comment(*line->at) && *line->at != '=' && !(to_blank && is_blank(*line->at)) &&
	       !(to_dash && dash_len(line)))
		line->at++;
	token.len = (size_t)(line->at - token.s);
	while (token.len && is_blank(token.s[token.len - 1]))
		token.len--;
	return token;
}

struct lex_token lex_take_word(struct lex_line *line)
{
	return take(line, false, true);
}

struct lex_token lex_take_address(struct lex_line *line)
{
	return take(line, true, true);
}

struct lex_token lex_take_head(struct lex_line *line)
{
	return take(line, false, false);
}

int lex_take_rest(struct lex_line *line, struct lex_token *ret_token)
{
	const char *quote;
	const char *end;

	skip_blanks(line);
	ret_token->place = lex_place(line, line->at);
	if (left(line) && *line->at == '"') {
		quote = memchr(line->at + 1, '"', left(line) - 1);
		if (!quote)
			return -EINVAL;
		ret_token->s = line->at + 1;
		ret_token->len = (size_t)(quote - ret_token->s);
		line->at = quote + 1;
		return 0;
	}
	for (end = line->at; end < line->end; end++)
		if (is_comment(*end) && (end == line->at || is_blank(end[-1])))
			break;
	while (end > line->at && is_blank(end[-1]))
		end--;
	ret_token->s = line->at;
	ret_token->len = (size_t)(end - line->at);
	line->at = end;
	return 0;
}

bool lex_token_is(const struct lex_token *token, const char *word)
{
	return strlen(word) == token->len && !strncasecmp(token->s, word, token->len);
}
