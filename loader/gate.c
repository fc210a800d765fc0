/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "loader/link.h"

/* The datapath's gate is pushed on this often, for this long. */
#define REFRESH_MS 500
#define OPEN_FOR_NS (3 * CLOCK_NS_PER_S)
/* While closed, clients are asked to leave at every so many refreshes: a request may be lost. */
#define ASK_EVERY 4

struct gate {
	struct node *node;
	struct eventlog *log;
	gate_closed closed;
	gate_underlay underlay;
	void *context;
	struct netlink_monitor *monitor;
	struct event *readable;
	struct event *refresh;
	bool drained;
	bool open;
	bool cut_off; /* no Underlay interface has a link */
	unsigned int refreshes;
	char reason[64];
};

static const struct node_interface *without_link(const struct gate *gate)
{
	for (size_t i = 0; i < gate->node->n_protected; i++)
		if (!gate->node->protected[i].running)
			return &gate->node->protected[i];
	return NULL;
}

static void write_gate(const struct gate *gate)
{
	datapath_set_gate(gate->node->dp, gate->open ? clock_now_ns() + OPEN_FOR_NS : 0);
}

/* Looks at what decides, and acts when the answer is another than before. */
static void decide(struct gate *gate)
{
	const struct node_interface *down = without_link(gate);
	bool open = !down && !gate->drained;

	gate->reason[0] = '\0';
	if (gate->drained)
		snprintf(gate->reason, sizeof(gate->reason), "drained");
	else if (down)
		snprintf(gate->reason, sizeof(gate->reason), "protected interface %s has no link", down->name);
	if (open == gate->open)
		return;
	gate->open = open;
	gate->refreshes = 0;
	write_gate(gate);
	eventlog_emit(gate->log, EVENT_GATE,
		      json_pack("{s:s, s:s}", "gate", open ? "open" : "closed", "reason", gate->reason),
		      "the gate is %s%s%s", open ? "open" : "closed", open ? "" : ": ", gate->reason);
	if (!open)
		gate->closed(gate->context);
}

static void decide_underlay(struct gate *gate)
{
	bool cut_off = gate->node->n_underlay;

	for (size_t i = 0; i < gate->node->n_underlay; i++)
		cut_off = cut_off && !gate->node->underlay[i].running;
	if (cut_off == gate->cut_off)
		return;
	gate->cut_off = cut_off;
	gate->underlay(gate->context, !cut_off);
}

static void read_running(const struct gate *gate, struct node_interface *interface)
{
	struct link_info info;

	interface->running = !link_by_index(gate->node->route, interface->index, &info) && info.running;
}

static void refresh_due(evutil_socket_t fd, short what, void *context)
{
	struct gate *gate = context;

	decide(gate); /* an interface that came back as another one is followed by reconcile.c */
	for (size_t i = 0; gate->cut_off && i < gate->node->n_underlay; i++)
		read_running(gate, &gate->node->underlay[i]);
	decide_underlay(gate);
	write_gate(gate);
	if (!gate->open && ++gate->refreshes % ASK_EVERY == 0)
		gate->closed(gate->context);
}

static void change(const struct gate *gate, struct node_interface *interface, const struct netlink_event *event)
{
	if (event->type == NETLINK_OVERRUN)
		read_running(gate, interface);
	else if (event->index == interface->index && event->type == NETLINK_LINK)
		interface->running = event->running;
	else if (event->index == interface->index && event->type == NETLINK_LINK_GONE)
		interface->running = false;
}

static void on_change(void *context, const struct netlink_event *event)
{
	struct gate *gate = context;

	for (size_t i = 0; i < gate->node->n_protected; i++)
		change(gate, &gate->node->protected[i], event);
	for (size_t i = 0; i < gate->node->n_underlay; i++)
		change(gate, &gate->node->underlay[i], event);
	decide(gate);
	decide_underlay(gate);
}

static void monitor_readable(evutil_socket_t fd, short what, void *context)
{
	netlink_monitor_dispatch(((struct gate *)context)->monitor);
}

int gate_new(struct event_base *base, struct node *node, struct eventlog *log, gate_closed closed, gate_underlay underlay,
	     void *context, struct gate **ret_gate)
{
	static const struct timeval every = { .tv_usec = REFRESH_MS * 1000 };
	struct gate *gate = calloc(1, sizeof(*gate));
	int err;

	if (!gate)
		return -ENOMEM;
	gate->node = node;
	gate->log = log;
	gate->closed = closed;
	gate->underlay = underlay;
	gate->context = context;
	err = netlink_monitor_open(on_change, gate, &gate->monitor);
	if (err) {
		free(gate);
		return err;
	}
	/* A change between the first reading and the monitor must not be missed. */
	on_change(gate, &(struct netlink_event){ .type = NETLINK_OVERRUN });
	gate->readable = event_new(base, netlink_monitor_fd(gate->monitor), EV_READ | EV_PERSIST, monitor_readable, gate);
	gate->refresh = event_new(base, -1, EV_PERSIST, refresh_due, gate);
	if (!gate->readable || !gate->refresh || event_add(gate->readable, NULL) || event_add(gate->refresh, &every)) {
		gate_free(gate);
		return -ENOMEM;
	}
	*ret_gate = gate;
	return 0;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	gate->open = false;
	if (gate->node->dp)
		write_gate(gate);
	if (gate->readable)
		event_free(gate->readable);
	if (gate->refresh)
		event_free(gate->refresh);
	netlink_monitor_close(gate->monitor);
	free(gate);
}

void gate_drain(struct gate *gate, bool drained)
{
	gate->drained = drained;
	decide(gate);
}

void gate_look(struct gate *gate)
{
	on_change(gate, &(struct netlink_event){ .type = NETLINK_OVERRUN });
}

bool gate_is_open(const struct gate *gate)
{
	return gate->open;
}

const char *gate_reason(const struct gate *gate)
{
	return gate->reason;
}
