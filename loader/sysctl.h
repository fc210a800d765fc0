/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Network sysctls, changed and put back. A journal remembers what each was
 * before, in a file in /run that is written before the change is: after a
 * crash, the next start still knows the original values. Knows no names of
 * sysctls. The values are those of the caller's network namespace.
 */
#ifndef HF_LOADER_SYSCTL_H
#define HF_LOADER_SYSCTL_H

#include <stddef.h>

struct sysctl_journal;

/*
 * Opens the journal in file, and reads what a start before left there. A line
 * that is not well-formed (the machine failed while writing) ends the reading.
 * Returns 0 or -errno.
 */
int sysctl_open(const char *file, struct sysctl_journal **ret_journal);

/*
 * Sets key, a path below /proc/sys such as "net/ipv4/conf/eth0/rp_filter", to
 * value, remembering the value before (the first time). Returns 1; 0 for a value that
 * holds already, which is not journalled; -EINVAL for a key outside of net/, -ENOENT when
 * there is no such key, -EROFS or -EACCES when it cannot be written.
 */
int sysctl_set(struct sysctl_journal *journal, const char *key, const char *value);

/* Formats the key: at most one %s in format, the interface, e.g. "net/ipv4/conf/%s/rp_filter". */
int sysctl_set_if(struct sysctl_journal *journal, const char *format, const char *interface, const char *value);

/*
 * Puts back those of one interface, and forgets them: keys of which a part is
 * its name. Those that are gone, or that somebody has changed since, are left
 * alone. Goes on after an error and returns the first.
 */
int sysctl_restore_if(struct sysctl_journal *journal, const char *interface);

/*
 * Puts back all, the last change first, and removes the file. A key that is
 * gone (with its interface), and one that somebody has changed since, are left
 * alone. Goes on after an error and returns the first.
 */
int sysctl_restore(struct sysctl_journal *journal);

/* Frees the journal; the file and the values stay as they are. Takes NULL. */
void sysctl_close(struct sysctl_journal *journal);

#endif
