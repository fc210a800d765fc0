/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The small certificate authority: its files, what is in them, and what it refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "kms/pki.h"

static char dir[] = "/tmp/holdfast-pki-test-XXXXXX";
static char error[PKI_ERROR_MAX];

static struct hf_addr addr(const char *text)
{
	struct hf_addr address;

	assert_int_equal(addr_parse(text, strlen(text), &address), 0);
	return address;
}

static const char *path(const char *file)
{
	static char full[256];

	snprintf(full, sizeof(full), "%s/%s", dir, file);
	return full;
}

static int make_ca(void **state)
{
	assert_non_null(mkdtemp(dir));
	if (pki_init(dir, error))
		fail_msg("%s", error);
	return 0;
}

static int remove_ca(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static X509 *load(const char *file)
{
	FILE *stream = fopen(path(file), "re");
	X509 *certificate;

	assert_non_null(stream);
	certificate = PEM_read_X509(stream, NULL, NULL, NULL);
	fclose(stream);
	assert_non_null(certificate);
	return certificate;
}

static X509_CRL *load_crl(void)
{
	FILE *stream = fopen(path("crl.pem"), "re");
	X509_CRL *crl;

	assert_non_null(stream);
	crl = PEM_read_X509_CRL(stream, NULL, NULL, NULL);
	fclose(stream);
	assert_non_null(crl);
	return crl;
}

/* What OpenSSL's own verification says: X509_V_OK or its error. */
static int verify(const char *file, int purpose, const char *ip)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509 *ca = load("ca.pem"), *certificate = load(file);
	X509_CRL *crl = load_crl();
	int result;

	X509_STORE_add_cert(store, ca);
	X509_STORE_add_crl(store, crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_X509_STRICT);
	assert_int_equal(X509_STORE_CTX_init(context, store, certificate, NULL), 1);
	X509_STORE_CTX_set_purpose(context, purpose);
	if (ip)
		X509_VERIFY_PARAM_set1_ip_asc(X509_STORE_CTX_get0_param(context), ip);
	X509_verify_cert(context);
	result = X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(ca);
	X509_free(certificate);
	X509_CRL_free(crl);
	return result;
}

static void assert_mode(const char *file, mode_t mode)
{
	struct stat status;

	assert_int_equal(stat(path(file), &status), 0);
	assert_int_equal(status.st_mode & 0777, mode);
}

static void issue(const char *name, const char *address, int days)
{
	struct hf_addr one = addr(address);

	if (pki_issue(dir, name, &one, 1, days, error))
		fail_msg("%s", error);
}

static void makes_files_with_the_right_modes(void **state)
{
	issue("modes", "10.0.0.1", 30);
	assert_mode("ca.key", 0600);
	assert_mode("ca.pem", 0644);
	assert_mode("crl.pem", 0644);
	assert_mode("modes.key", 0600);
	assert_mode("modes.pem", 0644);
}

static void issues_what_verifies(void **state)
{
	struct hf_addr addrs[] = { addr("200.0.0.253"), addr("2001:db8::1") };
	char name[64];
	X509 *certificate;

	assert_int_equal(pki_issue(dir, "gw-1.example_x", addrs, 2, 30, error), 0);
	assert_int_equal(verify("gw-1.example_x.pem", X509_PURPOSE_SSL_SERVER, "200.0.0.253"), X509_V_OK);
	assert_int_equal(verify("gw-1.example_x.pem", X509_PURPOSE_SSL_CLIENT, "2001:db8::1"), X509_V_OK);
	assert_int_equal(verify("gw-1.example_x.pem", X509_PURPOSE_SSL_SERVER, "200.0.0.252"),
			 X509_V_ERR_IP_ADDRESS_MISMATCH);
	certificate = load("gw-1.example_x.pem");
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
	assert_string_equal(name, "gw-1.example_x");
	assert_int_equal(X509_check_ca(certificate), 0);
	assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(certificate)), 256);
	X509_free(certificate);
}

static void issues_without_addresses(void **state)
{
	assert_int_equal(pki_issue(dir, "nowhere", NULL, 0, 30, error), 0);
	assert_int_equal(verify("nowhere.pem", X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
	assert_int_equal(verify("nowhere.pem", X509_PURPOSE_SSL_SERVER, "10.0.0.1"), X509_V_ERR_IP_ADDRESS_MISMATCH);
}

static void issues_expired_ones(void **state)
{
	issue("old", "10.0.0.1", -1);
	assert_int_equal(verify("old.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_CERT_HAS_EXPIRED);
	issue("older", "10.0.0.1", -400);
	assert_int_equal(verify("older.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_CERT_HAS_EXPIRED);
}

static void revokes(void **state)
{
	char kept[256], command[600];
	X509_CRL *crl;

	issue("first", "10.0.0.1", 30);
	issue("second", "10.0.0.2", 30);
	issue("third", "10.0.0.3", 30);
	/* Revoking moves the file away. */
	snprintf(kept, sizeof(kept), "%s", path("kept.pem"));
	snprintf(command, sizeof(command), "cp %s %s", path("first.pem"), kept);
	assert_int_equal(system(command), 0);
	assert_int_equal(pki_revoke(dir, "first", error), 0);
	assert_int_equal(verify("kept.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_CERT_REVOKED);
	assert_int_equal(verify("second.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_OK);
	assert_int_equal(pki_revoke(dir, "second", error), 0);
	assert_int_equal(verify("kept.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_CERT_REVOKED);
	assert_int_equal(verify("third.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_OK);
	crl = load_crl();
	assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 2);
	X509_CRL_free(crl);

	/* The name is free again; what was revoked stays so. */
	issue("first", "10.0.0.1", 30);
	assert_int_equal(verify("first.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_OK);
	assert_int_equal(verify("kept.pem", X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_CERT_REVOKED);
	assert_int_equal(pki_revoke(dir, "never-issued", error), -ENOENT);
	assert_non_null(strstr(error, "never-issued.pem"));
}

/* How many extensions say whose list it is; the one that there is has the key of this authority. */
static int count_authority_keys(X509 *authority)
{
	X509_CRL *crl = load_crl();
	AUTHORITY_KEYID *id = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	int n = 0;

	assert_non_null(id);
	assert_int_equal(ASN1_OCTET_STRING_cmp(id->keyid, X509_get0_subject_key_id(authority)), 0);
	for (int i = 0; i < X509_CRL_get_ext_count(crl); i++)
		n += OBJ_obj2nid(X509_EXTENSION_get_object(X509_CRL_get_ext(crl, i))) == NID_authority_key_identifier;
	AUTHORITY_KEYID_free(id);
	X509_CRL_free(crl);
	return n;
}

/* Two authorities are never taken for each other, nor are their lists (RFC 5280, 5.2.1). */
static void tells_authorities_apart(void **state)
{
	char other[300];
	X509 *one = load("ca.pem"), *two;

	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(pki_init(other, error), 0);
	two = load("other/ca.pem");
	assert_int_not_equal(X509_NAME_cmp(X509_get_subject_name(one), X509_get_subject_name(two)), 0);
	assert_int_equal(count_authority_keys(one), 1);
	issue("apart", "10.0.0.1", 30);
	assert_int_equal(pki_revoke(dir, "apart", error), 0);
	assert_int_equal(count_authority_keys(one), 1);
	X509_free(one);
	X509_free(two);
}

static void overwrites_nothing(void **state)
{
	struct hf_addr one = addr("10.0.0.1");
	X509 *before, *after;

	before = load("ca.pem");
	assert_int_equal(pki_init(dir, error), -EEXIST);
	assert_non_null(strstr(error, "ca.pem exists already"));
	after = load("ca.pem");
	assert_int_equal(X509_cmp(before, after), 0);
	X509_free(before);
	X509_free(after);

	issue("twice", "10.0.0.1", 30);
	assert_int_equal(pki_issue(dir, "twice", &one, 1, 30, error), -EEXIST);
	assert_int_equal(unlink(path("twice.pem")), 0);
	assert_int_equal(pki_issue(dir, "twice", &one, 1, 30, error), -EEXIST);
	assert_non_null(strstr(error, "twice.key exists already"));
}

static void refuses_names_that_are_no_files(void **state)
{
	static const char *const names[] = { "", "a/b", "../a", ".a", "-a", "a b", "a\nb", "ca", "crl", "\xc3\xa4" };
	char longest[80];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (pki_issue(dir, names[i], NULL, 0, 30, error) != -EINVAL || pki_revoke(dir, names[i], error) != -EINVAL)
			fail_msg("\"%s\" passed", names[i]);
	memset(longest, 'x', sizeof(longest));
	longest[64] = 0;
	assert_int_equal(pki_issue(dir, longest, NULL, 0, 30, error), -EINVAL);
	longest[63] = 0;
	assert_int_equal(pki_issue(dir, longest, NULL, 0, 30, error), 0);
}

static void says_what_is_missing(void **state)
{
	char elsewhere[300];

	snprintf(elsewhere, sizeof(elsewhere), "%s/deeper/still", dir);
	assert_int_equal(pki_init(elsewhere, error), -ENOENT);
	assert_non_null(strstr(error, elsewhere));
	snprintf(elsewhere, sizeof(elsewhere), "%s/empty", dir);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(pki_issue(elsewhere, "a", NULL, 0, 30, error), -ENOENT);
	assert_non_null(strstr(error, "ca.pem"));
}

static void issues_nothing_that_outlives_the_ca(void **state)
{
	struct hf_addr one = addr("10.0.0.1");

	assert_int_equal(pki_issue(dir, "late", &one, 1, 20 * 365 + 1, error), -EINVAL);
	assert_non_null(strstr(error, "7301 days: the authority itself ends in 7"));
	assert_int_equal(access(path("late.key"), F_OK), -1);
	issue("late", "10.0.0.1", 20 * 365 - 1);
}

/* The list cannot be written: there is no authority then, and none that is in the way of the next try. */
static void makes_a_whole_ca_or_none(void **state)
{
	char folder[300], list[320], name[320];

	snprintf(folder, sizeof(folder), "%s/half", dir);
	snprintf(list, sizeof(list), "%s/crl.pem", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(mkdir(list, 0700), 0);
	assert_true(pki_init(folder, error) < 0);
	assert_non_null(strstr(error, list));
	snprintf(name, sizeof(name), "%s/ca.pem", folder);
	assert_int_equal(access(name, F_OK), -1);
	snprintf(name, sizeof(name), "%s/ca.key", folder);
	assert_int_equal(access(name, F_OK), -1);
	assert_int_equal(rmdir(list), 0);
	assert_int_equal(pki_init(folder, error), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_files_with_the_right_modes),
		cmocka_unit_test(issues_what_verifies),
		cmocka_unit_test(issues_without_addresses),
		cmocka_unit_test(issues_expired_ones),
		cmocka_unit_test(revokes),
		cmocka_unit_test(tells_authorities_apart),
		cmocka_unit_test(overwrites_nothing),
		cmocka_unit_test(refuses_names_that_are_no_files),
		cmocka_unit_test(says_what_is_missing),
		cmocka_unit_test(issues_nothing_that_outlives_the_ca),
		cmocka_unit_test(makes_a_whole_ca_or_none),
	};

	return cmocka_run_group_tests_name("pki", tests, make_ca, remove_ca);
}
