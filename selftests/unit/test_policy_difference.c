/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From one policy to another: what is said of it, what is to be written and removed, and that it leads there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/difference.h"

struct parsed {
	struct policy *policy;
	struct policy_table *table;
};

static struct parsed parse(const char *text)
{
	struct policy_report report = { 0 };
	struct parsed parsed;

	if (policy_parse(text, strlen(text), &report, &parsed.policy))
		fail_msg("%s: %s", text, report.n ? report.messages[0].text : "?");
	policy_report_clear(&report);
	assert_int_equal(policy_compile(parsed.policy, &parsed.table), 0);
	return parsed;
}

static void parsed_free(struct parsed *parsed)
{
	policy_table_free(parsed->table);
	policy_free(parsed->policy);
}

#define BASE                                                                                                       \
	"[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.2\nCluster 2 = 200.0.0.3\n"                                      \
	"[TUNNEL]\nTunnel 1 = 10.0.0.0/24 Cluster 1\nTunnel 2 = 10.0.1.0/24 Cluster 2\nTunnel 3 = 10.9.9.9 200.0.0.9\n"

/* What is said, then the prefixes written (+) with the tunnel's number and those gone (-), then the clusters' old indices. */
static const struct {
	const char *what, *old, *new, *expected;
} cases[] = {
	{ "itself", BASE, BASE, "nothing changed; from 0 1 2" },
	{ "written otherwise", BASE,
	  "[tunnel]\ntunnel3 = 10.9.9.9 200.0.0.9\n[CLUSTER]\nCluster2 = 200.0.0.3 ; no change\nCluster 1 = 200.0.0.1 200.0.0.2\n"
	  "[TUNNEL]\nTunnel 2 = 10.0.1.0 - 10.0.1.255 Cluster 2\nTunnel 1 = 10.0.0.0/24 Cluster 1\n",
	  "nothing changed; from 2 1 0" },
	{ "a tunnel more, of a cluster that is there", BASE, BASE "Tunnel 4 = 10.5.0.0/16 Cluster 1\n",
	  "1 tunnel added; +10.5.0.0/16 (4); from 0 1 2" },
	{ "a tunnel and its gateway more", BASE, BASE "Tunnel 4 = 10.5.0.0/16 200.0.0.7\n",
	  "1 cluster added, 1 tunnel added; +10.5.0.0/16 (4); from 0 1 2 new" },
	{ "the reverse", BASE "Tunnel 4 = 10.5.0.0/16 200.0.0.7\n", BASE,
	  "1 cluster removed, 1 tunnel removed, 1 range goes in clear from now on; -10.5.0.0/16; from 0 1 2" },
	{ "another gateway in a cluster", BASE,
	  "[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.8\nCluster 2 = 200.0.0.3\n"
	  "[TUNNEL]\nTunnel 1 = 10.0.0.0/24 Cluster 1\nTunnel 2 = 10.0.1.0/24 Cluster 2\nTunnel 3 = 10.9.9.9 200.0.0.9\n",
	  "1 cluster changed; from 0 1 2" },
	{ "tunnels change places", BASE,
	  "[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.2\nCluster 2 = 200.0.0.3\n"
	  "[TUNNEL]\nTunnel 1 = 10.0.0.0/24 Cluster 2\nTunnel 2 = 10.0.1.0/24 Cluster 1\nTunnel 3 = 10.9.9.9 200.0.0.9\n",
	  "2 tunnels changed; +10.0.0.0/24 (1) +10.0.1.0/24 (2); from 0 1 2" },
	{ "a narrower one cuts a wider one", BASE, BASE "Tunnel 4 = 10.0.0.128/25 200.0.0.9\n",
	  "1 tunnel added; +10.0.0.0/25 (1) +10.0.0.128/25 (4) -10.0.0.0/24; from 0 1 2" },
	{ "one range for two", BASE,
	  "[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.2\nCluster 2 = 200.0.0.3\n"
	  "[TUNNEL]\nTunnel 1 = 10.0.0.0/23 Cluster 1\nTunnel 3 = 10.9.9.9 200.0.0.9\nTunnel 4 = 10.7.0.0/16 Cluster 2\n",
	  "1 tunnel added, 1 tunnel removed, 1 tunnel changed; +10.0.0.0/23 (1) +10.7.0.0/16 (4) -10.0.0.0/24 -10.0.1.0/24; "
	  "from 0 1 2" },
	{ "holes in the middle", "[TUNNEL]\nTunnel 1 = 10.0.0.0/24 200.0.0.9\n",
	  "[TUNNEL]\nTunnel 1 = 10.0.0.0/26 200.0.0.9\nTunnel 2 = 10.0.0.96/27 200.0.0.9\n",
	  "1 tunnel added, 1 tunnel changed, 2 ranges go in clear from now on; +10.0.0.0/26 (1) +10.0.0.96/27 (2) -10.0.0.0/24; "
	  "from 0" },
	{ "up to the last address there is", "[TUNNEL]\nTunnel 1 = ff00::/8 200.0.0.9\n", "[TUNNEL]\nTunnel 1 = ff00::/9 200.0.0.9\n",
	  "1 tunnel changed, 1 range goes in clear from now on; +ff00::/9 (1) -ff00::/8; from 0" },
	{ "a cluster with another number is another one", "[CLUSTER]\nCluster 1 = 200.0.0.1\n[TUNNEL]\nTunnel 1 = 10.0.0.1 Cluster 1\n",
	  "[CLUSTER]\nCluster 2 = 200.0.0.1\n[TUNNEL]\nTunnel 1 = 10.0.0.1 Cluster 2\n",
	  "1 cluster added, 1 cluster removed, 1 tunnel changed; +10.0.0.1 (1); from new" },
	{ "all the rest", BASE "[INTERFACE]\nAccept = YES\n[PEER]\nPeer1 = 10.7.0.0/16 x\n",
	  BASE "[INTERFACE]\nAccept = NO\nEncapsulation = UDP\n[PEER]\nPeer1 = 10.7.0.0/16 y\n[GENERAL]\nRekeyTime = 60\n"
	       "[IDENTITY]\nCertificate = c\nPrivateKey = k\nTrustAnchors = t\n",
	  "[GENERAL] changed, [IDENTITY] changed, [PEER] changed, Accept changed, Encapsulation changed; from 0 1 2" },
	{ "redirects", BASE "Tunnel 4 = 10.8.0.0/16 AUTO\nRedirect Tunnel 1 = 1.1.1.1 Cluster 1\n",
	  BASE "Tunnel 4 = 10.8.0.0/16 AUTO\nRedirect Tunnel 1 = 1.1.1.1 Cluster 2\n", "Redirect Tunnel changed; from 0 1 2" },
	{ "an underlay", BASE "[INTERFACE]\nUnderlay = a\n", BASE "[INTERFACE]\nUnderlay = a b\n",
	  "Underlay changed; from 0 1 2" },
	{ "a protected network", BASE, BASE "[INTERFACE]\nProtected = a\n", "Protected changed; from 0 1 2" },
	{ "an address", BASE "[INTERFACE]\nAddress = 10.1.0.0/24\n", BASE "[INTERFACE]\nAddress = 10.1.0.0/25\n",
	  "Address changed; from 0 1 2" },
	{ "the workers", BASE, BASE "[INTERFACE]\nKeyServiceWorkers = 3\n", "refused [INTERFACE] KeyServiceWorkers" },
	{ "the port", BASE, BASE "[INTERFACE]\nKeyServicePort = 7547\n", "KeyServicePort changed; from 0 1 2" },
	{ "AUTO", BASE, BASE "Tunnel 4 = 10.8.0.0/16 AUTO\n", "1 tunnel added; +10.8.0.0/16 (4); from 0 1 2" },
	{ "nothing left", BASE, "[GENERAL]\n",
	  "3 clusters removed, 3 tunnels removed, 2 ranges go in clear from now on; -10.0.0.0/24 -10.0.1.0/24 -10.9.9.9; from" },
};

static void print_difference(const struct policy_difference *difference, const struct parsed *new, FILE *out)
{
	char text[256];

	if (difference->refused) {
		fprintf(out, "refused %s", difference->refused);
		return;
	}
	policy_difference_text(difference, text, sizeof(text));
	fputs(text, out);
	if (difference->n_written + difference->n_gone)
		fputc(';', out);
	for (size_t i = 0; i < difference->n_written; i++)
		fprintf(out, " +%s (%u)", prefix_text(&difference->written[i].prefix).s,
			new->policy->tunnels[difference->written[i].tunnel].number);
	for (size_t i = 0; i < difference->n_gone; i++)
		fprintf(out, " -%s", prefix_text(&difference->gone[i]).s);
	fputs("; from", out);
	for (size_t i = 0; i < new->policy->n_clusters; i++)
		if (difference->from[i] == POLICY_NEW)
			fputs(" new", out);
		else
			fprintf(out, " %zu", difference->from[i]);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct parsed old = parse(cases[i].old), new = parse(cases[i].new);
		struct policy_difference difference;
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		assert_int_equal(policy_compare(old.policy, old.table, new.policy, new.table, &difference), 0);
		print_difference(&difference, &new, out);
		fclose(out);
		if (strcmp(text, cases[i].expected))
			fail_msg("%s:\n%s, not\n%s", cases[i].what, text, cases[i].expected);
		free(text);
		policy_difference_clear(&difference);
		parsed_free(&old);
		parsed_free(&new);
	}
}

/* A look-up as the datapath does it: the longest prefix of those that are there. */
struct map {
	struct policy_entry entries[4096];
	size_t n;
};

static void map_set(struct map *map, const struct policy_entry *entry)
{
	size_t i = 0;

	while (i < map->n && (map->entries[i].prefix.len != entry->prefix.len ||
			      !addr_equal(&map->entries[i].prefix.addr, &entry->prefix.addr)))
		i++;
	assert_true(i < sizeof(map->entries) / sizeof(*map->entries));
	map->n += i == map->n;
	map->entries[i] = *entry;
}

static void map_delete(struct map *map, const struct hf_prefix *prefix)
{
	for (size_t i = 0; i < map->n; i++)
		if (map->entries[i].prefix.len == prefix->len && addr_equal(&map->entries[i].prefix.addr, &prefix->addr)) {
			map->entries[i] = map->entries[--map->n];
			return;
		}
	fail_msg("removes %s, which is not there", prefix_text(prefix).s);
}

/* A cluster's name, of whichever policy; "": not tunnelled. */
static const char *map_find(const struct map *map, const char *(*name)(size_t tunnel, void *context), void *context,
			    const struct hf_addr *addr)
{
	const struct policy_entry *best = NULL;

	for (size_t i = 0; i < map->n; i++)
		if (prefix_contains(&map->entries[i].prefix, addr) &&
		    (!best || map->entries[i].prefix.len > best->prefix.len))
			best = &map->entries[i];
	return best ? name(best->tunnel, context) : "";
}

/* Entries of the old policy keep its tunnels; those written have OFFSET added. */
#define OFFSET 1000

struct names {
	const struct policy *old, *new;
};

static const char *name_of(size_t tunnel, void *context)
{
	const struct names *names = context;
	const struct policy *policy = tunnel < OFFSET ? names->old : names->new;

	return policy->clusters[policy->tunnels[tunnel % OFFSET].cluster].name;
}

static char *random_policy(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int n = rand() % 8;

	fprintf(out, "[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.2\nCluster 2 = 200.0.0.%d\n[TUNNEL]\n", 3 + rand() % 2);
	for (int i = 0; i < n; i++) {
		int first = rand() % 64, last = first + rand() % (64 - first);

		if (rand() % 2)
			fprintf(out, "Tunnel %d = 10.0.0.%d - 10.0.0.%d Cluster %d\n", i + 1, first, last, 1 + rand() % 2);
		else
			fprintf(out, "Tunnel %d = 10.0.0.%d - 10.0.0.%d 200.0.0.%d\n", i + 1, first, last, 9 + rand() % 3);
	}
	fclose(out);
	return text;
}

static struct hf_addr host(unsigned int i)
{
	return (struct hf_addr){ .b = { [10] = 0xff, 0xff, 10, 0, 0, (__u8)i } };
}

/* How many runs of addresses the old policy tunnels and the new one does not. */
static size_t runs_opened(const struct parsed *old, const struct parsed *new)
{
	bool before = false;
	size_t n = 0;

	for (unsigned int a = 0; a < 64; a++) {
		struct hf_addr addr = host(a);
		bool opened = policy_table_find(old->table, &addr) && !policy_table_find(new->table, &addr);

		n += opened && !before;
		before = opened;
	}
	return n;
}

/*
 * Written first, then removed: at the end the look-ups are the new policy's, and at no moment between is there an address
 * which that one tunnels and nothing leads anywhere.
 */
static void test_leads_there(void **state)
{
	static struct map map;

	(void)state;
	srand(1);
	for (int round = 0; round < 3000; round++) {
		char *before = random_policy(), *after = random_policy();
		struct parsed old = parse(before), new = parse(after);
		struct names names = { old.policy, new.policy };
		struct policy_difference difference;

		assert_int_equal(policy_compare(old.policy, old.table, new.policy, new.table, &difference), 0);
		assert_int_equal(difference.n_opened, runs_opened(&old, &new));
		map.n = 0;
		for (size_t i = 0; i < old.table->n_entries; i++)
			map_set(&map, &old.table->entries[i]);
		for (size_t i = 0; i < difference.n_written; i++) {
			struct policy_entry entry = difference.written[i];

			entry.tunnel += OFFSET;
			map_set(&map, &entry);
		}
		for (size_t i = 0; i <= difference.n_gone; i++) {
			for (unsigned int a = 0; a < 64; a++) {
				struct hf_addr addr = host(a);
				const struct policy_interval *is = policy_table_find(new.table, &addr);
				const char *found = map_find(&map, name_of, &names, &addr);

				if (is && (i == difference.n_gone ? strcmp(found, name_of(is->tunnel + OFFSET, &names)) : !*found))
					fail_msg("from\n%sto\n%s%s leads to \"%s\" after %zu removals", before, after,
						 addr_text(&addr).s, found, i);
				if (!is && i == difference.n_gone && *found)
					fail_msg("from\n%sto\n%s%s is left over", before, after, addr_text(&addr).s);
			}
			if (i < difference.n_gone)
				map_delete(&map, &difference.gone[i]);
		}
		policy_difference_clear(&difference);
		parsed_free(&old);
		parsed_free(&new);
		free(before);
		free(after);
	}
}

static void test_keeps_order(void **state)
{
	struct parsed old = parse("[CLUSTER]\nCluster 1 = 200.0.0.3 200.0.0.1 200.0.0.2\nCluster 2 = 200.0.0.5 200.0.0.4\n");
	struct parsed new = parse("[CLUSTER]\nCluster 2 = 200.0.0.4 200.0.0.5 200.0.0.6\nCluster 1 = 200.0.0.1 200.0.0.2 200.0.0.3\n");
	struct parsed fixed = parse("[GENERAL]\nClusterOrder = FIXED\n[CLUSTER]\nCluster 1 = 200.0.0.1 200.0.0.2 200.0.0.3\n");

	(void)state;
	assert_int_equal(policy_keep_order(old.policy, new.policy), 0);
	assert_memory_equal(new.policy->clusters[1].gateways, old.policy->clusters[0].gateways, 3 * sizeof(struct hf_addr));
	/* With another set of gateways the order is the new one's; and so it is where the user has said it. */
	assert_string_equal(addr_text(&new.policy->clusters[0].gateways[0]).s, "200.0.0.4");
	assert_int_equal(policy_keep_order(old.policy, fixed.policy), 0);
	assert_string_equal(addr_text(&fixed.policy->clusters[0].gateways[0]).s, "200.0.0.1");
	parsed_free(&old);
	parsed_free(&new);
	parsed_free(&fixed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_leads_there),
		cmocka_unit_test(test_keeps_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
