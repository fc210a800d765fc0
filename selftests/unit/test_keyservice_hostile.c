/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's end of the link against a key management service in somebody else's
 * hands: this program, started by keyservice.c as holdfast-kms, says what the case tells
 * it to by an environment variable, and reports what it is answered by the text of a
 * KMS_REFUSED.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kms/accept.h"
#include "lib/clock.h"
#include "loader/keyservice.h"

#define FAR_AWAY_S (1ll << 40)
#define MAPPED [10] = 0xff, 0xff
#define WAIT_NS (20 * CLOCK_NS_PER_S)
#define MANY 100
#define FLOOD 2000 /* more than any bound */
#define ROLE "HOLDFAST_TEST_KEYSERVICE"

static const struct hf_addr us = { .b = { MAPPED, 192, 0, 2, 1 } };
static const struct hf_addr gateway = { .b = { MAPPED, 192, 0, 2, 9 } };
static const struct hf_addr stranger = { .b = { MAPPED, 203, 0, 113, 66 } };

/* ---- the process ---- */

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

/* ---- holdfastd ---- */

static struct event_base *base;
static struct policy *policy;
static struct keyservice *service;
static __u64 request;
static int activation; /* what comes of it */

static struct {
	unsigned int installed, activated, rejected, died, told, n_ready, attempts;
	int rejection;
	__u64 rejected_request;
	unsigned int slow_ms; /* what a word costs */
	unsigned int revoked;
	struct kms_failure refused[4];
	size_t n_refused;
	struct kms_ready ready;
	char words[KMS_TEXT_MAX]; /* of the last one that was inadmissible */
	char why[128];		  /* of the death */
} seen;

static bool is_own(void *context, const struct hf_addr *addr)
{
	return addr_equal(addr, &us);
}

static void on_ready(void *context, const struct kms_ready *ready)
{
	seen.ready = *ready;
	seen.n_ready++;
}

static int on_install(void *context, struct kms_session *session)
{
	seen.installed++;
	return 0;
}

static void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	snprintf(seen.words, sizeof(seen.words), "%s", words);
}

static int on_activate(void *context, __u64 session)
{
	seen.activated++;
	return activation;
}

static void on_abandon(void *context, __u64 session)
{
}

static void on_failure(void *context, const struct kms_failure *failure)
{
	seen.attempts++;
}

static void on_rejected(void *context, const struct kms_failure *failure)
{
	seen.rejected++;
	seen.rejection = failure->error;
	seen.rejected_request = failure->request;
}

static void on_refused(void *context, const struct kms_failure *failure)
{
	usleep(seen.slow_ms * 1000);
	seen.told++;
	if (seen.n_refused < 4)
		seen.refused[seen.n_refused++] = *failure;
}

#define KNOWN 3

static size_t known(void *context, size_t from, struct kms_known *ret_known, size_t max)
{
	assert_true(max >= KNOWN);
	memset(ret_known, 0, KNOWN * sizeof(*ret_known));
	for (size_t i = 0; i < KNOWN; i++)
		ret_known[i] = (struct kms_known){ .remote = stranger, .certificate = { .n = 1 } };
	return KNOWN;
}

static void on_revoked(void *context, const struct kms_certificate *certificate)
{
	seen.revoked++;
}

static void on_died(void *context, const struct keyworker_death *death)
{
	seen.died++;
	snprintf(seen.why, sizeof(seen.why), "%s", death->why);
}

static void start(const char *role)
{
	static const struct keyservice_calls calls = {
		.ready = on_ready, .is_own = is_own, .inadmissible = on_inadmissible, .install = on_install,
		.activate = on_activate, .abandon = on_abandon, .attempt_failed = on_failure,
		.rejected = on_rejected, .refused = on_refused, .died = on_died,
		.known = known, .revoked = on_revoked,
	};
	const struct keyservice_config config = { .program = "/proc/self/exe", .policy = policy,
						  .policy_folder = "/dev", .answer_s = 2 };
	char error[512];

	memset(&seen, 0, sizeof(seen));
	request = 0;
	setenv(ROLE, role, 1);
	assert_int_equal(keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &service), 0);
	/* A socket with a mark takes CAP_NET_ADMIN. */
	if (keyservice_request(service, &gateway, 1, &request) == -EPERM)
		skip();
}

/* Runs the loop until so many reports or a death. */
static void run(size_t reports)
{
	__u64 end = clock_now_ns() + WAIT_NS;

	while (seen.n_refused < reports && !seen.died) {
		assert_true(clock_now_ns() < end);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static int set_up(void **state)
{
	static const char text[] = "[IDENTITY]\nCertificate = null\nPrivateKey = null\nTrustAnchors = null\n"
				   "[INTERFACE]\nKeyServiceWorkers = 1\n[CLUSTER]\nCluster1 = 192.0.2.9\n[TUNNEL]\nTunnel1 = 10.0.0.0/24 Cluster1\n";
	struct policy_report report = { 0 };

	base = event_base_new();
	assert_non_null(base);
	assert_int_equal(policy_parse(text, sizeof(text) - 1, &report, &policy), 0);
	policy_report_clear(&report);
	return 0;
}

static int tear_down(void **state)
{
	keyservice_stop(service);
	service = NULL;
	policy_free(policy);
	event_base_free(base);
	return 0;
}

static void takes_what_was_asked_once(void **state)
{
	start("as_asked");
	run(2);
	assert_string_equal(seen.refused[0].text, "1: 0");
	assert_int_equal(seen.installed, 1);
	assert_int_equal(seen.activated, 1);
	assert_string_equal(seen.refused[1].text, "2: -125"); /* -ECANCELED: nothing that is under way */
	assert_int_equal(seen.rejected, 0);
	assert_int_equal(seen.died, 0);
}

/* The worker has answered the request, and holdfastd cannot make use of it: whoever asked is told. */
static void rejects_what_was_not_activated(void **state)
{
	activation = -ENOENT;
	start("as_asked");
	run(2);
	activation = 0;
	assert_int_equal(seen.activated, 1);
	assert_int_equal(seen.rejected, 1);
	assert_int_equal(seen.rejected_request, request);
	assert_int_equal(seen.rejection, ECANCELED);
	assert_int_equal(seen.died, 0);
}

/* It is told no, nothing was installed, and the words say what was wrong. */
static void refused_with(const char *role, int error, const char *words)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "1: %d", error);
	start(role);
	run(1);
	assert_string_equal(seen.refused[0].text, expected);
	assert_int_equal(seen.installed, 0);
	assert_int_equal(seen.died, 0);
	if (!strstr(seen.words, words))
		fail_msg("\"%s\" says nothing of \"%s\"", seen.words, words);
}

static void refuses_a_stranger_as_gateway(void **state)
{
	refused_with("with_a_stranger", -EACCES, "203.0.113.66");
}

static void refuses_a_dialler_that_says_gateway(void **state)
{
	refused_with("as_a_gateway_that_dialled", -EPROTO, "reversed");
}

static void refuses_too_long_a_prefix(void **state)
{
	refused_with("too_long_a_prefix", -EPROTO, "/255");
}

static void refuses_what_has_long_ended(void **state)
{
	refused_with("long_ended", -EKEYEXPIRED, "");
}

static void takes_no_rejection_of_all(void **state)
{
	start("after_a_rejection_of_all");
	run(1);
	assert_int_equal(seen.rejected, 0);
	assert_int_equal(seen.installed, 1);
	assert_string_equal(seen.refused[0].text, "1: 0");
}

static void makes_words_printable(void **state)
{
	start("with_words_for_terminals");
	run(1);
	assert_string_equal(seen.ready.name, "us?[2J");
	assert_string_equal(seen.ready.text, "?");
	assert_string_equal(seen.refused[0].text, "line?another??");
}

/* A process that says such a thing is ended, and started again. */
static void ended_for(const char *role, const char *why)
{
	start(role);
	run(1);
	assert_int_equal(seen.died, 1);
	assert_int_equal(seen.installed, 0);
	assert_non_null(strstr(seen.why, why));
	assert_int_equal(keyservice_pid(service, 0), 0);
}

static void ends_one_without_manners(void **state)
{
	ended_for("without_an_end", "not well-formed");
}

static void ends_one_that_counts_too_far(void **state)
{
	ended_for("too_many_prefixes", "not well-formed");
}

static void ends_one_that_stops_short(void **state)
{
	ended_for("too_short", "not well-formed");
}

/* Between any two turns of the loop only some of it is read. */
static void hears_many_things_by_turns(void **state)
{
	unsigned int turns = 0, before;
	siginfo_t info;

	start("many_things");
	assert_int_equal(waitid(P_PID, (id_t)keyservice_pid(service, 0), &info, WEXITED | WNOWAIT), 0);
	for (; !seen.died; turns++) {
		before = seen.told;
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
		assert_true(seen.told - before < MANY / 2);
	}
	assert_int_equal(seen.told, MANY);
	assert_true(turns > 2);
}

/* Nor more than what takes a few milliseconds. */
static void hears_slow_things_by_turns(void **state)
{
	unsigned int before;
	siginfo_t info;

	start("many_things");
	seen.slow_ms = 2;
	assert_int_equal(waitid(P_PID, (id_t)keyservice_pid(service, 0), &info, WEXITED | WNOWAIT), 0);
	while (!seen.died) {
		before = seen.told;
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
		assert_true(seen.told - before <= 3);
	}
	assert_int_equal(seen.told, MANY);
}

/* One half for each exchange that a sound one can have under way, whatever it is called. */
static void bounds_the_halves(void **state)
{
	char expected[64];

	snprintf(expected, sizeof(expected), "%d taken, then %d", ACCEPT_ALL_MAX, -EUSERS);
	start("no_end_of_halves");
	run(1);
	assert_string_equal(seen.refused[0].text, expected);
	assert_int_equal(seen.installed, ACCEPT_ALL_MAX);
	assert_int_equal(seen.died, 0);
}

/* One exchange at a time for a request, and one with each of its gateways: it names one here. */
static void bounds_the_answers(void **state)
{
	char expected[64];

	snprintf(expected, sizeof(expected), "1 taken, then %d", -EEXIST);
	start("no_end_of_open_answers");
	run(1);
	assert_string_equal(seen.refused[0].text, expected);
	assert_int_equal(seen.installed, 1);
	keyservice_stop(service);
	snprintf(expected, sizeof(expected), "1 taken, then %d", -EUSERS);
	start("no_end_of_broken_answers");
	run(1);
	assert_string_equal(seen.refused[0].text, expected);
	assert_int_equal(seen.installed, 1);
}

/* What ends in logs and events is bounded; the requests under way are not touched by it. */
static void bounds_the_words(void **state)
{
	start("no_end_of_words");
	while (!seen.died)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_true(seen.told > 0);
	assert_true(seen.n_ready > 0);
	assert_true(seen.told + seen.n_ready < FLOOD / 2);
	assert_int_equal(seen.attempts, KMS_MAX_GATEWAYS);
	assert_int_equal(seen.rejected, 1);
}

static void ends_one_that_plays_holdfastd(void **state)
{
	ended_for("what_holdfastd_says", "wrong kind");
}

/* Who answers whether it is there, and not what it is asked, holds up neither a reload nor a request. */
static void ends_one_that_says_nothing_of_the_identity(void **state)
{
	char error[512];

	start("nothing_but_echoes");
	assert_int_equal(keyservice_offer_identity(service, policy, error, sizeof(error)), -EAGAIN);
	run(1);
	assert_string_equal(seen.why, "it did not say whether it takes the identity");
	assert_int_equal(seen.n_ready, 1);
	assert_int_equal(seen.ready.result, -ENOTCONN);
	assert_int_equal(keyservice_offer_identity(service, policy, error, sizeof(error)), -ENOTCONN);
}

static void ends_one_that_says_nothing_of_a_request(void **state)
{
	start("ready_and_nothing_else");
	run(1);
	assert_string_equal(seen.why, "it did not answer a request");
	assert_int_equal(seen.rejected, 1);
}

/* Of as many sessions as it was asked about it may say that they are to be ended. */
static void bounds_the_revoked(void **state)
{
	start("no_end_of_revoked");
	while (!seen.died)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(seen.revoked, KNOWN);
}

/* However many hang, they have the same two seconds. */
static void ends_all_at_once(void **state)
{
	__u64 before;

	policy->interface.key_service_workers = 3;
	start("no_end");
	run(3);
	before = clock_now_ns();
	keyservice_stop(service);
	service = NULL;
	assert_in_range((clock_now_ns() - before) / CLOCK_NS_PER_MS, 1500, 3500);
}

#define LOG_BYTES (512 * 1024)

/* The process has no way into our log but by us. */
static void bounds_the_log(void **state)
{
	int log = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600), before = dup(STDERR_FILENO);
	static char text[LOG_BYTES];
	ssize_t len;

	assert_true(log >= 0 && dup2(log, STDERR_FILENO) >= 0);
	start("no_end_of_lines");
	run(1);
	dup2(before, STDERR_FILENO);
	close(before);
	len = pread(log, text, sizeof(text) - 1, 0);
	close(log);
	assert_in_range(len, 1, sizeof(text) - 2);
	text[len] = '\0';
	assert_int_equal(seen.died, 1);
	assert_string_equal(seen.why, "it ended with status 0");
	assert_null(strchr(text, '\033'));
	assert_null(strstr(text, "\nerror holdfastd: forged"));
	assert_int_not_equal(strncmp(text, "error holdfastd: forged", 10), 0);
	assert_non_null(strstr(text, "key management service 1: error holdfastd: forged\n"));
	assert_non_null(strstr(text, "warning holdfast: key management service 1: mine\n"));
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(takes_what_was_asked_once),    CASE(refuses_a_stranger_as_gateway),
		CASE(refuses_a_dialler_that_says_gateway), CASE(refuses_too_long_a_prefix),
		CASE(refuses_what_has_long_ended),
		CASE(takes_no_rejection_of_all),    CASE(makes_words_printable),
		CASE(ends_one_without_manners),	    CASE(ends_one_that_counts_too_far),
		CASE(ends_one_that_stops_short),    CASE(ends_one_that_plays_holdfastd),
		CASE(hears_many_things_by_turns),   CASE(bounds_the_halves),
		CASE(bounds_the_words),		    CASE(rejects_what_was_not_activated),
		CASE(ends_one_that_says_nothing_of_the_identity),
		CASE(ends_one_that_says_nothing_of_a_request),
		CASE(bounds_the_answers),
		CASE(bounds_the_log),		    CASE(bounds_the_revoked),
		CASE(ends_all_at_once),
		CASE(hears_slow_things_by_turns),
	};

	if (getenv(ROLE) && !strcmp(argv[0], "holdfast-kms"))
		play(getenv(ROLE));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
