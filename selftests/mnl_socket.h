/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets of libmnl that lead to no kernel, for a program that tests how answers
 * are read: its definitions come before the library's, whose parsing is the real
 * one. What is sent to and received from them is the program's to define:
 * mnl_socket_sendto(), mnl_socket_recvfrom(). For one file of a program.
 */
#ifndef HF_SELFTESTS_MNL_SOCKET_H
#define HF_SELFTESTS_MNL_SOCKET_H

#include <libmnl/libmnl.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MNL_SOCKET_PORT 4711

struct mnl_socket {
	bool blocking;
	__u32 sequence; /* of the last message sent */
	bool ended;
};

static int mnl_socket_fd = -1; /* what mnl_socket_get_fd() says */

struct mnl_socket *mnl_socket_open2(int protocol, int flags)
{
	struct mnl_socket *socket = calloc(1, sizeof(*socket));

	if (!socket)
		abort();
	socket->blocking = !(flags & SOCK_NONBLOCK);
	return socket;
}

struct mnl_socket *mnl_socket_open(int protocol)
{
	return mnl_socket_open2(protocol, 0);
}

int mnl_socket_bind(struct mnl_socket *socket, unsigned int groups, pid_t pid)
{
	return 0;
}

int mnl_socket_close(struct mnl_socket *socket)
{
	free(socket);
	return 0;
}

int mnl_socket_setsockopt(const struct mnl_socket *socket, int type, void *value, socklen_t len)
{
	return 0;
}

int mnl_socket_get_fd(const struct mnl_socket *socket)
{
	return mnl_socket_fd;
}

unsigned int mnl_socket_get_portid(const struct mnl_socket *socket)
{
	return MNL_SOCKET_PORT;
}

#endif
