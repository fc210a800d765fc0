/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sysctls and their journal, on the loopback interface of a fresh network namespace. */
#include "selftests/unit/space.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "loader/sysctl.h"

#define KEY "net/ipv4/conf/lo/rp_filter"
#define OTHER "net/ipv4/conf/lo/send_redirects"

static char folder[] = "/tmp/hf-sysctl-XXXXXX";
static char file[sizeof(folder) + 16];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(file, sizeof(file), "%s/journal", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

static void assert_value(const char *key, const char *value)
{
	char command[256];

	snprintf(command, sizeof(command), "tr -d '\\n' </proc/sys/%s", key);
	assert_string_equal(space_output(command), value);
}

static void start(struct sysctl_journal **journal)
{
	space_enter_new();
	space_run("echo 0 >/proc/sys/" KEY " && echo 1 >/proc/sys/" OTHER);
	assert_int_equal(sysctl_open(file, journal), 0);
}

static void test_set_and_restore(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	assert_int_equal(sysctl_set(journal, KEY, "1"), 1);
	assert_int_equal(sysctl_set_if(journal, "net/ipv4/conf/%s/send_redirects", "lo", "0"), 1);
	assert_value(KEY, "1");
	assert_value(OTHER, "0");
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "0");
	assert_value(OTHER, "1");
	assert_int_equal(access(file, F_OK), -1);
	sysctl_close(journal);
}

static void test_unchanged_is_not_journalled(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "0"), 0);
	assert_int_equal(access(file, F_OK), -1);
	sysctl_close(journal);
}

/* The first daemon is gone without an end; the second one sets the same, and ends in order. */
static void test_crash(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	sysctl_close(journal);
	assert_value(KEY, "2");
	assert_int_equal(sysctl_open(file, &journal), 0);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 0);
	assert_int_equal(sysctl_set(journal, KEY, "1"), 1);
	sysctl_close(journal);
	assert_int_equal(sysctl_open(file, &journal), 0);
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "0");
	sysctl_close(journal);
}

static void test_changed_by_others_stays(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	space_run("echo 1 >/proc/sys/" KEY);
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "1");
	sysctl_close(journal);
}

/* Set again as often as somebody takes it back: the journal has it once. */
static void test_set_again(void **state)
{
	struct sysctl_journal *journal;
	struct stat first, last;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	assert_int_equal(stat(file, &first), 0);
	for (int i = 0; i < 3; i++) {
		space_run("echo 1 >/proc/sys/" KEY);
		assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
		assert_value(KEY, "2");
	}
	assert_int_equal(stat(file, &last), 0);
	assert_int_equal(last.st_size, first.st_size);
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "0");
	sysctl_close(journal);
}

/* One interface is given up: its keys are as they were, in the kernel and in the file, and no others. */
static void test_one_interface(void **state)
{
	static const char at_v0[] = "net/ipv4/conf/v0/src_valid_mark", at_v01[] = "net/ipv4/conf/v01/src_valid_mark";
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	space_run("ip link add v0 type veth peer name v01");
	assert_int_equal(sysctl_set(journal, at_v0, "1"), 1);
	assert_int_equal(sysctl_set(journal, at_v01, "1"), 1);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	assert_int_equal(sysctl_restore_if(journal, "v0"), 0);
	assert_value(at_v0, "0");
	assert_value(at_v01, "1");
	assert_value(KEY, "2");
	assert_int_equal(sysctl_restore_if(journal, "v0"), 0);
	sysctl_close(journal);
	/* As the next run finds it. */
	assert_int_equal(sysctl_open(file, &journal), 0);
	space_run("echo 1 >/proc/sys/net/ipv4/conf/v0/src_valid_mark");
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(at_v0, "1");
	assert_value(at_v01, "0");
	assert_value(KEY, "0");
	sysctl_close(journal);
	space_run("ip link del v0");
}

static void test_vanished_interface(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	space_run("ip link add v0 type veth peer name v1");
	assert_int_equal(sysctl_set_if(journal, "net/ipv4/conf/%s/src_valid_mark", "v0", "1"), 1);
	space_run("ip link del v0");
	assert_int_equal(sysctl_restore(journal), 0);
	sysctl_close(journal);
}

static void test_refused(void **state)
{
	struct sysctl_journal *journal;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, "kernel/panic", "1"), -EINVAL);
	assert_int_equal(sysctl_set(journal, "net/../kernel/panic", "1"), -EINVAL);
	assert_int_equal(sysctl_set_if(journal, "net/ipv4/conf/%s/rp_filter", "../all", "1"), -EINVAL);
	assert_int_equal(sysctl_set(journal, "net/ipv4/conf/none/rp_filter", "1"), -ENOENT);
	assert_int_equal(sysctl_set(journal, KEY, "not a number"), -EINVAL);
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "0");
	sysctl_close(journal);
}

/* A line that does not fit on the disk leaves nothing, and the next one is read after a crash. */
static void test_short_write(void **state)
{
	struct rlimit before, small;
	struct sysctl_journal *journal;
	struct stat file_now;

	(void)state;
	start(&journal);
	assert_int_equal(sysctl_set(journal, KEY, "2"), 1);
	assert_int_equal(stat(file, &file_now), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ (rlim_t)file_now.st_size + 10, before.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(sysctl_set(journal, OTHER, "0"), -ENOSPC);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_value(OTHER, "1");
	assert_int_equal(sysctl_set(journal, OTHER, "0"), 1);
	sysctl_close(journal);
	assert_int_equal(sysctl_open(file, &journal), 0);
	assert_int_equal(sysctl_restore(journal), 0);
	sysctl_close(journal);
	assert_value(KEY, "0");
	assert_value(OTHER, "1");
}

static void test_torn_file(void **state)
{
	static const char text[] = KEY "\t0\t2\n" OTHER "\t1";
	struct sysctl_journal *journal;
	FILE *torn;

	(void)state;
	start(&journal);
	sysctl_close(journal);
	space_run("echo 2 >/proc/sys/" KEY " && echo 0 >/proc/sys/" OTHER);
	torn = fopen(file, "we");
	assert_non_null(torn);
	assert_int_equal(fwrite(text, 1, sizeof(text) - 1, torn), sizeof(text) - 1);
	fclose(torn);
	assert_int_equal(sysctl_open(file, &journal), 0);
	assert_int_equal(sysctl_restore(journal), 0);
	assert_value(KEY, "0");
	assert_value(OTHER, "0");
	sysctl_close(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_restore),
		cmocka_unit_test(test_unchanged_is_not_journalled),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_changed_by_others_stays),
		cmocka_unit_test(test_set_again),
		cmocka_unit_test(test_one_interface),
		cmocka_unit_test(test_vanished_interface),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_short_write),
		cmocka_unit_test(test_torn_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
