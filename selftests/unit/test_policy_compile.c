/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * policy_compile() against a reference that asks every tunnel about every
 * address, over all pairs and triples of small ranges and over drawn ones, at
 * the edges of the address space and of the IPv4 block; then its size and time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "policy/policy.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SPAN 8 /* addresses in a window */
#define TUNNELS_MAX 12

/* Where windows lie: the low end of each, where arithmetic could go wrong. */
static const char *const windows[] = {
	"10.0.0.3", "0.0.0.0", "255.255.255.248", "::", "2001:db8::fffd", "2001:db8:0:0:ffff:ffff:ffff:fffc",
	"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8", "::fffe:ffff:fff8" /* just below IPv4 */,
	"::1:0:0:0" /* just above */,
};

static struct hf_addr parse(const char *text)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

static struct hf_addr add(struct hf_addr addr, unsigned int offset)
{
	for (size_t i = sizeof(addr.b); offset && i--; offset >>= 8) {
		offset += addr.b[i];
		addr.b[i] = (__u8)offset;
	}
	return addr;
}

struct set {
	struct policy policy;
	struct policy_tunnel tunnels[TUNNELS_MAX];
	unsigned int first[TUNNELS_MAX];
	unsigned int last[TUNNELS_MAX];
};

static void set_add(struct set *set, struct hf_addr base, unsigned int first, unsigned int last, unsigned int number)
{
	size_t n = set->policy.n_tunnels++;

	set->policy.tunnels = set->tunnels;
	set->first[n] = first;
	set->last[n] = last;
	set->tunnels[n] = (struct policy_tunnel){
		.number = number,
		.range = { add(base, first), add(base, last) },
		.target = POLICY_TARGET_AUTO,
	};
}

/* The narrower, then the lower number: by asking each. -1: none. */
static int reference(const struct set *set, unsigned int at)
{
	int best = -1;

	for (size_t i = 0; i < set->policy.n_tunnels; i++) {
		unsigned int width = set->last[i] - set->first[i];

		if (at < set->first[i] || at > set->last[i])
			continue;
		if (best < 0 || width < set->last[best] - set->first[best] ||
		    (width == set->last[best] - set->first[best] &&
		     set->tunnels[i].number < set->tunnels[best].number))
			best = (int)i;
	}
	return best;
}

static int find_entry(const struct policy_table *table, const struct hf_addr *addr)
{
	int found = -1;

	for (size_t i = 0; i < table->n_entries; i++) {
		if (!prefix_contains(&table->entries[i].prefix, addr))
			continue;
		if (found >= 0)
			fail_msg("%s is in two entries", addr_text(addr).s);
		found = (int)table->entries[i].tunnel;
	}
	return found;
}

static void check_order(const struct policy_table *table)
{
	for (size_t i = 0; i < table->n_intervals; i++) {
		const struct policy_range *range = &table->intervals[i].range;

		assert_true(addr_cmp(&range->first, &range->last) <= 0);
		if (i)
			assert_true(addr_cmp(&range->first, &table->intervals[i - 1].range.last) > 0);
	}
	for (size_t i = 1; i < table->n_entries; i++)
		assert_true(addr_cmp(&table->entries[i - 1].prefix.addr, &table->entries[i].prefix.addr) < 0);
	for (size_t i = 0; i < table->n_entries; i++) {
		struct hf_prefix masked = table->entries[i].prefix;

		prefix_mask(&masked);
		assert_memory_equal(&masked.addr, &table->entries[i].prefix.addr, sizeof(masked.addr));
	}
}

static void check_set(const struct set *set, struct hf_addr base)
{
	struct policy_table *table;

	assert_int_equal(policy_compile(&set->policy, &table), 0);
	check_order(table);
	for (unsigned int at = 0; at < SPAN; at++) {
		struct hf_addr addr = add(base, at);
		const struct policy_interval *interval = policy_table_find(table, &addr);
		int expected = reference(set, at);

		if ((interval ? (int)interval->tunnel : -1) != expected || find_entry(table, &addr) != expected)
			fail_msg("%s: expected tunnel %d, interval has %d, entry has %d", addr_text(&addr).s, expected,
				 interval ? (int)interval->tunnel : -1, find_entry(table, &addr));
	}
	policy_table_free(table);
}

/* Every pair of ranges in every window, and both orders of the numbers. */
static void test_all_pairs(void **state)
{
	for (size_t w = 0; w < COUNT(windows); w++) {
		struct hf_addr base = parse(windows[w]);

		for (unsigned int code = 0; code < SPAN * SPAN * SPAN * SPAN * 2; code++) {
			unsigned int a = code / 2 % SPAN, b = code / 2 / SPAN % SPAN;
			unsigned int c = code / 2 / SPAN / SPAN % SPAN, d = code / 2 / SPAN / SPAN / SPAN;
			struct set set = { .policy.n_tunnels = 0 };

			if (b < a || d < c)
				continue;
			set_add(&set, base, a, b, code % 2 ? 2 : 1);
			set_add(&set, base, c, d, code % 2 ? 1 : 2);
			check_set(&set, base);
		}
	}
}

/* Every triple in a smaller window. */
static void test_all_triples(void **state)
{
	struct hf_addr base = parse("10.0.0.6");
	static unsigned int ranges[32][2];
	size_t n = 0;

	for (unsigned int first = 0; first < 5; first++)
		for (unsigned int last = first; last < 5; last++) {
			ranges[n][0] = first;
			ranges[n++][1] = last;
		}
	for (size_t i = 0; i < n * n * n; i++) {
		struct set set = { .policy.n_tunnels = 0 };

		set_add(&set, base, ranges[i % n][0], ranges[i % n][1], 3);
		set_add(&set, base, ranges[i / n % n][0], ranges[i / n % n][1], 1);
		set_add(&set, base, ranges[i / n / n][0], ranges[i / n / n][1], 2);
		check_set(&set, base);
	}
}

static void test_drawn_sets(void **state)
{
	unsigned int seed = 20260701;

	for (int round = 0; round < 6000; round++) {
		struct hf_addr base = parse(windows[(size_t)round % COUNT(windows)]);
		struct set set = { .policy.n_tunnels = 0 };
		unsigned int n = 3 + (unsigned int)rand_r(&seed) % (TUNNELS_MAX - 2);

		for (unsigned int i = 0; i < n; i++) {
			unsigned int first = (unsigned int)rand_r(&seed) % SPAN;

			set_add(&set, base, first, first + (unsigned int)rand_r(&seed) % (SPAN - first),
				(i * 7 + 3) % 13 + 1);
		}
		check_set(&set, base);
	}
}

static struct policy_table *compile_text(const char *text, size_t len, struct policy **ret_policy)
{
	struct policy_report report = { .messages = NULL };
	struct policy_table *table;

	assert_int_equal(policy_parse(text, len, &report, ret_policy), 0);
	assert_int_equal(policy_compile(*ret_policy, &table), 0);
	policy_report_clear(&report);
	return table;
}

/* Tunnels, and the whole table in words. */
static void test_tables(void **state)
{
	static const struct {
		const char *tunnels;
		const char *intervals;
		const char *entries;
	} cases[] = {
		{ "", "", "" },
		{ "Tunnel1 = 10.0.0.1 - 10.0.0.3 AUTO", "10.0.0.1-10.0.0.3:1 ", "10.0.0.1:1 10.0.0.2/31:1 " },
		{ "Tunnel1 = 10.0.0.0/8 AUTO\nTunnel2 = 10.1.0.0/16 AUTO",
		  "10.0.0.0-10.0.255.255:1 10.1.0.0-10.1.255.255:2 10.2.0.0-10.255.255.255:1 ",
		  "10.0.0.0/16:1 10.1.0.0/16:2 10.2.0.0/15:1 10.4.0.0/14:1 10.8.0.0/13:1 10.16.0.0/12:1 "
		  "10.32.0.0/11:1 10.64.0.0/10:1 10.128.0.0/9:1 " },
		/* Touching ranges of two tunnels stay two; where a wider one starts within a narrower, that stays one. */
		{ "Tunnel1 = 10.0.0.0/25 AUTO\nTunnel2 = 10.0.0.128/25 AUTO",
		  "10.0.0.0-10.0.0.127:1 10.0.0.128-10.0.0.255:2 ", "10.0.0.0/25:1 10.0.0.128/25:2 " },
		{ "Tunnel1 = 10.0.0.2 - 10.0.0.4 AUTO\nTunnel2 = 10.0.0.3 - 10.0.0.9 AUTO",
		  "10.0.0.2-10.0.0.4:1 10.0.0.5-10.0.0.9:2 ",
		  "10.0.0.2/31:1 10.0.0.4:1 10.0.0.5:2 10.0.0.6/31:2 10.0.0.8/31:2 " },
		{ "Tunnel1 = 0.0.0.0/0 AUTO", "0.0.0.0-255.255.255.255:1 ", "0.0.0.0/0:1 " },
		/* All of IPv6 is not IPv4. */
		{ "Tunnel1 = ::/0 AUTO\nTunnel2 = 10.0.0.1 AUTO",
		  "::-::fffe:ffff:ffff:1 10.0.0.1-10.0.0.1:2 ::1:0:0:0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:1 ",
		  NULL },
		{ "Tunnel1 = 8000::/1 AUTO", "8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:1 ", "8000::/1:1 " },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[256];
		char *words = NULL;
		size_t size;
		FILE *out = open_memstream(&words, &size);
		struct policy *policy;
		struct policy_table *table;

		snprintf(text, sizeof(text), "[TUNNEL]\n%s\n", cases[i].tunnels);
		table = compile_text(text, strlen(text), &policy);
		for (size_t k = 0; k < table->n_intervals; k++)
			fprintf(out, "%s-%s:%u ", addr_text(&table->intervals[k].range.first).s,
				addr_text(&table->intervals[k].range.last).s,
				policy->tunnels[table->intervals[k].tunnel].number);
		fflush(out);
		assert_string_equal(words, cases[i].intervals);
		rewind(out);
		for (size_t k = 0; k < table->n_entries; k++)
			fprintf(out, "%s:%u ", prefix_text(&table->entries[k].prefix).s,
				policy->tunnels[table->entries[k].tunnel].number);
		fputc(0, out);
		fclose(out);
		if (cases[i].entries)
			assert_string_equal(words, cases[i].entries);
		free(words);
		policy_table_free(table);
		policy_free(policy);
	}
}

static int count_to_three(void *context, const struct hf_prefix *prefix)
{
	int *n = context;

	return ++*n == 3 ? -EINTR : 0;
}

static void test_prefixes_stop(void **state)
{
	struct policy_range range = { parse("10.0.0.1"), parse("10.0.0.254") };
	struct policy_range all = { parse("::"), parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") };
	int n = 0;

	assert_int_equal(policy_range_prefixes(&range, count_to_three, &n), -EINTR);
	assert_int_equal(n, 3);
	n = 0;
	assert_int_equal(policy_range_prefixes(&all, count_to_three, &n), 0);
	assert_int_equal(n, 1);
}

/* Whether a tunnel has a part of a prefix, and which of [INTERFACE] Address are networks. */
static void test_prefix_questions(void **state)
{
	static const struct {
		const char *addr;
		__u8 len; /* of the mapped form */
		bool overlaps;
		bool network;
	} cases[] = {
		{ "10.0.0.1", 128, true, false },    { "10.0.0.4", 128, false, false },	 { "10.0.0.0", 127, true, false },
		{ "10.0.0.4", 126, false, true },    { "10.0.0.4", 124, true, false },	 { "10.0.0.0", 120, true, true },
		{ "9.255.255.0", 120, false, true }, { "10.0.1.0", 120, true, true },	 { "10.0.1.0", 121, false, true },
		{ "10.0.2.0", 119, false, true },    { "0.0.0.0", 96, true, true },	 { "10.0.0.5", 120, true, false },
		{ "fd00::", 64, true, true },	     { "fd00::1", 64, true, false },	 { "fd00:0:0:1::", 64, false, true },
	};
	static const char text[] = "[TUNNEL]\nTunnel1 = 10.0.0.1 - 10.0.0.3 AUTO\nTunnel2 = 10.0.1.128/25 AUTO\n"
				   "Tunnel3 = fd00::5 AUTO\n";
	struct policy *policy;
	struct policy_table *table = compile_text(text, strlen(text), &policy);

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct hf_prefix prefix = { .addr = parse(cases[i].addr), .len = cases[i].len };

		assert_int_equal(policy_address_is_network(&prefix), cases[i].network);
		prefix_mask(&prefix);
		assert_int_equal(policy_way_of(policy, table, &prefix, &prefix.addr) != POLICY_WAY_NONE, cases[i].overlaps);
	}
	policy_table_free(table);
	policy_free(policy);
}

/* A policy of n tunnels, each written by its formula; returns its length. */
static char *large_policy(unsigned int n, const char *kind, size_t *ret_len)
{
	unsigned int seed = 7;
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	fprintf(out, "[TUNNEL]\n");
	for (unsigned int i = 0; i < n; i++) {
		__u32 first = 0x0a000000 + 16 * i;
		__u32 last = first + 9;
		struct hf_addr a, b;

		if (!strcmp(kind, "nested"))
			first = 0x0a000000 + i, last = 0x0b000000 - i;
		else if (!strcmp(kind, "drawn"))
			first = 0x0a000000 + (__u32)rand_r(&seed) % 0x1000000, last = first + (__u32)rand_r(&seed) % 0x100000;
		else if (!strcmp(kind, "same"))
			first = 0x0a000000, last = 0x0a0000ff;
		a = addr_from_be32(htonl(first));
		b = addr_from_be32(htonl(last));
		fprintf(out, "Tunnel%u = %s - %s 200.0.%u.%u\n", i + 1, addr_text(&a).s, addr_text(&b).s,
			i / 200 % 256, i % 200 + 1);
	}
	fclose(out);
	return text;
}

/* By CPU time, and with a bound that only a quadratic algorithm misses: 10^10 steps take far longer. */
static void test_large(void **state)
{
	static const struct {
		const char *kind;
		size_t intervals; /* 0: not known */
	} cases[] = { { "disjoint", 100000 }, { "nested", 199999 }, { "drawn", 0 }, { "same", 1 } };

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct policy_table *table;
		struct policy *policy;
		size_t len;
		char *text = large_policy(100000, cases[i].kind, &len);
		clock_t start = clock();

		table = compile_text(text, len, &policy);
		assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
		assert_int_equal(policy->n_tunnels, 100000);
		if (cases[i].intervals)
			assert_int_equal(table->n_intervals, cases[i].intervals);
		check_order(table);
		policy_table_free(table);
		policy_free(policy);
		free(text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_pairs),     cmocka_unit_test(test_all_triples),
		cmocka_unit_test(test_drawn_sets),    cmocka_unit_test(test_tables),
		cmocka_unit_test(test_prefixes_stop), cmocka_unit_test(test_large),
		cmocka_unit_test(test_prefix_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
