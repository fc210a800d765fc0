/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/mapping.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/xfrm.h>

#include "loader/netlink.h"

#define MESSAGE_MAX 8192

struct mapping {
	struct mnl_socket *socket;
	mapping_notify notify;
	void *context;
};

int mapping_open(mapping_notify notify, void *context, struct mapping **ret_mapping)
{
	struct mapping *mapping = calloc(1, sizeof(*mapping));
	int err = 0;

	if (!mapping)
		return -ENOMEM;
	mapping->notify = notify;
	mapping->context = context;
	mapping->socket = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!mapping->socket || mnl_socket_bind(mapping->socket, 1u << (XFRMNLGRP_MAPPING - 1), MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	if (err)
		mapping_close(mapping);
	else
		*ret_mapping = mapping;
	return err;
}

void mapping_close(struct mapping *mapping)
{
	if (!mapping)
		return;
	if (mapping->socket)
		mnl_socket_close(mapping->socket);
	free(mapping);
}

int mapping_fd(const struct mapping *mapping)
{
	return mnl_socket_get_fd(mapping->socket);
}

static void on_message(struct mapping *mapping, const struct nlmsghdr *message)
{
	struct xfrm_user_mapping told;
	struct mapping_change change = { 0 };

	if (message->nlmsg_type != XFRM_MSG_MAPPING || mnl_nlmsg_get_payload_len(message) < sizeof(told))
		return;
	memcpy(&told, mnl_nlmsg_get_payload(message), sizeof(told));
	if (netlink_get_addr(told.id.family, &told.new_saddr, &change.remote))
		return;
	change.if_id = told.reqid; /* of our states they are the same */
	change.spi = ntohl(told.id.spi);
	change.port = ntohs(told.new_sport);
	mapping->notify(mapping->context, &change);
}

void mapping_dispatch(struct mapping *mapping)
{
	__u8 buffer[MESSAGE_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t got;

	/* ENOBUFS: something was lost, and will be told again. */
	while ((got = mnl_socket_recvfrom(mapping->socket, buffer, sizeof(buffer))) > 0 || errno == ENOBUFS) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		int left = (int)got;

		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
			on_message(mapping, message);
	}
}
