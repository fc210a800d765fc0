/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lines to sections and statements, and the errors of both. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/check.h"
#include "policy/draft.h"
#include "policy/keywords.h"
#include "policy/lex.h"
#include "policy/model.h"
#include "policy/nearest.h"
#include "policy/report.h"
#include "policy/value.h"

struct parser {
	struct draft draft;
	const struct section *section; /* NULL: none yet, or an unknown one */
	bool stray_told;	       /* that statements stand before any section */
	bool skip;		       /* in an unknown section: its statements cannot be judged */
};

static bool is_numbered(const struct keyword *keyword)
{
	return keyword->key == DRAFT_KEY_NUMBERED;
}

static const struct keyword *take_keyword(struct lex_line *line, const struct section *section)
{
	for (const struct keyword *keyword = section->keywords; keyword->name; keyword++)
		if (lex_take_keyword(line, keyword->name, is_numbered(keyword)))
			return keyword;
	return NULL;
}

static void report_unknown_section(struct policy_report *report, const struct lex_token *name)
{
	struct nearest nearest = { .word = NULL };

	for (const struct section *section = keyword_sections; section->name; section++)
		nearest_offer(&nearest, name->s, name->len, section->name);
	if (nearest.word)
		report_error(report, name->place, "unknown section %s; did you mean [%s]?",
			     quote(name->s, name->len).s, nearest.word);
	else
		report_error(report, name->place, "unknown section %s; expected " SECTION_LIST,
			     quote(name->s, name->len).s);
}

/* "[NAME]" and nothing else. The section holds even where its line has a fault behind the name. */
static int parse_section(struct parser *parser, struct lex_line *line)
{
	struct policy_report *report = parser->draft.report;
	struct lex_token name = { .s = line->at };
	const char *bracket;

	lex_take_char(line, '[');
	bracket = memchr(line->at, ']', (size_t)(line->end - line->at));
	if (bracket) {
		struct lex_line within = *line;

		within.end = bracket;
		name = lex_take_head(&within);
		line->at = bracket + 1;
	} else {
		name = lex_take_head(line);
		report_error(report, lex_place(line, line->at), "expected ] after the section's name");
	}
	parser->section = NULL;
	parser->skip = true;
	for (const struct section *section = keyword_sections; section->name; section++)
		if (lex_token_is(&name, section->name))
			parser->section = section;
	if (!name.len)
		report_error(report, name.place, "expected the section's name: " SECTION_LIST);
	else if (!parser->section)
		report_unknown_section(report, &name);
	else if (!lex_at_end(line))
		report_error(report, lex_place(line, line->at), "expected the end of the line after [%s]",
			     parser->section->name);
	return 0;
}

/* The section that has the keyword at the line, or NULL. */
static const struct section *find_home(const struct lex_line *line)
{
	for (const struct section *section = keyword_sections; section->name; section++) {
		struct lex_line trial = *line;

		if (take_keyword(&trial, section))
			return section;
	}
	return NULL;
}

/* Keywords of the section in words: "Tunnel<n> or Redirect Tunnel<n>". */
static void list_keywords(const struct section *section, char *list, size_t size)
{
	size_t used = 0;

	list[0] = 0;
	for (const struct keyword *keyword = section->keywords; keyword->name && used < size; keyword++) {
		const char *between = keyword == section->keywords ? "" : keyword[1].name ? ", " : " or ";

		used += (size_t)snprintf(list + used, size - used, "%s%s%s", between, keyword->name,
					 is_numbered(keyword) ? "<n>" : "");
	}
}

static void report_unknown_keyword(struct parser *parser, struct lex_line *line)
{
	const struct section *home = find_home(line);
	struct nearest nearest = { .word = NULL };
	struct lex_token head = lex_take_head(line);
	struct policy_report *report = parser->draft.report;
	struct quote_text quoted = quote(head.s, head.len);
	size_t letters = head.len;
	char list[160];

	while (letters && (isdigit((unsigned char)head.s[letters - 1]) || head.s[letters - 1] == ' '))
		letters--;
	for (const struct keyword *keyword = parser->section->keywords; keyword->name; keyword++)
		nearest_offer(&nearest, head.s, letters, keyword->name);
	list_keywords(parser->section, list, sizeof(list));
	if (!head.len)
		report_error(report, head.place, "expected a keyword before the =");
	else if (home)
		report_error(report, head.place, "%s belongs in [%s], and this is [%s]", quoted.s, home->name,
			     parser->section->name);
	else if (nearest.word)
		report_error(report, head.place, "unknown keyword %s in [%s]; did you mean %s?", quoted.s,
			     parser->section->name, nearest.word);
	else
		report_error(report, head.place, "unknown keyword %s in [%s]; expected %s", quoted.s,
			     parser->section->name, list);
}

static void report_stray(struct parser *parser, struct lex_line *line)
{
	const struct section *home = find_home(line);
	struct lex_token head = lex_take_head(line);
	struct quote_text quoted = quote(head.s, head.len);

	/* Once: all that follow until the first section have the same cause. */
	if (parser->stray_told)
		return;
	parser->stray_told = true;
	if (home)
		report_error(parser->draft.report, head.place, "%s stands before any section; expected [%s] above it",
			     quoted.s, home->name);
	else
		report_error(parser->draft.report, head.place, "%s stands before any section; expected " SECTION_LIST,
			     quoted.s);
}

static void claim_key(struct draft *draft, const struct keyword *keyword, struct policy_place place)
{
	struct policy_place *first = &draft->keys[keyword->key];

	if (first->line)
		report_error(draft->report, place, "%s is already given in line %u", keyword->name, first->line);
	else
		*first = place;
}

/* What follows a known keyword. */
static int parse_rest(struct draft *draft, struct lex_line *line, const struct keyword *keyword,
		      struct policy_place place)
{
	unsigned int number = 0;
	int err = 0;

	if (is_numbered(keyword))
		err = value_take_ordinal(draft->report, line, keyword->name, &number);
	if (err)
		return err;
	if (!lex_take_char(line, '=')) {
		report_error(draft->report, lex_place(line, line->at), "expected = after %s%s", keyword->name,
			     is_numbered(keyword) ? " and its number" : "");
		return -EINVAL;
	}
	if (is_numbered(keyword)) {
		err = keyword->statement(draft, line, number, place);
	} else {
		claim_key(draft, keyword, place);
		err = keyword->take(draft, line, keyword, (char *)draft->policy + keyword->offset);
	}
	if (err || lex_at_end(line))
		return err;
	report_error(draft->report, lex_place(line, line->at),
		     "expected the end of the line after the value of %s, not %s", keyword->name,
		     quote(line->at, (size_t)(line->end - line->at)).s);
	return -EINVAL;
}

static int parse_statement(struct parser *parser, struct lex_line *line)
{
	struct policy_place place = lex_place(line, line->at);
	const struct keyword *keyword;

	if (!parser->section && parser->skip)
		return 0;
	if (!parser->section) {
		report_stray(parser, line);
		return -EINVAL;
	}
	keyword = take_keyword(line, parser->section);
	if (keyword)
		return parse_rest(&parser->draft, line, keyword, place);
	report_unknown_keyword(parser, line);
	return -EINVAL;
}

static int parse_line(struct parser *parser, struct lex_line *line)
{
	const char *control = lex_line_control(line);

	if (control) {
		report_error(parser->draft.report, lex_place(line, control),
			     *control ? "a control character (0x%02x) in the policy" : "a NUL byte (0x%02x) in the policy",
			     (unsigned char)*control);
		return -EINVAL;
	}
	if (lex_at_end(line))
		return 0;
	return *line->at == '[' ? parse_section(parser, line) : parse_statement(parser, line);
}

/* Notepad's "Unicode": every other byte would be reported as a NUL. */
static bool is_utf16(const char *text, size_t len)
{
	return len >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2));
}

static int parse_text(struct parser *parser, const char *text, size_t len)
{
	struct lex_source source;
	struct lex_line line;

	if (is_utf16(text, len)) {
		report_error(parser->draft.report, (struct policy_place){ 1, 1 },
			     "the file is UTF-16; expected UTF-8 or ASCII");
		return 0;
	}
	lex_source_init(&source, text, len);
	while (lex_line_next(&source, &line))
		if (parse_line(parser, &line) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

static void draft_clear(struct draft *draft)
{
	policy_free(draft->policy);
	index_clear(&draft->clusters);
	index_clear(&draft->tunnels);
	index_clear(&draft->redirects);
	index_clear(&draft->peers);
	index_clear(&draft->hosts);
	free(draft->tunnel_targets);
	free(draft->redirect_targets);
}

int policy_parse(const char *text, size_t len, struct policy_report *report, struct policy **ret_policy)
{
	struct parser parser = { .draft = { .policy = model_new(), .report = report } };
	int err = -ENOMEM;

	if (!parser.draft.policy)
		goto out;
	err = parse_text(&parser, text, len);
	if (!err)
		err = check_draft(&parser.draft);
	report_sort(report);
	if (err)
		goto out;
	if (report->errors) {
		err = -EINVAL;
		goto out;
	}
	*ret_policy = parser.draft.policy;
	parser.draft.policy = NULL;
out:
	draft_clear(&parser.draft);
	return err;
}
