/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets from user space: heartbeats on the underlay, control packets and held
 * packets into the tunnel interface; what leaves is read at the other end of the
 * veth pairs that stand for both.
 */
#include "selftests/unit/space.h"

#include <netinet/ip.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "loader/beat.h"
#include "loader/hold.h"
#include "loader/inner.h"
#include "loader/link.h"
#include "loader/route.h"

static const struct hf_control_wire probe = {
	.magic = 0x54434648, .if_id = 0x01000048, .nonce = 0x1122334455667788, .type = HF_CONTROL_PROBE,
};

static void test_nonce(void **state)
{
	__u64 a = 0, b = 0;

	(void)state;
	assert_int_equal(beat_nonce(&a), 0);
	assert_int_equal(beat_nonce(&b), 0);
	assert_true(a && b && a != b);
}

static void test_beat_build(void **state)
{
	static const __u8 esp[] = {
		0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 50, 0, 0, 100, 0, 0, 1, 200, 0, 0, 254,
		0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	static const __u8 udp[] = {
		0x45, 0, 0, 52, 0, 0, 0x40, 0, 64, 17, 0, 0, 100, 0, 0, 1, 200, 0, 0, 254,
		0x11, 0x94, 0x30, 0x39, 0, 32, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	struct beat beat = { .local = space_addr("100.0.0.1"), .remote = space_addr("200.0.0.254"),
			     .sequence = 9, .nonce = 0x0102030405060708 };
	__u8 packet[BEAT_PACKET_MAX];

	(void)state;
	assert_int_equal(beat_build(&beat, packet), sizeof(esp));
	assert_memory_equal(packet, esp, sizeof(esp));
	beat.remote_port = 12345;
	assert_int_equal(beat_build(&beat, packet), sizeof(udp));
	assert_memory_equal(packet, udp, sizeof(udp));
	beat.remote = space_addr("2001:db8::1");
	assert_int_equal(beat_build(&beat, packet), -EAFNOSUPPORT);
}

static void test_control_build(void **state)
{
	static const __u8 head[] = { 0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 253, 0, 0, 100, 0, 0, 1, 200, 0, 0, 254 };
	struct hf_addr src = space_addr("100.0.0.1"), dst = space_addr("200.0.0.254"), v6 = space_addr("::1");
	__u8 packet[INNER_CONTROL_LEN];

	(void)state;
	assert_int_equal(inner_control_build(&src, &dst, &probe, packet), sizeof(packet));
	assert_memory_equal(packet, head, sizeof(head));
	assert_memory_equal(packet + sizeof(head), &probe, sizeof(probe));
	assert_int_equal(inner_control_build(&src, &v6, &probe, packet), -EAFNOSUPPORT);
}

/* A TCP SYN and a UDP datagram as Linux leaves them to the card, with the complete checksum beside. */
static const __u8 tcp_partial[] = {
	0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 100, 0, 0, 1, 10, 0, 0, 1,
	0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0x6e, 0x1c, 0, 0,
};
static const __u8 udp_partial[] = {
	0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 100, 0, 0, 1, 10, 0, 0, 1,
	0x9c, 0x40, 0, 9, 0, 11, 0x6e, 0x1e, 'o', 'd', 'd',
};

/* An independent sum, the slow way: 16-bit one's complement additions over pseudo-header and payload. */
static __u16 reference_sum(const __u8 *packet, size_t len)
{
	size_t i, head = (packet[0] & 15) * 4u, n = 12 + len - head;
	__u8 bytes[512] = { 0 };
	__u32 sum = 0;

	memcpy(bytes, packet + 12, 8);
	bytes[9] = packet[9];
	bytes[10] = (__u8)((len - head) >> 8);
	bytes[11] = (__u8)(len - head);
	memcpy(bytes + 12, packet + head, len - head);
	for (i = 0; i < n; i += 2) {
		sum += (__u32)(bytes[i] * 256 + bytes[i + 1]);
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (__u16)sum;
}

static void test_checksum(void **state)
{
	__u8 packet[64], before[64];
	size_t len;

	(void)state;
	memcpy(packet, tcp_partial, sizeof(tcp_partial));
	assert_int_equal(inner_finish_checksum(packet, sizeof(tcp_partial)), 0);
	assert_memory_not_equal(packet, tcp_partial, sizeof(tcp_partial));
	assert_int_equal(reference_sum(packet, sizeof(tcp_partial)), 0xffff);
	/* Complete: never touched again. */
	memcpy(before, packet, sizeof(tcp_partial));
	assert_int_equal(inner_finish_checksum(packet, sizeof(tcp_partial)), 0);
	assert_memory_equal(packet, before, sizeof(tcp_partial));

	memcpy(packet, udp_partial, sizeof(udp_partial));
	assert_int_equal(inner_finish_checksum(packet, sizeof(udp_partial)), 0);
	assert_int_equal(reference_sum(packet, sizeof(udp_partial)), 0xffff);
	/* A wrong sum is not ours to mend: it would hide damage. */
	memcpy(packet, udp_partial, sizeof(udp_partial));
	packet[26] = packet[27] = 0x55;
	assert_int_equal(inner_finish_checksum(packet, sizeof(udp_partial)), 0);
	assert_true(packet[26] == 0x55 && packet[27] == 0x55);
	/* A fragment has no whole sum. */
	memcpy(packet, udp_partial, sizeof(udp_partial));
	packet[6] = 0x20;
	assert_int_equal(inner_finish_checksum(packet, sizeof(udp_partial)), 0);
	assert_memory_equal(packet + 20, udp_partial + 20, sizeof(udp_partial) - 20);

	for (len = 0; len < sizeof(tcp_partial); len++) {
		memcpy(packet, tcp_partial, sizeof(tcp_partial));
		assert_int_equal(inner_finish_checksum(packet, len), -EPROTO);
	}
	packet[0] = 0x44;
	assert_int_equal(inner_finish_checksum(packet, sizeof(tcp_partial)), -EPROTO);
	packet[0] = 0x65;
	assert_int_equal(inner_finish_checksum(packet, sizeof(tcp_partial)), -EPROTO);
}

/* A packet as Linux leaves it to the card: any lengths, the field holds the sum over the pseudo-header. */
static size_t make_partial(__u8 *packet, size_t head, size_t payload, __u8 protocol)
{
	size_t field = head + (protocol == IPPROTO_TCP ? 16 : 6), len = head + payload;
	__u32 sum = protocol + (__u32)payload;

	memset(packet, 0, len);
	packet[0] = (__u8)(0x40 | head / 4);
	packet[2] = (__u8)(len >> 8);
	packet[3] = (__u8)len;
	packet[9] = protocol;
	for (size_t i = 12; i < len; i++)
		packet[i] = (__u8)(i * 29 + 1);
	for (size_t i = 12; i < 20; i += 2)
		sum += (__u32)(packet[i] << 8 | packet[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	packet[field] = (__u8)(sum >> 8);
	packet[field + 1] = (__u8)sum;
	return len;
}

static void check_lengths(size_t head, __u8 protocol)
{
	size_t least = protocol == IPPROTO_TCP ? 20 : 8, field = head + (protocol == IPPROTO_TCP ? 16 : 6);
	__u8 packet[512], before[512];

	for (size_t payload = least; payload < 200; payload++) {
		size_t len = make_partial(packet, head, payload, protocol);

		memcpy(before, packet, len);
		assert_int_equal(inner_finish_checksum(packet, len), 0);
		assert_int_equal(reference_sum(packet, len), 0xffff);
		memcpy(before + field, packet + field, 2);
		assert_memory_equal(packet, before, len);
	}
	/* Too short for the field: nothing to finish. */
	for (size_t payload = 0; payload < least; payload++) {
		memset(packet, 0, sizeof(packet));
		make_partial(packet, head, payload, protocol);
		memcpy(before, packet, sizeof(packet));
		assert_int_equal(inner_finish_checksum(packet, head + payload), 0);
		assert_memory_equal(packet, before, sizeof(packet));
	}
}

static void test_checksum_lengths(void **state)
{
	static const size_t heads[] = { 20, 24, 60 };

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		check_lengths(heads[i], IPPROTO_TCP);
		check_lengths(heads[i], IPPROTO_UDP);
	}
}

/* RFC 768: zero says that there is none, and stays; a sum of zero is sent as all ones. */
static void test_checksum_udp_zero(void **state)
{
	__u8 packet[64], before[64];
	__u16 sum;
	size_t len;

	(void)state;
	len = make_partial(packet, 20, 20, IPPROTO_UDP);
	packet[26] = packet[27] = 0;
	memcpy(before, packet, len);
	assert_int_equal(inner_finish_checksum(packet, len), 0);
	assert_memory_equal(packet, before, len);

	len = make_partial(packet, 20, 20, IPPROTO_UDP);
	memcpy(before, packet, len);
	before[26] = before[27] = before[38] = before[39] = 0;
	sum = (__u16)~reference_sum(before, len);
	packet[38] = (__u8)(sum >> 8); /* makes the sum over all else all ones, whose complement is zero */
	packet[39] = (__u8)sum;
	assert_int_equal(inner_finish_checksum(packet, len), 0);
	assert_int_equal(packet[26], 0xff);
	assert_int_equal(packet[27], 0xff);
}

/* Of other protocols, no field is known: even where it looks like a partial sum, it stays. */
static void test_checksum_others(void **state)
{
	static const __u8 protocols[] = { IPPROTO_ICMP, IPPROTO_ESP, IPPROTO_SCTP, HF_CONTROL_PROTOCOL };
	__u8 packet[64], before[64];

	(void)state;
	for (size_t i = 0; i < sizeof(protocols); i++) {
		size_t len = make_partial(packet, 20, 40, protocols[i]);

		memcpy(before, packet, len);
		assert_int_equal(inner_finish_checksum(packet, len), 0);
		assert_memory_equal(packet, before, len);
	}
}

/* Two links, d0 with the default route and hf0, and what leaves through hf0 and d0. */
struct net {
	struct netlink *nl;
	int tunnel;
	int on_tunnel; /* packet sockets at the far ends */
	int on_underlay;
};

static int listen_on(struct netlink *nl, const char *name)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct link_info info;

	assert_true(fd >= 0);
	assert_int_equal(link_by_name(nl, name, &info), 0);
	sa.sll_ifindex = info.index;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void make_net(struct net *net)
{
	struct link_info info;

	space_enter_new();
	assert_int_equal(netlink_open(NETLINK_ROUTE, &net->nl), 0);
	space_run("ip link set lo up");
	space_make_link("d0", "100.0.0.1/24");
	space_make_link("hf0", "203.0.113.1/32");
	space_run("ip route add default dev d0");
	assert_int_equal(link_by_name(net->nl, "hf0", &info), 0);
	net->tunnel = info.index;
	net->on_tunnel = listen_on(net->nl, "xhf0");
	net->on_underlay = listen_on(net->nl, "xd0");
	assert_int_equal(route_rule_add(net->nl, AF_INET, NULL), 0);
}

static void free_net(struct net *net)
{
	netlink_close(net->nl);
	close(net->on_tunnel);
	close(net->on_underlay);
}

/* The next packet of a protocol, without its header's checksum, which must be right. */
static size_t next_packet(int fd, __u8 protocol, __u8 *packet, size_t size)
{
	for (;;) {
		ssize_t got;
		__u32 sum = 0;
		size_t i;

		assert_true(space_readable(fd, SPACE_WAIT_MS));
		got = recv(fd, packet, size, 0);
		assert_true(got >= 20);
		if (packet[9] != protocol)
			continue;
		for (i = 0; i < 20; i += 2)
			sum += (__u32)(packet[i] << 8 | packet[i + 1]);
		assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
		packet[10] = packet[11] = 0;
		return (size_t)got;
	}
}

static void test_beat_send(void **state)
{
	struct beat beat = { .local = space_addr("100.0.0.1"), .remote = space_addr("200.0.0.254"), .sequence = 1 };
	struct hf_prefix all = space_prefix("0.0.0.0", 0);
	__u8 packet[128], expected[BEAT_PACKET_MAX];
	struct net net;
	int fd, len;

	(void)state;
	make_net(&net);
	/* All is tunnelled: a heartbeat goes out on the underlay nevertheless. */
	assert_int_equal(route_add(net.nl, net.tunnel, &all, 1, NULL), 0);
	fd = beat_open();
	assert_true(fd >= 0);
	assert_int_equal(beat_nonce(&beat.nonce), 0);
	assert_int_equal(beat_send(fd, &beat), 0);
	len = beat_build(&beat, expected);
	assert_int_equal(next_packet(net.on_underlay, IPPROTO_ESP, packet, sizeof(packet)), len);
	packet[4] = packet[5] = 0; /* the kernel's ID */
	assert_memory_equal(packet, expected, len);
	beat.remote_port = 4500;
	assert_int_equal(beat_send(fd, &beat), 0);
	len = beat_build(&beat, expected);
	assert_int_equal(next_packet(net.on_underlay, IPPROTO_UDP, packet, sizeof(packet)), len);
	packet[4] = packet[5] = 0;
	assert_memory_equal(packet, expected, len);
	/* A second uplink, chosen by the source address: the source is part of the routing decision. */
	space_run("ip rule add from 100.0.0.99 lookup 99 pref 99 && ip route add default dev hf0 table 99");
	beat.remote_port = 0;
	beat.local = space_addr("100.0.0.99");
	space_run("ip addr add 100.0.0.99/32 dev d0");
	assert_int_equal(beat_send(fd, &beat), 0);
	next_packet(net.on_tunnel, IPPROTO_ESP, packet, sizeof(packet));
	space_run("ip link set d0 down && ip link set hf0 down");
	assert_true(beat_send(fd, &beat) < 0);
	close(fd);
	free_net(&net);
}

static void send_control(const struct net *net, const struct inner *inner, const char *from, const char *to)
{
	struct hf_addr src = space_addr(from), dst = space_addr(to);
	__u8 packet[128], expected[INNER_CONTROL_LEN];

	assert_int_equal(inner_control_send(inner, &src, &dst, &probe), 0);
	inner_control_build(&src, &dst, &probe, expected);
	assert_int_equal(next_packet(net->on_tunnel, HF_CONTROL_PROTOCOL, packet, sizeof(packet)), sizeof(expected));
	packet[4] = packet[5] = 0;
	assert_memory_equal(packet, expected, sizeof(expected));
}

/* Whatever the tables say, a control packet leaves by the tunnel interface. */
static void test_control_send(void **state)
{
	struct hf_prefix all = space_prefix("0.0.0.0", 0);
	struct inner inner;
	struct net net;

	(void)state;
	make_net(&net);
	assert_int_equal(inner_open("none", &inner), -ENODEV);
	assert_int_equal(inner_open("hf0", &inner), 0);
	/* The gateway's outer address, which is not tunnelled: only the main table knows a way, by d0. */
	send_control(&net, &inner, "100.0.0.1", "200.0.0.254");
	/* A neighbour's address on the underlay. */
	send_control(&net, &inner, "100.0.0.1", "100.0.0.77");
	/* An inner address that is not this machine's. */
	send_control(&net, &inner, "10.9.9.9", "200.0.0.254");
	/* Only an unreachable route is left, in either table. */
	assert_int_equal(route_add_unreachable(net.nl, &all, 1), 0);
	space_run("ip route del default dev d0 && ip route add unreachable default");
	send_control(&net, &inner, "100.0.0.1", "200.0.0.254");
	assert_int_equal(recv(net.on_underlay, &inner, 1, MSG_PEEK), -1);
	inner_close(&inner);
	free_net(&net);
}

static void test_held_send(void **state)
{
	struct hf_prefix targets = space_prefix("10.0.0.0", 24);
	__u8 held[2000] = { 0 }, packet[2000], expected[sizeof(tcp_partial)];
	struct inner inner;
	struct net net;

	(void)state;
	make_net(&net);
	assert_int_equal(inner_open("hf0", &inner), 0);
	assert_int_equal(route_add(net.nl, net.tunnel, &targets, 1, NULL), 0);

	memcpy(held, tcp_partial, sizeof(tcp_partial));
	memcpy(expected, tcp_partial, sizeof(tcp_partial));
	inner_finish_checksum(expected, sizeof(expected));
	assert_int_equal(inner_held_send(&inner, held, sizeof(tcp_partial)), 0);
	/* The ID, not being 0, and all else is as it was. */
	assert_int_equal(next_packet(net.on_tunnel, IPPROTO_TCP, packet, sizeof(packet)), sizeof(expected));
	assert_memory_equal(packet, expected, sizeof(expected));

	/* A forwarded packet: its source is somebody else's, its time to live is used up in part. */
	memcpy(held, expected, sizeof(expected));
	held[8] = 17;
	held[12] = 172;
	held[13] = 16;
	memcpy(expected, held, sizeof(expected));
	assert_int_equal(inner_held_send(&inner, held, sizeof(expected)), 0);
	assert_int_equal(next_packet(net.on_tunnel, IPPROTO_TCP, packet, sizeof(packet)), sizeof(expected));
	assert_memory_equal(packet, expected, sizeof(expected));

	/* The route is gone, and the default goes by d0: still nothing there. */
	assert_int_equal(route_delete(net.nl, &targets, 1), 0);
	assert_int_equal(inner_held_send(&inner, held, sizeof(expected)), 0);
	next_packet(net.on_tunnel, IPPROTO_TCP, packet, sizeof(packet));
	assert_int_equal(recv(net.on_underlay, packet, 1, MSG_PEEK), -1);

	held[2] = 1800 >> 8;
	held[3] = 1800 & 0xff;
	assert_int_equal(inner_held_send(&inner, held, sizeof(held)), -EMSGSIZE);
	assert_int_equal(inner_held_send(&inner, held, 19), -EPROTO);
	inner_close(&inner);
	free_net(&net);
}

/*
 * A whole queue at once, while nothing of it gets any further (here, since ARP
 * is not answered): the socket takes it all.
 */
static void test_held_burst(void **state)
{
	struct hf_prefix targets = space_prefix("10.0.0.0", 24);
	__u8 packet[1400] = { 0 };
	struct inner inner;
	struct net net;

	(void)state;
	make_net(&net);
	space_run("ip link set hf0 arp on");
	space_run("sysctl -qw net.ipv4.neigh.hf0.unres_qlen_bytes=100000000");
	assert_int_equal(inner_open("hf0", &inner), 0);
	assert_int_equal(route_add(net.nl, net.tunnel, &targets, 1, NULL), 0);
	memcpy(packet, udp_partial, sizeof(udp_partial));
	packet[2] = sizeof(packet) >> 8;
	packet[3] = sizeof(packet) & 0xff;
	for (size_t i = 0; i < HOLD_PACKETS; i++)
		assert_int_equal(inner_held_send(&inner, packet, sizeof(packet)), 0);
	inner_close(&inner);
	free_net(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nonce),
		cmocka_unit_test(test_beat_build),
		cmocka_unit_test(test_control_build),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_checksum_lengths),
		cmocka_unit_test(test_checksum_udp_zero),
		cmocka_unit_test(test_checksum_others),
		cmocka_unit_test(test_beat_send),
		cmocka_unit_test(test_control_send),
		cmocka_unit_test(test_held_send),
		cmocka_unit_test(test_held_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
