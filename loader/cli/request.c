/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loader/cli/cli.h"
#include "loader/control.h"

int cli_error(const struct cli *cli, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "holdfast %s: ", cli->command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

int cli_usage(const struct cli *cli)
{
	fputs(cli_help(cli->command), stderr);
	return EXIT_FAILURE;
}

int cli_connect(const char *instance)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	snprintf(sun.sun_path, sizeof(sun.sun_path), CONTROL_RUN_ROOT "/%s/control.sock", instance);
	if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int cli_open(const struct cli *cli)
{
	int fd = cli_connect(cli->instance);

	if (fd >= 0)
		return fd;
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		cli_error(cli, "instance %s is not running here; start it with `holdfast up`", cli->instance);
	else if (fd == -EACCES || fd == -EPERM)
		cli_error(cli, "not allowed to talk to instance %s: use sudo", cli->instance);
	else
		cli_error(cli, "instance %s: %s", cli->instance, strerror(-fd));
	return -1;
}

json_t *cli_request(const struct cli *cli, json_t *request)
{
	int fd = cli_open(cli);
	char *text = json_dumps(request, JSON_COMPACT);
	json_t *reply = NULL;
	FILE *stream = NULL;

	json_decref(request);
	if (fd < 0)
		goto out;
	stream = fdopen(fd, "r");
	if (!stream || !text) {
		cli_error(cli, "instance %s: %s", cli->instance, strerror(errno));
		goto out;
	}
	/* Whoever is one too many is hung up on, perhaps already: that is read below. */
	send(fd, text, strlen(text), MSG_NOSIGNAL);
	send(fd, "\n", 1, MSG_NOSIGNAL);
	reply = json_loadf(stream, JSON_DISABLE_EOF_CHECK, NULL);
	if (json_object_get(reply, "report"))
		fputs(json_string_value(json_object_get(reply, "report")), stderr);
	if (!reply) {
		cli_error(cli, "instance %s did not answer: is it going down, or asked too much at once?", cli->instance);
	} else if (!json_is_true(json_object_get(reply, "ok"))) {
		const char *error = json_string_value(json_object_get(reply, "error"));

		cli_error(cli, "%s", error ? error : "refused");
		json_decref(reply);
		reply = NULL;
	}
out:
	free(text);
	if (stream)
		fclose(stream);
	else if (fd >= 0)
		close(fd);
	return reply;
}
