/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's end of the link against a key management service in somebody else's
 * hands: this program itself, in one of the roles of keyservice_roles.h.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "loader/keyservice.h"
#include "selftests/unit/keyservice_roles.h"

#define WAIT_NS (20 * CLOCK_NS_PER_S)

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
