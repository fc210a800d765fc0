/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What holdfastd gives up of root's power, and when. Owns the list of the capabilities that it needs, each with its
 * reason.
 */
#ifndef HF_LOADER_CONFINE_H
#define HF_LOADER_CONFINE_H

/*
 * At the start, before anything is read or made: all but what the daemon needs, no new privileges, no core dumps. Files
 * of other owners can still be read (the policy, the identity, the program of the key management service). Returns 0 or
 * -errno.
 */
int confine_start(void);

/* When all is made: that too is given up. From here on files are read as root is their owner, or not at all. */
int confine_run(void);

#endif
