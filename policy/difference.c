/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/difference.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "policy/model.h"
#include "policy/wide.h"

/* Clusters, by name: one sorted list of each policy, walked side by side. */

struct named {
	const struct policy_cluster *cluster;
	size_t index;
};

static int cmp_named(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->cluster->name, ((const struct named *)b)->cluster->name);
}

static struct named *by_name(const struct policy *policy)
{
	struct named *list = calloc(policy->n_clusters + 1, sizeof(*list));

	for (size_t i = 0; list && i < policy->n_clusters; i++)
		list[i] = (struct named){ &policy->clusters[i], i };
	if (list)
		qsort(list, policy->n_clusters, sizeof(*list), cmp_named);
	return list;
}

/* from[i] of the new clusters; POLICY_NEW where there was none of the name. */
static int match_clusters(const struct policy *old, const struct policy *new, size_t *from)
{
	struct named *olds = by_name(old), *news = by_name(new);
	size_t o = 0;

	if (olds && news) {
		for (size_t n = 0; n < new->n_clusters; n++) {
			while (o < old->n_clusters && cmp_named(&olds[o], &news[n]) < 0)
				o++;
			from[news[n].index] = o < old->n_clusters && !cmp_named(&olds[o], &news[n]) ? olds[o].index :
												      POLICY_NEW;
		}
	}
	free(olds);
	free(news);
	return olds && news ? 0 : -ENOMEM;
}

static bool same_gateways(const struct policy_cluster *a, const struct policy_cluster *b)
{
	return a->n_gateways == b->n_gateways && !memcmp(a->gateways, b->gateways, a->n_gateways * sizeof(*a->gateways));
}

static void count_clusters(const struct policy *old, const struct policy *new, struct policy_difference *ret)
{
	size_t kept = 0;

	for (size_t i = 0; i < new->n_clusters; i++) {
		if (ret->from[i] == POLICY_NEW) {
			ret->clusters.added++;
			continue;
		}
		kept++;
		ret->clusters.changed += !same_gateways(&old->clusters[ret->from[i]], &new->clusters[i]);
	}
	ret->clusters.removed = old->n_clusters - kept;
}

/* Tunnels, by number, for people; by entry, for the machine. */

static int cmp_number(const void *a, const void *b)
{
	const struct policy_tunnel *x = *(const struct policy_tunnel *const *)a;
	const struct policy_tunnel *y = *(const struct policy_tunnel *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

static const struct policy_tunnel **by_number(const struct policy *policy)
{
	const struct policy_tunnel **list = calloc(policy->n_tunnels + 1, sizeof(*list));

	for (size_t i = 0; list && i < policy->n_tunnels; i++)
		list[i] = &policy->tunnels[i];
	if (list)
		qsort(list, policy->n_tunnels, sizeof(*list), cmp_number);
	return list;
}

/* Whether they lead to the same place; from says which clusters are. */
static bool same_target(const struct policy_tunnel *old, const struct policy_tunnel *new, const size_t *from)
{
	return old->target == new->target &&
	       (new->target != POLICY_TARGET_CLUSTER || from[new->cluster] == old->cluster);
}

static bool same_range(const struct policy_range *a, const struct policy_range *b)
{
	return addr_equal(&a->first, &b->first) && addr_equal(&a->last, &b->last);
}

static int count_tunnels(const struct policy *old, const struct policy *new, struct policy_difference *ret)
{
	const struct policy_tunnel **olds = by_number(old), **news = by_number(new);
	size_t o = 0, n = 0;

	while (olds && news && (o < old->n_tunnels || n < new->n_tunnels)) {
		int order = o == old->n_tunnels ? 1 : n == new->n_tunnels ? -1 : cmp_number(&olds[o], &news[n]);

		ret->tunnels.removed += order < 0;
		ret->tunnels.added += order > 0;
		ret->tunnels.changed += !order && (!same_range(&olds[o]->range, &news[n]->range) ||
						   !same_target(olds[o], news[n], ret->from));
		o += order <= 0;
		n += order >= 0;
	}
	free(olds);
	free(news);
	return olds && news ? 0 : -ENOMEM;
}

/* Entries of one table are disjoint and ascending: an address begins one of them at the most. */
static int cmp_prefix(const struct hf_prefix *a, const struct hf_prefix *b)
{
	int order = addr_cmp(&a->addr, &b->addr);

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_entries(const struct policy *old, const struct policy_table *old_table, const struct policy *new,
			   const struct policy_table *new_table, struct policy_difference *ret)
{
	size_t o = 0, n = 0;

	ret->written = calloc(new_table->n_entries + 1, sizeof(*ret->written));
	ret->gone = calloc(old_table->n_entries + 1, sizeof(*ret->gone));
	if (!ret->written || !ret->gone)
		return -ENOMEM;
	while (o < old_table->n_entries || n < new_table->n_entries) {
		const struct policy_entry *was = o < old_table->n_entries ? &old_table->entries[o] : NULL;
		const struct policy_entry *is = n < new_table->n_entries ? &new_table->entries[n] : NULL;
		int order = !was ? 1 : !is ? -1 : cmp_prefix(&was->prefix, &is->prefix);

		if (order < 0)
			ret->gone[ret->n_gone++] = was->prefix;
		else if (order > 0 || !same_target(&old->tunnels[was->tunnel], &new->tunnels[is->tunnel], ret->from) ||
			 old->tunnels[was->tunnel].number != new->tunnels[is->tunnel].number)
			ret->written[ret->n_written++] = *is;
		o += order <= 0;
		n += order >= 0;
	}
	return 0;
}

/*
 * How many ranges, each as long as it goes, the old policy tunnels and the new one does not. By addresses, since an entry
 * that is gone may only have been cut or joined otherwise.
 */
static size_t count_opened(const struct policy_table *old, const struct policy_table *new)
{
	const struct policy_interval *is = new->intervals, *end = is + new->n_intervals;
	unsigned __int128 behind = 0; /* the range counted last */
	size_t count = 0;

	for (size_t o = 0; o < old->n_intervals; o++) {
		unsigned __int128 at = wide_from_addr(&old->intervals[o].range.first);
		unsigned __int128 last = wide_from_addr(&old->intervals[o].range.last);

		for (bool whole = false; !whole;) {
			unsigned __int128 to = last;

			while (is < end && wide_from_addr(&is->range.last) < at)
				is++;
			if (is < end && wide_from_addr(&is->range.first) <= at) {
				to = wide_from_addr(&is->range.last);
			} else {
				if (is < end && wide_from_addr(&is->range.first) <= last)
					to = wide_from_addr(&is->range.first) - 1;
				count += !count || at != behind;
				behind = to + 1;
			}
			whole = to >= last;
			at = to + 1;
		}
	}
	return count;
}

/* The rest. */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_names(char (*a)[POLICY_IFACE_MAX], size_t n_a, char (*b)[POLICY_IFACE_MAX], size_t n_b)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * sizeof(*a)));
}

static bool same_addresses(const struct policy_interface *a, const struct policy_interface *b)
{
	bool same = a->n_address == b->n_address;

	for (size_t i = 0; same && i < a->n_address; i++)
		same = !cmp_prefix(&a->address[i], &b->address[i]);
	return same;
}

/* Sockets, limits and accounts are counted by the workers. */
static const char *find_refused(const struct policy *old, const struct policy *new)
{
	return old->interface.key_service_workers == new->interface.key_service_workers ? NULL : "[INTERFACE] KeyServiceWorkers";
}

static bool same_general(const struct policy_general *a, const struct policy_general *b)
{
	return a->heartbeat == b->heartbeat && a->response_ms == b->response_ms && a->defer_ms == b->defer_ms &&
	       a->tries == b->tries && a->order == b->order && a->standby == b->standby && a->connect == b->connect &&
	       a->key_request_ms == b->key_request_ms && a->rekey_ms == b->rekey_ms && a->rekey_bytes == b->rekey_bytes &&
	       a->rekey_packets == b->rekey_packets;
}

static bool same_peers(const struct policy *old, const struct policy *new)
{
	bool same = old->n_peers == new->n_peers;

	for (size_t i = 0; same && i < old->n_peers; i++)
		same = same_range(&old->peers[i].range, &new->peers[i].range) &&
		       !strcmp(old->peers[i].name, new->peers[i].name);
	return same;
}

static bool same_redirects(const struct policy *old, const struct policy *new, const size_t *from)
{
	bool same = old->n_redirects == new->n_redirects;

	for (size_t i = 0; same && i < old->n_redirects; i++)
		same = addr_equal(&old->redirects[i].server, &new->redirects[i].server) &&
		       from[new->redirects[i].cluster] == old->redirects[i].cluster;
	return same;
}

static bool same_identity(const struct policy_identity *a, const struct policy_identity *b)
{
	return same_text(a->certificate, b->certificate) && same_text(a->private_key, b->private_key) &&
	       same_text(a->trust_anchors, b->trust_anchors) && same_text(a->revocation_list, b->revocation_list);
}

int policy_compare(const struct policy *old, const struct policy_table *old_table, const struct policy *new,
		   const struct policy_table *new_table, struct policy_difference *ret_difference)
{
	struct policy_difference difference = { .refused = find_refused(old, new) };
	int err = -ENOMEM;

	difference.from = calloc(new->n_clusters + 1, sizeof(*difference.from));
	if (difference.from)
		err = match_clusters(old, new, difference.from);
	if (!err)
		err = count_tunnels(old, new, &difference);
	if (!err)
		err = compare_entries(old, old_table, new, new_table, &difference);
	if (err) {
		policy_difference_clear(&difference);
		return err;
	}
	count_clusters(old, new, &difference);
	difference.n_opened = count_opened(old_table, new_table);
	difference.general = !same_general(&old->general, &new->general);
	difference.peers = !same_peers(old, new);
	difference.redirects = !same_redirects(old, new, difference.from);
	difference.accept = old->interface.accept != new->interface.accept;
	difference.encapsulation = old->interface.encapsulation != new->interface.encapsulation;
	difference.underlay = !same_names(old->interface.underlay, old->interface.n_underlay, new->interface.underlay,
					  new->interface.n_underlay);
	difference.protected = !same_names(old->interface.protected, old->interface.n_protected, new->interface.protected,
					   new->interface.n_protected);
	difference.port = old->interface.key_service_port != new->interface.key_service_port;
	difference.address = !same_addresses(&old->interface, &new->interface);
	difference.identity = !same_identity(&old->identity, &new->identity);
	*ret_difference = difference;
	return 0;
}

void policy_difference_clear(struct policy_difference *difference)
{
	free(difference->from);
	free(difference->written);
	free(difference->gone);
	memset(difference, 0, sizeof(*difference));
}

static int cmp_addr(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

static bool same_set(const struct policy_cluster *a, const struct policy_cluster *b)
{
	struct hf_addr x[POLICY_GATEWAYS_MAX], y[POLICY_GATEWAYS_MAX];

	if (a->n_gateways != b->n_gateways)
		return false;
	memcpy(x, a->gateways, a->n_gateways * sizeof(*x));
	memcpy(y, b->gateways, b->n_gateways * sizeof(*y));
	qsort(x, a->n_gateways, sizeof(*x), cmp_addr);
	qsort(y, b->n_gateways, sizeof(*y), cmp_addr);
	return !memcmp(x, y, a->n_gateways * sizeof(*x));
}

int policy_keep_order(const struct policy *old, struct policy *new)
{
	size_t *from;
	int err;

	if (old->general.order != POLICY_ORDER_RANDOM || new->general.order != POLICY_ORDER_RANDOM)
		return 0;
	from = calloc(new->n_clusters + 1, sizeof(*from));
	err = from ? match_clusters(old, new, from) : -ENOMEM;
	for (size_t i = 0; !err && i < new->n_clusters; i++) {
		struct policy_cluster *cluster = &new->clusters[i];

		if (from[i] != POLICY_NEW && same_set(&old->clusters[from[i]], cluster))
			memcpy(cluster->gateways, old->clusters[from[i]].gateways,
			       cluster->n_gateways * sizeof(*cluster->gateways));
	}
	free(from);
	return err;
}

/* In words. */

__attribute__((format(printf, 3, 4))) static void say(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	if (used && used + 3 < size)
		used += (size_t)snprintf(text + used, size - used, ", ");
	va_start(args, format);
	vsnprintf(text + used, size - used, format, args);
	va_end(args);
}

static void say_counts(char *text, size_t size, const char *noun, const struct policy_counts *counts)
{
	const struct {
		size_t n;
		const char *verb;
	} parts[] = { { counts->added, "added" }, { counts->removed, "removed" }, { counts->changed, "changed" } };

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (parts[i].n)
			say(text, size, "%zu %s%s %s", parts[i].n, noun, parts[i].n == 1 ? "" : "s", parts[i].verb);
}

void policy_difference_text(const struct policy_difference *difference, char *text, size_t size)
{
	const struct {
		bool changed;
		const char *what;
	} rest[] = {
		{ difference->general, "[GENERAL]" },
		{ difference->identity, "[IDENTITY]" },
		{ difference->peers, "[PEER]" },
		{ difference->redirects, "Redirect Tunnel" },
		{ difference->underlay, "Underlay" },
		{ difference->protected, "Protected" },
		{ difference->address, "Address" },
		{ difference->port, "KeyServicePort" },
		{ difference->accept, "Accept" },
		{ difference->encapsulation, "Encapsulation" },
	};

	*text = '\0';
	say_counts(text, size, "cluster", &difference->clusters);
	say_counts(text, size, "tunnel", &difference->tunnels);
	if (difference->n_opened)
		say(text, size, "%zu range%s in clear from now on", difference->n_opened,
		    difference->n_opened == 1 ? " goes" : "s go");
	for (size_t i = 0; i < sizeof(rest) / sizeof(*rest); i++)
		if (rest[i].changed)
			say(text, size, "%s changed", rest[i].what);
	if (!*text)
		say(text, size, "nothing changed");
}
