/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Values of statements: numbers, seconds, choices, addresses, ranges, texts.
 * Each function takes one value from the line and returns 0; or -EINVAL with
 * an error in the report, and its output untouched; or -ENOMEM. Private to policy/.
 */
#ifndef HF_POLICY_VALUE_H
#define HF_POLICY_VALUE_H

#include "policy/lex.h"
#include "policy/policy.h"

/* A name and what it stands for; a list ends with a NULL name. */
struct value_choice {
	const char *name;
	unsigned int value;
};

int value_take_choice(struct policy_report *report, struct lex_line *line, const struct value_choice *choices,
		      unsigned int *ret_value);

int value_take_number(struct policy_report *report, struct lex_line *line, __u32 min, __u32 max, __u32 *ret_number);

/* A number that may be large: K, M, G or T right after it stands for 1024 to the power of 1 to 4. */
int value_take_quantity(struct policy_report *report, struct lex_line *line, __u64 min, __u64 max, __u64 *ret_quantity);

/* Seconds with an optional fraction, as milliseconds; a finer fraction is rounded. */
int value_take_seconds(struct policy_report *report, struct lex_line *line, __u32 min_ms, __u32 max_ms,
		       __u32 *ret_ms);

/* One address of one host; what says what for ("a gateway's address"). */
int value_take_host(struct policy_report *report, struct lex_line *line, const char *what,
		    struct hf_addr *ret_addr, struct policy_place *ret_place);

/* An interface's address, with or without /n; bits beyond n are kept. */
int value_take_interface_address(struct policy_report *report, struct lex_line *line, struct hf_prefix *ret_prefix,
				 struct policy_place *ret_place);

/* "first - last", "address/n" or one address. */
int value_take_range(struct policy_report *report, struct lex_line *line, struct policy_range *ret_range);

/* The rest of the line as a text, not empty; what says what for. */
int value_take_text(struct policy_report *report, struct lex_line *line, const char *what,
		    struct lex_token *ret_token);

/* An interface's name that the kernel could have. */
int value_take_interface(struct policy_report *report, struct lex_line *line, char ret_name[POLICY_IFACE_MAX],
			 struct policy_place *ret_place);

/* A statement's or a cluster's number; of says which, for messages: "Tunnel". */
int value_take_ordinal(struct policy_report *report, struct lex_line *line, const char *of,
		       unsigned int *ret_number);

#endif
