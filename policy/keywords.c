/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "policy/keywords.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/model.h"
#include "policy/report.h"
#include "policy/statement.h"

static int take_number(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	return value_take_number(draft->report, line, (__u32)keyword->min, (__u32)keyword->max, field);
}

static int take_port(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	__u16 *port = field;
	__u32 number;
	int err = value_take_number(draft->report, line, 1, 65535, &number);

	if (!err)
		*port = (__u16)number;
	return err;
}

static int take_seconds(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	return value_take_seconds(draft->report, line, (__u32)keyword->min, (__u32)keyword->max, field);
}

static int take_quantity(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	return value_take_quantity(draft->report, line, keyword->min, keyword->max, field);
}

/* Every enum of the model that a choice sets is as wide as unsigned int. */
_Static_assert(sizeof(enum policy_heartbeat) == sizeof(unsigned int), "choices");

static int take_choice(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	unsigned int value;
	int err = value_take_choice(draft->report, line, keyword->choices, &value);

	if (!err)
		memcpy(field, &value, sizeof(value));
	return err;
}

static int take_bool(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	bool *flag = field;
	unsigned int value;
	int err = value_take_choice(draft->report, line, keyword->choices, &value);

	if (!err)
		*flag = value;
	return err;
}

static int take_path(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	struct lex_token token;
	char **path = field;
	int err = value_take_text(draft->report, line, "the path of a PEM file", &token);

	if (err)
		return err;
	/* A doubled keyword is an error told elsewhere; the value before must not leak. */
	free(*path);
	*path = strndup(token.s, token.len);
	return *path ? 0 : -ENOMEM;
}

static bool is_known(char (*names)[POLICY_IFACE_MAX], size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* One or more interfaces into an array and its count. */
static int take_interfaces(struct draft *draft, struct lex_line *line, char (**array)[POLICY_IFACE_MAX], size_t *n)
{
	char (*names)[POLICY_IFACE_MAX];
	char name[POLICY_IFACE_MAX];
	struct policy_place place;
	int err;

	do {
		err = value_take_interface(draft->report, line, name, &place);
		if (err)
			return err;
		if (is_known(*array, *n, name)) {
			report_error(draft->report, place, "interface %s is named twice", name);
			return -EINVAL;
		}
		if (*n == POLICY_INTERFACES_MAX) {
			report_error(draft->report, place, "more than %d interfaces", POLICY_INTERFACES_MAX);
			return -EINVAL;
		}
		names = model_grow(*array, *n, sizeof(*names));
		if (!names)
			return -ENOMEM;
		*array = names;
		memcpy(names[(*n)++], name, sizeof(name));
	} while (!lex_at_end(line));
	return 0;
}

static int take_underlay(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	struct policy_interface *interface = field;

	return take_interfaces(draft, line, &interface->underlay, &interface->n_underlay);
}

static int take_protected(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	struct policy_interface *interface = field;

	return take_interfaces(draft, line, &interface->protected, &interface->n_protected);
}

static int take_addresses(struct draft *draft, struct lex_line *line, const struct keyword *keyword, void *field)
{
	struct policy_interface *interface = field;
	struct hf_prefix *addresses;
	struct hf_prefix prefix;
	struct policy_place place;
	int err;

	do {
		err = value_take_interface_address(draft->report, line, &prefix, &place);
		if (err)
			return err;
		for (size_t i = 0; i < interface->n_address; i++) {
			if (!addr_equal(&interface->address[i].addr, &prefix.addr))
				continue;
			report_error(draft->report, place, "address %s is named twice", addr_text(&prefix.addr).s);
			return -EINVAL;
		}
		if (interface->n_address == POLICY_ADDRESSES_MAX) {
			report_error(draft->report, place, "more than %d addresses", POLICY_ADDRESSES_MAX);
			return -EINVAL;
		}
		addresses = model_grow(interface->address, interface->n_address, sizeof(*addresses));
		if (!addresses)
			return -ENOMEM;
		interface->address = addresses;
		addresses[interface->n_address++] = prefix;
	} while (!lex_at_end(line));
	return 0;
}

static const struct value_choice heartbeat_choices[] = {
	{ "NONE", POLICY_HEARTBEAT_NONE },
	{ "DEFERRED", POLICY_HEARTBEAT_DEFERRED },
	{ "INSTANT", POLICY_HEARTBEAT_INSTANT },
	{ NULL },
};
static const struct value_choice order_choices[] = {
	{ "RANDOM", POLICY_ORDER_RANDOM },
	{ "FIXED", POLICY_ORDER_FIXED },
	{ NULL },
};
static const struct value_choice connect_choices[] = {
	{ "TRAFFIC", POLICY_CONNECT_TRAFFIC },
	{ "START", POLICY_CONNECT_START },
	{ NULL },
};
static const struct value_choice encapsulation_choices[] = {
	{ "ESP", POLICY_ENCAP_ESP },
	{ "UDP", POLICY_ENCAP_UDP },
	{ "AUTO", POLICY_ENCAP_AUTO },
	{ NULL },
};
static const struct value_choice yes_no_choices[] = { { "YES", true }, { "NO", false }, { NULL } };

#define GENERAL(field) offsetof(struct policy, general.field)
#define IDENTITY(field) offsetof(struct policy, identity.field)
#define INTERFACE(field) offsetof(struct policy, interface.field)

/* Times are in milliseconds. */
static const struct keyword general_keywords[] = {
	{ "Heartbeat", DRAFT_KEY_HEARTBEAT, take_choice, GENERAL(heartbeat), .choices = heartbeat_choices },
	{ "HeartbeatResponseTime", DRAFT_KEY_RESPONSE_TIME, take_seconds, GENERAL(response_ms), 10, 3600000 },
	{ "HeartbeatDeferTime", DRAFT_KEY_DEFER_TIME, take_seconds, GENERAL(defer_ms), 10, 86400000 },
	{ "HeartbeatTries", DRAFT_KEY_TRIES, take_number, GENERAL(tries), 1, 100 },
	{ "ClusterOrder", DRAFT_KEY_ORDER, take_choice, GENERAL(order), .choices = order_choices },
	{ "Standby", DRAFT_KEY_STANDBY, take_number, GENERAL(standby), 0, POLICY_GATEWAYS_MAX - 1 },
	{ "Connect", DRAFT_KEY_CONNECT, take_choice, GENERAL(connect), .choices = connect_choices },
	{ "KeyRequestTimeout", DRAFT_KEY_KEY_REQUEST, take_seconds, GENERAL(key_request_ms), 50, 600000 },
	{ "RekeyTime", DRAFT_KEY_REKEY_TIME, take_seconds, GENERAL(rekey_ms), 1000, 86400000 },
	/* The most is far below what AES-GCM and ChaCha20-Poly1305 bear with one key and a counter for IV. */
	{ "RekeyBytes", DRAFT_KEY_REKEY_BYTES, take_quantity, GENERAL(rekey_bytes), 1u << 16, 16ull << 40 },
	{ "RekeyPackets", DRAFT_KEY_REKEY_PACKETS, take_quantity, GENERAL(rekey_packets), 100, 1ull << 40 },
	{ NULL },
};
static const struct keyword identity_keywords[] = {
	{ "Certificate", DRAFT_KEY_CERTIFICATE, take_path, IDENTITY(certificate) },
	{ "PrivateKey", DRAFT_KEY_PRIVATE_KEY, take_path, IDENTITY(private_key) },
	{ "TrustAnchors", DRAFT_KEY_TRUST_ANCHORS, take_path, IDENTITY(trust_anchors) },
	{ "RevocationList", DRAFT_KEY_REVOCATION_LIST, take_path, IDENTITY(revocation_list) },
	{ NULL },
};
static const struct keyword interface_keywords[] = {
	{ "Underlay", DRAFT_KEY_UNDERLAY, take_underlay, offsetof(struct policy, interface) },
	{ "Protected", DRAFT_KEY_PROTECTED, take_protected, offsetof(struct policy, interface) },
	{ "Address", DRAFT_KEY_ADDRESS, take_addresses, offsetof(struct policy, interface) },
	{ "KeyServicePort", DRAFT_KEY_SERVICE_PORT, take_port, INTERFACE(key_service_port) },
	{ "Accept", DRAFT_KEY_ACCEPT, take_bool, INTERFACE(accept), .choices = yes_no_choices },
	{ "KeyServiceWorkers", DRAFT_KEY_WORKERS, take_number, INTERFACE(key_service_workers), 1, POLICY_WORKERS_MAX },
	{ "Encapsulation", DRAFT_KEY_ENCAPSULATION, take_choice, INTERFACE(encapsulation),
	  .choices = encapsulation_choices },
	{ NULL },
};
static const struct keyword cluster_keywords[] = {
	{ "Cluster", DRAFT_KEY_NUMBERED, .statement = statement_cluster },
	{ NULL },
};
static const struct keyword tunnel_keywords[] = {
	{ "Tunnel", DRAFT_KEY_NUMBERED, .statement = statement_tunnel },
	{ "Redirect Tunnel", DRAFT_KEY_NUMBERED, .statement = statement_redirect },
	{ NULL },
};
static const struct keyword peer_keywords[] = {
	{ "Peer", DRAFT_KEY_NUMBERED, .statement = statement_peer },
	{ NULL },
};

const struct section keyword_sections[] = {
	{ "GENERAL", general_keywords },     { "IDENTITY", identity_keywords },
	{ "INTERFACE", interface_keywords }, { "CLUSTER", cluster_keywords },
	{ "TUNNEL", tunnel_keywords },	     { "PEER", peer_keywords },
	{ NULL },
};
