/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How often is told what others can cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/pace.h"

#define BURST 10
#define NOW (1000 * CLOCK_NS_PER_S)

static void tells_at_a_limited_rate(void **state)
{
	struct pace pace = { .burst = BURST, .interval_ns = CLOCK_NS_PER_S };
	unsigned int told = 0, untold = 99;

	for (int i = 0; i < 1000; i++)
		told += pace_allows(&pace, NOW, &untold);
	assert_int_equal(told, BURST);
	assert_int_equal(untold, 0);
	assert_false(pace_allows(&pace, NOW + CLOCK_NS_PER_S / 2, &untold));
	assert_true(pace_allows(&pace, NOW + CLOCK_NS_PER_S, &untold));
	assert_int_equal(untold, 1000 - BURST + 1);
	assert_false(pace_allows(&pace, NOW + CLOCK_NS_PER_S, NULL));
}

static void has_its_burst_again_after_a_rest(void **state)
{
	struct pace pace = { .burst = BURST, .interval_ns = CLOCK_NS_PER_S };
	unsigned int told = 0;

	while (pace_allows(&pace, NOW, NULL))
		told++;
	while (pace_allows(&pace, NOW + BURST * CLOCK_NS_PER_S, NULL))
		told++;
	assert_int_equal(told, 2 * BURST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_at_a_limited_rate),
		cmocka_unit_test(has_its_burst_again_after_a_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
