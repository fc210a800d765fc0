/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading the kernel's notices: which of them put in doubt what is ours. */
#include "loader/reconcile.h"

#include <libmnl/libmnl.h>
#include <net/if_arp.h>
#include <string.h>

#include <linux/fib_rules.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

#include "loader/link.h"
#include "loader/route.h"
#include "loader/xfrm.h"

size_t reconcile_route_groups(unsigned int ret_groups[RECONCILE_GROUPS_MAX])
{
	static const unsigned int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
					       RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_TC,
					       RTNLGRP_IPV4_NETCONF };

	_Static_assert(sizeof(groups) <= RECONCILE_GROUPS_MAX * sizeof(*groups), "they fit");
	memcpy(ret_groups, groups, sizeof(groups));
	return sizeof(groups) / sizeof(*groups);
}

static bool is_underlay(const struct reconcile_ours *ours, int index)
{
	return node_is_underlay(ours->node, index) || (index && index == ours->node->dialled.index);
}

static bool names_underlay(const struct reconcile_ours *ours, const char *name)
{
	for (size_t i = 0; i < ours->node->n_underlay; i++)
		if (!strcmp(ours->node->underlay[i].name, name))
			return true;
	return false;
}

/* The protected interface of this name is not the one that we know. */
static bool is_other_protected(const struct reconcile_ours *ours, const char *name, int index, const __u8 *mac)
{
	for (size_t i = 0; i < ours->node->n_protected; i++) {
		const struct node_interface *known = &ours->node->protected[i];

		if (!strcmp(known->name, name))
			return known->index != index || (mac && memcmp(known->mac, mac, sizeof(known->mac)));
	}
	return false;
}

/* Of IFLA_XDP: the program, or 0; of several (one for each mode) the kernel does not name one. */
static __u32 xdp_id(const struct nlattr *xdp)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, xdp)
		if (mnl_attr_get_type(attr) == IFLA_XDP_PROG_ID && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			return mnl_attr_get_u32(attr);
	return 0;
}

/* The underlay with this index has another XDP program than ours, or none. */
static bool has_other_xdp(const struct node *node, int index, __u32 id)
{
	for (size_t i = 0; i < node->n_underlay; i++)
		if (node->underlay[i].index == index)
			return node->underlay[i].xdp_id != id;
	return false;
}

/* A link without Ethernet has no XDP of ours (datapath_attach.c). */
static bool is_bare(const struct ifinfomsg *info)
{
	return info->ifi_type != ARPHRD_ETHER && info->ifi_type != ARPHRD_LOOPBACK;
}

static unsigned int read_link(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	unsigned int parts = 0;
	bool gone = message->nlmsg_type == RTM_DELLINK, other_xdp = false, enslaved = false;
	char name[NETLINK_NAME_MAX] = "";
	const __u8 *mac = NULL;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return 0;
	/* A bridge tells in its own family that a port has left it. */
	if (info->ifi_family != AF_UNSPEC)
		return gone ? RECONCILE_OTHERS : 0;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		if (mnl_attr_get_type(attr) == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			strncpy(name, mnl_attr_get_str(attr), sizeof(name) - 1);
		else if (mnl_attr_get_type(attr) == IFLA_XDP && !gone)
			other_xdp = !is_bare(info) && has_other_xdp(ours->node, info->ifi_index, xdp_id(attr));
		else if (mnl_attr_get_type(attr) == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == ETH_ALEN)
			mac = mnl_attr_get_payload(attr);
		else if (mnl_attr_get_type(attr) == IFLA_MASTER)
			enslaved = true;
	}
	if (info->ifi_index == ours->tunnel && (gone || !(info->ifi_flags & IFF_UP) || strcmp(name, LINK_TUNNEL)))
		parts |= RECONCILE_TUNNEL | RECONCILE_ROUTES;
	/* It came back as another one, or somebody has taken our program off, or put another in its place. */
	if (names_underlay(ours, name) && !gone && (!is_underlay(ours, info->ifi_index) || other_xdp))
		parts |= RECONCILE_PROGRAMS | RECONCILE_ADDRESSES;
	/* One that is new bears this in the place of the flags that have changed (rtmsg_ifinfo() in net/core/rtnetlink.c). */
	if (!gone && (info->ifi_change == ~0u || enslaved))
		parts |= RECONCILE_OTHERS;
	if (!gone && is_other_protected(ours, name, info->ifi_index, mac))
		parts |= RECONCILE_PROTECTED;
	return parts;
}

/* A route goes with the address that is its source, and the kernel tells of the address only. */
static bool is_source(const struct node *node, const struct hf_addr *addr)
{
	return addr_equal(addr, &node->source) || (node->dialled.index && addr_equal(addr, &node->dialled_source));
}

static unsigned int read_addr(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);

	const struct nlattr *attr;
	struct hf_addr addr;
	bool source = false;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return 0;
	if ((int)info->ifa_index == ours->tunnel)
		return message->nlmsg_type == RTM_DELADDR ? RECONCILE_TUNNEL | RECONCILE_ROUTES : 0;
	mnl_attr_for_each(attr, message, sizeof(*info))
		if (mnl_attr_get_type(attr) == IFA_LOCAL && mnl_attr_get_payload_len(attr) == sizeof(__be32) &&
		    !netlink_get_addr(AF_INET, mnl_attr_get_payload(attr), &addr))
			source = source || is_source(ours->node, &addr);
	return RECONCILE_ADDRESSES | (source ? RECONCILE_ROUTES : 0);
}

static unsigned int read_route(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	__u32 table;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return 0;
	table = head->rtm_table;
	mnl_attr_for_each(attr, message, sizeof(*head))
		if (mnl_attr_get_type(attr) == RTA_TABLE && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			table = mnl_attr_get_u32(attr);
	if (table == ROUTE_TABLE || (message->nlmsg_type == RTM_DELROUTE && head->rtm_protocol == NETLINK_HF_PROTOCOL))
		return RECONCILE_ROUTES;
	/* Where the routes say which interface is the underlay, another one may be. */
	return ours->node->underlay_by_route && head->rtm_family == AF_INET && table == RT_TABLE_MAIN &&
			       head->rtm_protocol != NETLINK_HF_PROTOCOL ? RECONCILE_ADDRESSES : 0;
}

static unsigned int read_rule(const struct nlmsghdr *message)
{
	const struct fib_rule_hdr *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	struct route_rule rule;
	__u32 table;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return 0;
	table = head->table;
	mnl_attr_for_each(attr, message, sizeof(*head))
		if (mnl_attr_get_type(attr) == FRA_TABLE && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			table = mnl_attr_get_u32(attr);
	if (route_rule_is_before(message, &rule))
		return RECONCILE_BEFORE;
	return table == ROUTE_TABLE && message->nlmsg_type == RTM_DELRULE ? RECONCILE_RULES : 0;
}

static unsigned int read_tc(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	const struct tcmsg *head = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return 0;
	return (ours->tunnel && head->tcm_ifindex == ours->tunnel) || is_underlay(ours, head->tcm_ifindex) ?
		       RECONCILE_PROGRAMS : RECONCILE_OTHERS;
}

/* Sent when a sysctl of an interface changes (net/ipv4/devinet.c: inet_netconf_notify_devconf()). */
static unsigned int read_netconf(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	const struct netconfmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	bool forwards = true;
	__u32 index = 0;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head) || head->ncm_family != AF_INET)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
			continue;
		if (mnl_attr_get_type(attr) == NETCONFA_IFINDEX)
			index = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == NETCONFA_FORWARDING)
			forwards = mnl_attr_get_u32(attr);
	}
	/* A machine with no protected network needs to forward nothing. */
	if (forwards || !ours->node->n_protected)
		return 0;
	if ((int)index == ours->tunnel)
		return RECONCILE_SYSCTLS;
	for (size_t i = 0; i < ours->node->n_protected; i++)
		if (ours->node->protected[i].index == (int)index)
			return RECONCILE_SYSCTLS;
	return 0;
}

unsigned int reconcile_read_route(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	/* hf0's going and coming is told by the kernel with our port where we asked for it. */
	if (message->nlmsg_pid && message->nlmsg_pid == ours->route_port)
		return 0;
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return read_link(ours, message);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return read_addr(ours, message);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return read_route(ours, message);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return read_rule(message);
	case RTM_NEWNETCONF:
		return read_netconf(ours, message);
	case RTM_DELTFILTER:
	case RTM_DELQDISC:
		return read_tc(ours, message);
	default:
		return 0;
	}
}

/* Of Holdfast's range of if_ids, which notices of one state or policy bear as an attribute after a head of this size. */
static bool has_our_if_id(const struct nlmsghdr *message, size_t head)
{
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(message) < head)
		return false;
	mnl_attr_for_each(attr, message, (unsigned int)head)
		if (mnl_attr_get_type(attr) == XFRMA_IF_ID && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			return (mnl_attr_get_u32(attr) & XFRM_IF_ID_MASK) == XFRM_IF_ID_BASE;
	return false;
}

/* The soft limit is expire.c's; at the hard one the state goes. */
static bool is_hard(const struct nlmsghdr *message)
{
	const struct xfrm_user_expire *expire = mnl_nlmsg_get_payload(message);

	return mnl_nlmsg_get_payload_len(message) >= sizeof(*expire) && expire->hard;
}

unsigned int reconcile_read_xfrm(const struct reconcile_ours *ours, const struct nlmsghdr *message)
{
	if (message->nlmsg_pid && message->nlmsg_pid == ours->xfrm_port)
		return 0;
	switch (message->nlmsg_type) {
	case XFRM_MSG_DELSA:
		return has_our_if_id(message, sizeof(struct xfrm_usersa_id)) ? RECONCILE_STATES : 0;
	case XFRM_MSG_EXPIRE:
		return is_hard(message) && has_our_if_id(message, sizeof(struct xfrm_user_expire)) ? RECONCILE_STATES : 0;
	case XFRM_MSG_FLUSHSA:
		return RECONCILE_STATES;
	case XFRM_MSG_DELPOLICY:
		return has_our_if_id(message, sizeof(struct xfrm_userpolicy_id)) ? RECONCILE_POLICIES : 0;
	case XFRM_MSG_POLEXPIRE:
		return has_our_if_id(message, sizeof(struct xfrm_user_polexpire)) ? RECONCILE_POLICIES : 0;
	case XFRM_MSG_FLUSHPOLICY:
		return RECONCILE_POLICIES;
	default:
		return 0;
	}
}
