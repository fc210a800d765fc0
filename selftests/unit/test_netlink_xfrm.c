/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ESP with the kernel's own states and policies, through tunnel interfaces in
 * collect-metadata mode; routes with an if_id stand for the datapath.
 *
 *   client's namespace                gateway's namespace
 *   hf0 10.1.0.1   u0 ============ u0   hf0 10.2.0.1
 *             100.0.0.1/8        100.0.0.254/8
 *
 * Skipped on a kernel without ESP or xfrm interfaces; runs in the VM.
 */
#include "selftests/unit/space.h"

#include <netinet/ip.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/lwtunnel.h>
#include <linux/rtnetlink.h>

#include "loader/expire.h"
#include "loader/link.h"
#include "loader/route.h"
#include "loader/xfrm.h"

#define IF_ID_CLIENT (XFRM_IF_ID_BASE | 1) /* the gateway's name for the client */
#define IF_ID_GATEWAY (XFRM_IF_ID_BASE | 2)
#define SPI_UP 0x10001234u
#define SPI_DOWN 0x20005678u

static const __u8 key[KMS_KEY_MAX] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

struct end {
	int space;
	struct netlink *route;
	struct netlink *xfrm;
	struct hf_addr outer;
	struct hf_addr inner;
	int tunnel;
	int encap; /* socket of UDP encapsulation, or -1 */
};

struct net {
	struct end client;
	struct end gateway;
	int wire; /* packet socket at the gateway's end of the underlay */
};

static void skip_without_esp(void)
{
	struct netlink *route, *xfrm;
	char text[200] = "";
	int err;

	space_enter_new();
	assert_int_equal(netlink_open(NETLINK_ROUTE, &route), 0);
	err = netlink_open(NETLINK_XFRM, &xfrm);
	if (err) {
		netlink_close(route);
		space_skip("this kernel has no XFRM: %s", strerror(-err));
	}
	err = xfrm_probe(xfrm, text, sizeof(text));
	if (!err)
		err = link_probe_tunnel(route, text, sizeof(text));
	netlink_close(route);
	netlink_close(xfrm);
	if (err)
		space_skip("%s", text);
}

static void test_invalid(void **state)
{
	struct xfrm_state_spec good = {
		.way = XFRM_WAY_IN, .local = space_addr("100.0.0.1"), .remote = space_addr("100.0.0.254"),
		.spi = SPI_UP, .if_id = IF_ID_CLIENT, .algorithm = KMS_AES_256_GCM, .key = key, .key_len = 36,
	};
	struct xfrm_state_spec bad[] = { good, good, good, good, good, good, good };
	struct xfrm_peer peer = { .local = good.local, .remote = good.remote, .if_id = 7 };
	struct netlink *nl;
	size_t i;

	(void)state;
	space_enter_new();
	assert_int_equal(netlink_open(NETLINK_XFRM, &nl), 0);
	bad[0].spi = 255;
	bad[1].spi = 0xffffffff;
	bad[2].if_id = 1;
	bad[3].key_len = 32;
	bad[4].algorithm = 0;
	bad[5].algorithm = 4;
	bad[6].remote = space_addr("2001:db8::1");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(xfrm_state_add(nl, &bad[i]), -EINVAL);
	assert_int_equal(xfrm_policy_add(nl, &peer), -EINVAL);
	assert_int_equal(xfrm_policy_delete(nl, 7), -EINVAL);
	netlink_close(nl);
}

static void make_end(struct end *end, const char *outer, const char *inner)
{
	struct hf_addr inner_addr = space_addr(inner);
	struct hf_prefix prefix = prefix_of_host(&inner_addr);
	char command[256];

	end->encap = -1;
	end->outer = space_addr(outer);
	end->inner = inner_addr;
	space_enter(end->space);
	snprintf(command, sizeof(command), "ip link set lo up && ip link set u0 up && ip addr add %s/8 dev u0", outer);
	space_run(command);
	assert_int_equal(netlink_open(NETLINK_ROUTE, &end->route), 0);
	assert_int_equal(netlink_open(NETLINK_XFRM, &end->xfrm), 0);
	assert_int_equal(link_tunnel_create(end->route, LINK_TUNNEL, LINK_TUNNEL_MTU, &end->tunnel), 0);
	assert_int_equal(link_addr_add(end->route, end->tunnel, &prefix), 0);
	assert_int_equal(link_set_up(end->route, end->tunnel, true), 0);
	space_run("for f in all default u0 hf0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done");
}

/* Everything into the tunnel, with an if_id, as the datapath would set it; the ESP itself must not go in again. */
static void make_route(struct end *end, __u32 if_id)
{
	struct netlink_request request;
	struct nlattr *nest;
	struct rtmsg *head;

	space_enter(end->space);
	assert_int_equal(route_rule_add(end->route, AF_INET, NULL), 0);
	head = netlink_request(&request, RTM_NEWROUTE, NLM_F_CREATE, sizeof(*head));
	head->rtm_family = AF_INET;
	head->rtm_type = RTN_UNICAST;
	head->rtm_scope = RT_SCOPE_LINK;
	head->rtm_protocol = NETLINK_HF_PROTOCOL;
	mnl_attr_put_u32(&request.head, RTA_TABLE, ROUTE_TABLE);
	mnl_attr_put_u32(&request.head, RTA_OIF, (__u32)end->tunnel);
	mnl_attr_put_u16(&request.head, RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_XFRM);
	nest = mnl_attr_nest_start(&request.head, RTA_ENCAP);
	mnl_attr_put_u32(&request.head, LWT_XFRM_IF_ID, if_id);
	mnl_attr_nest_end(&request.head, nest);
	assert_int_equal(netlink_talk(end->route, &request, NULL, NULL), 0);
}

static void make_net(struct net *net)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct link_info info;
	char command[256];

	space_enter_new();
	net->gateway.space = space_open();
	space_enter_new();
	net->client.space = space_open();
	snprintf(command, sizeof(command), "ip link add u0 type veth peer name u0 netns /proc/%d/fd/%d", getpid(),
		 net->gateway.space);
	space_run(command);
	make_end(&net->client, "100.0.0.1", "10.1.0.1");
	make_end(&net->gateway, "100.0.0.254", "10.2.0.1");
	make_route(&net->client, IF_ID_GATEWAY);
	make_route(&net->gateway, IF_ID_CLIENT);
	net->wire = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(net->wire >= 0);
	assert_int_equal(link_by_name(net->gateway.route, "u0", &info), 0);
	sa.sll_ifindex = info.index;
	assert_int_equal(bind(net->wire, (struct sockaddr *)&sa, sizeof(sa)), 0);
}

static void free_end(struct end *end)
{
	netlink_close(end->route);
	netlink_close(end->xfrm);
	close(end->space);
	if (end->encap >= 0)
		close(end->encap);
}

static void free_net(struct net *net)
{
	free_end(&net->client);
	free_end(&net->gateway);
	close(net->wire);
}

static void add_states(struct end *end, const struct end *other, enum kms_algorithm algorithm, __u32 if_id,
		       __u32 spi_in, __u32 spi_out, bool udp)
{
	struct xfrm_peer peer = { .local = end->outer, .remote = other->outer, .if_id = if_id };
	struct xfrm_state_spec spec = {
		.way = XFRM_WAY_IN, .local = end->outer, .remote = other->outer, .spi = spi_in, .if_id = if_id,
		.algorithm = algorithm, .key = key, .key_len = algorithm == KMS_AES_128_GCM ? 20 : 36,
		.lifetime_s = 3600,
	};

	space_enter(end->space);
	if (udp) {
		end->encap = xfrm_encap_open(&end->outer, HF_UDP_ENCAP_PORT);
		assert_true(end->encap >= 0);
		spec.encap_local = spec.encap_remote = HF_UDP_ENCAP_PORT;
	}
	assert_int_equal(xfrm_state_add(end->xfrm, &spec), 0);
	assert_int_equal(xfrm_state_add(end->xfrm, &spec), -EEXIST);
	assert_int_equal(xfrm_policy_add(end->xfrm, &peer), 0);
	assert_int_equal(xfrm_policy_add(end->xfrm, &peer), 0);
	spec.way = XFRM_WAY_OUT;
	spec.spi = spi_out;
	assert_int_equal(xfrm_state_add(end->xfrm, &spec), 0);
}

static void connect_ends(struct net *net, enum kms_algorithm algorithm, bool udp)
{
	add_states(&net->client, &net->gateway, algorithm, IF_ID_GATEWAY, SPI_DOWN, SPI_UP, udp);
	add_states(&net->gateway, &net->client, algorithm, IF_ID_CLIENT, SPI_UP, SPI_DOWN, udp);
}

static int open_udp(const struct end *end)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&end->inner, 7000, &sa);
	int fd;

	space_enter(end->space);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void send_udp(int fd, const struct end *to, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&to->inner, 7000, &sa);

	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa, len), strlen(text));
}

static void expect_udp(int fd, const char *text)
{
	char got[64] = "";

	if (!space_readable(fd, SPACE_WAIT_MS))
		fail_msg("nothing arrived:\n%s", space_output("ip -s xfrm state; ip -s xfrm policy; grep -v '\t0$' /proc/net/xfrm_stat"));
	assert_int_equal(recv(fd, got, sizeof(got), 0), strlen(text));
	assert_string_equal(got, text);
}

/* What was on the wire: nothing but packets of this protocol, and no text of ours. */
static void expect_wire(const struct net *net, __u8 protocol)
{
	__u8 packet[2048];
	size_t n = 0;
	ssize_t got;

	while ((got = recv(net->wire, packet, sizeof(packet), 0)) > 0) {
		assert_int_equal(packet[9], protocol);
		assert_null(memmem(packet, (size_t)got, "plaintext", 9));
		n++;
	}
	assert_true(n > 0);
}

static void remove_all(struct end *end, __u32 if_id, __u32 spi_in, __u32 spi_out, const struct end *other)
{
	int i;

	space_enter(end->space);
	for (i = 0; i < 2; i++) {
		assert_int_equal(xfrm_state_delete(end->xfrm, &end->outer, spi_in), 0);
		assert_int_equal(xfrm_state_delete(end->xfrm, &other->outer, spi_out), 0);
		assert_int_equal(xfrm_policy_delete(end->xfrm, if_id), 0);
		assert_int_equal(link_delete(end->route, LINK_TUNNEL), 0);
	}
	assert_string_equal(space_output("ip xfrm state; ip xfrm policy | grep if_id; ip link show type xfrm"), "");
}

static const struct {
	const char *what;
	enum kms_algorithm algorithm;
	bool udp;
} traffic_cases[] = {
	{ "AES-256-GCM", KMS_AES_256_GCM, false },
	{ "AES-128-GCM", KMS_AES_128_GCM, false },
	{ "ChaCha20-Poly1305", KMS_CHACHA20_POLY1305, false },
	{ "AES-256-GCM in UDP", KMS_AES_256_GCM, true },
};

static void exchange(enum kms_algorithm algorithm, bool udp)
{
	struct xfrm_state_use use, none = { .bytes = 99 };
	int at_client, at_gateway;
	struct net net;

	make_net(&net);
	connect_ends(&net, algorithm, udp);
	at_gateway = open_udp(&net.gateway);
	at_client = open_udp(&net.client);
	send_udp(at_client, &net.gateway, "plaintext up");
	expect_udp(at_gateway, "plaintext up");
	send_udp(at_gateway, &net.client, "plaintext down");
	expect_udp(at_client, "plaintext down");
	expect_wire(&net, udp ? IPPROTO_UDP : IPPROTO_ESP);

	assert_int_equal(xfrm_state_read(net.client.xfrm, &net.gateway.outer, SPI_UP, &use), 0);
	assert_int_equal(use.packets, 1);
	assert_int_equal(use.seq, 1);
	assert_true(use.bytes >= 28 + 12 && use.added_s > 0 && use.first_use_s >= use.added_s);
	assert_int_equal(use.if_id, IF_ID_GATEWAY);
	assert_int_equal(xfrm_state_read(net.gateway.xfrm, &net.gateway.outer, SPI_UP, &use), 0);
	assert_int_equal(use.packets, 1);
	assert_int_equal(use.seq, 1);
	assert_int_equal(use.if_id, IF_ID_CLIENT);
	assert_int_equal(xfrm_state_read(net.client.xfrm, &net.gateway.outer, SPI_UP + 1, &none), -ESRCH);
	assert_int_equal(none.bytes, 99);

	remove_all(&net.client, IF_ID_GATEWAY, SPI_DOWN, SPI_UP, &net.gateway);
	remove_all(&net.gateway, IF_ID_CLIENT, SPI_UP, SPI_DOWN, &net.client);
	close(at_client);
	close(at_gateway);
	free_net(&net);
}

static void test_traffic(void **state)
{
	size_t i;

	(void)state;
	skip_without_esp();
	for (i = 0; i < sizeof(traffic_cases) / sizeof(traffic_cases[0]); i++) {
		print_message("  %s\n", traffic_cases[i].what);
		exchange(traffic_cases[i].algorithm, traffic_cases[i].udp);
	}
}

/* What the peer's port is, as the states say it and the kernel uses it; nothing else of them changes. */
static void move_peer(const struct net *net, __u16 port)
{
	struct xfrm_state_spec spec = {
		.way = XFRM_WAY_IN, .local = net->gateway.outer, .remote = net->client.outer, .spi = SPI_UP,
		.if_id = IF_ID_CLIENT, .algorithm = KMS_AES_256_GCM, .lifetime_s = 3600,
		.encap_local = HF_UDP_ENCAP_PORT, .encap_remote = port,
	};

	space_enter(net->gateway.space);
	assert_int_equal(xfrm_state_move(net->gateway.xfrm, &spec), 0);
	spec.way = XFRM_WAY_OUT;
	spec.spi = SPI_DOWN;
	assert_int_equal(xfrm_state_move(net->gateway.xfrm, &spec), 0);
	spec.spi = SPI_DOWN + 1;
	assert_int_equal(xfrm_state_move(net->gateway.xfrm, &spec), -ESRCH);
}

/* A peer whose port is translated; and once it is what it was, the keys are as well. A state's numbers, and so IVs, go on. */
static void test_move(void **state)
{
	struct xfrm_state_use before, after;
	int at_client, at_gateway;
	struct net net;

	(void)state;
	skip_without_esp();
	make_net(&net);
	connect_ends(&net, KMS_AES_256_GCM, true);
	at_gateway = open_udp(&net.gateway);
	at_client = open_udp(&net.client);
	send_udp(at_gateway, &net.client, "plaintext before");
	expect_udp(at_client, "plaintext before");
	assert_int_equal(xfrm_state_read(net.gateway.xfrm, &net.client.outer, SPI_DOWN, &before), 0);
	assert_int_equal(before.seq, 1);
	move_peer(&net, 4501);
	assert_non_null(strstr(space_output("ip xfrm state list spi 0x10001234"), "sport 4501 dport 4500"));
	assert_non_null(strstr(space_output("ip xfrm state list spi 0x20005678"), "sport 4500 dport 4501"));
	/* The outer DSCP is not the inner one. */
	assert_non_null(strstr(space_output("ip -s xfrm state list spi 0x20005678"), "dont-encap-dscp"));
	move_peer(&net, 4500);
	send_udp(at_client, &net.gateway, "plaintext up");
	expect_udp(at_gateway, "plaintext up");
	send_udp(at_gateway, &net.client, "plaintext down");
	expect_udp(at_client, "plaintext down");
	assert_int_equal(xfrm_state_read(net.gateway.xfrm, &net.client.outer, SPI_DOWN, &after), 0);
	assert_int_equal(after.seq, 2);
	close(at_client);
	close(at_gateway);
	free_net(&net);
}

/* The new pair is added beside the old one, the sender moves over to it, the old one is deleted; nothing is lost. */
static void test_rekey(void **state)
{
	struct xfrm_state_use use;
	int at_client, at_gateway;
	struct net net;

	(void)state;
	skip_without_esp();
	make_net(&net);
	connect_ends(&net, KMS_AES_256_GCM, false);
	at_gateway = open_udp(&net.gateway);
	at_client = open_udp(&net.client);
	send_udp(at_client, &net.gateway, "plaintext 1");
	expect_udp(at_gateway, "plaintext 1");
	add_states(&net.gateway, &net.client, KMS_AES_128_GCM, IF_ID_CLIENT, SPI_UP + 1, SPI_DOWN + 1, false);
	add_states(&net.client, &net.gateway, KMS_AES_128_GCM, IF_ID_GATEWAY, SPI_DOWN + 1, SPI_UP + 1, false);
	send_udp(at_client, &net.gateway, "plaintext 2");
	expect_udp(at_gateway, "plaintext 2");
	assert_int_equal(xfrm_state_delete(net.client.xfrm, &net.gateway.outer, SPI_UP), 0);
	send_udp(at_client, &net.gateway, "plaintext 3");
	expect_udp(at_gateway, "plaintext 3");
	assert_int_equal(xfrm_state_read(net.client.xfrm, &net.gateway.outer, SPI_UP + 1, &use), 0);
	print_message("  of the 2 packets after the new state was added it took %llu\n", (unsigned long long)use.packets);
	assert_true(use.packets >= 1);
	expect_wire(&net, IPPROTO_ESP);
	close(at_client);
	close(at_gateway);
	free_net(&net);
}

/*
 * The other end moves to another address, and its session with it: until it leaves as the new one, what comes from there is let
 * in, and what goes out goes where it went.
 */
static void test_other_address(void **state)
{
	struct hf_addr elsewhere = space_addr("100.0.0.2");
	struct xfrm_state_spec spec = { .way = XFRM_WAY_IN, .remote = elsewhere, .spi = SPI_UP + 1, .if_id = IF_ID_CLIENT,
					.algorithm = KMS_AES_256_GCM, .key = key, .key_len = 36, .lifetime_s = 3600 };
	struct xfrm_peer peer = { .if_id = IF_ID_GATEWAY };
	struct xfrm_state_use use;
	int at_client, at_gateway;
	struct net net;

	(void)state;
	skip_without_esp();
	make_net(&net);
	connect_ends(&net, KMS_AES_256_GCM, false);
	at_gateway = open_udp(&net.gateway);
	at_client = open_udp(&net.client);
	space_enter(net.gateway.space);
	spec.local = net.gateway.outer;
	assert_int_equal(xfrm_state_add(net.gateway.xfrm, &spec), 0);
	space_enter(net.client.space);
	space_run("ip addr add 100.0.0.2/8 dev u0");
	spec = (struct xfrm_state_spec){ .way = XFRM_WAY_OUT, .local = elsewhere, .remote = net.gateway.outer, .spi = SPI_UP + 1,
					 .if_id = IF_ID_GATEWAY, .algorithm = KMS_AES_256_GCM, .key = key, .key_len = 36,
					 .lifetime_s = 3600 };
	assert_int_equal(xfrm_state_add(net.client.xfrm, &spec), 0);
	send_udp(at_client, &net.gateway, "plaintext from the old one");
	expect_udp(at_gateway, "plaintext from the old one");
	peer.local = elsewhere;
	peer.remote = net.gateway.outer;
	assert_int_equal(xfrm_policy_add(net.client.xfrm, &peer), 0);
	send_udp(at_client, &net.gateway, "plaintext from the new one");
	expect_udp(at_gateway, "plaintext from the new one");
	assert_int_equal(xfrm_state_read(net.client.xfrm, &net.gateway.outer, SPI_UP + 1, &use), 0);
	assert_int_equal(use.packets, 1);
	send_udp(at_gateway, &net.client, "plaintext to the old one");
	expect_udp(at_client, "plaintext to the old one");
	expect_wire(&net, IPPROTO_ESP);
	close(at_client);
	close(at_gateway);
	free_net(&net);
}

struct heard {
	size_t soft, hard, others;
	__u32 spi;
};

static void hear(void *context, const struct expire_notice *notice)
{
	struct heard *heard = context;

	assert_non_null(notice);
	if (notice->if_id != IF_ID_GATEWAY || notice->spi != heard->spi)
		heard->others++;
	else if (notice->hard)
		heard->hard++;
	else
		heard->soft++;
}

/* The kernel deletes a state that has reached its hard limit by a timer of its own. */
static void hear_hard(struct expire *expire, struct heard *heard)
{
	for (int i = 0; i < 200 && !heard->hard; i++) {
		poll(&(struct pollfd){ .fd = expire_fd(expire), .events = POLLIN }, 1, 50);
		expire_dispatch(expire);
	}
}

struct sought {
	__u32 spi;
	struct xfrm_found found;
};

static int seek(void *context, const struct xfrm_found *state)
{
	struct sought *sought = context;

	if (state->spi == sought->spi)
		sought->found = *state;
	return 0;
}

/* The soft limit is told once and the state goes on; at the hard one it stops, is told, and is gone. A list has both limits. */
static void test_limits(void **state)
{
	struct heard heard = { .spi = SPI_UP + 1 };
	struct sought sought = { .spi = SPI_UP + 1 };
	struct xfrm_state_spec spec;
	int at_client, at_gateway;
	struct expire *expire;
	struct net net;

	(void)state;
	skip_without_esp();
	make_net(&net);
	connect_ends(&net, KMS_AES_256_GCM, false);
	at_gateway = open_udp(&net.gateway);
	at_client = open_udp(&net.client);
	spec = (struct xfrm_state_spec){
		.way = XFRM_WAY_OUT, .local = net.client.outer, .remote = net.gateway.outer, .spi = SPI_UP + 1,
		.if_id = IF_ID_GATEWAY, .algorithm = KMS_AES_256_GCM, .key = key, .key_len = 36, .lifetime_s = 3600,
		.limits = { .soft_packets = 3, .hard_packets = 6 },
	};
	add_states(&net.gateway, &net.client, KMS_AES_256_GCM, IF_ID_CLIENT, SPI_UP + 1, SPI_DOWN + 1, false);
	space_enter(net.client.space);
	assert_int_equal(expire_open(hear, &heard, &expire), 0);
	assert_int_equal(xfrm_state_add(net.client.xfrm, &spec), 0);
	assert_int_equal(xfrm_state_delete(net.client.xfrm, &net.gateway.outer, SPI_UP), 0);
	for (size_t i = 1; i <= 6; i++) {
		send_udp(at_client, &net.gateway, "plaintext within the limit");
		expect_udp(at_gateway, "plaintext within the limit");
		expire_dispatch(expire);
		assert_int_equal(heard.soft, i > 3);
		assert_int_equal(heard.hard, 0);
		assert_int_equal(xfrm_state_list(net.client.xfrm, seek, &sought), 0);
		assert_int_equal(sought.found.spent, i >= 3);
	}
	assert_memory_equal(&sought.found.limits, &spec.limits, sizeof(spec.limits));
	send_udp(at_client, &net.gateway, "plaintext beyond it");
	hear_hard(expire, &heard);
	assert_int_equal(heard.hard, 1);
	assert_int_equal(heard.soft, 1);
	assert_int_equal(heard.others, 0);
	assert_int_equal(xfrm_state_read(net.client.xfrm, &net.gateway.outer, SPI_UP + 1, &(struct xfrm_state_use){ 0 }),
			 -ESRCH);
	expect_wire(&net, IPPROTO_ESP);
	expire_close(expire);
	close(at_client);
	close(at_gateway);
	free_net(&net);
}

/* Without a state the packet is dropped, never sent in clear. */
static void test_fails_closed(void **state)
{
	struct xfrm_peer peer;
	int at_client;
	struct net net;
	__u8 packet[64];

	(void)state;
	skip_without_esp();
	make_net(&net);
	at_client = open_udp(&net.client);
	send_udp(at_client, &net.gateway, "plaintext: no policy");
	peer = (struct xfrm_peer){ .local = net.client.outer, .remote = net.gateway.outer, .if_id = IF_ID_GATEWAY };
	assert_int_equal(xfrm_policy_add(net.client.xfrm, &peer), 0);
	send_udp(at_client, &net.gateway, "plaintext: no state");
	assert_int_equal(recv(net.wire, packet, sizeof(packet), 0), -1);
	close(at_client);
	free_net(&net);
}

struct visited {
	size_t n;
};

static int visit(void *context, const struct xfrm_found *state)
{
	struct visited *visited = context;

	assert_true(state->spi == SPI_UP || state->spi == SPI_DOWN);
	assert_int_equal(state->if_id, IF_ID_GATEWAY);
	assert_true(addr_is_v4(&state->dst));
	assert_false(state->limits.soft_bytes || state->limits.hard_bytes);
	assert_false(state->limits.soft_packets || state->limits.hard_packets);
	assert_false(state->spent);
	assert_true(state->added_s > 0 && state->added_s <= (__u64)time(NULL));
	visited->n++;
	return 0;
}

static void test_flush(void **state)
{
	size_t states = 99, policies = 99;
	struct visited visited = { 0 };
	struct net net;

	(void)state;
	skip_without_esp();
	make_net(&net);
	connect_ends(&net, KMS_AES_256_GCM, false);
	space_enter(net.client.space);
	assert_string_equal(space_output("ip xfrm policy | grep -c 'if_id 0x48000002'"), "3\n");
	space_run("ip xfrm state add src 100.0.0.1 dst 100.0.0.9 proto esp spi 0x300 reqid 5 mode tunnel "
		  "aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128 if_id 0x48000005");
	space_run("ip xfrm policy add src 10.0.0.0/8 dst 10.0.0.0/8 dir out tmpl src 100.0.0.1 dst 100.0.0.9 "
		  "proto esp reqid 5 mode tunnel if_id 0x48000005");
	assert_int_equal(xfrm_state_list(net.client.xfrm, visit, &visited), 0);
	assert_int_equal(visited.n, 2);
	assert_int_equal(xfrm_flush(net.client.xfrm, &states, &policies), 0);
	assert_int_equal(states, 2);
	assert_int_equal(policies, 3);
	assert_string_equal(space_output("ip xfrm state | grep -c spi"), "1\n");
	assert_string_equal(space_output("ip xfrm policy | grep -c if_id"), "1\n");
	assert_int_equal(xfrm_flush(net.client.xfrm, &states, &policies), 0);
	assert_int_equal(states + policies, 0);
	free_net(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_traffic),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_rekey),
		cmocka_unit_test(test_other_address),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_fails_closed),
		cmocka_unit_test(test_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
