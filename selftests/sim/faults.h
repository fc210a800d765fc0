/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What goes wrong: a plan drawn from the seed, of faults that begin and end, some of
 * which stay for ever. At the end of the plan everything else is over, and the
 * network is good.
 */
#ifndef HF_SIM_FAULTS_H
#define HF_SIM_FAULTS_H

#include <linux/types.h>

struct sim;

void faults_plan(struct sim *sim);

/* So long after the last fault, all that was on its way when it ended has had its effects. */
#define FAULTS_AFTERMATH_NS (10 * SEC)

/* The time from which on nothing goes wrong any more. */
__u64 faults_end_ns(const struct sim *sim);

#endif
