/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keylisten.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/contract.h"

#define LISTEN_TRIES 40 /* of 50 ms */
#define LISTEN_BACKLOG 512
#define BUFFER_BYTES (32 << 10) /* the kernel takes twice as much (socket(7)) */
#define SPREAD 2654435761u /* odd, and far from a fraction with small terms: neighbours go apart */
#define SPREAD_SHIFT 16

int keylisten_dialling(void)
{
	__u32 mark = HF_MARK;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (!setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

size_t keylisten_worker_of(const struct hf_addr *addr, size_t n)
{
	__u32 words[2];

	memcpy(words, addr->b, sizeof(words));
	if (addr_is_v4(addr)) {
		memcpy(words, addr->b + 12, sizeof(words[0]));
		words[1] = 0;
	}
	return ((ntohl(words[0]) ^ ntohl(words[1])) * SPREAD >> SPREAD_SHIFT) % n;
}

/*
 * The same as a filter of the group of sockets (SO_ATTACH_REUSEPORT_CBPF, socket(7)): its result is the index of a socket
 * in the order in which they began to listen.
 */
static int choose_by_source(int fd, size_t n)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (__u32)SKF_NET_OFF),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)SKF_NET_OFF + 8),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)SKF_NET_OFF + 12),
		BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
		BPF_STMT(BPF_JMP | BPF_JA, 1),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)SKF_NET_OFF + 12),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, SPREAD),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, SPREAD_SHIFT),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (__u32)n),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) ? -errno : 0;
}

/* The key service of a holdfastd that was killed a moment ago may still be ending: its port is free soon. */
static int bind_and_listen(int fd, const struct sockaddr_in *sin)
{
	static const struct timespec pause = { .tv_nsec = 50000000 };
	bool bound = false;

	for (int tries = 0;; tries++) {
		bound = bound || !bind(fd, (const struct sockaddr *)sin, sizeof(*sin));
		if (bound && !listen(fd, LISTEN_BACKLOG))
			return 0;
		if (errno != EADDRINUSE || tries == LISTEN_TRIES)
			return -errno;
		nanosleep(&pause, NULL);
	}
}

/* The accepted sockets inherit mark and device from the listening one (inet_csk_clone_lock()). Returns it or -errno. */
static int listen_on(const char *interface, __u16 port, bool shared)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = keylisten_dialling();
	int one = 1, buffer = BUFFER_BYTES;
	int err;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Of accepted ones too: what a stranger can have the kernel hold for him. An exchange is a few kB. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	err = (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
			      setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) ?
		      -errno :
		      bind_and_listen(fd, &sin);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int keylisten_open(const char *interface, __u16 port, size_t n, int ret_fds[KEYLISTEN_WORKERS_MAX], char *error,
		   size_t size)
{
	size_t opened = 0;
	int fd = listen_on(interface, port, false); /* alone: a port that is somebody else's would be shared with him */
	int err = fd < 0 ? fd : 0;

	if (!err && n == 1) {
		ret_fds[0] = fd;
		return 0;
	}
	if (!err)
		close(fd);
	while (!err && opened < n) {
		ret_fds[opened] = listen_on(interface, port, true);
		if (ret_fds[opened] < 0)
			err = ret_fds[opened];
		else
			opened++;
	}
	if (!err)
		err = choose_by_source(ret_fds[0], n);
	if (!err)
		return 0;
	snprintf(error, size, "cannot listen on %s, TCP port %u: %s", interface, port, strerror(-err));
	while (opened)
		close(ret_fds[--opened]);
	return err;
}
