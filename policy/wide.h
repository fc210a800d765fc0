/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses as 128-bit numbers, for arithmetic on ranges. Private to policy/. */
#ifndef HF_POLICY_WIDE_H
#define HF_POLICY_WIDE_H

#include <endian.h>
#include <string.h>

#include "lib/addr.h"

#define WIDE_MAX (~(unsigned __int128)0)
/* The IPv4-mapped block: what IPv4 has, and IPv6 never means (RFC 4291, 2.5.5.2). */
#define WIDE_V4_FIRST ((unsigned __int128)0xffff << 32)
#define WIDE_V4_LAST (WIDE_V4_FIRST | 0xffffffffu)

static inline unsigned __int128 wide_from_addr(const struct hf_addr *addr)
{
	__u64 half[2];

	memcpy(half, addr->b, sizeof(half));
	return (unsigned __int128)be64toh(half[0]) << 64 | be64toh(half[1]);
}

static inline struct hf_addr wide_to_addr(unsigned __int128 wide)
{
	__u64 half[2] = { htobe64((__u64)(wide >> 64)), htobe64((__u64)wide) };
	struct hf_addr addr;

	memcpy(addr.b, half, sizeof(addr.b));
	return addr;
}

#endif
