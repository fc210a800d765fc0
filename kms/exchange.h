/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One exchange, seen from one of its two ends, as a state machine: (state,
 * event) -> (state, actions). Pure: it knows no socket, no TLS, no clock and no
 * randomness (its SPI is given to it), so that it can be tested and simulated.
 * It owns the order of the messages and what is agreed in them; what must be
 * installed, abandoned or sent is the caller's to do.
 */
#ifndef HF_KMS_EXCHANGE_H
#define HF_KMS_EXCHANGE_H

#include <stdbool.h>

#include "kms/link.h"
#include "kms/wire.h"

enum exchange_state {
	EXCHANGE_IDLE,		 /* the peer is authenticated, nothing was said yet */
	EXCHANGE_WAIT_OFFER,	 /* responder */
	EXCHANGE_WAIT_ANSWER,	 /* initiator */
	EXCHANGE_WAIT_INSTALLED, /* both: holdfastd is at work */
	EXCHANGE_WAIT_CONFIRM,	 /* responder */
	EXCHANGE_WAIT_ACTIVATED, /* responder: holdfastd is at work once more */
	EXCHANGE_WAIT_DONE,	 /* initiator */
	EXCHANGE_SUCCEEDED,
	EXCHANGE_FAILED,
};

/* What we let the peer use inside, when it is the client of the two. Nothing of it is owned here. */
struct exchange_permit {
	const char *name; /* of the peer's certificate */
	const struct hf_addr *hosts;
	size_t n_hosts; /* the addresses in its certificate */
	const struct kms_peers *peers; /* the [PEER] ranges; NULL: none */
};

/* What was agreed; complete from the install action on. */
struct exchange_terms {
	__u32 spi_initiator; /* the initiator receives with it */
	__u32 spi_responder;
	__u32 lifetime_s;
	__u8 algorithm;
	__u8 encapsulation;
	bool reversed; /* the responder is the client of the two: inner is what it uses */
	size_t n_inner;
	struct hf_prefix inner[KMS_MAX_INNER];
};

struct exchange {
	enum kms_role role;
	enum exchange_state state;
	bool installing; /* an install action went out that was neither refused, taken back nor activated */
	struct wire_offer offer; /* initiator: what it asks; responder: what was asked */
	__u32 spi;		 /* our own */
	__u32 lifetime_s;
	__u8 encapsulation;
	struct hf_addr remote; /* responder: where the initiator is seen to come from */
	struct exchange_permit permit;
	struct exchange_terms terms;
	__u8 in[WIRE_FRAME_MAX]; /* of a message that is not complete */
	size_t in_len;
};

enum exchange_event_type {
	EXCHANGE_OPEN,	    /* go: the initiator offers, the responder listens */
	EXCHANGE_BYTES,	    /* from the peer */
	EXCHANGE_INSTALLED, /* error: 0, or what went wrong; reversed with inner: responder only */
	EXCHANGE_ACTIVATED, /* error: 0, or why the session does not stand; responder only */
	EXCHANGE_CLOSED,    /* the connection ended (error 0: in order) or broke */
	EXCHANGE_STOP,	    /* ended by ourselves: too late, cancelled, no keys; error and text say why */
};

struct exchange_event {
	enum exchange_event_type type;
	const __u8 *bytes;
	size_t len;
	int error; /* 0 or -errno; -EALREADY of EXCHANGE_INSTALLED: our own dial goes first */
	const char *text;
	bool reversed; /* we use the initiator as our gateway, and these inner prefixes */
	const struct hf_prefix *inner;
	size_t n_inner;
};

/* To be done in this order: activate, abandon, send, install; then look at the state. */
struct exchange_actions {
	bool activate;
	bool abandon;
	size_t send_len;
	__u8 send[WIRE_FRAME_MAX];
	bool install; /* derive the keys of exchange.terms and hand them over */
	/* In the states EXCHANGE_FAILED only: */
	int error; /* -errno */
	char text[KMS_TEXT_MAX];
};

/*
 * The initiator's end. spi: random and valid. offer's fields other than its spi
 * and algorithms are the caller's; the algorithms are all that Holdfast has.
 * permit, for a responder that reverses: as for exchange_init_responder().
 */
void exchange_init_initiator(struct exchange *exchange, __u32 spi, const struct wire_offer *offer,
			     const struct exchange_permit *permit);

/* The responder's end. permit's pointers must stay valid until the install action. */
void exchange_init_responder(struct exchange *exchange, __u32 spi, __u32 lifetime_s, __u8 encapsulation,
			     const struct hf_addr *remote, const struct exchange_permit *permit);

/* One step. Events in an ended state do nothing. */
void exchange_step(struct exchange *exchange, const struct exchange_event *event,
		   struct exchange_actions *ret_actions);

bool exchange_has_ended(const struct exchange *exchange);

/* Whether a client with these rights may use prefix inside. */
bool exchange_permits(const struct exchange_permit *permit, const struct hf_prefix *prefix);

#endif
