/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

/* One route of ours, as it takes to add or delete it. */
struct entry {
	struct hf_prefix prefix;
	__u32 table;
	__u32 metric;
	int index; /* 0: unreachable */
	const struct hf_addr *source;
};

/* index and source are for the making; a deletion goes by the rest. */
static void build(struct netlink_request *request, __u16 type, __u16 flags, const struct entry *entry)
{
	struct rtmsg *head = netlink_request(request, type, flags, sizeof(*head));

	head->rtm_dst_len = netlink_prefix_len(&entry->prefix);
	head->rtm_protocol = NETLINK_HF_PROTOCOL;
	head->rtm_type = entry->index ? RTN_UNICAST : RTN_UNREACHABLE;
	head->rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : entry->index ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	head->rtm_table = RT_TABLE_UNSPEC;
	head->rtm_family = (__u8)netlink_put_addr(request, RTA_DST, &entry->prefix.addr);
	mnl_attr_put_u32(&request->head, RTA_TABLE, entry->table);
	mnl_attr_put_u32(&request->head, RTA_PRIORITY, entry->metric);
	if (type != RTM_NEWROUTE)
		return;
	if (entry->index)
		mnl_attr_put_u32(&request->head, RTA_OIF, (__u32)entry->index);
	if (entry->source && addr_is_v4(entry->source) == addr_is_v4(&entry->prefix.addr))
		netlink_put_addr(request, RTA_PREFSRC, entry->source);
}

/*
 * A change of many prefixes: first one kind of route for all of them, then, where wanted, the other. A twin never stands
 * without its open route where both are to be: it would hide that of a wider prefix, which still leads the way, or will.
 */
struct change {
	const struct hf_prefix *prefixes;
	size_t n;
	int index; /* 0: unreachable ones only */
	bool twins; /* deleted as well, and first */
	const struct hf_addr *source;
};

static void fill_entry(const struct change *change, size_t i, bool unreachable, struct entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->prefix = change->prefixes[i % change->n];
	entry->table = ROUTE_TABLE;
	entry->metric = unreachable ? ROUTE_METRIC_UNREACHABLE : ROUTE_METRIC;
	entry->index = unreachable ? 0 : change->index;
	entry->source = unreachable ? NULL : change->source;
}

static int build_add(const void *context, size_t i, struct netlink_request *request)
{
	const struct change *change = context;
	struct entry entry;

	fill_entry(change, i, !change->index || i >= change->n, &entry);
	build(request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &entry);
	return 0;
}

static int build_delete(const void *context, size_t i, struct netlink_request *request)
{
	const struct change *change = context;
	struct entry entry;

	fill_entry(change, i, change->twins && i < change->n, &entry);
	build(request, RTM_DELROUTE, 0, &entry);
	return 0;
}

int route_add(struct netlink *nl, int index, const struct hf_prefix *prefixes, size_t n, const struct hf_addr *source)
{
	struct change change = { .prefixes = prefixes, .n = n, .index = index, .source = source };

	return index > 0 ? netlink_batch(nl, 2 * n, build_add, &change, 0) : -ENODEV;
}

int route_add_unreachable(struct netlink *nl, const struct hf_prefix *prefixes, size_t n)
{
	struct change change = { .prefixes = prefixes, .n = n };

	return netlink_batch(nl, n, build_add, &change, 0);
}

int route_close(struct netlink *nl, const struct hf_prefix *prefixes, size_t n)
{
	struct change change = { .prefixes = prefixes, .n = n, .index = 1 };

	return netlink_batch(nl, n, build_delete, &change, ESRCH);
}

int route_delete(struct netlink *nl, const struct hf_prefix *prefixes, size_t n)
{
	/* Any index: it makes the type unicast, and is not sent. */
	struct change change = { .prefixes = prefixes, .n = n, .index = 1, .twins = true };

	return netlink_batch(nl, 2 * n, build_delete, &change, ESRCH);
}

static int change_rule(struct netlink *nl, __u16 type, __u16 flags, int family)
{
	struct netlink_request request;
	struct fib_rule_hdr *head = netlink_request(&request, type, flags, sizeof(*head));

	head->family = (__u8)family;
	head->action = FR_ACT_TO_TBL;
	head->flags = FIB_RULE_INVERT;
	mnl_attr_put_u32(&request.head, FRA_PRIORITY, ROUTE_RULE_PREFERENCE);
	mnl_attr_put_u32(&request.head, FRA_TABLE, ROUTE_TABLE);
	mnl_attr_put_u32(&request.head, FRA_FWMARK, HF_MARK);
	mnl_attr_put_u32(&request.head, FRA_FWMASK, HF_MARK_MASK);
	mnl_attr_put_u8(&request.head, FRA_PROTOCOL, NETLINK_HF_PROTOCOL);
	return netlink_talk(nl, &request, NULL, NULL);
}

int route_rule_add(struct netlink *nl, int family, bool *ret_existed)
{
	int err = change_rule(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family);

	if (ret_existed)
		*ret_existed = err == -EEXIST;
	return err == -EEXIST ? 0 : err;
}

int route_rule_delete(struct netlink *nl, int family)
{
	int err = change_rule(nl, RTM_DELRULE, 0, family);

	return err == -ENOENT ? 0 : err;
}

bool route_rule_is_before(const struct nlmsghdr *message, struct route_rule *ret_rule)
{
	const struct fib_rule_hdr *head = mnl_nlmsg_get_payload(message);
	struct route_rule rule = { 0 };
	bool elsewhere;
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head) || (head->family != AF_INET && head->family != AF_INET6))
		return false;
	rule.family = head->family;
	rule.table = head->table;
	elsewhere = head->action == FR_ACT_TO_TBL || head->action == FR_ACT_GOTO;
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		if (mnl_attr_get_type(attr) == FRA_PRIORITY && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			rule.preference = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == FRA_TABLE && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			rule.table = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == FRA_PROTOCOL && mnl_attr_validate(attr, MNL_TYPE_U8) == 0)
			elsewhere &= mnl_attr_get_u8(attr) != NETLINK_HF_PROTOCOL;
		else if (mnl_attr_get_type(attr) == FRA_L3MDEV && mnl_attr_validate(attr, MNL_TYPE_U8) == 0)
			elsewhere &= !mnl_attr_get_u8(attr);
	}
	*ret_rule = rule;
	return elsewhere && rule.preference < ROUTE_RULE_PREFERENCE && rule.table != RT_TABLE_LOCAL;
}

static int collect_rule(void *context, const struct nlmsghdr *message)
{
	struct route_rule rule;

	if (message->nlmsg_type != RTM_NEWRULE || !route_rule_is_before(message, &rule))
		return 0;
	return netlink_list_add(context, &rule, sizeof(rule));
}

int route_rules_before(struct netlink *nl, struct netlink_list *ret_rules)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int err = 0;

	for (size_t i = 0; i < 2 && !err; i++) {
		size_t n = ret_rules->n;

		do {
			struct netlink_request request;
			struct fib_rule_hdr *head = netlink_request(&request, RTM_GETRULE, NLM_F_DUMP, sizeof(*head));

			head->family = (__u8)families[i];
			ret_rules->n = n;
			err = netlink_talk(nl, &request, collect_rule, ret_rules);
		} while (err == -EAGAIN);
		if (err == -EAFNOSUPPORT || err == -EOPNOTSUPP)
			err = 0;
	}
	return err;
}

struct search {
	int family;
	__u32 table;
	struct netlink_list found;
};

static int collect_route(void *context, const struct nlmsghdr *message)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(message);
	struct entry entry = { .index = 1 };
	struct search *search = context;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return 0;
	/* Where the kernel does not know the filter, it tells everything. */
	if (head->rtm_family != search->family || head->rtm_protocol != NETLINK_HF_PROTOCOL)
		return 0;
	if (head->rtm_dst_len > (search->family == AF_INET ? 32 : 128))
		return -EBADMSG;
	entry.table = head->rtm_table;
	if (search->family == AF_INET)
		entry.prefix.addr = addr_from_be32(0);
	entry.prefix.len = (__u8)(head->rtm_dst_len + (search->family == AF_INET ? 96 : 0));
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		if (mnl_attr_get_type(attr) == RTA_DST &&
		    mnl_attr_get_payload_len(attr) >= (search->family == AF_INET ? 4 : 16))
			netlink_get_addr(search->family, mnl_attr_get_payload(attr), &entry.prefix.addr);
		else if (mnl_attr_get_type(attr) == RTA_TABLE && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			entry.table = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == RTA_PRIORITY && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			entry.metric = mnl_attr_get_u32(attr);
	}
	if (head->rtm_type == RTN_UNREACHABLE)
		entry.index = 0;
	if (entry.table != search->table)
		return 0;
	return netlink_list_add(&search->found, &entry, sizeof(entry));
}

static int build_flush(const void *context, size_t i, struct netlink_request *request)
{
	build(request, RTM_DELROUTE, 0, (const struct entry *)context + i);
	return 0;
}

static int unreachable_first(const void *a, const void *b)
{
	return ((const struct entry *)a)->index - ((const struct entry *)b)->index;
}

/* Of what goes, the twins go first, as in route_delete(). */
static size_t drop_kept(struct search *search, bool (*keep)(void *, const struct route_seen *), void *context)
{
	struct entry *entries = search->found.items;
	size_t n = 0;

	for (size_t i = 0; i < search->found.n; i++) {
		struct route_seen seen = { .prefix = entries[i].prefix, .main = entries[i].table == RT_TABLE_MAIN,
					   .unreachable = !entries[i].index };

		if (!keep || !keep(context, &seen))
			entries[n++] = entries[i];
	}
	if (n)
		qsort(entries, n, sizeof(*entries), unreachable_first);
	return n;
}

static int sweep_table(struct netlink *nl, int family, __u32 table,
		       bool (*keep)(void *context, const struct route_seen *route), void *context, size_t *n)
{
	struct search search = { .family = family, .table = table };
	int err;

	do {
		struct netlink_request request;
		struct rtmsg *head = netlink_request(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof(*head));

		head->rtm_family = (__u8)family;
		head->rtm_protocol = NETLINK_HF_PROTOCOL;
		mnl_attr_put_u32(&request.head, RTA_TABLE, table);
		search.found.n = 0;
		err = netlink_talk(nl, &request, collect_route, &search);
	} while (err == -EAGAIN);
	if (!err) {
		search.found.n = drop_kept(&search, keep, context);
		err = netlink_batch(nl, search.found.n, build_flush, search.found.items, ESRCH);
	}
	if (!err)
		*n += search.found.n;
	netlink_list_clear(&search.found);
	/* No such table, or no such family: nothing to remove. */
	return err == -ENOENT || err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

int route_sweep(struct netlink *nl, bool (*keep)(void *context, const struct route_seen *route), void *context,
		size_t *ret_n)
{
	static const int families[] = { AF_INET, AF_INET6 };
	static const __u32 tables[] = { ROUTE_TABLE, RT_TABLE_MAIN };
	size_t i, n = 0;
	int err = 0;

	for (i = 0; i < 4; i++) {
		int result = sweep_table(nl, families[i / 2], tables[i % 2], keep, context, &n);

		if (!err)
			err = result;
	}
	if (ret_n)
		*ret_n = n;
	return err;
}

static bool count(void *context, const struct route_seen *route)
{
	++*(size_t *)context;
	return true;
}

int route_count(struct netlink *nl, size_t *ret_n)
{
	*ret_n = 0;
	return route_sweep(nl, count, ret_n, NULL);
}

int route_flush(struct netlink *nl)
{
	return route_sweep(nl, NULL, NULL, NULL);
}

static int change_announced(struct netlink *nl, __u16 type, __u16 flags, int index,
			    const struct hf_prefix *prefix)
{
	struct entry entry = { .prefix = *prefix, .table = RT_TABLE_MAIN, .metric = ROUTE_METRIC_ANNOUNCED };
	struct netlink_request request;

	entry.index = index;
	if (index <= 0)
		return -ENODEV;
	build(&request, type, flags, &entry);
	return netlink_talk(nl, &request, NULL, NULL);
}

int route_announce(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	return change_announced(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, index, prefix);
}

int route_withdraw(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	int err = change_announced(nl, RTM_DELROUTE, 0, index, prefix);

	return err == -ESRCH ? 0 : err;
}
