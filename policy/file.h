/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy as a file: reading it, printing what was found in it, drawing
 * random orders for it. The one part of policy/ that does I/O, for the daemon
 * and the command line alike.
 */
#ifndef HF_POLICY_FILE_H
#define HF_POLICY_FILE_H

#include "policy/policy.h"

#define POLICYFILE_SIZE_MAX (64u << 20)

/*
 * Reads and parses path. Returns 0 and a policy to be freed with policy_free();
 * or -EINVAL with errors in the report; or another -errno when the file could
 * not be read, which leaves the report without errors. On failure error holds
 * one line for people without a newline, which names the file and why. The
 * report must be zeroed or cleared before; warnings may come with success.
 */
int policyfile_load(const char *path, struct policy **ret_policy, struct policy_report *report, char *error,
		    size_t size);

/* Prints each finding as "FILE:LINE:COLUMN: error: text" (or warning), and how many more there were. */
void policyfile_print_report(const char *path, const struct policy_report *report, FILE *out);

/* policy_shuffle() with uniform numbers from the kernel. Returns 0 or -errno of getrandom(2). */
int policyfile_shuffle(struct policy *policy);

#endif
