/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* status and metrics: the same object, for people, programs and Prometheus. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/cli/cli.h"

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : otherwise;
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void print_gateway(const json_t *gateway)
{
	const json_t *session = json_object_get(gateway, "session");
	const json_t *rx = json_object_get(gateway, "last_rx_ms");
	const json_t *rtt = json_object_get(gateway, "rtt_us");

	printf("  %-16s %-8s", text_of(gateway, "address", "?"), text_of(gateway, "state", "?"));
	if (json_is_integer(rx))
		printf("  heard %lld ms ago", (long long)json_integer_value(rx));
	if (json_is_integer(rtt))
		printf("  rtt %lld us", (long long)json_integer_value(rtt));
	if (json_is_object(session))
		printf("  %s, %lld s old, in %lld, out %lld bytes", text_of(session, "algorithm", "?"),
		       number_of(session, "established_s"), number_of(session, "bytes_in"),
		       number_of(session, "bytes_out"));
	putchar('\n');
}

static void print_clusters(const json_t *clusters)
{
	const json_t *cluster, *gateway;
	size_t i, k;

	json_array_foreach(clusters, i, cluster) {
		printf("%s: uses %s\n", text_of(cluster, "name", "?"), text_of(cluster, "current", "no gateway"));
		json_array_foreach(json_object_get(cluster, "gateways"), k, gateway)
			print_gateway(gateway);
	}
}

static void print_clients(const json_t *clients)
{
	const json_t *client, *inner;
	size_t i, k;

	json_array_foreach(clients, i, client) {
		const json_t *session = json_object_get(client, "session");

		printf("client %s (%s), inner", text_of(client, "address", "?"), text_of(client, "name", "?"));
		json_array_foreach(json_object_get(client, "inner"), k, inner)
			printf(" %s", json_string_value(inner));
		printf("%s", json_is_true(json_object_get(client, "claimed")) ? ", uses this gateway" : "");
		if (json_is_object(session))
			printf(", %s, in %lld, out %lld bytes", text_of(session, "algorithm", "?"),
			       number_of(session, "bytes_in"), number_of(session, "bytes_out"));
		putchar('\n');
	}
}

static void print_counts(const char *title, json_t *counts, bool zeros)
{
	const char *key;
	json_t *value;

	printf("%s:", title);
	json_object_foreach(counts, key, value)
		if (zeros || json_integer_value(value))
			printf(" %s %lld", key, (long long)json_integer_value(value));
	putchar('\n');
}

static void print_auto(const json_t *detected)
{
	if (!json_is_object(detected))
		return;
	if (json_is_string(json_object_get(detected, "server")))
		printf("AUTO: server %s on %s, leads to %s\n", text_of(detected, "server", "?"),
		       text_of(detected, "interface", "?"), text_of(detected, "target", "?"));
	else
		printf("AUTO: no server\n");
}

static void print_status(const json_t *status)
{
	const json_t *health = json_object_get(status, "health");
	const char *reason = text_of(health, "reason", "");

	printf("instance %s, pid %lld, Holdfast %s on Linux %s\n", text_of(status, "instance", "?"),
	       number_of(status, "pid"), text_of(status, "version", "?"), text_of(status, "kernel", "?"));
	print_clusters(json_object_get(status, "clusters"));
	print_auto(json_object_get(status, "auto"));
	print_clients(json_object_get(status, "clients"));
	printf("gate: %s%s%s\n", text_of(health, "gate", "?"), *reason ? ": " : "", reason);
	print_counts("heartbeats", json_object_get(status, "heartbeats"), true);
	print_counts("drops", json_object_get(status, "drops"), false);
	printf("failovers: %lld\n", number_of(status, "failovers"));
}

int cmd_status(const struct cli *cli, int argc, char **argv)
{
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	json_t *reply;

	if (argc != 1 + json)
		return cli_usage(cli);
	reply = cli_request(cli, json_pack("{s:s}", "command", "status"));
	if (!reply)
		return EXIT_FAILURE;
	if (json) {
		json_dumpf(json_object_get(reply, "status"), stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_status(json_object_get(reply, "status"));
	}
	json_decref(reply);
	return EXIT_SUCCESS;
}

static void metric_head(const char *name, const char *type, const char *help)
{
	printf("# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
}

static void print_gateway_metrics(const json_t *clusters, const char *metric, const char *key)
{
	const json_t *cluster, *gateway;
	size_t i, k;

	json_array_foreach(clusters, i, cluster)
		json_array_foreach(json_object_get(cluster, "gateways"), k, gateway) {
			const char *address = text_of(gateway, "address", "?");
			const json_t *session = json_object_get(gateway, "session");
			const char *name = text_of(cluster, "name", "?");

			if (!key)
				printf("holdfast_%s{cluster=\"%s\",gateway=\"%s\"} %d\n", metric, name, address,
				       !strcmp(text_of(gateway, "state", ""), "active"));
			else if (json_is_object(session))
				printf("holdfast_%s{cluster=\"%s\",gateway=\"%s\"} %lld\n", metric, name, address,
				       number_of(session, key));
		}
}

int cmd_metrics(const struct cli *cli, int argc, char **argv)
{
	json_t *reply, *status, *value;
	const char *key;

	if (argc != 1)
		return cli_usage(cli);
	reply = cli_request(cli, json_pack("{s:s}", "command", "status"));
	if (!reply)
		return EXIT_FAILURE;
	status = json_object_get(reply, "status");
	metric_head("gateway_in_use", "gauge", "1 for the gateway that a cluster's traffic goes to.");
	print_gateway_metrics(json_object_get(status, "clusters"), "gateway_in_use", NULL);
	metric_head("session_bytes_in", "gauge", "Bytes received in the present session.");
	print_gateway_metrics(json_object_get(status, "clusters"), "session_bytes_in", "bytes_in");
	metric_head("session_bytes_out", "gauge", "Bytes sent in the present session.");
	print_gateway_metrics(json_object_get(status, "clusters"), "session_bytes_out", "bytes_out");
	metric_head("clients", "gauge", "Clients with a session.");
	printf("holdfast_clients %zu\n", json_array_size(json_object_get(status, "clients")));
	value = json_object_get(status, "certificate_ends");
	metric_head("certificate_ends_seconds", "gauge", "When our own certificate ends, in seconds since 1970.");
	if (json_is_integer(value))
		printf("holdfast_certificate_ends_seconds %lld\n", (long long)json_integer_value(value));
	metric_head("gate_open", "gauge", "Whether this gateway answers heartbeats.");
	printf("holdfast_gate_open %d\n",
	       !strcmp(text_of(json_object_get(status, "health"), "gate", ""), "open"));
	metric_head("drops_total", "counter", "Packets dropped, by reason.");
	json_object_foreach(json_object_get(status, "drops"), key, value)
		printf("holdfast_drops_total{reason=\"%s\"} %lld\n", key, (long long)json_integer_value(value));
	metric_head("heartbeats_total", "counter", "Heartbeats, by what became of them.");
	json_object_foreach(json_object_get(status, "heartbeats"), key, value)
		printf("holdfast_heartbeats_total{fate=\"%s\"} %lld\n", key, (long long)json_integer_value(value));
	metric_head("failovers_total", "counter", "Times that a cluster left the gateway in use.");
	printf("holdfast_failovers_total %lld\n", number_of(status, "failovers"));
	json_decref(reply);
	return EXIT_SUCCESS;
}
