/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The link between holdfastd and holdfast-kms: what passes, what does not, and where descriptors end up. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kms/link.h"

static int ends[2];
static struct kms_link_message message;

static int open_link(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int close_link(void **state)
{
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* How many descriptors this process has: none may leak, none may be closed twice. */
static size_t count_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void open_nulls(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(close(fds[i]), 0);
}

/* A record as it should not be, past kms_link_send(). */
static void send_raw(const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 128)];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
	}
	assert_int_equal(sendmsg(ends[0], &msg, 0), len);
}

static void carries_every_type(void **state)
{
	static const struct {
		__u32 type;
		size_t len;
	} types[] = {
		{ KMS_PEERS, sizeof(struct kms_peers) },     { KMS_LISTEN, 0 },
		{ KMS_CANCEL, sizeof(struct kms_cancel) },   { KMS_INSTALLED, sizeof(struct kms_installed) },
		{ KMS_READY, sizeof(struct kms_ready) },     { KMS_INSTALL, sizeof(struct kms_session) },
		{ KMS_ACTIVATE, sizeof(struct kms_session_ref) }, { KMS_ABANDON, sizeof(struct kms_session_ref) },
		{ KMS_ATTEMPT_FAILED, sizeof(struct kms_failure) }, { KMS_REJECTED, sizeof(struct kms_failure) },
		{ KMS_REFUSED, sizeof(struct kms_failure) }, { KMS_ACTIVATED, sizeof(struct kms_activated) },
	};
	static __u64 body[sizeof(struct kms_peers) / 8 + 2];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(kms_link_send(ends[0], types[i].type, body, types[i].len, NULL, 0), 0);
		assert_int_equal(kms_link_receive(ends[1], &message), 1);
		assert_int_equal(message.type, types[i].type);
		assert_int_equal(message.len, types[i].len);
		assert_int_equal((uintptr_t)message.body % 8, 0);
		assert_memory_equal(message.body, body, types[i].len);
		kms_link_message_clear(&message);
		/* One byte more or less is another message. */
		assert_int_equal(kms_link_send(ends[0], types[i].type, body, types[i].len + 1, NULL, 0), -EINVAL);
		if (types[i].len)
			assert_int_equal(kms_link_send(ends[0], types[i].type, body, types[i].len - 1, NULL, 0), -EINVAL);
	}
	assert_int_equal(kms_link_receive(ends[1], &message), -EAGAIN);
}

/* A reversed session has inner prefixes, another one has not. */
static void refuses_half_an_answer(void **state)
{
	static const struct {
		__u8 reversed;
		__u32 n_inner;
		int expected;
	} cases[] = {
		{ 0, 0, 0 },
		{ 1, 1, 0 },
		{ 1, KMS_MAX_INNER, 0 },
		{ 1, KMS_MAX_INNER + 1, -EINVAL },
		{ 1, 0, -EINVAL },
		{ 0, 1, -EINVAL },
		{ 2, 1, -EINVAL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kms_installed installed = { .reversed = cases[i].reversed, .n_inner = cases[i].n_inner };

		assert_int_equal(kms_link_send(ends[0], KMS_INSTALLED, &installed, sizeof(installed), NULL, 0),
				 cases[i].expected);
	}
}

static void carries_descriptors(void **state)
{
	struct kms_identity identity = { .lifetime_s = 1, .has_crl = 1 };
	size_t before = count_fds();
	struct stat sent, got;
	int fds[4];

	open_nulls(fds, 4);
	assert_int_equal(kms_link_send(ends[0], KMS_IDENTITY, &identity, sizeof(identity), fds, 3), -EINVAL);
	assert_int_equal(kms_link_send(ends[0], KMS_IDENTITY, &identity, sizeof(identity), fds, 4), 0);
	assert_int_equal(kms_link_receive(ends[1], &message), 1);
	assert_int_equal(message.n_fds, 4);
	assert_int_equal(fstat(fds[0], &sent), 0);
	assert_int_equal(fstat(message.fds[0], &got), 0);
	assert_int_equal(sent.st_rdev, got.st_rdev);
	assert_true(fcntl(message.fds[0], F_GETFD) & FD_CLOEXEC);
	close(message.fds[2]);
	message.fds[2] = -1; /* taken */
	kms_link_message_clear(&message);
	close_all(fds, 4);
	assert_int_equal(count_fds(), before);
}

static void carries_a_request_with_all_gateways(void **state)
{
	static struct kms_request request = { .id = 1, .n_gateways = KMS_MAX_GATEWAYS };
	size_t before = count_fds();
	int fds[KMS_MAX_GATEWAYS];

	open_nulls(fds, KMS_MAX_GATEWAYS);
	assert_int_equal(kms_link_send(ends[0], KMS_REQUEST, &request, sizeof(request), fds, KMS_MAX_GATEWAYS), 0);
	assert_int_equal(kms_link_receive(ends[1], &message), 1);
	assert_int_equal(message.n_fds, KMS_MAX_GATEWAYS);
	kms_link_message_clear(&message);
	close_all(fds, KMS_MAX_GATEWAYS);
	assert_int_equal(count_fds(), before);
}

static void shortens_peers(void **state)
{
	static struct kms_peers peers = { .n = 2 };
	size_t len = offsetof(struct kms_peers, peers) + 2 * sizeof(struct kms_peer);

	snprintf(peers.peers[1].name, sizeof(peers.peers[1].name), "b");
	assert_int_equal(kms_link_send(ends[0], KMS_PEERS, &peers, len, NULL, 0), 0);
	assert_int_equal(kms_link_receive(ends[1], &message), 1);
	assert_memory_equal(message.body, &peers, len);
	kms_link_message_clear(&message);
	peers.n = 3;
	assert_int_equal(kms_link_send(ends[0], KMS_PEERS, &peers, len, NULL, 0), -EINVAL);
	peers.n = KMS_MAX_PEERS + 1;
	assert_int_equal(kms_link_send(ends[0], KMS_PEERS, &peers, sizeof(peers), NULL, 0), -EINVAL);
	peers.n = 1;
	memset(peers.peers[0].name, 'x', sizeof(peers.peers[0].name));
	assert_int_equal(kms_link_send(ends[0], KMS_PEERS, &peers, sizeof(peers), NULL, 0), -EINVAL);
}

/* Records that only a faulty sender makes: refused, and their descriptors closed. */
static void refuses_what_is_not_well_formed(void **state)
{
	static struct {
		struct kms_link_head head;
		__u8 body[sizeof(struct kms_peers) + 64];
	} record;
	static const struct {
		const char *what;
		__u32 version, type;
		size_t len, n_fds;
	} cases[] = {
		{ "another version", KMS_LINK_VERSION + 1, KMS_CANCEL, sizeof(struct kms_cancel), 0 },
		{ "type 0", KMS_LINK_VERSION, 0, 0, 0 },
		{ "a type beyond the last", KMS_LINK_VERSION, KMS_REFUSED + 1, 8, 0 },
		{ "a huge type", KMS_LINK_VERSION, 0xffffffff, 8, 0 },
		{ "too short", KMS_LINK_VERSION, KMS_CANCEL, sizeof(struct kms_cancel) - 1, 0 },
		{ "too long", KMS_LINK_VERSION, KMS_CANCEL, sizeof(struct kms_cancel) + 1, 0 },
		{ "longer than the buffer", KMS_LINK_VERSION, KMS_PEERS, sizeof(struct kms_peers) + 64, 0 },
		{ "a descriptor too many", KMS_LINK_VERSION, KMS_CANCEL, sizeof(struct kms_cancel), 1 },
		{ "a descriptor too few", KMS_LINK_VERSION, KMS_IDENTITY, sizeof(struct kms_identity), 2 },
		{ "a list that is not announced", KMS_LINK_VERSION, KMS_IDENTITY, sizeof(struct kms_identity), 4 },
		{ "more descriptors than anybody takes", KMS_LINK_VERSION, KMS_LISTEN, 0, 100 },
		{ "a request without gateways", KMS_LINK_VERSION, KMS_REQUEST, sizeof(struct kms_request), 1 },
	};
	int fds[100];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t before = count_fds();

		record.head.version = cases[i].version;
		record.head.type = cases[i].type;
		open_nulls(fds, cases[i].n_fds);
		send_raw(&record, sizeof(record.head) + cases[i].len, fds, cases[i].n_fds);
		if (kms_link_receive(ends[1], &message) != -EPROTO)
			fail_msg("%s passed", cases[i].what);
		assert_int_equal(message.n_fds, 0);
		close_all(fds, cases[i].n_fds);
		if (count_fds() != before)
			fail_msg("%s: a descriptor leaked", cases[i].what);
	}
	send_raw("short", 5, NULL, 0);
	assert_int_equal(kms_link_receive(ends[1], &message), -EPROTO);
}

static void tells_full_from_closed(void **state)
{
	struct kms_cancel cancel = { .id = 1 };
	int ret, sent = 0;

	while (!(ret = kms_link_send(ends[0], KMS_CANCEL, &cancel, sizeof(cancel), NULL, 0)))
		sent++;
	assert_int_equal(ret, -EAGAIN);
	shutdown(ends[0], SHUT_RDWR);
	while ((ret = kms_link_receive(ends[1], &message)) == 1)
		sent--;
	assert_int_equal(ret, 0);
	assert_int_equal(sent, 0);
	assert_int_equal(kms_link_send(ends[0], KMS_CANCEL, &cancel, sizeof(cancel), NULL, 0), -EPIPE);
}

static void wipes_keys(void **state)
{
	static struct kms_session session = { .key_len = 36 };

	memset(session.key_in, 0xa5, sizeof(session.key_in));
	assert_int_equal(kms_link_send(ends[0], KMS_INSTALL, &session, sizeof(session), NULL, 0), 0);
	assert_int_equal(kms_link_receive(ends[1], &message), 1);
	assert_memory_equal(((const struct kms_session *)message.body)->key_in, session.key_in, KMS_KEY_MAX);
	kms_link_message_clear(&message);
	for (size_t i = 0; i < sizeof(message.buffer.bytes); i++)
		assert_int_equal(message.buffer.bytes[i], 0);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, open_link, close_link)
	static const struct CMUnitTest tests[] = {
		TEST(carries_every_type),
		TEST(refuses_half_an_answer),
		TEST(carries_descriptors),
		TEST(carries_a_request_with_all_gateways),
		TEST(shortens_peers),
		TEST(refuses_what_is_not_well_formed),
		TEST(tells_full_from_closed),
		TEST(wipes_keys),
	};

	return cmocka_run_group_tests_name("kms_link", tests, NULL, NULL);
}
