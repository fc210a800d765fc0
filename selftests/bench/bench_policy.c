// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a large policy costs: parsing and compiling 100,000 tunnels, beside the
 * floor of reading every byte of it once. The best of several rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "policy/policy.h"

enum { TUNNELS = 100000, ROUNDS = 5, LINE_MAX_LEN = 64 };

static char *text_make(size_t *ret_len)
{
	char *text = malloc(256 + (size_t)TUNNELS * LINE_MAX_LEN);
	size_t len;

	if (!text)
		return NULL;
	len = (size_t)sprintf(text, "[IDENTITY]\nCertificate = a\nPrivateKey = b\nTrustAnchors = c\n[CLUSTER]\n"
				    "Cluster 1 = 192.0.2.1 192.0.2.2\n[TUNNEL]\n");
	for (unsigned int i = 0; i < TUNNELS; i++) {
		__u32 first = (10u << 24) + i * 16;

		len += (size_t)sprintf(text + len, "Tunnel %u = %u.%u.%u.%u - %u.%u.%u.%u Cluster 1\n", i + 1, first >> 24,
				       first >> 16 & 255, first >> 8 & 255, first & 255, first >> 24, first >> 16 & 255,
				       first >> 8 & 255, (first & 255) + 9);
	}
	*ret_len = len;
	return text;
}

/* Nanoseconds, or 0 where it failed. */
static __u64 compile(const char *text, size_t len, size_t *ret_entries)
{
	struct policy_report report = { 0 };
	struct policy_table *table = NULL;
	struct policy *policy = NULL;
	__u64 start = clock_now_ns(), ns = 0;

	if (!policy_parse(text, len, &report, &policy) && !policy_compile(policy, &table)) {
		ns = clock_now_ns() - start;
		*ret_entries = table->n_entries;
	}
	policy_table_free(table);
	policy_free(policy);
	policy_report_clear(&report);
	return ns;
}

static __u64 read_once(const char *text, size_t len, unsigned int *sum)
{
	__u64 start = clock_now_ns();

	for (size_t i = 0; i < len; i++)
		*sum += (unsigned char)text[i] == '\n';
	return clock_now_ns() - start;
}

int main(void)
{
	__u64 best = ~0ull, floor_best = ~0ull;
	unsigned int lines = 0;
	size_t len, entries = 0;
	char *text = text_make(&len);

	for (int round = 0; text && round < ROUNDS; round++) {
		__u64 ns = compile(text, len, &entries), floor_ns = read_once(text, len, &lines);

		if (!ns) {
			fprintf(stderr, "bench_policy: the policy is refused\n");
			free(text);
			return 1;
		}
		best = ns < best ? ns : best;
		floor_best = floor_ns < floor_best ? floor_ns : floor_best;
	}
	printf("BENCH %-58s %7.0f ms  floor %5.1f ms  ratio %.1f\n", "policy: 100,000 tunnels parsed and compiled",
	       (double)best / 1e6, (double)floor_best / 1e6, (double)best / (double)floor_best);
	printf("      %zu entries from %u lines\n", entries, lines / ROUNDS);
	free(text);
	return entries ? 0 : 1;
}
