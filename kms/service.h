/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of the key management service share: the loop, our identity,
 * what holdfastd told us, the connections in being, and the way to holdfastd
 * (messages wait here while the link is full). Knows no requests and no
 * listening sockets beyond the pointers that it keeps for them.
 */
#ifndef HF_KMS_SERVICE_H
#define HF_KMS_SERVICE_H

#include <event2/event.h>
#include <sys/queue.h>

#include "kms/link.h"
#include "kms/tls.h"

struct acceptor;
struct connection;
struct request;
struct service_letter;

/* Priorities of the loop's events; without another word, an event is of the second kind. */
#define SERVICE_FIRST 0 /* holdfastd, whom we dial, who has a session with us, and that somebody comes: he may have one */
#define SERVICE_AFTER 1 /* strangers */
#define SERVICE_PRIORITIES 2
/* Events of the second kind, before it is looked for some of the first again: so many, or for so long and one more. */
#define SERVICE_AT_ONCE 8
#define SERVICE_AT_ONCE_MS 2

struct service {
	struct event_base *base;
	int link;    /* -1: we are ending */
	bool failed; /* not because holdfastd closed the link */
	struct event *link_writable;
	TAILQ_HEAD(service_letters, service_letter) letters; /* wait for the link */
	size_t n_letters;
	struct tls_identity *identity; /* NULL before the first good KMS_IDENTITY */
	struct kms_identity settings;  /* that came with it */
	struct kms_peers peers;
	__u64 last_session;
	LIST_HEAD(service_connections, connection) connections;
	LIST_HEAD(service_requests, request) requests;
	struct acceptor *acceptor;
};

/* Returns 0 or -ENOMEM. The link stays the caller's. */
int service_init(struct service *service, struct event_base *base, int link);

/* Wipes what waits. Connections, requests and acceptor must be gone before. */
void service_clear(struct service *service);

/* The link is of no more use: 0, holdfastd has closed it; or -errno, said in the log. Ends the loop. */
void service_end(struct service *service, int error);

/*
 * Sends a message to holdfastd, at once or when the link has room again. What
 * it held is wiped when it is gone. A KMS_REFUSED is dropped when many
 * messages wait: strangers can cause any number of them.
 */
void service_send(struct service *service, __u32 type, const void *body, size_t len);

/* Fills in and sends a KMS_ATTEMPT_FAILED, KMS_REJECTED or KMS_REFUSED. */
void service_send_failure(struct service *service, __u32 type, __u64 request, const struct hf_addr *peer,
			  int error, const char *text);

#endif
