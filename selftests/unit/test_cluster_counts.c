/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loader/cluster*: what is counted of heartbeats and failovers goes up only, and by what has happened only. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/beat.h"
#include "loader/cluster_internal.h"

/* Everybody in the world; NULL: nobody. */
static struct peer *somebody;
static int add_error, send_error;

struct peer *__wrap_peers_next(struct peers *peers, struct peer *peer);
int __wrap_beat_send(int fd, const struct beat *beat);
int __wrap_datapath_add_beat(struct datapath *dp, __u64 nonce, __u32 if_id, __u64 sent_ns);
int __wrap_datapath_del_beat(struct datapath *dp, __u64 nonce);
int __wrap_datapath_steer(struct datapath *dp, __u32 slot, __u32 if_id);
int __wrap_datapath_read_live(struct datapath *dp, __u32 if_id, struct hf_live *ret_live);

struct peer *__wrap_peers_next(struct peers *peers, struct peer *peer)
{
	return peer ? NULL : somebody;
}

int __wrap_beat_send(int fd, const struct beat *beat)
{
	return send_error;
}

int __wrap_datapath_add_beat(struct datapath *dp, __u64 nonce, __u32 if_id, __u64 sent_ns)
{
	return add_error;
}

int __wrap_datapath_del_beat(struct datapath *dp, __u64 nonce)
{
	return 0;
}

int __wrap_datapath_steer(struct datapath *dp, __u32 slot, __u32 if_id)
{
	return 0;
}

int __wrap_datapath_read_live(struct datapath *dp, __u32 if_id, struct hf_live *ret_live)
{
	return -ENOENT;
}

static struct hf_addr gateways[2];
static struct policy_cluster written[2] = {
	{ .name = "Cluster 1", .gateways = &gateways[0], .n_gateways = 1 },
	{ .name = "Cluster 2", .gateways = &gateways[1], .n_gateways = 1 },
};
static struct policy_tunnel tunnels[2] = { { .target = POLICY_TARGET_CLUSTER, .cluster = 0 },
					   { .target = POLICY_TARGET_CLUSTER, .cluster = 1 } };
static __u32 slots[2] = { 0, 1 };
static struct node node = { .slots = slots };

static bool no_slot_is_taken(void *context, __u32 slot)
{
	return false;
}

static struct clusters *world_open(const struct policy *policy)
{
	struct clusters_config config = { .base = event_base_new(), .node = &node, .policy = policy,
					  .slot_is_taken = no_slot_is_taken };
	struct clusters *all;

	for (size_t i = 0; i < 2; i++)
		gateways[i] = (struct hf_addr){ .b = { [10] = 0xff, [11] = 0xff, 192, 0, 2, (__u8)(i + 1) } };
	somebody = NULL;
	add_error = send_error = 0;
	assert_int_equal(clusters_new(&config, &all), 0);
	return all;
}

static void world_close(struct clusters *all)
{
	struct event_base *base = all->config.base;

	clusters_free(all);
	event_base_free(base);
}

/* The second cluster goes with a reload: what was counted of it stays. */
static void test_cluster_goes(void **state)
{
	const struct policy before = { .clusters = written, .n_clusters = 2, .tunnels = tunnels, .n_tunnels = 2 };
	const struct policy after = { .clusters = written, .n_clusters = 1, .tunnels = tunnels, .n_tunnels = 1 };
	struct policy_difference difference = { .from = (size_t[]){ 0 } };
	struct clusters *all = world_open(&before);
	struct clusters_change *change;
	struct clusters_counts counts;

	for (size_t i = 0; i < 2; i++) {
		all->cluster[i]->sent = 100 + i;
		all->cluster[i]->missed = 10 + i;
		all->cluster[i]->machine.failovers = 1 + i;
	}
	assert_int_equal(clusters_prepare(all, &after, &difference, &change), 0);
	clusters_commit(change);
	assert_int_equal(all->n, 1);
	clusters_count(all, &counts);
	assert_int_equal(counts.sent, 201);
	assert_int_equal(counts.missed, 21);
	assert_int_equal(counts.failovers, 3);
	world_close(all);
}

/* A heartbeat that could not be sent does not count as sent. */
static void test_sent(void **state)
{
	const struct policy policy = { .clusters = written, .n_clusters = 1, .tunnels = tunnels, .n_tunnels = 1 };
	struct peer peer = { .role = HF_ROLE_GATEWAY, .up = true, .if_id = 1 };
	const struct failover_actions actions = { .n = 1, .action = { { .type = FAILOVER_DO_BEAT } } };
	struct clusters *all = world_open(&policy);

	peer.remote = gateways[0];
	somebody = &peer;
	cluster_carry_out(all->cluster[0], &actions);
	assert_int_equal(all->cluster[0]->sent, 1);
	send_error = -ENETUNREACH;
	cluster_carry_out(all->cluster[0], &actions);
	assert_int_equal(all->cluster[0]->sent, 1);
	send_error = 0;
	add_error = -ENOSPC;
	cluster_carry_out(all->cluster[0], &actions);
	assert_int_equal(all->cluster[0]->sent, 1);
	somebody = NULL;
	world_close(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cluster_goes),
		cmocka_unit_test(test_sent),
	};

	return cmocka_run_group_tests_name("cluster_counts", tests, NULL, NULL);
}
