/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a stranger's handshake may cost, and who is served first while many strangers shake hands. */
#include "selftests/unit/kms_chain.h"
#include "selftests/unit/kms_scene.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>

#define STRANGERS 64
#define ROUNDS 5

/* ---- a dialler of ours, who speaks TLS by himself ---- */

static int dial(const char *source)
{
	struct hf_addr addr = node_addr(GATEWAY_1);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, scene_port, &sa);
	int fd = node_socket(source, 0, false);

	fcntl(fd, F_SETFL, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static SSL_CTX *context_new(const char *groups)
{
	static const unsigned char alpn[] = "\x0aholdfast/1";
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	assert_non_null(context);
	assert_int_equal(SSL_CTX_set1_groups_list(context, groups), 1);
	assert_int_equal(SSL_CTX_set_alpn_protos(context, alpn, sizeof(alpn) - 1), 0);
	return context;
}

/* Whether a gateway goes on with somebody who offers these groups and nothing else. */
static bool takes_group(const char *groups)
{
	SSL_CTX *context = context_new(groups);
	SSL *ssl = SSL_new(context);
	int fd = dial("127.0.2.1");
	bool taken;

	SSL_set_fd(ssl, fd);
	taken = SSL_connect(ssl) == 1;
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
	return taken;
}

/* The dearest of them: a hundred milliseconds for a message that costs its sender none. */
static void refuses_finite_fields(void **state)
{
	static const char *const good[] = { "X25519", "P-256", "P-384" };
	static const char *const bad[] = { "ffdhe8192", "ffdhe4096", "ffdhe2048", "P-521" };
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(takes_group(good[i]));
		node_expect_failure(gateway, KMS_REFUSED, EACCES, "showed no certificate");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (takes_group(bad[i]))
			fail_msg("%s is taken", bad[i]);
		node_expect_failure(gateway, KMS_REFUSED, EPROTO, "does not speak this TLS");
	}
	node_stop(gateway);
}

/* ---- who is served first ---- */

/* When the first bytes that wait to be read here arrived. They are left where they are. 0: there are none. */
static __s64 arrived_ns(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
	} control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	struct timespec at;

	if (recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT) != 1)
		return 0;
	cmsg = CMSG_FIRSTHDR(&msg);
	assert_true(cmsg && cmsg->cmsg_type == SO_TIMESTAMPNS);
	memcpy(&at, CMSG_DATA(cmsg), sizeof(at));
	return at.tv_sec * 1000000000ll + at.tv_nsec;
}

static void stamp(int fd)
{
	int one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)), 0);
}

static __s64 wait_arrived(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pollfd, 1, NODE_WAIT_MS), 1);
	return arrived_ns(fd);
}

/* How many of the strangers were answered in this time. */
static size_t answered(const int *fds, __s64 from_ns, __s64 to_ns)
{
	size_t n = 0;

	for (size_t i = 0; i < STRANGERS; i++) {
		__s64 at = arrived_ns(fds[i]);

		n += at > from_ns && at < to_ns;
	}
	return n;
}

/* The beginning of a handshake, the same for all strangers. */
static size_t hello(SSL_CTX *context, char *bytes, size_t size)
{
	SSL *ssl = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	int len;

	SSL_set_bio(ssl, in, out);
	assert_int_equal(SSL_connect(ssl), -1);
	len = BIO_read(out, bytes, (int)size);
	assert_true(len > 0);
	SSL_free(ssl);
	return (size_t)len;
}

/* Nobody waits in the queue of the listening socket any more. */
static void wait_accepted(int listening)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	for (int i = 0; i < NODE_WAIT_MS; i++) {
		assert_int_equal(getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		if (!info.tcpi_unacked)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("not accepted");
}

struct served {
	size_t before; /* strangers who were answered before the one that has a session was, */
	size_t between; /* and before he was answered again */
};

/* All strangers have said the first word of a handshake, to which the gateway listens only then, with him behind them. */
static struct served race(struct node *gateway, int listening, SSL_CTX *context)
{
	struct served served;
	char bytes[4096], source[32];
	size_t len = hello(context, bytes, sizeof(bytes));
	SSL *ssl = SSL_new(context);
	int fds[STRANGERS], known, whole = 1;
	__s64 first, second;

	for (size_t i = 0; i < STRANGERS; i++) {
		snprintf(source, sizeof(source), "127.0.2.%u", (unsigned int)(i / 4 + 1));
		fds[i] = dial(source);
		stamp(fds[i]);
	}
	wait_accepted(listening);
	assert_int_equal(kill(gateway->pid, SIGSTOP), 0);
	for (size_t i = 0; i < STRANGERS; i++)
		assert_int_equal(write(fds[i], bytes, len), (ssize_t)len);
	known = dial(CLIENT);
	stamp(known);
	SSL_set_fd(ssl, known);
	fcntl(known, F_SETFL, O_NONBLOCK);
	assert_int_equal(SSL_connect(ssl), -1);
	assert_int_equal(kill(gateway->pid, SIGCONT), 0);
	first = wait_arrived(known);
	/* What he says next goes out in one piece: the end of the handshake, */
	setsockopt(known, IPPROTO_TCP, TCP_CORK, &whole, sizeof(whole));
	while (SSL_connect(ssl) != 1)
		wait_arrived(known);
	/* and no message of the protocol, so that the connection ends with an alert. */
	assert_int_equal(SSL_write(ssl, "\xff\xff\xff\xff", 4), 4);
	poll(NULL, 0, 1); /* as from afar: they are at the strangers by now */
	whole = 0;
	setsockopt(known, IPPROTO_TCP, TCP_CORK, &whole, sizeof(whole));
	second = wait_arrived(known);
	served = (struct served){ answered(fds, 0, first), answered(fds, first, second) };
	for (size_t i = 0; i < STRANGERS; i++)
		close(fds[i]);
	SSL_free(ssl);
	close(known);
	return served;
}

/* An identity with a key that is dear to sign with: so that the time is what bounds, not the number. */
static void make_dear_gateway(void)
{
	struct chain_link authority, gateway;
	FILE *file = chain_open(scene_pki, "ca", ".pem", "re");

	authority.certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	file = chain_open(scene_pki, "ca", ".key", "re");
	authority.key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	gateway = chain_make("dear", &authority, GATEWAY_1, 30, EVP_RSA_gen(4096));
	chain_save(scene_pki, "dear", &gateway, NULL, 0);
	chain_free(&gateway);
	chain_free(&authority);
}

static void know(struct node *gateway, const char *address)
{
	struct kms_knowns knowns = { .n = 1 };

	knowns.known[0].remote = node_addr(address);
	node_send(gateway, KMS_KNOWN, &knowns, sizeof(knowns), NULL, 0);
}

static SSL_CTX *context_of_client(void)
{
	SSL_CTX *context = context_new("X25519");
	char path[512];

	snprintf(path, sizeof(path), "%s/client.pem", scene_pki);
	assert_int_equal(SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM), 1);
	snprintf(path, sizeof(path), "%s/client.key", scene_pki);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM), 1);
	return context;
}

/* Each time another gateway: one that still clears up after the strangers before does not show who waits for whom. */
static struct served race_anew(SSL_CTX *context)
{
	struct node *gateway = scene_start_node("dear");
	int listening = node_socket(GATEWAY_1, scene_port, true);
	struct served served;

	know(gateway, CLIENT);
	node_send(gateway, KMS_LISTEN, NULL, 0, &listening, 1);
	served = race(gateway, listening, context);
	close(listening);
	node_stop(gateway);
	return served;
}

static int cmp_size(const void *a, const void *b)
{
	size_t one = *(const size_t *)a, other = *(const size_t *)b;

	return (one > other) - (one < other);
}

/*
 * Counted by the times at which the kernel had the answers: it does not matter when this test comes to look. On a machine
 * that has much else to do either of the two may be late to speak: what is so in most rounds counts.
 */
static void lets_nobody_wait_behind_strangers(void **state)
{
	size_t before[ROUNDS], between[ROUNDS];
	SSL_CTX *context;

	make_dear_gateway();
	context = context_of_client();
	for (size_t round = 0; round < ROUNDS; round++) {
		struct served served = race_anew(context);

		before[round] = served.before;
		between[round] = served.between;
	}
	qsort(before, ROUNDS, sizeof(*before), cmp_size);
	qsort(between, ROUNDS, sizeof(*between), cmp_size);
	/* Accepted behind strangers, he would wait for each of them. */
	assert_true(before[ROUNDS / 2] < STRANGERS / 2);
	/* Eight, if it went by their number alone. */
	assert_true(between[ROUNDS / 2] <= 5);
	SSL_CTX_free(context);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(refuses_finite_fields),
		ON_ITS_PORT(lets_nobody_wait_behind_strangers),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_first", tests, scene_make_pki, scene_remove_pki);
}
