/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bounds of a log that is a file (`holdfast up` makes one in /run, which is
 * memory): when it has grown, the end of what it holds becomes FILE.old, in place of the one
 * before, and it begins anew. The processes that share the descriptor go on
 * writing to it: it is emptied, not replaced, and they have it with O_APPEND.
 */
#ifndef HF_LOADER_LOGFILE_H
#define HF_LOADER_LOGFILE_H

/* Of FILE.old, and of the log itself or little more: it is looked at each LOGFILE_LOOK_EACH_S seconds. */
#define LOGFILE_MAX_BYTES (1 << 20)
#define LOGFILE_LOOK_EACH_S 5

/*
 * Does this to log (a descriptor that can be written) if it is the regular file
 * at path and has more than LOGFILE_MAX_BYTES; anything else (a terminal, the
 * journal, a file of the user's) is left alone. A line that another process
 * writes at that very moment may be lost. 0, also if there was nothing to do; or
 * -errno if FILE.old could not be written: there is none then, and the log is
 * emptied all the same.
 */
int logfile_bound(int log, const char *path);

#endif
