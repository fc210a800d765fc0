/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text of unknown origin: what may be shown, and what becomes of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static void cleans_text(void **state)
{
	static const struct {
		const char *before;
		const char *after;
	} cases[] = {
		{ "", "" },
		{ "gateway 1 (plain)", "gateway 1 (plain)" },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91" },
		{ "a\nb\tc\x7f", "a?b?c?" },
		{ "\033[2J", "?[2J" },
		{ "\xc2\x9b", "??" },	      /* U+009B: a control sequence introducer */
		{ "\xc2\xa0", "\xc2\xa0" },   /* U+00A0 is none */
		{ "\xc0\xaf", "??" },	      /* overlong */
		{ "\xed\xa0\x80", "???" },    /* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* beyond U+10FFFF */
		{ "cut\xe2\x82", "cut??" },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(text, cases[i].before);
		assert_int_equal(text_is_printable(text), !strcmp(cases[i].before, cases[i].after));
		text_make_printable(text);
		assert_string_equal(text, cases[i].after);
		assert_true(text_is_printable(text));
	}
}

static void knows_instances(void **state)
{
	static const char *const good[] = { "default", "a", "A.b_c-9", "-", "abcdefghijklmnopqrstuvwxyz01234" };
	static const char *const bad[] = { "", ".", "..", "../x", "a/b", "a b", "a\n", "caf\xc3\xa9", ".hidden",
					   "abcdefghijklmnopqrstuvwxyz012345" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(text_is_instance(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(text_is_instance(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cleans_text), cmocka_unit_test(knows_instances) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
