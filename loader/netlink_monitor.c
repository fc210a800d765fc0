/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Listening to the kernel's notices of links, addresses and routes. */
#include "loader/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/filter.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#define MONITOR_MAX 65536
#define MONITOR_GROUPS (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE)

struct netlink_monitor {
	struct mnl_socket *socket;
	netlink_notify notify;
	void *context;
	__u8 buffer[MONITOR_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* Our own routes, a hundred thousand at a time, would only fill the socket's buffer. */
static int filter_own_routes(int fd)
{
	const __u32 type = offsetof(struct nlmsghdr, nlmsg_type);
	const __u32 protocol = sizeof(struct nlmsghdr) + offsetof(struct rtmsg, rtm_protocol);
	struct sock_filter code[] = {
		/* The filter reads in network order what the kernel wrote in its own. */
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, type),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 2),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, protocol),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_HF_PROTOCOL, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

int netlink_monitor_open(netlink_notify notify, void *context, struct netlink_monitor **ret_monitor)
{
	struct netlink_monitor *monitor = calloc(1, sizeof(*monitor));
	int err;

	if (!monitor)
		return -ENOMEM;
	monitor->notify = notify;
	monitor->context = context;
	monitor->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!monitor->socket) {
		err = -errno;
		goto out;
	}
	err = filter_own_routes(mnl_socket_get_fd(monitor->socket));
	if (err)
		goto out;
	if (mnl_socket_bind(monitor->socket, MONITOR_GROUPS, MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
out:
	if (err)
		netlink_monitor_close(monitor);
	else
		*ret_monitor = monitor;
	return err;
}

void netlink_monitor_close(struct netlink_monitor *monitor)
{
	if (!monitor)
		return;
	if (monitor->socket)
		mnl_socket_close(monitor->socket);
	free(monitor);
}

int netlink_monitor_fd(const struct netlink_monitor *monitor)
{
	return mnl_socket_get_fd(monitor->socket);
}

bool netlink_is_running(unsigned int flags, int operstate)
{
	const unsigned int wanted = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

	if ((flags & wanted) != wanted)
		return false;
	/* Many virtual drivers never say more than "unknown". */
	return operstate < 0 || operstate == IF_OPER_UP || operstate == IF_OPER_UNKNOWN;
}

static bool read_link(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	int operstate = -1;

	/* A bridge tells of its ports with messages of its own family, also of their "removal". */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return false;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		if (mnl_attr_get_type(attr) == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			strncpy(event->name, mnl_attr_get_str(attr), sizeof(event->name) - 1);
		else if (mnl_attr_get_type(attr) == IFLA_OPERSTATE && mnl_attr_validate(attr, MNL_TYPE_U8) == 0)
			operstate = mnl_attr_get_u8(attr);
		else if (mnl_attr_get_type(attr) == IFLA_MASTER)
			event->enslaved = true;
	}
	event->type = message->nlmsg_type == RTM_NEWLINK ? NETLINK_LINK : NETLINK_LINK_GONE;
	event->index = info->ifi_index;
	event->up = event->type == NETLINK_LINK && (info->ifi_flags & IFF_UP);
	event->running = event->type == NETLINK_LINK && netlink_is_running(info->ifi_flags, operstate);
	event->point_to_point = info->ifi_flags & IFF_POINTOPOINT;
	return true;
}

static bool read_addr(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	bool found = false;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->ifa_family != AF_INET)
		return false;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		if (mnl_attr_get_payload_len(attr) != sizeof(__be32))
			continue;
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			found = netlink_get_addr(AF_INET, mnl_attr_get_payload(attr), &event->addr) == 0;
		else if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			netlink_get_addr(AF_INET, mnl_attr_get_payload(attr), &event->peer);
	}
	/* Where there is no other end, both are the same. */
	if (addr_equal(&event->addr, &event->peer))
		memset(&event->peer, 0, sizeof(event->peer));
	event->type = message->nlmsg_type == RTM_NEWADDR ? NETLINK_ADDR : NETLINK_ADDR_GONE;
	event->index = (int)info->ifa_index;
	return found;
}

static bool read_route(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->rtm_family != AF_INET)
		return false;
	event->type = NETLINK_ROUTE_CHANGE;
	return true;
}

static bool read_event(const struct nlmsghdr *message, struct netlink_event *event)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return read_link(message, event);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return read_addr(message, event);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return read_route(message, event);
	default:
		return false;
	}
}

int netlink_monitor_dispatch(struct netlink_monitor *monitor)
{
	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)monitor->buffer;
		struct netlink_event event = { .type = NETLINK_OVERRUN };
		ssize_t got = mnl_socket_recvfrom(monitor->socket, monitor->buffer, sizeof(monitor->buffer));
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
			monitor->notify(monitor->context, &event);
			continue;
		}
		if (got < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			memset(&event, 0, sizeof(event));
			if (read_event(message, &event))
				monitor->notify(monitor->context, &event);
		}
	}
}

struct replay {
	netlink_notify notify;
	void *context;
};

static int replay_one(void *context, const struct nlmsghdr *message)
{
	struct netlink_event event = { .index = 0 };
	struct replay *replay = context;

	if (read_event(message, &event))
		replay->notify(replay->context, &event);
	return 0;
}

int netlink_monitor_replay(struct netlink *nl, netlink_notify notify, void *context)
{
	struct replay replay = { notify, context };
	struct netlink_request request;
	struct ifaddrmsg *addr;
	int err;

	/* A dump that was interrupted is asked for again; what it told already is told twice. */
	do {
		netlink_request(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
		mnl_attr_put_u32(&request.head, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
		err = netlink_talk(nl, &request, replay_one, &replay);
	} while (err == -EAGAIN);
	if (err)
		return err;
	do {
		addr = netlink_request(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(*addr));
		addr->ifa_family = AF_INET;
		err = netlink_talk(nl, &request, replay_one, &replay);
	} while (err == -EAGAIN);
	return err;
}
