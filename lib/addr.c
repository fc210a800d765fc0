/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS (V6_BITS - V4_BITS)

/* RFC 4291, 2.5.5.2: what stands before the four bytes of an IPv4 address. */
static const __u8 mapped[MAPPED_BITS / 8] = { [10] = 0xff, [11] = 0xff };

struct hf_addr addr_from_be32(__be32 v4)
{
	struct hf_addr addr;

	memcpy(addr.b, mapped, sizeof(mapped));
	memcpy(addr.b + sizeof(mapped), &v4, sizeof(v4));
	return addr;
}

__be32 addr_to_be32(const struct hf_addr *addr)
{
	__be32 v4 = 0;

	if (addr_is_v4(addr))
		memcpy(&v4, addr->b + sizeof(mapped), sizeof(v4));
	return v4;
}

bool addr_is_v4(const struct hf_addr *addr)
{
	return !memcmp(addr->b, mapped, sizeof(mapped));
}

bool addr_is_zero(const struct hf_addr *addr)
{
	static const struct hf_addr zero;

	return addr_is_v4(addr) ? !addr_to_be32(addr) : addr_equal(addr, &zero);
}

int addr_cmp(const struct hf_addr *a, const struct hf_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool addr_equal(const struct hf_addr *a, const struct hf_addr *b)
{
	return !addr_cmp(a, b);
}

int addr_parse(const char *text, size_t len, struct hf_addr *ret_addr)
{
	char copy[ADDR_TEXT_MAX];
	struct hf_addr v6;
	__be32 v4;

	/* A NUL among the characters would end inet_pton()'s text early. */
	if (!len || len >= sizeof(copy) || memchr(text, 0, len))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = 0;

	if (inet_pton(AF_INET, copy, &v4) == 1)
		*ret_addr = addr_from_be32(v4);
	else if (inet_pton(AF_INET6, copy, v6.b) == 1)
		*ret_addr = v6;
	else
		return -EINVAL;
	return 0;
}

struct addr_text addr_text(const struct hf_addr *addr)
{
	struct addr_text text = { "" };

	if (addr_is_v4(addr))
		inet_ntop(AF_INET, addr->b + sizeof(mapped), text.s, sizeof(text.s));
	else
		inet_ntop(AF_INET6, addr->b, text.s, sizeof(text.s));
	return text;
}

struct addr_text prefix_text(const struct hf_prefix *prefix)
{
	struct addr_text text = addr_text(&prefix->addr);
	size_t n = strlen(text.s);

	if (prefix->len >= V6_BITS)
		return text;
	if (prefix->len >= MAPPED_BITS && addr_is_v4(&prefix->addr))
		snprintf(text.s + n, sizeof(text.s) - n, "/%d", prefix->len - MAPPED_BITS);
	else
		snprintf(text.s + n, sizeof(text.s) - n, "/%d", prefix->len);
	return text;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct hf_addr *ret_addr)
{
	/* Copied, since the caller's buffer need not be aligned for either type. */
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&sin, sa, sizeof(sin));
		*ret_addr = addr_from_be32(sin.sin_addr.s_addr);
		return 0;
	case AF_INET6:
		memcpy(&sin6, sa, sizeof(sin6));
		memcpy(ret_addr->b, &sin6.sin6_addr, sizeof(ret_addr->b));
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

socklen_t addr_to_sockaddr(const struct hf_addr *addr, __u16 port, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (addr_is_v4(addr)) {
		sin.sin_addr.s_addr = addr_to_be32(addr);
		memcpy(ret_sa, &sin, sizeof(sin));
		return sizeof(sin);
	}
	memcpy(&sin6.sin6_addr, addr->b, sizeof(addr->b));
	memcpy(ret_sa, &sin6, sizeof(sin6));
	return sizeof(sin6);
}

/* The byte of a mask of len bits at index i. */
static __u8 mask_byte(unsigned int len, unsigned int i)
{
	if (len >= 8 * (i + 1))
		return 0xff;
	if (len <= 8 * i)
		return 0;
	return (__u8)(0xff << (8 - len % 8));
}

bool prefix_contains(const struct hf_prefix *prefix, const struct hf_addr *addr)
{
	for (unsigned int i = 0; i < sizeof(addr->b); i++)
		if ((prefix->addr.b[i] ^ addr->b[i]) & mask_byte(prefix->len, i))
			return false;
	return true;
}

void prefix_mask(struct hf_prefix *prefix)
{
	for (unsigned int i = 0; i < sizeof(prefix->addr.b); i++)
		prefix->addr.b[i] &= mask_byte(prefix->len, i);
}

struct hf_prefix prefix_of_host(const struct hf_addr *addr)
{
	return (struct hf_prefix){ .addr = *addr, .len = V6_BITS };
}
