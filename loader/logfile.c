/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* From this byte on. */
static int copy(const char *from, const char *to, off_t at, off_t size)
{
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	ssize_t n = 1;
	int err = 0;

	while (out >= 0 && size > 0 && n > 0) {
		n = sendfile(out, in, &at, (size_t)size);
		size -= n > 0 ? n : 0;
	}
	if (in < 0 || out < 0 || n < 0)
		err = -errno;
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	return err;
}

int logfile_bound(int log, const char *path)
{
	struct stat ours, there;
	char old[PATH_MAX];
	int err;

	if (fstat(log, &ours) || !S_ISREG(ours.st_mode) || ours.st_size <= LOGFILE_MAX_BYTES)
		return 0;
	if (lstat(path, &there) || there.st_dev != ours.st_dev || there.st_ino != ours.st_ino)
		return 0;
	if (snprintf(old, sizeof(old), "%s.old", path) >= (int)sizeof(old))
		return -ENAMETOOLONG;
	unlink(old);
	/* Whatever came in one stretch: memory has no more room than this. */
	err = copy(path, old, ours.st_size - LOGFILE_MAX_BYTES, LOGFILE_MAX_BYTES);
	if (err)
		unlink(old);
	return ftruncate(log, 0) ? -errno : err;
}
