// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an earlier run has left in the maps: who is kept goes on, and of the others nothing stays. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "selftests/prog/fixture.h"

#define KEPT 0x48000001u
#define GONE 0x48000002u
#define KEPT_SLOT 7u
#define GONE_SLOT 8u

static struct datapath *dp;

static int set_up(void **state)
{
	const struct datapath_config config = {.without_xfrm = true};
	struct datapath_report report;

	return geteuid() ? 0 : datapath_open(&config, &report, &dp);
}

static int tear_down(void **state)
{
	datapath_free(dp);
	return 0;
}

static void require_root(void)
{
	if (geteuid()) {
		print_message("skipped: needs root\n");
		skip();
	}
}

static bool keep_peer(void *context, __u32 if_id) { return if_id == KEPT; }
static bool keep_slot(void *context, __u32 slot) { return slot == KEPT_SLOT || slot == 0; }
static bool keep_tunnel(void *context, const struct datapath_tunnel *tunnel) { return keep_slot(context, tunnel->slot); }

static unsigned int entries(const char *map)
{
	__u8 key[64], next[64];
	unsigned int n = 0;
	int fd = datapath_map_fd(dp, map);
	bool first = true;

	assert_true(fd >= 0);
	for (; !bpf_map_get_next_key(fd, first ? NULL : key, next); n++) {
		memcpy(key, next, sizeof(key));
		first = false;
	}
	return n;
}

static void peer_add(__u32 if_id, __u32 slot, const char *outer, const char *inner)
{
	struct hf_addr addr = fixture_addr(outer);
	struct hf_prefix prefix = fixture_prefix(inner, 24);
	struct hf_session session = {.spi_in = if_id};

	assert_int_equal(datapath_set_peer(dp, if_id, &addr, HF_ROLE_CLIENT), 0);
	assert_int_equal(datapath_set_outer(dp, &addr, 0, if_id, true), 0);
	assert_int_equal(datapath_set_member(dp, slot, if_id), 0);
	assert_int_equal(datapath_set_tunnel(dp, &prefix, slot, 0), 0);
	assert_int_equal(datapath_set_session(dp, if_id, &session), 0);
	assert_int_equal(datapath_steer(dp, slot, if_id), 0);
}

static const char *const per_peer[] = {"hf_peers", "hf_live", "hf_claims", "hf_outer", "hf_members", "hf_sessions",
				       "hf_tunnels"};

static void strangers_go(void **state)
{
	const struct datapath_keep keep = {keep_peer, keep_slot, keep_tunnel, NULL};
	__u32 if_id;
	size_t n;

	require_root();
	peer_add(KEPT, KEPT_SLOT, "192.0.2.1", "10.1.0.0");
	peer_add(GONE, GONE_SLOT, "192.0.2.2", "10.2.0.0");
	/* A kept peer is no member of a slot that is gone, and a kept slot does not lead to a peer that is. */
	assert_int_equal(datapath_set_member(dp, GONE_SLOT, KEPT), 0);
	assert_int_equal(datapath_steer(dp, 0, GONE), 0);
	assert_int_equal(datapath_steer(dp, DATAPATH_SLOTS - 1, KEPT), 0);
	/* Nobody waits any more for the answer to the first; for the second, this run does. */
	assert_int_equal(datapath_add_beat(dp, 1, KEPT, 1), 0);
	assert_int_equal(datapath_add_beat(dp, 2, KEPT, clock_now_ns()), 0);
	for (size_t i = 0; i < sizeof(per_peer) / sizeof(*per_peer); i++)
		assert_in_range(entries(per_peer[i]), 2, 3);

	assert_int_equal(datapath_sweep(dp, &keep, &n), 0);
	assert_int_equal(n, 7 + 1 + 3); /* an entry in each map, the member, three slots */
	for (size_t i = 0; i < sizeof(per_peer) / sizeof(*per_peer); i++)
		if (entries(per_peer[i]) != 1)
			fail_msg("%s has %u entries", per_peer[i], entries(per_peer[i]));
	assert_int_equal(entries("hf_beats"), 1);
	assert_int_equal(datapath_del_beat(dp, 2), 1);
	assert_int_equal(datapath_read_steer(dp, KEPT_SLOT, &if_id), 0);
	assert_int_equal(if_id, KEPT);
	assert_int_equal(datapath_read_steer(dp, GONE_SLOT, &if_id), 0);
	assert_int_equal(if_id, 0);
	assert_int_equal(datapath_read_steer(dp, 0, &if_id), 0);
	assert_int_equal(if_id, 0);
	assert_int_equal(datapath_read_steer(dp, DATAPATH_SLOTS - 1, &if_id), 0);
	assert_int_equal(if_id, 0);
	assert_int_equal(datapath_sweep(dp, &keep, &n), 0);
	assert_int_equal(n, 0);
}

/* A peer that finds a map full is refused whole, and taken when there is room again. */
static void full_map(void **state)
{
	struct hf_addr outer = fixture_addr("192.0.2.9");
	__u32 *keys = calloc(HF_STEER_MAX, sizeof(*keys)), n = HF_STEER_MAX;
	struct hf_claim *values = calloc(HF_STEER_MAX, sizeof(*values));
	unsigned int peers;
	int fd;

	require_root();
	fd = datapath_map_fd(dp, "hf_claims");
	peers = entries("hf_peers");
	for (__u32 i = 0; i < n; i++)
		keys[i] = i + 1;
	for (__u32 i = entries("hf_claims"); i < n; i++)
		assert_int_equal(bpf_map_update_elem(fd, &keys[i], &values[i], BPF_ANY), 0);
	assert_int_equal(datapath_set_peer(dp, 0x48ff0001, &outer, HF_ROLE_CLIENT), -E2BIG);
	assert_int_equal(entries("hf_peers"), peers);
	assert_int_equal(datapath_del_peer(dp, 0x48ff0001), 0);
	/* A gateway needs no entry there. */
	assert_int_equal(datapath_set_peer(dp, 0x48ff0002, &outer, HF_ROLE_GATEWAY), 0);
	assert_int_equal(datapath_del_peer(dp, 0x48ff0002), 0);

	assert_int_equal(bpf_map_delete_elem(fd, &keys[n - 1]), 0);
	assert_int_equal(datapath_set_peer(dp, 0x48ff0001, &outer, HF_ROLE_CLIENT), 0);
	assert_int_equal(datapath_del_peer(dp, 0x48ff0001), 0);
	for (__u32 i = 0; i < n; i++)
		bpf_map_delete_elem(fd, &keys[i]);
	free(keys);
	free(values);
}

struct told {
	unsigned int n;
	__u32 key;
	char name[HF_NAME_MAX];
};

static int on_session(void *context, __u32 if_id, const struct hf_session *session)
{
	struct told *told = context;

	told->n++;
	told->key = if_id;
	assert_int_equal(session->spi_in, if_id);
	/* Deleting the one at hand does not disturb the walk. */
	return datapath_del_session(dp, if_id);
}

static int on_slot(void *context, __u32 slot, const char *name)
{
	struct told *told = context;

	told->n++;
	told->key = slot;
	strncpy(told->name, name, sizeof(told->name) - 1);
	return 0;
}

static void records_are_told(void **state)
{
	struct told told = {0};
	char long_name[HF_NAME_MAX + 1];

	require_root();
	for (__u32 i = 1; i <= 1000; i++) {
		struct hf_session session = {.spi_in = KEPT + i};

		assert_int_equal(datapath_set_session(dp, KEPT + i, &session), 0);
	}
	assert_int_equal(datapath_each_session(dp, on_session, &told), 0);
	assert_in_range(told.n, 1000, 1001); /* the one that the case before has left */
	assert_int_equal(entries("hf_sessions"), 0);

	memset(&told, 0, sizeof(told));
	assert_int_equal(datapath_name_slot(dp, 3, "Cluster 1"), 0);
	assert_int_equal(datapath_each_slot(dp, on_slot, &told), 0);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.key, 3);
	assert_string_equal(told.name, "Cluster 1");
	assert_int_equal(datapath_unname_slot(dp, 3), 0);
	assert_int_equal(datapath_unname_slot(dp, 3), 0);
	memset(long_name, 'x', HF_NAME_MAX);
	long_name[HF_NAME_MAX] = '\0';
	assert_int_equal(datapath_name_slot(dp, 3, long_name), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_go),
		cmocka_unit_test(records_are_told),
		cmocka_unit_test(full_map),
	};

	return cmocka_run_group_tests_name("sweep", tests, set_up, tear_down);
}
