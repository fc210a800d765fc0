/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The commands of the control socket: each is put to the part that it is for, and answered. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "loader/daemon_internal.h"
#include "loader/reload.h"
#include "loader/status.h"

json_t *daemon_refusal(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_make_printable(text); /* it repeats what it was told, and may end in the midst of a character */
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *auto_json(const struct daemon *daemon)
{
	bool any = daemon->server.index != 0;

	return json_pack("{s:s?, s:s?, s:s?}", "interface", any ? daemon->server.name : NULL, "server",
			 any ? addr_text(&daemon->server.address).s : NULL, "target", any ? daemon_auto_target(daemon) : NULL);
}

static json_t *command_status(struct daemon *daemon, const json_t *request)
{
	struct status_sources sources = { .instance = daemon->config.instance, .node = &daemon->node,
					  .clusters = daemon->clusters, .clients = daemon->clients,
					  .gate = daemon->gate };
	json_t *status;

	status = status_json(&sources);
	json_object_set_new(status, "certificate_ends",
			    daemon->not_after ? json_integer((json_int_t)daemon->not_after) : json_null());
	if (daemon->watch)
		json_object_set_new(status, "auto", auto_json(daemon));
	return json_pack("{s:b, s:o}", "ok", 1, "status", status);
}

static json_t *command_failover(struct daemon *daemon, const json_t *request)
{
	const char *cluster = json_string_value(json_object_get(request, "cluster"));
	const char *gateway = json_string_value(json_object_get(request, "gateway"));
	struct hf_addr addr;
	int err;

	if (!cluster)
		return daemon_refusal("which cluster?");
	if (gateway && addr_parse(gateway, strlen(gateway), &addr))
		return daemon_refusal("%s is not an address", gateway);
	err = clusters_move(daemon->clusters, cluster, gateway ? &addr : NULL);
	if (err == -ENOENT)
		return daemon_refusal("no cluster is named %s; see `holdfast status`", cluster);
	if (err == -EINVAL)
		return daemon_refusal("%s is not a gateway of %s; see `holdfast status`", gateway, cluster);
	if (err == -ENODEV)
		return daemon_refusal("%s is not in use by any tunnel now; see `holdfast status`", cluster);
	if (err == -EALREADY)
		return daemon_refusal("%s uses %s already", cluster, gateway);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *command_drain(struct daemon *daemon, const json_t *request)
{
	gate_drain(daemon->gate, true);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *command_undrain(struct daemon *daemon, const json_t *request)
{
	gate_drain(daemon->gate, false);
	return json_pack("{s:b}", "ok", 1);
}

static const struct {
	const char *name;
	json_t *(*run)(struct daemon *daemon, const json_t *request);
} commands[] = {
	{ "status", command_status },
	{ "failover", command_failover },
	{ "drain", command_drain },
	{ "undrain", command_undrain },
};

json_t *daemon_command(struct daemon *daemon, const json_t *request, __u64 visitor)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	if (name && !strcmp(name, "reload"))
		return reload_start(daemon, visitor);
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run(daemon, request);
	return daemon_refusal("holdfastd knows no command %s", name ? name : "(none)");
}
