/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How 10,000 clients with identical policies spread over a cluster: at first,
 * and after one gateway has died. The real parser, the real shuffle and the
 * real state machine, judged by chi-squared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/failover.h"
#include "policy/policy.h"

#define CLIENTS 10000
#define GATEWAYS 5
#define S 1000000000ull

static const char text[] = "[GENERAL]\nHeartbeat = INSTANT\nStandby = 0\nClusterOrder = %s\n"
			   "[CLUSTER]\nCluster 1 = 192.0.2.0 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4\n"
			   "[TUNNEL]\nTunnel1 = 10.0.0.0/24 Cluster 1\n";

/* splitmix64: a test that fails must fail again. */
static __u32 draw(void *context, __u32 bound)
{
	__u64 *state = context;
	__u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (__u32)(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

static struct policy *read_policy(const char *order)
{
	struct policy_report report = { 0 };
	struct policy *policy = NULL;
	char buffer[512];

	snprintf(buffer, sizeof(buffer), text, order);
	assert_int_equal(policy_parse(buffer, strlen(buffer), &report, &policy), 0);
	policy_report_clear(&report);
	return policy;
}

/* Which gateway (by the last byte of its address) the client asks first for this event. */
static int first_asked(struct failover *machine, const struct policy_cluster *cluster, struct failover_event event,
		       __u64 now)
{
	struct failover_actions actions;

	failover_step(machine, &event, now, &actions);
	assert_true(actions.n_request > 0);
	return cluster->gateways[actions.request[0]].b[15];
}

/* One client's life: reads its policy, uses a gateway, and loses it if it is `dead`. */
static void live(const char *order, __u64 *state, int dead, unsigned int *first, unsigned int *after)
{
	struct policy *policy = read_policy(order);
	const struct policy_cluster *cluster = &policy->clusters[0];
	struct failover_config config = { .heartbeat = FAILOVER_BEAT_INSTANT, .response_ns = S, .defer_ns = S, .tries = 2,
					  .n_gateways = GATEWAYS, .seed = *state };
	struct failover machine;
	int used;

	policy_shuffle(policy, draw, state);
	failover_init(&machine, &config);
	used = first_asked(&machine, cluster, (struct failover_event){ .type = FAILOVER_WANT }, S);
	first[used]++;
	if (used == dead) {
		struct failover_actions actions;
		struct failover_event up = { .type = FAILOVER_SESSION_UP, .gateway = 0, .answers_request = true };

		assert_int_equal(cluster->gateways[0].b[15], used); /* sequential in the drawn order */
		failover_step(&machine, &up, S, &actions);
		after[first_asked(&machine, cluster, (struct failover_event){ .type = FAILOVER_SESSION_DOWN }, 2 * S)]++;
	}
	policy_free(policy);
}

static double chi_squared(const unsigned int *counts, int without)
{
	unsigned int total = 0, n = 0;
	double expected, sum = 0;

	for (int i = 0; i < GATEWAYS; i++) {
		total += counts[i];
		n += i != without;
	}
	expected = (double)total / n;
	for (int i = 0; i < GATEWAYS; i++)
		if (i != without)
			sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	return sum;
}

static void spreads_evenly(void **state)
{
	unsigned int first[GATEWAYS] = { 0 }, after[GATEWAYS] = { 0 };
	__u64 seed = 20260101;

	for (int i = 0; i < CLIENTS; i++)
		live("RANDOM", &seed, 2, first, after);
	/* The 99.9 % points of chi-squared with 4 and with 3 degrees of freedom. */
	assert_true(chi_squared(first, -1) < 18.47);
	assert_int_equal(after[2], 0);
	assert_true(chi_squared(after, 2) < 16.27);
}

static void fixed_keeps_the_order(void **state)
{
	unsigned int first[GATEWAYS] = { 0 }, after[GATEWAYS] = { 0 };
	__u64 seed = 1;

	for (int i = 0; i < 100; i++)
		live("FIXED", &seed, 0, first, after);
	assert_int_equal(first[0], 100); /* the main one */
	assert_int_equal(after[1], 100); /* the backup */
}

/* The judge itself: an uneven spread is told. */
static void chi_squared_sees_a_bias(void **state)
{
	const unsigned int biased[GATEWAYS] = { 2200, 1950, 1950, 1950, 1950 };

	assert_true(chi_squared(biased, -1) > 18.47);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spreads_evenly),
		cmocka_unit_test(fixed_keeps_the_order),
		cmocka_unit_test(chi_squared_sees_a_bias),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
