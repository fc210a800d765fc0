/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy: parse, compile, explain. The input is a policy. What compiles must be
 * ascending and disjoint, each entry within one interval, and the words about an
 * address must agree with the look-up of it.
 */
#include <errno.h>
#include <linux/types.h>

#include "policy/policy.h"
#include "selftests/fuzz/fuzz.h"

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	nowhere = fopen("/dev/null", "w");
	MUST(nowhere);
	return 0;
}

/* Places lie within the text; texts are one line. */
static void check_report(const struct policy_report *report, const char *text, size_t len)
{
	unsigned int lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	MUST(report->n <= 2 * POLICY_REPORT_MAX);
	for (size_t i = 0; i < report->n; i++) {
		const struct policy_message *message = &report->messages[i];

		MUST(message->place.line >= 1 && message->place.line <= lines);
		MUST(message->place.column >= 1 && message->place.column <= len + 1);
		MUST(memchr(message->text, 0, sizeof(message->text)));
		MUST(message->text[0] && !strchr(message->text, '\n'));
	}
}

static void check_find(const struct policy *policy, const struct policy_table *table, const struct hf_addr *addr,
		       const struct policy_interval *expected)
{
	MUST(policy_table_find(table, addr) == expected);
	MUST(policy_explain(policy, table, addr, nowhere) == (expected ? 0 : -ENOENT));
	rewind(nowhere);
}

static struct hf_addr last_of(const struct hf_prefix *prefix)
{
	struct hf_addr last = prefix->addr;

	for (unsigned int bit = prefix->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	return last;
}

static void check_table(const struct policy *policy, const struct policy_table *table)
{
	for (size_t i = 0; i < table->n_intervals; i++) {
		const struct policy_interval *interval = &table->intervals[i];

		MUST(interval->tunnel < policy->n_tunnels);
		MUST(addr_cmp(&interval->range.first, &interval->range.last) <= 0);
		MUST(!i || addr_cmp(&table->intervals[i - 1].range.last, &interval->range.first) < 0);
		if (i < 8) {
			check_find(policy, table, &interval->range.first, interval);
			check_find(policy, table, &interval->range.last, interval);
		}
	}
	for (size_t i = 0; i < table->n_entries; i++) {
		const struct policy_entry *entry = &table->entries[i];
		const struct policy_interval *interval = policy_table_find(table, &entry->prefix.addr);
		struct hf_addr last = last_of(&entry->prefix);

		MUST(entry->prefix.len <= 128 && interval && interval->tunnel == entry->tunnel);
		MUST(addr_cmp(&last, &interval->range.last) <= 0);
		MUST(!i || addr_cmp(&table->entries[i - 1].prefix.addr, &entry->prefix.addr) < 0);
	}
}

static __u32 draw(void *context, __u32 bound)
{
	return (*(__u32 *)context)++ % bound;
}

static void check_policy(struct policy *policy)
{
	struct policy_table *table;
	__u32 drawn = 0;

	for (size_t i = 0; i < policy->n_tunnels; i++)
		MUST(policy->tunnels[i].target != POLICY_TARGET_CLUSTER ||
		     policy->tunnels[i].cluster < policy->n_clusters);
	for (size_t i = 0; i < policy->n_clusters; i++)
		MUST(policy->clusters[i].n_gateways >= 1 && policy->clusters[i].n_gateways <= POLICY_GATEWAYS_MAX);
	policy_shuffle(policy, draw, &drawn);
	MUST(policy_compile(policy, &table) == 0);
	check_table(policy, table);
	for (size_t i = 0; i < policy->interface.n_address; i++)
		policy_way_of(policy, table, &policy->interface.address[i], &policy->interface.address[i].addr);
	check_find(policy, table, &(struct hf_addr){ .b = { 0xff, 0xff } },
		   policy_table_find(table, &(struct hf_addr){ .b = { 0xff, 0xff } }));
	policy_table_free(table);
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	struct policy_report report = { 0 };
	struct policy *policy;
	int err = policy_parse((const char *)data, size, &report, &policy);

	check_report(&report, (const char *)data, size);
	MUST(err == 0 || err == -EINVAL);
	MUST((err == -EINVAL) == (report.errors > 0));
	if (!err) {
		check_policy(policy);
		policy_free(policy);
	}
	policy_report_clear(&report);
	return 0;
}
