/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks across statements, after all are read. Private to policy/. */
#ifndef HF_POLICY_CHECK_H
#define HF_POLICY_CHECK_H

#include "policy/draft.h"

/*
 * Resolves the targets' clusters and adds what is wrong, or doubtful, to the
 * report. Returns 0, also with errors in the report, or -ENOMEM.
 */
int check_draft(struct draft *draft);

#endif
