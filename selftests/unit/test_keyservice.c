/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's end of the key management service: real workers, started and told by loader/keyservice.c, in a network
 * namespace of the test's own. Others dial from addresses of 10.127.0/16; the test runs the loop.
 */
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

static void on_ready(void *context, const struct kms_ready *ready)
{
	told.ready++;
	told.last_ready = *ready;
}

static bool is_own(void *context, const struct hf_addr *addr)
{
	return addr->b[14] == 0; /* 10.127.0.N; the clients are 10.127.1.N and further */
}

static void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	fail_msg("inadmissible: %s", words);
}

static int on_install(void *context, struct kms_session *session)
{
	told.installed++;
	told.session = *session;
	return 0;
}

static int on_activate(void *context, __u64 session)
{
	assert_int_equal(session, told.session.id);
	told.activated++;
	return 0;
}

static void on_abandon(void *context, __u64 session)
{
	told.abandoned++;
}

static void on_attempt_failed(void *context, const struct kms_failure *failure)
{
}

static void on_rejected(void *context, const struct kms_failure *failure)
{
	told.rejected++;
	told.last_rejected = failure->request;
	told.last_error = failure->error;
}

static void on_refused(void *context, const struct kms_failure *failure)
{
}

static void on_died(void *context, const struct keyworker_death *death)
{
	told.deaths++;
	told.death = *death;
	snprintf(told.why, sizeof(told.why), "%s", death->why);
}

static size_t on_known(void *context, size_t from, struct kms_known *ret_known, size_t max)
{
	size_t n = 0;

	while (from + n < told.n_known && n < max) {
		ret_known[n] = told.known[from + n];
		n++;
	}
	return n;
}

static void on_revoked(void *context, const struct kms_certificate *certificate)
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
static void turn(void)
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

static bool has_something(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

/* As node_expect(), with the loop of the service turning meanwhile. */
static const void *await(struct node *node, __u32 type)
{
	until(has_something(node->link));
	return node_expect(node, type);
}

/* ---- scenery ---- */

static void issue(const char *name, const char *address, int days)
{
	struct hf_addr addr = node_addr(address);
	char error[PKI_ERROR_MAX];

	if (pki_issue(pki, name, &addr, 1, days, error))
		fail_msg("%s", error);
}

/* In a namespace of its own, with its CA, the gateway's certificate, and one for each client. */
static int set_up(void **state)
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

static int tear_down(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", pki);
	return system(command);
}

static struct policy *make_policy(const char *name, unsigned int workers)
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
static struct scene scene_make_with(unsigned int workers, unsigned int answer_s)
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

static struct scene scene_make(unsigned int workers)
{
	return scene_make_with(workers, 0);
}

static void scene_end(struct scene *scene)
{
	keyservice_stop(scene->service);
	policy_free(scene->policy);
	event_base_free(base);
}

/* The n-th address of 10.127.3.0/24 whose connections belong to this worker. */
static const char *source_of(size_t worker, unsigned int n)
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
static void need_certificate(const char *address)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.pem", pki, address);
	if (access(path, F_OK))
		issue(address, address, 30);
}

/* A client of its own at that address: a session with the service, from beginning to end. */
static void make_session(const char *source, struct kms_session *ret_session)
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
static int connect_from(const char *source)
{
	int fd = node_socket(source, 0, false);
	struct hf_addr addr = node_addr(GATEWAY);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, PORT, &sa);

	assert_true(connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
	return fd;
}

static void kill_worker(struct scene *scene, size_t worker)
{
	unsigned int deaths = told.deaths;
	pid_t pid;

	until((pid = keyservice_pid(scene->service, worker)) > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	until(told.deaths > deaths);
	assert_int_equal(told.death.index, worker);
	assert_non_null(strstr(told.why, "signal 9"));
}

/* ---- tests ---- */

static void chooses_a_worker_by_the_source(void **state)
{
	struct hf_addr a = node_addr("2001:db8:1:2::1"), b = node_addr("2001:db8:1:2:ffff::"), c;
	unsigned int count[WORKERS] = { 0 };
	char text[40];

	assert_int_equal(keylisten_worker_of(&a, WORKERS), keylisten_worker_of(&b, WORKERS));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "10.1.%u.%u", i / 200, i % 200);
		c = node_addr(text);
		count[keylisten_worker_of(&c, WORKERS)]++;
		assert_int_equal(keylisten_worker_of(&c, 1), 0);
	}
	for (size_t i = 0; i < WORKERS; i++)
		assert_in_range(count[i], 60, 140);
}

/* The kernel chooses the worker that we say: seen by stopping all the others. */
static void shares_the_port(void **state)
{
	struct scene scene = scene_make(WORKERS);

	for (size_t worker = 0; worker < WORKERS; worker++) {
		const char *source = source_of(worker, 0);

		for (size_t other = 0; other < WORKERS; other++)
			if (other != worker)
				kill(keyservice_pid(scene.service, other), SIGSTOP);
		make_session(source, NULL);
		for (size_t other = 0; other < WORKERS; other++)
			kill(keyservice_pid(scene.service, other), SIGCONT);
	}
	assert_int_equal(told.installed, WORKERS);
	assert_int_equal(told.deaths, 0);
	scene_end(&scene);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || (errno != EAGAIN && errno != EINTR);
}

/* In the worker when its first byte was read: so a byte that is no TLS is sent, but not enough to be refused. */
static void begin_handshake(int fd)
{
	until(send(fd, "\x16", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1);
}

static void a_crash_costs_its_own_handshakes(void **state)
{
	struct scene scene = scene_make(WORKERS);
	int fds[WORKERS];
	pid_t pids[WORKERS];

	for (size_t i = 0; i < WORKERS; i++) {
		pids[i] = keyservice_pid(scene.service, i);
		fds[i] = connect_from(source_of(i, 0));
		begin_handshake(fds[i]);
	}
	/* Whoever has made a session has accepted all that came before. */
	for (size_t i = 0; i < WORKERS; i++) {
		make_session(source_of(i, 1), NULL);
	}
	kill_worker(&scene, 1);
	until(is_closed(fds[1]));
	assert_false(is_closed(fds[0]));
	assert_false(is_closed(fds[2]));
	assert_int_equal(keyservice_pid(scene.service, 0), pids[0]);
	assert_int_equal(keyservice_pid(scene.service, 2), pids[2]);
	/* It is started again, and serves. */
	until(keyservice_pid(scene.service, 1) > 0 && told.ready == 2);
	make_session(source_of(2, 1), NULL);
	make_session(source_of(1, 2), NULL);
	for (size_t i = 0; i < WORKERS; i++)
		close(fds[i]);
	scene_end(&scene);
}

static void backs_off_in_a_crash_loop(void **state)
{
	struct scene scene = scene_make(WORKERS);
	unsigned int expected = 100;
	__u64 begun;

	for (unsigned int times = 1; times <= 5; times++) {
		begun = now_ms(); /* the timer counts from when its turn of the loop began, which is soon after this */
		kill_worker(&scene, 2);
		assert_int_equal(told.death.times, times);
		assert_int_equal(told.death.again_ms, expected);
		if (times == 5)
			break;
		until(keyservice_pid(scene.service, 2) > 0);
		assert_true(now_ms() - begun + 20 >= expected);
		expected *= 2;
	}
	/* Meanwhile another stands in for it. */
	make_session(source_of(2, 0), NULL);
	if (now_ms() - begun < 1600)
		assert_int_equal(keyservice_pid(scene.service, 2), 0);
	scene_end(&scene);
}

/* An address behind a link that swallows everything, and that belongs to this worker. */
static struct hf_addr silent_address(size_t worker)
{
	struct hf_addr addr;
	unsigned int i = 0;
	char text[32];

	do {
		snprintf(text, sizeof(text), "10.77.1.%u", ++i);
		addr = node_addr(text);
	} while (keylisten_worker_of(&addr, WORKERS) != worker);
	return addr;
}

static void rejects_what_the_dead_had(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct hf_addr gateways[2];
	__u64 ids[2];

	space_make_link("hole", "10.77.0.1/16");
	for (size_t i = 0; i < 2; i++) {
		gateways[i] = silent_address(i);
		assert_int_equal(keyservice_request(scene.service, &gateways[i], 1, &ids[i]), 0);
	}
	assert_int_not_equal(ids[0], ids[1]);
	kill_worker(&scene, 0);
	until(told.rejected);
	assert_int_equal(told.rejected, 1);
	assert_int_equal(told.last_rejected, ids[0]);
	assert_int_equal(told.last_error, ECONNABORTED);
	/* The other one is under way still: it can be cancelled, and then nothing comes of it. */
	keyservice_cancel(scene.service, ids[1]);
	kill_worker(&scene, 1);
	assert_int_equal(told.rejected, 1);
	scene_end(&scene);
}

static void does_not_share_with_others(void **state)
{
	static const struct keyservice_place lo = { "lo", 1, PORT };
	struct policy *policy = make_policy("gateway", WORKERS);
	struct keyservice_config config = { .program = node_program(), .policy = policy, .policy_folder = pki,
					    .listen = &lo, .n_listen = 1 };
	struct keyservice *service;
	char error[512] = "";
	int one = 1, fd;

	if (geteuid())
		skip();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(PORT) },
			      sizeof(struct sockaddr_in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	base = event_base_new();
	assert_int_equal(keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &service), -EADDRINUSE);
	assert_non_null(strstr(error, "cannot listen on lo, TCP port 7546"));
	close(fd);
	event_base_free(base);
	policy_free(policy);
}

/* Whether somebody listens at that port of lo. */
static bool is_listened_on(__u16 port)
{
	struct hf_addr addr = node_addr(GATEWAY);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, port, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool listened = !connect(fd, (struct sockaddr *)&sa, len);

	close(fd);
	return listened;
}

/* Other places, one after the other: what stays stays open, what is gone is closed, and a failure changes nothing. */
static void listens_where_it_is_told(void **state)
{
	struct keyservice_place places[] = { { "lo", 1, PORT }, { "lo", 1, PORT + 1 }, { "nowhere", 99, PORT } };
	struct scene scene = scene_make(WORKERS);
	char error[256] = "";

	assert_int_equal(keyservice_listen(scene.service, places, 2, error, sizeof(error)), 0);
	assert_true(is_listened_on(PORT) && is_listened_on(PORT + 1));
	assert_int_equal(keyservice_listen(scene.service, &places[1], 2, error, sizeof(error)), -ENODEV);
	assert_non_null(strstr(error, "cannot listen on nowhere"));
	assert_true(is_listened_on(PORT) && is_listened_on(PORT + 1));
	make_session(source_of(0, 0), NULL);
	assert_int_equal(keyservice_listen(scene.service, &places[1], 1, error, sizeof(error)), 0);
	assert_true(is_listened_on(PORT + 1));
	/* The workers have their descriptors of it until they are told. */
	until(!is_listened_on(PORT));
	/* An interface of the same name that is another one: its sockets are made anew. */
	places[0].index = 2;
	assert_int_equal(keyservice_listen(scene.service, places, 1, error, sizeof(error)), 0);
	until(!is_listened_on(PORT + 1));
	make_session(source_of(1, 0), NULL);
	assert_int_equal(keyservice_listen(scene.service, NULL, 0, error, sizeof(error)), 0);
	until(!is_listened_on(PORT));
	scene_end(&scene);
}

/* ---- the identity ---- */

static void reload(struct scene *scene, struct policy *policy)
{
	unsigned int ready = told.ready;
	char error[512] = "";

	if (keyservice_offer_identity(scene->service, policy, error, sizeof(error)))
		fail_msg("%s", error);
	assert_int_equal(keyservice_offer_identity(scene->service, policy, error, sizeof(error)), -EAGAIN);
	until(told.ready > ready);
}

/* Each worker is told its own share of them only: in its memory is room for so many. */
static void tells_a_worker_its_own(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct kms_session session;
	const char *revoked = source_of(1, 2);
	char error[PKI_ERROR_MAX];

	make_session(revoked, &session);
	told.known[0] = (struct kms_known){ .remote = session.remote, .certificate = session.certificate };
	told.n_known = 1;
	if (pki_revoke(pki, revoked, error))
		fail_msg("%s", error);
	reload(&scene, scene.policy);
	until(told.revoked == 1);
	for (size_t other = 0; other < WORKERS; other += 2) {
		kill_worker(&scene, other);
		until(told.ready == 3 + other / 2);
		make_session(source_of(other, 1), NULL); /* all that came before has been read */
	}
	assert_int_equal(told.revoked, 1);
	scene_end(&scene);
}

/* The session's other end is what holdfastd knows; it is told which of them is revoked, and of no other. */
static void names_the_sessions_of_a_revoked_certificate(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *again = make_policy("gateway", WORKERS);
	const char *sources[2] = { "10.127.4.1", "10.127.4.2" };
	struct kms_session sessions[2];
	char error[PKI_ERROR_MAX];

	for (size_t i = 0; i < 2; i++) {
		make_session(sources[i], &sessions[i]);
		assert_int_equal(sessions[i].certificate.n, 1);
		assert_in_range(sessions[i].certificate.chain[0].serial_len, 1, KMS_SERIAL_MAX);
		told.known[i] = (struct kms_known){ .remote = sessions[i].remote, .certificate = sessions[i].certificate };
	}
	told.n_known = 2;
	assert_memory_not_equal(&sessions[0].certificate, &sessions[1].certificate, sizeof(struct kms_certificate));
	reload(&scene, again);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.last_ready.n_anchors, 1);
	assert_int_equal(told.last_ready.n_revoked, 0);
	if (pki_revoke(pki, sources[1], error))
		fail_msg("%s", error);
	assert_int_equal(told.revoked, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.n_revoked, 1);
	until(told.revoked);
	assert_int_equal(told.revoked, 1);
	assert_memory_equal(&told.last_revoked, &sessions[1].certificate, sizeof(struct kms_certificate));
	/* While it is dead, who stands in for its worker is told who has sessions, and looks at once; so is the next one then. */
	kill_worker(&scene, keylisten_worker_of(&sessions[1].remote, WORKERS));
	until(told.revoked == 3);
	assert_memory_equal(&told.last_revoked, &sessions[1].certificate, sizeof(struct kms_certificate));
	scene_end(&scene);
	policy_free(again);
}

static void keeps_the_identity_before(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *missing = make_policy("nobody", WORKERS), *wrong = make_policy("gateway", WORKERS);
	char error[512] = "";

	assert_int_equal(keyservice_offer_identity(scene.service, missing, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "nobody.pem: No such file"));
	need_certificate("10.127.4.3");
	free(wrong->identity.private_key);
	wrong->identity.private_key = strdup("10.127.4.3.key");
	reload(&scene, wrong);
	assert_int_equal(told.last_ready.result, -EINVAL);
	assert_string_equal(told.last_ready.text, "private key: does not belong to the certificate");
	policy_free(wrong);
	policy_free(missing);
	for (size_t i = 0; i < WORKERS; i++)
		make_session(source_of(i, 1), NULL);
	kill_worker(&scene, 1);
	make_session(source_of(1, 1), NULL);
	scene_end(&scene);
}

/* Another certificate, another name: sessions go on, new ones have it; also of a worker that is started again. */
static void takes_a_new_certificate(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *renewed;

	make_session(source_of(0, 1), NULL);
	issue("renewed", GATEWAY, 30);
	renewed = make_policy("renewed", WORKERS);
	reload(&scene, renewed);
	assert_int_equal(told.last_ready.result, 0);
	assert_string_equal(told.last_ready.name, "renewed");
	assert_int_equal(told.abandoned, 0);
	make_session(source_of(2, 1), NULL);
	kill_worker(&scene, 2);
	until(told.ready == 3);
	assert_string_equal(told.last_ready.name, "renewed");
	scene_end(&scene);
	policy_free(renewed);
}

/* The certificate of that name anew, but ending in so many seconds. */
static void shorten(const char *name, int seconds)
{
	char path[128];
	FILE *file;
	X509 *certificate;
	EVP_PKEY *key;

	snprintf(path, sizeof(path), "%s/ca.key", pki);
	file = fopen(path, "re");
	assert_non_null(file);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	snprintf(path, sizeof(path), "%s/%s.pem", pki, name);
	file = fopen(path, "r+e");
	assert_non_null(file);
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	assert_non_null(certificate);
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), seconds));
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* A certificate that ends takes its sessions with it: their lifetime is no longer than its own. */
static void no_session_outlives_a_certificate(void **state)
{
	struct scene scene = scene_make(1);
	struct kms_session session;
	struct policy *ending;

	need_certificate("10.127.4.4");
	make_session("10.127.4.4", &session);
	assert_int_equal(session.lifetime_s, 3600); /* what the client offers */
	shorten("10.127.4.4", 1000);
	make_session("10.127.4.4", &session);
	assert_in_range(session.lifetime_s, 900, 1000);
	/* Our own just the same. */
	issue("ending", GATEWAY, 30);
	shorten("ending", 500);
	ending = make_policy("ending", 1);
	reload(&scene, ending);
	make_session("10.127.4.4", &session);
	assert_in_range(session.lifetime_s, 400, 500);
	scene_end(&scene);
	policy_free(ending);
}

/* ---- workers that hang ---- */

#define ANSWER_S 3

static void stop_worker(struct scene *scene, size_t worker)
{
	assert_int_equal(kill(keyservice_pid(scene->service, worker), SIGSTOP), 0);
}

/* It is noticed, told, and a new one serves those who come to it. */
static void until_replaced(struct scene *scene, size_t worker)
{
	until(told.deaths);
	assert_int_equal(told.deaths, 1);
	assert_int_equal(told.death.index, worker);
	until(keyservice_pid(scene->service, worker) > 0);
	make_session(source_of(worker, 1), NULL);
}

/* Nothing is asked of it but whether it is there. */
static void notices_one_that_hangs(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);

	stop_worker(&scene, 1);
	until_replaced(&scene, 1);
	assert_string_equal(told.why, "it hung");
	scene_end(&scene);
}

/* One that hangs does not keep the others from learning who is revoked, and the next reload is not held up either. */
static void a_reload_gets_past_one_that_hangs(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);
	const char *revoked = "10.127.4.8";
	struct kms_session session;
	char error[PKI_ERROR_MAX];

	make_session(revoked, &session);
	told.known[0] = (struct kms_known){ .remote = session.remote, .certificate = session.certificate };
	told.n_known = 1;
	if (pki_revoke(pki, revoked, error))
		fail_msg("%s", error);
	stop_worker(&scene, 1);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	until(told.revoked);
	assert_memory_equal(&told.last_revoked, &session.certificate, sizeof(struct kms_certificate));
	until_replaced(&scene, 1);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.deaths, 1);
	scene_end(&scene);
}

/* A single one: the reload fails, and the next does not. */
static void a_reload_fails_with_the_only_one(void **state)
{
	struct scene scene = scene_make_with(1, ANSWER_S);

	stop_worker(&scene, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, -ENOTCONN);
	until(told.ready == 3); /* of the one that was started again */
	assert_int_equal(told.last_ready.result, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	scene_end(&scene);
}

/* All stood still, as in a machine that is suspended: the time is nobody's fault. */
static void blames_nobody_for_our_own_halt(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);
	char error[512] = "";

	stop_worker(&scene, 1);
	assert_int_equal(keyservice_offer_identity(scene.service, scene.policy, error, sizeof(error)), 0);
	sleep(2 * ANSWER_S);
	turn();
	turn();
	assert_int_equal(kill(keyservice_pid(scene.service, 1), SIGCONT), 0);
	until(told.ready == 2);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.deaths, 0);
	scene_end(&scene);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses_a_worker_by_the_source),
		cmocka_unit_test(shares_the_port),
		cmocka_unit_test(a_crash_costs_its_own_handshakes),
		cmocka_unit_test(backs_off_in_a_crash_loop),
		cmocka_unit_test(rejects_what_the_dead_had),
		cmocka_unit_test(does_not_share_with_others),
		cmocka_unit_test(listens_where_it_is_told),
		cmocka_unit_test(names_the_sessions_of_a_revoked_certificate),
		cmocka_unit_test(tells_a_worker_its_own),
		cmocka_unit_test(keeps_the_identity_before),
		cmocka_unit_test(takes_a_new_certificate),
		cmocka_unit_test(no_session_outlives_a_certificate),
		cmocka_unit_test(notices_one_that_hangs),
		cmocka_unit_test(a_reload_gets_past_one_that_hangs),
		cmocka_unit_test(a_reload_fails_with_the_only_one),
		cmocka_unit_test(blames_nobody_for_our_own_halt),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("keyservice", tests, set_up, tear_down);
}
