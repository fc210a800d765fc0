/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The messages of the exchange between two key management services, as bytes
 * and as structures. Pure: no sockets, no TLS, no state. kms/PROTOCOL.md is the
 * specification; this is its only implementation. Every field is checked in
 * both directions: what decodes is within its limits, and nothing else is sent.
 */
#ifndef HF_KMS_WIRE_H
#define HF_KMS_WIRE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "kms/link.h"
#include "lib/addr.h"

#define WIRE_VERSION 1
#define WIRE_ALPN "holdfast/1"
#define WIRE_EXPORTER_LABEL "EXPORTER-holdfast-1"

#define WIRE_FRAME_MAX 512	   /* the longest message, its length field included */
#define WIRE_ALGORITHMS_MAX 8	   /* in one OFFER */
#define WIRE_LIFETIME_MAX 31536000 /* seconds: one year */
#define WIRE_CONTEXT_LEN 11	   /* of the exporter's context */

#define WIRE_SPI_MIN 256u /* 0 is local, 1-255 are reserved (RFC 4303, 2.1) */

enum wire_type {
	WIRE_OFFER = 1,
	WIRE_ANSWER = 2,
	WIRE_REFUSE = 3,
	WIRE_CONFIRM = 4,
	WIRE_DONE = 5,
	WIRE_REVERSE = 6, /* instead of ANSWER: the responder uses the initiator as its gateway */
};

/* Reasons of a REFUSE. A receiver takes unknown ones too: the text is what people read. */
enum wire_reason {
	WIRE_REASON_ALGORITHM = 1,     /* none in common */
	WIRE_REASON_ENCAPSULATION = 2, /* each insists on another one */
	WIRE_REASON_INNER = 3,	       /* an inner prefix that the certificate does not cover */
	WIRE_REASON_INSTALL = 4,       /* the session could not be installed */
	WIRE_REASON_BOTH_DIAL = 5,     /* the responder dials the initiator itself, and that goes first */
};

struct wire_offer {
	__u32 spi; /* what the initiator wants to receive with */
	__u32 lifetime_s;
	__u8 encapsulation;   /* enum kms_encapsulation */
	struct hf_addr outer; /* the initiator's own address as it sees it */
	size_t n_algorithms;  /* in order of preference */
	__u8 algorithms[WIRE_ALGORITHMS_MAX];
	size_t n_inner;
	struct hf_prefix inner[KMS_MAX_INNER];
};

/* ANSWER and REVERSE; in the latter, inner is what the responder itself wants to use. */
struct wire_answer {
	__u32 spi; /* what the responder wants to receive with */
	__u32 lifetime_s;
	__u8 encapsulation; /* KMS_ENCAP_ESP or KMS_ENCAP_UDP */
	__u8 algorithm;	    /* enum kms_algorithm */
	size_t n_inner;
	struct hf_prefix inner[KMS_MAX_INNER];
};

struct wire_refusal {
	__u16 reason;
	char text[KMS_TEXT_MAX]; /* printable ASCII */
};

struct wire_message {
	enum wire_type type;
	union {
		struct wire_offer offer;
		struct wire_answer answer;
		struct wire_refusal refusal;
	};
};

/* Whether an SPI may be used for a session: not 0-255, not the heartbeats' 0xFFFFFFFF. */
bool wire_spi_is_valid(__u32 spi);

/* Length of an algorithm's key with its salt, or 0 when the algorithm is unknown. */
size_t wire_key_len(__u8 algorithm);

/* Writes a message into buffer. Returns its length, or -EINVAL when a field is out of range, -ENOSPC. */
int wire_encode(const struct wire_message *message, __u8 *buffer, size_t size);

/*
 * How long the message is that begins with these len bytes, its length field
 * included. Returns that; 0 while too few bytes are there to tell; or -EPROTO
 * when no message has such a length.
 */
int wire_frame_len(const __u8 *bytes, size_t len);

/*
 * Reads one message of exactly len bytes. Returns 0; -EPROTONOSUPPORT for
 * another version; -EPROTO for what is not well-formed: *ret_message untouched.
 */
int wire_decode(const __u8 *bytes, size_t len, struct wire_message *ret_message);

/* What the keys are bound to: the exporter's context (RFC 8446, 7.5). */
void wire_key_context(__u32 spi_initiator, __u32 spi_responder, __u8 algorithm, __u8 encapsulation,
		      __u8 ret_context[WIRE_CONTEXT_LEN]);

#endif
