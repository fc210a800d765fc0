/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a process gives up of what it may do: capabilities, new privileges, core dumps. Owns the order in which that
 * is possible, and nothing else: which capabilities stay is the caller's to know.
 */
#ifndef HF_LIB_PRIVILEGE_H
#define HF_LIB_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A sanitizer looks at the process from outside at its end (it clones, traces, and reads /proc), so programs built
 * with one cannot be confined as others are.
 */
#if defined(__SANITIZE_ADDRESS__)
#define PRIVILEGE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PRIVILEGE_SANITIZER 1
#endif
#endif
#ifndef PRIVILEGE_SANITIZER
#define PRIVILEGE_SANITIZER 0
#endif

/*
 * Reduces the bounding set to these capabilities (CAP_*, linux/capability.h): nothing that is executed gets another one.
 * Returns 0 or -errno; -EPERM without CAP_SETPCAP (capabilities(7)), which is of no consequence without new privileges.
 */
int privilege_bound(const int *capabilities, size_t n);

/*
 * Keeps these capabilities, of those that the process has, in its permitted and effective sets; empties the inheritable
 * and ambient sets. Returns 0 or -errno.
 */
int privilege_keep(const int *capabilities, size_t n);

/* What is executed from here on gains nothing (PR_SET_NO_NEW_PRIVS). Returns 0 or -errno. */
int privilege_forbid_new(void);

/*
 * No core dumps, and no ptrace by processes of the same user. After any change of user, which would undo it
 * (prctl(2)). Returns 0 or -errno. Nothing in a program that was built with a sanitizer.
 */
int privilege_hide_memory(void);

#endif
