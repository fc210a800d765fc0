/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TLS 1.3 with certificates on both sides: who we are (struct tls_identity) and
 * one secured connection (struct tls). Owns everything that touches OpenSSL in
 * the key management service; drains OpenSSL's error queue into one line of
 * text. Knows sockets only as descriptors to read and write, and no loop.
 */
#ifndef HF_KMS_TLS_H
#define HF_KMS_TLS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "kms/link.h"
#include "lib/addr.h"

#define TLS_HOSTS_MAX 64 /* addresses read from one certificate */

/*
 * Once, before anything else of OpenSSL: has it wipe all memory that it frees, makes its heap for keys, which is also
 * locked in memory, and has OpenSSL and the C library read now whatever files they want. Returns 0, 1 where the heap
 * cannot be locked, or -errno.
 */
int tls_init(void);

/* A certificate with its key, the trust anchors and revocation lists. */
struct tls_identity;

/*
 * Reads PEM files from open descriptors, from their beginning: certificate
 * (with its chain), private key, trust anchors, and with has_crl the revocation
 * lists. The descriptors stay the caller's. Returns 0; or -errno with the reason
 * in ret_text.
 */
int tls_identity_load(const int *fds, bool has_crl, struct tls_identity **ret_identity,
		      char ret_text[KMS_TEXT_MAX]);
void tls_identity_free(struct tls_identity *identity);

/* Our certificate's name, and when it ends (seconds since 1970). */
const char *tls_identity_name(const struct tls_identity *identity);
__s64 tls_identity_not_after(const struct tls_identity *identity);

/* How many trust anchors it has, and how many certificates its revocation lists name. */
size_t tls_identity_anchors(const struct tls_identity *identity);
size_t tls_identity_revoked(const struct tls_identity *identity);

/* When the first of these lists runs out: nobody whose issuer it is of is let in from then on. As above; 0: none does. */
__s64 tls_identity_lists_end(const struct tls_identity *identity);

/* Whether a revocation list names this certificate, or one above it. */
bool tls_identity_revokes(const struct tls_identity *identity, const struct kms_certificate *certificate);

/* Who the other end has proved to be. */
struct tls_peer {
	char name[KMS_NAME_MAX]; /* subject common name */
	__s64 not_after; /* of its certificate, or of one above it that ends sooner */
	struct kms_certificate certificate;
	size_t n_hosts;
	struct hf_addr hosts[TLS_HOSTS_MAX]; /* subjectAltName IPs */
};

struct tls;

/*
 * Puts TLS on a connected non-blocking socket, which stays the caller's. With
 * dialled we are the client, and the certificate must carry that address
 * as a subjectAltName IP; with NULL we are the server. remote names the other end in
 * messages. Returns 0 or -ENOMEM. The identity may be freed before the connection.
 */
int tls_open(struct tls_identity *identity, int fd, const struct hf_addr *dialled,
	     const struct hf_addr *remote, struct tls **ret_tls);

/* Frees; sends nothing. Takes NULL. */
void tls_free(struct tls *tls);

/*
 * One step of the handshake. Returns 0 when it is done and the peer is
 * authenticated; -EAGAIN (then tls_wants_write() says what to wait for); or
 * -errno with tls_text() saying why: -EACCES when a certificate was not
 * accepted by either side.
 */
int tls_handshake(struct tls *tls, struct tls_peer *ret_peer);

/* Returns the number of bytes, 0 at the end of the connection, -EAGAIN, or another -errno with tls_text(). */
ssize_t tls_read(struct tls *tls, void *buffer, size_t size);
ssize_t tls_write(struct tls *tls, const void *bytes, size_t len);

/* Tells the other end that we have nothing more to say; best effort. */
void tls_shutdown(struct tls *tls);

bool tls_wants_write(const struct tls *tls);

/* What went wrong, for people; never NULL. */
const char *tls_text(const struct tls *tls);

/* Keying material of this connection (RFC 8446, 7.5). Returns 0 or -EPROTO. */
int tls_export(struct tls *tls, const char *label, const __u8 *context, size_t context_len, __u8 *ret_bytes,
	       size_t len);

/* Random numbers for SPIs. Returns 0 or -EIO. */
int tls_random(void *ret_bytes, size_t len);

#endif
