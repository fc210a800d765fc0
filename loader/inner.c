/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A raw socket that takes whole IPv4 packets and leaves by interface only. */
static int open_raw(const char *interface, bool marked)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	int mark = marked ? (int)HF_MARK : 0, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* What a queue of held packets may come to at once, with what the kernel adds to each; it doubles the number. */
#define HELD_BUFFER (8 << 20)

/* Root may exceed net.core.wmem_max, whose default is full after some 130 packets. */
static int open_held(const char *interface)
{
	int fd = open_raw(interface, false), size = HELD_BUFFER, err;

	if (fd < 0 || !setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int inner_open(const char *interface, struct inner *ret_inner)
{
	struct inner inner = { .control = open_raw(interface, true), .held = -1 };

	if (inner.control < 0)
		return inner.control;
	inner.held = open_held(interface);
	if (inner.held < 0) {
		close(inner.control);
		return inner.held;
	}
	*ret_inner = inner;
	return 0;
}

void inner_close(struct inner *inner)
{
	if (inner->control >= 0)
		close(inner->control);
	if (inner->held >= 0)
		close(inner->held);
	inner->control = inner->held = -1;
}

int inner_control_build(const struct hf_addr *src, const struct hf_addr *dst,
			const struct hf_control_wire *control, __u8 ret_packet[INNER_CONTROL_LEN])
{
	struct iphdr ip = { .version = 4, .ihl = sizeof(ip) / 4, .ttl = INNER_CONTROL_TTL };

	if (!addr_is_v4(src) || !addr_is_v4(dst))
		return -EAFNOSUPPORT;
	ip.tot_len = htons(INNER_CONTROL_LEN);
	ip.frag_off = htons(IP_DF);
	ip.protocol = HF_CONTROL_PROTOCOL;
	ip.saddr = addr_to_be32(src);
	ip.daddr = addr_to_be32(dst);
	memcpy(ret_packet, &ip, sizeof(ip));
	memcpy(ret_packet + sizeof(ip), control, sizeof(*control));
	return INNER_CONTROL_LEN;
}

static int send_to(int fd, __be32 dst, const void *packet, size_t len)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = dst };

	return sendto(fd, packet, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

int inner_control_send(const struct inner *inner, const struct hf_addr *src, const struct hf_addr *dst,
		       const struct hf_control_wire *control)
{
	__u8 packet[INNER_CONTROL_LEN];
	int len = inner_control_build(src, dst, control, packet);

	return len < 0 ? len : send_to(inner->control, addr_to_be32(dst), packet, (size_t)len);
}

/* The Internet checksum's sum (RFC 1071), folded, of len bytes in addition to sum; in network order. */
static __u16 add_words(__u32 sum, const __u8 *bytes, size_t len)
{
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += (__u32)bytes[i] << 8 | bytes[i + 1];
	if (len & 1)
		sum += (__u32)bytes[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Reads the header; the payload's length goes by the total length. */
static bool read_ip(const __u8 *packet, size_t len, struct iphdr *ip, size_t *ret_head, size_t *ret_payload)
{
	size_t head, total;

	if (len < sizeof(*ip))
		return false;
	memcpy(ip, packet, sizeof(*ip));
	head = (size_t)ip->ihl * 4;
	total = ntohs(ip->tot_len);
	if (ip->version != 4 || head < sizeof(*ip) || total < head || total > len)
		return false;
	*ret_head = head;
	*ret_payload = total - head;
	return true;
}

/* Where the checksum of this protocol lies in its header; 0: none that cards compute. */
static size_t checksum_offset(__u8 protocol, size_t payload)
{
	if (protocol == IPPROTO_TCP && payload >= sizeof(struct tcphdr))
		return offsetof(struct tcphdr, check);
	if (protocol == IPPROTO_UDP && payload >= sizeof(struct udphdr))
		return offsetof(struct udphdr, check);
	return 0;
}

int inner_finish_checksum(__u8 *packet, size_t len)
{
	size_t head, payload, offset;
	struct iphdr ip;
	__u16 pseudo, sum;
	__u8 *field;

	if (!read_ip(packet, len, &ip, &head, &payload))
		return -EPROTO;
	offset = checksum_offset(ip.protocol, payload);
	if (!offset || (ip.frag_off & htons(IP_MF | IP_OFFMASK)))
		return 0;
	field = packet + head + offset;
	pseudo = add_words((__u32)ip.protocol + (__u32)payload, packet + offsetof(struct iphdr, saddr), 8);
	if ((field[0] << 8 | field[1]) != pseudo)
		return 0;
	/* The field holds the pseudo-header's sum, so that the sum over all is the sum that is wanted. */
	sum = (__u16)~add_words(0, packet + head, payload);
	if (!sum && ip.protocol == IPPROTO_UDP)
		sum = 0xffff; /* RFC 768: zero would mean none */
	field[0] = (__u8)(sum >> 8);
	field[1] = (__u8)sum;
	return 0;
}

int inner_held_send(const struct inner *inner, __u8 *packet, size_t len)
{
	struct iphdr ip;
	int err = inner_finish_checksum(packet, len);

	if (err)
		return err;
	memcpy(&ip, packet, sizeof(ip));
	return send_to(inner->held, ip.daddr, packet, ntohs(ip.tot_len));
}
