/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a certificate says, and why that of the other end is not accepted, in words. */
#include "kms/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/text.h"

/* ---- certificates ---- */

/* As holdfastd sees it (loader/admission.c). There is a NUL behind it; one within is none. */
static bool name_is_usable(const unsigned char *name, int len)
{
	return len >= 1 && len < KMS_NAME_MAX && strlen((const char *)name) == (size_t)len &&
	       text_is_printable((const char *)name);
}

/* The one subject common name. None, two, or one with control bytes in it (NUL above all): -EINVAL. */
int tls_certificate_name(X509 *certificate, char ret_name[KMS_NAME_MAX])
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

__s64 tls_seconds(const ASN1_TIME *when)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) != 1)
		return 0;
	return (__s64)timegm(&tm);
}

__s64 tls_certificate_not_after(X509 *certificate)
{
	return tls_seconds(X509_get0_notAfter(certificate));
}

__s64 tls_chain_not_after(STACK_OF(X509) *chain)
{
	__s64 first = INT64_MAX;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		__s64 end = tls_certificate_not_after(sk_X509_value(chain, i));

		first = end < first ? end : first;
	}
	return first;
}

/* A serial number longer than the standard has is not known: serial_len 0. */
void tls_certificate_describe(X509 *certificate, struct kms_listed *ret_listed)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	int len = ASN1_STRING_length(serial);

	memset(ret_listed, 0, sizeof(*ret_listed));
	if (len < 1 || len > KMS_SERIAL_MAX ||
	    X509_NAME_digest(X509_get_issuer_name(certificate), EVP_sha256(), ret_listed->issuer, NULL) != 1)
		return;
	memcpy(ret_listed->serial, ASN1_STRING_get0_data(serial), (size_t)len);
	ret_listed->serial_len = (__u8)len;
}

int tls_chain_describe(STACK_OF(X509) *chain, struct kms_certificate *ret_certificate)
{
	struct kms_certificate certificate = { 0 };

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *one = sk_X509_value(chain, i);

		/* Nobody is above a root who could revoke it. */
		if (i && X509_self_signed(one, 0) == 1)
			continue;
		if (certificate.n == KMS_CHAIN_MAX)
			return -E2BIG;
		tls_certificate_describe(one, &certificate.chain[certificate.n++]);
	}
	*ret_certificate = certificate;
	return 0;
}

size_t tls_certificate_hosts(X509 *certificate, struct hf_addr *hosts, size_t max)
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

/* ---- verification ---- */

/* The addresses of a certificate, for a message: "10.9.9.9, 10.9.9.10". */
static void list_hosts(X509 *certificate, char *text, size_t size)
{
	struct hf_addr hosts[4];
	size_t n = tls_certificate_hosts(certificate, hosts, sizeof(hosts) / sizeof(hosts[0]));
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

/*
 * The peer's own certificate needs a revocation list of its issuer; those of authorities are held against one only where
 * there is one. Above a trust anchor that is no root there is nobody whose signature a list could be held against.
 */
static bool may_lack_list(X509_STORE_CTX *store)
{
	int depth = X509_STORE_CTX_get_error_depth(store);
	bool anchor = depth == sk_X509_num(X509_STORE_CTX_get0_chain(store)) - 1;

	if (!depth)
		return false;
	switch (X509_STORE_CTX_get_error(store)) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return true;
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
		return anchor && X509_self_signed(X509_STORE_CTX_get_current_cert(store), 0) != 1;
	}
	return false;
}

/* Whether the certificate that is looked at is on a list all the same, which OpenSSL did not find to be for it. */
static bool is_listed(X509_STORE_CTX *store)
{
	struct kms_listed listed;

	tls_certificate_describe(X509_STORE_CTX_get_current_cert(store), &listed);
	return tls_store_revokes(X509_STORE_CTX_get0_store(store), &listed);
}

int tls_verify_certificate(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (ok)
		return 1;
	if (may_lack_list(store)) {
		bool listed = is_listed(store);

		X509_STORE_CTX_set_error(store, listed ? X509_V_ERR_CERT_REVOKED : X509_V_OK);
		if (!listed)
			return 1;
	}
	describe_verify_error(SSL_get_app_data(ssl), store);
	return 0;
}
