/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One connection to another key management service, from its TCP socket to its
 * end: the TLS handshake, then one exchange whose actions it performs (bytes to
 * the peer, keys and sessions to holdfastd). Knows neither requests nor
 * listening sockets: its owner hears of it through four calls, none of which
 * ever comes from within a function of this header.
 */
#ifndef HF_KMS_CONNECTION_H
#define HF_KMS_CONNECTION_H

#include "kms/service.h"

struct connection_calls {
	/* The TLS handshake is done. A responder goes on by itself, an initiator with connection_offer(). */
	void (*authenticated)(void *context);
	/* How the exchange ended: 0, or -errno and why. Comes once, unless connection_stop() came before. */
	void (*ended)(void *context, int error, const char *text);
	/*
	 * Responder: the offer is good. 0 to go on; -errno refuses it (-EALREADY: our own dial to
	 * remote goes first). local: our own address. NULL: always go on.
	 */
	int (*offered)(void *context, const struct hf_addr *local);
	/* The connection is no more; the last call, after ended(). */
	void (*gone)(void *context);
};

struct connection;

/*
 * Connects fd to a gateway. fd is the connection's from now on, also on
 * failure. Returns 0, or -errno with the reason in ret_text.
 */
int connection_dial(struct service *service, int fd, const struct hf_addr *gateway, __u16 port,
		    const struct connection_calls *calls, void *context, struct connection **ret_connection,
		    char ret_text[KMS_TEXT_MAX]);

/* Takes an accepted, non-blocking socket, also on failure. first: it goes before others. Returns 0 or -errno. */
int connection_accept(struct service *service, int fd, const struct hf_addr *remote, bool first,
		      const struct connection_calls *calls, void *context, struct connection **ret_connection);

/* Initiator, after authenticated(): begins the exchange for this request. */
void connection_offer(struct connection *connection, const struct kms_request *request);

/* Initiator: whether its offer is with the peer, and the exchange not over. */
bool connection_has_offered(const struct connection *connection);

/* The time that is left to it; at its end it fails with -ETIMEDOUT. */
void connection_set_deadline(struct connection *connection, __u32 ms);
/* Stops that clock, and lets it go on with what is left. */
void connection_pause_deadline(struct connection *connection);
void connection_resume_deadline(struct connection *connection);

/* Ends and frees it now without a further call; takes back a session that was not confirmed. Takes NULL. */
void connection_stop(struct connection *connection, int error, const char *text);

/* Likewise for all that are left, at the end. */
void connection_stop_all(struct service *service);

/* holdfastd's answer to KMS_INSTALL. A session that is no more is none of our business. */
void connection_installed(struct service *service, const struct kms_installed *installed);

/* holdfastd's answer to KMS_ACTIVATE, likewise. */
void connection_activated(struct service *service, const struct kms_activated *activated);

#endif
