/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policy_explain(): the way of one address in words. */
#include "selftests/unit/policy_words.h"

static void check_explain(const char *text, const char *address, int result, const char *expected)
{
	struct policy_report report = { .messages = NULL };
	struct policy_table *table;
	struct policy *policy;
	struct hf_addr addr;
	char *words = NULL;
	size_t size;
	FILE *out = open_memstream(&words, &size);

	assert_int_equal(policy_parse(text, strlen(text), &report, &policy), 0);
	assert_int_equal(policy_compile(policy, &table), 0);
	assert_int_equal(addr_parse(address, strlen(address), &addr), 0);
	assert_int_equal(policy_explain(policy, table, &addr, out), result);
	fclose(out);
	assert_string_equal(words, expected);
	free(words);
	policy_table_free(table);
	policy_free(policy);
	policy_report_clear(&report);
}

static void test_explain(void **state)
{
	static const char overlaps[] = "[GENERAL]\nClusterOrder=FIXED\n[CLUSTER]\nCluster 1=9.9.9.9 9.9.9.8\n[TUNNEL]\n"
				       "Tunnel1=10.0.0.0/8 Cluster 1\nTunnel2=10.0.0.1-10.0.0.2 9.9.9.7\n"
				       "Tunnel3=10.0.0.2-10.0.0.3 AUTO\nRedirect Tunnel1=8.8.8.8 Cluster 1\n"
				       "Tunnel4=10.0.0.3 AUTO\nTunnel5=::/0 9.9.9.7";

	check_explain(words_figure_2, "10.0.0.1", 0,
		      "10.0.0.1 is tunnelled by Tunnel1 (10.0.0.1 - 10.0.0.3, line 5) to Cluster 1: 200.0.0.252 "
		      "200.0.0.253 200.0.0.254 (order drawn at random at each read)\n");
	check_explain(words_figure_2, "10.0.0.4", -ENOENT, "10.0.0.4 is not tunnelled: no tunnel covers it\n");
	check_explain(words_figure_2, "200.0.0.253", -ENOENT,
		      "200.0.0.253 is not tunnelled: no tunnel covers it\n  it is a gateway of Cluster 1 (line 2)\n");
	check_explain(overlaps, "10.9.9.9", 0,
		      "10.9.9.9 is tunnelled by Tunnel1 (10.0.0.0 - 10.255.255.255, line 6) to Cluster 1: 9.9.9.9 9.9.9.8 "
		      "(always in this order)\n");
	check_explain(overlaps, "10.0.0.2", 0,
		      "10.0.0.2 is tunnelled by Tunnel2 (10.0.0.1 - 10.0.0.2, line 7) to 9.9.9.7\n"
		      "  Tunnel3 (10.0.0.2 - 10.0.0.3, line 8) also covers it, but has the higher number\n"
		      "  Tunnel1 (10.0.0.0 - 10.255.255.255, line 6) also covers it, but is wider\n");
	check_explain(overlaps, "10.0.0.3", 0,
		      "10.0.0.3 is tunnelled by Tunnel4 (10.0.0.3, line 10) to the server that is detected automatically (AUTO)\n"
		      "  that is the peer of the point-to-point link which came up last; without one, nothing is sent\n"
		      "  Redirect Tunnel1 (line 9): if that is 8.8.8.8, then instead to Cluster 1: 9.9.9.9 9.9.9.8 (always in "
		      "this order)\n"
		      "  Tunnel3 (10.0.0.2 - 10.0.0.3, line 8) also covers it, but is wider\n"
		      "  Tunnel1 (10.0.0.0 - 10.255.255.255, line 6) also covers it, but is wider\n");
	check_explain(overlaps, "2001:db8::1", 0,
		      "2001:db8::1 is tunnelled by Tunnel5 (:: - ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, line 11) to 9.9.9.7\n"
		      "  but IPv6 is not carried yet: what goes there is dropped\n");
	/* All of IPv6 is no tunnel of an IPv4 address. */
	check_explain(overlaps, "11.0.0.1", -ENOENT, "11.0.0.1 is not tunnelled: no tunnel covers it\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_explain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
