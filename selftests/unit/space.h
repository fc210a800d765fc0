/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For tests of the kernel's interfaces: network namespaces of their own, and
 * waiting for a descriptor. A test that lacks what it needs says so and is
 * skipped, which is never a pass.
 */
#ifndef HF_SELFTESTS_SPACE_H
#define HF_SELFTESTS_SPACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/addr.h"

#define SPACE_WAIT_MS 5000

#define space_skip(...)                                                                           \
	do {                                                                                      \
		print_message("[  SKIPPED ] because " __VA_ARGS__);                               \
		print_message("\n");                                                              \
		skip();                                                                           \
	} while (0)

/* Moves the test into a fresh network namespace; the one before dies with its last user. */
static inline void space_enter_new(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		space_skip("a network namespace needs root: %s", strerror(errno));
}

static inline int space_open(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline void space_enter(int fd)
{
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

/* Runs a command of iproute2's; the topology is not what is tested. */
static inline void space_run(const char *command)
{
	if (system(command) != 0)
		fail_msg("set-up failed: %s", command);
}

/*
 * A link that is up, with an address and without ARP, as the tunnel is: one end
 * of a veth pair, whose other end ("x" before the name) shows what goes out.
 */
static inline void space_make_link(const char *name, const char *address)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "ip link add %s arp off type veth peer name x%s && ip link set %s up && ip link set x%s up && "
		 "ip addr add %s dev %s", name, name, name, name, address, name);
	space_run(command);
}

static inline bool space_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static inline struct hf_addr space_addr(const char *text)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

static inline struct hf_prefix space_prefix(const char *text, unsigned int len)
{
	struct hf_prefix prefix = { .addr = space_addr(text) };

	prefix.len = (__u8)(len + (addr_is_v4(&prefix.addr) ? 96 : 0));
	return prefix;
}

/* What a command prints, bounded; for looking at the kernel's tables with other eyes than ours. */
static inline const char *space_output(const char *command)
{
	static char text[8192];
	FILE *pipe = popen(command, "re");
	size_t len;

	assert_non_null(pipe);
	len = fread(text, 1, sizeof(text) - 1, pipe);
	text[len] = '\0';
	pclose(pipe);
	return text;
}

#endif
