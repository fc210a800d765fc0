/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 16

struct hf_addr index_key_number(unsigned int number)
{
	struct hf_addr key = { { 0 } };

	memcpy(key.b, &number, sizeof(number));
	return key;
}

static __u64 mix(__u64 x)
{
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull; /* 2^64 divided by the golden ratio, odd */
	return x ^ (x >> 29);
}

/* The slot of the key, or the free one where it belongs. */
static struct index_slot *find_slot(const struct index *index, const struct hf_addr *key)
{
	__u64 half[2];
	size_t at;

	memcpy(half, key->b, sizeof(half));
	at = (size_t)mix(half[0] ^ mix(half[1]));
	for (;; at++) {
		struct index_slot *slot = &index->slots[at & (index->capacity - 1)];

		if (!slot->used || addr_equal(&slot->key, key))
			return slot;
	}
}

const size_t *index_find(const struct index *index, const struct hf_addr *key)
{
	const struct index_slot *slot;

	if (!index->capacity)
		return NULL;
	slot = find_slot(index, key);
	return slot->used ? &slot->value : NULL;
}

static int grow(struct index *index)
{
	struct index larger = { .n = index->n };

	larger.capacity = index->capacity ? 2 * index->capacity : FIRST_CAPACITY;
	larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < index->capacity; i++)
		if (index->slots[i].used)
			*find_slot(&larger, &index->slots[i].key) = index->slots[i];
	free(index->slots);
	*index = larger;
	return 0;
}

int index_add(struct index *index, const struct hf_addr *key, size_t value)
{
	int err;

	/* Never more than half full, so that runs stay short and a free slot ends each search. */
	if (2 * (index->n + 1) > index->capacity) {
		err = grow(index);
		if (err)
			return err;
	}
	*find_slot(index, key) = (struct index_slot){ .key = *key, .value = value, .used = true };
	index->n++;
	return 0;
}

void index_clear(struct index *index)
{
	free(index->slots);
	memset(index, 0, sizeof(*index));
}
