/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/statement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/model.h"
#include "policy/report.h"
#include "policy/value.h"

#define GATEWAY_EXPECTED "a gateway's address, like 200.0.0.254"

/*
 * Takes the number for this statement; a doubled one is an error, and its
 * statement is still read for the errors it has of its own.
 */
static int claim_number(struct draft *draft, struct index *index, const char *keyword, unsigned int number,
			struct policy_place place)
{
	struct hf_addr key = index_key_number(number);
	const size_t *line = index_find(index, &key);

	if (!line)
		return index_add(index, &key, place.line);
	report_error(draft->report, place, "%s%u is already defined in line %zu", keyword, number, *line);
	return 0;
}

/* Whether packets can be sent to addr as to a gateway. */
static int check_gateway(struct policy_report *report, const struct hf_addr *addr, struct policy_place place)
{
	static const struct {
		const char *what;
		struct hf_prefix prefix;
	} unusable[] = {
		{ "the unspecified address", { .addr.b = { [10] = 0xff, 0xff }, .len = 128 } },
		{ "the unspecified address", { .len = 128 } },
		{ "a multicast address", { .addr.b = { [10] = 0xff, 0xff, 224 }, .len = 100 } },
		{ "a multicast address", { .addr.b = { 0xff }, .len = 8 } },
		{ "the broadcast address", { .addr.b = { [10] = 0xff, 0xff, 255, 255, 255, 255 }, .len = 128 } },
		{ "a link-local address, which needs a zone", { .addr.b = { 0xfe, 0x80 }, .len = 10 } },
	};

	for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
		if (!prefix_contains(&unusable[i].prefix, addr))
			continue;
		report_error(report, place, "%s is %s; expected " GATEWAY_EXPECTED, addr_text(addr).s,
			     unusable[i].what);
		return -EINVAL;
	}
	return 0;
}

static int take_gateway(struct draft *draft, struct lex_line *line, struct hf_addr *ret_addr,
			struct policy_place *ret_place)
{
	int err = value_take_host(draft->report, line, GATEWAY_EXPECTED, ret_addr, ret_place);

	return err ? err : check_gateway(draft->report, ret_addr, *ret_place);
}

static int add_cluster(struct policy *policy, unsigned int number, struct policy_place place, size_t *ret_index)
{
	struct policy_cluster *clusters = model_grow(policy->clusters, policy->n_clusters, sizeof(*clusters));

	if (!clusters)
		return -ENOMEM;
	policy->clusters = clusters;
	*ret_index = policy->n_clusters++;
	clusters[*ret_index] = (struct policy_cluster){ .number = number, .place = place };
	return 0;
}

static int add_gateway(struct policy_cluster *cluster, const struct hf_addr *addr)
{
	struct hf_addr *gateways = model_grow(cluster->gateways, cluster->n_gateways, sizeof(*gateways));

	if (!gateways)
		return -ENOMEM;
	cluster->gateways = gateways;
	gateways[cluster->n_gateways++] = *addr;
	return 0;
}

/* One gateway of a Cluster statement. -E2BIG: the rest is not worth reading. */
static int take_member(struct draft *draft, struct lex_line *line, struct policy_cluster *cluster)
{
	struct policy_place place;
	struct hf_addr addr;
	int err;

	if (lex_take_dash(line)) {
		report_error(draft->report, lex_place(line, line->at),
			     "a cluster is a list of gateways separated by blanks; it cannot have a range");
		return -E2BIG;
	}
	err = take_gateway(draft, line, &addr, &place);
	if (err)
		return err;
	for (size_t i = 0; i < cluster->n_gateways; i++) {
		if (!addr_equal(&cluster->gateways[i], &addr))
			continue;
		report_error(draft->report, place, "gateway %s is in this cluster twice", addr_text(&addr).s);
		return -EINVAL;
	}
	if (cluster->n_gateways == POLICY_GATEWAYS_MAX) {
		report_error(draft->report, place, "a cluster has at most %d gateways", POLICY_GATEWAYS_MAX);
		return -E2BIG;
	}
	return add_gateway(cluster, &addr);
}

/* The index of clusters holds indices into the model rather than lines. */
static int claim_cluster(struct draft *draft, unsigned int number, struct policy_place place, size_t cluster)
{
	struct hf_addr key = index_key_number(number);
	const size_t *first = index_find(&draft->clusters, &key);

	if (!first)
		return index_add(&draft->clusters, &key, cluster);
	report_error(draft->report, place, "Cluster %u is already defined in line %u", number,
		     draft->policy->clusters[*first].place.line);
	return 0;
}

int statement_cluster(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place)
{
	struct policy_cluster *cluster;
	bool faulty = false;
	size_t index;
	int err;

	err = add_cluster(draft->policy, number, place, &index);
	if (!err)
		err = claim_cluster(draft, number, place, index);
	if (err)
		return err;
	cluster = &draft->policy->clusters[index];
	snprintf(cluster->name, sizeof(cluster->name), "Cluster %u", number);
	do {
		const char *before = line->at;

		err = take_member(draft, line, cluster);
		if (err == -ENOMEM)
			return err;
		if (err)
			faulty = true;
		/* Every fault is told, but one that takes no characters would be told for ever. */
		if (err == -E2BIG || line->at == before)
			break;
	} while (!lex_at_end(line));
	return faulty ? -EINVAL : 0;
}

/* The cluster of one that tunnels with this single address share. */
static int find_host_cluster(struct draft *draft, const struct hf_addr *addr, struct policy_place place,
			     size_t *ret_index)
{
	const size_t *known = index_find(&draft->hosts, addr);
	struct policy_cluster *cluster;
	int err;

	if (known) {
		*ret_index = *known;
		return 0;
	}
	err = add_cluster(draft->policy, 0, place, ret_index);
	if (err)
		return err;
	cluster = &draft->policy->clusters[*ret_index];
	snprintf(cluster->name, sizeof(cluster->name), "%s", addr_text(addr).s);
	err = add_gateway(cluster, addr);
	return err ? err : index_add(&draft->hosts, addr, *ret_index);
}

/* "Cluster n" or a single address; the place is where it stands. */
static int take_target(struct draft *draft, struct lex_line *line, struct draft_target *ret_target, size_t *ret_cluster)
{
	struct policy_place address_place;
	struct hf_addr addr;
	int err;

	lex_at_end(line); /* skips the blanks before the place */
	ret_target->place = lex_place(line, line->at);
	if (lex_take_keyword(line, "Cluster", true))
		return value_take_ordinal(draft->report, line, "Cluster", &ret_target->cluster);
	err = take_gateway(draft, line, &addr, &address_place);
	return err ? err : find_host_cluster(draft, &addr, address_place, ret_cluster);
}

static int add_tunnel(struct draft *draft, const struct policy_tunnel *tunnel, const struct draft_target *target)
{
	struct policy *policy = draft->policy;
	struct policy_tunnel *tunnels = model_grow(policy->tunnels, policy->n_tunnels, sizeof(*tunnels));
	struct draft_target *targets;

	if (!tunnels)
		return -ENOMEM;
	policy->tunnels = tunnels;
	targets = model_grow(draft->tunnel_targets, policy->n_tunnels, sizeof(*targets));
	if (!targets)
		return -ENOMEM;
	draft->tunnel_targets = targets;
	targets[policy->n_tunnels] = *target;
	tunnels[policy->n_tunnels++] = *tunnel;
	return 0;
}

int statement_tunnel(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place)
{
	struct policy_tunnel tunnel = { .number = number, .place = place };
	struct draft_target target = { .cluster = 0 };
	int err;

	err = claim_number(draft, &draft->tunnels, "Tunnel", number, place);
	if (!err)
		err = value_take_range(draft->report, line, &tunnel.range);
	if (err)
		return err;
	if (lex_at_end(line)) {
		report_error(draft->report, lex_place(line, line->at),
			     "expected where the tunnel leads: a gateway's address, Cluster <n> or AUTO");
		return -EINVAL;
	}
	target.place = lex_place(line, line->at);
	if (lex_take_keyword(line, "AUTO", false))
		tunnel.target = POLICY_TARGET_AUTO;
	else
		err = take_target(draft, line, &target, &tunnel.cluster);
	return err ? err : add_tunnel(draft, &tunnel, &target);
}

static int add_redirect(struct draft *draft, const struct policy_redirect *redirect, const struct draft_target *target)
{
	struct policy *policy = draft->policy;
	struct policy_redirect *redirects = model_grow(policy->redirects, policy->n_redirects, sizeof(*redirects));
	struct draft_target *targets;

	if (!redirects)
		return -ENOMEM;
	policy->redirects = redirects;
	targets = model_grow(draft->redirect_targets, policy->n_redirects, sizeof(*targets));
	if (!targets)
		return -ENOMEM;
	draft->redirect_targets = targets;
	targets[policy->n_redirects] = *target;
	redirects[policy->n_redirects++] = *redirect;
	return 0;
}

int statement_redirect(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place)
{
	struct policy_redirect redirect = { .number = number, .place = place };
	struct draft_target target = { .cluster = 0 };
	struct policy_place server_place;
	int err;

	err = claim_number(draft, &draft->redirects, "Redirect Tunnel", number, place);
	if (!err)
		err = value_take_host(draft->report, line, "the address of a server that AUTO detects",
				      &redirect.server, &server_place);
	if (err)
		return err;
	if (lex_at_end(line)) {
		report_error(draft->report, lex_place(line, line->at),
			     "expected where the server is redirected to: a gateway's address or Cluster <n>");
		return -EINVAL;
	}
	err = take_target(draft, line, &target, &redirect.cluster);
	return err ? err : add_redirect(draft, &redirect, &target);
}

static int check_name(struct policy_report *report, const struct lex_token *name)
{
	size_t sequence;

	if (name->len >= POLICY_NAME_MAX) {
		report_error(report, name->place, "the certificate's name is too long: %zu bytes, at most %d",
			     name->len, POLICY_NAME_MAX - 1);
		return -EINVAL;
	}
	for (size_t i = 0; i < name->len; i += sequence) {
		sequence = utf8_sequence(name->s + i, name->len - i);
		if (!sequence) {
			report_error(report, name->place, "the certificate's name %s is not UTF-8",
				     quote(name->s, name->len).s);
			return -EINVAL;
		}
	}
	return 0;
}

static int add_peer(struct policy *policy, const struct policy_peer *peer)
{
	struct policy_peer *peers = model_grow(policy->peers, policy->n_peers, sizeof(*peers));

	if (!peers)
		return -ENOMEM;
	policy->peers = peers;
	peers[policy->n_peers++] = *peer;
	return 0;
}

int statement_peer(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place)
{
	struct policy_peer peer = { .number = number, .place = place };
	struct lex_token name;
	int err;

	err = claim_number(draft, &draft->peers, "Peer", number, place);
	if (!err)
		err = value_take_range(draft->report, line, &peer.range);
	if (!err)
		err = value_take_text(draft->report, line, "the name in the peer's certificate (its common name)",
				      &name);
	if (!err)
		err = check_name(draft->report, &name);
	if (err)
		return err;
	if (draft->policy->n_peers == POLICY_PEERS_MAX) {
		report_error(draft->report, place, "a policy has at most %d Peer statements", POLICY_PEERS_MAX);
		return -EINVAL;
	}
	memcpy(peer.name, name.s, name.len);
	return add_peer(draft->policy, &peer);
}
