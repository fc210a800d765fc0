/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is left of secrets in the memory of a process when they have had their use: nothing. Looks through all of its own
 * writable memory, its stack apart, and remembers what it looks for with all bits turned.
 */
#include "selftests/unit/kms_chain.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ssl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kms/tls_internal.h"
#include "lib/privilege.h"
#include "lib/secret.h"

#define SECRET_LEN 32
#define SECRETS_MAX 16

struct turned {
	__u8 bytes[SECRET_LEN];
};

static __u8 turn(__u8 byte)
{
	return byte ^ 0xff;
}

static char pki[] = "/tmp/holdfast-memory-test-XXXXXX";
static struct turned secrets[SECRETS_MAX];
static size_t n_secrets;

/* ---- looking ---- */

static bool lies_at(const __u8 *at, const struct turned *secret)
{
	for (size_t i = 0; i < SECRET_LEN; i++)
		if (at[i] != turn(secret->bytes[i]))
			return false;
	return true;
}

static size_t count_within(const __u8 *first, const __u8 *end, const struct turned *secret)
{
	const __u8 begin = turn(secret->bytes[0]);
	size_t n = 0;

	while (end - first >= SECRET_LEN && (first = memchr(first, begin, (size_t)(end - first) - SECRET_LEN + 1)))
		n += lies_at(first++, secret);
	return n;
}

/* How often it lies anywhere. */
static size_t count_secret(const struct turned *secret)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long first, end;
	char line[512], mode[5];
	size_t n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %4s", &first, &end, mode) == 3 && !strncmp(mode, "rw", 2) && !strstr(line, "[stack]"))
			n += count_within((const __u8 *)first, (const __u8 *)end, secret);
	fclose(maps);
	return n;
}

/* There is too much memory then to be looked through. */
static void skip_with_sanitizer(void)
{
	if (PRIVILEGE_SANITIZER)
		skip();
}

static void remember(struct turned *ret_secret, const __u8 *bytes)
{
	for (size_t i = 0; i < SECRET_LEN; i++)
		ret_secret->bytes[i] = turn(bytes[i]);
}

/* ---- an exchange within this process ---- */

static struct tls_identity *identity_load(const char *name)
{
	static const char *const suffixes[] = { ".pem", ".key", ".pem" };
	const char *const names[] = { name, name, "ca" };
	struct tls_identity *identity;
	char text[KMS_TEXT_MAX];
	int fds[3];

	for (size_t i = 0; i < 3; i++) {
		FILE *file = chain_open(pki, names[i], suffixes[i], "re");

		fds[i] = dup(fileno(file));
		fclose(file);
	}
	if (tls_identity_load(fds, false, &identity, text))
		fail_msg("%s", text);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	return identity;
}

static __u8 nibble(char digit)
{
	return (__u8)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* A line of SSLKEYLOGFILE: what it is, the client's random number, and the secret. */
static void on_key_log(const SSL *ssl, const char *line)
{
	const char *hex = strrchr(line, ' ') + 1;

	assert_true(n_secrets < SECRETS_MAX);
	assert_true(strlen(hex) >= 2 * (size_t)SECRET_LEN);
	for (size_t i = 0; i < SECRET_LEN; i++)
		secrets[n_secrets].bytes[i] = turn((__u8)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1])));
	n_secrets++;
}

static void shake_hands(struct tls *client, struct tls *server)
{
	static struct tls_peer peer;
	int c = -EAGAIN, s = -EAGAIN;

	while (c || s) {
		if (c)
			c = tls_handshake(client, &peer);
		if (s)
			s = tls_handshake(server, &peer);
		if ((c && c != -EAGAIN) || (s && s != -EAGAIN))
			fail_msg("%s; %s", tls_text(client), tls_text(server));
	}
}

static void export(struct tls *client, struct tls *server)
{
	__u8 *keys = secret_alloc(64), *same = secret_alloc(64);

	assert_int_equal(tls_export(client, "label", (const __u8 *)"x", 1, keys, 64), 0);
	assert_int_equal(tls_export(server, "label", (const __u8 *)"x", 1, same, 64), 0);
	assert_memory_equal(keys, same, 64);
	remember(&secrets[n_secrets++], keys);
	secret_free(keys, 64);
	secret_free(same, 64);
}

/* The exporter's secret and those of the traffic, and what came out. */
static void leaves_nothing_of_a_connection(void **state)
{
	struct tls_identity *one, *two;
	struct hf_addr gateway = node_addr("192.0.2.1"), from = node_addr("192.0.2.2");
	struct tls *client, *server;
	size_t held = 0;
	int pair[2];

	skip_with_sanitizer();
	one = identity_load("client");
	two = identity_load("gateway");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	SSL_CTX_set_keylog_callback(one->context, on_key_log);
	assert_int_equal(tls_open(one, pair[0], &gateway, &gateway, &client), 0);
	assert_int_equal(tls_open(two, pair[1], NULL, &from, &server), 0);
	shake_hands(client, server);
	export(client, server);
	for (size_t i = 0; i < n_secrets; i++)
		held += count_secret(&secrets[i]);
	assert_true(n_secrets >= 6 && held); /* they are found where they are */
	tls_free(client);
	tls_free(server);
	tls_identity_free(one);
	tls_identity_free(two);
	for (size_t i = 0; i < n_secrets; i++)
		if (count_secret(&secrets[i]))
			fail_msg("secret %zu lies in %zu places", i, count_secret(&secrets[i]));
	close(pair[0]);
	close(pair[1]);
}

/* The number that the key is: as in its file, and as OpenSSL counts with it (on a machine like this one). */
static void key_of(const struct tls_identity *identity, struct turned *ret_big, struct turned *ret_little)
{
	BIGNUM *number = NULL;
	__u8 *bytes = secret_alloc(SECRET_LEN);

	assert_int_equal(EVP_PKEY_get_bn_param(SSL_CTX_get0_privatekey(identity->context), OSSL_PKEY_PARAM_PRIV_KEY, &number),
			 1);
	assert_int_equal(BN_bn2binpad(number, bytes, SECRET_LEN), SECRET_LEN);
	remember(ret_big, bytes);
	assert_int_equal(BN_bn2nativepad(number, bytes, SECRET_LEN), SECRET_LEN);
	remember(ret_little, bytes);
	secret_free(bytes, SECRET_LEN);
	BN_clear_free(number);
}

static void leaves_nothing_of_a_key(void **state)
{
	struct tls_identity *identity;
	struct turned big, little;

	skip_with_sanitizer();
	identity = identity_load("gateway");
	key_of(identity, &big, &little);
	assert_int_equal(count_secret(&big), 0);
	assert_int_equal(count_secret(&little), 1); /* where it is in use, in the heap for keys */
	tls_identity_free(identity);
	assert_int_equal(count_secret(&big), 0);
	assert_int_equal(count_secret(&little), 0);
}

/* ---- pages for secrets ---- */

static const __u8 *watched;
static size_t left_over, given_back;

/* In the place of the C library's: looks at what is given back. */
int munmap(void *bytes, size_t len)
{
	if (bytes == watched) {
		given_back++;
		for (size_t i = 0; i < len; i++)
			left_over += watched[i] != 0;
	}
	return (int)syscall(SYS_munmap, bytes, len);
}

static void wipes_pages_of_secrets(void **state)
{
	__u8 *secret = secret_alloc(100);

	assert_non_null(secret);
	memset(secret, 'k', 100);
	watched = secret;
	secret_free(secret, 100);
	watched = NULL;
	assert_int_equal(given_back, 1);
	assert_int_equal(left_over, 0);
}

/* In another process: of what it makes, nothing must be in this one. */
static int make_pki(void **state)
{
	struct hf_addr gateway = node_addr("192.0.2.1"), client = node_addr("192.0.2.2");
	char error[PKI_ERROR_MAX];
	int status;
	pid_t pid;

	assert_non_null(mkdtemp(pki));
	pid = fork();
	if (!pid)
		_exit(pki_init(pki, error) || pki_issue(pki, "gateway", &gateway, 1, 30, error) ||
		      pki_issue(pki, "client", &client, 1, 30, error));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status || tls_init() < 0;
}

static int remove_pki(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", pki);
	return system(command);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_nothing_of_a_key),
		cmocka_unit_test(leaves_nothing_of_a_connection),
		cmocka_unit_test(wipes_pages_of_secrets),
	};

	return cmocka_run_group_tests_name("kms_memory", tests, make_pki, remove_pki);
}
