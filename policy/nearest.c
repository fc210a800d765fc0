/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/nearest.h"

#include <ctype.h>
#include <string.h>

#define LENGTH_MAX 32

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, with one row of the table kept; word is at most LENGTH_MAX long. */
static size_t edit_distance(const char *text, size_t len, const char *word, size_t word_len)
{
	size_t row[LENGTH_MAX + 1];

	for (size_t k = 0; k <= word_len; k++)
		row[k] = k;
	for (size_t i = 1; i <= len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t k = 1; k <= word_len; k++) {
			int differs = tolower((unsigned char)text[i - 1]) != tolower((unsigned char)word[k - 1]);
			size_t best = smaller(diagonal + (size_t)differs, smaller(row[k], row[k - 1]) + 1);

			diagonal = row[k];
			row[k] = best;
		}
	}
	return row[word_len];
}

void nearest_offer(struct nearest *nearest, const char *text, size_t len, const char *candidate)
{
	size_t candidate_len = strlen(candidate);
	size_t distance;

	if (!len || len > LENGTH_MAX || candidate_len > LENGTH_MAX)
		return;
	distance = edit_distance(text, len, candidate, candidate_len);
	/* More than a third of the letters wrong is another word. */
	if (distance > 1 && 3 * distance > candidate_len)
		return;
	if (!nearest->word || distance < nearest->distance)
		*nearest = (struct nearest){ candidate, distance };
}
