/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables of the language: which sections there are, which keywords they
 * have, and how the value of each comes into the model. Private to policy/.
 */
#ifndef HF_POLICY_KEYWORDS_H
#define HF_POLICY_KEYWORDS_H

#include "policy/draft.h"
#include "policy/lex.h"
#include "policy/value.h"

struct keyword {
	const char *name;
	enum draft_key key;
	/* Of a keyword that stands once: reads its value into the field of the model. */
	int (*take)(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field);
	size_t offset; /* of the field in struct policy */
	__u64 min;     /* bounds: a number, or milliseconds */
	__u64 max;
	const struct value_choice *choices;
	/* Of a keyword with a number. */
	int (*statement)(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place);
};

struct section {
	const char *name;
	const struct keyword *keywords; /* ends with a NULL name */
};

/* All sections; the last has a NULL name. */
extern const struct section keyword_sections[];

/* The same for messages. */
#define SECTION_LIST "[GENERAL], [IDENTITY], [INTERFACE], [CLUSTER], [TUNNEL] or [PEER]"

#endif
