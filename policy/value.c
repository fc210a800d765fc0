/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/value.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "policy/model.h"
#include "policy/report.h"

#define V6_BITS 128
#define MAPPED_BITS 96

/* Digits only. Caps at a value beyond every bound instead of overflowing. */
static bool read_digits(const char *s, size_t len, __u64 *ret_number)
{
	__u64 number = 0;

	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		number = 10 * number + (unsigned int)(s[i] - '0');
		if (number > UINT_MAX)
			number = (__u64)UINT_MAX + 1;
	}
	*ret_number = number;
	return true;
}

int value_take_number(struct policy_report *report, struct lex_line *line, __u32 min, __u32 max, __u32 *ret_number)
{
	struct lex_token token = lex_take_word(line);
	__u64 number;

	if (!token.len)
		report_error(report, token.place, "expected a number from %u to %u", min, max);
	else if (!read_digits(token.s, token.len, &number))
		report_error(report, token.place, "%s is not a whole number; expected one from %u to %u",
			     quote(token.s, token.len).s, min, max);
	else if (number < min || number > max)
		report_error(report, token.place, "%s is out of range; expected a number from %u to %u",
			     quote(token.s, token.len).s, min, max);
	else {
		*ret_number = (__u32)number;
		return 0;
	}
	return -EINVAL;
}

static const char units[] = "KMGT";

/* Digits and perhaps a unit; false also for what 64 bits do not hold. */
static bool read_quantity(const char *s, size_t len, __u64 *ret_quantity)
{
	const char *unit = len ? memchr(units, toupper((unsigned char)s[len - 1]), sizeof(units) - 1) : NULL;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;
	__u64 number = 0;

	if (unit)
		len--;
	if (!len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)s[i]) || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (__u64)(s[i] - '0'), &number))
			return false;
	if (number > ~0ull >> shift)
		return false;
	*ret_quantity = number << shift;
	return true;
}

/* As people write it: 16T, 100. */
static const char *quantity_text(__u64 quantity, char *buffer, size_t size)
{
	unsigned int power = 0;

	while (power < sizeof(units) - 1 && quantity && !(quantity & 1023)) {
		quantity >>= 10;
		power++;
	}
	snprintf(buffer, size, "%llu%.*s", (unsigned long long)quantity, power ? 1 : 0, power ? &units[power - 1] : "");
	return buffer;
}

int value_take_quantity(struct policy_report *report, struct lex_line *line, __u64 min, __u64 max, __u64 *ret_quantity)
{
	struct lex_token token = lex_take_word(line);
	char least[32], most[32];
	__u64 quantity;

	quantity_text(min, least, sizeof(least));
	quantity_text(max, most, sizeof(most));
	if (!token.len)
		report_error(report, token.place, "expected a number from %s to %s", least, most);
	else if (!read_quantity(token.s, token.len, &quantity))
		report_error(report, token.place, "%s is not a whole number with or without K, M, G or T; expected one "
			     "from %s to %s", quote(token.s, token.len).s, least, most);
	else if (quantity < min || quantity > max)
		report_error(report, token.place, "%s is out of range; expected a number from %s to %s",
			     quote(token.s, token.len).s, least, most);
	else {
		*ret_quantity = quantity;
		return 0;
	}
	return -EINVAL;
}

/* Digits, optionally a point and more digits, to milliseconds. */
static bool read_seconds(const char *s, size_t len, __u64 *ret_ms)
{
	const char *point = memchr(s, '.', len);
	size_t whole_len = point ? (size_t)(point - s) : len;
	__u64 scale = 1000000; /* microseconds, so that the rest rounds */
	__u64 fraction = 0;
	__u64 digits;
	__u64 whole;

	if (!read_digits(s, whole_len, &whole))
		return false;
	if (point) {
		const char *end = s + len;

		if (!read_digits(point + 1, (size_t)(end - point) - 1, &digits))
			return false;
		for (const char *c = point + 1; c < end; c++) {
			scale /= 10;
			fraction += scale * (unsigned int)(*c - '0');
		}
	}
	*ret_ms = whole * 1000 + (fraction + 500) / 1000;
	return true;
}

int value_take_seconds(struct policy_report *report, struct lex_line *line, __u32 min_ms, __u32 max_ms, __u32 *ret_ms)
{
	struct lex_token token = lex_take_word(line);
	double min = min_ms / 1000.0;
	double max = max_ms / 1000.0;
	__u64 ms;

	if (!token.len)
		report_error(report, token.place, "expected a number of seconds from %g to %g, like 0.5", min, max);
	else if (!read_seconds(token.s, token.len, &ms))
		report_error(report, token.place, "%s is not a number of seconds; expected %g to %g, like 0.5",
			     quote(token.s, token.len).s, min, max);
	else if (ms < min_ms || ms > max_ms)
		report_error(report, token.place, "%s is out of range; expected %g to %g seconds",
			     quote(token.s, token.len).s, min, max);
	else {
		*ret_ms = (__u32)ms;
		return 0;
	}
	return -EINVAL;
}

int value_take_choice(struct policy_report *report, struct lex_line *line, const struct value_choice *choices,
		      unsigned int *ret_value)
{
	struct lex_token token = lex_take_word(line);
	char list[96] = "";
	size_t used = 0;

	for (const struct value_choice *choice = choices; choice->name; choice++) {
		const char *between = choice == choices ? "" : choice[1].name ? ", " : " or ";

		if (lex_token_is(&token, choice->name)) {
			*ret_value = choice->value;
			return 0;
		}
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", between, choice->name);
	}
	if (token.len)
		report_error(report, token.place, "%s is unknown here; expected %s", quote(token.s, token.len).s, list);
	else
		report_error(report, token.place, "expected %s", list);
	return -EINVAL;
}

/* An address as written. */
struct written {
	struct lex_token token;
	struct hf_addr addr; /* with the bits beyond len */
	__u8 len;	     /* of the mapped form */
	bool slash;
};

/* The length after the slash, in bits of the mapped form. */
static bool read_prefix_len(const char *s, size_t len, bool dotted, __u8 *ret_len)
{
	unsigned int base = dotted ? MAPPED_BITS : 0;
	__u64 bits;

	if (!read_digits(s, len, &bits) || bits > V6_BITS - base)
		return false;
	*ret_len = (__u8)(base + bits);
	return true;
}

static int take_written(struct policy_report *report, struct lex_line *line, const char *what,
			struct written *ret_written)
{
	struct written w = { .token = lex_take_address(line), .len = V6_BITS };
	const char *slash = memchr(w.token.s, '/', w.token.len);
	size_t addr_len = slash ? (size_t)(slash - w.token.s) : w.token.len;
	bool dotted = !memchr(w.token.s, ':', addr_len);

	if (!w.token.len) {
		report_error(report, w.token.place, "expected %s", what);
		return -EINVAL;
	}
	if (addr_parse(w.token.s, addr_len, &w.addr)) {
		if (memchr(w.token.s, '%', addr_len))
			report_error(report, w.token.place, "%s has a zone, which a policy cannot have; expected %s",
				     quote(w.token.s, w.token.len).s, what);
		else
			report_error(report, w.token.place, "%s is not an IPv4 or IPv6 address; expected %s",
				     quote(w.token.s, w.token.len).s, what);
		return -EINVAL;
	}
	w.slash = slash;
	if (slash && !read_prefix_len(slash + 1, w.token.len - addr_len - 1, dotted, &w.len)) {
		report_error(report, w.token.place, "%s: expected a prefix length from 0 to %d after the slash",
			     quote(w.token.s, w.token.len).s, dotted ? V6_BITS - MAPPED_BITS : V6_BITS);
		return -EINVAL;
	}
	*ret_written = w;
	return 0;
}

int value_take_host(struct policy_report *report, struct lex_line *line, const char *what, struct hf_addr *ret_addr,
		    struct policy_place *ret_place)
{
	struct written w;
	int err = take_written(report, line, what, &w);

	if (err)
		return err;
	if (w.len != V6_BITS) {
		report_error(report, w.token.place, "%s is a network; expected %s", quote(w.token.s, w.token.len).s,
			     what);
		return -EINVAL;
	}
	*ret_addr = w.addr;
	*ret_place = w.token.place;
	return 0;
}

int value_take_interface_address(struct policy_report *report, struct lex_line *line, struct hf_prefix *ret_prefix,
				 struct policy_place *ret_place)
{
	struct written w;
	int err = take_written(report, line, "an address for hf0, like 10.9.0.5", &w);

	if (err)
		return err;
	if (addr_is_zero(&w.addr)) {
		report_error(report, w.token.place, "%s is no host's address", quote(w.token.s, w.token.len).s);
		return -EINVAL;
	}
	*ret_prefix = (struct hf_prefix){ .addr = w.addr, .len = w.len };
	*ret_place = w.token.place;
	return 0;
}

/* first and last address of a prefix; a warning when the address lies within rather than at the start. */
static struct policy_range range_of_written(struct policy_report *report, const struct written *w)
{
	struct hf_prefix prefix = { .addr = w->addr, .len = w->len };
	struct policy_range range;

	prefix_mask(&prefix);
	if (!addr_equal(&prefix.addr, &w->addr))
		report_warning(report, w->token.place, "%s lies within a network; taken as %s",
			       quote(w->token.s, w->token.len).s, prefix_text(&prefix).s);
	range.first = prefix.addr;
	range.last = prefix.addr;
	for (unsigned int bit = prefix.len; bit < V6_BITS; bit++)
		range.last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	return range;
}

static int check_range(struct policy_report *report, const struct written *first, const struct written *last)
{
	struct policy_place place = last->token.place;

	if (first->slash || last->slash)
		report_error(report, first->slash ? first->token.place : place,
			     "a range is written either as first - last or as address/length, not both");
	else if (addr_is_v4(&first->addr) != addr_is_v4(&last->addr))
		report_error(report, place, "a range cannot go from IPv%d to IPv%d", addr_is_v4(&first->addr) ? 4 : 6,
			     addr_is_v4(&last->addr) ? 4 : 6);
	else if (addr_cmp(&first->addr, &last->addr) > 0)
		report_error(report, place, "the range ends (%s) before it starts (%s)", addr_text(&last->addr).s,
			     addr_text(&first->addr).s);
	else
		return 0;
	return -EINVAL;
}

int value_take_range(struct policy_report *report, struct lex_line *line, struct policy_range *ret_range)
{
	struct written first;
	struct written last;
	int err;

	err = take_written(report, line, "an address or a range, like 10.0.0.1 - 10.0.0.3", &first);
	if (err)
		return err;
	if (!lex_take_dash(line)) {
		*ret_range = range_of_written(report, &first);
		return 0;
	}
	err = take_written(report, line, "the last address of the range after the dash", &last);
	if (!err)
		err = check_range(report, &first, &last);
	if (err)
		return err;
	*ret_range = (struct policy_range){ first.addr, last.addr };
	return 0;
}

int value_take_text(struct policy_report *report, struct lex_line *line, const char *what, struct lex_token *ret_token)
{
	struct lex_token token;

	if (lex_take_rest(line, &token))
		report_error(report, token.place, "the quote that opens here is not closed on this line");
	else if (!token.len)
		report_error(report, token.place, "expected %s", what);
	else {
		*ret_token = token;
		return 0;
	}
	return -EINVAL;
}

int value_take_interface(struct policy_report *report, struct lex_line *line, char ret_name[POLICY_IFACE_MAX],
			 struct policy_place *ret_place)
{
	struct lex_token token = lex_take_word(line);
	struct quote_text quoted = quote(token.s, token.len);

	/* What dev_valid_name() of the kernel (net/core/dev.c) has it refuse. */
	if (!token.len)
		report_error(report, token.place, "expected the name of a network interface, like eth0");
	else if (token.len >= POLICY_IFACE_MAX)
		report_error(report, token.place, "%s is too long for an interface's name (at most %d bytes)",
			     quoted.s, POLICY_IFACE_MAX - 1);
	else if (memchr(token.s, '/', token.len) || memchr(token.s, ':', token.len) || lex_token_is(&token, ".") ||
		 lex_token_is(&token, ".."))
		report_error(report, token.place, "%s cannot be an interface's name", quoted.s);
	else if (memchr(token.s, ',', token.len))
		report_error(report, token.place, "%s has a comma; interfaces are separated by blanks", quoted.s);
	else {
		memcpy(ret_name, token.s, token.len);
		memset(ret_name + token.len, 0, POLICY_IFACE_MAX - token.len);
		*ret_place = token.place;
		return 0;
	}
	return -EINVAL;
}

int value_take_ordinal(struct policy_report *report, struct lex_line *line, const char *of, unsigned int *ret_number)
{
	struct lex_token token = lex_take_word(line);
	__u64 number;

	if (!token.len)
		report_error(report, token.place, "expected a number after `%s`, like %s 1", of, of);
	else if (!read_digits(token.s, token.len, &number) || !number || number > UINT_MAX)
		report_error(report, token.place, "%s cannot number a %s; expected 1 to %u",
			     quote(token.s, token.len).s, of, UINT_MAX);
	else {
		*ret_number = (unsigned int)number;
		return 0;
	}
	return -EINVAL;
}
