/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of client.h share, and nobody else: the clients themselves.
 * client.c is their sessions, client_claim.c the claim of their addresses,
 * client_fit.c whether the policy and the other clients leave them these,
 * client_closed.c what becomes of these after them.
 */
#ifndef HF_LOADER_CLIENT_INTERNAL_H
#define HF_LOADER_CLIENT_INTERNAL_H

#include "loader/client.h"
#include "loader/hold.h"

struct client {
	struct clients *clients;
	struct peer *peer;
	__u32 slot;
	__u32 named; /* bit i: peer->inner[i] is tunnelled to the client by the policy, which has made its entries */
	struct hold *hold; /* answers that came before the session stood in both directions */
	bool claimed;
	size_t announced; /* repeats so far */
	__u64 announced_ns;	/* any of its addresses */
	__u64 announced_all_ns; /* all of them */
	struct event *timer;	/* the next repeat; or, not claimed, the claim that has to wait, or the next question */
	__u32 lost_spi; /* spi_in of the session in which it was claimed when the underlay was lost; 0: it was not */
	__u64 lost_nonce;
	size_t asked;
	struct client *next;
};

struct hearing {
	struct clients *clients;
	const struct node_interface *interface;
	int index; /* the interface's when fd was opened */
	int fd;
	struct event *readable;
};

struct clients {
	struct clients_config config;
	struct client *first;
	__u32 last_slot;
	__u64 reflected_before; /* for clients that are gone */
	struct hearing hearing[NODE_INTERFACES_MAX];
	size_t n_hearing;
	struct closed *closed; /* client_closed.c; the oldest first */
	size_t n_closed;
	struct event *closed_timer;
};

/* client_claim.c. From now on, what is said by ARP in this protected network. 0 or -errno. */
int clients_hear(struct clients *clients, const struct node_interface *interface);

/* No more. */
void hearing_clear(struct hearing *hearing);

/* The event of a client's timer, with the client as context: an announcement, and the time of the next; or a claim. */
void client_announce_due(evutil_socket_t fd, short what, void *context);

/* What a claim is to the kernel: neighbour entries and routes. Does not announce. */
void client_claim_addresses(struct client *client);

/* Its addresses were claimed when the underlay was lost: asks whether it is still there, now and later. */
void client_ask(struct client *client);

/* It answers. */
void client_answered(struct client *client, __u64 nonce);

/* Claims its addresses, and announces them in any case, at once or a moment later: at a pace that it cannot quicken. */
void client_claim(struct client *client);

/* The reverse. Nothing where nothing is claimed. */
void client_unclaim(struct client *client, const char *why);

/* client.c. A control packet through its SA, to its first inner address. */
void client_send_control(const struct client *client, __u64 nonce, enum hf_control_type type);

/*
 * client_closed.c. The prefix of a client that is gone leads nowhere for a minute, instead of away in clear: until a new
 * session has it. A bounded number: the oldest go first.
 */
void clients_close_prefix(struct clients *clients, const struct hf_prefix *prefix);

/* A client has the prefix: what is closed of it would be in the way. */
void clients_open_prefix(struct clients *clients, const struct hf_prefix *prefix);

/* Likewise what this policy tunnels. */
void clients_open_tunnelled(struct clients *clients, const struct policy *policy, const struct policy_table *table);

/* Forgets what is closed; it is the datapath's to keep or lose. */
void clients_free_closed(struct clients *clients);

/* Whether an address is in both. */
bool prefix_overlaps(const struct hf_prefix *a, const struct hf_prefix *b);

/*
 * client_fit.c. Who has the session's inner addresses already: the same client
 * in *ret_client (NULL: nobody), or -EADDRINUSE.
 */
int clients_find_holder(struct clients *clients, const struct kms_session *session, __u32 named,
			struct client **ret_client);

/* Ends the sessions of the same client with some of these addresses, and others: once the new one is installed. */
void clients_end_others(struct clients *clients, const struct kms_session *session, __u32 named);

/* Which of the session's inner prefixes the policy tunnels to this client, bit by bit. 0, -EADDRINUSE or -EACCES. */
int clients_find_named(const struct clients *clients, const struct kms_session *session, __u32 *ret_named);

/*
 * -EADDRINUSE where an inner address is one at which somebody else is reached
 * outside: what is for him would come to the client. 0 otherwise; what the policy
 * itself gives the client (named: the bits above) is for it to know.
 */
int clients_check_outside(const struct clients *clients, const struct kms_session *session, __u32 named);

/*
 * Whether inner[i] is routed over hf0 in the main table, while it is claimed. Not
 * what holds the client's own outer address: ESP goes there; nor, where the
 * policy does not give it to the client, somebody else's.
 */
bool client_is_announced(const struct client *client, size_t i);

#endif
