/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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

int sandbox_enter(const char *user, char *error, size_t size)
{
	struct rlimit none = { 0, 0 };
	struct rlimit files;
	int ret = user ? become(user, error, size) : 0;

	if (ret < 0)
		return ret;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* After the change of user, which would have set it anew (prctl(2)). */
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		ret = -errno;
		snprintf(error, size, "cannot give up privileges: %s", strerror(-ret));
		return ret;
	}
	return 0;
}
