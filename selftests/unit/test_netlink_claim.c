/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The claim of inner addresses.
 *
 *   gateway's namespace                       target's namespace
 *   hf0 (route to 100.0.0.1)   lan0 ===== lan0
 *                         10.0.0.254     10.0.0.1, route to 100.0.0.0/24 on-link
 */
#include "selftests/unit/space.h"

#include "loader/claim.h"
#include "loader/link.h"
#include "loader/route.h"

static const __u8 announcement[CLAIM_ARP_LEN] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, /* Ethernet */
	0, 1, 8, 0, 6, 4, 0, 1,					    /* a request for IPv4 */
	2, 0, 0, 0, 0, 1, 100, 0, 0, 1, 0, 0, 0, 0, 0, 0, 100, 0, 0, 1,
};
static const __u8 mac[6] = { 2, 0, 0, 0, 0, 1 };

static void test_build(void **state)
{
	struct hf_addr addr = space_addr("100.0.0.1"), v6 = space_addr("2001:db8::1");
	__u8 frame[CLAIM_ARP_LEN];

	(void)state;
	assert_int_equal(claim_arp_build(&v6, mac, frame), -EAFNOSUPPORT);
	assert_int_equal(claim_arp_build(&addr, mac, frame), 0);
	assert_memory_equal(frame, announcement, sizeof(frame));
}

/* One byte of the announcement changed, and what must be read then. */
static const struct {
	const char *what;
	size_t at;
	__u8 value;
	int err;
	bool reply, announcement, probe;
} parse_cases[] = {
	{ "as it is", 0, 0xff, 0, false, true, false },
	{ "a reply", 21, 2, 0, true, true, false },
	{ "an ordinary request", 41, 7, 0, false, false, false },
	{ "another ethertype", 13, 0, -EPROTO },
	{ "not Ethernet", 15, 6, -EPROTO },
	{ "not IPv4", 17, 1, -EPROTO },
	{ "another hardware length", 18, 8, -EPROTO },
	{ "another protocol length", 19, 16, -EPROTO },
	{ "another operation", 21, 3, -EPROTO },
};

static void test_parse(void **state)
{
	__u8 frame[CLAIM_ARP_LEN];
	struct claim_arp arp;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(parse_cases) / sizeof(parse_cases[0]); i++) {
		memcpy(frame, announcement, sizeof(frame));
		frame[parse_cases[i].at] = parse_cases[i].value;
		if (claim_arp_parse(frame, sizeof(frame), &arp) != parse_cases[i].err)
			fail_msg("%s", parse_cases[i].what);
		if (parse_cases[i].err)
			continue;
		assert_string_equal(addr_text(&arp.sender).s, "100.0.0.1");
		assert_memory_equal(arp.sender_mac, mac, sizeof(mac));
		assert_int_equal(arp.reply, parse_cases[i].reply);
		assert_int_equal(arp.announcement, parse_cases[i].announcement);
		assert_int_equal(arp.probe, parse_cases[i].probe);
	}
	for (len = 0; len < sizeof(announcement); len++)
		assert_int_equal(claim_arp_parse(announcement, len, &arp), -EPROTO);
	/* A probe (RFC 5227) asks for an address, it does not have it. */
	memcpy(frame, announcement, sizeof(frame));
	memset(frame + 28, 0, 4);
	assert_int_equal(claim_arp_parse(frame, sizeof(frame), &arp), 0);
	assert_true(arp.probe && !arp.announcement);
	memset(frame + 38, 0, 4);
	assert_int_equal(claim_arp_parse(frame, sizeof(frame), &arp), 0);
	assert_true(arp.probe && !arp.announcement);
}

struct net {
	int gateway, target; /* namespaces */
	int lan, tunnel;     /* in the gateway's */
	__u8 lan_mac[6];
	struct netlink *nl;
};

static void make_net(struct net *net)
{
	struct hf_addr client = space_addr("100.0.0.1");
	struct hf_prefix prefix = prefix_of_host(&client);
	struct link_info info;
	char command[256];

	memset(net, 0, sizeof(*net));
	space_enter_new();
	net->target = space_open();
	space_enter_new();
	net->gateway = space_open();
	snprintf(command, sizeof(command), "ip link add lan0 type veth peer name lan0 netns /proc/%d/fd/%d", getpid(),
		 net->target);
	space_run(command);
	space_run("ip addr add 10.0.0.254/24 dev lan0 && ip link set lan0 up");
	space_make_link("hf0", "203.0.113.1/32");
	space_run("echo 1 >/proc/sys/net/ipv4/conf/lan0/forwarding && echo 0 >/proc/sys/net/ipv4/neigh/lan0/proxy_delay");
	assert_int_equal(netlink_open(NETLINK_ROUTE, &net->nl), 0);
	assert_int_equal(link_by_name(net->nl, "hf0", &info), 0);
	net->tunnel = info.index;
	assert_int_equal(link_by_name(net->nl, "lan0", &info), 0);
	net->lan = info.index;
	memcpy(net->lan_mac, info.mac, sizeof(net->lan_mac));
	assert_int_equal(route_rule_add(net->nl, AF_INET, NULL), 0);
	assert_int_equal(route_add(net->nl, net->tunnel, &prefix, 1, NULL), 0);
	space_enter(net->target);
	space_run("ip link set lan0 up && ip addr add 10.0.0.1/24 dev lan0 && ip route add 100.0.0.0/24 dev lan0");
	space_enter(net->gateway);
}

static void free_net(struct net *net)
{
	netlink_close(net->nl);
	close(net->gateway);
	close(net->target);
}

/* The target sends a datagram to the client: its kernel then asks who has that address. */
static void ask(const struct net *net)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr("100.0.0.1") };
	int fd;

	space_enter(net->target);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	close(fd);
	space_enter(net->gateway);
}

/* Whether one of the next ARP packets at the target is the gateway's answer for the client's address. */
static bool is_answered(int listener, const __u8 expected[6])
{
	struct claim_arp arp;

	while (space_readable(listener, 300)) {
		if (claim_arp_receive(listener, &arp))
			continue;
		if (arp.reply && strcmp(addr_text(&arp.sender).s, "100.0.0.1") == 0)
			return memcmp(arp.sender_mac, expected, 6) == 0;
	}
	return false;
}

static void test_proxy(void **state)
{
	struct hf_prefix client = space_prefix("100.0.0.1", 32), v6 = space_prefix("2001:db8::1", 128);
	struct hf_prefix network = space_prefix("192.168.7.0", 24), wide = space_prefix("192.168.0.0", 23);
	struct link_info info;
	struct netlink *nl;
	struct net net;
	size_t n = 99;
	int listener;

	(void)state;
	make_net(&net);
	space_enter(net.target);
	assert_int_equal(netlink_open(NETLINK_ROUTE, &nl), 0);
	assert_int_equal(link_by_name(nl, "lan0", &info), 0);
	listener = claim_arp_open(info.index);
	assert_true(listener >= 0);
	netlink_close(nl);
	space_enter(net.gateway);

	assert_int_equal(claim_add(net.nl, net.lan, &v6), -EAFNOSUPPORT);
	ask(&net);
	assert_false(is_answered(listener, net.lan_mac));
	assert_int_equal(claim_add(net.nl, net.lan, &client), 0);
	assert_int_equal(claim_add(net.nl, net.lan, &client), 0);
	space_enter(net.target);
	space_run("ip neigh flush dev lan0");
	space_enter(net.gateway);
	ask(&net);
	assert_true(is_answered(listener, net.lan_mac));

	/* Only what is Holdfast's is flushed. */
	space_run("ip neigh add proxy 100.0.0.9 dev lan0");
	assert_int_equal(claim_flush(net.nl, &n), 0);
	assert_int_equal(n, 1);
	assert_null(strstr(space_output("ip neigh show proxy"), "100.0.0.1 "));
	assert_non_null(strstr(space_output("ip neigh show proxy"), "100.0.0.9 "));
	assert_int_equal(claim_add(net.nl, net.lan, &client), 0);
	assert_int_equal(claim_delete(net.nl, net.lan, &client), 0);
	assert_int_equal(claim_delete(net.nl, net.lan, &client), 0);
	assert_null(strstr(space_output("ip neigh show proxy"), "100.0.0.1 "));

	/* A range: each address for itself; one that is too wide for that: none. */
	assert_int_equal(claim_add(net.nl, net.lan, &network), 0);
	assert_int_equal(claim_add(net.nl, net.lan, &wide), 0);
	assert_string_equal(space_output("ip neigh show proxy | grep -c ^192.168.7."), "256\n");
	assert_string_equal(space_output("ip neigh show proxy | grep -c ^192.168."), "256\n");
	assert_int_equal(claim_delete(net.nl, net.lan, &network), 0);
	assert_string_equal(space_output("ip neigh show proxy | grep -c ^192.168."), "0\n");
	close(listener);
	free_net(&net);
}

static void test_announce(void **state)
{
	static const __u8 other[6] = { 2, 0, 0, 0, 0, 7 };
	struct hf_addr client = space_addr("100.0.0.1");
	struct link_info info;
	struct claim_arp arp;
	int sender, listener;
	struct netlink *nl;
	struct net net;

	(void)state;
	make_net(&net);
	sender = claim_arp_open(net.lan);
	assert_true(sender >= 0);
	space_enter(net.target);
	/* The target believes in another gateway. */
	space_run("ip neigh replace 100.0.0.1 lladdr 02:00:00:00:00:07 dev lan0 nud reachable");
	assert_int_equal(netlink_open(NETLINK_ROUTE, &nl), 0);
	assert_int_equal(link_by_name(nl, "lan0", &info), 0);
	listener = claim_arp_open(info.index);
	assert_true(listener >= 0);
	assert_int_equal(claim_arp_receive(listener, &arp), -EAGAIN);
	assert_int_equal(claim_arp_announce(sender, &client, net.lan_mac), 0);
	assert_true(space_readable(listener, SPACE_WAIT_MS));
	assert_int_equal(claim_arp_receive(listener, &arp), 0);
	assert_true(arp.announcement);
	assert_string_equal(addr_text(&arp.sender).s, "100.0.0.1");
	assert_memory_equal(arp.sender_mac, net.lan_mac, 6);
	/* At once, although its entry was made just now. */
	assert_null(strstr(space_output("ip neigh show 100.0.0.1"), "02:00:00:00:00:07"));
	/* The sender's own socket hears others, not itself. */
	assert_int_equal(claim_arp_receive(sender, &arp), -EAGAIN);
	assert_int_equal(claim_arp_announce(listener, &client, other), 0);
	assert_true(space_readable(sender, SPACE_WAIT_MS));
	assert_int_equal(claim_arp_receive(sender, &arp), 0);
	assert_memory_equal(arp.sender_mac, other, 6);
	assert_true(arp.announcement);
	/* With the link down the kernel says so. */
	space_enter(net.gateway);
	assert_int_equal(link_set_up(net.nl, net.lan, false), 0);
	assert_int_equal(claim_arp_announce(sender, &client, net.lan_mac), -ENETDOWN);
	netlink_close(nl);
	close(sender);
	close(listener);
	free_net(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_announce),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
