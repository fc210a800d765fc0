/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/sim.h"

#include <stdlib.h>

#include "selftests/sim/faults.h"
#include "selftests/sim/node.h"
#include "selftests/sim/tcp.h"

void *sim_alloc(size_t n, size_t size)
{
	void *memory = calloc(n, size);

	if (!memory) {
		fputs("sim: out of memory\n", stderr);
		exit(2);
	}
	return memory;
}

void sim_worst(struct worst *worst, __u64 ns, __u64 seed)
{
	if (ns > worst->ns)
		*worst = (struct worst){ ns, seed };
}

void sim_after(struct sim *sim, __u64 wait, sim_fire fire, void *what, __u64 n, bool owned)
{
	queue_push(&sim->queue,
		   (struct event){ .at = sim->now + wait, .fire = fire, .what = what, .n = n, .owned = owned });
}

void sim_node_after(struct sim *sim, struct node *node, bool daemon, __u64 wait, sim_fire fire, void *what, __u64 n,
		    bool owned)
{
	queue_push(&sim->queue, (struct event){ .at = sim->now + wait, .fire = fire, .node = node,
						.life = daemon ? node->daemon_life : node->life, .daemon = daemon,
						.what = what, .n = n, .owned = owned });
}

void sim_tell_daemon(struct sim *sim, struct node *node, sim_fire fire, void *what)
{
	queue_push(&sim->queue, (struct event){ .at = sim->now + node->link_ns, .fire = fire, .node = node, .life = node->life,
						.ring = true, .what = what, .owned = true });
}

void sim_fault(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->failed)
		return;
	va_start(args, format);
	vsnprintf(sim->why, sizeof(sim->why), format, args);
	va_end(args);
	sim->failed = true;
	TRACE(sim, NULL, "FAULT: %s", sim->why);
}

void sim_say(struct sim *sim, const struct node *node, const char *format, ...)
{
	va_list args;

	fprintf(sim->trace, "%12.6f %-5s ", (double)sim->now / SEC, node ? node->name : "-");
	va_start(args, format);
	vfprintf(sim->trace, format, args);
	va_end(args);
	fputc('\n', sim->trace);
}

static bool is_alive(const struct event *event)
{
	return !event->node || event->life == (event->daemon ? event->node->daemon_life : event->node->life);
}

static void dispatch(struct sim *sim, struct event *event)
{
	struct node *node = event->node;
	bool alive = is_alive(event);

	/* A daemon that is killed is stopped until the next one starts. */
	if (alive && node && (event->daemon || event->ring) && (node->stopped_until > sim->now || !node->daemon_up)) {
		event->at = node->stopped_until > sim->now ? node->stopped_until : sim->now + 1;
		queue_push(&sim->queue, *event);
		return;
	}
	sim->count.events++;
	if (alive)
		event->fire(sim, node, event->what, event->n);
	if (event->owned)
		free(event->what);
}

void sim_run(struct sim *sim, __u64 until)
{
	struct event event;

	while (!sim->failed && sim->queue.n && sim->queue.heap[0].at <= until) {
		queue_pop(&sim->queue, &event);
		sim->now = event.at;
		dispatch(sim, &event);
	}
	if (!sim->failed)
		sim->now = until;
}

void sim_init(struct sim *sim, enum shape_kind kind, __u64 seed, FILE *trace)
{
	*sim = (struct sim){ .seed = seed, .now = SEC, .trace = trace };
	shape_draw(&sim->shape, kind, seed);
	rng_seed(&sim->rng, rng_mix(seed) ^ kind);
	nodes_init(sim);
	net_init(sim);
	lan_init(sim);
	nodes_start(sim);
	faults_plan(sim);
}

void sim_clear(struct sim *sim)
{
	queue_clear(&sim->queue);
	nodes_clear(sim);
	conns_clear(sim);
	net_clear(&sim->net);
	lan_clear(&sim->lan);
	sa_clear(&sim->sas);
}
