/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of tls.h share, and nobody else: an identity, a connection, and
 * what is read out of certificates. tls.c is the connection, tls_identity.c who
 * we are, tls_certificate.c what a certificate says.
 */
#ifndef HF_KMS_TLS_INTERNAL_H
#define HF_KMS_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "kms/tls.h"

struct tls_identity {
	SSL_CTX *context;
	char name[KMS_NAME_MAX];
	__s64 not_after;
};

struct tls {
	SSL *ssl;
	bool dialled;
	bool wants_write;
	struct hf_addr remote;
	char text[KMS_TEXT_MAX];
};

/* Empties OpenSSL's error queue; the text of its first entry, or fallback. */
const char *tls_drain_errors(const char *fallback);

/* The one subject common name. None, two, or one with control bytes in it (NUL above all): -EINVAL. */
int tls_certificate_name(X509 *certificate, char ret_name[KMS_NAME_MAX]);

/* Seconds since 1970; 0: unreadable. */
__s64 tls_seconds(const ASN1_TIME *when);
__s64 tls_certificate_not_after(X509 *certificate);

/* When the first of them ends, as above. */
__s64 tls_chain_not_after(STACK_OF(X509) *chain);

/* What a revocation list would name it by. */
void tls_certificate_describe(X509 *certificate, struct kms_listed *ret_listed);

/* Whether a revocation list in this store names it, whoever has signed that: what lies here is believed. */
bool tls_store_revokes(X509_STORE *store, const struct kms_listed *listed);

/* What revocation lists would name them by, the other end's own first. -E2BIG: more than there is room for. */
int tls_chain_describe(STACK_OF(X509) *chain, struct kms_certificate *ret_certificate);

/* The addresses that it is for, at most max; how many. */
size_t tls_certificate_hosts(X509 *certificate, struct hf_addr *hosts, size_t max);

/* For SSL_CTX_set_verify(), where the application data of the SSL is its struct tls: says there why not. */
int tls_verify_certificate(int ok, X509_STORE_CTX *store);

#endif
