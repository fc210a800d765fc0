/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/expire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/xfrm.h>

#include "loader/netlink.h"

#define MESSAGE_MAX 8192

struct expire {
	struct mnl_socket *socket;
	expire_notify notify;
	void *context;
};

int expire_open(expire_notify notify, void *context, struct expire **ret_expire)
{
	struct expire *expire = calloc(1, sizeof(*expire));
	int err = 0;

	if (!expire)
		return -ENOMEM;
	expire->notify = notify;
	expire->context = context;
	expire->socket = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!expire->socket || mnl_socket_bind(expire->socket, 1u << (XFRMNLGRP_EXPIRE - 1), MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	if (err)
		expire_close(expire);
	else
		*ret_expire = expire;
	return err;
}

void expire_close(struct expire *expire)
{
	if (!expire)
		return;
	if (expire->socket)
		mnl_socket_close(expire->socket);
	free(expire);
}

int expire_fd(const struct expire *expire)
{
	return mnl_socket_get_fd(expire->socket);
}

static void on_message(struct expire *expire, const struct nlmsghdr *message)
{
	struct xfrm_user_expire told;

	/* Policies expire too (XFRM_MSG_POLEXPIRE); ours do not. */
	if (message->nlmsg_type != XFRM_MSG_EXPIRE || mnl_nlmsg_get_payload_len(message) < sizeof(told))
		return;
	memcpy(&told, mnl_nlmsg_get_payload(message), sizeof(told));
	expire->notify(expire->context, &(struct expire_notice){ .if_id = told.state.reqid, /* of ours they are the same */
								 .spi = ntohl(told.state.id.spi), .hard = told.hard });
}

void expire_dispatch(struct expire *expire)
{
	__u8 buffer[MESSAGE_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool lost = false;
	ssize_t got;

	while ((got = mnl_socket_recvfrom(expire->socket, buffer, sizeof(buffer))) > 0 || errno == ENOBUFS) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		int left = (int)got;

		lost = lost || got < 0;
		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
			on_message(expire, message);
	}
	if (lost)
		expire->notify(expire->context, NULL);
}
