/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/knock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"

#define SETS 4096
#define WAYS 16
#define WAYS_OF_STRANGERS 2 /* of each set, whoever is known: so the rate of a source holds for every stranger */

/*
 * A rate with a burst, as one time (the "generic cell rate algorithm"): until when what came is paid for, at the price of
 * one interval each. Too often: more than a burst is unpaid.
 */
struct entry {
	struct hf_addr source; /* of IPv6: the first 64 bits */
	__u64 paid_ns;	       /* 0: the entry is free */
	__u64 known_ns;	       /* until when */
};

struct knock {
	__u64 seed;
	__u64 strangers_paid_ns;
	struct entry sets[SETS][WAYS];
};

static struct hf_addr source_of(const struct hf_addr *addr)
{
	struct hf_addr source = *addr;

	if (!addr_is_v4(addr))
		memset(source.b + 8, 0, 8);
	return source;
}

bool knock_same_source(const struct hf_addr *a, const struct hf_addr *b)
{
	struct hf_addr first = source_of(a), second = source_of(b);

	return addr_is_v4(a) == addr_is_v4(b) && addr_equal(&first, &second);
}

/* Mixes with the finishing steps of MurmurHash3 (fmix64), which is enough with a seed that nobody knows. */
static __u64 mix(__u64 x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static struct entry *set_of(struct knock *knock, const struct hf_addr *source)
{
	__u64 words[2];

	memcpy(words, source->b, sizeof(words));
	return knock->sets[mix(mix(words[0] ^ knock->seed) ^ words[1]) % SETS];
}

/*
 * Its entry, or one that it may have: a free one, else the stranger's who was quiet longest. ret_known: how many others of
 * its set are known.
 */
static struct entry *find(struct knock *knock, const struct hf_addr *source, __u64 now_ns, unsigned int *ret_known)
{
	struct entry *set = set_of(knock, source), *own = NULL, *victim = NULL;

	*ret_known = 0;
	for (int i = 0; i < WAYS; i++) {
		struct entry *entry = &set[i];

		if (entry->paid_ns && addr_equal(&entry->source, source))
			own = entry;
		else if (entry->known_ns > now_ns)
			++*ret_known;
		else if (!victim || entry->paid_ns < victim->paid_ns)
			victim = entry;
	}
	if (own)
		return own;
	*victim = (struct entry){ .source = *source };
	return victim;
}

static bool pay(__u64 *paid_ns, __u64 now_ns, __u64 interval_ns, unsigned int burst)
{
	if (*paid_ns < now_ns)
		*paid_ns = now_ns;
	if (*paid_ns - now_ns > (burst - 1) * interval_ns)
		return false;
	*paid_ns += interval_ns;
	return true;
}

bool knock_as_stranger(struct knock *knock, __u64 now_ns)
{
	return pay(&knock->strangers_paid_ns, now_ns, CLOCK_NS_PER_S / KNOCK_STRANGERS_PER_S, KNOCK_STRANGERS_BURST);
}

enum knock_verdict knock_at(struct knock *knock, const struct hf_addr *addr, __u64 now_ns, bool *ret_known)
{
	struct hf_addr source = source_of(addr);
	unsigned int others;
	struct entry *entry = find(knock, &source, now_ns, &others);

	*ret_known = entry->known_ns > now_ns;
	if (!pay(&entry->paid_ns, now_ns, CLOCK_NS_PER_S / KNOCK_SOURCE_PER_S, KNOCK_SOURCE_BURST))
		return KNOCK_SOURCE_TOO_OFTEN;
	if (!*ret_known && !knock_as_stranger(knock, now_ns))
		return KNOCK_STRANGERS_TOO_OFTEN;
	return KNOCK_OPEN;
}

void knock_know(struct knock *knock, const struct hf_addr *addr, __u64 now_ns, __u64 until_ns)
{
	struct hf_addr source = source_of(addr);
	unsigned int others;
	struct entry *entry = find(knock, &source, now_ns, &others);

	if (!entry->paid_ns)
		entry->paid_ns = now_ns ? now_ns : 1;
	if (entry->known_ns < until_ns && others < WAYS - WAYS_OF_STRANGERS)
		entry->known_ns = until_ns;
}

int knock_new(__u64 seed, struct knock **ret_gate)
{
	struct knock *knock = calloc(1, sizeof(*knock));

	if (!knock)
		return -ENOMEM;
	knock->seed = seed;
	*ret_gate = knock;
	return 0;
}

void knock_free(struct knock *knock)
{
	free(knock);
}
