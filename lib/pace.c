/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/pace.h"

#include <stddef.h>

bool pace_allows(struct pace *pace, __u64 now_ns, unsigned int *ret_untold)
{
	if (pace->paid_ns < now_ns)
		pace->paid_ns = now_ns;
	if (pace->paid_ns - now_ns > (pace->burst - 1) * pace->interval_ns) {
		pace->untold++;
		return false;
	}
	pace->paid_ns += pace->interval_ns;
	if (ret_untold)
		*ret_untold = pace->untold;
	pace->untold = 0;
	return true;
}
