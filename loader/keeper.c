/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The protocol, SOCK_SEQPACKET, one connection at a time (a new one replaces
 * the one before). The keeper first sends a record for each socket, then one of
 * type DONE; then it takes ADD (with a descriptor) and END.
 */
#include "loader/keeper.h"

#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN_FD 3
#define NOBODY 65534
#define ANSWER_S 2 /* it has nothing else to do */

enum record_type { RECORD_SOCKET = 1, RECORD_DONE, RECORD_ADD, RECORD_END };

struct record {
	__u32 type;
	struct hf_addr local;
};

struct keeper {
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* Records. */

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int record_send(int to, const struct record *record, int fd)
{
	struct iovec iov = { .iov_base = (void *)record, .iov_len = sizeof(*record) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { .bytes = { 0 } };
	struct cmsghdr *head;

	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	}
	return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*record) ? 0 : errno ? -errno : -EIO;
}

/* *ret_fd: the descriptor that came with it, or -1. -EPIPE: the other end has closed. */
static int record_receive(int from, struct record *ret, int *ret_fd)
{
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	union control control = { .bytes = { 0 } };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head;

	*ret_fd = -1;
	if (got < 0)
		return -errno;
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(head), sizeof(*ret_fd));
	if (got == (ssize_t)sizeof(*ret))
		return 0;
	if (*ret_fd >= 0)
		close(*ret_fd);
	*ret_fd = -1;
	return got ? -EPROTO : -EPIPE;
}

/* holdfastd's side. */

static int name_of(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, strlen(path));
	return 0;
}

static int reach(const struct sockaddr_un *name)
{
	static const struct timeval limit = { .tv_sec = ANSWER_S };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)name, sizeof(*name)) < 0)
		err = errno == ECONNREFUSED ? -ENOENT : -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static void become(int listening)
{
	char *argv[] = { (char *)KEEPER_NAME, NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0 || (listening != LISTEN_FD && dup2(listening, LISTEN_FD) < 0) ||
	    (listening == LISTEN_FD && dup2(dup(listening), LISTEN_FD) < 0))
		_exit(126);
	execv("/proc/self/exe", argv);
	_exit(127);
}

/* Twice forked, so that it is nobody's child here and nobody waits for it. */
static int start_process(int listening)
{
	pid_t middle = fork(), second;
	int status;

	if (middle < 0)
		return -errno;
	if (!middle) {
		second = fork();
		if (!second)
			become(listening);
		_exit(second < 0);
	}
	while (waitpid(middle, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EAGAIN;
}

/* The name is bound before there is a process behind it, so connecting waits rather than fails. */
static int start_at(const struct sockaddr_un *name)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = 0;
	mode_t mask;

	if (fd < 0)
		return -errno;
	unlink(name->sun_path);
	mask = umask(0177);
	if (bind(fd, (const struct sockaddr *)name, sizeof(*name)) < 0 || listen(fd, 4) < 0)
		err = -errno;
	umask(mask);
	if (!err)
		err = start_process(fd);
	close(fd);
	return err;
}

static int take_sockets(int from, struct keeper_socket *ret_sockets, size_t *ret_n)
{
	struct record record = { .type = 0 };
	size_t n = 0;
	int err, fd = -1;

	while (!(err = record_receive(from, &record, &fd)) && record.type == RECORD_SOCKET && fd >= 0 &&
	       n < KEEPER_SOCKETS_MAX) {
		ret_sockets[n].local = record.local;
		ret_sockets[n++].fd = fd;
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	if (!err && record.type != RECORD_DONE)
		err = -EPROTO;
	while (err && n)
		close(ret_sockets[--n].fd);
	*ret_n = n;
	return err;
}

int keeper_open(const char *path, bool start, struct keeper **ret_keeper,
		struct keeper_socket ret_sockets[KEEPER_SOCKETS_MAX], size_t *ret_n)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	struct sockaddr_un name;
	int err = keeper ? name_of(path, &name) : -ENOMEM;

	if (err)
		goto out;
	memcpy(keeper->path, name.sun_path, sizeof(keeper->path));
	keeper->fd = reach(&name);
	if (keeper->fd == -ENOENT && start) {
		err = start_at(&name);
		if (!err)
			keeper->fd = reach(&name);
	}
	if (!err && keeper->fd < 0)
		err = keeper->fd;
	if (err)
		goto out;
	err = take_sockets(keeper->fd, ret_sockets, ret_n);
	if (!err) {
		*ret_keeper = keeper;
		return 0;
	}
	close(keeper->fd);
out:
	free(keeper);
	return err;
}

int keeper_add(struct keeper *keeper, const struct hf_addr *local, int fd)
{
	return record_send(keeper->fd, &(struct record){ .type = RECORD_ADD, .local = *local }, fd);
}

void keeper_close(struct keeper *keeper)
{
	if (keeper)
		close(keeper->fd);
	free(keeper);
}

void keeper_end(struct keeper *keeper)
{
	if (keeper) {
		record_send(keeper->fd, &(struct record){ .type = RECORD_END }, -1);
		unlink(keeper->path);
	}
	keeper_close(keeper);
}

/* The keeper's side. */

struct kept {
	struct keeper_socket sockets[KEEPER_SOCKETS_MAX];
	size_t n;
	int visitor; /* -1: none */
	bool ended;
};

static void leave(struct kept *kept)
{
	close(kept->visitor);
	kept->visitor = -1;
}

static void obey(struct kept *kept, const struct record *record, int fd)
{
	if (record->type == RECORD_END)
		kept->ended = true;
	if (record->type == RECORD_ADD && fd >= 0 && kept->n < KEEPER_SOCKETS_MAX) {
		kept->sockets[kept->n].local = record->local;
		kept->sockets[kept->n++].fd = fd;
	} else if (fd >= 0) {
		close(fd);
	}
}

/* All that the visitor has said, also if it is dead by now. */
static void listen_to(struct kept *kept)
{
	struct record record;
	int fd, err = 0;

	while (kept->visitor >= 0 && !(err = record_receive(kept->visitor, &record, &fd)))
		obey(kept, &record, fd);
	if (err != -EAGAIN && kept->visitor >= 0)
		leave(kept);
}

static void welcome(struct kept *kept, int visitor)
{
	int err = 0;

	if (visitor < 0)
		return;
	listen_to(kept);
	if (kept->visitor >= 0)
		leave(kept);
	kept->visitor = visitor;
	for (size_t i = 0; i < kept->n && !err; i++)
		err = record_send(visitor, &(struct record){ .type = RECORD_SOCKET, .local = kept->sockets[i].local },
				  kept->sockets[i].fd);
	if (!err)
		err = record_send(visitor, &(struct record){ .type = RECORD_DONE }, -1);
	if (err)
		leave(kept);
}

/* What it holds are sockets that are open already: it needs no privilege to keep them. */
static int confine(void)
{
	if (close_range(LISTEN_FD + 1, ~0u, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || chdir("/") < 0)
		return -errno;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

int keeper_main(void)
{
	struct kept kept = { .visitor = -1 };

	if (confine())
		return EXIT_FAILURE;
	while (!kept.ended) {
		struct pollfd polled[] = { { .fd = LISTEN_FD, .events = POLLIN }, { .fd = kept.visitor, .events = POLLIN } };

		if (poll(polled, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return EXIT_FAILURE;
		}
		if (polled[1].revents)
			listen_to(&kept);
		if (polled[0].revents && !kept.ended)
			welcome(&kept, accept4(LISTEN_FD, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	}
	return EXIT_SUCCESS;
}
