/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one clock of Holdfast: CLOCK_MONOTONIC in nanoseconds, the clock of
 * bpf_ktime_get_ns(), so that times from the datapath and from user space compare.
 */
#ifndef HF_LIB_CLOCK_H
#define HF_LIB_CLOCK_H

#include <linux/types.h>
#include <time.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S 1000000000ull

static inline __u64 clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * CLOCK_NS_PER_S + (__u64)ts.tv_nsec;
}

#endif
