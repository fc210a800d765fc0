/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A key management service in somebody else's hands: the test's own program, started by
 * keyservice.c as holdfast-kms, says what its role tells it to, and reports what it is
 * answered by the text of a KMS_REFUSED. The roles are told by an environment variable.
 */
#ifndef HF_SELFTESTS_KEYSERVICE_ROLES_H
#define HF_SELFTESTS_KEYSERVICE_ROLES_H

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/accept.h"

#define FAR_AWAY_S (1ll << 40)
#define MAPPED [10] = 0xff, 0xff
#define MANY 100
#define FLOOD 2000 /* more than any bound */
#define ROLE "HOLDFAST_TEST_KEYSERVICE"

static const struct hf_addr us = { .b = { MAPPED, 192, 0, 2, 1 } };
static const struct hf_addr gateway = { .b = { MAPPED, 192, 0, 2, 9 } };
static const struct hf_addr stranger = { .b = { MAPPED, 203, 0, 113, 66 } };

static struct kms_link_message heard;

static void say(__u32 type, const void *body, size_t len)
{
	struct pollfd fd = { .fd = KMS_LINK_FD, .events = POLLOUT };
	int err;

	while ((err = kms_link_send(KMS_LINK_FD, type, body, len, NULL, 0)) == -EAGAIN)
		poll(&fd, 1, -1);
	if (err)
		_exit(3);
}

/* Past kms_link_send(), which would not. */
static void say_raw(__u32 type, const void *body, size_t len)
{
	struct kms_link_head head = { .version = KMS_LINK_VERSION, .type = type };
	struct iovec iov[2] = { { &head, sizeof(head) }, { (void *)body, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (sendmsg(KMS_LINK_FD, &msg, MSG_NOSIGNAL) < 0)
		_exit(3);
}

/* The next message of this type; the process ends with its link. */
static const void *await(__u32 type)
{
	for (;;) {
		struct pollfd fd = { .fd = KMS_LINK_FD, .events = POLLIN };
		int got;

		kms_link_message_clear(&heard);
		poll(&fd, 1, -1);
		got = kms_link_receive(KMS_LINK_FD, &heard);
		if (got == -EAGAIN)
			continue;
		if (got <= 0)
			_exit(0);
		if (heard.type == type)
			return heard.body;
	}
}

/* Nothing is installed before our own certificate is known. */
static void say_ready(void)
{
	const struct kms_ready ready = { .name = "us", .not_after = FAR_AWAY_S };

	say(KMS_READY, &ready, sizeof(ready));
}

static struct kms_session dialled(__u64 request)
{
	struct kms_session session = {
		.id = 1, .request = request, .local = us, .remote = gateway, .spi_in = 0x1000, .spi_out = 0x2000,
		.lifetime_s = 600, .role = KMS_INITIATOR, .algorithm = KMS_AES_256_GCM,
		.encapsulation = KMS_ENCAP_ESP, .key_len = 36, .proven = 1, .n_inner = 1, .name = "gateway",
		.not_after = FAR_AWAY_S, .key_in = { 1 }, .key_out = { 2 },
	};

	session.inner[0] = prefix_of_host(&us);
	return session;
}

/* What the answer to an INSTALL was. */
static void install(const struct kms_session *session)
{
	struct kms_failure report = { .error = EACCES, .peer = session->remote };
	const struct kms_installed *installed;

	say(KMS_INSTALL, session, sizeof(*session));
	installed = await(KMS_INSTALLED);
	snprintf(report.text, sizeof(report.text), "%llu: %d", (unsigned long long)installed->session,
		 installed->result);
	say(KMS_REFUSED, &report, sizeof(report));
}

static void as_asked(void)
{
	struct kms_session session = dialled(((const struct kms_request *)await(KMS_REQUEST))->id);
	const struct kms_session_ref ref = { .session = 1 };

	say_ready();
	install(&session);
	say(KMS_ACTIVATE, &ref, sizeof(ref));
	session.id = 2; /* once more for the same request */
	install(&session);
}

static void with_a_stranger(void)
{
	struct kms_session session = dialled(((const struct kms_request *)await(KMS_REQUEST))->id);

	session.remote = stranger;
	install(&session);
}

static void as_a_gateway_that_dialled(void)
{
	struct kms_session session = dialled(0);

	session.role = KMS_RESPONDER;
	session.reversed = 1;
	session.remote = stranger;
	install(&session);
}

static void after_a_rejection_of_all(void)
{
	const struct kms_failure all = { .request = 0, .text = "all" };
	struct kms_session session = dialled(((const struct kms_request *)await(KMS_REQUEST))->id);

	say_ready();
	say(KMS_REJECTED, &all, sizeof(all));
	install(&session);
}

static void with_words_for_terminals(void)
{
	const struct kms_ready ready = { .name = "us\033[2J", .text = "\xff" };
	const struct kms_failure failure = { .peer = stranger, .error = EACCES, .text = "line\nanother\r\x9b" };

	say(KMS_READY, &ready, sizeof(ready));
	say(KMS_REFUSED, &failure, sizeof(failure));
}

static void too_long_a_prefix(void)
{
	struct kms_session session = dialled(((const struct kms_request *)await(KMS_REQUEST))->id);

	session.inner[0].len = 255;
	install(&session);
}

/* So long ago that there is no number for how long. */
static void long_ended(void)
{
	struct kms_session session = dialled(((const struct kms_request *)await(KMS_REQUEST))->id);

	say_ready();
	session.not_after = INT64_MIN;
	install(&session);
}

static void without_an_end(void)
{
	struct kms_session session = dialled(1);

	memset(session.name, 'a', sizeof(session.name));
	say_raw(KMS_INSTALL, &session, sizeof(session));
}

static void too_many_prefixes(void)
{
	struct kms_session session = dialled(1);

	session.n_inner = 0xffffffff;
	say_raw(KMS_INSTALL, &session, sizeof(session));
}

static void too_short(void)
{
	struct kms_session session = dialled(1);

	say_raw(KMS_INSTALL, &session, sizeof(session) - 1);
}

/* All of it lies in the link by the time that the process is gone. */
static void many_things(void)
{
	const struct kms_failure failure = { .peer = stranger, .error = EACCES, .text = "more" };

	await(KMS_REQUEST); /* what is left unread would be an error at the other end */
	for (int i = 0; i < MANY; i++)
		say(KMS_REFUSED, &failure, sizeof(failure));
	_exit(0);
}

/* The last word tells how many were taken, and what the others were told. */
static void no_end_of_halves(void)
{
	struct kms_failure report = { .error = EACCES, .peer = stranger };
	unsigned int taken = 0;
	int refusal = 0;

	say_ready();
	for (int i = 0; i < FLOOD; i++) {
		struct kms_session session = dialled(0);
		const struct kms_installed *installed;

		session.id = (__u64)i + 1;
		session.role = KMS_RESPONDER;
		session.remote = stranger;
		session.inner[0] = prefix_of_host(&stranger);
		say(KMS_INSTALL, &session, sizeof(session));
		installed = await(KMS_INSTALLED);
		taken += !installed->result;
		refusal = installed->result ? installed->result : refusal;
	}
	snprintf(report.text, sizeof(report.text), "%u taken, then %d", taken, refusal);
	say(KMS_REFUSED, &report, sizeof(report));
}

/* The answer's first half, again and again; broken off in between, or not. */
static void no_end_of_answers(bool broken_off)
{
	const struct kms_request *asked = await(KMS_REQUEST);
	struct kms_session session = dialled(asked->id);
	struct kms_failure report = { .error = EACCES, .peer = gateway };
	unsigned int taken = 0;
	int refusal = 0;

	say_ready();
	for (int i = 0; i < MANY; i++) {
		const struct kms_session_ref ref = { .session = (__u64)i + 1 };
		const struct kms_installed *installed;

		session.id = ref.session;
		session.spi_in = 0x1000 + (__u32)i;
		say(KMS_INSTALL, &session, sizeof(session));
		installed = await(KMS_INSTALLED);
		taken += !installed->result;
		refusal = installed->result ? installed->result : refusal;
		if (broken_off)
			say(KMS_ABANDON, &ref, sizeof(ref));
	}
	snprintf(report.text, sizeof(report.text), "%u taken, then %d", taken, refusal);
	say(KMS_REFUSED, &report, sizeof(report));
}

static void no_end_of_open_answers(void)
{
	no_end_of_answers(false);
}

static void no_end_of_broken_answers(void)
{
	no_end_of_answers(true);
}

/* Into the log, past the link: a line that is another's, escape sequences, a sound line, and no end of it. */
static void no_end_of_lines(void)
{
	static const char first[] = "error holdfastd: forged\n\033[2J\nwarning holdfast-kms: mine\n";
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789\n";

	if (write(STDERR_FILENO, first, strlen(first)) != (ssize_t)strlen(first))
		_exit(3);
	for (int i = 0; i < 100 * FLOOD; i++)
		if (write(STDERR_FILENO, line, strlen(line)) < 0 && errno != EAGAIN)
			_exit(3);
	if (write(STDOUT_FILENO, first, strlen(first)) != (ssize_t)strlen(first) || read(STDIN_FILENO, heard.fds, 1))
		_exit(3);
	_exit(0);
}

/* More than it was told of. */
static void no_end_of_revoked(void)
{
	const struct kms_certificate certificate = { .n = 1 };

	await(KMS_KNOWN);
	for (int i = 0; i < MANY; i++)
		say(KMS_REVOKED, &certificate, sizeof(certificate));
	say_raw(KMS_CANCEL, &certificate, 0); /* the end of it */
}

/* Neither a signal nor the end of its link makes it end. */
static void no_end(void)
{
	const struct kms_failure failure = { .peer = stranger, .error = EACCES, .text = "here" };

	signal(SIGTERM, SIG_IGN);
	say(KMS_REFUSED, &failure, sizeof(failure));
	for (;;)
		pause();
}

static void what_holdfastd_says(void)
{
	const struct kms_cancel cancel = { .id = 1 };

	say(KMS_CANCEL, &cancel, sizeof(cancel));
}

static void no_end_of_words(void)
{
	const struct kms_failure failure = { .peer = stranger, .error = EACCES, .text = "more" };
	const struct kms_ready bad = { .result = -EINVAL, .text = "more" }, good = { .name = "us", .not_after = FAR_AWAY_S };
	const struct kms_failure attempt = { .request = ((const struct kms_request *)await(KMS_REQUEST))->id, .error = EACCES };

	for (int i = 0; i < FLOOD; i++) {
		say(KMS_ATTEMPT_FAILED, &attempt, sizeof(attempt));
		say(KMS_REFUSED, &failure, sizeof(failure));
		say(KMS_READY, i % 2 ? &bad : &good, sizeof(good));
	}
	what_holdfastd_says(); /* the end of it */
}

/* It does not hang, but that is all. */
static void nothing_but_echoes(void)
{
	for (;;) {
		await(KMS_ECHO);
		say(KMS_ECHO, NULL, 0);
	}
}

static void ready_and_nothing_else(void)
{
	say_ready();
	nothing_but_echoes();
}

static const struct {
	const char *name;
	void (*run)(void);
} roles[] = {
	{ "nothing_but_echoes", nothing_but_echoes },
	{ "ready_and_nothing_else", ready_and_nothing_else },
	{ "no_end_of_halves", no_end_of_halves },
	{ "no_end_of_words", no_end_of_words },
	{ "no_end_of_revoked", no_end_of_revoked },
	{ "no_end", no_end },
	{ "no_end_of_lines", no_end_of_lines },
	{ "no_end_of_open_answers", no_end_of_open_answers },
	{ "no_end_of_broken_answers", no_end_of_broken_answers },
	{ "as_asked", as_asked },
	{ "with_a_stranger", with_a_stranger },
	{ "as_a_gateway_that_dialled", as_a_gateway_that_dialled },
	{ "after_a_rejection_of_all", after_a_rejection_of_all },
	{ "with_words_for_terminals", with_words_for_terminals },
	{ "too_long_a_prefix", too_long_a_prefix },
	{ "long_ended", long_ended },
	{ "without_an_end", without_an_end },
	{ "too_many_prefixes", too_many_prefixes },
	{ "too_short", too_short },
	{ "what_holdfastd_says", what_holdfastd_says },
	{ "many_things", many_things },
};

static void play(const char *role)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(roles[i].name, role))
			roles[i].run();
	await(0); /* until the link ends */
}

#endif
