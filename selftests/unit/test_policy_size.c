/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much a policy may hold: limits of lists and statements, of the report, and 10 MB of one kind. */
#include "selftests/unit/policy_words.h"

#include <time.h>

/* A policy of the head and n pieces, each numbered between before and after. */
static void check_limit(const char *head, const char *before, const char *after, unsigned int n, unsigned int line,
			const char *message)
{
	struct policy_report report = { .messages = NULL };
	char *text = NULL;
	char *model;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(head, out);
	for (unsigned int i = 1; i <= n; i++)
		fprintf(out, "%s%u%s", before, i, after);
	fclose(out);
	model = words_parse(text, len, &report);
	assert_int_equal(report.errors, message ? 1 : 0);
	if (message) {
		assert_string_equal(report.messages[0].text, message);
		assert_int_equal(report.messages[0].place.line, line);
	}
	free(model);
	free(text);
	policy_report_clear(&report);
}

static void test_limits(void **state)
{
	check_limit("[CLUSTER]\nCluster 1 =", " 1.1.1.", "", 64, 0, NULL);
	check_limit("[CLUSTER]\nCluster 1 =", " 1.1.1.", "", 65, 2, "a cluster has at most 64 gateways");
	check_limit("[INTERFACE]\nUnderlay =", " eth", "", 32, 0, NULL);
	check_limit("[INTERFACE]\nUnderlay =", " eth", "", 33, 2, "more than 32 interfaces");
	check_limit("[INTERFACE]\nAddress =", " 1.1.1.", "", 16, 0, NULL);
	check_limit("[INTERFACE]\nAddress =", " 1.1.1.", "", 17, 2, "more than 16 addresses");
	check_limit("[PEER]\n", "Peer", " = 10.0.0.1 p\n", 256, 0, NULL);
	check_limit("[PEER]\n", "Peer", " = 10.0.0.1 p\n", 257, 258, "a policy has at most 256 Peer statements");
}

/* A report keeps the first hundred, of errors and of warnings, and counts all. */
static void test_report_is_bounded(void **state)
{
	struct policy_report report = { .messages = NULL };
	char *text = NULL;
	char *model;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("[TUNNEL]\n", out);
	for (int i = 0; i < 1000; i++)
		fprintf(out, "Tunnel%d = 10.0.0.1/8 %s\n", i + 1, i >= 500 ? "x" : "AUTO");
	fclose(out);
	model = words_parse(text, len, &report);
	assert_int_equal(report.errors, 500);
	assert_int_equal(report.warnings, 1000);
	assert_int_equal(report.n, 200);
	assert_int_equal(report.messages[0].place.line, 2);
	assert_int_equal(report.messages[199].place.line, 601);
	assert_int_equal(report.messages[199].severity, POLICY_ERROR);
	free(model);
	free(text);
	policy_report_clear(&report);
	assert_int_equal(report.n, 0);
}

/* 10 MB of one kind, then a statement with a fault: its place is exact, and the time is no matter of squares. */
static void check_huge(const char *piece, const char *tail, const char *words, size_t errors, struct policy_place place)
{
	const size_t size = 10u << 20;
	struct policy_report report = { .messages = NULL };
	char *text = malloc(size + strlen(tail));
	size_t len = 0;
	clock_t start;
	char *model;

	for (; len + strlen(piece) <= size; len += strlen(piece))
		memcpy(text + len, piece, strlen(piece));
	memcpy(text + len, tail, strlen(tail));
	start = clock();
	model = words_parse(text, len + strlen(tail), &report);
	assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
	assert_string_equal(model, words);
	assert_int_equal(report.errors, errors);
	if (errors == 1) {
		assert_int_equal(report.messages[0].place.line, place.line);
		assert_int_equal(report.messages[0].place.column, place.column);
	}
	free(model);
	free(text);
	policy_report_clear(&report);
}

static void test_huge(void **state)
{
	const unsigned int lines = (10u << 20) / 16;

	check_huge("; a comment....\n", "[GENERAL]\nStandby = 64", "-", 1, (struct policy_place){ lines + 2, 11 });
	check_huge("[GENERAL]      \n", "Standby = x", "-", 1, (struct policy_place){ lines + 1, 11 });
	check_huge("[GENERAL]      \n", "[TUNNEL]\nTunnel1 = 10.0.0.1 AUTO", " T1 10.0.0.1-10.0.0.1 <AUTO>", 0,
		   (struct policy_place){ 0, 0 });
	/* One line. */
	check_huge("                ", "x", "-", 1, (struct policy_place){ 1, (10u << 20) + 1 });
	check_huge("aaaaaaaaaaaaaaaa", "", "-", 1, (struct policy_place){ 1, 1 });
	/* Each line wrong: a bounded report. */
	check_huge("[no section!!]\n\n", "", "-", (10u << 20) / 16, (struct policy_place){ 0, 0 });
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_report_is_bounded),
		cmocka_unit_test(test_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
