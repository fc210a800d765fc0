/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lib/addr: text, order, prefixes, socket addresses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/addr.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct hf_addr parse(const char *text)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

static void test_parse_and_text(void **state)
{
	static const struct {
		const char *text;
		const char *back; /* NULL: not an address */
		bool v4;
	} cases[] = {
		{ "10.0.0.1", "10.0.0.1", true },
		{ "0.0.0.0", "0.0.0.0", true },
		{ "255.255.255.255", "255.255.255.255", true },
		{ "::ffff:10.0.0.1", "10.0.0.1", true },
		{ "::ffff:a00:1", "10.0.0.1", true },
		{ "::", "::", false },
		{ "::1", "::1", false },
		{ "2001:DB8:0:0:1::", "2001:db8:0:0:1::", false },
		{ "2001:0db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:6666", false },
		{ "", NULL },
		{ "10.0.0", NULL },
		{ "10.0.0.1.", NULL },
		{ "10.0.0.256", NULL },
		{ "10.0.0.01", NULL },
		{ " 10.0.0.1", NULL },
		{ "10.0.0.1/8", NULL },
		{ "fe80::1%eth0", NULL },
		{ "1::2::3", NULL },
		{ "0000000000000000000000000000000000000000000000010.0.0.1", NULL },
	};
	struct hf_addr addr;

	for (size_t i = 0; i < COUNT(cases); i++) {
		memset(&addr, 0x5a, sizeof(addr));
		if (!cases[i].back) {
			struct hf_addr before = addr;

			assert_int_equal(addr_parse(cases[i].text, strlen(cases[i].text), &addr), -EINVAL);
			assert_memory_equal(&addr, &before, sizeof(addr));
			continue;
		}
		assert_int_equal(addr_parse(cases[i].text, strlen(cases[i].text), &addr), 0);
		assert_string_equal(addr_text(&addr).s, cases[i].back);
		assert_int_equal(addr_is_v4(&addr), cases[i].v4);
	}
}

static void test_parse_reads_exactly_len(void **state)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse("10.0.0.123", 8, &addr), 0);
	assert_string_equal(addr_text(&addr).s, "10.0.0.1");
	assert_int_equal(addr_parse("10.0.0.1\0x", 10, &addr), -EINVAL);
	assert_int_equal(addr_parse("10.0.0.1\0", 9, &addr), -EINVAL);
}

static void test_order(void **state)
{
	static const char *const ascending[] = { "::",	     "::1",		"0.0.0.0",	 "9.255.255.255",
						 "10.0.0.0", "255.255.255.255", "::1:0:0:0",	 "2001:db8::1",
						 "ff02::1",  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };

	for (size_t i = 0; i < COUNT(ascending); i++)
		for (size_t k = 0; k < COUNT(ascending); k++) {
			struct hf_addr a = parse(ascending[i]);
			struct hf_addr b = parse(ascending[k]);
			int cmp = addr_cmp(&a, &b);

			assert_int_equal((cmp > 0) - (cmp < 0), (i > k) - (i < k));
			assert_int_equal(addr_equal(&a, &b), i == k);
		}
}

static void test_zero_and_be32(void **state)
{
	struct hf_addr v6_zero = parse("::");
	struct hf_addr v4_zero = parse("0.0.0.0");
	struct hf_addr v6 = parse("::a00:1");
	struct hf_addr v4 = parse("10.0.0.1");
	struct hf_addr back = addr_from_be32(htonl(0x0a000001));

	assert_true(addr_is_zero(&v6_zero));
	assert_true(addr_is_zero(&v4_zero));
	assert_false(addr_is_zero(&v6));
	assert_false(addr_is_zero(&v4));
	assert_true(addr_equal(&back, &v4));
	assert_int_equal(addr_to_be32(&v4), htonl(0x0a000001));
	assert_int_equal(addr_to_be32(&v6), 0);
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "10.1.2.3", "2001:db8::5" };
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	struct sockaddr_storage sa;
	struct sockaddr other = { .sa_family = AF_UNIX };
	struct hf_addr back;

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct hf_addr addr = parse(texts[i]);
		socklen_t len = addr_to_sockaddr(&addr, 7546, &sa);

		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		assert_int_equal(sa.ss_family, families[i]);
		/* The port lies at the same place in both. */
		assert_int_equal(((struct sockaddr_in *)&sa)->sin_port, htons(7546));
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &back), 0);
		assert_true(addr_equal(&addr, &back));
	}
	assert_int_equal(addr_from_sockaddr(&other, &back), -EAFNOSUPPORT);
}

static void test_prefix(void **state)
{
	static const struct {
		const char *addr;
		__u8 len;
		const char *text; /* after masking */
		const char *in, *out;
	} cases[] = {
		{ "10.0.0.77", 120, "10.0.0.0/24", "10.0.0.255", "10.0.1.0" },
		{ "10.0.0.77", 128, "10.0.0.77", "10.0.0.77", "10.0.0.76" },
		{ "10.0.0.77", 127, "10.0.0.76/31", "10.0.0.77", "10.0.0.78" },
		{ "10.0.0.77", 96, "0.0.0.0/0", "255.255.255.255", "::1" },
		{ "10.0.0.77", 109, "10.0.0.0/13", "10.7.255.255", "10.8.0.0" },
		{ "2001:db8::1", 128, "2001:db8::1", "2001:db8::1", "2001:db8::" },
		{ "2001:db8:ffff::1", 33, "2001:db8:8000::/33", "2001:db8:ffff::", "2001:db8:7fff::" },
		{ "2001:db8::1", 1, "::/1", "7fff::", "8000::" },
	};
	struct hf_prefix all = { .len = 0 };
	struct hf_addr last = parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct hf_prefix prefix = { .addr = parse(cases[i].addr), .len = cases[i].len };
		struct hf_addr in = parse(cases[i].in);
		struct hf_addr out = parse(cases[i].out);

		prefix_mask(&prefix);
		assert_string_equal(prefix_text(&prefix).s, cases[i].text);
		assert_true(prefix_contains(&prefix, &in));
		assert_false(prefix_contains(&prefix, &out));
	}
	assert_true(prefix_contains(&all, &last));
	assert_string_equal(prefix_text(&all).s, "::/0");
	all = prefix_of_host(&last);
	assert_int_equal(all.len, 128);
	assert_true(prefix_contains(&all, &last));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_text), cmocka_unit_test(test_parse_reads_exactly_len),
		cmocka_unit_test(test_order),	       cmocka_unit_test(test_zero_and_be32),
		cmocka_unit_test(test_sockaddr),       cmocka_unit_test(test_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
