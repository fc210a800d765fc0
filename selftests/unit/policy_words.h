/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For tests of the policy's language: a text becomes the model in words, which
 * a fixture can name; and the specification's example.
 */
#ifndef HF_SELFTESTS_POLICY_WORDS_H
#define HF_SELFTESTS_POLICY_WORDS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/policy.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The specification's figure 2. */
static const char words_figure_2[] = "[CLUSTER]\n"
				     "Cluster 1 = 200.0.0.252 200.0.0.253 200.0.0.254\n"
				     "\n"
				     "[TUNNEL]\n"
				     "Tunnel1 = 10.0.0.1 \xe2\x80\x93 10.0.0.3 Cluster 1\n";

static const char words_defaults[] =
	"beat 0 1000 5000 2, order 0, standby 1, connect 0, request 3000, rekey 3600000 274877906944 1073741824; "
	"port 7546, accept 1, encap 0;";

static inline void words_print_general(const struct policy *policy, FILE *out)
{
	const struct policy_general *g = &policy->general;

	fprintf(out, "beat %d %u %u %u, order %d, standby %u, connect %d, request %u, rekey %u %llu %llu; ", g->heartbeat, g->response_ms,
		g->defer_ms, g->tries, g->order, g->standby, g->connect, g->key_request_ms, g->rekey_ms,
		(unsigned long long)g->rekey_bytes, (unsigned long long)g->rekey_packets);
	fprintf(out, "port %u, accept %d, encap %d;", policy->interface.key_service_port, policy->interface.accept,
		policy->interface.encapsulation);
	if (policy->interface.key_service_workers)
		fprintf(out, " workers %u", policy->interface.key_service_workers);
}

static inline void words_print_rest(const struct policy *policy, FILE *out)
{
	const struct policy_identity *identity = &policy->identity;
	const char *const paths[] = { identity->certificate, identity->private_key, identity->trust_anchors,
				      identity->revocation_list };

	for (size_t i = 0; i < COUNT(paths); i++)
		if (paths[i])
			fprintf(out, " path%zu<%s>", i, paths[i]);
	for (size_t i = 0; i < policy->interface.n_underlay; i++)
		fprintf(out, " under %s", policy->interface.underlay[i]);
	for (size_t i = 0; i < policy->interface.n_protected; i++)
		fprintf(out, " protect %s", policy->interface.protected[i]);
	for (size_t i = 0; i < policy->interface.n_address; i++)
		fprintf(out, " addr %s", prefix_text(&policy->interface.address[i]).s);
}

static inline void words_print_range(const struct policy_range *range, FILE *out)
{
	fprintf(out, "%s-%s", addr_text(&range->first).s, addr_text(&range->last).s);
}

static inline void words_print_statements(const struct policy *policy, FILE *out)
{
	for (size_t i = 0; i < policy->n_clusters; i++) {
		fprintf(out, " <%s>", policy->clusters[i].name);
		for (size_t k = 0; k < policy->clusters[i].n_gateways; k++)
			fprintf(out, " %s", addr_text(&policy->clusters[i].gateways[k]).s);
	}
	for (size_t i = 0; i < policy->n_tunnels; i++) {
		const struct policy_tunnel *tunnel = &policy->tunnels[i];

		fprintf(out, " T%u ", tunnel->number);
		words_print_range(&tunnel->range, out);
		fprintf(out, " <%s>",
			tunnel->target == POLICY_TARGET_AUTO ? "AUTO" : policy->clusters[tunnel->cluster].name);
	}
	for (size_t i = 0; i < policy->n_redirects; i++)
		fprintf(out, " R%u %s <%s>", policy->redirects[i].number, addr_text(&policy->redirects[i].server).s,
			policy->clusters[policy->redirects[i].cluster].name);
	for (size_t i = 0; i < policy->n_peers; i++) {
		fprintf(out, " P%u ", policy->peers[i].number);
		words_print_range(&policy->peers[i].range, out);
		fprintf(out, " <%s>", policy->peers[i].name);
	}
}

/* The model in words (general ones only where they differ from the words_defaults), or "-". */
static inline char *words_parse(const char *text, size_t len, struct policy_report *report)
{
	struct policy *policy = NULL;
	char *words = NULL;
	char *general = NULL;
	size_t size;
	FILE *out;
	int err;

	/* An exact copy on the heap, so that a read beyond its end is seen by ASan. */
	char *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	err = policy_parse(copy, len, report, &policy);
	free(copy);
	assert_int_equal(err, report->errors ? -EINVAL : 0);
	if (err) {
		assert_null(policy);
		return strdup("-");
	}
	out = open_memstream(&general, &size);
	words_print_general(policy, out);
	fclose(out);
	out = open_memstream(&words, &size);
	if (strcmp(general, words_defaults))
		fprintf(out, " %s", general);
	words_print_rest(policy, out);
	words_print_statements(policy, out);
	fclose(out);
	free(general);
	policy_free(policy);
	return words;
}

#endif
