/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* check and explain: what a policy file says, without any daemon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/cli/cli.h"
#include "policy/file.h"

static int load(const struct cli *cli, const char *path, struct policy **ret_policy)
{
	struct policy_report report = { 0 };
	char error[512] = "";
	int err = policyfile_load(path, ret_policy, &report, error, sizeof(error));

	policyfile_print_report(path, &report, stderr);
	if (err && !report.errors)
		cli_error(cli, "%s", error);
	policy_report_clear(&report);
	return err;
}

int cmd_check(const struct cli *cli, int argc, char **argv)
{
	struct policy *policy;

	if (argc != 2)
		return cli_usage(cli);
	if (load(cli, argv[1], &policy))
		return EXIT_FAILURE;
	policy_free(policy);
	return EXIT_SUCCESS;
}

int cmd_explain(const struct cli *cli, int argc, char **argv)
{
	struct policy *policy = NULL;
	struct policy_table *table = NULL;
	struct hf_addr addr;
	int status = EXIT_FAILURE;

	if (argc != 3)
		return cli_usage(cli);
	if (addr_parse(argv[2], strlen(argv[2]), &addr))
		return cli_error(cli, "%s is not an IPv4 or IPv6 address", argv[2]);
	if (load(cli, argv[1], &policy))
		return EXIT_FAILURE;
	if (policy_compile(policy, &table))
		cli_error(cli, "out of memory");
	else
		status = policy_explain(policy, table, &addr, stdout) == -ENOENT ? CLI_NOT_TUNNELLED : EXIT_SUCCESS;
	policy_table_free(table);
	policy_free(policy);
	return status;
}
