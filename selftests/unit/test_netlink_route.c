/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Netlink's own working, links, the tunnel's table and rule, each in a fresh network namespace. */
#include "selftests/unit/space.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "loader/link.h"
#include "loader/netlink.h"
#include "loader/route.h"

static struct netlink *nl;

static int enter(void **state)
{
	(void)state;
	nl = NULL;
	return 0;
}

static int leave(void **state)
{
	(void)state;
	netlink_close(nl);
	return 0;
}

static void start(void)
{
	space_enter_new();
	assert_int_equal(netlink_open(NETLINK_ROUTE, &nl), 0);
}

static int make_link(const char *name, const char *address)
{
	struct link_info info;

	space_make_link(name, address);
	assert_int_equal(link_by_name(nl, name, &info), 0);
	return info.index;
}

static void test_is_running(void **state)
{
	const unsigned int all = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
	static const struct {
		unsigned int clear;
		int operstate;
		bool running;
	} cases[] = {
		{ 0, -1, true },
		{ 0, IF_OPER_UP, true },
		{ 0, IF_OPER_UNKNOWN, true },
		{ 0, IF_OPER_DOWN, false },
		{ 0, IF_OPER_LOWERLAYERDOWN, false },
		{ 0, IF_OPER_DORMANT, false },
		{ IFF_UP, IF_OPER_UP, false },
		{ IFF_RUNNING, IF_OPER_UP, false },
		{ IFF_LOWER_UP, IF_OPER_UP, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(netlink_is_running(all & ~cases[i].clear, cases[i].operstate), cases[i].running);
}

static void test_link(void **state)
{
	struct link_info info, same;
	struct hf_prefix prefix = space_prefix("100.0.0.1", 24);
	struct hf_addr addr;
	int index;

	(void)state;
	start();
	assert_int_equal(link_by_name(nl, "d0", &info), -ENODEV);
	assert_int_equal(link_by_name(nl, "a-name-that-is-too-long", &info), -ENODEV);
	assert_int_equal(link_by_index(nl, 4711, &info), -ENODEV);
	index = make_link("d0", "192.0.2.9/24");
	assert_int_equal(link_by_index(nl, index, &info), 0);
	assert_string_equal(info.name, "d0");
	assert_string_equal(info.kind, "veth");
	assert_string_equal(info.driver, "veth");
	assert_true(info.up && info.running && info.has_mac && !info.external);
	assert_int_equal(link_set_mtu(nl, index, 1400), 0);
	assert_int_equal(link_by_name(nl, "d0", &same), 0);
	assert_int_equal(same.mtu, 1400);
	assert_int_equal(same.index, index);

	assert_int_equal(link_first_v4(nl, index, &addr), 0);
	assert_string_equal(addr_text(&addr).s, "192.0.2.9");
	assert_int_equal(link_first_v4(nl, 1, &addr), -EADDRNOTAVAIL);
	assert_int_equal(link_addr_add(nl, index, &prefix), 0);
	assert_int_equal(link_addr_add(nl, index, &prefix), 0);
	assert_non_null(strstr(space_output("ip -4 addr show dev d0"), "100.0.0.1/24"));
	/* The address alone: a route for its prefix in the main table would be a way round the tunnel's. */
	assert_null(strstr(space_output("ip route show"), "100.0.0.0"));
	assert_int_equal(link_addr_delete(nl, index, &prefix), 0);
	assert_int_equal(link_addr_delete(nl, index, &prefix), 0);
	assert_null(strstr(space_output("ip -4 addr show dev d0"), "100.0.0.1"));

	assert_int_equal(link_set_up(nl, index, false), 0);
	assert_int_equal(link_by_index(nl, index, &info), 0);
	assert_false(info.up || info.running);
	assert_int_equal(link_delete(nl, "d0"), 0);
	assert_int_equal(link_delete(nl, "d0"), 0);
	assert_int_equal(link_by_name(nl, "d0", &info), -ENODEV);
}

static void test_path(void **state)
{
	struct hf_addr gateway = space_addr("200.0.0.254"), near = space_addr("192.0.2.77"), own = space_addr("192.0.2.9");
	struct hf_prefix all = space_prefix("0.0.0.0", 0);
	struct link_path path;
	int underlay, tunnel;

	(void)state;
	start();
	underlay = make_link("d0", "192.0.2.9/24");
	tunnel = make_link("hf0", "100.0.0.1/32");
	assert_int_equal(link_path(nl, &gateway, &path), -ENETUNREACH);
	space_run("ip route add default via 192.0.2.1");
	/* With everything tunnelled, what is marked still goes the old way. */
	assert_int_equal(route_add(nl, tunnel, &all, 1, NULL), 0);
	assert_int_equal(route_rule_add(nl, AF_INET, NULL), 0);
	assert_non_null(strstr(space_output("ip route get 200.0.0.254"), "dev hf0"));
	assert_int_equal(link_path(nl, &gateway, &path), 0);
	assert_int_equal(path.index, underlay);
	assert_string_equal(addr_text(&path.source).s, "192.0.2.9");
	assert_string_equal(addr_text(&path.gateway).s, "192.0.2.1");
	assert_false(path.local);
	assert_int_equal(link_path(nl, &near, &path), 0);
	assert_true(addr_is_zero(&path.gateway));
	assert_int_equal(link_path(nl, &own, &path), 0);
	assert_true(path.local);
}

static void test_routes(void **state)
{
	struct hf_prefix prefixes[] = { space_prefix("10.0.0.0", 24), space_prefix("10.0.1.7", 32) };
	struct hf_addr source = space_addr("100.0.0.1");
	const char *text;
	int tunnel, other;

	(void)state;
	start();
	assert_int_equal(route_flush(nl), 0);
	tunnel = make_link("hf0", "100.0.0.1/32");
	other = make_link("hf1", "100.0.0.2/32");
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, &source), 0);
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, &source), 0);
	/* With -N, a type is its number: 7, RTN_UNREACHABLE. */
	text = space_output("ip -N route show table 7546");
	assert_non_null(strstr(text, "10.0.0.0/24 dev hf0 proto 75 scope 253 src 100.0.0.1 metric 100 \n"));
	assert_non_null(strstr(text, "7 10.0.0.0/24 proto 75 metric 10000"));
	assert_non_null(strstr(text, "10.0.1.7 dev hf0 proto 75 scope 253 src 100.0.0.1 metric 100 \n"));
	assert_non_null(strstr(text, "7 10.0.1.7 proto 75 metric 10000"));
	/* Moved to another interface: replaced, not doubled. */
	assert_int_equal(route_add(nl, other, prefixes, 2, NULL), 0);
	assert_null(strstr(space_output("ip route show table 7546"), "hf0"));

	assert_int_equal(route_rule_add(nl, AF_INET, NULL), 0);
	assert_int_equal(route_rule_add(nl, AF_INET, NULL), 0);
	assert_string_equal(space_output("ip -N rule show pref 7546"),
			    "7546:\tnot from all fwmark 0x48460000/0xffff0000 lookup 7546 proto 75\n");
	/* The interface vanishes: the traffic must not take the default route. */
	space_run("ip link add d0 type veth peer name xd0 && ip link set d0 up && ip link set xd0 up && ip route add default dev d0");
	assert_non_null(strstr(space_output("ip route get 10.0.0.5"), "dev hf1"));
	assert_int_equal(link_delete(nl, "hf1"), 0);
	assert_non_null(strstr(space_output("ip route get 10.0.0.5 2>&1"), "No route to host"));
	assert_non_null(strstr(space_output("ip route get 10.0.0.5 mark 0x48460000"), "dev d0"));

	assert_int_equal(route_delete(nl, prefixes, 2), 0);
	assert_int_equal(route_delete(nl, prefixes, 2), 0);
	assert_string_equal(space_output("ip route show table 7546"), "");
	assert_int_equal(route_rule_delete(nl, AF_INET), 0);
	assert_int_equal(route_rule_delete(nl, AF_INET), 0);
	assert_string_equal(space_output("ip rule show pref 7546"), "");
}

static void test_routes_v6(void **state)
{
	struct hf_prefix prefixes[] = { space_prefix("2001:db8:1::", 48), space_prefix("10.0.0.0", 24) };
	int tunnel;

	(void)state;
	start();
	if (access("/proc/sys/net/ipv6", F_OK) < 0)
		space_skip("this kernel has no IPv6");
	tunnel = make_link("hf0", "100.0.0.1/32");
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, NULL), 0);
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, NULL), 0);
	assert_string_equal(space_output("ip -6 route show table 7546 | wc -l"), "2\n");
	assert_int_equal(route_rule_add(nl, AF_INET6, NULL), 0);
	assert_int_equal(route_rule_add(nl, AF_INET6, NULL), 0);
	assert_non_null(strstr(space_output("ip -6 route get 2001:db8:1::5"), "dev hf0"));
	space_run("ip route add 198.51.100.0/24 dev hf0 table 7546 proto static");
	assert_int_equal(route_flush(nl), 0);
	assert_string_equal(space_output("ip -6 route show table 7546"), "");
	/* Somebody else's stays. */
	assert_non_null(strstr(space_output("ip route show table 7546"), "198.51.100.0/24"));
	assert_string_equal(space_output("ip route show table 7546 | wc -l"), "1\n");
	assert_int_equal(route_rule_delete(nl, AF_INET6), 0);
	assert_string_equal(space_output("ip -6 rule show pref 7546"), "");
}

static void test_announce(void **state)
{
	struct hf_prefix host = space_prefix("100.0.0.1", 32);
	struct hf_prefix network = space_prefix("192.168.7.0", 24);
	int tunnel;

	(void)state;
	start();
	tunnel = make_link("hf0", "203.0.113.1/32");
	/* What somebody else has there, with the metric that NetworkManager takes, stays. */
	make_link("d0", "203.0.113.2/32");
	space_run("ip route add 192.168.7.0/24 dev d0 metric 100");
	assert_int_equal(route_announce(nl, tunnel, &network), 0);
	assert_non_null(strstr(space_output("ip route show 192.168.7.0/24"), "dev d0 scope link metric 100"));
	assert_non_null(strstr(space_output("ip -N route show proto 75"), "192.168.7.0/24 dev hf0"));
	assert_int_equal(route_withdraw(nl, tunnel, &network), 0);
	assert_non_null(strstr(space_output("ip route show 192.168.7.0/24"), "dev d0 scope link metric 100"));
	assert_int_equal(route_announce(nl, tunnel, &host), 0);
	assert_int_equal(route_announce(nl, tunnel, &host), 0);
	assert_string_equal(space_output("ip -N route show proto 75 | wc -l"), "1\n");
	assert_int_equal(route_withdraw(nl, tunnel, &host), 0);
	assert_int_equal(route_withdraw(nl, tunnel, &host), 0);
	assert_string_equal(space_output("ip -N route show proto 75"), "");
	assert_int_equal(route_announce(nl, tunnel, &host), 0);
	assert_int_equal(route_flush(nl), 0);
	assert_string_equal(space_output("ip -N route show proto 75"), "");
}

static void test_rules_before(void **state)
{
	struct netlink_list rules = { 0 };
	const struct route_rule *rule;

	(void)state;
	start();
	assert_int_equal(route_rule_add(nl, AF_INET, NULL), 0);
	assert_int_equal(route_rules_before(nl, &rules), 0);
	assert_int_equal(rules.n, 0);
	/* As wg-quick does: the kernel puts it one before the first that is not the local table's. */
	space_run("ip rule add table main suppress_prefixlength 0 && ip rule add pref 9000 table 77");
	assert_int_equal(route_rules_before(nl, &rules), 0);
	assert_int_equal(rules.n, 1);
	rule = rules.items;
	assert_int_equal(rule->preference, ROUTE_RULE_PREFERENCE - 1);
	assert_int_equal(rule->table, RT_TABLE_MAIN);
	assert_int_equal(rule->family, AF_INET);
	netlink_list_clear(&rules);
}

static bool leads_over(const char *address, const char *dev)
{
	char command[64];

	snprintf(command, sizeof(command), "ip route get %s 2>&1", address);
	return strstr(space_output(command), dev);
}

/* Listens to changes of routes: from when the first one was heard, which may take a while to start. */
static FILE *monitor_open(pid_t *ret_pid)
{
	struct pollfd poller = { .events = POLLIN };
	FILE *monitor;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	*ret_pid = fork();
	if (!*ret_pid) {
		dup2(ends[1], STDOUT_FILENO);
		execlp("ip", "ip", "-4", "monitor", "route", NULL);
		_exit(127);
	}
	close(ends[1]);
	monitor = fdopen(ends[0], "r");
	assert_non_null(monitor);
	poller.fd = ends[0];
	for (int i = 0; i < 200; i++) {
		space_run("ip route add 10.99.0.0/16 dev hf0 && ip route del 10.99.0.0/16 dev hf0");
		if (poll(&poller, 1, 100) > 0)
			return monitor;
	}
	fail_msg("the monitor says nothing");
	return NULL;
}

/* What has changed up to now, a few words of each change. */
static void monitor_read(FILE *monitor, char *text, size_t size)
{
	static const char *const words[] = { "Deleted ", "unreachable ", "/24 ", "/25 ", "dev hf0 " };
	char line[256];

	*text = '\0';
	space_run("ip route add 10.98.0.0/16 dev hf0");
	while (fgets(line, sizeof(line), monitor) && !strstr(line, "10.98."))
		for (size_t i = 0; i < sizeof(words) / sizeof(*words) && !strstr(line, "10.99."); i++)
			if (strstr(line, words[i]))
				strncat(text, words[i], size - strlen(text) - 1);
}

/* What of a wider prefix is a prefix of its own has its open route even where it cannot be closed, and the other way round. */
static void test_within_wider(void **state)
{
	struct hf_prefix wide = space_prefix("10.0.0.0", 24), part = space_prefix("10.0.0.0", 25);
	struct hf_addr foreign = space_addr("203.0.113.9");
	char text[512];
	FILE *monitor;
	int tunnel;
	pid_t pid;

	(void)state;
	start();
	tunnel = make_link("hf0", "100.0.0.1/32");
	assert_int_equal(route_rule_add(nl, AF_INET, NULL), 0);
	assert_int_equal(route_add(nl, tunnel, &wide, 1, NULL), 0);
	assert_true(leads_over("10.0.0.1", "dev hf0"));
	/* The monitor tells the order of the changes. */
	monitor = monitor_open(&pid);
	assert_int_equal(route_add(nl, tunnel, &part, 1, NULL), 0);
	assert_int_equal(route_delete(nl, &part, 1), 0);
	assert_int_equal(route_add(nl, tunnel, &part, 1, NULL), 0);
	assert_int_equal(route_flush(nl), 0);
	monitor_read(monitor, text, sizeof(text));
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	fclose(monitor);
	assert_string_equal(text, "/25 dev hf0 unreachable /25 "
				  "Deleted unreachable /25 Deleted /25 dev hf0 "
				  "/25 dev hf0 unreachable /25 "
				  "Deleted unreachable /25 Deleted unreachable /24 Deleted /25 dev hf0 Deleted /24 dev hf0 ");
	/* Without an open route it is closed. */
	assert_int_equal(route_add(nl, tunnel, &wide, 1, NULL), 0);
	assert_int_equal(route_add(nl, tunnel, &part, 1, &foreign), -EINVAL);
	assert_true(leads_over("10.0.0.1", "No route to host"));
	assert_true(leads_over("10.0.0.200", "dev hf0"));
}

/* 100,000 prefixes must be a matter of a second; the bound leaves a slow machine room. */
static void test_many(void **state)
{
	enum { N = 100000 };
	struct hf_prefix *prefixes;
	__u64 begun;
	size_t i;
	int tunnel;

	(void)state;
	start();
	prefixes = calloc(N, sizeof(*prefixes));
	assert_non_null(prefixes);
	tunnel = make_link("hf0", "100.0.0.1/32");
	for (i = 0; i < N; i++) {
		struct hf_addr addr = addr_from_be32(htonl(0x0a000000u + (__u32)i));

		prefixes[i] = prefix_of_host(&addr);
	}
	begun = clock_now_ns();
	assert_int_equal(route_add(nl, tunnel, prefixes, N, NULL), 0);
	assert_string_equal(space_output("ip route show table 7546 | wc -l"), "200000\n");
	assert_int_equal(route_flush(nl), 0);
	assert_string_equal(space_output("ip route show table 7546 | wc -l"), "0\n");
	assert_true(clock_now_ns() - begun < 300 * CLOCK_NS_PER_S);
	free(prefixes);
}

/* A failing message stops no other, and the error with its text is the first one's. */
static void test_batch_error(void **state)
{
	struct hf_prefix prefixes[] = { space_prefix("10.0.0.0", 24), space_prefix("10.0.1.0", 24) };
	struct hf_addr foreign = space_addr("203.0.113.9");
	int tunnel;

	(void)state;
	start();
	tunnel = make_link("hf0", "100.0.0.1/32");
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, &foreign), -EINVAL);
	assert_string_equal(netlink_text(nl), "Invalid prefsrc address");
	assert_string_equal(space_output("ip route show table 7546 | wc -l"), "2\n");
	assert_int_equal(route_add(nl, tunnel, prefixes, 2, NULL), 0);
	assert_string_equal(netlink_text(nl), "");
	assert_int_equal(route_add(nl, 4711, prefixes, 2, NULL), -ENODEV);
}

static void test_probe(void **state)
{
	char text[160] = "";
	struct link_info info;
	int err, index;

	(void)state;
	start();
	err = link_probe_tunnel(nl, text, sizeof(text));
	if (err) {
		assert_non_null(strstr(text, "xfrm interfaces"));
		assert_int_equal(link_tunnel_create(nl, LINK_TUNNEL, LINK_TUNNEL_MTU, &index), err);
		space_skip("%s", text);
	}
	assert_int_equal(link_by_name(nl, "hf-probe", &info), -ENODEV);
	assert_int_equal(link_tunnel_create(nl, LINK_TUNNEL, LINK_TUNNEL_MTU, &index), 0);
	assert_int_equal(link_by_index(nl, index, &info), 0);
	assert_true(info.external);
	assert_int_equal(info.mtu, LINK_TUNNEL_MTU);
	assert_string_equal(info.kind, "xfrm");
	assert_int_equal(link_tunnel_create(nl, LINK_TUNNEL, LINK_TUNNEL_MTU, &index), -EEXIST);
	assert_int_equal(link_tunnel_create(nl, "hf1", LINK_TUNNEL_MTU, &index), -EEXIST);
	assert_int_equal(link_probe_tunnel(nl, text, sizeof(text)), 0);
	assert_int_equal(link_delete(nl, LINK_TUNNEL), 0);
}

struct seen {
	size_t links, running, down, gone, addrs, addrs_gone, routes;
};

static void see(void *context, const struct netlink_event *event)
{
	struct seen *seen = context;

	if (event->type == NETLINK_LINK && strcmp(event->name, "v0") == 0) {
		seen->links++;
		seen->running += event->running;
		seen->down += !event->running;
	}
	seen->gone += event->type == NETLINK_LINK_GONE && strcmp(event->name, "v0") == 0;
	seen->addrs += event->type == NETLINK_ADDR && strcmp(addr_text(&event->addr).s, "192.0.2.9") == 0;
	seen->addrs_gone += event->type == NETLINK_ADDR_GONE && strcmp(addr_text(&event->addr).s, "192.0.2.9") == 0;
	seen->routes += event->type == NETLINK_ROUTE_CHANGE;
}

static void wait_for(struct netlink_monitor *monitor, const size_t *counter)
{
	size_t before = *counter;

	while (*counter == before) {
		assert_true(space_readable(netlink_monitor_fd(monitor), SPACE_WAIT_MS));
		assert_int_equal(netlink_monitor_dispatch(monitor), 0);
	}
}

static void test_monitor(void **state)
{
	struct hf_prefix prefix = space_prefix("10.0.0.0", 24);
	struct netlink_monitor *monitor;
	struct seen seen = { 0 };
	struct link_info info;
	size_t routes;

	(void)state;
	start();
	assert_int_equal(netlink_monitor_open(see, &seen, &monitor), 0);
	assert_int_equal(netlink_monitor_dispatch(monitor), 0);
	space_run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	wait_for(monitor, &seen.running);
	space_run("ip addr add 192.0.2.9/24 dev v0");
	wait_for(monitor, &seen.addrs);
	/* Own routes stay unheard; the rule of order: another's comes after them. */
	assert_int_equal(netlink_monitor_dispatch(monitor), 0);
	routes = seen.routes;
	assert_int_equal(link_by_name(nl, "v0", &info), 0);
	assert_int_equal(route_add(nl, info.index, &prefix, 1, NULL), 0);
	space_run("ip route add 198.51.100.0/24 dev v0");
	wait_for(monitor, &seen.routes);
	assert_int_equal(netlink_monitor_dispatch(monitor), 0);
	assert_int_equal(seen.routes, routes + 1);
	/* The peer's end goes down: v0 is up still, but not running. */
	space_run("ip link set v1 down");
	wait_for(monitor, &seen.down);
	assert_int_equal(link_by_name(nl, "v0", &info), 0);
	assert_true(info.up);
	assert_false(info.running);
	space_run("ip addr del 192.0.2.9/24 dev v0");
	wait_for(monitor, &seen.addrs_gone);
	assert_int_equal(link_delete(nl, "v0"), 0);
	wait_for(monitor, &seen.gone);
	netlink_monitor_close(monitor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_running),
		cmocka_unit_test_setup_teardown(test_link, enter, leave),
		cmocka_unit_test_setup_teardown(test_path, enter, leave),
		cmocka_unit_test_setup_teardown(test_routes, enter, leave),
		cmocka_unit_test_setup_teardown(test_routes_v6, enter, leave),
		cmocka_unit_test_setup_teardown(test_rules_before, enter, leave),
		cmocka_unit_test_setup_teardown(test_within_wider, enter, leave),
		cmocka_unit_test_setup_teardown(test_announce, enter, leave),
		cmocka_unit_test_setup_teardown(test_many, enter, leave),
		cmocka_unit_test_setup_teardown(test_batch_error, enter, leave),
		cmocka_unit_test_setup_teardown(test_probe, enter, leave),
		cmocka_unit_test_setup_teardown(test_monitor, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
