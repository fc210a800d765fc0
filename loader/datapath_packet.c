// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <string.h>

#include "loader/datapath.h"

#define IP_MF_OR_OFFSET 0x3fff

/* The sum of RFC 1071 over bytes in network order, not folded. */
static __u32 sum_bytes(const __u8 *bytes, size_t len)
{
	__u32 sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (__u32)(bytes[i] << 8 | bytes[i + 1]);
	if (len & 1)
		sum += (__u32)(bytes[len - 1] << 8);
	return sum;
}

/* The checksum of TCP or UDP over IPv4 (RFC 9293, 3.1), whose own field must be zero. */
static __be16 transport_checksum(const struct iphdr *ip, const __u8 *payload, size_t len)
{
	/* A packet is at most 64 KiB: the sums of its words do not overflow 32 bits. */
	__u32 sum = sum_bytes((const __u8 *)&ip->saddr, 8) + ip->protocol + (__u32)len + sum_bytes(payload, len);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((__u16)~sum);
}

int datapath_finish_packet(__u8 *packet, size_t len)
{
	size_t header, total, field, least;
	struct iphdr ip;
	__be16 check;

	if (len < sizeof(ip))
		return -EBADMSG;
	memcpy(&ip, packet, sizeof(ip));
	header = (size_t)ip.ihl * 4;
	total = ntohs(ip.tot_len);
	if (ip.version != 4 || header < sizeof(ip) || total < header || total > len)
		return -EBADMSG;
	if (ntohs(ip.frag_off) & IP_MF_OR_OFFSET)
		return 0; /* the kernel fills checksums in before it cuts a packet up */
	if (ip.protocol == IPPROTO_TCP) {
		field = offsetof(struct tcphdr, check);
		least = sizeof(struct tcphdr);
	} else if (ip.protocol == IPPROTO_UDP) {
		field = offsetof(struct udphdr, check);
		least = sizeof(struct udphdr);
	} else {
		return 0;
	}
	if (total - header < least)
		return -EBADMSG;
	memcpy(&check, packet + header + field, sizeof(check));
	if (ip.protocol == IPPROTO_UDP && !check)
		return 0; /* sent without one (RFC 768) */
	memset(packet + header + field, 0, sizeof(check));
	check = transport_checksum(&ip, packet + header, total - header);
	if (ip.protocol == IPPROTO_UDP && !check)
		check = 0xffff;
	memcpy(packet + header + field, &check, sizeof(check));
	return 0;
}
