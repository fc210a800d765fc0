/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* failover, drain, undrain and reload: what a user asks of a running instance. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/clock.h"
#include "loader/cli/cli.h"

#define MOVED_WITHIN_S 10

/*
 * The gateway in use by a cluster, as text or null, in a new reference; NULL when there is no such cluster, which the daemon
 * says of the command itself. False: no answer, and that was said.
 */
static bool current_gateway(const struct cli *cli, const char *name, json_t **ret_current)
{
	json_t *reply = cli_request(cli, json_pack("{s:s}", "command", "status"));
	json_t *clusters = json_object_get(json_object_get(reply, "status"), "clusters");
	json_t *cluster;
	bool answered = reply;
	size_t i;

	*ret_current = NULL;
	json_array_foreach(clusters, i, cluster)
		if (!strcasecmp(json_string_value(json_object_get(cluster, "name")), name))
			*ret_current = json_incref(json_object_get(cluster, "current"));
	json_decref(reply);
	return answered;
}

/* Waits until the cluster uses another gateway than before (or `to`). */
static int wait_moved(const struct cli *cli, const char *name, const json_t *before, const char *to)
{
	__u64 end = clock_now_ns() + MOVED_WITHIN_S * CLOCK_NS_PER_S;

	while (clock_now_ns() < end) {
		struct timespec pause = { .tv_nsec = 20000000 };
		const char *text;
		json_t *now;
		bool moved;

		if (!current_gateway(cli, name, &now))
			return EXIT_FAILURE;
		text = json_string_value(now);
		moved = text && (to ? !strcmp(text, to) : !json_equal(now, before));
		if (moved)
			printf("%s uses %s\n", name, text);
		json_decref(now);
		if (moved)
			return EXIT_SUCCESS;
		nanosleep(&pause, NULL);
	}
	return cli_error(cli, "%s did not move within %d s; see `holdfast status` and `holdfast events`", name,
			 MOVED_WITHIN_S);
}

int cmd_failover(const struct cli *cli, int argc, char **argv)
{
	json_t *request, *reply, *before;
	int status = EXIT_FAILURE;

	if (argc < 2 || argc > 3)
		return cli_usage(cli);
	if (!current_gateway(cli, argv[1], &before))
		return EXIT_FAILURE;
	request = json_pack("{s:s, s:s}", "command", "failover", "cluster", argv[1]);
	if (argc == 3)
		json_object_set_new(request, "gateway", json_string(argv[2]));
	reply = cli_request(cli, request);
	if (reply)
		status = wait_moved(cli, argv[1], before, argc == 3 ? argv[2] : NULL);
	json_decref(reply);
	json_decref(before);
	return status;
}

int cmd_drain(const struct cli *cli, int argc, char **argv)
{
	json_t *reply;

	if (argc != 1)
		return cli_usage(cli);
	reply = cli_request(cli, json_pack("{s:s}", "command", argv[0]));
	json_decref(reply);
	return reply ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cmd_reload(const struct cli *cli, int argc, char **argv)
{
	json_t *reply;

	if (argc != 1)
		return cli_usage(cli);
	reply = cli_request(cli, json_pack("{s:s}", "command", argv[0]));
	if (!reply)
		return EXIT_FAILURE;
	puts(json_string_value(json_object_get(reply, "changed")));
	json_decref(reply);
	return EXIT_SUCCESS;
}
