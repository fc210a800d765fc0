/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loader/auto: which link's peer is the server of AUTO, by events alone and on links of a namespace; where it leads. */
#include "selftests/unit/space.h"

#include <event2/event.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "loader/auto.h"

/* Events in short. */

static void link_is(struct auto_links *links, int index, const char *name, bool point_to_point, bool running)
{
	struct netlink_event event = { .type = NETLINK_LINK, .index = index, .up = true, .running = running,
				       .point_to_point = point_to_point };

	snprintf(event.name, sizeof(event.name), "%s", name);
	assert_int_equal(auto_links_note(links, &event), 0);
}

static void addr_is(struct auto_links *links, enum netlink_event_type type, int index, const char *local,
		    const char *peer)
{
	struct netlink_event event = { .type = type, .index = index, .addr = space_addr(local) };

	if (peer)
		event.peer = space_addr(peer);
	assert_int_equal(auto_links_note(links, &event), 0);
}

static void gone(struct auto_links *links, int index)
{
	assert_int_equal(auto_links_note(links, &(struct netlink_event){ .type = NETLINK_LINK_GONE, .index = index }), 0);
}

static void expect(const struct auto_links *links, const char *server, size_t n)
{
	const struct auto_link *link;
	size_t found;

	link = auto_links_pick(links, &found);
	assert_int_equal(found, n);
	assert_string_equal(link ? addr_text(&link->peer).s : "none", server);
}

static void test_one_link(void **state)
{
	struct auto_links links = { .last = 0 };

	expect(&links, "none", 0);
	link_is(&links, 5, "ppp0", true, false);
	expect(&links, "none", 0);
	addr_is(&links, NETLINK_ADDR, 5, "192.0.2.1", "192.0.2.254");
	expect(&links, "none", 0); /* not up yet */
	link_is(&links, 5, "ppp0", true, true);
	expect(&links, "192.0.2.254", 1);
	/* As pppd changes it: removed, and added anew. */
	addr_is(&links, NETLINK_ADDR_GONE, 5, "192.0.2.1", "192.0.2.254");
	expect(&links, "none", 0);
	addr_is(&links, NETLINK_ADDR, 5, "192.0.2.1", "192.0.2.253");
	expect(&links, "192.0.2.253", 1);
	/* The end of another address is not its end. */
	addr_is(&links, NETLINK_ADDR_GONE, 5, "192.0.2.1", "192.0.2.254");
	expect(&links, "192.0.2.253", 1);
	link_is(&links, 5, "ppp0", true, false);
	expect(&links, "none", 0);
	link_is(&links, 5, "ppp0", true, true);
	expect(&links, "192.0.2.253", 1);
	gone(&links, 5);
	expect(&links, "none", 0);
	auto_links_clear(&links);
}

static void test_no_server(void **state)
{
	struct auto_links links = { .last = 0 };

	/* Ethernet, even where somebody has set a peer address; the tunnel itself; a link without a peer. */
	link_is(&links, 2, "eth0", false, true);
	addr_is(&links, NETLINK_ADDR, 2, "192.0.2.1", "192.0.2.254");
	link_is(&links, 3, "hf0", true, true);
	addr_is(&links, NETLINK_ADDR, 3, "192.0.2.1", "192.0.2.254");
	link_is(&links, 4, "tun0", true, true);
	addr_is(&links, NETLINK_ADDR, 4, "192.0.2.1", NULL);
	addr_is(&links, NETLINK_ADDR, 99, "192.0.2.1", "192.0.2.254");
	expect(&links, "none", 0);
	auto_links_clear(&links);
}

static void test_several_links(void **state)
{
	struct auto_links links = { .last = 0 };

	link_is(&links, 5, "ppp0", true, true);
	link_is(&links, 6, "ppp1", true, true);
	link_is(&links, 7, "ppp2", true, true);
	addr_is(&links, NETLINK_ADDR, 6, "192.0.2.1", "192.0.2.251");
	addr_is(&links, NETLINK_ADDR, 7, "192.0.2.1", "192.0.2.252");
	addr_is(&links, NETLINK_ADDR, 5, "192.0.2.1", "192.0.2.250");
	expect(&links, "192.0.2.250", 3);
	/* What is told again, or changes beside it, changes no order. */
	link_is(&links, 6, "ppp1", true, true);
	addr_is(&links, NETLINK_ADDR, 7, "192.0.2.1", "192.0.2.252");
	expect(&links, "192.0.2.250", 3);
	gone(&links, 5);
	expect(&links, "192.0.2.252", 2);
	link_is(&links, 6, "ppp1", true, false);
	link_is(&links, 6, "ppp1", true, true);
	expect(&links, "192.0.2.251", 2);
	auto_links_clear(&links);
}

static void test_target(void **state)
{
	static const char text[] = "[CLUSTER]\nCluster 1 = 9.9.9.8 9.9.9.9\n[TUNNEL]\nTunnel1 = 10.0.0.0/8 AUTO\n"
				   "Redirect Tunnel1 = 192.0.2.1 Cluster 1\nRedirect Tunnel2 = 192.0.2.2 9.9.9.7\n";
	static const char other[] = "[TUNNEL]\nTunnel1 = 10.0.0.0/8 9.9.9.9\n";
	struct policy_report report = { .messages = NULL };
	struct hf_addr a = space_addr("192.0.2.1"), b = space_addr("192.0.2.2"), c = space_addr("192.0.2.3");
	struct policy *policy;

	assert_int_equal(policy_parse(text, sizeof(text) - 1, &report, &policy), 0);
	assert_true(auto_wanted(policy));
	assert_string_equal(policy->clusters[auto_target(policy, &a)].name, "Cluster 1");
	assert_string_equal(policy->clusters[auto_target(policy, &b)].name, "9.9.9.7");
	assert_int_equal(auto_target(policy, &c), policy->n_clusters);
	policy_free(policy);
	policy_report_clear(&report);
	assert_int_equal(policy_parse(other, sizeof(other) - 1, &report, &policy), 0);
	assert_false(auto_wanted(policy));
	policy_free(policy);
	policy_report_clear(&report);
}

/* Real links: tun is a point-to-point one, which has its carrier while somebody holds it. */

static int tun_make(const char *name, const char *local, const char *peer)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char command[256];
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		space_skip("there is no /dev/net/tun: %s", strerror(errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		space_skip("no tun link can be made: %s", strerror(errno));
	snprintf(command, sizeof(command), "ip link set %s up && ip addr add %s peer %s dev %s", name, local, peer, name);
	space_run(command);
	return fd;
}

struct told {
	char server[96];
	size_t n;
};

static void on_changed(void *context, const struct auto_server *server)
{
	struct told *told = context;

	snprintf(told->server, sizeof(told->server), "%s%s%s", server ? addr_text(&server->address).s : "none",
		 server ? " on " : "", server ? server->name : "");
	told->n++;
}

static void wait_until(struct event_base *base, const struct told *told, const char *server)
{
	struct timeval limit = { .tv_sec = SPACE_WAIT_MS / 1000 };

	event_base_loopexit(base, &limit);
	while (strcmp(told->server, server) && !event_base_got_exit(base))
		event_base_loop(base, EVLOOP_ONCE);
	assert_string_equal(told->server, server);
}

static void test_watch(void **state)
{
	struct event_base *base = event_base_new();
	struct told told = { "none", 0 };
	struct netlink *route;
	struct auto_watch *watch;
	int first, second;

	space_enter_new();
	assert_int_equal(netlink_open(NETLINK_ROUTE, &route), 0);
	space_run("ip link set lo up");
	first = tun_make("tun0", "192.0.2.1", "192.0.2.254");
	/* What was there before. */
	assert_int_equal(auto_new(base, route, on_changed, &told, &watch), 0);
	assert_string_equal(told.server, "192.0.2.254 on tun0");
	second = tun_make("tun1", "192.0.2.1", "192.0.2.253");
	wait_until(base, &told, "192.0.2.253 on tun1");
	close(second);
	wait_until(base, &told, "192.0.2.254 on tun0");
	space_run("ip addr del 192.0.2.1 peer 192.0.2.254 dev tun0 && ip addr add 192.0.2.1 peer 192.0.2.252 dev tun0");
	wait_until(base, &told, "192.0.2.252 on tun0");
	space_run("ip link set tun0 down");
	wait_until(base, &told, "none");
	space_run("ip link set tun0 up");
	wait_until(base, &told, "192.0.2.252 on tun0");
	close(first);
	wait_until(base, &told, "none");
	auto_free(watch);
	netlink_close(route);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_link),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_several_links),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
