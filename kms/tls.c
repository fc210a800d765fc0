/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kms/wire.h"
#include "lib/secret.h"

#define PEM_MAX (1u << 20) /* of one file */
#define HANDSHAKE_BYTES_MAX (64u << 10) /* of the other end, before it has authenticated; OpenSSL bounds each message */

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

/* ---- errors ---- */

/* Empties OpenSSL's error queue; the text of its first entry, or fallback. */
static const char *drain_errors(const char *fallback)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason ? reason : fallback;
}

/* ---- the process ---- */

/*
 * For the private keys of our certificate and of the handshakes' key exchanges. An allocation fails when it is full: it
 * holds some thousand of the latter, more than there can be connections (kms/accept.h).
 */
#define SECURE_HEAP_BYTES (1u << 20)
#define SECURE_HEAP_LEAST 32

int tls_init(void)
{
	__u8 seed[8];
	int heap = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_LEAST);

	tzset();
	if (!heap || OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1 ||
	    tls_random(seed, sizeof(seed)) < 0) {
		ERR_clear_error();
		return -ENOMEM;
	}
	return heap == 2;
}

/* ---- certificates ---- */

static bool name_is_usable(const unsigned char *name, int len)
{
	if (len < 1 || len >= KMS_NAME_MAX)
		return false;
	for (int i = 0; i < len; i++)
		if (name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

/* The one subject common name. None, two, or one with control bytes in it (NUL above all): -EINVAL. */
static int certificate_name(X509 *certificate, char ret_name[KMS_NAME_MAX])
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *text = NULL;
	int len, ret = -EINVAL;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return -EINVAL;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len >= 0 && name_is_usable(text, len)) {
		memset(ret_name, 0, KMS_NAME_MAX);
		memcpy(ret_name, text, (size_t)len);
		ret = 0;
	}
	OPENSSL_free(text);
	ERR_clear_error();
	return ret;
}

static __s64 certificate_not_after(X509 *certificate)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
		return 0;
	return (__s64)timegm(&tm);
}

/* What a revocation list would name it by. A serial number longer than the standard has is not known: serial_len 0. */
static void certificate_describe(X509 *certificate, struct kms_certificate *ret_certificate)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	int len = ASN1_STRING_length(serial);

	memset(ret_certificate, 0, sizeof(*ret_certificate));
	if (len < 1 || len > KMS_SERIAL_MAX ||
	    X509_NAME_digest(X509_get_issuer_name(certificate), EVP_sha256(), ret_certificate->issuer, NULL) != 1)
		return;
	memcpy(ret_certificate->serial, ASN1_STRING_get0_data(serial), (size_t)len);
	ret_certificate->serial_len = (__u8)len;
}

static size_t certificate_hosts(X509 *certificate, struct hf_addr *hosts, size_t max)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	size_t n = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && n < max; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const unsigned char *bytes;
		int len;

		if (name->type != GEN_IPADD)
			continue;
		bytes = ASN1_STRING_get0_data(name->d.iPAddress);
		len = ASN1_STRING_length(name->d.iPAddress);
		if (len == 4) {
			__be32 v4;

			memcpy(&v4, bytes, sizeof(v4));
			hosts[n++] = addr_from_be32(v4);
		} else if (len == 16) {
			memcpy(hosts[n++].b, bytes, 16);
		}
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return n;
}

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
	return ok && n > 0;
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
		const char *reason = drain_errors(file->fault);

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

static int verify_certificate(int ok, X509_STORE_CTX *store);

static int set_up_context(SSL_CTX *context)
{
	static const unsigned char alpn[] = { sizeof(WIRE_ALPN) - 1, 'h', 'o', 'l', 'd', 'f', 'a', 's', 't', '/', '1' };

	_Static_assert(sizeof(alpn) == sizeof(WIRE_ALPN), "the same protocol name");
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_certificate);
	SSL_CTX_set_verify_depth(context, 4);
	SSL_CTX_set_max_cert_list(context, 32 * 1024);
	SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
	/* No resumption: every session has fresh ephemeral keys and sees the certificates of now. */
	return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_num_tickets(context, 0) == 1 &&
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
	ret = certificate_name(SSL_CTX_get0_certificate(identity->context), identity->name);
	if (ret < 0) {
		snprintf(ret_text, KMS_TEXT_MAX, "certificate: needs exactly one subject common name of 1 to %d bytes",
			 KMS_NAME_MAX - 1);
		goto out;
	}
	identity->not_after = certificate_not_after(SSL_CTX_get0_certificate(identity->context));
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

static X509_CRL *crl_of(const struct tls_identity *identity, int i)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(identity->context));

	return X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
}

static int count_objects(const struct tls_identity *identity)
{
	return sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(identity->context)));
}

size_t tls_identity_anchors(const struct tls_identity *identity)
{
	size_t n = 0;

	for (int i = 0; i < count_objects(identity); i++)
		n += !crl_of(identity, i);
	return n;
}

size_t tls_identity_revoked(const struct tls_identity *identity)
{
	size_t n = 0;

	for (int i = 0; i < count_objects(identity); i++) {
		X509_CRL *crl = crl_of(identity, i);
		STACK_OF(X509_REVOKED) *revoked = crl ? X509_CRL_get_REVOKED(crl) : NULL;

		n += revoked ? (size_t)sk_X509_REVOKED_num(revoked) : 0;
	}
	return n;
}

bool tls_identity_revokes(const struct tls_identity *identity, const struct kms_certificate *certificate)
{
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	bool revoked = false;

	if (!serial || !certificate->serial_len ||
	    ASN1_STRING_set(serial, certificate->serial, certificate->serial_len) != 1)
		goto out;
	for (int i = 0; i < count_objects(identity) && !revoked; i++) {
		X509_CRL *crl = crl_of(identity, i);
		X509_REVOKED *entry;
		__u8 issuer[sizeof(certificate->issuer)];

		/* 2 would be an entry that takes one back (removeFromCRL; RFC 5280, 5.3.1). */
		revoked = crl && X509_NAME_digest(X509_CRL_get_issuer(crl), EVP_sha256(), issuer, NULL) == 1 &&
			  !memcmp(issuer, certificate->issuer, sizeof(issuer)) &&
			  X509_CRL_get0_by_serial(crl, &entry, serial) == 1;
	}
out:
	ASN1_INTEGER_free(serial);
	ERR_clear_error();
	return revoked;
}

/* ---- verification ---- */

/* The addresses of a certificate, for a message: "10.9.9.9, 10.9.9.10". */
static void list_hosts(X509 *certificate, char *text, size_t size)
{
	struct hf_addr hosts[4];
	size_t n = certificate_hosts(certificate, hosts, sizeof(hosts) / sizeof(hosts[0]));
	size_t used = 0;

	snprintf(text, size, "%s", n ? "" : "no address");
	for (size_t i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", addr_text(&hosts[i]).s);
}

/* Plainer words than OpenSSL's for what happens in practice. */
static const char *verify_words(int error, bool dialled)
{
	static const struct {
		int error;
		const char *words;
	} table[] = {
		{ X509_V_ERR_CERT_HAS_EXPIRED, "has expired" },
		{ X509_V_ERR_CERT_NOT_YET_VALID, "is not valid yet" },
		{ X509_V_ERR_CERT_REVOKED, "has been revoked" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "is not signed by a trust anchor" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "is not signed by a trust anchor" },
		{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "is not signed by a trust anchor" },
		{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "is not signed by a trust anchor" },
		{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "is not signed by a trust anchor" },
		{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "is not signed by a trust anchor" },
		{ X509_V_ERR_UNABLE_TO_GET_CRL, "cannot be checked: no revocation list of its issuer" },
		{ X509_V_ERR_CRL_HAS_EXPIRED, "cannot be checked: the revocation list has expired" },
		{ X509_V_ERR_CRL_NOT_YET_VALID, "cannot be checked: the revocation list is not valid yet" },
	};

	if (error == X509_V_ERR_INVALID_PURPOSE)
		return dialled ? "may not be used by a gateway (extendedKeyUsage)" :
				 "may not be used to dial (extendedKeyUsage)";
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].error == error)
			return table[i].words;
	return NULL;
}

static void describe_verify_error(struct tls *tls, X509_STORE_CTX *store)
{
	int error = X509_STORE_CTX_get_error(store);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	const char *whose = X509_STORE_CTX_get_error_depth(store) > 0 ? "a certificate above that of" : "certificate of";
	const char *words = verify_words(error, tls->dialled);
	char hosts[96];

	if (tls->text[0])
		return; /* the first fault is the one to tell */
	if (error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		list_hosts(X509_STORE_CTX_get0_cert(store), hosts, sizeof(hosts));
		snprintf(tls->text, sizeof(tls->text), "certificate of %s is for %s, not for this gateway",
			 addr_text(&tls->remote).s, hosts);
	} else if (words) {
		snprintf(tls->text, sizeof(tls->text), "%s %s %s", whose, addr_text(&tls->remote).s, words);
	} else {
		snprintf(tls->text, sizeof(tls->text), "%s %s: %s", whose, addr_text(&tls->remote).s,
			 certificate ? X509_verify_cert_error_string(error) : "none was shown");
	}
}

static int verify_certificate(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (ok)
		return 1;
	/*
	 * The peer's own certificate needs a revocation list of its issuer; those
	 * of authorities are held against one only where there is one.
	 */
	if (X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL &&
	    X509_STORE_CTX_get_error_depth(store) > 0) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	}
	describe_verify_error(SSL_get_app_data(ssl), store);
	return 0;
}

/* ---- one connection ---- */

static bool require_address(SSL *ssl, const struct hf_addr *dialled)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	__be32 v4 = addr_to_be32(dialled);

	if (addr_is_v4(dialled))
		return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&v4, sizeof(v4)) == 1;
	return X509_VERIFY_PARAM_set1_ip(param, dialled->b, sizeof(dialled->b)) == 1;
}

int tls_open(struct tls_identity *identity, int fd, const struct hf_addr *dialled, const struct hf_addr *remote,
	     struct tls **ret_tls)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return -ENOMEM;
	tls->dialled = dialled != NULL;
	tls->remote = *remote;
	tls->ssl = SSL_new(identity->context);
	if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1 || SSL_set_app_data(tls->ssl, tls) != 1 ||
	    (dialled && !require_address(tls->ssl, dialled))) {
		tls_free(tls);
		ERR_clear_error();
		return -ENOMEM;
	}
	if (dialled)
		SSL_set_connect_state(tls->ssl);
	else
		SSL_set_accept_state(tls->ssl);
	*ret_tls = tls;
	return 0;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

/* An alert of the other end: it is about us. */
static int describe_alert(struct tls *tls, int alert)
{
	static const int about_certificate[] = {
		SSL_AD_BAD_CERTIFICATE,	    SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED,
		SSL_AD_CERTIFICATE_EXPIRED, SSL_AD_CERTIFICATE_UNKNOWN,	    SSL_AD_UNKNOWN_CA,
		SSL_AD_ACCESS_DENIED,	    SSL_AD_CERTIFICATE_REQUIRED,
	};
	const char *name = SSL_alert_desc_string_long(alert);

	for (size_t i = 0; i < sizeof(about_certificate) / sizeof(about_certificate[0]); i++)
		if (about_certificate[i] == alert) {
			snprintf(tls->text, sizeof(tls->text), "%s did not accept our certificate: %s",
				 addr_text(&tls->remote).s, name);
			return -EACCES;
		}
	snprintf(tls->text, sizeof(tls->text), "%s ended TLS: %s", addr_text(&tls->remote).s, name);
	return -EPROTO;
}

static int describe_protocol_error(struct tls *tls)
{
	unsigned long code = ERR_peek_error();

	if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
		switch (ERR_GET_REASON(code)) {
		case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
			snprintf(tls->text, sizeof(tls->text), "%s showed no certificate", addr_text(&tls->remote).s);
			return -EACCES;
		case SSL_R_UNEXPECTED_EOF_WHILE_READING:
			/* Ours to word: the exchange knows what was awaited. */
			return -ECONNRESET;
		}
		if (ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET)
			return describe_alert(tls, ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET);
	}
	snprintf(tls->text, sizeof(tls->text), "%s does not speak this TLS: %s", addr_text(&tls->remote).s,
		 drain_errors("unknown error"));
	return -EPROTO;
}

/* The result of an OpenSSL call as ours. Returns 0 at the end of the connection. */
static int take_result(struct tls *tls, int result, int saved_errno)
{
	int ret;

	tls->wants_write = false;
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_WRITE:
		tls->wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		ret = saved_errno ? -saved_errno : -ECONNRESET;
		break;
	default:
		/* Verification has already said it better than the error queue does. */
		ret = tls->text[0] ? -EACCES : describe_protocol_error(tls);
	}
	ERR_clear_error();
	return ret;
}

static int check_peer(struct tls *tls, struct tls_peer *ret_peer)
{
	const unsigned char *alpn;
	unsigned int alpn_len;
	X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
	struct tls_peer peer = { 0 };

	SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_len);
	if (alpn_len != strlen(WIRE_ALPN) || memcmp(alpn, WIRE_ALPN, alpn_len)) {
		snprintf(tls->text, sizeof(tls->text), "%s does not speak %s", addr_text(&tls->remote).s, WIRE_ALPN);
		return -EPROTO;
	}
	/* Verified already by SSL_VERIFY_PEER; asked again because everything hangs on it. */
	if (!certificate || SSL_get_verify_result(tls->ssl) != X509_V_OK) {
		snprintf(tls->text, sizeof(tls->text), "%s is not authenticated", addr_text(&tls->remote).s);
		return -EACCES;
	}
	if (certificate_name(certificate, peer.name) < 0) {
		snprintf(tls->text, sizeof(tls->text), "certificate of %s has no usable common name",
			 addr_text(&tls->remote).s);
		return -EACCES;
	}
	peer.not_after = certificate_not_after(certificate);
	certificate_describe(certificate, &peer.certificate);
	peer.n_hosts = certificate_hosts(certificate, peer.hosts, TLS_HOSTS_MAX);
	*ret_peer = peer;
	return 0;
}

int tls_handshake(struct tls *tls, struct tls_peer *ret_peer)
{
	int result, ret;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(tls->ssl);
	if (result == 1) {
		tls->wants_write = false;
		return check_peer(tls, ret_peer);
	}
	ret = take_result(tls, result, errno);
	if (ret == -EAGAIN && BIO_number_read(SSL_get_rbio(tls->ssl)) > HANDSHAKE_BYTES_MAX) {
		snprintf(tls->text, sizeof(tls->text), "%s says too much before it authenticates",
			 addr_text(&tls->remote).s);
		return -EMSGSIZE;
	}
	return ret == 0 ? -ECONNRESET : ret;
}

ssize_t tls_read(struct tls *tls, void *buffer, size_t size)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_read(tls->ssl, buffer, (int)size);
	return result > 0 ? result : take_result(tls, result, errno);
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t len)
{
	int result, ret;

	ERR_clear_error();
	errno = 0;
	result = SSL_write(tls->ssl, bytes, (int)len);
	if (result > 0)
		return result;
	ret = take_result(tls, result, errno);
	return ret == 0 ? -ECONNRESET : ret;
}

void tls_shutdown(struct tls *tls)
{
	/* After a failed handshake OpenSSL has nothing to say but an error. */
	if (SSL_is_init_finished(tls->ssl))
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

bool tls_wants_write(const struct tls *tls)
{
	return tls->wants_write;
}

const char *tls_text(const struct tls *tls)
{
	return tls->text;
}

int tls_export(struct tls *tls, const char *label, const __u8 *context, size_t context_len, __u8 *ret_bytes, size_t len)
{
	int result = SSL_export_keying_material(tls->ssl, ret_bytes, len, label, strlen(label), context, context_len, 1);

	ERR_clear_error();
	return result == 1 ? 0 : -EPROTO;
}

int tls_random(void *ret_bytes, size_t len)
{
	int result = RAND_bytes(ret_bytes, (int)len);

	ERR_clear_error();
	return result == 1 ? 0 : -EIO;
}
