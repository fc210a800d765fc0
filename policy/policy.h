/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy: text -> model (policy_parse), model -> look-up entries
 * (policy_compile), and back to words (policy_explain). Pure: reads buffers,
 * knows no files, no kernel and no clock, and does not log.
 */
#ifndef HF_POLICY_POLICY_H
#define HF_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lib/addr.h"

#define POLICY_NAME_MAX 64  /* of a cluster's or a certificate's name, with NUL */
#define POLICY_IFACE_MAX 16 /* IFNAMSIZ */
#define POLICY_GATEWAYS_MAX 64	 /* of one cluster */
#define POLICY_INTERFACES_MAX 32 /* of Underlay, and of Protected */
#define POLICY_ADDRESSES_MAX 16	 /* of Address: what one session can be granted */
#define POLICY_PEERS_MAX 256	 /* of [PEER]: what the key management service takes at once */
#define POLICY_REPORT_MAX 100	 /* findings kept of each severity */

enum policy_heartbeat { POLICY_HEARTBEAT_NONE, POLICY_HEARTBEAT_DEFERRED, POLICY_HEARTBEAT_INSTANT };
enum policy_order { POLICY_ORDER_RANDOM, POLICY_ORDER_FIXED };
enum policy_connect { POLICY_CONNECT_TRAFFIC, POLICY_CONNECT_START };
enum policy_encapsulation { POLICY_ENCAP_AUTO, POLICY_ENCAP_ESP, POLICY_ENCAP_UDP };

/* Where a statement stands: both count from 1; columns count bytes. */
struct policy_place {
	unsigned int line;
	unsigned int column;
};

/* An inclusive range of addresses of one family. One of IPv6 never means the IPv4-mapped block. */
struct policy_range {
	struct hf_addr first;
	struct hf_addr last;
};

struct policy_general {
	enum policy_heartbeat heartbeat;
	__u32 response_ms; /* HeartbeatResponseTime */
	__u32 defer_ms;	   /* HeartbeatDeferTime */
	__u32 tries;	   /* HeartbeatTries */
	enum policy_order order;
	__u32 standby;
	enum policy_connect connect;
	__u32 key_request_ms; /* KeyRequestTimeout */
	/* When a session gets new keys: at the latest when the first of these is reached. */
	__u32 rekey_ms;	     /* RekeyTime */
	__u64 rekey_bytes;   /* RekeyBytes, each way */
	__u64 rekey_packets; /* RekeyPackets, each way */
};

struct policy_identity {
	/* As written (relative to the policy's folder); NULL when not given. */
	char *certificate;
	char *private_key;
	char *trust_anchors;
	char *revocation_list;
};

struct policy_interface {
	char (*underlay)[POLICY_IFACE_MAX];
	size_t n_underlay;
	char (*protected)[POLICY_IFACE_MAX];
	size_t n_protected;
	/*
	 * Address: a host prefix unless /n is written. As an interface's address has
	 * it, the bits beyond len are kept: 10.9.0.5/24 is that host, and is put on
	 * hf0. 10.9.0.0/24 is a network that this node forwards for
	 * (policy_address_is_network()).
	 */
	struct hf_prefix *address;
	size_t n_address;
	__u16 key_service_port;
	bool accept;
	__u32 key_service_workers; /* 0: as many as fit, see policy_key_service_workers() */
	enum policy_encapsulation encapsulation;
};

/* A cluster of [CLUSTER], or the implicit one of a tunnel with a single address. */
struct policy_cluster {
	unsigned int number;	    /* 0: implicit */
	char name[POLICY_NAME_MAX]; /* "Cluster 1", or the address */
	struct hf_addr *gateways;   /* in the written order until policy_shuffle() */
	size_t n_gateways;
	struct policy_place place;
};

enum policy_target { POLICY_TARGET_CLUSTER, POLICY_TARGET_AUTO };

struct policy_tunnel {
	unsigned int number;
	struct policy_range range;
	enum policy_target target;
	size_t cluster; /* index into clusters; POLICY_TARGET_CLUSTER only */
	struct policy_place place;
};

struct policy_redirect {
	unsigned int number;
	struct hf_addr server;
	size_t cluster; /* index into clusters */
	struct policy_place place;
};

struct policy_peer {
	unsigned int number;
	struct policy_range range;
	char name[POLICY_NAME_MAX]; /* the certificate's name: common name */
	struct policy_place place;
};

struct policy {
	struct policy_general general;
	struct policy_identity identity;
	struct policy_interface interface;
	struct policy_cluster *clusters;
	size_t n_clusters;
	struct policy_tunnel *tunnels;
	size_t n_tunnels;
	struct policy_redirect *redirects;
	size_t n_redirects;
	struct policy_peer *peers;
	size_t n_peers;
};

enum policy_severity { POLICY_ERROR, POLICY_WARNING };

/* One finding. text holds no newline and not the place. */
struct policy_message {
	enum policy_severity severity;
	struct policy_place place;
	char text[232];
};

/* What was found, in the order of places; grows as needed, bounded (the first 100 errors and 100 warnings). */
struct policy_report {
	struct policy_message *messages;
	size_t n;
	size_t errors; /* found, whether kept or not; as warnings */
	size_t warnings;
};

/* Frees what the report holds and zeroes it. */
void policy_report_clear(struct policy_report *report);

/*
 * Parses len bytes (no NUL needed). Returns 0 and a policy to be freed with
 * policy_free(); or -EINVAL with errors in the report, or -ENOMEM: then
 * *ret_policy is untouched. Warnings may come with success. The report must be
 * zeroed or cleared before.
 */
int policy_parse(const char *text, size_t len, struct policy_report *report, struct policy **ret_policy);

void policy_free(struct policy *policy);

/* How long a session may live at the most, in seconds: RekeyTime, and the time to renew it in. */
__u32 policy_session_lifetime_s(const struct policy_general *general);

/*
 * Puts the gateways of every cluster in a random order when the policy says
 * ClusterOrder = RANDOM (the specification: at each read of the policy);
 * nothing when FIXED. random() returns a uniform number below bound.
 */
void policy_shuffle(struct policy *policy, __u32 (*random)(void *context, __u32 bound), void *context);

/* A disjoint interval of destinations and the tunnel that has it. */
struct policy_interval {
	struct policy_range range;
	size_t tunnel; /* index into policy->tunnels */
};

/* A look-up entry: a prefix within one interval. */
struct policy_entry {
	struct hf_prefix prefix;
	size_t tunnel;
};

struct policy_table {
	struct policy_interval *intervals; /* ascending, disjoint */
	size_t n_intervals;
	struct policy_entry *entries; /* ascending, disjoint */
	size_t n_entries;
};

/*
 * Compiles the tunnels: overlapping ranges resolved (the narrower wins, then
 * the lower number), then cut into prefixes. O(n log n). Returns 0 or -ENOMEM.
 */
int policy_compile(const struct policy *policy, struct policy_table **ret_table);

void policy_table_free(struct policy_table *table);

/* The interval that holds addr, or NULL. O(log n). */
const struct policy_interval *policy_table_find(const struct policy_table *table, const struct hf_addr *addr);

/* How the tunnels lie to a prefix, seen from one gateway. */
enum policy_way {
	POLICY_WAY_NONE,    /* no address of it is tunnelled */
	POLICY_WAY_GATEWAY, /* all of it is, through clusters that this gateway is one of */
	POLICY_WAY_OTHER,   /* anything else */
};

enum policy_way policy_way_of(const struct policy *policy, const struct policy_table *table,
			      const struct hf_prefix *prefix, const struct hf_addr *gateway);

/*
 * Whether one of [INTERFACE] Address is a network rather than a host: no bit is set beyond its length, and there are at
 * least two of them (both addresses of a /31 are hosts: RFC 3021).
 */
bool policy_address_is_network(const struct hf_prefix *address);

#define POLICY_WORKERS_MAX 16

/*
 * How many key management services share the work: as [INTERFACE] KeyServiceWorkers says. Without it one a processor, four
 * at most, on a gateway (it accepts others, and has Protected interfaces) that dials no clusters of several gateways itself;
 * else one.
 */
size_t policy_key_service_workers(const struct policy *policy, size_t processors);

/*
 * Writes which tunnel, cluster and gateways addr takes, and why (also which
 * wider or later tunnels lost). Returns 0, or -ENOENT when it is not tunnelled
 * (said in words as well).
 */
int policy_explain(const struct policy *policy, const struct policy_table *table,
		   const struct hf_addr *addr, FILE *out);

/*
 * Splits an inclusive range into the fewest prefixes, ascending; calls emit for
 * each until it returns non-zero, and returns what the last call returned.
 */
int policy_range_prefixes(const struct policy_range *range,
			  int (*emit)(void *context, const struct hf_prefix *prefix), void *context);

#endif
