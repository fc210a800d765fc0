/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When our own certificate ends (or something else that must be made anew in time), and who is warned of it: 30, 7 and 1
 * days before, and when it ends. Owns the dates and a timer; looks at the clock on the wall each hour, so that a clock that is set is followed, and at that date.
 */
#ifndef HF_LOADER_CERTWATCH_H
#define HF_LOADER_CERTWATCH_H

#include <event2/event.h>
#include <linux/types.h>
#include <stdint.h>

#define CERTWATCH_NEVER 0x7fffffff /* nothing was told of this certificate yet */
#define CERTWATCH_NO_END INT64_MAX /* of what does not end, or is not there */

/*
 * What is to be told at this time of a certificate that ends at not_after (both: seconds since 1970), when `told` was told
 * last (30, 7, 1, 0, or CERTWATCH_NEVER): the days within which it ends, 0 when it has ended, or -1 for nothing new.
 */
int certwatch_due(__s64 not_after, __s64 now, int told);

struct certwatch;

/* days: as above; left_s: the seconds that are left, negative afterwards. */
typedef void (*certwatch_warning)(void *context, int days, __s64 left_s);

int certwatch_new(struct event_base *base, certwatch_warning warn, void *context, struct certwatch **ret_watch);
void certwatch_free(struct certwatch *watch); /* Takes NULL. */

/* This is our certificate from now on. One that is the same is not told of again. */
void certwatch_set(struct certwatch *watch, __s64 not_after);

#endif
