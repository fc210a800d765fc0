/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#define KIND "xfrm"

static void read_kind(const struct nlattr *linkinfo, struct link_info *info)
{
	const struct nlattr *attr, *data = NULL;

	mnl_attr_for_each_nested(attr, linkinfo) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			strncpy(info->kind, mnl_attr_get_str(attr), sizeof(info->kind) - 1);
		else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (!data || strcmp(info->kind, KIND) != 0)
		return;
	mnl_attr_for_each_nested(attr, data)
		if (mnl_attr_get_type(attr) == IFLA_XFRM_COLLECT_METADATA)
			info->external = true;
}

static void read_mac(const struct nlattr *attr, struct link_info *info)
{
	info->has_mac = mnl_attr_get_payload_len(attr) == sizeof(info->mac);
	if (info->has_mac)
		memcpy(info->mac, mnl_attr_get_payload(attr), sizeof(info->mac));
}

static int read_link(void *context, const struct nlmsghdr *message)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(message);
	struct link_info *info = context;
	const struct nlattr *attr;
	int operstate = -1;

	if (message->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return -EBADMSG;
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		__u16 type = mnl_attr_get_type(attr);

		if (type == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			strncpy(info->name, mnl_attr_get_str(attr), sizeof(info->name) - 1);
		else if (type == IFLA_MTU && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			info->mtu = mnl_attr_get_u32(attr);
		else if (type == IFLA_OPERSTATE && mnl_attr_validate(attr, MNL_TYPE_U8) == 0)
			operstate = mnl_attr_get_u8(attr);
		else if (type == IFLA_ADDRESS)
			read_mac(attr, info);
		else if (type == IFLA_LINKINFO)
			read_kind(attr, info);
	}
	info->index = head->ifi_index;
	info->up = head->ifi_flags & IFF_UP;
	info->running = netlink_is_running(head->ifi_flags, operstate);
	return 0;
}

/* "" when the driver does not tell. */
static void read_driver(struct link_info *info)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	memcpy(request.ifr_name, info->name, sizeof(request.ifr_name));
	request.ifr_data = (char *)&driver;
	if (ioctl(fd, SIOCETHTOOL, &request) == 0)
		snprintf(info->driver, sizeof(info->driver), "%.*s", (int)sizeof(driver.driver) - 1, driver.driver);
	close(fd);
}

static int ask_link(struct netlink *nl, const char *name, int index, struct link_info *ret_info)
{
	struct netlink_request request;
	struct link_info info = { 0 };
	struct ifinfomsg *head;
	int err;

	if (name && strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	head = netlink_request(&request, RTM_GETLINK, 0, sizeof(*head));
	head->ifi_index = index;
	if (name)
		mnl_attr_put_strz(&request.head, IFLA_IFNAME, name);
	mnl_attr_put_u32(&request.head, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	err = netlink_talk(nl, &request, read_link, &info);
	if (!err && info.index <= 0) /* acknowledged, not answered */
		err = -EBADMSG;
	if (err)
		return err;
	read_driver(&info);
	*ret_info = info;
	return 0;
}

int link_by_name(struct netlink *nl, const char *name, struct link_info *ret_info)
{
	return ask_link(nl, name, 0, ret_info);
}

int link_by_index(struct netlink *nl, int index, struct link_info *ret_info)
{
	return index > 0 ? ask_link(nl, NULL, index, ret_info) : -ENODEV;
}

/* Begins a request for a link of kind xfrm; *ret_info and *ret_data are the nests to be closed, data first. */
static void begin_xfrm(struct netlink_request *request, const char *name, struct nlattr **ret_info,
		       struct nlattr **ret_data)
{
	netlink_request(request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(&request->head, IFLA_IFNAME, name);
	*ret_info = mnl_attr_nest_start(&request->head, IFLA_LINKINFO);
	mnl_attr_put_strz(&request->head, IFLA_INFO_KIND, KIND);
	*ret_data = mnl_attr_nest_start(&request->head, IFLA_INFO_DATA);
}

int link_tunnel_create(struct netlink *nl, const char *name, __u32 mtu, int *ret_index)
{
	struct netlink_request request;
	struct nlattr *linkinfo, *data;
	struct link_info info;
	int err;

	if (strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	begin_xfrm(&request, name, &linkinfo, &data);
	mnl_attr_put(&request.head, IFLA_XFRM_COLLECT_METADATA, 0, NULL);
	mnl_attr_nest_end(&request.head, data);
	mnl_attr_nest_end(&request.head, linkinfo);
	mnl_attr_put_u32(&request.head, IFLA_MTU, mtu);
	err = netlink_talk(nl, &request, NULL, NULL);
	if (err)
		return err;
	err = link_by_name(nl, name, &info);
	if (err)
		link_delete(nl, name);
	else
		*ret_index = info.index;
	return err;
}

int link_delete(struct netlink *nl, const char *name)
{
	struct netlink_request request;
	int err;

	if (strlen(name) >= IFNAMSIZ)
		return 0;
	netlink_request(&request, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(&request.head, IFLA_IFNAME, name);
	err = netlink_talk(nl, &request, NULL, NULL);
	return err == -ENODEV ? 0 : err;
}

int link_set_up(struct netlink *nl, int index, bool up)
{
	struct netlink_request request;
	struct ifinfomsg *head = netlink_request(&request, RTM_NEWLINK, 0, sizeof(*head));

	head->ifi_index = index;
	head->ifi_change = IFF_UP;
	head->ifi_flags = up ? IFF_UP : 0;
	return netlink_talk(nl, &request, NULL, NULL);
}

int link_rename(struct netlink *nl, int index, const char *name)
{
	struct netlink_request request;
	struct ifinfomsg *head = netlink_request(&request, RTM_NEWLINK, 0, sizeof(*head));

	if (strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	head->ifi_index = index;
	mnl_attr_put_strz(&request.head, IFLA_IFNAME, name);
	return netlink_talk(nl, &request, NULL, NULL);
}

int link_set_mtu(struct netlink *nl, int index, __u32 mtu)
{
	struct netlink_request request;
	struct ifinfomsg *head = netlink_request(&request, RTM_NEWLINK, 0, sizeof(*head));

	head->ifi_index = index;
	mnl_attr_put_u32(&request.head, IFLA_MTU, mtu);
	return netlink_talk(nl, &request, NULL, NULL);
}

static int change_addr(struct netlink *nl, __u16 type, __u16 flags, int index, const struct hf_prefix *prefix)
{
	struct netlink_request request;
	struct ifaddrmsg *head = netlink_request(&request, type, flags, sizeof(*head));

	head->ifa_index = (__u32)index;
	head->ifa_prefixlen = netlink_prefix_len(prefix);
	head->ifa_family = (__u8)netlink_put_addr(&request, IFA_LOCAL, &prefix->addr);
	netlink_put_addr(&request, IFA_ADDRESS, &prefix->addr);
	if (type == RTM_NEWADDR)
		mnl_attr_put_u32(&request.head, IFA_FLAGS, IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
	return netlink_talk(nl, &request, NULL, NULL);
}

int link_addr_add(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	int err = change_addr(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, prefix);

	return err == -EEXIST ? 0 : err;
}

int link_addr_delete(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	int err = change_addr(nl, RTM_DELADDR, 0, index, prefix);

	return err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

struct first_v4 {
	int index;
	bool found;
	struct hf_addr addr;
};

static int read_first_v4(void *context, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(message);
	struct first_v4 *first = context;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return -EBADMSG;
	if (first->found || head->ifa_family != AF_INET || (int)head->ifa_index != first->index ||
	    head->ifa_scope != RT_SCOPE_UNIVERSE)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*head))
		if (mnl_attr_get_type(attr) == IFA_LOCAL && mnl_attr_get_payload_len(attr) == sizeof(__be32))
			first->found = netlink_get_addr(AF_INET, mnl_attr_get_payload(attr), &first->addr) == 0;
	return 0;
}

int link_first_v4(struct netlink *nl, int index, struct hf_addr *ret_addr)
{
	struct first_v4 first = { .index = index };
	int err;

	do {
		struct netlink_request request;
		struct ifaddrmsg *head = netlink_request(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(*head));

		head->ifa_family = AF_INET;
		head->ifa_index = (__u32)index;
		first.found = false;
		err = netlink_talk(nl, &request, read_first_v4, &first);
	} while (err == -EAGAIN);
	if (err)
		return err;
	if (!first.found)
		return -EADDRNOTAVAIL;
	*ret_addr = first.addr;
	return 0;
}

static void read_metrics(const struct nlattr *metrics, struct link_path *path)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, metrics)
		if (mnl_attr_get_type(attr) == RTAX_MTU && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			path->mtu = mnl_attr_get_u32(attr);
}

static void read_route_addr(int family, const struct nlattr *attr, struct hf_addr *addr)
{
	if (mnl_attr_get_payload_len(attr) >= (family == AF_INET ? 4 : 16))
		netlink_get_addr(family, mnl_attr_get_payload(attr), addr);
}

static int read_path(void *context, const struct nlmsghdr *message)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(message);
	struct link_path *path = context;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return -EBADMSG;
	path->local = head->rtm_type == RTN_LOCAL;
	path->broadcast = head->rtm_type == RTN_BROADCAST;
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		__u16 type = mnl_attr_get_type(attr);

		if (type == RTA_OIF && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			path->index = (int)mnl_attr_get_u32(attr);
		else if (type == RTA_PREFSRC)
			read_route_addr(head->rtm_family, attr, &path->source);
		else if (type == RTA_GATEWAY)
			read_route_addr(head->rtm_family, attr, &path->gateway);
		else if (type == RTA_METRICS)
			read_metrics(attr, path);
	}
	return path->index ? 0 : -ENETUNREACH;
}

int link_path(struct netlink *nl, const struct hf_addr *dst, struct link_path *ret_path)
{
	struct netlink_request request;
	struct link_path path = { 0 };
	struct rtmsg *head = netlink_request(&request, RTM_GETROUTE, 0, sizeof(*head));
	int err;

	head->rtm_family = (__u8)netlink_put_addr(&request, RTA_DST, dst);
	head->rtm_dst_len = addr_is_v4(dst) ? 32 : 128;
	mnl_attr_put_u32(&request.head, RTA_MARK, HF_MARK);
	err = netlink_talk(nl, &request, read_path, &path);
	if (!err && path.index <= 0)
		err = -EBADMSG;
	if (!err)
		*ret_path = path;
	return err;
}

int link_probe_tunnel(struct netlink *nl, char *text, size_t size)
{
	struct netlink_request request;
	struct nlattr *linkinfo, *data;
	int err;

	/* Without an if_id the kernel refuses it: with EINVAL, once it has found the type. */
	begin_xfrm(&request, "hf-probe", &linkinfo, &data);
	mnl_attr_nest_end(&request.head, data);
	mnl_attr_nest_end(&request.head, linkinfo);
	err = netlink_talk(nl, &request, NULL, NULL);
	if (!err) /* older kernels took it */
		return link_delete(nl, "hf-probe");
	if (err == -EINVAL)
		return 0;
	if (err == -EOPNOTSUPP)
		snprintf(text, size, "this kernel has no xfrm interfaces: use one with CONFIG_XFRM_INTERFACE "
				     "(module xfrm_interface)");
	else if (err == -EPERM)
		snprintf(text, size, "making a network interface needs root (CAP_NET_ADMIN)");
	else
		snprintf(text, size, "this kernel refuses xfrm interfaces: %s%s%s", strerror(-err),
			 *netlink_text(nl) ? ": " : "", netlink_text(nl));
	return err;
}
