/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The link between holdfastd and holdfast-kms: one SOCK_SEQPACKET socketpair,
 * one record a message, host byte order (both ends are one build). Each message
 * is a struct kms_link_head followed by the body of its type; file descriptors
 * travel beside it (SCM_RIGHTS). The receiver checks version, type, length and
 * number of descriptors of every record before it reads a field.
 *
 * holdfast-kms has no privileges: every socket that it uses is made, marked
 * (HF_MARK) and bound by holdfastd and passed over this link, and so are its
 * certificate, key and trust anchors, as open files.
 *
 * The way of a session, gateway (responder) side: KMS_INSTALL -> holdfastd
 * installs the inbound SA -> KMS_INSTALLED -> the KMS answers the peer; the
 * peer confirms -> KMS_ACTIVATE -> holdfastd installs the outbound SA ->
 * KMS_ACTIVATED -> the KMS acknowledges. Client (initiator) side: KMS_INSTALL -> holdfastd installs the inbound SA ->
 * KMS_INSTALLED -> the KMS confirms to the peer, which acknowledges ->
 * KMS_ACTIVATE -> holdfastd installs the outbound SA. So nobody sends before the
 * other end can receive, and nobody uses a session that the other has given up, or never had.
 *
 * Who dials is usually the client. A responder whose own policy has the dialler
 * as a gateway says so in KMS_INSTALLED: the session is *reversed*, the dialler is
 * its gateway, and the inner prefixes are the responder's. The dialler's KMS
 * checks them as a responder checks a client's, and says reversed in KMS_INSTALL.
 */
#ifndef HF_KMS_LINK_H
#define HF_KMS_LINK_H

#include <linux/types.h>
#include <stdbool.h>

#include "lib/addr.h"

#define KMS_LINK_VERSION 4
/*
 * How long a responder waits for CONFIRM at the most. Who has sent it and gives up keeps what the responder may send
 * through for longer than that (PEER_LINGER_UNUSED_MS).
 */
#define KMS_CONFIRM_MS 20000

#define KMS_LINK_FD 3 /* the link's descriptor in a holdfast-kms that holdfastd started */

#define KMS_MAX_GATEWAYS 64
#define KMS_MAX_INNER 16
#define KMS_MAX_PEERS 256 /* [PEER] ranges in one KMS_PEERS message */
#define KMS_MAX_KNOWN 80 /* in one KMS_KNOWN message */
#define KMS_NAME_MAX 64
#define KMS_TEXT_MAX 192
#define KMS_KEY_MAX 36 /* AES-256-GCM or ChaCha20-Poly1305: 32 bytes of key, 4 of salt (RFC 4106, 8.1; RFC 7634, 2) */

enum kms_link_type {
	/* holdfastd -> holdfast-kms */
	KMS_IDENTITY = 1, /* struct kms_identity; descriptors: certificate, key, anchors[, CRL], all PEM */
	KMS_PEERS,	  /* struct kms_peers: the [PEER] statements; replaces what was said before */
	KMS_LISTEN,	  /* no body; descriptors: listening TCP sockets; replaces those before (none: stop) */
	KMS_REQUEST,	  /* struct kms_request; descriptors: per gateway, one unconnected non-blocking TCP socket */
	KMS_CANCEL,	  /* struct kms_cancel */
	KMS_INSTALLED,	  /* struct kms_installed */
	KMS_KNOWN,	  /* struct kms_knowns: other ends of sessions; added to those told before */
	KMS_ACTIVATED,	  /* struct kms_activated: what came of a responder's KMS_ACTIVATE */

	/* holdfast-kms -> holdfastd */
	KMS_READY,	    /* struct kms_ready: the answer to KMS_IDENTITY */
	KMS_INSTALL,	    /* struct kms_session, with keys; wiped by the receiver after use */
	KMS_ACTIVATE,	    /* struct kms_session_ref: the other end has its half; the session stands */
	KMS_ABANDON,	    /* struct kms_session_ref: the exchange broke off after KMS_INSTALL; remove it */
	KMS_ATTEMPT_FAILED, /* struct kms_failure: one gateway of a request */
	KMS_REJECTED,	    /* struct kms_failure: the whole request; nothing of it is under way any more */
	KMS_REFUSED,	    /* struct kms_failure: somebody dialled us and was not let in */
	KMS_REVOKED,	    /* struct kms_certificate: of a KMS_KNOWN, and it or one above it is on a revocation list */

	/* both ways */
	KMS_ECHO, /* no body; holdfast-kms sends it back at once: so it is seen not to hang */
};

struct kms_link_head {
	__u32 version;
	__u32 type;
};

/* IDs of the cryptographic algorithms, as on the wire (PROTOCOL.md). */
enum kms_algorithm {
	KMS_AES_256_GCM = 1,
	KMS_AES_128_GCM = 2,
	KMS_CHACHA20_POLY1305 = 3,
};

enum kms_encapsulation { KMS_ENCAP_AUTO = 0, KMS_ENCAP_ESP = 1, KMS_ENCAP_UDP = 2 };

enum kms_role { KMS_INITIATOR = 1, KMS_RESPONDER = 2 };

struct kms_identity {
	__u32 lifetime_s;     /* hard lifetime offered for sessions */
	__u8 encapsulation;   /* enum kms_encapsulation: what this node accepts as responder */
	__u8 has_crl;	      /* a fourth descriptor comes with it */
	__u8 pad[2];
	__u32 exchange_ms;    /* responder: how long one exchange may take in all */
};

struct kms_peer {
	struct hf_addr first;
	struct hf_addr last;
	char name[KMS_NAME_MAX];
};

struct kms_peers {
	__u32 n;
	struct kms_peer peers[KMS_MAX_PEERS];
};

/*
 * Ask for one session with one of these gateways: tried in this order, each
 * for timeout_ms at the most; the next one starts already when the one before
 * has not finished within patience_ms (a hanging gateway costs only that).
 * The first to authenticate is the one; the others are closed.
 */
struct kms_request {
	__u64 id; /* not zero */
	__u32 timeout_ms;
	__u32 patience_ms;
	__u16 port;
	__u8 encapsulation;
	__u8 n_gateways;
	__u32 n_inner;
	struct hf_prefix inner[KMS_MAX_INNER]; /* inner addresses we ask to use; n_inner 0: our own outer address */
	struct hf_addr gateways[KMS_MAX_GATEWAYS];
};

struct kms_cancel {
	__u64 id;
};

struct kms_installed {
	__u64 session;
	__s32 result; /* 0, or -errno: then the exchange ends */
	__u8 reversed; /* responder only: we use the dialler as our gateway */
	__u8 pad[3];
	__u32 n_inner; /* of a reversed session, at least one: what we use inside */
	struct hf_prefix inner[KMS_MAX_INNER];
};

struct kms_activated {
	__u64 session;
	__s32 result; /* 0: the session stands; or -errno: it is given up here, and the other end is not to use it */
	__u32 pad;
};

#define KMS_SERIAL_MAX 20 /* RFC 5280, 4.1.2.2 */
#define KMS_CHAIN_MAX 5

/* What a revocation list names a certificate by (RFC 5280, 5.1). */
struct kms_listed {
	__u8 issuer[32];   /* SHA-256 of the issuer's name in DER */
	__u8 serial_len;   /* 0: none is known */
	__u8 serial[KMS_SERIAL_MAX]; /* most significant byte first; zero beyond serial_len */
	__u8 pad[3];
};

/* Which certificate, and on which others it rests: with any of them it is revoked. All is zero beyond n. */
struct kms_certificate {
	__u32 n; /* 0: none is known */
	__u32 pad;
	struct kms_listed chain[KMS_CHAIN_MAX]; /* itself, then the authorities above it; without the root, which none revokes */
};

/* Whether its lengths are within what there is room for. */
bool kms_certificate_is_sound(const struct kms_certificate *certificate);

/*
 * Who has a session with us: comes before strangers when it dials, and is told
 * of in a KMS_REVOKED if its certificate is revoked, or that of an authority above it.
 */
struct kms_known {
	struct hf_addr remote;
	struct kms_certificate certificate;
};

struct kms_knowns {
	__u32 n;
	struct kms_known known[KMS_MAX_KNOWN];
};

struct kms_ready {
	__s32 result; /* 0, or -errno: then text says which file and why; the identity before stays */
	char name[KMS_NAME_MAX];
	__s64 not_after; /* of our certificate, seconds since 1970 */
	__u32 n_anchors; /* trust anchors that were read, */
	__u32 n_revoked; /* and certificates on revocation lists, */
	__s64 lists_end; /* the first of which runs out at this time, seconds since 1970; 0: none does */
	char text[KMS_TEXT_MAX];
};

struct kms_session {
	__u64 id;      /* the KMS's own number for it */
	__u64 request; /* of the request it answers; 0 for a responder */
	struct hf_addr local;  /* outer addresses, from the TCP connection */
	struct hf_addr remote;
	__u32 spi_in; /* host order */
	__u32 spi_out;
	__u32 lifetime_s;
	__u16 remote_port; /* of UDP encapsulation, 0 without */
	__u8 role;	   /* enum kms_role: ours */
	__u8 algorithm;	   /* enum kms_algorithm */
	__u8 encapsulation; /* KMS_ENCAP_ESP or KMS_ENCAP_UDP */
	__u8 key_len;	    /* of each key, salt included */
	__u8 proven;	    /* remote is an address of the peer's certificate; always so for an initiator */
	__u8 reversed;	    /* initiator: the responder uses us as its gateway */
	__u32 n_inner;
	struct hf_prefix inner[KMS_MAX_INNER]; /* what the client of the two uses inside: granted */
	char name[KMS_NAME_MAX];	       /* of the peer's certificate */
	__s64 not_after;		       /* of the peer's certificate, or of one above it that ends sooner */
	struct kms_certificate certificate;    /* the peer's */
	__u8 key_in[KMS_KEY_MAX];
	__u8 key_out[KMS_KEY_MAX];
};

struct kms_session_ref {
	__u64 session;
};

struct kms_failure {
	__u64 request;	      /* 0 for KMS_REFUSED */
	struct hf_addr peer;  /* zero for KMS_REJECTED */
	__s32 error;	      /* errno that fits best: ETIMEDOUT, ECONNREFUSED, EACCES (certificate), EPROTO, ... */
	__u32 pad;
	char text[KMS_TEXT_MAX]; /* for people: what and why; no newline */
};

/*
 * Sends one message with n_fds descriptors. Returns 0 or -errno (-EAGAIN: the
 * socket is full). The descriptors stay the caller's.
 */
int kms_link_send(int link, __u32 type, const void *body, size_t len, const int *fds, size_t n_fds);

#define KMS_LINK_FDS_MAX KMS_MAX_GATEWAYS

/* A received message. The body lies behind the head in buffer, aligned for every type. */
struct kms_link_message {
	__u32 type;
	size_t len; /* of the body */
	const void *body;
	int fds[KMS_LINK_FDS_MAX];
	size_t n_fds;
	union {
		struct kms_link_head head;
		__u8 bytes[sizeof(struct kms_link_head) + sizeof(struct kms_peers) + 16];
		__u64 align;
	} buffer;
};

/*
 * Receives one message and checks version, type, exact length and number of
 * descriptors against the type. Returns 1; 0 when the other end has closed;
 * -EAGAIN; or -EPROTO for a record that is not well-formed (its descriptors are
 * closed). On 1 the descriptors are the caller's, and texts for people are printable.
 */
int kms_link_receive(int link, struct kms_link_message *ret_message);

/* Wipes what may have held keys and closes descriptors not taken (set to -1 when taken). */
void kms_link_message_clear(struct kms_link_message *message);

#endif
