/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/privilege.h"

static int become(const char *user, char *error, size_t size)
{
	struct passwd *entry;
	int ret;

	if (geteuid() != 0) {
		snprintf(error, size, "--user %s: only root can become somebody else", user);
		return -EPERM;
	}
	errno = 0;
	entry = getpwnam(user);
	if (!entry) {
		ret = errno ? -errno : -ENOENT;
		snprintf(error, size, "--user %s: %s", user, errno ? strerror(errno) : "no such user");
		return ret;
	}
	if (setgroups(0, NULL) < 0 || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0) {
		ret = -errno;
		snprintf(error, size, "--user %s: %s", user, strerror(-ret));
		return ret;
	}
	return 0;
}

/*
 * All of our memory, as it comes to be used: TLS has keys in many places. holdfastd lifts the limit (RLIMIT_MEMLOCK) where
 * it may. With a limit, allocations would fail at it: then only what is made for keys is locked (lib/secret, OpenSSL's
 * secure heap). Whether all is; in a program with a sanitizer, which needs too much of it, nobody expects that.
 */
static bool lock_memory(void)
{
	struct rlimit limit;

	if (PRIVILEGE_SANITIZER)
		return true;
	return !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur == RLIM_INFINITY &&
	       !mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

static void raise_descriptors(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* The bounding set while we may still reduce it, the others when the user has changed. */
static int give_up_capabilities(const char *user, char *error, size_t size)
{
	int ret = privilege_bound(NULL, 0);

	if (ret == -EPERM) {
		log_debug("the bounding set stays as it is: started without CAP_SETPCAP");
		ret = 0;
	}
	if (!ret && user) {
		ret = become(user, error, size);
		if (ret < 0)
			return ret;
	}
	if (!ret)
		ret = privilege_keep(NULL, 0);
	if (ret)
		snprintf(error, size, "cannot give up capabilities: %s", strerror(-ret));
	return ret;
}

int sandbox_enter(const char *user, char *error, size_t size)
{
	bool locked;
	int ret;

	raise_descriptors();
	locked = lock_memory();
	ret = give_up_capabilities(user, error, size);
	if (ret < 0)
		return ret;
	ret = privilege_hide_memory();
	if (!ret)
		ret = privilege_forbid_new();
	if (ret < 0)
		snprintf(error, size, "cannot give up privileges: %s", strerror(-ret));
	return ret < 0 ? ret : !locked;
}

int sandbox_seal(char *error, size_t size)
{
	int ret;

	if (PRIVILEGE_SANITIZER) {
		log_warning("built with a sanitizer, which needs files and processes: neither Landlock nor seccomp");
		return 0;
	}
	ret = sandbox_close_files();
	if (ret == -EOPNOTSUPP)
		log_warning("this kernel has no Landlock: seccomp alone keeps files away from this process");
	else if (ret < 0) {
		snprintf(error, size, "Landlock: %s", strerror(-ret));
		return ret;
	}
	ret = sandbox_close_syscalls();
	if (ret < 0)
		snprintf(error, size, "seccomp: %s", strerror(-ret));
	return ret;
}
