/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which of the kernel's notices put in doubt what is Holdfast's: its own things, changed by somebody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <net/if_arp.h>

#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

#include "loader/reconcile.h"
#include "loader/route.h"
#include "loader/xfrm.h"

#define TUNNEL 7
#define UNDERLAY 3
#define PROTECTED 4
#define US 4711
#define OUR_XDP 33
#define OTHER 99

static struct node node = { .n_underlay = 1, .underlay = { { .index = UNDERLAY, .name = "wan0", .xdp_id = OUR_XDP } },
			    .n_protected = 1, .protected = { { .index = PROTECTED, .name = "lan0", .mac = { 2, 0, 0, 0, 0, 1 } } } };
static const struct reconcile_ours ours = { .tunnel = TUNNEL, .node = &node, .route_port = US, .xfrm_port = US + 1 };

static struct {
	union {
		struct nlmsghdr head;
		__u8 bytes[512];
	};
} made;

static void *begin(__u16 type, __u32 port, size_t len)
{
	struct nlmsghdr *head;

	memset(&made, 0, sizeof(made));
	head = mnl_nlmsg_put_header(made.bytes);
	head->nlmsg_type = type;
	head->nlmsg_pid = port;
	return mnl_nlmsg_put_extra_header(head, len);
}

static unsigned int of_route(__u16 type, __u32 port, __u32 table, __u8 protocol)
{
	struct rtmsg *head = begin(type, port, sizeof(*head));

	head->rtm_family = AF_INET;
	head->rtm_protocol = protocol;
	mnl_attr_put_u32(&made.head, RTA_TABLE, table);
	return reconcile_read_route(&ours, &made.head);
}

static void routes(void **state)
{
	assert_int_equal(of_route(RTM_DELROUTE, OTHER, ROUTE_TABLE, NETLINK_HF_PROTOCOL), RECONCILE_ROUTES);
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, ROUTE_TABLE, RTPROT_BOOT), RECONCILE_ROUTES);
	assert_int_equal(of_route(RTM_DELROUTE, OTHER, RT_TABLE_MAIN, NETLINK_HF_PROTOCOL), RECONCILE_ROUTES);
	assert_int_equal(of_route(RTM_DELROUTE, US, ROUTE_TABLE, NETLINK_HF_PROTOCOL), 0);
	assert_int_equal(of_route(RTM_DELROUTE, OTHER, RT_TABLE_MAIN, RTPROT_BOOT), 0);
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, RT_TABLE_MAIN, NETLINK_HF_PROTOCOL), 0);
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, RT_TABLE_MAIN, RTPROT_BOOT), 0);
	node.underlay_by_route = true;
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, RT_TABLE_MAIN, RTPROT_BOOT), RECONCILE_ADDRESSES);
	assert_int_equal(of_route(RTM_DELROUTE, OTHER, RT_TABLE_MAIN, RTPROT_DHCP), RECONCILE_ADDRESSES);
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, RT_TABLE_MAIN, NETLINK_HF_PROTOCOL), 0);
	assert_int_equal(of_route(RTM_NEWROUTE, OTHER, 100, RTPROT_BOOT), 0);
	node.underlay_by_route = false;
}

static unsigned int of_rule(__u16 type, __u32 port, __u32 table)
{
	struct fib_rule_hdr *head = begin(type, port, sizeof(*head));

	head->family = AF_INET;
	head->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(&made.head, FRA_TABLE, table);
	mnl_attr_put_u32(&made.head, FRA_PRIORITY, ROUTE_RULE_PREFERENCE);
	return reconcile_read_route(&ours, &made.head);
}

static void rules(void **state)
{
	assert_int_equal(of_rule(RTM_DELRULE, OTHER, ROUTE_TABLE), RECONCILE_RULES);
	assert_int_equal(of_rule(RTM_DELRULE, US, ROUTE_TABLE), 0);
	assert_int_equal(of_rule(RTM_DELRULE, OTHER, RT_TABLE_MAIN), 0);
	assert_int_equal(of_rule(RTM_NEWRULE, OTHER, ROUTE_TABLE), 0);
}

/* Somebody else's, which is asked before ours. */
static void rules_before(void **state)
{
	static const struct {
		__u16 type;
		__u8 action;
		__u32 table;
		__u32 preference;
		__u8 protocol;
		__u8 l3mdev;
		unsigned int parts;
	} cases[] = {
		{ RTM_NEWRULE, FR_ACT_TO_TBL, RT_TABLE_MAIN, 7545, RTPROT_BOOT, 0, RECONCILE_BEFORE }, /* wg-quick's */
		{ RTM_NEWRULE, FR_ACT_GOTO, 0, 10, RTPROT_BOOT, 0, RECONCILE_BEFORE },
		{ RTM_DELRULE, FR_ACT_TO_TBL, RT_TABLE_MAIN, 7545, RTPROT_BOOT, 0, RECONCILE_BEFORE },
		{ RTM_NEWRULE, FR_ACT_TO_TBL, RT_TABLE_MAIN, 7546, RTPROT_BOOT, 0, 0 }, /* the same, later: behind ours */
		{ RTM_NEWRULE, FR_ACT_TO_TBL, RT_TABLE_MAIN, 32766, RTPROT_KERNEL, 0, 0 },
		{ RTM_NEWRULE, FR_ACT_TO_TBL, RT_TABLE_LOCAL, 0, RTPROT_KERNEL, 0, 0 },
		{ RTM_NEWRULE, FR_ACT_TO_TBL, 0, 1000, RTPROT_KERNEL, 1, 0 },
		{ RTM_NEWRULE, FR_ACT_UNREACHABLE, 0, 10, RTPROT_BOOT, 0, 0 },
		{ RTM_NEWRULE, FR_ACT_TO_TBL, RT_TABLE_MAIN, 10, NETLINK_HF_PROTOCOL, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fib_rule_hdr *head = begin(cases[i].type, OTHER, sizeof(*head));

		head->family = AF_INET;
		head->action = cases[i].action;
		mnl_attr_put_u32(&made.head, FRA_TABLE, cases[i].table);
		mnl_attr_put_u32(&made.head, FRA_PRIORITY, cases[i].preference);
		mnl_attr_put_u8(&made.head, FRA_PROTOCOL, cases[i].protocol);
		if (cases[i].l3mdev)
			mnl_attr_put_u8(&made.head, FRA_L3MDEV, 1);
		assert_int_equal(reconcile_read_route(&ours, &made.head), cases[i].parts);
	}
}

static unsigned short link_type = ARPHRD_ETHER;

static unsigned int of_link(__u16 type, int index, const char *name, bool up, int xdp_id)
{
	struct ifinfomsg *head = begin(type, 0, sizeof(*head));
	struct nlattr *nest;

	head->ifi_index = index;
	head->ifi_type = link_type;
	head->ifi_flags = up ? IFF_UP : 0;
	mnl_attr_put_strz(&made.head, IFLA_IFNAME, name);
	if (xdp_id >= 0) {
		nest = mnl_attr_nest_start(&made.head, IFLA_XDP);
		mnl_attr_put_u8(&made.head, IFLA_XDP_ATTACHED, xdp_id ? XDP_ATTACHED_SKB : XDP_ATTACHED_NONE);
		if (xdp_id)
			mnl_attr_put_u32(&made.head, IFLA_XDP_PROG_ID, (__u32)xdp_id);
		mnl_attr_nest_end(&made.head, nest);
	}
	return reconcile_read_route(&ours, &made.head);
}

static void links(void **state)
{
	const unsigned int tunnel = RECONCILE_TUNNEL | RECONCILE_ROUTES;
	const unsigned int underlay = RECONCILE_PROGRAMS | RECONCILE_ADDRESSES;

	assert_int_equal(of_link(RTM_DELLINK, TUNNEL, "hf0", false, -1), tunnel);
	assert_int_equal(of_link(RTM_NEWLINK, TUNNEL, "hf0", false, -1), tunnel);
	assert_int_equal(of_link(RTM_NEWLINK, TUNNEL, "hf0", true, -1), 0);
	assert_int_equal(of_link(RTM_NEWLINK, TUNNEL, "mine", true, -1), tunnel);
	assert_int_equal(of_link(RTM_NEWLINK, UNDERLAY, "wan0", true, OUR_XDP), 0);
	assert_int_equal(of_link(RTM_NEWLINK, UNDERLAY, "wan0", true, OUR_XDP + 1), underlay);
	assert_int_equal(of_link(RTM_NEWLINK, UNDERLAY, "wan0", true, 0), underlay);
	assert_int_equal(of_link(RTM_DELLINK, UNDERLAY, "wan0", false, 0), 0); /* nothing to be done yet */
	assert_int_equal(of_link(RTM_NEWLINK, UNDERLAY + 8, "wan0", true, 0), underlay);
	assert_int_equal(of_link(RTM_NEWLINK, 12, "eth9", true, 0), 0);
	/* Without Ethernet there is none. */
	link_type = ARPHRD_PPP;
	assert_int_equal(of_link(RTM_NEWLINK, UNDERLAY, "wan0", true, 0), 0);
	link_type = ARPHRD_ETHER;
}

/* What came back under its name, or has another hardware address, is another one. */
static void protected(void **state)
{
	static const __u8 same[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 };

	of_link(RTM_NEWLINK, PROTECTED, "lan0", true, -1);
	mnl_attr_put(&made.head, IFLA_ADDRESS, sizeof(same), same);
	assert_int_equal(reconcile_read_route(&ours, &made.head), 0);
	of_link(RTM_NEWLINK, PROTECTED, "lan0", true, -1);
	mnl_attr_put(&made.head, IFLA_ADDRESS, sizeof(other), other);
	assert_int_equal(reconcile_read_route(&ours, &made.head), RECONCILE_PROTECTED);
	assert_int_equal(of_link(RTM_NEWLINK, PROTECTED + 8, "lan0", false, -1), RECONCILE_PROTECTED);
	assert_int_equal(of_link(RTM_DELLINK, PROTECTED, "lan0", false, -1), 0); /* nothing to be done yet */
	assert_int_equal(of_link(RTM_NEWLINK, 12, "lan1", true, -1), 0);
}

static unsigned int of_netconf(__u8 family, __u32 index, __u32 forwarding)
{
	struct netconfmsg *head = begin(RTM_NEWNETCONF, 0, sizeof(*head));

	head->ncm_family = family;
	mnl_attr_put_u32(&made.head, NETCONFA_IFINDEX, index);
	mnl_attr_put_u32(&made.head, NETCONFA_FORWARDING, forwarding);
	return reconcile_read_route(&ours, &made.head);
}

static void forwarding(void **state)
{
	assert_int_equal(of_netconf(AF_INET, PROTECTED, 0), RECONCILE_SYSCTLS);
	assert_int_equal(of_netconf(AF_INET, TUNNEL, 0), RECONCILE_SYSCTLS);
	assert_int_equal(of_netconf(AF_INET, PROTECTED, 1), 0);
	assert_int_equal(of_netconf(AF_INET, UNDERLAY, 0), 0);
	assert_int_equal(of_netconf(AF_INET6, PROTECTED, 0), 0);
	node.n_protected = 0;
	assert_int_equal(of_netconf(AF_INET, TUNNEL, 0), 0);
	node.n_protected = 1;
}

static unsigned int of_addr(__u16 type, __u32 index, const char *text)
{
	struct ifaddrmsg *head = begin(type, OTHER, sizeof(*head));
	struct hf_addr addr;
	__be32 v4;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	v4 = addr_to_be32(&addr);
	head->ifa_family = AF_INET;
	head->ifa_index = index;
	mnl_attr_put(&made.head, IFA_LOCAL, sizeof(v4), &v4);
	return reconcile_read_route(&ours, &made.head);
}

static void addresses(void **state)
{
	static const char source[] = "192.0.2.1", other[] = "192.0.2.2";

	assert_int_equal(addr_parse(source, strlen(source), &node.source), 0);
	assert_int_equal(of_addr(RTM_DELADDR, TUNNEL, other), RECONCILE_TUNNEL | RECONCILE_ROUTES);
	assert_int_equal(of_addr(RTM_NEWADDR, TUNNEL, other), 0);
	assert_int_equal(of_addr(RTM_DELADDR, UNDERLAY, source), RECONCILE_ADDRESSES | RECONCILE_ROUTES);
	assert_int_equal(of_addr(RTM_NEWADDR, UNDERLAY, source), RECONCILE_ADDRESSES | RECONCILE_ROUTES);
	assert_int_equal(of_addr(RTM_DELADDR, 12, other), RECONCILE_ADDRESSES);
	assert_int_equal(of_addr(RTM_NEWADDR, UNDERLAY, other), RECONCILE_ADDRESSES);
}

static unsigned int of_tc(__u16 type, int index)
{
	struct tcmsg *head = begin(type, OTHER, sizeof(*head));

	head->tcm_ifindex = index;
	return reconcile_read_route(&ours, &made.head);
}

static void programs(void **state)
{
	assert_int_equal(of_tc(RTM_DELTFILTER, TUNNEL), RECONCILE_PROGRAMS);
	assert_int_equal(of_tc(RTM_DELQDISC, UNDERLAY), RECONCILE_PROGRAMS);
	assert_int_equal(of_tc(RTM_DELTFILTER, 12), RECONCILE_OTHERS);
	assert_int_equal(of_tc(RTM_NEWTFILTER, TUNNEL), 0);
}

static unsigned int of_xfrm(__u16 type, __u32 port, size_t head, bool hard, __u32 if_id)
{
	void *payload = begin(type, port, head);

	if (type == XFRM_MSG_EXPIRE)
		((struct xfrm_user_expire *)payload)->hard = hard;
	if (if_id)
		mnl_attr_put_u32(&made.head, XFRMA_IF_ID, if_id);
	return reconcile_read_xfrm(&ours, &made.head);
}

static void xfrm(void **state)
{
	static const struct {
		__u16 type;
		size_t head;
		unsigned int parts; /* also for those of others: a flush takes all */
		unsigned int parts_if_ours;
	} cases[] = {
		{ XFRM_MSG_DELSA, sizeof(struct xfrm_usersa_id), 0, RECONCILE_STATES },
		{ XFRM_MSG_EXPIRE, sizeof(struct xfrm_user_expire), 0, RECONCILE_STATES },
		{ XFRM_MSG_FLUSHSA, sizeof(struct xfrm_usersa_flush), RECONCILE_STATES, RECONCILE_STATES },
		{ XFRM_MSG_DELPOLICY, sizeof(struct xfrm_userpolicy_id), 0, RECONCILE_POLICIES },
		{ XFRM_MSG_POLEXPIRE, sizeof(struct xfrm_user_polexpire), 0, RECONCILE_POLICIES },
		{ XFRM_MSG_FLUSHPOLICY, 0, RECONCILE_POLICIES, RECONCILE_POLICIES },
		{ XFRM_MSG_NEWSA, sizeof(struct xfrm_usersa_info), 0, 0 },
		{ XFRM_MSG_UPDPOLICY, sizeof(struct xfrm_userpolicy_info), 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(of_xfrm(cases[i].type, OTHER, cases[i].head, true, XFRM_IF_ID_BASE | 7), cases[i].parts_if_ours);
		assert_int_equal(of_xfrm(cases[i].type, OTHER, cases[i].head, true, 7), cases[i].parts);
		assert_int_equal(of_xfrm(cases[i].type, OTHER, cases[i].head, true, 0), cases[i].parts);
		assert_int_equal(of_xfrm(cases[i].type, US + 1, cases[i].head, true, XFRM_IF_ID_BASE | 7), 0);
	}
	/* A soft limit ends nothing. */
	assert_int_equal(of_xfrm(XFRM_MSG_EXPIRE, OTHER, sizeof(struct xfrm_user_expire), false, XFRM_IF_ID_BASE | 7), 0);
}

/* A notice cut short says nothing. */
static void cut_short(void **state)
{
	static const __u16 types[] = { RTM_NEWLINK, RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE, RTM_DELTFILTER,
				       RTM_NEWNETCONF };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		begin(types[i], OTHER, 0);
		assert_int_equal(reconcile_read_route(&ours, &made.head), 0);
		begin(types[i], OTHER, 4);
		assert_int_equal(reconcile_read_route(&ours, &made.head), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes),    cmocka_unit_test(rules),	 cmocka_unit_test(rules_before), cmocka_unit_test(links), cmocka_unit_test(addresses),
		cmocka_unit_test(protected), cmocka_unit_test(forwarding), cmocka_unit_test(programs), cmocka_unit_test(xfrm), cmocka_unit_test(cut_short),
	};

	return cmocka_run_group_tests_name("reconcile", tests, NULL, NULL);
}
