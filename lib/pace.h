/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How often something is told that somebody else can cause any number of times: so
 * many at once, then one in each interval (GCRA, as in ITU-T I.371, annex A: one time says
 * all), and how many were left out. Pure: the clock is the caller's.
 */
#ifndef HF_LIB_PACE_H
#define HF_LIB_PACE_H

#include <linux/types.h>
#include <stdbool.h>

struct pace {
	unsigned int burst; /* >= 1 */
	__u64 interval_ns;
	__u64 paid_ns; /* until when all that was let through is paid for; starts as 0, as untold does */
	unsigned int untold;
};

/* Whether it may be told now (ns, of a clock that does not go back). ret_untold (may be NULL): how many were not, since the last. */
bool pace_allows(struct pace *pace, __u64 now_ns, unsigned int *ret_untold);

#endif
