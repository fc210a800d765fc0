/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ranges to disjoint intervals, and those to prefixes. One sweep over the
 * sorted bounds of the ranges; a heap holds the tunnels that cover the place of
 * the sweep, the one that wins on top. A tunnel whose range has ended leaves
 * the heap only when it comes to the top: each enters and leaves once.
 */
#include <errno.h>
#include <stdlib.h>

#include "policy/model.h"
#include "policy/policy.h"
#include "policy/wide.h"

/* A range, or what of it lies on one side of the IPv4-mapped block. */
struct piece {
	unsigned __int128 first;
	unsigned __int128 last;
	size_t tunnel;
};

struct sweep {
	const struct policy *policy;
	struct piece *pieces; /* by first */
	size_t n_pieces;
	unsigned __int128 *bounds; /* where a piece starts or has just ended; sorted, may repeat */
	size_t n_bounds;
	struct piece *heap;
	size_t n_heap;
};

static int cmp_piece(const void *a, const void *b)
{
	const struct piece *x = a;
	const struct piece *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static int cmp_bound(const void *a, const void *b)
{
	unsigned __int128 x = *(const unsigned __int128 *)a;
	unsigned __int128 y = *(const unsigned __int128 *)b;

	return (x > y) - (x < y);
}

static void add_piece(struct sweep *sweep, unsigned __int128 first, unsigned __int128 last, size_t tunnel)
{
	sweep->pieces[sweep->n_pieces++] = (struct piece){ first, last, tunnel };
	sweep->bounds[sweep->n_bounds++] = first;
	if (last != WIDE_MAX)
		sweep->bounds[sweep->n_bounds++] = last + 1;
}

static int prepare(struct sweep *sweep)
{
	const struct policy *policy = sweep->policy;
	size_t most = 2 * policy->n_tunnels + 1; /* pieces; one more, since calloc(0) may be NULL */

	sweep->pieces = calloc(most, sizeof(*sweep->pieces));
	sweep->heap = calloc(most, sizeof(*sweep->heap));
	sweep->bounds = calloc(2 * most, sizeof(*sweep->bounds));
	if (!sweep->pieces || !sweep->heap || !sweep->bounds)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_tunnels; i++) {
		const struct policy_range *range = &policy->tunnels[i].range;
		unsigned __int128 first = wide_from_addr(&range->first);
		unsigned __int128 last = wide_from_addr(&range->last);

		if (first < WIDE_V4_FIRST && last > WIDE_V4_LAST) {
			add_piece(sweep, first, WIDE_V4_FIRST - 1, i);
			first = WIDE_V4_LAST + 1;
		}
		add_piece(sweep, first, last, i);
	}
	qsort(sweep->pieces, sweep->n_pieces, sizeof(*sweep->pieces), cmp_piece);
	qsort(sweep->bounds, sweep->n_bounds, sizeof(*sweep->bounds), cmp_bound);
	return 0;
}

static bool wins(const struct sweep *sweep, const struct piece *a, const struct piece *b)
{
	return tunnel_cmp(&sweep->policy->tunnels[a->tunnel], &sweep->policy->tunnels[b->tunnel]) < 0;
}

static void heap_push(struct sweep *sweep, const struct piece *piece)
{
	size_t at = sweep->n_heap++;

	for (; at && wins(sweep, piece, &sweep->heap[(at - 1) / 2]); at = (at - 1) / 2)
		sweep->heap[at] = sweep->heap[(at - 1) / 2];
	sweep->heap[at] = *piece;
}

static void heap_pop(struct sweep *sweep)
{
	struct piece piece = sweep->heap[--sweep->n_heap];
	size_t at = 0;
	size_t child;

	while ((child = 2 * at + 1) < sweep->n_heap) {
		if (child + 1 < sweep->n_heap && wins(sweep, &sweep->heap[child + 1], &sweep->heap[child]))
			child++;
		if (!wins(sweep, &sweep->heap[child], &piece))
			break;
		sweep->heap[at] = sweep->heap[child];
		at = child;
	}
	sweep->heap[at] = piece;
}

/* Appends, or lengthens the interval before when it is the same tunnel's and touches. */
static int add_interval(struct policy_table *table, unsigned __int128 first, unsigned __int128 last, size_t tunnel)
{
	struct policy_interval *intervals = table->intervals;
	struct policy_interval *before = table->n_intervals ? &intervals[table->n_intervals - 1] : NULL;

	if (before && before->tunnel == tunnel && wide_from_addr(&before->range.last) == first - 1) {
		before->range.last = wide_to_addr(last);
		return 0;
	}
	intervals = model_grow(intervals, table->n_intervals, sizeof(*intervals));
	if (!intervals)
		return -ENOMEM;
	table->intervals = intervals;
	intervals[table->n_intervals++] =
		(struct policy_interval){ { wide_to_addr(first), wide_to_addr(last) }, tunnel };
	return 0;
}

static int sweep_intervals(struct sweep *sweep, struct policy_table *table)
{
	size_t next = 0;
	int err;

	for (size_t i = 0; i < sweep->n_bounds; i++) {
		unsigned __int128 at = sweep->bounds[i];
		bool is_last = i + 1 == sweep->n_bounds;

		if (!is_last && sweep->bounds[i + 1] == at)
			continue;
		while (next < sweep->n_pieces && sweep->pieces[next].first == at)
			heap_push(sweep, &sweep->pieces[next++]);
		while (sweep->n_heap && sweep->heap[0].last < at)
			heap_pop(sweep);
		if (!sweep->n_heap)
			continue;
		err = add_interval(table, at, is_last ? WIDE_MAX : sweep->bounds[i + 1] - 1, sweep->heap[0].tunnel);
		if (err)
			return err;
	}
	return 0;
}

/* The number of low bits that are free in a prefix that starts at first and stays within last. */
static unsigned int free_bits(unsigned __int128 first, unsigned __int128 last)
{
	unsigned int bits = 0;

	while (bits < 128) {
		unsigned __int128 mask = bits == 127 ? WIDE_MAX : ((unsigned __int128)1 << (bits + 1)) - 1;

		if ((first & mask) || mask > last - first)
			break;
		bits++;
	}
	return bits;
}

int policy_range_prefixes(const struct policy_range *range,
			  int (*emit)(void *context, const struct hf_prefix *prefix), void *context)
{
	unsigned __int128 first = wide_from_addr(&range->first);
	unsigned __int128 last = wide_from_addr(&range->last);

	for (;;) {
		unsigned int bits = free_bits(first, last);
		struct hf_prefix prefix = { .addr = wide_to_addr(first), .len = (__u8)(128 - bits) };
		unsigned __int128 end = bits == 128 ? WIDE_MAX : first + (((unsigned __int128)1 << bits) - 1);
		int ret = emit(context, &prefix);

		if (ret || end >= last)
			return ret;
		first = end + 1;
	}
}

struct entries {
	struct policy_table *table;
	size_t tunnel;
};

static int add_entry(void *context, const struct hf_prefix *prefix)
{
	const struct entries *to = context;
	struct policy_table *table = to->table;
	struct policy_entry *entries = model_grow(table->entries, table->n_entries, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	table->entries = entries;
	entries[table->n_entries++] = (struct policy_entry){ *prefix, to->tunnel };
	return 0;
}

static int cut_entries(struct policy_table *table)
{
	int err = 0;

	for (size_t i = 0; !err && i < table->n_intervals; i++) {
		struct entries to = { table, table->intervals[i].tunnel };

		err = policy_range_prefixes(&table->intervals[i].range, add_entry, &to);
	}
	return err;
}

int policy_compile(const struct policy *policy, struct policy_table **ret_table)
{
	struct policy_table *table = calloc(1, sizeof(*table));
	struct sweep sweep = { .policy = policy };
	int err = -ENOMEM;

	if (!table)
		goto out;
	err = prepare(&sweep);
	if (!err)
		err = sweep_intervals(&sweep, table);
	if (!err)
		err = cut_entries(table);
	if (err)
		goto out;
	*ret_table = table;
	table = NULL;
out:
	free(sweep.pieces);
	free(sweep.heap);
	free(sweep.bounds);
	policy_table_free(table);
	return err;
}

void policy_table_free(struct policy_table *table)
{
	if (!table)
		return;
	free(table->intervals);
	free(table->entries);
	free(table);
}

/* The first interval that does not end before addr; n_intervals: none. */
static size_t first_ending_after(const struct policy_table *table, const struct hf_addr *addr)
{
	size_t low = 0;
	size_t high = table->n_intervals;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (addr_cmp(&table->intervals[middle].range.last, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct policy_interval *policy_table_find(const struct policy_table *table, const struct hf_addr *addr)
{
	size_t i = first_ending_after(table, addr);

	if (i == table->n_intervals || addr_cmp(&table->intervals[i].range.first, addr) > 0)
		return NULL;
	return &table->intervals[i];
}
