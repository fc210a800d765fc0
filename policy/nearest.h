/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The word that somebody probably meant: by edit distance, in any case. Private to policy/. */
#ifndef HF_POLICY_NEAREST_H
#define HF_POLICY_NEAREST_H

#include <stddef.h>

struct nearest {
	const char *word; /* the best so far, or NULL when none is near enough */
	size_t distance;
};

/* Offers one candidate for the text of len characters. */
void nearest_offer(struct nearest *nearest, const char *text, size_t len, const char *candidate);

#endif
