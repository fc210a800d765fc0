/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of policy/ need of the model beside policy.h: its defaults,
 * growing arrays, and ranges in words. Private to policy/.
 */
#ifndef HF_POLICY_MODEL_H
#define HF_POLICY_MODEL_H

#include "policy/policy.h"

/* The longest text range_text() writes, with its NUL. */
#define RANGE_TEXT_MAX (2 * PREFIX_TEXT_MAX + 4)

struct range_text {
	char s[RANGE_TEXT_MAX];
};

/* A policy with every default set and nothing else; NULL when memory is out. */
struct policy *model_new(void);

/*
 * Makes room for one more than n items in an array that grew only by this.
 * Returns the array, which may have moved, or NULL and leaves it as it was.
 */
void *model_grow(void *array, size_t n, size_t item_size);

/* "10.0.0.1 - 10.0.0.3", or the one address. */
struct range_text range_text(const struct policy_range *range);

bool range_is_single(const struct policy_range *range);

/* Whether addr lies within; an IPv6 range never holds an IPv4 address. */
bool range_contains(const struct policy_range *range, const struct hf_addr *addr);

/* <0 when a is narrower than b, 0, >0. */
int range_cmp_width(const struct policy_range *a, const struct policy_range *b);

/* <0 when a wins over b where both cover: by width, then by number. */
int tunnel_cmp(const struct policy_tunnel *a, const struct policy_tunnel *b);

#endif
