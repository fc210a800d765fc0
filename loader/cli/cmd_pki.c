/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pki: a small certificate authority; kms/pki.h does the work. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/pki.h"
#include "loader/cli/cli.h"

#define ADDRESSES_MAX 64
#define DAYS_DEFAULT 365
#define DAYS_MAX 36500

static int report(const struct cli *cli, int err, const char *error)
{
	return err ? cli_error(cli, "%s", error) : EXIT_SUCCESS;
}

static int run_init(const struct cli *cli, int argc, char **argv)
{
	char error[PKI_ERROR_MAX] = "";

	return argc == 3 ? report(cli, pki_init(argv[2], error), error) : cli_usage(cli);
}

/* DIR NAME, then --ip with one address or more after it, and --days N. */
static int run_issue(const struct cli *cli, int argc, char **argv)
{
	struct hf_addr addrs[ADDRESSES_MAX];
	char error[PKI_ERROR_MAX] = "";
	size_t n = 0;
	long days = DAYS_DEFAULT;
	bool in_ip = false;

	if (argc < 4)
		return cli_usage(cli);
	for (int i = 4; i < argc; i++) {
		char *end;

		if (!strcmp(argv[i], "--ip")) {
			in_ip = true;
		} else if (!strcmp(argv[i], "--days")) {
			if (i + 1 == argc)
				return cli_error(cli, "--days needs a number");
			days = strtol(argv[++i], &end, 10);
			in_ip = false;
			if (end == argv[i] || *end || days < 1 || days > DAYS_MAX)
				return cli_error(cli, "--days %s: not a number of days, 1 to %d", argv[i], DAYS_MAX);
		} else if (!in_ip) {
			return cli_usage(cli);
		} else if (n == ADDRESSES_MAX || addr_parse(argv[i], strlen(argv[i]), &addrs[n])) {
			return cli_error(cli, "--ip %s: not an address, or more than %d of them", argv[i], ADDRESSES_MAX);
		} else {
			n++;
		}
	}
	if (!n)
		return cli_error(cli, "a certificate needs an address: --ip ADDRESS");
	return report(cli, pki_issue(argv[2], argv[3], addrs, n, (int)days, error), error);
}

static int run_revoke(const struct cli *cli, int argc, char **argv)
{
	char error[PKI_ERROR_MAX] = "";

	return argc == 4 ? report(cli, pki_revoke(argv[2], argv[3], error), error) : cli_usage(cli);
}

static const struct {
	const char *name;
	int (*run)(const struct cli *cli, int argc, char **argv);
} verbs[] = {
	{ "init", run_init },
	{ "issue", run_issue },
	{ "revoke", run_revoke },
};

int cmd_pki(const struct cli *cli, int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(cli, argc, argv);
	return cli_usage(cli);
}
