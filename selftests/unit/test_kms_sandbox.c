/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What holdfast-kms cannot do any more once it is sealed, from inside: each case is a process that enters the sandbox as
 * holdfast-kms does and then tries. From outside, the real processes: kms_service's gives_up_its_privileges, and the
 * scenario of the confined daemons.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kms/sandbox.h"
#include "kms/tls.h"
#include "lib/log.h"
#include "lib/privilege.h"
#include "lib/secret.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

#define FAILS_EACCES 0 /* the try is refused; otherwise the signal that ends the process */
#define IS_ALLOWED (-1)

static int open_read(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static int open_write(void)
{
	return open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
}

static int open_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int run_program(void)
{
	return execl("/bin/true", "true", NULL);
}

static int make_process(void)
{
	return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int trace_parent(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int signal_parent(void)
{
	return kill(getppid(), 0);
}

static int map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int become_root(void)
{
	return setuid(0);
}

static int bind_socket(void)
{
	return bind(0, NULL, 0);
}

static int lead_out(void)
{
	return chdir("/");
}

static int mark_socket(void)
{
	int mark = 1;

	return setsockopt(0, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

static int repair_connection(void)
{
	int on = 1;

	return setsockopt(0, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
}

static int stack_protocol(void)
{
	return setsockopt(0, IPPROTO_TCP, TCP_ULP, "tls", 3);
}

static int look_at_connection(void)
{
	char info[8];
	socklen_t len = sizeof(info);

	return getsockopt(0, IPPROTO_TCP, TCP_INFO, info, &len);
}

static int look_at_filter(void)
{
	char filter[8];
	socklen_t len = 0;

	return getsockopt(0, SOL_SOCKET, SO_GET_FILTER, filter, &len);
}

/* What descriptor 0 is does not matter, once the call is made at all. */
static int use_options(void)
{
	int value = 1;
	socklen_t len = sizeof(value);

	setsockopt(0, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
	getsockopt(0, SOL_SOCKET, SO_ERROR, &value, &len);
	return 0;
}

static int use_memory(void)
{
	void *bytes = secret_alloc(1 << 20);

	if (!bytes)
		return -1;
	memset(bytes, 1, 1 << 20);
	secret_free(bytes, 1 << 20);
	return 0;
}

static int use_random(void)
{
	__u8 bytes[64];

	return tls_random(bytes, sizeof(bytes));
}

static const struct try {
	const char *what;
	int (*try)(void);
	int outcome;
} tries[] = {
	{ "open a file for reading", open_read, FAILS_EACCES },
	{ "make a file", open_write, FAILS_EACCES },
	{ "make a socket", open_socket, SIGSYS },
	{ "run a program", run_program, SIGSYS },
	{ "make a process", make_process, SIGSYS },
	{ "trace its parent", trace_parent, SIGSYS },
	{ "signal its parent", signal_parent, SIGSYS },
	{ "map memory as code", map_code, SIGSYS },
	{ "become root", become_root, SIGSYS },
	{ "bind a socket", bind_socket, SIGSYS },
	{ "change its folder", lead_out, SIGSYS },
	{ "mark a socket", mark_socket, SIGSYS },
	{ "repair a connection", repair_connection, SIGSYS },
	{ "put a protocol on a connection", stack_protocol, SIGSYS },
	{ "look at a connection", look_at_connection, SIGSYS },
	{ "look at a socket's filter", look_at_filter, SIGSYS },
	{ "use the options it needs", use_options, IS_ALLOWED },
	{ "use memory", use_memory, IS_ALLOWED },
	{ "get random numbers", use_random, IS_ALLOWED },
};

#define N_TRIES (sizeof(tries) / sizeof(tries[0]))

/* In a child: enters, seals, tries. 0: allowed; 1: EACCES; 2: another error; 3: the sandbox could not be made. */
static void try_in_child(const struct try *try)
{
	char error[256] = "";

	if (tls_init() < 0 || sandbox_enter(geteuid() ? NULL : "nobody", error, sizeof(error)) < 0 ||
	    sandbox_seal(error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		_exit(3);
	}
	errno = 0;
	_exit(try->try() >= 0 ? 0 : errno == EACCES ? 1 : 2);
}

static int status_of(void (*child)(const struct try *), const struct try *try)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		child(try);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void seals_the_process(void **state)
{
	if (PRIVILEGE_SANITIZER)
		skip(); /* a sanitizer needs files and processes: nothing is sealed */
	for (size_t i = 0; i < N_TRIES; i++) {
		int status = status_of(try_in_child, &tries[i]);
		bool as_it_should = tries[i].outcome > 0 ? WIFSIGNALED(status) && WTERMSIG(status) == tries[i].outcome :
							   WIFEXITED(status) &&
							   WEXITSTATUS(status) == (tries[i].outcome == FAILS_EACCES);

		if (!as_it_should)
			fail_msg("%s: status %#x", tries[i].what, (unsigned int)status);
	}
}

/* Landlock by itself, without seccomp in front of it. */
static void close_files_and_open(const struct try *try)
{
	int closed;

	if (privilege_forbid_new())
		_exit(3);
	closed = sandbox_close_files();
	if (closed == -EOPNOTSUPP)
		_exit(4);
	errno = 0;
	_exit(closed ? 3 : try->try() < 0 && errno == EACCES ? 0 : 1);
}

/* The linker puts this in the place of the other half of sandbox_seal() (build.mk). */
static bool without_seccomp;
int __real_sandbox_close_syscalls(void);
int __wrap_sandbox_close_syscalls(void);

int __wrap_sandbox_close_syscalls(void)
{
	return without_seccomp ? 0 : __real_sandbox_close_syscalls();
}

/* Sealed as holdfast-kms is, but for seccomp: what fails then fails by Landlock. */
static void seal_and_open(const struct try *try)
{
	char error[256] = "";

	without_seccomp = true;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* its version */) < 0)
		_exit(4);
	if (sandbox_enter(geteuid() ? NULL : "nobody", error, sizeof(error)) < 0 || sandbox_seal(error, sizeof(error)))
		_exit(3);
	errno = 0;
	_exit(try->try() < 0 && errno == EACCES ? 0 : 1);
}

static void seals_with_landlock_too(void **state)
{
	if (PRIVILEGE_SANITIZER)
		skip();
	for (size_t i = 0; i < 2; i++) {
		int status = status_of(seal_and_open, &tries[i]);

		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 4)
			skip(); /* this kernel has no Landlock */
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void closes_the_file_system(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		int status = status_of(close_files_and_open, &tries[i]);

		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 4)
			skip(); /* this kernel has no Landlock */
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* "Locked" of the mapping that begins here, in kB (proc(5), smaps); -1: there is none. */
static long locked_kb(const void *address)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false;
	unsigned long first, end;
	long kb = -1;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
			here = first <= (uintptr_t)address && (uintptr_t)address < end;
		else if (here)
			sscanf(line, "Locked: %ld kB", &kb);
	}
	fclose(file);
	return kb;
}

static void keeps_secrets_in_memory(void **state)
{
	char *secret = secret_alloc(100);

	assert_non_null(secret);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(secret[i], 0);
	memset(secret, 'k', 100);
	if (!PRIVILEGE_SANITIZER)
		assert_true(locked_kb(secret) > 0);
	secret_free(secret, 100);
	secret_free(NULL, 100);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(seals_the_process),
		cmocka_unit_test(closes_the_file_system),
		cmocka_unit_test(seals_with_landlock_too),
		cmocka_unit_test(keeps_secrets_in_memory),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("kms_sandbox", tests, NULL, NULL);
}
