/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policy_way_of(): whether the tunnels lead a prefix to one gateway, all of it, some of it or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/policy.h"

static const char text[] = "[CLUSTER]\n"
			   "Cluster 1 = 192.0.2.1 192.0.2.2\n"
			   "[TUNNEL]\n"
			   "Tunnel 1 = 100.0.0.1 100.0.0.1\n"
			   "Tunnel 2 = 10.1.0.0 - 10.1.0.127 100.0.0.1\n"
			   "Tunnel 3 = 10.1.0.128 - 10.1.0.255 Cluster 1\n"
			   "Tunnel 4 = 10.2.0.0 - 10.2.0.127 192.0.2.1\n"
			   "Tunnel 5 = 10.2.0.128 - 10.2.0.255 Cluster 1\n"
			   "Tunnel 6 = 10.3.0.0 - 10.3.0.9 192.0.2.1\n"
			   "Tunnel 7 = 10.3.0.11 - 10.3.0.255 192.0.2.1\n"
			   "Tunnel 8 = 10.4.0.0 - 10.4.0.255 AUTO\n"
			   "Tunnel 9 = ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00 - ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 192.0.2.1\n";

static struct hf_addr addr(const char *words)
{
	struct hf_addr parsed;

	assert_int_equal(addr_parse(words, strlen(words), &parsed), 0);
	return parsed;
}

static void tells_the_way(void **state)
{
	static const struct {
		const char *prefix;
		__u8 len;
		const char *gateway;
		enum policy_way expected;
	} cases[] = {
		{ "100.0.0.1", 128, "100.0.0.1", POLICY_WAY_GATEWAY },
		{ "100.0.0.1", 128, "192.0.2.1", POLICY_WAY_OTHER },
		{ "100.0.0.2", 128, "100.0.0.1", POLICY_WAY_NONE },
		{ "100.0.0.0", 127, "100.0.0.1", POLICY_WAY_OTHER }, /* half of it */
		{ "9.0.0.0", 128, "100.0.0.1", POLICY_WAY_NONE },    /* before the first */
		{ "10.0.0.0", 104, "100.0.0.1", POLICY_WAY_OTHER },  /* around several */
		{ "10.1.0.0", 121, "100.0.0.1", POLICY_WAY_GATEWAY },
		{ "10.1.0.64", 122, "100.0.0.1", POLICY_WAY_GATEWAY },
		{ "10.1.0.0", 120, "100.0.0.1", POLICY_WAY_OTHER }, /* another's half */
		{ "10.2.0.0", 120, "192.0.2.1", POLICY_WAY_GATEWAY }, /* two tunnels, side by side */
		{ "10.2.0.0", 120, "192.0.2.2", POLICY_WAY_OTHER },
		{ "10.2.0.128", 121, "192.0.2.2", POLICY_WAY_GATEWAY },
		{ "10.3.0.0", 120, "192.0.2.1", POLICY_WAY_OTHER }, /* a hole */
		{ "10.3.0.10", 128, "192.0.2.1", POLICY_WAY_NONE },
		{ "10.4.0.0", 128, "192.0.2.1", POLICY_WAY_OTHER }, /* AUTO is nobody's yet */
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00", 120, "192.0.2.1", POLICY_WAY_GATEWAY },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fe00", 119, "192.0.2.1", POLICY_WAY_OTHER },
		{ "::", 0, "192.0.2.1", POLICY_WAY_OTHER },
	};
	struct policy_report report = { 0 };
	struct policy_table *table;
	struct policy *policy;

	assert_int_equal(policy_parse(text, strlen(text), &report, &policy), 0);
	assert_int_equal(policy_compile(policy, &table), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct hf_prefix prefix = { .addr = addr(cases[i].prefix), .len = cases[i].len };
		struct hf_addr gateway = addr(cases[i].gateway);
		enum policy_way way = policy_way_of(policy, table, &prefix, &gateway);

		if (way != cases[i].expected)
			fail_msg("%s/%u to %s: %d", cases[i].prefix, cases[i].len, cases[i].gateway, (int)way);
	}
	policy_table_free(table);
	policy_free(policy);
	policy_report_clear(&report);
}

static void without_tunnels(void **state)
{
	struct policy_report report = { 0 };
	struct hf_addr gateway = addr("192.0.2.1");
	struct hf_prefix prefix = prefix_of_host(&gateway);
	struct policy_table *table;
	struct policy *policy;

	assert_int_equal(policy_parse("", 0, &report, &policy), 0);
	assert_int_equal(policy_compile(policy, &table), 0);
	assert_int_equal(policy_way_of(policy, table, &prefix, &gateway), POLICY_WAY_NONE);
	policy_table_free(table);
	policy_free(policy);
	policy_report_clear(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_way),
		cmocka_unit_test(without_tunnels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
