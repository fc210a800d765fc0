// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What one run of holdfastd leaves in the maps for the next one, and what the next one takes out of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapath_internal.h"

#define BATCH 4096u
#define MAP_FD(dp, map) bpf_map__fd((dp)->skel->maps.map)

static int map_delete(int fd, const void *key)
{
	int result = bpf_map_delete_elem(fd, key);

	return result == -ENOENT ? 0 : result;
}

int datapath_set_session(struct datapath *dp, __u32 if_id, const struct hf_session *session)
{
	return if_id ? bpf_map_update_elem(MAP_FD(dp, hf_sessions), &if_id, session, BPF_ANY) : -EINVAL;
}

int datapath_del_session(struct datapath *dp, __u32 if_id)
{
	return map_delete(MAP_FD(dp, hf_sessions), &if_id);
}

int datapath_name_slot(struct datapath *dp, __u32 slot, const char *name)
{
	struct hf_slot value = {.name = ""};

	if (strlen(name) >= sizeof(value.name))
		return -EINVAL;
	memcpy(value.name, name, strlen(name));
	return bpf_map_update_elem(MAP_FD(dp, hf_slots), &slot, &value, BPF_ANY);
}

int datapath_unname_slot(struct datapath *dp, __u32 slot)
{
	return map_delete(MAP_FD(dp, hf_slots), &slot);
}

/* All keys of a hash, copied out: a deletion would disturb the walk. */
struct keys {
	__u8 *bytes;
	size_t size;
	size_t n;
};

static int keys_read(int fd, size_t size, struct keys *ret)
{
	struct keys keys = {.size = size};
	size_t room = 0;
	int result;

	for (;;) {
		if (keys.n == room) {
			__u8 *more = reallocarray(keys.bytes, room ? room * 2 : 64, size);

			if (!more) {
				free(keys.bytes);
				return -ENOMEM;
			}
			keys.bytes = more;
			room = room ? room * 2 : 64;
		}
		result = bpf_map_get_next_key(fd, keys.n ? keys.bytes + (keys.n - 1) * size : NULL,
					      keys.bytes + keys.n * size);
		if (result)
			break;
		keys.n++;
	}
	*ret = keys;
	return result == -ENOENT ? 0 : result;
}

static const void *key_at(const struct keys *keys, size_t i)
{
	return keys->bytes + i * keys->size;
}

int datapath_each_session(struct datapath *dp,
			  int (*each)(void *context, __u32 if_id, const struct hf_session *session), void *context)
{
	int fd = MAP_FD(dp, hf_sessions), result;
	struct hf_session session;
	struct keys keys = {0};
	__u32 if_id;

	result = keys_read(fd, sizeof(__u32), &keys);
	for (size_t i = 0; i < keys.n && !result; i++) {
		memcpy(&if_id, key_at(&keys, i), sizeof(if_id));
		if (!bpf_map_lookup_elem(fd, &if_id, &session))
			result = each(context, if_id, &session);
	}
	free(keys.bytes);
	return result;
}

int datapath_each_slot(struct datapath *dp, int (*each)(void *context, __u32 slot, const char *name), void *context)
{
	int fd = MAP_FD(dp, hf_slots), result;
	struct keys keys = {0};
	struct hf_slot value;
	__u32 slot;

	result = keys_read(fd, sizeof(__u32), &keys);
	for (size_t i = 0; i < keys.n && !result; i++) {
		memcpy(&slot, key_at(&keys, i), sizeof(slot));
		if (bpf_map_lookup_elem(fd, &slot, &value))
			continue;
		value.name[sizeof(value.name) - 1] = '\0';
		result = each(context, slot, value.name);
	}
	free(keys.bytes);
	return result;
}

/* The sweep: for each map, whether an entry goes. */
struct sweep {
	struct datapath *dp;
	const struct datapath_keep *keep;
	int fd;
	size_t n;
};

static bool peer_goes(struct sweep *sweep, __u32 if_id)
{
	return !sweep->keep->peer(sweep->keep->context, if_id);
}

static bool if_id_goes(struct sweep *sweep, const void *key)
{
	__u32 if_id;

	memcpy(&if_id, key, sizeof(if_id));
	return peer_goes(sweep, if_id);
}

static bool member_goes(struct sweep *sweep, const void *key)
{
	struct hf_member member;

	memcpy(&member, key, sizeof(member));
	return peer_goes(sweep, member.if_id) || !sweep->keep->slot(sweep->keep->context, member.slot);
}

static bool outer_goes(struct sweep *sweep, const void *key)
{
	struct hf_outer outer;

	return !bpf_map_lookup_elem(sweep->fd, key, &outer) && peer_goes(sweep, outer.if_id);
}

static bool tunnel_goes(struct sweep *sweep, const void *key)
{
	struct datapath_tunnel tunnel = {.slot = 0};
	struct hf_tunnel_key prefix;
	struct hf_tunnel value;

	memcpy(&prefix, key, sizeof(prefix));
	if (bpf_map_lookup_elem(sweep->fd, key, &value))
		return false;
	tunnel.prefix.addr = prefix.addr;
	tunnel.prefix.len = (__u8)prefix.prefixlen;
	tunnel.slot = value.slot;
	tunnel.number = value.number;
	return !sweep->keep->tunnel(sweep->keep->context, &tunnel);
}

static bool beat_goes(struct sweep *sweep, const void *key)
{
	struct hf_beat beat;

	/* Of the run before: who was waiting for the answer is gone. */
	return !bpf_map_lookup_elem(sweep->fd, key, &beat) && beat.sent_ns < sweep->dp->opened_ns;
}

static int sweep_map(struct sweep *sweep, int fd, size_t key_size, bool (*goes)(struct sweep *, const void *key))
{
	struct keys keys = {0};
	int result;

	sweep->fd = fd;
	result = keys_read(fd, key_size, &keys);
	for (size_t i = 0; i < keys.n && !result; i++) {
		if (!goes(sweep, key_at(&keys, i)))
			continue;
		result = map_delete(fd, key_at(&keys, i));
		sweep->n += goes != beat_goes;
	}
	free(keys.bytes);
	return result;
}

static int sweep_steer_some(struct sweep *sweep, const __u32 *slots, const struct hf_steer *values, __u32 n)
{
	int result = 0;

	for (__u32 i = 0; i < n && !result; i++) {
		if (!values[i].if_id ||
		    (!peer_goes(sweep, values[i].if_id) && sweep->keep->slot(sweep->keep->context, slots[i])))
			continue;
		result = datapath_steer(sweep->dp, slots[i], 0);
		sweep->n++;
	}
	return result;
}

static int sweep_steer(struct sweep *sweep)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	struct {
		__u32 slots[BATCH];
		struct hf_steer values[BATCH];
	} *batch = calloc(1, sizeof(*batch));
	int fd = MAP_FD(sweep->dp, hf_steer), result = 0, more = 0;
	__u32 at = 0;
	bool first = true;

	if (!batch)
		return -ENOMEM;
	while (!more && !result) {
		__u32 n = BATCH;

		more = bpf_map_lookup_batch(fd, first ? NULL : &at, &at, batch->slots, batch->values, &n, &opts);
		first = false;
		if (more && more != -ENOENT) /* ENOENT: the last ones */
			result = more;
		else
			result = sweep_steer_some(sweep, batch->slots, batch->values, n);
	}
	free(batch);
	return result;
}

int datapath_sweep(struct datapath *dp, const struct datapath_keep *keep, size_t *ret_n)
{
	const struct {
		int fd;
		size_t key_size;
		bool (*goes)(struct sweep *sweep, const void *key);
	} maps[] = {
		/* Where traffic goes first, then who may send, then who there is. */
		{MAP_FD(dp, hf_tunnels), sizeof(struct hf_tunnel_key), tunnel_goes},
		{MAP_FD(dp, hf_members), sizeof(struct hf_member), member_goes},
		{MAP_FD(dp, hf_outer), sizeof(struct hf_outer_key), outer_goes},
		{MAP_FD(dp, hf_peers), sizeof(__u32), if_id_goes},
		{MAP_FD(dp, hf_claims), sizeof(__u32), if_id_goes},
		{MAP_FD(dp, hf_live), sizeof(__u32), if_id_goes},
		{MAP_FD(dp, hf_sessions), sizeof(__u32), if_id_goes},
		{MAP_FD(dp, hf_beats), sizeof(__u64), beat_goes},
	};
	struct sweep sweep = {.dp = dp, .keep = keep};
	int result = sweep_steer(&sweep);

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		int one = sweep_map(&sweep, maps[i].fd, maps[i].key_size, maps[i].goes);

		if (!result)
			result = one;
	}
	*ret_n = sweep.n;
	return result;
}
