/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Filling a policy_report: adding findings, quoting pieces of the policy in
 * them, bringing them into the order of places. Private to policy/.
 */
#ifndef HF_POLICY_REPORT_H
#define HF_POLICY_REPORT_H

#include "lib/text.h"
#include "policy/policy.h"

/* The longest text quote() writes, with its NUL. */
#define QUOTE_TEXT_MAX 64

struct quote_text {
	char s[QUOTE_TEXT_MAX];
};

/*
 * A piece of the policy between backquotes, for one printf argument: cut when
 * it is long, what is not printable UTF-8 as \xNN.
 */
struct quote_text quote(const char *s, size_t len);

/* Adds a finding; counts it, at least, when the report is full or memory is out. */
void report_error(struct policy_report *report, struct policy_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void report_warning(struct policy_report *report, struct policy_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Sorts by place; findings of one place keep the order in which they were added. */
void report_sort(struct policy_report *report);

#endif
