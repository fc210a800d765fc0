/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The system calls of the key management service once it runs: what its loop, its sockets and its memory need.
 * Any other one ends the process at once. A few that libraries try by themselves, and can do without, fail instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/sandbox.h"

#define EACH(name) SCMP_SYS(name)
/* Calls whose arguments do not matter: all they work on is ours, or came from holdfastd. */
static const int allowed[] = {
	/* the loop */
	EACH(epoll_wait), EACH(epoll_pwait), EACH(epoll_pwait2), EACH(epoll_ctl), EACH(timerfd_settime),
	EACH(clock_gettime), EACH(clock_gettime64), EACH(gettimeofday), EACH(time),
	/* sockets: those that we were given, and what these accept */
	EACH(accept4), EACH(connect), EACH(shutdown), EACH(getsockname),
	EACH(recvfrom), EACH(recvmsg), EACH(sendto), EACH(sendmsg), EACH(read), EACH(write), EACH(writev), EACH(close),
	/* the files of the identity, by descriptors */
	EACH(pread64),
	/* memory; not executable, see below */
	EACH(brk), EACH(munmap), EACH(mremap), EACH(madvise), EACH(mlock), EACH(mlock2), EACH(munlock),
	/* the C library, OpenSSL, and the end */
	EACH(futex), EACH(getrandom), EACH(getpid), EACH(gettid), EACH(rt_sigaction), EACH(rt_sigprocmask),
	EACH(rt_sigreturn), EACH(restart_syscall), EACH(exit), EACH(exit_group),
};

/* What libraries try and can do without: looking for files, above all. */
static const int failing[] = {
	EACH(open), EACH(openat), EACH(openat2), EACH(access), EACH(faccessat), EACH(faccessat2),
	EACH(stat), EACH(lstat), EACH(fstat), EACH(newfstatat), EACH(statx), EACH(readlink), EACH(readlinkat),
	EACH(uname), EACH(sysinfo), EACH(ioctl), EACH(sched_getaffinity), EACH(prlimit64), EACH(getrlimit),
};

/* Calls of which only this is allowed: argument `at`, masked, has this value. */
static const struct {
	int call;
	unsigned int at;
	scmp_datum_t mask;
	scmp_datum_t value;
} narrow[] = {
	{ EACH(mmap), 2, PROT_EXEC, 0 },
	{ EACH(mmap2), 2, PROT_EXEC, 0 },
	{ EACH(mprotect), 2, PROT_EXEC, 0 },
	{ EACH(fcntl), 1, ~(scmp_datum_t)0, F_GETFL },
	{ EACH(fcntl), 1, ~(scmp_datum_t)0, F_SETFL },
	{ EACH(fcntl), 1, ~(scmp_datum_t)0, F_GETFD },
	{ EACH(fcntl), 1, ~(scmp_datum_t)0, F_SETFD },
};

/* The options of sockets that are used: level and name are compared, both. */
static const struct {
	int call;
	int level;
	int name;
} options[] = {
	{ EACH(setsockopt), IPPROTO_TCP, TCP_NODELAY },
	{ EACH(getsockopt), SOL_SOCKET, SO_ERROR },
};
#undef EACH

#define INT_BITS 0xffffffffu /* of an argument that the kernel takes as an int */
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Negative numbers are calls that this architecture does not have. */
static int add_rules(scmp_filter_ctx filter)
{
	int ret = 0;

	for (size_t i = 0; i < COUNT(allowed) && !ret; i++)
		if (allowed[i] >= 0)
			ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < COUNT(failing) && !ret; i++)
		if (failing[i] >= 0)
			ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), failing[i], 0);
	for (size_t i = 0; i < COUNT(narrow) && !ret; i++)
		if (narrow[i].call >= 0)
			ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, narrow[i].call, 1,
					       SCMP_CMP(narrow[i].at, SCMP_CMP_MASKED_EQ, narrow[i].mask,
							narrow[i].value));
	for (size_t i = 0; i < COUNT(options) && !ret; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, options[i].call, 2,
				       SCMP_CMP(1, SCMP_CMP_MASKED_EQ, INT_BITS, (scmp_datum_t)options[i].level),
				       SCMP_CMP(2, SCMP_CMP_MASKED_EQ, INT_BITS, (scmp_datum_t)options[i].name));
	/* abort(3) shall end us as an abort. */
	if (!ret)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				       SCMP_CMP(0, SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return ret;
}

int sandbox_close_syscalls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret;

	if (!filter)
		return -ENOMEM;
	ret = add_rules(filter);
	if (!ret)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret;
}
