/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A hash table of 16-byte keys (an address, or a number) to a size_t, for
 * finding doubled statements and shared addresses in large policies. Private
 * to policy/.
 */
#ifndef HF_POLICY_INDEX_H
#define HF_POLICY_INDEX_H

#include "lib/addr.h"

struct index_slot {
	struct hf_addr key;
	size_t value;
	bool used;
};

/* Empty when zeroed. */
struct index {
	struct index_slot *slots;
	size_t n;
	size_t capacity; /* a power of two, or 0 */
};

struct hf_addr index_key_number(unsigned int number);

/* The value of the key, or NULL; valid until the next index_add(). */
const size_t *index_find(const struct index *index, const struct hf_addr *key);

/* Adds a key that is not there yet. Returns 0 or -ENOMEM. */
int index_add(struct index *index, const struct hf_addr *key, size_t value);

void index_clear(struct index *index);

#endif
