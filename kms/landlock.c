/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * No file system: a Landlock domain which handles every kind of access and allows none. Descriptors that are open, or
 * that holdfastd sends, go on being readable. glibc has no wrappers, and the headers of a stable distribution are older
 * than its backported kernels: numbers and layout are those of include/uapi/linux/landlock.h, which never change.
 */
#include <errno.h>
#include <linux/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kms/sandbox.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_RULESET_VERSION 1u
#define NET_BIND_TCP 1ull
#define SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS 3ull

struct ruleset {
	__u64 fs;
	__u64 net;    /* from version 4 on */
	__u64 scoped; /* from version 6 on */
};

/* By version of the interface: how many kinds of access to files there are, and how much of the structure. */
static const struct {
	unsigned int fs_kinds;
	size_t size;
} versions[] = {
	[1] = { 13, 8 }, [2] = { 14, 8 }, [3] = { 15, 8 }, [4] = { 15, 16 }, [5] = { 16, 16 }, [6] = { 16, 24 },
};

int sandbox_close_files(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset all = { .net = NET_BIND_TCP, .scoped = SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS };
	long last = sizeof(versions) / sizeof(versions[0]) - 1;
	int ruleset, ret;

	if (version < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? -EOPNOTSUPP : -errno;
	if (version > last)
		version = last;
	all.fs = (1ull << versions[version].fs_kinds) - 1;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, versions[version].size, 0);
	if (ruleset < 0)
		return -errno;
	ret = syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
	close(ruleset);
	return ret;
}
