/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loader/hold: what is kept while no session stands: order, bound, age, and who owns the bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/hold.h"

#define START 1000000000ull /* any time */
#define LEN 60		    /* of packets with an even number; one more of the others */

/* What came out of a flush: the numbers of the packets, in order. */
struct sent {
	size_t n;
	__u32 number[2 * HOLD_PACKETS];
};

/* A packet says its number in its first bytes, and the rest follows from it; so does its length. */
static size_t make(__u8 packet[LEN + 1], __u32 number)
{
	size_t len = LEN + number % 2;

	memset(packet, (int)(number & 0xff), len);
	memcpy(packet, &number, sizeof(number));
	return len;
}

static int collect(void *context, __u8 *packet, size_t len)
{
	struct sent *sent = context;
	__u8 expected[LEN + 1];
	__u32 number;

	memcpy(&number, packet, sizeof(number));
	assert_int_equal(len, make(expected, number));
	assert_memory_equal(packet, expected, len);
	assert_in_range(sent->n, 0, 2 * HOLD_PACKETS - 1);
	sent->number[sent->n++] = number;
	memset(packet, 0, len); /* the receiver may change it: checksums are finished in place */
	return 0;
}

static int refuse(void *context, __u8 *packet, size_t len)
{
	fail_msg("a packet of %zu bytes is sent, and none should be", len);
	return 0;
}

/* The kernel takes every second one. */
static int take_even(void *context, __u8 *packet, size_t len)
{
	return ++*(unsigned int *)context % 2 ? -ENOBUFS : 0;
}

static __u64 lost;

static void add(struct hold *hold, __u32 number, __u64 now)
{
	__u8 packet[LEN + 1];
	size_t len = make(packet, number);

	assert_int_equal(hold_add(hold, packet, len, now), 0);
	memset(packet, 0xff, sizeof(packet)); /* a copy was taken */
}

static void expect(const struct sent *sent, __u32 first, size_t n)
{
	assert_int_equal(sent->n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(sent->number[i], first + i);
}

static struct hold *fresh(void)
{
	struct hold *hold = NULL;

	lost = 0;
	assert_int_equal(hold_new(&lost, &hold), 0);
	assert_non_null(hold);
	assert_int_equal(hold_count(hold), 0);
	return hold;
}

static void test_oldest_first(void **state)
{
	struct hold *hold = fresh();
	struct sent sent = { 0 };

	for (__u32 i = 0; i < 5; i++) {
		add(hold, i, START + i);
		assert_int_equal(hold_count(hold), i + 1);
	}
	assert_int_equal(hold_flush(hold, START + 10, collect, &sent), 5);
	expect(&sent, 0, 5);
	hold_free(hold);
}

static void test_flush_empties(void **state)
{
	struct hold *hold = fresh();
	struct sent sent = { 0 };

	assert_int_equal(hold_flush(hold, START, refuse, NULL), 0);
	add(hold, 1, START);
	assert_int_equal(hold_flush(hold, START, collect, &sent), 1);
	assert_int_equal(hold_count(hold), 0);
	assert_int_equal(hold_flush(hold, START, refuse, NULL), 0);
	hold_free(hold);
}

static void test_bound_drops_the_oldest(void **state)
{
	struct hold *hold = fresh();
	struct sent sent = { 0 };

	for (__u32 i = 0; i < HOLD_PACKETS; i++)
		add(hold, i, START);
	assert_int_equal(hold_count(hold), HOLD_PACKETS);
	for (__u32 i = HOLD_PACKETS; i < HOLD_PACKETS + 7; i++) {
		add(hold, i, START);
		assert_int_equal(hold_count(hold), HOLD_PACKETS);
	}
	assert_int_equal(hold_flush(hold, START, collect, &sent), HOLD_PACKETS);
	expect(&sent, 7, HOLD_PACKETS);
	assert_int_equal(lost, 7);
	hold_free(hold);
}

/* The ring's seam passes through every place of a short queue. */
static void test_around_the_ring(void **state)
{
	struct hold *hold = fresh();
	__u32 number = 0;

	for (unsigned int round = 0; round < HOLD_PACKETS; round++) {
		struct sent sent = { 0 };
		__u32 first = number;

		while (number < first + 3)
			add(hold, number++, START + round);
		assert_int_equal(hold_flush(hold, START + round, collect, &sent), 3);
		expect(&sent, first, 3);
	}
	hold_free(hold);
}

static void test_age(void **state)
{
	struct hold *hold = fresh();
	struct sent sent = { 0 };

	/* Too old by a nanosecond; just young enough; younger. */
	for (__u32 i = 0; i < 3; i++)
		add(hold, i, START + i);
	assert_int_equal(hold_flush(hold, START + 1 + HOLD_AGE_NS, collect, &sent), 2);
	expect(&sent, 1, 2);
	assert_int_equal(hold_count(hold), 0); /* what was too old is gone, not kept */
	assert_int_equal(lost, 1);

	add(hold, 9, START);
	assert_int_equal(hold_flush(hold, START + 10 * HOLD_AGE_NS, refuse, NULL), 0);
	assert_int_equal(hold_count(hold), 0);
	hold_free(hold);
}

/* Leaks are the sanitizer's to find (SAN=1): full, half full around the seam, empty. */
static void test_free_with_packets(void **state)
{
	struct hold *hold = fresh();
	struct sent sent = { 0 };

	hold_free(NULL);
	hold_free(hold);
	hold = fresh();
	for (__u32 i = 0; i < HOLD_PACKETS - 1; i++)
		add(hold, i, START);
	hold_flush(hold, START, collect, &sent);
	for (__u32 i = 0; i < HOLD_PACKETS + 1; i++)
		add(hold, i, START);
	hold_free(hold);
	assert_int_equal(lost, HOLD_PACKETS + 1);
}

/* What could not be sent is lost, and not counted as sent. */
static void test_send_fails(void **state)
{
	struct hold *hold = fresh();
	unsigned int calls = 0;

	for (__u32 i = 0; i < 6; i++)
		add(hold, i, START);
	assert_int_equal(hold_flush(hold, START, take_even, &calls), 3);
	assert_int_equal(lost, 3);
	assert_int_equal(hold_count(hold), 0);
	hold_free(hold);
	assert_int_equal(lost, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oldest_first),
		cmocka_unit_test(test_flush_empties),
		cmocka_unit_test(test_bound_drops_the_oldest),
		cmocka_unit_test(test_around_the_ring),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_free_with_packets),
		cmocka_unit_test(test_send_fails),
	};

	return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
