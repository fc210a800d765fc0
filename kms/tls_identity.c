/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who we are: our certificate with its key, read from files, and what we trust. */
#include "kms/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kms/wire.h"
#include "lib/secret.h"

#define PEM_MAX (1u << 20) /* of one file */

/* ---- the identity ---- */

/* The whole file; it may hold a key, so *ret_bytes is to be freed with secret_free(), as PEM_MAX bytes. */
static int read_pem(int fd, char **ret_bytes, size_t *ret_len)
{
	char *bytes = secret_alloc(PEM_MAX);
	size_t len = 0;
	ssize_t got;
	int ret = 0;

	if (!bytes)
		return -ENOMEM;
	while (len < PEM_MAX && (got = pread(fd, bytes + len, PEM_MAX - len, (off_t)len)) != 0) {
		if (got > 0)
			len += (size_t)got;
		else if (errno != EINTR) {
			ret = -errno;
			break;
		}
	}
	if (!ret && len == PEM_MAX)
		ret = -EFBIG;
	if (ret) {
		secret_free(bytes, PEM_MAX);
		return ret;
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* No prompt for a passphrase: a daemon has nobody to ask. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	return -1;
}

static bool take_certificate(SSL_CTX *context, BIO *pem)
{
	X509 *certificate = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL);
	bool ok = certificate && SSL_CTX_use_certificate(context, certificate) == 1;

	X509_free(certificate);
	while (ok && (certificate = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL))) {
		ok = SSL_CTX_add0_chain_cert(context, certificate) == 1;
		if (!ok)
			X509_free(certificate);
	}
	return ok;
}

static bool take_key(SSL_CTX *context, BIO *pem)
{
	EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL);
	bool ok = key && SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;

	EVP_PKEY_free(key);
	return ok;
}

static bool take_anchors(SSL_CTX *context, BIO *pem)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	X509 *anchor;
	size_t n = 0;
	bool ok = true;

	while (ok && (anchor = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL))) {
		ok = X509_STORE_add_cert(store, anchor) == 1;
		X509_free(anchor);
		n++;
	}
	/* What is trusted need not be a root. */
	return ok && n > 0 && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
}

static bool take_crls(SSL_CTX *context, BIO *pem)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	X509_CRL *crl;
	size_t n = 0;
	bool ok = true;

	while (ok && (crl = PEM_read_bio_X509_CRL(pem, NULL, no_passphrase, NULL))) {
		ok = X509_STORE_add_crl(store, crl) == 1;
		X509_CRL_free(crl);
		n++;
	}
	return ok && n > 0 &&
	       X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

/* The files of an identity, in the order of their descriptors. */
static const struct identity_file {
	const char *what;
	const char *fault;
	bool (*take)(SSL_CTX *context, BIO *pem);
} identity_files[] = {
	{ "certificate", "no certificate in PEM form", take_certificate },
	{ "private key", "no private key in PEM form without a passphrase", take_key },
	{ "trust anchors", "no certificate in PEM form", take_anchors },
	{ "revocation list", "no revocation list in PEM form", take_crls },
};

static int load_file(SSL_CTX *context, const struct identity_file *file, int fd, char ret_text[KMS_TEXT_MAX])
{
	char *bytes = NULL;
	size_t len = 0;
	BIO *pem;
	int ret = read_pem(fd, &bytes, &len);

	if (ret < 0) {
		snprintf(ret_text, KMS_TEXT_MAX, "%s: %s", file->what, strerror(-ret));
		return ret;
	}
	ERR_clear_error();
	pem = BIO_new_mem_buf(bytes, (int)len);
	if (!pem || !file->take(context, pem)) {
		unsigned long code = ERR_peek_error();
		const char *reason = tls_drain_errors(file->fault);

		if (ERR_GET_LIB(code) == ERR_LIB_PEM || ERR_GET_LIB(code) == ERR_LIB_OSSL_DECODER)
			reason = file->fault;
		if (ERR_GET_LIB(code) == ERR_LIB_X509 && ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH)
			reason = "does not belong to the certificate";
		snprintf(ret_text, KMS_TEXT_MAX, "%s: %s", file->what, reason);
		ret = -EINVAL;
	}
	ERR_clear_error(); /* the end of a PEM file is an error to OpenSSL */
	BIO_free(pem);
	secret_free(bytes, PEM_MAX);
	return ret;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned int in_len, void *context)
{
	for (unsigned int at = 0; at < in_len; at += 1u + in[at])
		if (in[at] == strlen(WIRE_ALPN) && at + 1 + in[at] <= in_len &&
		    !memcmp(in + at + 1, WIRE_ALPN, strlen(WIRE_ALPN))) {
			*out = in + at + 1;
			*out_len = in[at];
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/*
 * Elliptic curves, and no finite fields: a stranger's one message that asks for ffdhe8192 costs a hundred times as much as
 * one of these. From OpenSSL 3.5 on with a hybrid that is to outlast quantum computers, and a key share of either kind.
 */
static bool set_groups(SSL_CTX *context)
{
	bool ok = SSL_CTX_set1_groups_list(context, "*X25519MLKEM768:*X25519:P-256:P-384") == 1 ||
		  SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1;

	ERR_clear_error(); /* an older OpenSSL knows no hybrid */
	return ok;
}

static int set_up_context(SSL_CTX *context)
{
	static const unsigned char alpn[] = { sizeof(WIRE_ALPN) - 1, 'h', 'o', 'l', 'd', 'f', 'a', 's', 't', '/', '1' };

	_Static_assert(sizeof(alpn) == sizeof(WIRE_ALPN), "the same protocol name");
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify_certificate);
	SSL_CTX_set_verify_depth(context, KMS_CHAIN_MAX - 1);
	SSL_CTX_set_max_cert_list(context, 32 * 1024);
	SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
	/* No resumption: every session has fresh ephemeral keys and sees the certificates of now. */
	return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_num_tickets(context, 0) == 1 && set_groups(context) &&
			       SSL_CTX_set_alpn_protos(context, alpn, sizeof(alpn)) == 0 ?
		       0 :
		       -ENOMEM;
}

int tls_identity_load(const int *fds, bool has_crl, struct tls_identity **ret_identity, char ret_text[KMS_TEXT_MAX])
{
	struct tls_identity *identity = calloc(1, sizeof(*identity));
	int ret = -ENOMEM;

	snprintf(ret_text, KMS_TEXT_MAX, "out of memory");
	if (!identity)
		return -ENOMEM;
	identity->context = SSL_CTX_new(TLS_method());
	if (!identity->context || set_up_context(identity->context) < 0)
		goto out;
	for (size_t i = 0; i < (has_crl ? 4u : 3u); i++) {
		ret = load_file(identity->context, &identity_files[i], fds[i], ret_text);
		if (ret < 0)
			goto out;
	}
	ret = tls_certificate_name(SSL_CTX_get0_certificate(identity->context), identity->name);
	if (ret < 0) {
		snprintf(ret_text, KMS_TEXT_MAX, "certificate: needs exactly one subject common name of 1 to %d bytes",
			 KMS_NAME_MAX - 1);
		goto out;
	}
	identity->not_after = tls_certificate_not_after(SSL_CTX_get0_certificate(identity->context));
	ret_text[0] = 0;
	*ret_identity = identity;
	identity = NULL;
	ret = 0;
out:
	tls_identity_free(identity);
	return ret;
}

void tls_identity_free(struct tls_identity *identity)
{
	if (!identity)
		return;
	SSL_CTX_free(identity->context);
	free(identity);
}

const char *tls_identity_name(const struct tls_identity *identity)
{
	return identity->name;
}

__s64 tls_identity_not_after(const struct tls_identity *identity)
{
	return identity->not_after;
}

/* ---- what it trusts ---- */

static X509_STORE *store_of(const struct tls_identity *identity)
{
	return SSL_CTX_get_cert_store(identity->context);
}

/* NULL: it is no list, but a trust anchor. */
static X509_CRL *crl_of(X509_STORE *store, int i)
{
	return X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(X509_STORE_get0_objects(store), i));
}

static int count_objects(X509_STORE *store)
{
	return sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

size_t tls_identity_anchors(const struct tls_identity *identity)
{
	size_t n = 0;

	for (int i = 0; i < count_objects(store_of(identity)); i++)
		n += !crl_of(store_of(identity), i);
	return n;
}

size_t tls_identity_revoked(const struct tls_identity *identity)
{
	size_t n = 0;

	for (int i = 0; i < count_objects(store_of(identity)); i++) {
		X509_CRL *crl = crl_of(store_of(identity), i);
		STACK_OF(X509_REVOKED) *revoked = crl ? X509_CRL_get_REVOKED(crl) : NULL;

		n += revoked ? (size_t)sk_X509_REVOKED_num(revoked) : 0;
	}
	return n;
}

__s64 tls_identity_lists_end(const struct tls_identity *identity)
{
	__s64 first = 0;

	for (int i = 0; i < count_objects(store_of(identity)); i++) {
		X509_CRL *crl = crl_of(store_of(identity), i);
		const ASN1_TIME *next = crl ? X509_CRL_get0_nextUpdate(crl) : NULL;
		__s64 end = next ? tls_seconds(next) : 0;

		if (next && (!first || end < first))
			first = end;
	}
	return first;
}

/* 2 of OpenSSL would be an entry that takes one back (removeFromCRL; RFC 5280, 5.3.1). */
static bool crl_names(X509_CRL *crl, const struct kms_listed *listed, ASN1_INTEGER *serial)
{
	__u8 issuer[sizeof(listed->issuer)];
	X509_REVOKED *entry;

	return X509_NAME_digest(X509_CRL_get_issuer(crl), EVP_sha256(), issuer, NULL) == 1 &&
	       !memcmp(issuer, listed->issuer, sizeof(issuer)) && X509_CRL_get0_by_serial(crl, &entry, serial) == 1;
}

bool tls_store_revokes(X509_STORE *store, const struct kms_listed *listed)
{
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	bool revoked = false;

	if (serial && listed->serial_len && ASN1_STRING_set(serial, listed->serial, listed->serial_len) == 1)
		for (int i = 0; i < count_objects(store) && !revoked; i++)
			revoked = crl_of(store, i) && crl_names(crl_of(store, i), listed, serial);
	ASN1_INTEGER_free(serial);
	ERR_clear_error();
	return revoked;
}

bool tls_identity_revokes(const struct tls_identity *identity, const struct kms_certificate *certificate)
{
	for (__u32 i = 0; i < certificate->n; i++)
		if (tls_store_revokes(store_of(identity), &certificate->chain[i]))
			return true;
	return false;
}
