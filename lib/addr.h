/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Addresses: text to struct hf_addr and back, order, prefixes. IPv4 is held
 * as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), so that one type, one order and one
 * look-up serve both families. Pure: knows no sockets but struct sockaddr.
 */
#ifndef HF_LIB_ADDR_H
#define HF_LIB_ADDR_H

#include <linux/types.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "bpf/contract.h"

/* The longest text addr_text() writes, with its NUL. */
#define ADDR_TEXT_MAX 48
/* The longest text prefix_text() writes, with its NUL. */
#define PREFIX_TEXT_MAX 52

/* A prefix. len counts bits of the mapped form: an IPv4 /24 is len 120. */
struct hf_prefix {
	struct hf_addr addr; /* bits beyond len are zero */
	__u8 len;	     /* 0..128 */
	__u8 pad[3];
};

struct addr_text {
	char s[PREFIX_TEXT_MAX];
};

/*
 * Reads a dotted IPv4 or an IPv6 address of exactly len characters (no NUL
 * needed, no zone). Returns 0, or -EINVAL and leaves *ret_addr untouched.
 */
int addr_parse(const char *text, size_t len, struct hf_addr *ret_addr);

/* As text in a struct of its own, for use in one printf argument. */
struct addr_text addr_text(const struct hf_addr *addr);

/* As "addr/len" in the family's own length; a host prefix as its address. */
struct addr_text prefix_text(const struct hf_prefix *prefix);

bool addr_is_v4(const struct hf_addr *addr);
/* The unspecified address: all zero, or 0.0.0.0. */
bool addr_is_zero(const struct hf_addr *addr);

/* Order as of unsigned 128-bit numbers: <0, 0, >0. IPv4 lies in ::ffff:0:0/96. */
int addr_cmp(const struct hf_addr *a, const struct hf_addr *b);
bool addr_equal(const struct hf_addr *a, const struct hf_addr *b);

struct hf_addr addr_from_be32(__be32 v4);
/* The IPv4 address in network order; 0 when addr is not IPv4. */
__be32 addr_to_be32(const struct hf_addr *addr);

/*
 * From a sockaddr_in or sockaddr_in6. Returns 0 or -EAFNOSUPPORT. Port and
 * scope are not kept.
 */
int addr_from_sockaddr(const struct sockaddr *sa, struct hf_addr *ret_addr);
/* To a sockaddr of the address's own family; port in host order. Returns its length. */
socklen_t addr_to_sockaddr(const struct hf_addr *addr, __u16 port, struct sockaddr_storage *ret_sa);

/* Whether prefix covers addr. */
bool prefix_contains(const struct hf_prefix *prefix, const struct hf_addr *addr);
/* Clears the bits beyond len. */
void prefix_mask(struct hf_prefix *prefix);
/* addr as a prefix of one address. */
struct hf_prefix prefix_of_host(const struct hf_addr *addr);

#endif
