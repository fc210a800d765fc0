// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The parts of the datapath's facade that need no kernel: names of reasons, and their documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "loader/datapath.h"

/* Each reason has its row in bpf/README.md, in the order of the list, and there is no other. */
static void test_reasons_are_documented(void **state)
{
	FILE *readme = fopen("bpf/README.md", "re");
	char line[512], row[64];
	bool in_table = false;
	int n = 0;

	assert_non_null(readme);
	while (fgets(line, sizeof(line), readme)) {
		if (!strncmp(line, "## ", 3))
			in_table = !strcmp(line, "## Drop reasons\n");
		if (!in_table || strncmp(line, "| `", 3))
			continue;
		assert_true(n < HF_DROP_MAX);
		snprintf(row, sizeof(row), "| `%s` |", datapath_drop_name((enum hf_drop)n));
		if (strncmp(line, row, strlen(row)))
			fail_msg("bpf/README.md has the row \"%.40s\" where \"%s\" belongs", line, row);
		n++;
	}
	fclose(readme);
	assert_int_equal(n, HF_DROP_MAX);
}

static void test_reasons_have_names(void **state)
{
	for (int i = 0; i < HF_DROP_MAX; i++) {
		assert_non_null(datapath_drop_name((enum hf_drop)i));
		assert_true(strlen(datapath_drop_text((enum hf_drop)i)) > 10);
	}
	assert_null(datapath_drop_name(HF_DROP_MAX));
	assert_null(datapath_drop_text(HF_DROP_MAX));
	assert_string_equal(datapath_drop_name(HF_DROP_inner_source), "inner_source");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons_are_documented),
		cmocka_unit_test(test_reasons_have_names),
	};

	return cmocka_run_group_tests_name("datapath", tests, NULL, NULL);
}
