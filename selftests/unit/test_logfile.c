/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A log that has grown begins anew, for all who write to it; what is not that log is left alone. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/logfile.h"

static char folder[] = "/tmp/holdfast-logfile-XXXXXX";
static char path[64], old[64];

static off_t size_of(const char *file)
{
	struct stat st;

	return lstat(file, &st) ? -1 : st.st_size;
}

static int open_log(void)
{
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC, 0640);

	assert_true(log >= 0);
	unlink(old);
	return log;
}

static void write_bytes(int log, char byte, size_t n)
{
	char *bytes = malloc(n);

	assert_non_null(bytes);
	memset(bytes, byte, n);
	assert_int_equal(write(log, bytes, n), n);
	free(bytes);
}

static char first_of(const char *file)
{
	FILE *stream = fopen(file, "r");
	int c;

	assert_non_null(stream);
	c = fgetc(stream);
	fclose(stream);
	return (char)c;
}

static void begins_anew(void **state)
{
	int log = open_log(), other = dup(log);

	write_bytes(log, 'a', LOGFILE_MAX_BYTES);
	assert_int_equal(logfile_bound(log, path), 0);
	assert_int_equal(size_of(path), LOGFILE_MAX_BYTES);
	assert_int_equal(size_of(old), -1);

	write_bytes(other, 'a', 1);
	assert_int_equal(logfile_bound(log, path), 0);
	assert_int_equal(size_of(path), 0);
	assert_int_equal(size_of(old), LOGFILE_MAX_BYTES);

	/* Who shares it goes on at its beginning; the next time takes the place of this one. */
	write_bytes(other, 'b', LOGFILE_MAX_BYTES + 7);
	assert_int_equal(size_of(path), LOGFILE_MAX_BYTES + 7);
	assert_int_equal(first_of(old), 'a');
	assert_int_equal(logfile_bound(log, path), 0);
	assert_int_equal(size_of(old), LOGFILE_MAX_BYTES);
	assert_int_equal(first_of(old), 'b');
	close(other);
	close(log);
}

/* No log of `holdfast up`: a pipe, a file elsewhere, one that was replaced, a link to one. */
static void left_alone(void **state)
{
	char elsewhere[64];
	int log = open_log(), pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(logfile_bound(pipes[1], path), 0);
	close(pipes[0]);
	close(pipes[1]);

	write_bytes(log, 'a', LOGFILE_MAX_BYTES + 1);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
	assert_int_equal(logfile_bound(log, elsewhere), 0);
	assert_int_equal(rename(path, elsewhere), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_int_equal(logfile_bound(log, path), 0);
	assert_int_equal(size_of(elsewhere), LOGFILE_MAX_BYTES + 1);
	assert_int_equal(size_of(old), -1);
	unlink(path);
	unlink(elsewhere);
	close(log);
}

/* FILE.old cannot be written: that is told, and the log has bounds all the same. */
static void no_old(void **state)
{
	int log = open_log();

	write_bytes(log, 'a', LOGFILE_MAX_BYTES + 1);
	assert_int_equal(mkdir(old, 0700), 0);
	assert_int_equal(logfile_bound(log, path), -EEXIST);
	assert_int_equal(size_of(path), 0);
	assert_int_equal(rmdir(old), 0);
	close(log);
}

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/log", folder);
	snprintf(old, sizeof(old), "%s/log.old", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(path);
	unlink(old);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_anew),
		cmocka_unit_test(left_alone),
		cmocka_unit_test(no_old),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
