/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A kernel for the peers and clients to live in, without one: states, policies,
 * and entries of maps and routes are kept in tables, any of the calls can fail,
 * and the clock can be put on. Its functions are linked in the place of those of
 * loader/ (WRAP in build.mk). For one file of a program.
 */
#ifndef HF_SELFTESTS_PEER_KERNEL_H
#define HF_SELFTESTS_PEER_KERNEL_H

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "loader/client.h"
#include "loader/peer_internal.h"

#define KERNEL_MAX 64

struct kernel_state {
	bool used;
	struct hf_addr dst;
	struct xfrm_state_spec spec;
	struct xfrm_state_use use;
};

/* By a number (an if_id, a slot, a port) and an address: an entry of a map, or a peer's policies. */
struct kernel_entry {
	bool used;
	__u32 number;
	struct hf_addr addr;
	__u32 value;
};

static struct kernel {
	unsigned int calls;   /* that could have failed, */
	unsigned int fail_at; /* and which of them does; 0: none */
	unsigned int policies_written;
	int read_error;	      /* of reading states, instead of an answer; 0: none */
	__u64 later_ns;	      /* how much the clock was put on */
	__s64 day_s;	      /* and the clock of the day, apart from that */
	struct kernel_state states[KERNEL_MAX];
	struct kernel_entry policies[KERNEL_MAX], peers[KERNEL_MAX], outer[KERNEL_MAX], sessions[KERNEL_MAX],
		members[KERNEL_MAX], tunnels[KERNEL_MAX], routes[KERNEL_MAX];
} kernel;

static int kernel_call(void)
{
	return ++kernel.calls == kernel.fail_at ? -ENOMEM : 0;
}

/* States by destination and SPI. NULL: none. */
static struct kernel_state *kernel_state(const struct hf_addr *dst, __u32 spi)
{
	for (size_t i = 0; i < KERNEL_MAX; i++)
		if (kernel.states[i].used && kernel.states[i].spec.spi == spi && addr_equal(&kernel.states[i].dst, dst))
			return &kernel.states[i];
	return NULL;
}

static struct kernel_entry *kernel_entry(struct kernel_entry *table, __u32 number, const struct hf_addr *addr)
{
	for (size_t i = 0; i < KERNEL_MAX; i++)
		if (table[i].used && table[i].number == number && (!addr || addr_equal(&table[i].addr, addr)))
			return &table[i];
	return NULL;
}

static size_t kernel_count(const struct kernel_entry *table)
{
	size_t n = 0;

	for (size_t i = 0; i < KERNEL_MAX; i++)
		n += table[i].used;
	return n;
}

static size_t kernel_count_states(void)
{
	size_t n = 0;

	for (size_t i = 0; i < KERNEL_MAX; i++)
		n += kernel.states[i].used;
	return n;
}

/* addr NULL: it is told apart by its number alone. */
static int kernel_set(struct kernel_entry *table, __u32 number, const struct hf_addr *key, const struct hf_addr *addr,
		      __u32 value)
{
	struct kernel_entry *entry = kernel_entry(table, number, key);
	int err = kernel_call();

	for (size_t i = 0; i < KERNEL_MAX && !entry; i++)
		if (!table[i].used)
			entry = &table[i];
	if (!err)
		*entry = (struct kernel_entry){ true, number, addr ? *addr : (struct hf_addr){ { 0 } }, value };
	return err;
}

static int kernel_del(struct kernel_entry *table, __u32 number, const struct hf_addr *key)
{
	struct kernel_entry *entry = kernel_entry(table, number, key);

	if (entry)
		entry->used = false;
	return 0;
}

/* Declared, then defined: ld puts it in the place of the function. */
#define FAKE(type, name, ...)      \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

int __real_clock_gettime(clockid_t clock, struct timespec *ts);

FAKE(int, clock_gettime, clockid_t clock, struct timespec *ts)
{
	int err = __real_clock_gettime(clock, ts);

	ts->tv_sec += (time_t)(kernel.later_ns / CLOCK_NS_PER_S);
	return err;
}

FAKE(time_t, time, time_t *ret)
{
	struct timespec ts;

	__real_clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec + (time_t)(kernel.later_ns / CLOCK_NS_PER_S) + kernel.day_s;
}

FAKE(int, xfrm_state_add, struct netlink *nl, const struct xfrm_state_spec *spec)
{
	const struct hf_addr *dst = spec->way == XFRM_WAY_IN ? &spec->local : &spec->remote;
	int err = kernel_call();

	if (err)
		return err;
	if (kernel_state(dst, spec->spi))
		return -EEXIST;
	for (size_t i = 0; i < KERNEL_MAX; i++) {
		struct kernel_state *state = &kernel.states[i];

		if (state->used)
			continue;
		*state = (struct kernel_state){ .used = true, .dst = *dst, .spec = *spec };
		state->use.if_id = spec->if_id;
		state->use.added_s = (__u64)__wrap_time(NULL);
		return 0;
	}
	return -ENOBUFS;
}

FAKE(int, xfrm_state_move, struct netlink *nl, const struct xfrm_state_spec *spec)
{
	struct kernel_state *state = kernel_state(spec->way == XFRM_WAY_IN ? &spec->local : &spec->remote, spec->spi);
	int err = kernel_call();

	if (!err && !state)
		err = -ESRCH;
	if (!err) {
		state->spec.encap_remote = spec->encap_remote;
		state->spec.lifetime_s = spec->lifetime_s;
	}
	return err;
}

FAKE(int, xfrm_state_delete, struct netlink *nl, const struct hf_addr *dst, __u32 spi)
{
	struct kernel_state *state = kernel_state(dst, spi);

	if (state)
		state->used = false;
	return 0;
}

FAKE(int, xfrm_state_read, struct netlink *nl, const struct hf_addr *dst, __u32 spi, struct xfrm_state_use *ret_use)
{
	const struct kernel_state *state = kernel_state(dst, spi);

	if (kernel.read_error)
		return kernel.read_error;
	if (!state)
		return -ESRCH;
	*ret_use = state->use;
	return 0;
}

FAKE(int, xfrm_state_list, struct netlink *nl, int (*visit)(void *context, const struct xfrm_found *state), void *context)
{
	struct xfrm_found found[KERNEL_MAX];
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < KERNEL_MAX; i++)
		if (kernel.states[i].used)
			found[n++] = (struct xfrm_found){ .if_id = kernel.states[i].spec.if_id, .dst = kernel.states[i].dst,
							  .spi = kernel.states[i].spec.spi,
							  .added_s = kernel.states[i].use.added_s,
							  .limits = kernel.states[i].spec.limits };
	for (size_t i = 0; i < n && !err; i++)
		err = visit(context, &found[i]);
	return err;
}

FAKE(int, xfrm_policy_add, struct netlink *nl, const struct xfrm_peer *peer)
{
	kernel.policies_written++;
	return kernel_set(kernel.policies, peer->if_id, NULL, &peer->remote, 0);
}

FAKE(int, xfrm_policy_delete, struct netlink *nl, __u32 if_id)
{
	return kernel_del(kernel.policies, if_id, NULL);
}

FAKE(int, xfrm_policy_list, struct netlink *nl, int (*visit)(void *context, __u32 if_id), void *context)
{
	int err = 0;

	for (size_t i = 0; i < KERNEL_MAX && !err; i++)
		if (kernel.policies[i].used)
			err = visit(context, kernel.policies[i].number);
	return err;
}

FAKE(int, xfrm_encap_open, const struct hf_addr *local, __u16 port)
{
	int err = kernel_call();

	return err ? err : eventfd(0, EFD_CLOEXEC);
}

FAKE(const char *, netlink_text, const struct netlink *nl)
{
	return "";
}

FAKE(int, datapath_set_peer, struct datapath *dp, __u32 if_id, const struct hf_addr *outer, enum hf_role role)
{
	return kernel_set(kernel.peers, if_id, NULL, outer, role);
}

FAKE(int, datapath_del_peer, struct datapath *dp, __u32 if_id)
{
	return kernel_del(kernel.peers, if_id, NULL);
}

FAKE(int, datapath_set_outer, struct datapath *dp, const struct hf_addr *outer, __u16 port, __u32 if_id, bool reflect)
{
	return kernel_set(kernel.outer, port, outer, outer, if_id);
}

FAKE(int, datapath_del_outer, struct datapath *dp, const struct hf_addr *outer, __u16 port)
{
	return kernel_del(kernel.outer, port, outer);
}

FAKE(int, datapath_set_session, struct datapath *dp, __u32 if_id, const struct hf_session *session)
{
	return kernel_set(kernel.sessions, if_id, NULL, &session->remote, session->spi_out);
}

FAKE(int, datapath_del_session, struct datapath *dp, __u32 if_id)
{
	return kernel_del(kernel.sessions, if_id, NULL);
}

FAKE(int, datapath_set_member, struct datapath *dp, __u32 slot, __u32 if_id)
{
	return kernel_set(kernel.members, slot, NULL, NULL, if_id);
}

FAKE(int, datapath_del_member, struct datapath *dp, __u32 slot, __u32 if_id)
{
	return kernel_del(kernel.members, slot, NULL);
}

FAKE(int, datapath_set_tunnel, struct datapath *dp, const struct hf_prefix *prefix, __u32 slot, __u32 number)
{
	return kernel_set(kernel.tunnels, prefix->len, &prefix->addr, &prefix->addr, slot);
}

FAKE(int, datapath_del_tunnel, struct datapath *dp, const struct hf_prefix *prefix)
{
	return kernel_del(kernel.tunnels, prefix->len, &prefix->addr);
}

/* Leading nowhere is as good as gone here. */
FAKE(int, datapath_close_tunnel, struct datapath *dp, const struct hf_prefix *prefix)
{
	return __wrap_datapath_del_tunnel(dp, prefix);
}

FAKE(int, datapath_open_tunnel, struct datapath *dp, const struct hf_prefix *prefix)
{
	return __wrap_datapath_del_tunnel(dp, prefix);
}

FAKE(int, datapath_steer, struct datapath *dp, __u32 slot, __u32 if_id)
{
	return if_id ? kernel_call() : 0;
}

FAKE(int, datapath_rearm_claim, struct datapath *dp, __u32 if_id)
{
	return 0;
}

FAKE(int, datapath_read_live, struct datapath *dp, __u32 if_id, struct hf_live *ret_live)
{
	return -ENOENT;
}

FAKE(int, route_add, struct netlink *nl, int index, const struct hf_prefix *prefixes, size_t n, const struct hf_addr *source)
{
	return kernel_set(kernel.routes, prefixes->len, &prefixes->addr, &prefixes->addr, 0);
}

FAKE(int, route_delete, struct netlink *nl, const struct hf_prefix *prefixes, size_t n)
{
	return kernel_del(kernel.routes, prefixes->len, &prefixes->addr);
}

FAKE(int, inner_control_send, const struct inner *inner, const struct hf_addr *src, const struct hf_addr *dst,
     const struct hf_control_wire *control)
{
	return 0;
}

/* The notices of the kernel: the test gives them itself. */

FAKE(int, mapping_open, mapping_notify notify, void *context, struct mapping **ret_mapping)
{
	*ret_mapping = NULL;
	return 0;
}

FAKE(int, mapping_fd, const struct mapping *mapping)
{
	return eventfd(0, EFD_CLOEXEC);
}

FAKE(int, expire_open, expire_notify notify, void *context, struct expire **ret_expire)
{
	*ret_expire = NULL;
	return 0;
}

FAKE(int, expire_fd, const struct expire *expire)
{
	return eventfd(0, EFD_CLOEXEC);
}

#endif
