/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/app.h"

#include "selftests/sim/cluster.h"
#include "selftests/sim/datapath.h"
#include "selftests/sim/invariants.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

#define TARGET_SENDS_NS (1500 * MS)

static void send_due(struct sim *sim, struct node *world, void *what, __u64 index)
{
	struct node *client = &sim->nodes[index];

	sim_after(sim, sim->shape.payload_ns, send_due, NULL, index, false);
	if (!client->up || client->paused_until > sim->now)
		return;
	invariant_takeover(sim, client, &client->clusters[0]);
	sim->count.sent++;
	datapath_encrypt(sim, client, &(struct inner){ .client = client->index, .number = ++client->app.number });
}

static void target_due(struct sim *sim, struct node *world, void *what, __u64 index)
{
	sim_after(sim, TARGET_SENDS_NS, target_due, NULL, index, false);
	lan_target_sends(sim, (int)index);
}

/* Through any gateway but the one in use, whose stamps are to come from this cluster alone. */
static void elsewhere_due(struct sim *sim, struct node *world, void *what, __u64 index)
{
	struct node *client = &sim->nodes[index];
	int gateway = (int)rng_below(&sim->rng, (__u64)sim->shape.n_gateways);
	struct peer *peer = node_peer(sim, client, gateway);

	sim_after(sim, sim->shape.elsewhere_ns, elsewhere_due, NULL, index, false);
	if (client->up && peer && peer->up && gateway != cluster_steered(&client->clusters[0]))
		datapath_elsewhere(sim, client, peer);
}

void app_start(struct sim *sim, struct node *client)
{
	__u64 index = (__u64)client->index;

	sim_after(sim, rng_below(&sim->rng, sim->shape.payload_ns), send_due, NULL, index, false);
	if (sim->shape.elsewhere_ns)
		sim_after(sim, rng_below(&sim->rng, sim->shape.elsewhere_ns), elsewhere_due, NULL, index, false);
	if (sim->shape.named)
		sim_after(sim, rng_below(&sim->rng, 4 * TARGET_SENDS_NS), target_due, NULL, index, false);
}

void app_receive(struct sim *sim, struct node *client, const struct inner *answer)
{
	struct app *app = &client->app;

	sim->count.answered += answer->number > 0;
	if (!app->window_from || answer->number < app->window_from || answer->number - app->window_from >= 64)
		return;
	app->seen |= 1ull << (answer->number - app->window_from);
}

void app_window_begin(struct node *client)
{
	client->app.window_from = client->app.number + 1;
}

void app_window_end(struct node *client)
{
	client->app.window_to = client->app.number + 1;
}

unsigned int app_window_sent(const struct node *client)
{
	return (unsigned int)(client->app.window_to - client->app.window_from);
}

/* What was sent after the window ended does not count. */
unsigned int app_window_answered(const struct node *client)
{
	unsigned int sent = app_window_sent(client);

	return (unsigned int)__builtin_popcountll(client->app.seen & (sent >= 64 ? ~0ull : (1ull << sent) - 1));
}
