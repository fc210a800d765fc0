/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The keeper of sockets: what it is given survives whoever gave it, until it is told to end. This program becomes it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/keeper.h"

static char folder[] = "/tmp/keeper.XXXXXX";
static char path[64];

static int set_up(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/keeper.sock", folder);
	return 0;
}

static int tear_down(void **state)
{
	return rmdir(folder); /* fails where something was left */
}

static void require_root(void)
{
	if (geteuid()) {
		print_message("skipped: needs root\n");
		skip();
	}
}

static struct hf_addr addr(const char *text)
{
	struct hf_addr ret;

	assert_int_equal(addr_parse(text, strlen(text), &ret), 0);
	return ret;
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

/* Whether a process behind the path takes connections; given up after two seconds. */
static bool answers_until_gone(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const struct timespec pause = { .tv_nsec = 10000000 };

	memcpy(name.sun_path, path, strlen(path));
	for (int i = 0; i < 200; i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		bool ok = !connect(fd, (struct sockaddr *)&name, sizeof(name));

		close(fd);
		if (!ok)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static void sockets_survive(void **state)
{
	struct keeper_socket sockets[KEEPER_SOCKETS_MAX];
	struct hf_addr one = addr("192.0.2.1"), two = addr("192.0.2.2");
	struct keeper *keeper, *second;
	ino_t first;
	pid_t pid;
	size_t n;
	int fd, status;

	require_root();
	assert_int_equal(keeper_open(path, false, &keeper, sockets, &n), -ENOENT);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	first = inode(fd);
	/* A daemon that dies of a signal. */
	pid = fork();
	if (!pid) {
		if (keeper_open(path, true, &keeper, sockets, &n) || n || keeper_add(keeper, &one, fd) ||
		    keeper_add(keeper, &two, fd))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	close(fd);

	assert_int_equal(keeper_open(path, false, &keeper, sockets, &n), 0);
	assert_int_equal(n, 2);
	assert_true(addr_equal(&sockets[0].local, &one));
	assert_true(addr_equal(&sockets[1].local, &two));
	assert_int_equal(inode(sockets[0].fd), first);
	close(sockets[0].fd);
	close(sockets[1].fd);

	/* The next one takes over, also while the one before holds on. */
	assert_int_equal(keeper_open(path, true, &second, sockets, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(inode(sockets[1].fd), first);
	close(sockets[0].fd);
	close(sockets[1].fd);
	keeper_close(keeper);
	keeper_end(second);
	assert_false(answers_until_gone());
	assert_int_equal(access(path, F_OK), -1);
	keeper_end(NULL);
}

/* Only as many as it can hold; nonsense ends the visit, not the keeper. */
static void bounds(void **state)
{
	struct keeper_socket sockets[KEEPER_SOCKETS_MAX];
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct hf_addr one = addr("192.0.2.1");
	struct keeper *keeper;
	size_t n;
	int fd, stranger;

	require_root();
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(keeper_open(path, true, &keeper, sockets, &n), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < KEEPER_SOCKETS_MAX + 3; i++)
		assert_int_equal(keeper_add(keeper, &one, fd), 0);
	keeper_close(keeper);
	close(fd);

	memcpy(name.sun_path, path, strlen(path));
	stranger = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(connect(stranger, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(send(stranger, "nonsense", 8, 0), 8);
	close(stranger);

	assert_int_equal(keeper_open(path, false, &keeper, sockets, &n), 0);
	assert_int_equal(n, KEEPER_SOCKETS_MAX);
	for (size_t i = 0; i < n; i++)
		close(sockets[i].fd);
	keeper_end(keeper);
	assert_false(answers_until_gone());
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_survive),
		cmocka_unit_test(bounds),
	};

	if (!strcmp(argv[0], KEEPER_NAME))
		return keeper_main();
	return cmocka_run_group_tests_name("keeper", tests, set_up, tear_down);
}
