/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's end of the key management service, for the tests of it: real workers, started and told by
 * loader/keyservice.c, in a network namespace of the test's own. Others dial from addresses of 10.127.0/16; the test runs
 * the loop. Not every test uses all of it.
 */
#ifndef HF_SELFTESTS_KEYSERVICE_SCENE_H
#define HF_SELFTESTS_KEYSERVICE_SCENE_H

#include "selftests/unit/kms_node.h"

#include <event2/event.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "loader/keylisten.h"
#include "loader/keyservice.h"
#include "selftests/unit/space.h"

#define GATEWAY "10.127.0.11"
#define WORKERS 3
#define PORT 7546
#define WAIT_MS 20000

static char pki[] = "/tmp/holdfast-keyservice-XXXXXX";
static const struct kms_identity settings = { .lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000 };

/* holdfastd in short: what it was told. */
struct told {
	unsigned int ready;
	struct kms_ready last_ready;
	unsigned int deaths;
	struct keyworker_death death;
	char why[64]; /* of the last one */
	unsigned int installed, activated, abandoned, rejected, revoked;
	struct kms_session session; /* the last one */
	__u64 last_rejected;
	int last_error;
	struct kms_certificate last_revoked;
	struct kms_known known[4];
	size_t n_known;
};

static struct told told;
static struct event_base *base;

static inline void on_ready(void *context, const struct kms_ready *ready)
{
	told.ready++;
	told.last_ready = *ready;
}

static inline bool is_own(void *context, const struct hf_addr *addr)
{
	return addr->b[14] == 0; /* 10.127.0.N; the clients are 10.127.1.N and further */
}

static inline void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	fail_msg("inadmissible: %s", words);
}

static inline int on_install(void *context, struct kms_session *session)
{
	told.installed++;
	told.session = *session;
	return 0;
}

static inline int on_activate(void *context, __u64 session)
{
	assert_int_equal(session, told.session.id);
	told.activated++;
	return 0;
}

static inline void on_abandon(void *context, __u64 session)
{
	told.abandoned++;
}

static inline void on_attempt_failed(void *context, const struct kms_failure *failure)
{
}

static inline void on_rejected(void *context, const struct kms_failure *failure)
{
	told.rejected++;
	told.last_rejected = failure->request;
	told.last_error = failure->error;
}

static inline void on_refused(void *context, const struct kms_failure *failure)
{
}

static inline void on_died(void *context, const struct keyworker_death *death)
{
	told.deaths++;
	told.death = *death;
	snprintf(told.why, sizeof(told.why), "%s", death->why);
}

static inline size_t on_known(void *context, size_t from, struct kms_known *ret_known, size_t max)
{
	size_t n = 0;

	while (from + n < told.n_known && n < max) {
		ret_known[n] = told.known[from + n];
		n++;
	}
	return n;
}

static inline void on_revoked(void *context, const struct kms_certificate *certificate)
{
	told.revoked++;
	told.last_revoked = *certificate;
}

static const struct keyservice_calls calls = {
	.ready = on_ready, .is_own = is_own, .inadmissible = on_inadmissible, .install = on_install,
	.activate = on_activate, .abandon = on_abandon,
	.attempt_failed = on_attempt_failed, .rejected = on_rejected, .refused = on_refused, .died = on_died,
	.known = on_known, .revoked = on_revoked,
};

static __u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000 + (__u64)ts.tv_nsec / 1000000;
}

/* One turn of the loop: what is ready now, or 10 ms. */
static inline void turn(void)
{
	struct timeval tv = { .tv_usec = 10000 };

	event_base_loopexit(base, &tv);
	event_base_loop(base, EVLOOP_ONCE);
}

#define until(condition)                                                                  \
	do {                                                                              \
		__u64 deadline = now_ms() + WAIT_MS;                                      \
		while (!(condition)) {                                                    \
			if (now_ms() > deadline)                                          \
				fail_msg("not within %d ms: %s", WAIT_MS, #condition);    \
			turn();                                                           \
		}                                                                         \
	} while (0)

static inline bool has_something(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

/* As node_expect(), with the loop of the service turning meanwhile. */
static inline const void *await(struct node *node, __u32 type)
{
	until(has_something(node->link));
	return node_expect(node, type);
}

/* ---- scenery ---- */

static inline void issue(const char *name, const char *address, int days)
{
	struct hf_addr addr = node_addr(address);
	char error[PKI_ERROR_MAX];

	if (pki_issue(pki, name, &addr, 1, days, error))
		fail_msg("%s", error);
}

/* In a namespace of its own, with its CA, the gateway's certificate, and one for each client. */
static inline int set_up(void **state)
{
	char error[PKI_ERROR_MAX];

	if (geteuid() || unshare(CLONE_NEWNET))
		return 0;
	space_run("ip link set lo up && ip addr add 10.127.0.1/16 dev lo");
	assert_non_null(mkdtemp(pki));
	if (pki_init(pki, error))
		fail_msg("%s", error);
	issue("gateway", GATEWAY, 30);
	return 0;
}

static inline int tear_down(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", pki);
	return system(command);
}

static inline struct policy *make_policy(const char *name, unsigned int workers)
{
	struct policy_report report = { 0 };
	struct policy *policy = NULL;
	char text[512];

	snprintf(text, sizeof(text), "[IDENTITY]\nCertificate=%s.pem\nPrivateKey=%s.key\nTrustAnchors=ca.pem\n"
				     "RevocationList=crl.pem\n[INTERFACE]\nKeyServiceWorkers=%u", name, name, workers);
	assert_int_equal(policy_parse(text, strlen(text), &report, &policy), 0);
	policy_report_clear(&report);
	return policy;
}

struct scene {
	struct policy *policy;
	struct keyservice *service;
};

/* answer_s: how long a worker may take to answer. */
static inline struct scene scene_make_with(unsigned int workers, unsigned int answer_s)
{
	static const struct keyservice_place lo = { "lo", 1, PORT };
	struct scene scene = { .policy = make_policy("gateway", workers) };
	struct keyservice_config config = { .program = node_program(), .policy = scene.policy, .policy_folder = pki,
					    .listen = &lo, .n_listen = 1, .answer_s = answer_s };
	char error[512] = "";

	if (geteuid())
		skip();
	memset(&told, 0, sizeof(told));
	base = event_base_new();
	if (keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &scene.service))
		fail_msg("%s", error);
	until(told.ready);
	if (told.last_ready.result)
		fail_msg("%s", told.last_ready.text);
	return scene;
}

static inline struct scene scene_make(unsigned int workers)
{
	return scene_make_with(workers, 0);
}

static inline void scene_end(struct scene *scene)
{
	keyservice_stop(scene->service);
	policy_free(scene->policy);
	event_base_free(base);
}

/* The n-th address of 10.127.3.0/24 whose connections belong to this worker. */
static inline const char *source_of(size_t worker, unsigned int n)
{
	static char text[32];

	for (unsigned int i = 1; i < 255; i++) {
		struct hf_addr addr;

		snprintf(text, sizeof(text), "10.127.3.%u", i);
		addr = node_addr(text);
		if (keylisten_worker_of(&addr, WORKERS) == worker && n-- == 0)
			return text;
	}
	fail_msg("no such address");
	return NULL;
}

/* Named after its address. */
static inline void need_certificate(const char *address)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.pem", pki, address);
	if (access(path, F_OK))
		issue(address, address, 30);
}

/* A client of its own at that address: a session with the service, from beginning to end. */
static inline void make_session(const char *source, struct kms_session *ret_session)
{
	struct node *client = node_start_as(NULL);
	struct kms_request request = { .id = 1, .timeout_ms = 10000, .patience_ms = 5000, .port = PORT };
	struct kms_ready ready;
	const char *gateways[] = { GATEWAY };
	unsigned int activated = told.activated;
	struct kms_session session;

	need_certificate(source);
	ready = node_identify(client, pki, source, pki, &settings);
	assert_int_equal(ready.result, 0);
	node_request(client, &request, source, gateways, 1);
	session = *(const struct kms_session *)await(client, KMS_INSTALL);
	node_installed(client, session.id, 0);
	await(client, KMS_ACTIVATE);
	until(told.activated > activated);
	assert_int_equal(told.session.spi_in, session.spi_out);
	if (ret_session)
		*ret_session = told.session;
	node_stop(client);
}

/* A TCP connection that says nothing. */
static inline int connect_from(const char *source)
{
	int fd = node_socket(source, 0, false);
	struct hf_addr addr = node_addr(GATEWAY);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, PORT, &sa);

	assert_true(connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
	return fd;
}

static inline void kill_worker(struct scene *scene, size_t worker)
{
	unsigned int deaths = told.deaths;
	pid_t pid;

	until((pid = keyservice_pid(scene->service, worker)) > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	until(told.deaths > deaths);
	assert_int_equal(told.death.index, worker);
	assert_non_null(strstr(told.why, "signal 9"));
}

static inline void reload(struct scene *scene, struct policy *policy)
{
	unsigned int ready = told.ready;
	char error[512] = "";

	if (keyservice_offer_identity(scene->service, policy, error, sizeof(error)))
		fail_msg("%s", error);
	assert_int_equal(keyservice_offer_identity(scene->service, policy, error, sizeof(error)), -EAGAIN);
	until(told.ready > ready);
}

#endif
