/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What holdfastd keeps of root's power, seen in /proc, and that what it does not keep it cannot do. Each case is a process
 * of its own, which gives up what it had.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/privilege.h"
#include "loader/confine.h"

#define BIT(capability) (1ull << (capability))
#define RUNNING                                                                                              \
	(BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_BPF) | BIT(CAP_PERFMON) | \
	 BIT(CAP_SYS_ADMIN) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) | BIT(CAP_KILL))

static char private_folder[] = "/tmp/holdfast-confine-XXXXXX";

static unsigned long long status_field(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long value = ~0ull;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = strtoull(line + strlen(name) + 1, NULL, 16);
	if (file)
		fclose(file);
	return value;
}

/* 0, or the number of the line that does not hold. */
#define HOLDS(condition)                  \
	do {                              \
		if (!(condition))         \
			return __LINE__;  \
	} while (0)

static int keeps_what_it_needs(void)
{
	unsigned long long before = status_field("CapPrm");
	struct rlimit core;

	HOLDS(confine_start() == 0);
	HOLDS(status_field("CapEff") == (before & (RUNNING | BIT(CAP_DAC_READ_SEARCH))));
	HOLDS(confine_run() == 0);
	HOLDS(status_field("CapEff") == (before & RUNNING));
	HOLDS(status_field("CapPrm") == (before & RUNNING));
	HOLDS(status_field("CapBnd") == (before & RUNNING));
	HOLDS(status_field("CapInh") == 0 && status_field("CapAmb") == 0);
	HOLDS(status_field("NoNewPrivs") == 1);
	if (!PRIVILEGE_SANITIZER) {
		HOLDS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
		HOLDS(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	}
	return 0;
}

/* Files that root may read as root only are read until the daemon runs; those of others are never written. */
static int loses_the_files_of_others(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/file", private_folder);
	HOLDS(confine_start() == 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	HOLDS(fd >= 0);
	close(fd);
	HOLDS(open(path, O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES);
	HOLDS(confine_run() == 0);
	HOLDS(open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
	HOLDS(chown("/tmp", 1, 1) < 0 && errno == EPERM);
	return 0;
}

static void run_case(int (*function)(void))
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int line = function();

		if (line)
			fprintf(stderr, "line %d does not hold\n", line);
		_exit(line != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void keeps_only_what_it_needs(void **state)
{
	run_case(keeps_what_it_needs);
}

static void cannot_touch_files_of_others(void **state)
{
	run_case(loses_the_files_of_others);
}

/* What systemd leaves is what is kept at the start: nothing that is needed lacks under it, and nothing is there for nothing. */
static void unit_leaves_what_is_kept(void **state)
{
	static const struct {
		const char *name;
		int capability;
	} names[] = {
		{ "CAP_NET_ADMIN", CAP_NET_ADMIN }, { "CAP_NET_RAW", CAP_NET_RAW },
		{ "CAP_NET_BIND_SERVICE", CAP_NET_BIND_SERVICE }, { "CAP_BPF", CAP_BPF },
		{ "CAP_PERFMON", CAP_PERFMON }, { "CAP_SYS_ADMIN", CAP_SYS_ADMIN }, { "CAP_SETUID", CAP_SETUID },
		{ "CAP_SETGID", CAP_SETGID }, { "CAP_SETPCAP", CAP_SETPCAP }, { "CAP_KILL", CAP_KILL },
		{ "CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH },
	};
	static const char setting[] = "CapabilityBoundingSet=";
	FILE *unit = fopen("packaging/holdfast.service", "re");
	unsigned long long left = 0;
	char line[512];

	assert_non_null(unit);
	while (fgets(line, sizeof(line), unit)) {
		if (strncmp(line, setting, sizeof(setting) - 1))
			continue;
		for (char *word = strtok(line + sizeof(setting) - 1, " \n"); word; word = strtok(NULL, " \n")) {
			size_t i = 0;

			while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i].name, word))
				i++;
			if (i == sizeof(names) / sizeof(names[0]))
				fail_msg("holdfastd does not keep %s", word);
			left |= BIT(names[i].capability);
		}
	}
	fclose(unit);
	assert_int_equal(left, RUNNING | BIT(CAP_DAC_READ_SEARCH));
}

/* A folder of somebody else's, closed to all others. */
static int make_private(void **state)
{
	char path[64];
	int fd;

	if (geteuid() != 0)
		return 0;
	assert_non_null(mkdtemp(private_folder));
	snprintf(path, sizeof(path), "%s/file", private_folder);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chown(path, 65534, 65534), 0);
	return chown(private_folder, 65534, 65534);
}

static int remove_private(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/file", private_folder);
	unlink(path);
	rmdir(private_folder);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_only_what_it_needs),
		cmocka_unit_test(cannot_touch_files_of_others),
		cmocka_unit_test(unit_leaves_what_is_kept),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("confine", tests, make_private, remove_private);
}
