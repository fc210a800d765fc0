/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/control.h"
#include "loader/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "loader/daemon_internal.h"
#include "loader/session_record.h"
#include "loader/slots.h"
#include "policy/difference.h"
#include "policy/file.h"

struct reload {
	struct daemon *daemon;
	__u64 visitor;
	struct policy *policy; /* the new one, until it is in force */
	struct policy_table *table;
	struct policy_difference difference;
	char *report; /* warnings, as lines */
};

void reload_free(struct daemon *daemon)
{
	struct reload *reload = daemon->reload;

	if (!reload)
		return;
	daemon->reload = NULL;
	policy_difference_clear(&reload->difference);
	policy_table_free(reload->table);
	policy_free(reload->policy);
	free(reload->report);
	free(reload);
}

/* The end of a reload, whichever: said as an event, and to who asked. Takes the reload. */
static json_t *conclude(struct daemon *daemon, const char *error, const char *what)
{
	json_t *reply = error ? daemon_refusal("%s; nothing was changed", error) :
				json_pack("{s:b, s:s}", "ok", 1, "changed", what);

	if (daemon->reload->report && *daemon->reload->report)
		json_object_set_new(reply, "report", json_string(daemon->reload->report));
	eventlog_emit(daemon->log, EVENT_RELOAD, json_pack("{s:b, s:s}", "ok", !error, error ? "error" : "changed",
							    error ? error : what),
		      "%s%s%s", error ? "reload refused: " : "reloaded: ", error ? error : what,
		      error ? "; nothing was changed" : "");
	reload_free(daemon);
	return reply;
}

static void answer(struct daemon *daemon, const char *error, const char *what)
{
	__u64 visitor = daemon->reload->visitor;
	json_t *reply = conclude(daemon, error, what);

	if (visitor)
		daemon->config.answer(daemon->config.context, visitor, reply);
	else
		json_decref(reply);
}

void reload_fail(struct daemon *daemon, const char *why)
{
	answer(daemon, why, NULL);
}

/* Text to model. */

static int read_policy(struct reload *reload, char *error, size_t size)
{
	const char *path = reload->daemon->config.policy_path;
	struct policy_report report = { 0 };
	size_t len;
	FILE *lines = open_memstream(&reload->report, &len);
	int err = lines ? policyfile_load(path, &reload->policy, &report, error, size) : -ENOMEM;

	if (!lines) {
		snprintf(error, size, "out of memory");
		return err;
	}
	policyfile_print_report(path, &report, lines);
	policyfile_print_report(path, &report, stderr);
	if (fclose(lines) && !err)
		err = -ENOMEM;
	policy_report_clear(&report);
	return err;
}

static int compare(struct reload *reload, char *error, size_t size)
{
	const struct daemon *daemon = reload->daemon;
	int err = policyfile_shuffle(reload->policy);

	if (!err)
		err = policy_keep_order(daemon->policy, reload->policy);
	if (!err)
		err = policy_compile(reload->policy, &reload->table);
	if (!err)
		err = policy_compare(daemon->policy, daemon->table, reload->policy, reload->table, &reload->difference);
	if (err) {
		snprintf(error, size, "%s", strerror(-err));
		return err;
	}
	if (!reload->difference.refused)
		return 0;
	snprintf(error, size, "%s: %s cannot be changed while holdfastd runs: take it down and up again",
		 daemon->config.policy_path, reload->difference.refused);
	return -EBUSY;
}

json_t *reload_start(struct daemon *daemon, __u64 visitor)
{
	char error[DAEMON_ERROR_MAX] = "out of memory";
	struct reload *reload;
	int err;

	if (!daemon->ready || daemon->reload) {
		const char *why = daemon->ready ? "another reload is under way" : "holdfastd is only just starting";

		log_warning("reload: %s", why);
		return daemon_refusal("%s", why);
	}
	reload = calloc(1, sizeof(*reload));
	if (!reload)
		return daemon_refusal("%s", error);
	reload->daemon = daemon;
	reload->visitor = visitor;
	daemon->reload = reload;
	err = read_policy(reload, error, sizeof(error));
	if (!err)
		err = compare(reload, error, sizeof(error));
	if (!err)
		err = keyservice_offer_identity(daemon->service, reload->policy, error, sizeof(error));
	return err ? conclude(daemon, error, NULL) : CONTROL_LATER;
}

void daemon_reload(struct daemon *daemon)
{
	json_decref(reload_start(daemon, 0));
}

/* Model to kernel. */

struct applying {
	struct reload *reload;
	struct clusters_change *clusters;
	__u32 *slots;	  /* of the new policy's clusters, and of AUTO */
	bool dials_again; /* the server of AUTO leads elsewhere now, or nowhere */
	struct auto_server server;
	struct node_change change;
	bool node_changes; /* it is prepared */
};

/* Whether the cluster that AUTO leads to is another under the new policy. */
static bool leads_elsewhere(const struct reload *reload)
{
	const struct daemon *daemon = reload->daemon;
	size_t target;

	if (!daemon->server.index)
		return false;
	if (!auto_wanted(reload->policy))
		return true;
	target = auto_target(reload->policy, &daemon->server.address);
	if (target == reload->policy->n_clusters)
		return daemon->target != daemon->policy->n_clusters;
	return reload->difference.from[target] != daemon->target;
}

/* What is new beside what is there, and where others dial, too: nothing is closed yet. */
static int prepare_interfaces(struct applying *apply, char *error, size_t size)
{
	struct reload *reload = apply->reload;
	struct daemon *daemon = reload->daemon;
	const struct policy_difference *difference = &reload->difference;
	struct node_config config = daemon_node_config(daemon);
	struct keyservice_place places[2 * DAEMON_LISTENING_MAX];
	size_t n = daemon_listening(daemon, daemon->policy, places);

	config.policy = reload->policy;
	config.table = reload->table;
	/* With AUTO there may be no underlay until the server is there. */
	if (difference->underlay || difference->protected || difference->address ||
	    auto_wanted(daemon->policy) != auto_wanted(reload->policy)) {
		int err = node_change_prepare(&daemon->node, daemon->policy, &config, &apply->change);

		if (err) {
			snprintf(error, size, "%s: %s", daemon->config.policy_path, daemon->node.error);
			return err;
		}
		apply->node_changes = true;
	}
	n += daemon_listening(daemon, reload->policy, places + n);
	return keyservice_listen(daemon->service, places, n, error, size);
}

static int prepare(struct applying *apply, char *error, size_t size)
{
	struct reload *reload = apply->reload;
	struct daemon *daemon = reload->daemon;
	size_t n = reload->policy->n_clusters;
	int err;

	snprintf(error, size, "out of memory");
	apply->slots = calloc(n + 1, sizeof(*apply->slots));
	if (!apply->slots)
		return -ENOMEM;
	err = clusters_prepare(daemon->clusters, reload->policy, &reload->difference, &apply->clusters);
	if (err == -ENOSPC)
		snprintf(error, size, "more clusters than there is room for");
	if (err)
		return err;
	for (size_t i = 0; i < n + auto_wanted(reload->policy); i++)
		apply->slots[i] = clusters_change_slot(apply->clusters, i);
	return prepare_interfaces(apply, error, size);
}

/* Tunnels to AUTO lead where the server does, if there is one and it stays. */
static struct node_tunnels tunnels_of(const struct applying *apply)
{
	const struct reload *reload = apply->reload;
	const struct daemon *daemon = reload->daemon;
	struct node_tunnels tunnels = { .policy = reload->policy, .difference = &reload->difference, .slots = apply->slots };

	tunnels.auto_slot = apply->slots[reload->policy->n_clusters]; /* of no use where there is no AUTO */
	if (!daemon->server.index)
		return tunnels;
	tunnels.auto_slot = apply->slots[auto_target(reload->policy, &daemon->server.address)];
	tunnels.auto_source = &daemon->server.local;
	return tunnels;
}

/* Interfaces and sockets as they were. */
static void take_back_interfaces(struct applying *apply)
{
	struct daemon *daemon = apply->reload->daemon;

	if (apply->node_changes)
		node_change_discard(&daemon->node, &apply->change);
	apply->node_changes = false;
	daemon_listen_where_due(daemon);
}

/* The kernel refused something midway: what was written is written as it was. */
static void take_back(struct applying *apply)
{
	struct reload *reload = apply->reload;
	struct daemon *daemon = reload->daemon;
	struct policy_difference back;
	size_t n = daemon->policy->n_clusters;
	__u32 *slots = calloc(n + 1, sizeof(*slots));
	struct node_tunnels tunnels = { .policy = daemon->policy, .difference = &back, .slots = slots };

	clients_change_policy(daemon->clients, daemon->policy, daemon->table);
	if (!slots || policy_compare(reload->policy, reload->table, daemon->policy, daemon->table, &back)) {
		free(slots);
		log_error("reload: out of memory; tunnels that are new stay closed");
		return;
	}
	for (size_t i = 0; i < n + auto_wanted(daemon->policy); i++)
		slots[i] = clusters_slot(daemon->clusters, i);
	tunnels.auto_slot = slots[daemon->server.index ? daemon->target : n];
	tunnels.auto_source = daemon->server.index ? &daemon->server.local : NULL;
	if (node_add_tunnels(&daemon->node, &tunnels))
		log_error("reload: %s", daemon->node.error);
	node_remove_tunnels(&daemon->node, &tunnels);
	policy_difference_clear(&back);
	free(slots);
}

/* Other interfaces and addresses, for everybody who goes by them; the policy is in force already. */
static void change_interfaces(struct applying *apply)
{
	struct daemon *daemon = apply->reload->daemon;
	struct node_config config = daemon_node_config(daemon);
	bool source = !addr_equal(&apply->change.before.source, &daemon->node.source);

	if (node_change_commit(&daemon->node, &apply->change, &config))
		log_warning("reload: %s", daemon->node.error);
	if (clients_change_protected(daemon->clients, apply->change.before.protected, apply->change.before.n_protected))
		log_warning("reload: not all protected interfaces can be listened on");
	gate_look(daemon->gate);
	if (apply->reload->difference.address || (source && !daemon->policy->interface.n_address))
		clusters_begin_anew(daemon->clusters, "the addresses inside are others now");
}

/* From here on nothing can fail. */
static void put_in_force(struct applying *apply, const struct node_tunnels *tunnels)
{
	struct reload *reload = apply->reload;
	struct daemon *daemon = reload->daemon;
	struct policy *old = daemon->policy;
	struct policy_table *old_table = daemon->table;

	/* What the clusters ask for is asked for by the new policy. */
	keyservice_take_policy(daemon->service, reload->policy);
	clusters_commit(apply->clusters);
	node_remove_tunnels(&daemon->node, tunnels);
	daemon->policy = reload->policy;
	daemon->table = reload->table;
	free(daemon->node.slots);
	daemon->node.slots = apply->slots;
	daemon->node.grants = session_record_grants(daemon->policy);
	if (daemon->server.index)
		daemon->target = auto_target(daemon->policy, &daemon->server.address);
	if (apply->node_changes)
		change_interfaces(apply);
	/* What the kernel did not take is tried again; the first gateway may be another, by another interface; the first tunnel is. */
	reconcile_doubt(daemon->reconcile);
	datapath_set_key_service_port(daemon->node.dp, daemon->policy->interface.key_service_port);
	daemon_listen_where_due(daemon);
	if (slots_note(daemon->node.dp, daemon->policy, daemon->node.slots))
		log_warning("reload: the clusters' slots cannot be noted: a crash would cost their sessions");
	daemon_set_limits(daemon);
	reload->policy = old;
	reload->table = old_table;
}

static int apply_all(struct applying *apply, char *error, size_t size)
{
	struct reload *reload = apply->reload;
	struct daemon *daemon = reload->daemon;
	struct node_tunnels tunnels;
	int err = prepare(apply, error, size);

	if (err)
		return err;
	apply->dials_again = leads_elsewhere(reload);
	apply->server = daemon->server;
	if (apply->dials_again)
		daemon_hang_up(daemon);
	/* Clients first: their own entries would be in the way of the policy's. */
	clients_change_policy(daemon->clients, reload->policy, reload->table);
	tunnels = tunnels_of(apply);
	err = node_add_tunnels(&daemon->node, &tunnels);
	if (err) {
		snprintf(error, size, "%s", daemon->node.error);
		take_back_interfaces(apply); /* first: routes that come back have the source that they had */
		take_back(apply);
	} else {
		put_in_force(apply, &tunnels);
	}
	if (apply->dials_again && auto_wanted(daemon->policy) && daemon_dial(daemon, &apply->server))
		log_error("AUTO: %s", daemon->node.error);
	if (!err && daemon_watch_servers(daemon))
		log_error("AUTO: cannot watch the links: tunnels there stay closed; reload again");
	return err;
}

/* A certificate is replaced in its file more often than it gets another name. */
static void say_difference(const struct reload *reload, const struct kms_ready *ready, char *what, size_t size)
{
	size_t len;

	policy_difference_text(&reload->difference, what, size);
	if (ready->not_after == reload->daemon->not_after || reload->difference.identity)
		return;
	len = strcmp(what, "nothing changed") ? strlen(what) : 0;
	snprintf(what + len, size - len, "%scertificate replaced", len ? ", " : "");
}

void reload_identity(struct daemon *daemon, const struct kms_ready *ready)
{
	struct reload *reload = daemon->reload;
	struct applying apply = { .reload = reload };
	char error[DAEMON_ERROR_MAX], what[256];
	int err;

	if (ready->result) {
		reload_fail(daemon, ready->text);
		return;
	}
	say_difference(reload, ready, what, sizeof(what));
	err = apply_all(&apply, error, sizeof(error));
	if (!err) {
		log_info("this is %s", ready->name);
		daemon_note_ends(daemon, ready);
		answer(daemon, NULL, what);
		return;
	}
	clusters_discard(apply.clusters);
	free(apply.slots);
	take_back_interfaces(&apply);
	/* The files were read anew; the policy in force may name others. */
	if (keyservice_offer_identity(daemon->service, daemon->policy, what, sizeof(what)))
		log_error("reload: %s", what);
	reload_fail(daemon, error);
}
