/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/spread.h"

#include "selftests/sim/cluster.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

/* The 99.9 % points of chi-squared with 4 and with 3 degrees of freedom. */
#define POINT_4 18.47
#define POINT_3 16.27

static void count(struct sim *sim, unsigned int *counts)
{
	for (int i = 0; i < sim->shape.n_clients; i++) {
		int current = cluster_current(&node_client(sim, i)->clusters[0]);

		if (current >= 0)
			counts[current]++;
		else
			sim_fault(sim, "%s uses nobody", node_client(sim, i)->name);
	}
}

/* Leaves out the one that is dead (-1: none). */
static double chi_squared(const unsigned int *counts, int n, int dead)
{
	unsigned int total = 0;
	double expected, sum = 0;

	for (int i = 0; i < n; i++)
		total += i == dead ? 0 : counts[i];
	expected = (double)total / (n - (dead >= 0));
	for (int i = 0; i < n; i++)
		if (i != dead)
			sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	return sum;
}

static void judge(struct sim *sim, const unsigned int *counts, int dead, double point, const char *when)
{
	double value = chi_squared(counts, sim->shape.n_gateways, dead);

	TRACE(sim, NULL, "%s: %u %u %u %u %u, chi-squared %.2f", when, counts[0], counts[1], counts[2], counts[3],
	      counts[4], value);
	if (value > point)
		sim_fault(sim, "%s the load is uneven (%u %u %u %u %u): chi-squared %.2f is above %.2f", when, counts[0],
			  counts[1], counts[2], counts[3], counts[4], value, point);
}

void spread_play(struct sim *sim)
{
	unsigned int first[SIM_GATEWAYS_MAX] = { 0 }, after[SIM_GATEWAYS_MAX] = { 0 }, moved[SIM_GATEWAYS_MAX] = { 0 };
	int dead = 2;

	sim_run(sim, 15 * SEC);
	count(sim, first);
	judge(sim, first, -1, POINT_4, "at first");
	if (sim->failed)
		return;
	node_crash(sim, &sim->nodes[dead]);
	sim_run(sim, sim->now + sim->shape.bound_ns);
	if (sim->failed)
		return;
	count(sim, after);
	if (after[dead])
		sim_fault(sim, "%u clients still use the dead gateway", after[dead]);
	for (int g = 0; g < sim->shape.n_gateways; g++)
		moved[g] = g == dead || after[g] < first[g] ? 0 : after[g] - first[g];
	judge(sim, after, dead, POINT_3, "after one death");
	judge(sim, moved, dead, POINT_3, "of those that moved");
}
