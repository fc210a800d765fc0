/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses of packets in the form of the maps. */
#ifndef HF_BPF_ADDR_H
#define HF_BPF_ADDR_H

/* IPv4-mapped IPv6 (RFC 4291, 2.5.5.2). */
static __always_inline void hf_addr_of_v4(struct hf_addr *addr, __be32 v4)
{
	__builtin_memset(addr->b, 0, 10);
	addr->b[10] = 0xff;
	addr->b[11] = 0xff;
	__builtin_memcpy(addr->b + 12, &v4, 4);
}

static __always_inline bool hf_addr_is_v4(const struct hf_addr *addr, __be32 v4)
{
	const __u32 *word = (const __u32 *)addr; /* maps align their values to 8 bytes */

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff) && word[3] == v4;
}

/* The tunnel entry of an IPv4 address, or NULL. */
static __always_inline const struct hf_tunnel *hf_tunnel_of_v4(__be32 v4)
{
	struct hf_tunnel_key key = {.prefixlen = 128};

	hf_addr_of_v4(&key.addr, v4);
	return bpf_map_lookup_elem(&hf_tunnels, &key);
}

#endif
