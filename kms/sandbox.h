/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the process gives up before it reads a byte that it did not make itself, in two steps: who it is, as soon as it
 * runs; and what it may ask of the kernel, once everything is made that it will need. After the second there is no file
 * system, no new socket, no new process and no other program for it.
 */
#ifndef HF_KMS_SANDBOX_H
#define HF_KMS_SANDBOX_H

#include <stddef.h>

/*
 * No capability in any set, no new privileges, no core dumps, no ptrace by our own user, memory that is not swapped
 * out (where the limits let it), and as many descriptors as we may have. As root: becomes user (NULL: stays root,
 * without capabilities). Returns 0; 1 where not all of the memory is locked; or -errno with the reason in error.
 */
int sandbox_enter(const char *user, char *error, size_t size);

/*
 * Closes the file system (Landlock) and all system calls but those of kms/syscalls.c (seccomp). To be called last, in a
 * process with one thread. A kernel without Landlock is logged: then seccomp alone keeps the files away. Returns 0, or
 * -errno with the reason in error. A program built with a sanitizer is not sealed, which is logged too.
 */
int sandbox_seal(char *error, size_t size);

/* The two halves of sandbox_seal(). Return 0 or -errno; -EOPNOTSUPP: no such thing in this kernel. */
int sandbox_close_files(void);
int sandbox_close_syscalls(void);

#endif
