/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who may knock how often, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kms/knock.h"
#include "lib/clock.h"

#define BEGIN (100 * CLOCK_NS_PER_S)
#define HOUR (3600 * CLOCK_NS_PER_S)

static struct hf_addr addr(const char *text)
{
	struct hf_addr result;

	assert_int_equal(addr_parse(text, strlen(text), &result), 0);
	return result;
}

static struct knock *make(void)
{
	struct knock *knock;

	assert_int_equal(knock_new(4711, &knock), 0);
	return knock;
}

/* How many of n come in at this time. */
static unsigned int let_in(struct knock *knock, const struct hf_addr *source, unsigned int n, __u64 now)
{
	unsigned int in = 0;
	bool known;

	while (n--)
		in += knock_at(knock, source, now, &known) == KNOCK_OPEN;
	return in;
}

/* Strangers' sources, all different. */
static struct hf_addr stranger(unsigned int i)
{
	return addr_from_be32(__builtin_bswap32(0x0a000000 + i));
}

static void limits_a_source(void **state)
{
	struct knock *knock = make();
	struct hf_addr one = addr("192.0.2.1"), other = addr("192.0.2.2");

	assert_int_equal(let_in(knock, &one, 1000, BEGIN), KNOCK_SOURCE_BURST);
	assert_int_equal(let_in(knock, &other, 1, BEGIN), 1);
	assert_int_equal(let_in(knock, &one, 1000, BEGIN + CLOCK_NS_PER_S), KNOCK_SOURCE_PER_S);
	assert_int_equal(let_in(knock, &one, 1000, BEGIN + HOUR), KNOCK_SOURCE_BURST);
	knock_free(knock);
}

static void takes_a_64_as_one_source(void **state)
{
	struct knock *knock = make();
	struct hf_addr source = addr("2001:db8:1:2::1"), neighbour = addr("2001:db8:1:3::1");
	struct hf_addr v4 = addr("192.0.2.1"), v4_neighbour = addr("192.0.2.2");
	unsigned int in = 0;

	for (unsigned int i = 0; i < 1000; i++) {
		source.b[15] = (__u8)i;
		source.b[14] = (__u8)(i >> 8);
		in += let_in(knock, &source, 1, BEGIN);
	}
	assert_int_equal(in, KNOCK_SOURCE_BURST);
	assert_int_equal(let_in(knock, &neighbour, 1, BEGIN), 1);
	assert_true(knock_same_source(&source, &(struct hf_addr){ .b = { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2 } }));
	assert_false(knock_same_source(&source, &neighbour));
	assert_false(knock_same_source(&v4, &v4_neighbour));
	knock_free(knock);
}

static void limits_all_strangers(void **state)
{
	struct knock *knock = make();
	struct hf_addr known = addr("192.0.2.1"), source;
	unsigned int in = 0;
	bool is_known;

	knock_know(knock, &known, BEGIN, BEGIN + HOUR);
	for (unsigned int i = 0; i < 5000; i++) {
		source = stranger(i);
		in += let_in(knock, &source, 1, BEGIN);
	}
	assert_int_equal(in, KNOCK_STRANGERS_BURST);
	source = stranger(6000);
	assert_int_equal(knock_at(knock, &source, BEGIN, &is_known), KNOCK_STRANGERS_TOO_OFTEN);
	assert_false(is_known);
	/* Who has a session comes in all the same, within his own limit. */
	assert_int_equal(knock_at(knock, &known, BEGIN, &is_known), KNOCK_OPEN);
	assert_true(is_known);
	assert_int_equal(let_in(knock, &known, 1000, BEGIN), KNOCK_SOURCE_BURST - 1);
	knock_free(knock);
}

/* However many strangers come, they displace each other only; and knowledge ends. */
static void remembers_who_is_known(void **state)
{
	struct knock *knock = make();
	struct hf_addr known = addr("192.0.2.1"), source;
	bool is_known;

	knock_know(knock, &known, BEGIN, BEGIN + HOUR);
	knock_know(knock, &known, BEGIN, BEGIN + 1); /* not shortened */
	for (unsigned int i = 0; i < 200000; i++) {
		source = stranger(i);
		knock_at(knock, &source, BEGIN + i, &is_known);
		assert_false(is_known);
	}
	knock_at(knock, &known, BEGIN + HOUR - 1, &is_known);
	assert_true(is_known);
	knock_at(knock, &known, BEGIN + HOUR, &is_known);
	assert_false(is_known);
	knock_free(knock);
}

#define CLIENTS 20000

/* As many clients as a gateway may have with a single worker: nearly all are known, and no stranger comes as often as he likes. */
static void knows_many(void **state)
{
	struct knock *knock = make();
	struct hf_addr source;
	unsigned int unknown = 0, in = 0;
	bool known;

	for (unsigned int i = 0; i < CLIENTS; i++) {
		source = stranger(i);
		knock_know(knock, &source, BEGIN, BEGIN + HOUR);
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		source = stranger(i);
		knock_at(knock, &source, BEGIN + i * (CLOCK_NS_PER_S / KNOCK_STRANGERS_PER_S), &known);
		unknown += !known;
	}
	assert_in_range(unknown, 0, CLIENTS / 1000);
	knock_free(knock);
	/* Far too many: every set is as full as it becomes. */
	knock = make();
	for (unsigned int i = 0; i < 20 * CLIENTS; i++) {
		source = stranger(i);
		knock_know(knock, &source, BEGIN, BEGIN + HOUR);
	}
	for (unsigned int i = 0; i < 100; i++) {
		source = stranger(0x00ff0000 + i);
		in = let_in(knock, &source, 2 * KNOCK_SOURCE_BURST, BEGIN + (i + 1) * CLOCK_NS_PER_S);
		assert_in_range(in, 0, KNOCK_SOURCE_BURST);
	}
	knock_free(knock);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_a_source),
		cmocka_unit_test(takes_a_64_as_one_source),
		cmocka_unit_test(limits_all_strangers),
		cmocka_unit_test(remembers_who_is_known),
		cmocka_unit_test(knows_many),
	};

	return cmocka_run_group_tests_name("kms_knock", tests, NULL, NULL);
}
