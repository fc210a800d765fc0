/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Certificates that `holdfast pki` does not make: of authorities under authorities, with keys of another kind, and
 * revocation lists at will. As PEM files in a folder of the test's.
 */
#ifndef HF_SELFTESTS_KMS_CHAIN_H
#define HF_SELFTESTS_KMS_CHAIN_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "selftests/unit/kms_node.h"

struct chain_link {
	X509 *certificate;
	EVP_PKEY *key;
};

static inline void chain_extend(X509 *certificate, X509_CRL *crl, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, crl, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	assert_int_equal(crl ? X509_CRL_add_ext(crl, extension, -1) : X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/*
 * A certificate with this name, signed by `above`, or by itself where that is NULL; of an authority, or with an address.
 * key: taken; NULL: one is made.
 */
static inline struct chain_link chain_make(const char *name, const struct chain_link *above, const char *address, int days,
					   EVP_PKEY *key)
{
	struct chain_link link = { .certificate = X509_new(), .key = key ? key : EVP_EC_gen("P-256") };
	X509 *x = link.certificate, *issuer = above ? above->certificate : x;
	static unsigned int serial = 0x1000;
	char names[64];

	assert_non_null(link.key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), (long)serial++);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	X509_gmtime_adj(X509_getm_notBefore(x), -300);
	X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL);
	X509_set_pubkey(x, link.key);
	chain_extend(x, NULL, issuer, NID_basic_constraints, address ? "critical,CA:FALSE" : "critical,CA:TRUE");
	chain_extend(x, NULL, issuer, NID_subject_key_identifier, "hash");
	if (above)
		chain_extend(x, NULL, issuer, NID_authority_key_identifier, "keyid:always");
	if (address) {
		snprintf(names, sizeof(names), "IP:%s", address);
		chain_extend(x, NULL, issuer, NID_subject_alt_name, names);
	} else {
		chain_extend(x, NULL, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
	}
	assert_true(X509_sign(x, above ? above->key : link.key, EVP_sha256()) > 0);
	return link;
}

static inline void chain_free(struct chain_link *link)
{
	X509_free(link->certificate);
	EVP_PKEY_free(link->key);
}

static inline FILE *chain_open(const char *dir, const char *name, const char *suffix, const char *mode)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s%s", dir, name, suffix);
	file = fopen(path, mode);
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	return file;
}

/* NAME.pem, with those of `above` behind it, and NAME.key. */
static inline void chain_save(const char *dir, const char *name, const struct chain_link *link,
			      const struct chain_link *const *above, size_t n)
{
	FILE *file = chain_open(dir, name, ".pem", "we");

	assert_int_equal(PEM_write_X509(file, link->certificate), 1);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(PEM_write_X509(file, above[i]->certificate), 1);
	fclose(file);
	file = chain_open(dir, name, ".key", "we");
	assert_int_equal(PEM_write_PrivateKey(file, link->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
}

/*
 * The list of `issuer`, which names `revoked` (NULL: nobody), at the end of crl.pem. It runs out after so many seconds.
 * by_key: it says whose it is by the key, too.
 */
static inline void chain_add_crl(const char *dir, const struct chain_link *issuer, const struct chain_link *revoked,
				 long seconds, bool by_key)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -300), *next = X509_gmtime_adj(NULL, seconds);
	FILE *file = chain_open(dir, "crl", ".pem", "ae");

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(crl, now);
	X509_CRL_set1_nextUpdate(crl, next);
	if (by_key)
		chain_extend(NULL, crl, issuer->certificate, NID_authority_key_identifier, "keyid:always");
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
		X509_REVOKED_set_revocationDate(entry, now);
		X509_CRL_add0_revoked(crl, entry);
	}
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509_CRL(file, crl), 1);
	fclose(file);
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	X509_CRL_free(crl);
}

#endif
