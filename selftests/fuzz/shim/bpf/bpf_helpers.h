/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stands in for libbpf's header of this name where the datapath is compiled for
 * user space: what the programs ask of the kernel, as functions that
 * fuzz_datapath.c has. Maps are known by their address; their sizes come from
 * their types, as the loader has them from BTF.
 */
#ifndef HF_SELFTESTS_FUZZ_SHIM_HELPERS_H
#define HF_SELFTESTS_FUZZ_SHIM_HELPERS_H

#define SEC(name)
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __ksym
#undef __weak
#define __weak
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define barrier_var(var) __asm__ volatile("" : "+r"(var))

struct shim_map {
	const void *map;
	__u32 type;
	__u32 max_entries;
	__u32 key_size;
	__u32 value_size;
};

#define SHIM_MAP(m)                                                                          \
	(&(struct shim_map){ .map = (m),                                                     \
			     .type = sizeof(*(m)->type) / sizeof(int),                       \
			     .max_entries = sizeof(*(m)->max_entries) / sizeof(int),         \
			     .key_size = sizeof(*(m)->key),                                  \
			     .value_size = sizeof(*(m)->value) })

/* A pointer to the value, of exactly its size, or NULL. */
void *shim_lookup(const struct shim_map *map, const void *key);
long shim_delete(const struct shim_map *map, const void *key);

#define bpf_map_lookup_elem(map, key) shim_lookup(SHIM_MAP(map), key)
#define bpf_map_delete_elem(map, key) shim_delete(SHIM_MAP(map), key)

/* There is one ring. */
__u64 bpf_ringbuf_query(void *ring, __u64 flags);
void *shim_reserve(__u64 size);
void shim_submit(void *record);

#define bpf_ringbuf_reserve(map, size, flags) shim_reserve(size)
#define bpf_ringbuf_submit(record, flags) shim_submit(record)

__u64 bpf_ktime_get_ns(void);
long bpf_fib_lookup(void *ctx, struct bpf_fib_lookup *fib, int size, __u32 flags);
long bpf_redirect(__u32 ifindex, __u64 flags);
long bpf_skb_pull_data(struct __sk_buff *skb, __u32 len);
long bpf_skb_load_bytes_relative(const struct __sk_buff *skb, __u32 offset, void *to, __u32 len, __u32 header);

#endif
