/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kms/link.h"

#define CA_DAYS (20 * 365)
#define CRL_DAYS (10 * 365)
#define DAY_S 86400L
/* Clocks differ: what is issued now is valid a little before. */
#define BACKDATE_S 300L
#define NODE_NAME_MAX (KMS_NAME_MAX - 1)

struct authority {
	X509 *certificate;
	EVP_PKEY *key;
};

static int __attribute__((format(printf, 3, 4))) fail(char *error, int ret, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, PKI_ERROR_MAX, format, args);
	va_end(args);
	return ret;
}

/* What OpenSSL has to say, with its queue emptied. */
static int fail_openssl(char *error, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return fail(error, -EIO, "%s: %s", what, reason ? reason : "OpenSSL failed");
}

/* ---- files ---- */

static int path_of(char path[PATH_MAX], const char *dir, const char *name, const char *suffix, char *error)
{
	int len = snprintf(path, PATH_MAX, "%s/%s%s", dir, name, suffix);

	return len < 0 || len >= PATH_MAX ? fail(error, -ENAMETOOLONG, "%s: too long", dir) : 0;
}

static int refuse_existing(const char *dir, const char *name, char *error)
{
	static const char *const suffixes[] = { ".pem", ".key" };
	char path[PATH_MAX];

	for (size_t i = 0; i < 2; i++) {
		int ret = path_of(path, dir, name, suffixes[i], error);

		if (ret < 0)
			return ret;
		if (!access(path, F_OK))
			return fail(error, -EEXIST, "%s exists already: it is not overwritten", path);
		if (errno != ENOENT)
			return fail(error, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

/* How the kinds of things are written. */
static int write_key(FILE *file, void *thing)
{
	return PEM_write_PrivateKey(file, thing, NULL, NULL, 0, NULL, NULL);
}

static int write_certificate(FILE *file, void *thing)
{
	return PEM_write_X509(file, thing);
}

static int write_crl(FILE *file, void *thing)
{
	return PEM_write_X509_CRL(file, thing);
}

/* Writes beside and renames (or links, where nothing may be overwritten): there is never half a file. */
static int save(const char *path, mode_t mode, bool overwrite, int (*write_thing)(FILE *file, void *thing), void *thing,
		char *error)
{
	char temporary[PATH_MAX + 16];
	FILE *file = NULL;
	int fd, ret = 0;

	snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	fd = mkstemp(temporary); /* 0600 */
	if (fd < 0)
		return fail(error, -errno, "%s: %s", temporary, strerror(errno));
	file = fdopen(fd, "w");
	if (!file) {
		ret = fail(error, -errno, "%s: %s", path, strerror(errno));
		close(fd);
		goto out;
	}
	/* A full disk may show at the flush only. */
	if (write_thing(file, thing) != 1 || fflush(file) || fchmod(fd, mode) < 0 || fsync(fd) < 0)
		ret = fail(error, errno ? -errno : -EIO, "%s: cannot be written: %s", path, strerror(errno));
	fclose(file);
	if (!ret && (overwrite ? rename(temporary, path) : link(temporary, path)) < 0)
		ret = fail(error, -errno, "%s: %s", path, strerror(errno));
out:
	if (ret || !overwrite)
		unlink(temporary);
	ERR_clear_error();
	return ret;
}

/* A key and its certificate; without the certificate, the key goes too. */
static int save_pair(const char *dir, const char *name, EVP_PKEY *key, X509 *certificate, char *error)
{
	char key_path[PATH_MAX], path[PATH_MAX];
	int ret = path_of(key_path, dir, name, ".key", error);

	if (!ret)
		ret = path_of(path, dir, name, ".pem", error);
	if (!ret)
		ret = save(key_path, 0600, false, write_key, key, error);
	if (ret)
		return ret;
	ret = save(path, 0644, false, write_certificate, certificate, error);
	if (ret)
		unlink(key_path);
	return ret;
}

/* As if it had never been saved: the next try finds nothing that is in its way. */
static void unsave_pair(const char *dir, const char *name)
{
	static const char *const suffixes[] = { ".pem", ".key" };
	char path[PATH_MAX], error[PKI_ERROR_MAX];

	for (size_t i = 0; i < 2; i++)
		if (!path_of(path, dir, name, suffixes[i], error))
			unlink(path);
}

static FILE *open_file(const char *dir, const char *name, const char *suffix, char *error, int *ret_error)
{
	char path[PATH_MAX];
	FILE *file = NULL;

	*ret_error = path_of(path, dir, name, suffix, error);
	if (*ret_error)
		return NULL;
	file = fopen(path, "re");
	if (!file)
		*ret_error = fail(error, -errno, "%s: %s", path, strerror(errno));
	return file;
}

static int load_certificate(const char *dir, const char *name, X509 **ret_certificate, char *error)
{
	int ret;
	FILE *file = open_file(dir, name, ".pem", error, &ret);

	if (!file)
		return ret;
	*ret_certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	ERR_clear_error();
	return *ret_certificate ? 0 : fail(error, -EINVAL, "%s/%s.pem: no certificate in PEM form", dir, name);
}

static int load_key(const char *dir, const char *name, EVP_PKEY **ret_key, char *error)
{
	int ret;
	FILE *file = open_file(dir, name, ".key", error, &ret);

	if (!file)
		return ret;
	*ret_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	ERR_clear_error();
	return *ret_key ? 0 : fail(error, -EINVAL, "%s/%s.key: no private key in PEM form", dir, name);
}

static void authority_clear(struct authority *authority)
{
	X509_free(authority->certificate);
	EVP_PKEY_free(authority->key);
	memset(authority, 0, sizeof(*authority));
}

static int authority_load(const char *dir, struct authority *authority, char *error)
{
	int ret = load_certificate(dir, "ca", &authority->certificate, error);

	if (!ret)
		ret = load_key(dir, "ca", &authority->key, error);
	if (!ret && X509_check_private_key(authority->certificate, authority->key) != 1) {
		ERR_clear_error();
		ret = fail(error, -EINVAL, "%s: ca.key does not belong to ca.pem", dir);
	}
	return ret;
}

/* ---- certificates ---- */

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok ? 0 : -EIO;
}

static int add_addresses(X509 *certificate, const struct hf_addr *addrs, size_t n)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	int ret = names ? 0 : -ENOMEM;

	for (size_t i = 0; !ret && i < n; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
		__be32 v4 = addr_to_be32(&addrs[i]);
		int ok = addr_is_v4(&addrs[i]) ? ASN1_OCTET_STRING_set(bytes, (unsigned char *)&v4, 4) :
						 ASN1_OCTET_STRING_set(bytes, addrs[i].b, 16);

		if (!name || !ok) {
			ASN1_OCTET_STRING_free(bytes);
			GENERAL_NAME_free(name);
			ret = -ENOMEM;
			break;
		}
		GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
		if (!sk_GENERAL_NAME_push(names, name)) {
			GENERAL_NAME_free(name);
			ret = -ENOMEM;
		}
	}
	if (!ret && n && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) != 1)
		ret = -EIO;
	GENERAL_NAMES_free(names);
	return ret;
}

/* Random, positive, 127 bits: never the same twice, and nothing to keep count of (RFC 5280, 4.1.2.2). */
static int set_serial(X509 *certificate)
{
	unsigned char bytes[16];
	BIGNUM *number;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return ok ? 0 : -EIO;
}

/* Everything but extensions and signature. */
static X509 *certificate_new(const char *name, X509 *issuer, EVP_PKEY *key, int days)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_NAME_new();
	long end = days * DAY_S;
	/* One that has expired began before it ended. */
	long begin = (end < 0 ? end - DAY_S : 0) - BACKDATE_S;
	bool ok = certificate && subject && X509_set_version(certificate, X509_VERSION_3) == 1 &&
		  set_serial(certificate) == 0 &&
		  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) == 1 &&
		  X509_set_subject_name(certificate, subject) == 1 &&
		  X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
		  X509_gmtime_adj(X509_getm_notBefore(certificate), begin) &&
		  X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, NULL) &&
		  X509_set_pubkey(certificate, key) == 1;

	X509_NAME_free(subject);
	if (ok)
		return certificate;
	X509_free(certificate);
	return NULL;
}

struct extension {
	int nid;
	const char *value;
};

static int add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions, size_t n)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < n; i++)
		ret = add_extension(certificate, issuer, extensions[i].nid, extensions[i].value);
	return ret;
}

/*
 * "Holdfast CA" and the beginning of its key's identifier (RFC 5280, 4.2.1.2): two authorities are never of one name, by
 * which revocation lists are looked for.
 */
static int name_authority(EVP_PKEY *key, char *ret_name, size_t size)
{
	X509_PUBKEY *wrapped = NULL;
	const unsigned char *bytes;
	unsigned char id[EVP_MAX_MD_SIZE];
	int len, ret = -EIO;

	if (X509_PUBKEY_set(&wrapped, key) == 1 && X509_PUBKEY_get0_param(NULL, &bytes, &len, NULL, wrapped) == 1 &&
	    EVP_Digest(bytes, (size_t)len, id, NULL, EVP_sha1(), NULL) == 1) {
		snprintf(ret_name, size, "Holdfast CA %02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
		ret = 0;
	}
	X509_PUBKEY_free(wrapped);
	return ret;
}

static int make_authority(const char *dir, struct authority *authority, char *error)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_key_identifier, "hash" },
	};
	char name[32];

	authority->key = EVP_EC_gen("P-256");
	if (authority->key && !name_authority(authority->key, name, sizeof(name)))
		authority->certificate = certificate_new(name, NULL, authority->key, CA_DAYS);
	if (!authority->certificate ||
	    add_extensions(authority->certificate, authority->certificate, extensions, 3) < 0 ||
	    !X509_sign(authority->certificate, authority->key, EVP_sha256()))
		return fail_openssl(error, "CA certificate");
	return save_pair(dir, "ca", authority->key, authority->certificate, error);
}

/* ---- the revocation list ---- */

/*
 * Whose list it is: by key, not by name alone (RFC 5280, 5.2.1). In the place of what the list before had. An authority of
 * another make may have no identifier to say it by.
 */
static bool identify_authority(X509_CRL *crl, X509 *certificate)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(certificate);
	AUTHORITY_KEYID *authority = id ? AUTHORITY_KEYID_new() : NULL;
	bool ok = false;

	if (!id)
		return true;
	if (authority)
		authority->keyid = ASN1_OCTET_STRING_dup(id);
	if (authority && authority->keyid)
		ok = X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, authority, 0, X509V3_ADD_REPLACE) == 1;
	AUTHORITY_KEYID_free(authority);
	return ok;
}

/* Numbers, times and signs it, and puts it in the place of the one before. */
static int save_crl(const char *dir, const struct authority *authority, X509_CRL *crl, long number, char *error)
{
	char path[PATH_MAX];
	ASN1_TIME *now = X509_gmtime_adj(NULL, -BACKDATE_S);
	ASN1_TIME *next = X509_time_adj_ex(NULL, CRL_DAYS, 0, NULL);
	ASN1_INTEGER *count = ASN1_INTEGER_new();
	int ret = path_of(path, dir, "crl", ".pem", error);
	bool ok = now && next && count && ASN1_INTEGER_set(count, number) == 1 &&
		  X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority->certificate)) == 1 &&
		  X509_CRL_set1_lastUpdate(crl, now) == 1 && X509_CRL_set1_nextUpdate(crl, next) == 1 &&
		  X509_CRL_add1_ext_i2d(crl, NID_crl_number, count, 0, X509V3_ADD_REPLACE) == 1 &&
		  identify_authority(crl, authority->certificate) &&
		  X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, authority->key, EVP_sha256());

	if (!ret)
		ret = ok ? save(path, 0644, true, write_crl, crl, error) : fail_openssl(error, "revocation list");
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	ASN1_INTEGER_free(count);
	return ret;
}

static int make_crl(const char *dir, const struct authority *authority, char *error)
{
	X509_CRL *crl = X509_CRL_new();
	int ret = crl ? save_crl(dir, authority, crl, 1, error) : fail(error, -ENOMEM, "out of memory");

	X509_CRL_free(crl);
	return ret;
}

static int load_crl(const char *dir, X509_CRL **ret_crl, long *ret_number, char *error)
{
	int ret;
	FILE *file = open_file(dir, "crl", ".pem", error, &ret);
	ASN1_INTEGER *count;

	if (!file)
		return ret;
	*ret_crl = PEM_read_X509_CRL(file, NULL, NULL, NULL);
	fclose(file);
	ERR_clear_error();
	if (!*ret_crl)
		return fail(error, -EINVAL, "%s/crl.pem: no revocation list in PEM form", dir);
	count = X509_CRL_get_ext_d2i(*ret_crl, NID_crl_number, NULL, NULL);
	*ret_number = count ? ASN1_INTEGER_get(count) : 0;
	ASN1_INTEGER_free(count);
	return 0;
}

static int add_revoked(X509_CRL *crl, const X509 *certificate)
{
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -BACKDATE_S);
	bool ok = revoked && now &&
		  X509_REVOKED_set_serialNumber(revoked, (ASN1_INTEGER *)X509_get0_serialNumber(certificate)) == 1 &&
		  X509_REVOKED_set_revocationDate(revoked, now) == 1 && X509_CRL_add0_revoked(crl, revoked) == 1;

	ASN1_TIME_free(now);
	if (!ok)
		X509_REVOKED_free(revoked);
	return ok ? 0 : -EIO;
}

/* NAME.pem and NAME.key give way to a certificate issued anew. */
static int move_away(const char *dir, const char *name, X509 *certificate, char *error)
{
	static const char *const suffixes[] = { ".pem", ".key" };
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *serial = number ? BN_bn2hex(number) : NULL;
	int ret = serial ? 0 : fail(error, -ENOMEM, "out of memory");

	for (size_t i = 0; !ret && i < 2; i++) {
		char from[PATH_MAX], to[PATH_MAX], suffix[96];

		snprintf(suffix, sizeof(suffix), ".revoked-%.64s%s", serial, suffixes[i]);
		ret = path_of(from, dir, name, suffixes[i], error);
		if (!ret)
			ret = path_of(to, dir, name, suffix, error);
		/* The key may never have been here. */
		if (!ret && rename(from, to) < 0 && errno != ENOENT)
			ret = fail(error, -errno, "%s: %s", from, strerror(errno));
	}
	OPENSSL_free(serial);
	BN_free(number);
	return ret;
}

/* ---- the commands ---- */

static int check_name(const char *name, char *error)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t len = strlen(name);

	if (!len || len > NODE_NAME_MAX || strspn(name, allowed) != len || name[0] == '.' || name[0] == '-')
		return fail(error, -EINVAL,
			    "\"%s\" is no name for a certificate: 1 to %d letters, digits, '.', '-', '_', "
			    "not beginning with '.' or '-'",
			    name, NODE_NAME_MAX);
	if (!strcmp(name, "ca") || !strcmp(name, "crl"))
		return fail(error, -EINVAL, "\"%s\" is the name of a file of the CA itself", name);
	return 0;
}

int pki_init(const char *dir, char error[PKI_ERROR_MAX])
{
	struct authority authority = { 0 };
	int ret;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail(error, -errno, "%s: %s", dir, strerror(errno));
	ret = refuse_existing(dir, "ca", error);
	if (!ret)
		ret = make_authority(dir, &authority, error);
	if (!ret) {
		ret = make_crl(dir, &authority, error);
		if (ret)
			unsave_pair(dir, "ca");
	}
	authority_clear(&authority);
	return ret;
}

static X509 *make_certificate(const struct authority *authority, const char *name, EVP_PKEY *key,
			      const struct hf_addr *addrs, size_t n, int days)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "serverAuth,clientAuth" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid:always" },
	};
	X509 *certificate = certificate_new(name, authority->certificate, key, days);

	if (certificate &&
	    add_extensions(certificate, authority->certificate, extensions,
			   sizeof(extensions) / sizeof(extensions[0])) == 0 &&
	    add_addresses(certificate, addrs, n) == 0 && X509_sign(certificate, authority->key, EVP_sha256()))
		return certificate;
	X509_free(certificate);
	return NULL;
}

/* Beyond the end of its authority nobody takes it: better said now than noticed then. */
static int check_end(const struct authority *authority, const X509 *certificate, int days, char *error)
{
	const ASN1_TIME *end = X509_get0_notAfter(authority->certificate);
	int left = 0, seconds;

	if (ASN1_TIME_compare(X509_get0_notAfter(certificate), end) <= 0)
		return 0;
	ASN1_TIME_diff(&left, &seconds, NULL, end);
	return fail(error, -EINVAL, "%d days: the authority itself ends in %d", days, left);
}

int pki_issue(const char *dir, const char *name, const struct hf_addr *addrs, size_t n, int days,
	      char error[PKI_ERROR_MAX])
{
	struct authority authority = { 0 };
	EVP_PKEY *key = NULL;
	X509 *certificate = NULL;
	int ret = check_name(name, error);

	if (!ret)
		ret = refuse_existing(dir, name, error);
	if (!ret)
		ret = authority_load(dir, &authority, error);
	if (ret)
		goto out;
	key = EVP_EC_gen("P-256");
	certificate = key ? make_certificate(&authority, name, key, addrs, n, days) : NULL;
	ret = certificate ? check_end(&authority, certificate, days, error) : fail_openssl(error, name);
	if (!ret)
		ret = save_pair(dir, name, key, certificate, error);
out:
	X509_free(certificate);
	EVP_PKEY_free(key);
	authority_clear(&authority);
	return ret;
}

int pki_revoke(const char *dir, const char *name, char error[PKI_ERROR_MAX])
{
	struct authority authority = { 0 };
	X509 *certificate = NULL;
	X509_CRL *crl = NULL;
	long number = 0;
	int ret = check_name(name, error);

	if (!ret)
		ret = load_certificate(dir, name, &certificate, error);
	if (!ret)
		ret = authority_load(dir, &authority, error);
	if (!ret)
		ret = load_crl(dir, &crl, &number, error);
	if (!ret && add_revoked(crl, certificate) < 0)
		ret = fail_openssl(error, "revocation list");
	if (!ret)
		ret = save_crl(dir, &authority, crl, number + 1, error);
	if (!ret)
		ret = move_away(dir, name, certificate, error);
	X509_CRL_free(crl);
	X509_free(certificate);
	authority_clear(&authority);
	return ret;
}
