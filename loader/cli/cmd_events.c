/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* events: follows what happens, until interrupted. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader/cli/cli.h"

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

int cmd_events(const struct cli *cli, int argc, char **argv)
{
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	char *line = NULL;
	size_t size = 0;
	FILE *stream;
	int fd;

	if (argc != 1 + json)
		return cli_usage(cli);
	fd = cli_connect(cli->instance);
	if (fd < 0)
		return cli_error(cli, "instance %s: %s; is it up?", cli->instance, strerror(-fd));
	stream = fdopen(fd, "r+");
	if (!stream || fputs("{\"command\":\"events\"}\n", stream) < 0 || fflush(stream)) {
		cli_error(cli, "%s", strerror(errno));
		close(fd);
		return EXIT_FAILURE;
	}
	while (getline(&line, &size, stream) > 0) {
		json_t *event = json_loads(line, 0, NULL);

		if (json_object_get(event, "event"))
			print_event(event, json);
		json_decref(event);
	}
	free(line);
	fclose(stream);
	return EXIT_SUCCESS;
}
