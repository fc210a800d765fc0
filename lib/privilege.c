/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/types.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static __u64 mask_of(const int *capabilities, size_t n)
{
	__u64 mask = 0;

	for (size_t i = 0; i < n; i++)
		mask |= 1ull << capabilities[i];
	return mask;
}

/* The running kernel may have more of them than the headers: it says where they end. */
int privilege_bound(const int *capabilities, size_t n)
{
	__u64 keep = mask_of(capabilities, n);
	int ret = 0;

	for (int i = 0; i < 64; i++) {
		int has = prctl(PR_CAPBSET_READ, i, 0, 0, 0);

		if (has < 0)
			break;
		if (has && !(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			ret = -errno;
	}
	return ret;
}

int privilege_keep(const int *capabilities, size_t n)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	__u64 keep = mask_of(capabilities, n);

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		sets[i].permitted &= (__u32)(keep >> (32 * i));
		sets[i].effective = sets[i].permitted;
		sets[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

int privilege_forbid_new(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int privilege_hide_memory(void)
{
	struct rlimit none = { 0, 0 };

	if (PRIVILEGE_SANITIZER)
		return 0;
	return setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}
