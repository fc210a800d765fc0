/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * AUTO: the server that the point-to-point links tell of is dialled, away from
 * the one before, and it is said where tunnels to AUTO lead. Which link has it,
 * and where it is redirected to, is auto.c's to choose.
 */
#include <stdio.h>

#include "lib/log.h"
#include "loader/daemon_internal.h"
#include "loader/link.h"

const char *daemon_auto_target(const struct daemon *daemon)
{
	return daemon->target < daemon->policy->n_clusters ? daemon->policy->clusters[daemon->target].name : "AUTO";
}

/* The tunnels first: from then on nothing is sent. */
void daemon_hang_up(struct daemon *daemon)
{
	struct node_config node = daemon_node_config(daemon);
	struct hf_addr local = daemon->server.local;
	struct link_path path;

	if (node_hang_up(&daemon->node, &node))
		log_error("AUTO: %s", daemon->node.error);
	daemon->server.index = 0;
	daemon_listen_where_due(daemon);
	clusters_detected(daemon->clusters, NULL, 0);
	if (link_path(daemon->node.route, &local, &path) || !path.local)
		clusters_address_lost(daemon->clusters, &local);
}

/* To the server itself, or to the cluster that it is redirected to; over its link, and so from our address there. */
int daemon_dial(struct daemon *daemon, const struct auto_server *server)
{
	struct node_config node = daemon_node_config(daemon);
	size_t target = auto_target(daemon->policy, &server->address);
	int err = node_dial(&daemon->node, &node, server->index, clusters_slot(daemon->clusters, target), &server->local);

	if (err)
		return err;
	daemon->server = *server;
	daemon->target = target;
	daemon_listen_where_due(daemon);
	clusters_detected(daemon->clusters, &server->address, target);
	return 0;
}

static void say_no_server(struct daemon *daemon)
{
	eventlog_emit(daemon->log, EVENT_AUTO,
		      json_pack("{s:n, s:n, s:n}", "interface", "server", "target"),
		      "no point-to-point link has a server: tunnels to AUTO are closed");
}

static void say_server(struct daemon *daemon, const struct auto_server *server, const char *why_not)
{
	struct addr_text address = addr_text(&server->address);
	char several[64] = "";

	if (server->n_links > 1)
		snprintf(several, sizeof(several), " (of %zu such links the one that came up last)", server->n_links);
	eventlog_emit(daemon->log, EVENT_AUTO,
		      json_pack("{s:s, s:s, s:s?, s:I}", "interface", server->name, "server", address.s, "target",
				why_not ? NULL : daemon_auto_target(daemon), "links", (json_int_t)server->n_links),
		      "%s is the server, on %s%s: tunnels to AUTO %s%s", address.s, server->name, several,
		      why_not ? "stay closed: " : daemon->target < daemon->policy->n_clusters ? "are redirected to " :
												"lead there",
		      why_not ? why_not : daemon->target < daemon->policy->n_clusters ? daemon_auto_target(daemon) : "");
}

static void on_server(void *context, const struct auto_server *server)
{
	struct daemon *daemon = context;
	int err;

	if (daemon->server.index)
		daemon_hang_up(daemon);
	if (!server) {
		say_no_server(daemon);
		return;
	}
	err = daemon_dial(daemon, server);
	say_server(daemon, server, err ? daemon->node.error : NULL);
}

int daemon_watch_servers(struct daemon *daemon)
{
	if (!auto_wanted(daemon->policy)) {
		auto_free(daemon->watch);
		daemon->watch = NULL;
		return 0;
	}
	return daemon->watch ? 0 : auto_new(daemon->base, daemon->node.route, on_server, daemon, &daemon->watch);
}
