// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapath_internal.h"

#define BATCH 4096u
#define KERNEL_ENOTSUPP 524 /* include/linux/errno.h; user space has no name for it */

#define MAP_FD(dp, map) bpf_map__fd((dp)->skel->maps.map)

/* Deletes an entry that may be absent. */
static int map_delete(int fd, const void *key)
{
	int result = bpf_map_delete_elem(fd, key);

	return result == -ENOENT ? 0 : result;
}

/* Makes an entry, or leaves the one that is there. */
static int map_create(int fd, const void *key, const void *value)
{
	int result = bpf_map_update_elem(fd, key, value, BPF_NOEXIST);

	return result == -EEXIST ? 0 : result;
}

/* Tunnels. */

static struct hf_tunnel_key tunnel_key(const struct hf_prefix *prefix)
{
	return (struct hf_tunnel_key){.prefixlen = prefix->len, .addr = prefix->addr};
}

int datapath_set_tunnel(struct datapath *dp, const struct hf_prefix *prefix, __u32 slot, __u32 number)
{
	struct hf_tunnel_key key = tunnel_key(prefix);
	struct hf_tunnel value = {.slot = slot, .number = number};

	if (slot >= DATAPATH_SLOTS || prefix->len > 128)
		return -EINVAL;
	return bpf_map_update_elem(MAP_FD(dp, hf_tunnels), &key, &value, BPF_ANY);
}

int datapath_del_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	struct hf_tunnel_key key = tunnel_key(prefix);

	return map_delete(MAP_FD(dp, hf_tunnels), &key);
}

int datapath_close_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	struct hf_tunnel_key key = tunnel_key(prefix);
	struct hf_tunnel value = {.slot = HF_STEER_NOBODY};

	return prefix->len > 128 ? -EINVAL : bpf_map_update_elem(MAP_FD(dp, hf_tunnels), &key, &value, BPF_ANY);
}

int datapath_open_tunnel(struct datapath *dp, const struct hf_prefix *prefix)
{
	struct hf_tunnel_key key = tunnel_key(prefix);
	struct hf_tunnel value;

	/* The entry itself or, where there is none, that of a wider prefix: then there is nothing to delete. */
	if (bpf_map_lookup_elem(MAP_FD(dp, hf_tunnels), &key, &value) || value.slot != HF_STEER_NOBODY)
		return 0;
	return map_delete(MAP_FD(dp, hf_tunnels), &key);
}

struct tunnel_batch {
	struct hf_tunnel_key keys[BATCH];
	struct hf_tunnel values[BATCH];
};

/* Writes n entries at once; one by one where the kernel has no batches for this map. */
static int tunnel_batch_write(int fd, const struct tunnel_batch *batch, __u32 n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 count = n;
	int result = bpf_map_update_batch(fd, batch->keys, batch->values, &count, &opts);

	if (result != -KERNEL_ENOTSUPP && result != -EOPNOTSUPP && result != -EINVAL)
		return result;
	result = 0;
	for (__u32 i = 0; i < n && !result; i++)
		result = bpf_map_update_elem(fd, &batch->keys[i], &batch->values[i], BPF_ANY);
	return result;
}

int datapath_set_tunnels(struct datapath *dp, const struct datapath_tunnel *tunnels, size_t n)
{
	struct tunnel_batch *batch;
	int result = 0;

	for (size_t i = 0; i < n; i++)
		if (tunnels[i].slot >= DATAPATH_SLOTS || tunnels[i].prefix.len > 128)
			return -EINVAL;
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	for (size_t done = 0; done < n && !result;) {
		__u32 some = n - done < BATCH ? (__u32)(n - done) : BATCH;

		for (__u32 i = 0; i < some; i++) {
			batch->keys[i] = tunnel_key(&tunnels[done + i].prefix);
			batch->values[i].slot = tunnels[done + i].slot;
			batch->values[i].number = tunnels[done + i].number;
		}
		result = tunnel_batch_write(MAP_FD(dp, hf_tunnels), batch, some);
		done += some;
	}
	free(batch);
	return result;
}

int datapath_each_tunnel(struct datapath *dp,
			 int (*each)(void *context, const struct datapath_tunnel *tunnel), void *context)
{
	int fd = MAP_FD(dp, hf_tunnels), result;
	struct hf_tunnel_key key, *last = NULL;
	struct datapath_tunnel tunnel;
	struct hf_tunnel value;

	while (!(result = bpf_map_get_next_key(fd, last, &key))) {
		last = &key;
		if (bpf_map_lookup_elem(fd, &key, &value))
			continue;
		memset(&tunnel, 0, sizeof(tunnel));
		tunnel.prefix.addr = key.addr;
		tunnel.prefix.len = (__u8)key.prefixlen;
		tunnel.slot = value.slot;
		tunnel.number = value.number;
		result = each(context, &tunnel);
		if (result)
			return result;
	}
	return result == -ENOENT ? 0 : result;
}

int datapath_steer(struct datapath *dp, __u32 slot, __u32 if_id)
{
	struct hf_steer value = {.if_id = if_id};

	return slot < DATAPATH_SLOTS ? bpf_map_update_elem(MAP_FD(dp, hf_steer), &slot, &value, BPF_ANY) : -EINVAL;
}

int datapath_watch(struct datapath *dp, __u32 slot, __u32 if_id)
{
	struct hf_steer value = {.if_id = if_id, .watch = 1};

	return slot < DATAPATH_SLOTS ? bpf_map_update_elem(MAP_FD(dp, hf_steer), &slot, &value, BPF_ANY) : -EINVAL;
}

int datapath_read_steer(struct datapath *dp, __u32 slot, __u32 *ret_if_id)
{
	struct hf_steer value;
	int result = bpf_map_lookup_elem(MAP_FD(dp, hf_steer), &slot, &value);

	if (!result)
		*ret_if_id = value.if_id;
	return result;
}

int datapath_set_member(struct datapath *dp, __u32 slot, __u32 if_id)
{
	struct hf_member key = {.slot = slot, .if_id = if_id};
	__u32 one = 1;

	return bpf_map_update_elem(MAP_FD(dp, hf_members), &key, &one, BPF_ANY);
}

int datapath_del_member(struct datapath *dp, __u32 slot, __u32 if_id)
{
	struct hf_member key = {.slot = slot, .if_id = if_id};

	return map_delete(MAP_FD(dp, hf_members), &key);
}

/* Peers. */

int datapath_set_peer(struct datapath *dp, __u32 if_id, const struct hf_addr *outer, enum hf_role role)
{
	struct hf_peer peer = {.outer = *outer, .role = role};
	struct hf_claim claim = {0};
	struct hf_live live = {0};
	struct addr_text text;
	int result;

	if (!if_id)
		return -EINVAL;
	text = addr_text(outer);
	memcpy(peer.label, text.s, strnlen(text.s, sizeof(peer.label) - 1));
	/* The peer last: what the programs find of a peer is then whole. */
	result = map_create(MAP_FD(dp, hf_live), &if_id, &live);
	if (!result && role == HF_ROLE_CLIENT)
		result = map_create(MAP_FD(dp, hf_claims), &if_id, &claim);
	if (!result)
		result = bpf_map_update_elem(MAP_FD(dp, hf_peers), &if_id, &peer, BPF_ANY);
	return result;
}

int datapath_del_peer(struct datapath *dp, __u32 if_id)
{
	int fds[] = {MAP_FD(dp, hf_peers), MAP_FD(dp, hf_claims), MAP_FD(dp, hf_live)};
	int result = 0;

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		int one = map_delete(fds[i], &if_id);

		if (one)
			result = one;
	}
	return result;
}

int datapath_each_peer(struct datapath *dp,
		       int (*each)(void *context, __u32 if_id, const struct hf_peer *peer), void *context)
{
	int fd = MAP_FD(dp, hf_peers), result;
	__u32 if_id, *last = NULL;
	struct hf_peer peer;

	while (!(result = bpf_map_get_next_key(fd, last, &if_id))) {
		last = &if_id;
		if (bpf_map_lookup_elem(fd, &if_id, &peer))
			continue;
		result = each(context, if_id, &peer);
		if (result)
			return result;
	}
	return result == -ENOENT ? 0 : result;
}

int datapath_set_outer(struct datapath *dp, const struct hf_addr *outer, __u16 port, __u32 if_id, bool reflect)
{
	struct hf_outer_key key = {.addr = *outer, .port = port};
	struct hf_outer value = {.if_id = if_id, .reflect = reflect};

	return bpf_map_update_elem(MAP_FD(dp, hf_outer), &key, &value, BPF_ANY);
}

int datapath_del_outer(struct datapath *dp, const struct hf_addr *outer, __u16 port)
{
	struct hf_outer_key key = {.addr = *outer, .port = port};

	return map_delete(MAP_FD(dp, hf_outer), &key);
}

int datapath_read_live(struct datapath *dp, __u32 if_id, struct hf_live *ret_live)
{
	struct hf_live live;
	int result = bpf_map_lookup_elem(MAP_FD(dp, hf_live), &if_id, &live);

	if (!result)
		*ret_live = live;
	return result;
}

int datapath_rearm_claim(struct datapath *dp, __u32 if_id)
{
	struct hf_claim untold = {0};

	return bpf_map_update_elem(MAP_FD(dp, hf_claims), &if_id, &untold, BPF_EXIST);
}

/* Heartbeats. */

int datapath_add_beat(struct datapath *dp, __u64 nonce, __u32 if_id, __u64 sent_ns)
{
	struct hf_beat value = {.sent_ns = sent_ns, .if_id = if_id};

	return bpf_map_update_elem(MAP_FD(dp, hf_beats), &nonce, &value, BPF_ANY);
}

int datapath_del_beat(struct datapath *dp, __u64 nonce)
{
	int result = bpf_map_delete_elem(MAP_FD(dp, hf_beats), &nonce);

	if (!result)
		return 1;
	return result == -ENOENT ? 0 : result;
}

int datapath_set_gate(struct datapath *dp, __u64 until_ns)
{
	struct hf_gate value = {.open_until_ns = until_ns};
	__u32 zero = 0;

	return bpf_map_update_elem(MAP_FD(dp, hf_gate), &zero, &value, BPF_ANY);
}

/* Protected interfaces. */

static bool is_among(__u32 ifindex, const unsigned int *ifindexes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ifindexes[i] == ifindex)
			return true;
	return false;
}

/* Those that are no longer among them. What is there is read first: a deletion disturbs the walk. */
static int protected_delete_others(int fd, const unsigned int *ifindexes, size_t n)
{
	__u32 present[HF_PROTECTED_MAX], *last = NULL;
	size_t n_present = 0;
	int result = 0;

	while (n_present < HF_PROTECTED_MAX && !bpf_map_get_next_key(fd, last, &present[n_present]))
		last = &present[n_present++];
	for (size_t i = 0; i < n_present; i++)
		if (!is_among(present[i], ifindexes, n)) {
			int one = map_delete(fd, &present[i]);

			if (one)
				result = one;
		}
	return result;
}

int datapath_set_protected(struct datapath *dp, const unsigned int *ifindexes, size_t n, unsigned int tunnel)
{
	unsigned int all[HF_PROTECTED_MAX];
	int fd = MAP_FD(dp, hf_protected), result;
	size_t n_all = n;

	if (n + (tunnel != 0) > HF_PROTECTED_MAX)
		return -E2BIG;
	if (n)
		memcpy(all, ifindexes, n * sizeof(*all));
	if (n && tunnel)
		all[n_all++] = tunnel;
	result = protected_delete_others(fd, all, n_all);
	for (size_t i = 0; i < n_all && !result; i++) {
		__u32 ifindex = all[i], what = i < n ? HF_PROTECTED_TARGETS : HF_PROTECTED_TUNNEL;

		result = bpf_map_update_elem(fd, &ifindex, &what, BPF_ANY);
	}
	return result;
}

/* Drops. */

int datapath_read_drops(struct datapath *dp, __u64 ret_drops[HF_DROP_MAX])
{
	__u64 sums[HF_DROP_MAX] = {0}, *cpu;
	int cpus = libbpf_num_possible_cpus(), result;
	__u32 zero = 0;

	if (cpus < 0)
		return cpus;
	cpu = calloc((size_t)cpus, sizeof(sums)); /* struct hf_drops: the counters in order, see contract.h */
	if (!cpu)
		return -ENOMEM;
	result = bpf_map_lookup_elem(MAP_FD(dp, hf_drops), &zero, cpu);
	for (size_t i = 0; i < (size_t)cpus * HF_DROP_MAX; i++)
		sums[i % HF_DROP_MAX] += cpu[i];
	free(cpu);
	if (!result)
		memcpy(ret_drops, sums, sizeof(sums));
	return result;
}

static const struct {
	const char *name;
	const char *text;
} drop_reasons[HF_DROP_MAX] = {
#define DROP_REASON(name, text) [HF_DROP_##name] = {#name, text},
	HF_DROP_REASONS(DROP_REASON)
#undef DROP_REASON
};

const char *datapath_drop_name(enum hf_drop reason)
{
	return reason < HF_DROP_MAX ? drop_reasons[reason].name : NULL;
}

const char *datapath_drop_text(enum hf_drop reason)
{
	return reason < HF_DROP_MAX ? drop_reasons[reason].text : NULL;
}
