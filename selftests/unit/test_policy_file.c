/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The file around a policy: reading, the printed report, and the random order of a cluster. */
#include "selftests/unit/policy_words.h"

#include <unistd.h>

#include "policy/file.h"

/* Counts how often each gateway of Cluster 1 comes first in n readings. */
static void count_firsts(const char *text, unsigned int n, unsigned int counts[3])
{
	struct policy_report report = { .messages = NULL };
	struct policy *policy;

	memset(counts, 0, 3 * sizeof(*counts));
	for (unsigned int i = 0; i < n; i++) {
		unsigned int seen = 0;

		assert_int_equal(policy_parse(text, strlen(text), &report, &policy), 0);
		assert_int_equal(policyfile_shuffle(policy), 0);
		for (size_t k = 0; k < 3; k++)
			seen |= 1u << (policy->clusters[0].gateways[k].b[15] - 252);
		assert_int_equal(seen, 7);
		counts[policy->clusters[0].gateways[0].b[15] - 252]++;
		policy_free(policy);
	}
	policy_report_clear(&report);
}

static void test_shuffle(void **state)
{
	static const char fixed[] = "[GENERAL]\nClusterOrder=FIXED\n"
				    "[CLUSTER]\nCluster 1=200.0.0.252 200.0.0.253 200.0.0.254\n[TUNNEL]\nTunnel1=10.0.0.1 Cluster 1";
	unsigned int counts[3];

	count_firsts(words_figure_2, 3000, counts);
	/* 1000 expected, standard deviation 26: beyond 7 of them once in 10^12 runs. */
	for (size_t i = 0; i < 3; i++)
		assert_in_range(counts[i], 820, 1180);
	count_firsts(fixed, 10, counts);
	assert_int_equal(counts[0], 10);
}

/* A file with the text; its path in path. */
static void write_file(char *path, const char *text, size_t len)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void test_file(void **state)
{
	static const char faulty[] = "[TUNNEL]\nTunnel1 = x\nTunnel2 = 10.0.0.1 y";
	struct policy_report report = { .messages = NULL };
	struct policy *policy = NULL;
	char path[] = "/tmp/holdfast-test-XXXXXX";
	char expected[512];
	char error[256];
	char *words = NULL;
	size_t size;
	FILE *out;

	assert_int_equal(policyfile_load("/nonexistent/policy", &policy, &report, error, sizeof(error)), -ENOENT);
	assert_string_equal(error, "cannot open the policy /nonexistent/policy: No such file or directory");
	assert_int_equal(policyfile_load("/", &policy, &report, error, sizeof(error)), -EISDIR);
	assert_string_equal(error, "cannot read the policy /: Is a directory");
	assert_int_equal(policyfile_load("/dev/zero", &policy, &report, error, sizeof(error)), -EFBIG);
	assert_string_equal(error, "the policy /dev/zero is larger than 64 MiB");
	assert_null(policy);

	assert_int_equal(policyfile_load("/dev/null", &policy, &report, error, sizeof(error)), 0);
	assert_int_equal(policy->n_tunnels, 0);
	policy_free(policy);
	policy_report_clear(&report); /* an empty one has no identity */

	write_file(path, faulty, sizeof(faulty) - 1);
	assert_int_equal(policyfile_load(path, &policy, &report, error, sizeof(error)), -EINVAL);
	snprintf(expected, sizeof(expected), "the policy %s has 2 errors", path);
	assert_string_equal(error, expected);
	out = open_memstream(&words, &size);
	policyfile_print_report(path, &report, out);
	fclose(out);
	snprintf(expected, sizeof(expected),
		 "%1$s:2:11: error: `x` is not an IPv4 or IPv6 address; expected an address or a range, like 10.0.0.1 - 10.0.0.3\n"
		 "%1$s:3:20: error: `y` is not an IPv4 or IPv6 address; expected a gateway's address, like 200.0.0.254\n",
		 path);
	assert_string_equal(words, expected);
	free(words);
	policy_report_clear(&report);
	unlink(path);
}

/* The manual page's examples are policies, and who follows one has named the revocation list. */
static void test_examples(void **state)
{
	static const char begin[] = ".Bd -literal -offset indent\n[", end[] = "\n.Ed\n";
	struct policy_report report = { .messages = NULL };
	char page[65536];
	FILE *file = fopen("docs/holdfast-policy.5", "re");
	size_t n = 0;

	assert_non_null(file);
	page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
	fclose(file);
	for (char *at = page; (at = strstr(at, begin)); n++) {
		struct policy *policy = NULL;
		char *last;

		at += sizeof(begin) - 2;
		last = strstr(at, end);
		assert_non_null(last);
		if (policy_parse(at, (size_t)(last + 1 - at), &report, &policy))
			fail_msg("%.*s\n%s", (int)(last - at), at, report.messages[0].text);
		if (policy->identity.certificate && !policy->identity.revocation_list)
			fail_msg("%.*s\nnames no RevocationList", (int)(last - at), at);
		policy_free(policy);
		policy_report_clear(&report);
		at = last;
	}
	assert_int_equal(n, 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shuffle),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
