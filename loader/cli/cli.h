/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The command line: what its commands share. Each command is a function in a
 * cmd_*.c file and a row in the table of holdfast.c.
 */
#ifndef HF_LOADER_CLI_CLI_H
#define HF_LOADER_CLI_CLI_H

#include <jansson.h>

#define CLI_DEFAULT_POLICY "/etc/holdfast/policy.conf"
/* Exit codes beside 0 and 1. */
#define CLI_NOT_TUNNELLED 2 /* of explain */
#define CLI_CUT_OFF 2	    /* of events: there may have been more */

struct cli {
	const char *instance;
	const char *command;
};

/* argv[0] is the command's name. Returns the exit code. */
typedef int (*cli_run)(const struct cli *cli, int argc, char **argv);

int cmd_up(const struct cli *cli, int argc, char **argv);
int cmd_down(const struct cli *cli, int argc, char **argv);
int cmd_check(const struct cli *cli, int argc, char **argv);
int cmd_explain(const struct cli *cli, int argc, char **argv);
int cmd_status(const struct cli *cli, int argc, char **argv);
int cmd_events(const struct cli *cli, int argc, char **argv);
int cmd_failover(const struct cli *cli, int argc, char **argv);
int cmd_drain(const struct cli *cli, int argc, char **argv); /* also undrain */
int cmd_reload(const struct cli *cli, int argc, char **argv);
int cmd_metrics(const struct cli *cli, int argc, char **argv);
int cmd_pki(const struct cli *cli, int argc, char **argv);

/* Prints "holdfast COMMAND: text" to stderr and returns 1. */
int cli_error(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says how the command is called, on stderr, and returns 1. */
int cli_usage(const struct cli *cli);

/* The text of --help for a command (holdfast.c). NULL: no such command. */
const char *cli_help(const char *command);

/*
 * A connection to the daemon of the instance. Returns the descriptor or -errno
 * (-ENOENT, -ECONNREFUSED: it does not run). Prints nothing.
 */
int cli_connect(const char *instance);

/* As cli_connect(), but says on stderr what is wrong and returns -1. */
int cli_open(const struct cli *cli);

/*
 * Sends request (its reference is taken) and reads the answer. Returns a new
 * object with "ok" true, or NULL after having said on stderr what is wrong.
 * Lines in "report" go to stderr in either case.
 */
json_t *cli_request(const struct cli *cli, json_t *request);

#endif
