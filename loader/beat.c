/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/beat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

int beat_nonce(__u64 *ret_nonce)
{
	__u64 nonce = 0;

	while (!nonce)
		if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
			return -errno;
	*ret_nonce = nonce;
	return 0;
}

int beat_build(const struct beat *beat, __u8 ret_packet[BEAT_PACKET_MAX])
{
	size_t udp_len = beat->remote_port ? sizeof(struct udphdr) : 0;
	size_t len = sizeof(struct iphdr) + udp_len + sizeof(struct hf_beat_wire);
	struct hf_beat_wire wire = { .spi = htonl(HF_BEAT_SPI) };
	struct iphdr ip = { .version = 4, .ihl = sizeof(ip) / 4, .ttl = BEAT_TTL };

	if (!addr_is_v4(&beat->local) || !addr_is_v4(&beat->remote))
		return -EAFNOSUPPORT;
	ip.tot_len = htons((__u16)len);
	ip.frag_off = htons(IP_DF);
	ip.protocol = beat->remote_port ? IPPROTO_UDP : IPPROTO_ESP;
	ip.saddr = addr_to_be32(&beat->local);
	ip.daddr = addr_to_be32(&beat->remote);
	memcpy(ret_packet, &ip, sizeof(ip));
	if (beat->remote_port) {
		/* No checksum: RFC 3948, 2.1. */
		struct udphdr udp = { .source = htons(HF_UDP_ENCAP_PORT), .dest = htons(beat->remote_port) };

		udp.len = htons((__u16)(len - sizeof(ip)));
		memcpy(ret_packet + sizeof(ip), &udp, sizeof(udp));
	}
	wire.sequence = htonl(beat->sequence);
	wire.nonce = beat->nonce;
	memcpy(ret_packet + sizeof(ip) + udp_len, &wire, sizeof(wire));
	return (int)len;
}

int beat_open(void)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	int mark = (int)HF_MARK, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int beat_send(int fd, const struct beat *beat)
{
	__u8 packet[BEAT_PACKET_MAX];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = addr_to_be32(&beat->remote) };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = { .bytes = { 0 } };
	struct in_pktinfo source = { .ipi_spec_dst.s_addr = addr_to_be32(&beat->local) };
	struct iovec iov = { .iov_base = packet };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = sizeof(control) };
	int len = beat_build(beat, packet);

	if (len < 0)
		return len;
	iov.iov_len = (size_t)len;
	/* The header alone would leave the source out of the routing decision. */
	control.head.cmsg_level = IPPROTO_IP;
	control.head.cmsg_type = IP_PKTINFO;
	control.head.cmsg_len = CMSG_LEN(sizeof(source));
	memcpy(CMSG_DATA(&control.head), &source, sizeof(source));
	return sendmsg(fd, &message, 0) < 0 ? -errno : 0;
}
