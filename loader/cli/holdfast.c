/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast: the command line. The table of its commands, and their help. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "loader/cli/cli.h"

static const struct {
	const char *name;
	cli_run run;
	const char *summary;
	const char *help;
} commands[] = {
	{ "up", cmd_up, "start everything in the background; returns when it is ready",
	  "Usage: holdfast [-i INSTANCE] up [-p POLICY] [-v]\n\n"
	  "Starts the daemon in the background and returns 0 when it is ready for traffic, or 1 and says\n"
	  "why not; then nothing is left. POLICY: default " CLI_DEFAULT_POLICY ". -v logs more.\n"
	  "The log is /run/holdfast/INSTANCE/log.\n" },
	{ "down", cmd_down, "take everything down in order",
	  "Usage: holdfast [-i INSTANCE] down\n\n"
	  "Takes the tunnels down, those of a daemon that was killed as well, and leaves nothing behind. What\n"
	  "they carried goes the ordinary way, in clear, from then on. So it does after SIGTERM\n"
	  "(`systemctl stop`), and, for what a changed policy no longer tunnels, after `reload`.\n" },
	{ "check", cmd_check, "check a policy file",
	  "Usage: holdfast check FILE\n\n"
	  "Exit code 0, or 1 with FILE:LINE:COLUMN: error: lines on stderr. Warnings do not fail.\n" },
	{ "explain", cmd_explain, "which tunnel, cluster and gateways an address takes, and why",
	  "Usage: holdfast explain FILE ADDRESS\n\n"
	  "Exit code 0; 1 when the policy is faulty; 2 when the address is not tunnelled.\n" },
	{ "status", cmd_status, "show gateways, sessions, clients and counters",
	  "Usage: holdfast [-i INSTANCE] status [--json]\n" },
	{ "events", cmd_events, "follow what happens",
	  "Usage: holdfast [-i INSTANCE] events [--json]\n\n"
	  "Runs until interrupted, or until the instance goes down: exit code 0. 1 when it does not run or\n"
	  "takes no more listeners; 2 when it was cut off: holdfastd has died, or was not read from.\n" },
	{ "failover", cmd_failover, "move a cluster to another gateway now, without loss",
	  "Usage: holdfast [-i INSTANCE] failover CLUSTER [GATEWAY]\n\n"
	  "CLUSTER as `holdfast status` names it, for example \"Cluster 1\". Without GATEWAY: the next one.\n"
	  "Returns 0 when traffic goes there, 1 when it does not within 10 seconds.\n" },
	{ "drain", cmd_drain, "ask clients to leave for another gateway",
	  "Usage: holdfast [-i INSTANCE] drain\n\n"
	  "Closes the health gate: heartbeats are not answered, and clients are asked to leave. One that has\n"
	  "no other gateway stays, and new ones are still taken. `undrain` opens it, and so does a new start.\n" },
	{ "undrain", cmd_drain, "answer clients' heartbeats again",
	  "Usage: holdfast [-i INSTANCE] undrain\n\nTakes `drain` back.\n" },
	{ "reload", cmd_reload, "apply a changed policy, without touching what stays",
	  "Usage: holdfast [-i INSTANCE] reload\n\n"
	  "The daemon reads its policy and the files of [IDENTITY] again, and applies what is another. What\n"
	  "is no longer tunnelled goes in clear from then on, which is said. Exit code 0; or 1 with what is\n"
	  "wrong, as FILE:LINE:COLUMN: error: lines where it is the text: then nothing was changed.\n" },
	{ "metrics", cmd_metrics, "counters as Prometheus text", "Usage: holdfast [-i INSTANCE] metrics\n" },
	{ "pki", cmd_pki, "a CA, certificates and a CRL for those who have none",
	  "Usage: holdfast pki init DIR\n"
	  "       holdfast pki issue DIR NAME --ip ADDRESS... [--days N]\n"
	  "       holdfast pki revoke DIR NAME\n\n"
	  "init makes ca.pem, ca.key and crl.pem in DIR; issue makes NAME.pem and NAME.key, valid for the\n"
	  "addresses (default 365 days); revoke puts NAME on crl.pem.\n" },
};
#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

const char *cli_help(const char *command)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!strcmp(commands[i].name, command))
			return commands[i].help;
	return NULL;
}

static void print_usage(FILE *out)
{
	fputs("Usage: holdfast [-i INSTANCE] COMMAND [ARGUMENTS]\n\n", out);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fputs("\n  -i INSTANCE  name of the instance (default: default)\n"
	      "  -h, --help   this text; after a command, the command's\n"
	      "  --version    the version\n", out);
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	cli->command = argv[0];
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, argv[0]))
			continue;
		for (int k = 1; k < argc; k++) {
			if (!strcmp(argv[k], "--help") || !strcmp(argv[k], "-h")) {
				fputs(commands[i].help, stdout);
				return EXIT_SUCCESS;
			}
		}
		return commands[i].run(cli, argc, argv);
	}
	fprintf(stderr, "holdfast: no command %s; see `holdfast --help`\n", argv[0]);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { NULL, 0, NULL, 0 } };
	struct cli cli = { .instance = "default" };
	int option;

	while ((option = getopt_long(argc, argv, "+i:h", options, NULL)) != -1) {
		switch (option) {
		case 'i': cli.instance = optarg; break;
		case 'h': print_usage(stdout); return EXIT_SUCCESS;
		case 'V': puts("holdfast " HF_VERSION); return EXIT_SUCCESS;
		default: fputs("See `holdfast --help`.\n", stderr); return EXIT_FAILURE;
		}
	}
	if (!text_is_instance(cli.instance)) {
		fputs("holdfast: an instance's name has up to 31 letters, digits, . _ -\n", stderr);
		return EXIT_FAILURE;
	}
	if (optind == argc) {
		print_usage(stderr);
		return EXIT_FAILURE;
	}
	argc -= optind;
	argv += optind;
	optind = 1;
	return run_command(&cli, argc, argv);
}
