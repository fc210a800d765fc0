/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process and one connection. */
#include "kms/tls_internal.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kms/wire.h"

#define HANDSHAKE_BYTES_MAX (64u << 10) /* of the other end, before it has authenticated; OpenSSL bounds each message */

/* ---- errors ---- */

/* Empties OpenSSL's error queue; the text of its first entry, or fallback. */
const char *tls_drain_errors(const char *fallback)
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

/*
 * Everything else of OpenSSL's. It wipes what it knows to be a key, but not all that a key went through on its way (the
 * decoding of its file, the secrets of a connection that is freed), so here everything is wiped.
 */

static void *heap_alloc(size_t len, const char *file, int line)
{
	return len ? malloc(len) : NULL;
}

static void heap_free(void *bytes, const char *file, int line)
{
	if (bytes)
		explicit_bzero(bytes, malloc_usable_size(bytes));
	free(bytes);
}

/* Never by realloc(), which leaves behind what it has moved. */
static void *heap_realloc(void *bytes, size_t len, const char *file, int line)
{
	size_t before = bytes ? malloc_usable_size(bytes) : 0;
	void *grown = heap_alloc(len, file, line);

	if (grown && before)
		memcpy(grown, bytes, before < len ? before : len);
	if (grown || !len)
		heap_free(bytes, file, line);
	return grown;
}

int tls_init(void)
{
	__u8 seed[8];
	int wiped = CRYPTO_set_mem_functions(heap_alloc, heap_realloc, heap_free);
	int heap = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_LEAST);

	tzset();
	if (!wiped || !heap || OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1 ||
	    tls_random(seed, sizeof(seed)) < 0) {
		ERR_clear_error();
		return -ENOMEM;
	}
	return heap == 2;
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
		 tls_drain_errors("unknown error"));
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
	STACK_OF(X509) *chain = SSL_get0_verified_chain(tls->ssl);
	struct tls_peer peer = { 0 };

	SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_len);
	if (alpn_len != strlen(WIRE_ALPN) || memcmp(alpn, WIRE_ALPN, alpn_len)) {
		snprintf(tls->text, sizeof(tls->text), "%s does not speak %s", addr_text(&tls->remote).s, WIRE_ALPN);
		return -EPROTO;
	}
	/* Verified already by SSL_VERIFY_PEER; asked again because everything hangs on it. */
	if (!certificate || sk_X509_num(chain) < 1 || SSL_get_verify_result(tls->ssl) != X509_V_OK) {
		snprintf(tls->text, sizeof(tls->text), "%s is not authenticated", addr_text(&tls->remote).s);
		return -EACCES;
	}
	if (tls_certificate_name(certificate, peer.name) < 0) {
		snprintf(tls->text, sizeof(tls->text), "certificate of %s has no usable common name",
			 addr_text(&tls->remote).s);
		return -EACCES;
	}
	if (tls_chain_describe(chain, &peer.certificate) < 0) {
		snprintf(tls->text, sizeof(tls->text), "certificate of %s has too many authorities above it",
			 addr_text(&tls->remote).s);
		return -EACCES;
	}
	peer.not_after = tls_chain_not_after(chain);
	peer.n_hosts = tls_certificate_hosts(certificate, peer.hosts, TLS_HOSTS_MAX);
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
