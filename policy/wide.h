/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses as 128-bit numbers, for arithmetic on ranges. Private to policy/. */
#ifndef HF_POLICY_WIDE_H
#define HF_POLICY_WIDE_H

#include "lib/addr.h"

#define WIDE_MAX (~(unsigned __int128)0)
/* The IPv4-mapped block: what IPv4 has, and IPv6 never means (RFC 4291, 2.5.5.2). */
#define WIDE_V4_FIRST ((unsigned __int128)0xffff << 32)
#define WIDE_V4_LAST (WIDE_V4_FIRST | 0xffffffffu)

static inline unsigned __int128 wide_from_addr(const struct hf_addr *addr)
{
	unsigned __int128 wide = 0;

	for (size_t i = 0; i < sizeof(addr->b); i++)
		wide = wide << 8 | addr->b[i];
	return wide;
}

static inline struct hf_addr wide_to_addr(unsigned __int128 wide)
{
	struct hf_addr addr;

	for (size_t i = sizeof(addr.b); i--; wide >>= 8)
		addr.b[i] = (__u8)wide;
	return addr;
}

#endif
