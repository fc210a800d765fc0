/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* events: follows what happens, until interrupted. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loader/cli/cli.h"
#include "loader/control.h"

static void print_event(const json_t *event, bool json)
{
	double time = json_real_value(json_object_get(event, "time"));
	time_t seconds = (time_t)time;
	char clock[16];
	struct tm tm;

	if (json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&seconds, &tm));
		printf("%s.%03d %s: %s\n", clock, (int)((time - (double)seconds) * 1000),
		       json_string_value(json_object_get(event, "event")), json_string_value(json_object_get(event, "text")));
	}
	fflush(stdout);
}

/* Prints until the connection ends. */
static int follow(const struct cli *cli, FILE *stream, bool json)
{
	bool taken = false, stopping = false;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stream) > 0) {
		json_t *event = json_loads(line, 0, NULL);
		const char *name = json_string_value(json_object_get(event, "event"));

		taken |= json_is_true(json_object_get(event, "ok"));
		if (name)
			print_event(event, json);
		stopping |= name && !strcmp(name, "stopping");
		json_decref(event);
	}
	free(line);
	if (stopping)
		return EXIT_SUCCESS;
	if (!taken)
		return cli_error(cli, "instance %s takes no more listeners: %d at once", cli->instance, CONTROL_CLIENTS_MAX);
	cli_error(cli, "cut off: holdfastd has died, or this was read too slowly");
	return CLI_CUT_OFF;
}

int cmd_events(const struct cli *cli, int argc, char **argv)
{
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	static const char request[] = "{\"command\":\"events\"}\n";
	FILE *stream;
	int fd, status;

	if (argc != 1 + json)
		return cli_usage(cli);
	fd = cli_open(cli);
	if (fd < 0)
		return EXIT_FAILURE;
	/* One that is not taken is hung up on, perhaps already: that is read below. */
	send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
	stream = fdopen(fd, "r");
	if (!stream) {
		cli_error(cli, "%s", strerror(errno));
		close(fd);
		return EXIT_FAILURE;
	}
	status = follow(cli, stream, json);
	fclose(stream);
	return status;
}
