/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyservice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "loader/admission.h"
#include "loader/keyaccount.h"
#include "loader/keyidentity.h"
#include "loader/keylisten.h"

#define LISTEN_MAX 16
#define PATIENCE_MS 500
/* What is shorter would be renewed faster than it is made. */
#define LEAST_LIFETIME_S 5
#define KNOWN_AT_ONCE KMS_MAX_KNOWN

struct keyservice {
	struct event_base *base;
	struct keyservice_config config;
	struct keyservice_calls calls;
	void *context;
	int program; /* the file: where it lies may be out of our reach when it is started again */
	struct keyworker *workers[KEYLISTEN_WORKERS_MAX];
	size_t n_workers;
	struct keyidentity identity;
	__s64 not_after; /* of our certificate */
	/* A reading that is under way: the first one, or a reload. */
	struct keyidentity next;
	bool reading;
	__u32 awaited;		  /* the workers whose KMS_READY is to come, as bits */
	struct kms_ready verdict; /* the first answer, or the first bad one */
	bool heard;
	struct admission *admission;
	struct keyaccount account;
	__u64 last_request;
	__u64 last_session;
	int listening[LISTEN_MAX + 1][KEYLISTEN_WORKERS_MAX]; /* with also, at the end */
	size_t n_listening;
	bool also;
};

/* ---- what is under way ---- */

static void settle(struct keyservice *service, struct owed *owed)
{
	if (owed && owed->request)
		admission_settled(service->admission, owed->request);
	keyaccount_settle(&service->account, owed);
}

/* All that a dead worker had: first out of the account, for the calls may ask for something new. */
static void give_up(struct keyservice *service, size_t worker)
{
	struct keyaccount lost = TAILQ_HEAD_INITIALIZER(lost);
	struct kms_failure failure = { .error = ECONNABORTED, .text = "the key management service died" };
	struct owed *owed;

	keyaccount_take(&service->account, worker, &lost);
	while ((owed = TAILQ_FIRST(&lost))) {
		failure.request = owed->request;
		if (owed->request)
			admission_settled(service->admission, owed->request);
		if (owed->request)
			service->calls.rejected(service->context, &failure);
		else
			service->calls.abandon(service->context, owed->session);
		keyaccount_settle(&lost, owed);
	}
}

/* ---- who does what ---- */

/* The worker itself, or while it is dead the next one that lives: NULL when none does. */
static struct keyworker *stand_in(const struct keyservice *service, size_t worker)
{
	for (size_t i = 0; i < service->n_workers; i++) {
		struct keyworker *candidate = service->workers[(worker + i) % service->n_workers];

		if (keyworker_is_up(candidate))
			return candidate;
	}
	return NULL;
}

/* A worker's own sockets, and those of the dead for whom it stands in. */
static int send_listening(struct keyservice *service, struct keyworker *worker)
{
	int fds[KMS_LINK_FDS_MAX];
	size_t n = 0;

	for (size_t of = 0; of < service->n_workers; of++)
		for (size_t i = 0; i < service->n_listening && n < KMS_LINK_FDS_MAX; i++)
			if (stand_in(service, of) == worker)
				fds[n++] = service->listening[i][of];
	return keyworker_send(worker, KMS_LISTEN, NULL, 0, fds, n);
}

static void send_listening_to_all(struct keyservice *service)
{
	for (size_t i = 0; i < service->n_workers; i++)
		if (keyworker_is_up(service->workers[i]) && send_listening(service, service->workers[i]))
			log_warning("the key management service does not take its sockets");
}

static int open_listening(struct keyservice *service, char *error, size_t size)
{
	for (size_t i = 0; i < service->config.n_listen && i < LISTEN_MAX; i++) {
		int err = keylisten_open(service->config.listen[i], service->config.policy->interface.key_service_port,
					 service->n_workers, service->listening[service->n_listening], error, size);

		if (err)
			return err;
		service->n_listening++;
	}
	return 0;
}

static void close_sockets(const struct keyservice *service, const int *fds)
{
	for (size_t i = 0; i < service->n_workers; i++)
		close(fds[i]);
}

static void close_last_listening(struct keyservice *service)
{
	close_sockets(service, service->listening[--service->n_listening]);
}

/* ---- what a worker is told ---- */

static int send_identity(struct keyworker *worker, const struct keyidentity *identity)
{
	return keyworker_send(worker, KMS_IDENTITY, &identity->settings, sizeof(identity->settings), identity->fds,
			      identity->n);
}

static int send_peers(struct keyworker *worker, const struct policy *policy)
{
	struct kms_peers *peers = calloc(1, sizeof(*peers));
	int err;

	if (!peers)
		return -ENOMEM;
	peers->n = (__u32)policy->n_peers;
	for (size_t i = 0; i < policy->n_peers; i++) {
		peers->peers[i].first = policy->peers[i].range.first;
		peers->peers[i].last = policy->peers[i].range.last;
		memcpy(peers->peers[i].name, policy->peers[i].name, KMS_NAME_MAX);
	}
	err = keyworker_send(worker, KMS_PEERS, peers, sizeof(*peers), NULL, 0);
	free(peers);
	return err;
}

/* Who has sessions: whose addresses come first with this worker, and whose certificates it may know to be revoked. */
static int send_known(struct keyservice *service, struct keyworker *worker)
{
	struct kms_knowns *knowns;
	size_t from = 0, got;
	int err = 0;

	if (!service->calls.known)
		return 0;
	knowns = calloc(1, sizeof(*knowns));
	if (!knowns)
		return -ENOMEM;
	do {
		got = service->calls.known(service->context, from, knowns->known, KNOWN_AT_ONCE);
		from += got;
		knowns->n = (__u32)got;
		if (got)
			err = keyworker_send(worker, KMS_KNOWN, knowns, sizeof(*knowns), NULL, 0);
	} while (!err && got == KNOWN_AT_ONCE);
	free(knowns);
	return err;
}

static int worker_started(void *context, struct keyworker *worker, char *error, size_t size)
{
	struct keyservice *service = context;
	int err = send_identity(worker, service->reading ? &service->next : &service->identity);

	if (!err)
		err = send_peers(worker, service->config.policy);
	if (!err)
		err = send_known(service, worker);
	if (err)
		snprintf(error, size, "key management service: %s", strerror(-err));
	return err;
}

/* ---- the identity ---- */

/* Revoked now, and live all the same? Every worker has the same list: one is asked. */
static void ask_for_revoked(struct keyservice *service)
{
	struct keyworker *worker = stand_in(service, 0);

	if (worker && send_known(service, worker))
		log_warning("the key management service cannot be asked for revoked certificates");
}

/* All have answered. Those that took a new identity which another refused take the one before again. */
static void conclude(struct keyservice *service)
{
	struct kms_ready verdict = service->verdict;
	bool first = !service->identity.n;

	if (!verdict.result) {
		keyidentity_close(&service->identity);
		service->identity = service->next;
		service->not_after = verdict.not_after;
	} else {
		keyidentity_close(&service->next);
	}
	service->next = KEYIDENTITY_NONE;
	service->reading = false;
	for (size_t i = 0; verdict.result && !first && i < service->n_workers; i++)
		if (keyworker_is_up(service->workers[i]))
			send_identity(service->workers[i], &service->identity);
	service->calls.ready(service->context, &verdict);
	if (!verdict.result && !first)
		ask_for_revoked(service);
}

static void note_answer(struct keyservice *service, size_t worker, const struct kms_ready *ready)
{
	service->awaited &= ~(1u << worker);
	if (ready && (!service->heard || ready->result)) {
		service->verdict = *ready;
		service->heard = true;
	}
	if (!service->awaited)
		conclude(service);
}

static void on_ready(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_ready *ready = body;

	if (service->awaited & 1u << keyworker_index(worker)) {
		note_answer(service, keyworker_index(worker), ready);
		return;
	}
	/* It was started again, or took back a new identity. */
	if (!service->reading && ready->result)
		log_error("key management service: %s", ready->text);
	send_listening_to_all(service);
	if (!service->reading && !ready->result)
		service->calls.ready(service->context, ready);
}

static void begin_reading(struct keyservice *service)
{
	service->reading = true;
	service->heard = false;
	service->verdict = (struct kms_ready){ .result = -ENOTCONN, .text = "no key management service is running" };
}

int keyservice_offer_identity(struct keyservice *service, const struct policy *policy, char *error, size_t size)
{
	int err;

	if (service->reading) {
		snprintf(error, size, "the key management service is still reading the identity: try again");
		return -EAGAIN;
	}
	err = keyidentity_open(policy, service->config.policy_folder, error, size, &service->next);
	if (err)
		return err;
	begin_reading(service);
	for (size_t i = 0; i < service->n_workers; i++) {
		if (!keyworker_is_up(service->workers[i]))
			continue; /* it is given the new one when it is started again */
		service->awaited |= 1u << i;
		err = send_identity(service->workers[i], &service->next);
		if (err)
			log_warning("key management service %zu: %s", i + 1, strerror(-err));
	}
	if (service->awaited)
		return 0;
	snprintf(error, size, "%s", service->verdict.text);
	keyidentity_close(&service->next);
	service->reading = false;
	return -ENOTCONN;
}

void keyservice_take_policy(struct keyservice *service, const struct policy *policy)
{
	service->config.policy = policy;
	/* One that is being started again is told then. */
	for (size_t i = 0; i < service->n_workers; i++)
		if (keyworker_is_up(service->workers[i]) && send_peers(service->workers[i], policy))
			log_warning("key management service %zu does not take the [PEER] statements", i + 1);
}

/* ---- what the workers say ---- */

/* Nothing outlives a certificate: neither ours nor the peer's. Returns 0 or -EKEYEXPIRED. */
static int limit_lifetime(const struct keyservice *service, struct kms_session *session)
{
	__s64 ends = session->not_after < service->not_after ? session->not_after : service->not_after;
	__s64 now = (__s64)time(NULL), left;

	/* Whoever has that process chooses the numbers: what is long ago first, then the difference has room. */
	if (ends < now + LEAST_LIFETIME_S)
		return -EKEYEXPIRED;
	left = ends - now;
	if (!session->lifetime_s || session->lifetime_s > left)
		session->lifetime_s = (__u32)left;
	return 0;
}

/* -errno for one that is not to be looked at any further. */
static int admit(struct keyservice *service, const struct kms_session *session)
{
	const struct policy *policy = service->config.policy;
	const struct admission_facts facts = { .policy = policy,
					       .lifetime_max_s = policy_session_lifetime_s(&policy->general),
					       .is_own = service->calls.is_own, .context = service->context };
	char words[KMS_TEXT_MAX];
	unsigned int more;
	int err = admission_check(service->admission, &facts, session, words);

	/* One for a request that was cancelled while it came is nobody's fault. */
	if (err == -ECANCELED)
		log_debug("a session with %s: %s", addr_text(&session->remote).s, words);
	else if (err && admission_may_tell(service->admission, clock_now_ns(), &more))
		service->calls.inadmissible(service->context, &session->remote, words, more);
	return err;
}

static int take_session(struct keyservice *service, struct keyworker *worker, struct kms_session *session)
{
	size_t index = keyworker_index(worker);
	struct owed *owed;
	int err = admit(service, session);
	bool own;

	if (!err)
		err = limit_lifetime(service, session);
	if (err)
		return err;
	/* One that answers a request answers its own. */
	own = keyaccount_own_request(&service->account, index, session->request) != NULL;
	if ((session->role == KMS_INITIATOR) != own)
		return -ENOENT;
	if (keyaccount_session(&service->account, index, session->id))
		return -EEXIST;
	owed = keyaccount_add(&service->account, index);
	if (!owed)
		return -ENOMEM;
	owed->kms = session->id;
	owed->answers = session->request;
	session->id = owed->session = ++service->last_session;
	err = service->calls.install(service->context, session);
	if (err)
		settle(service, keyaccount_session(&service->account, index, owed->kms));
	else
		admission_installed(service->admission, session);
	return err;
}

/* The session that is being installed, with its keys; wiped each time. */
static struct kms_session incoming;

static void on_install(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct kms_installed installed;
	struct owed *owed;

	incoming = *(const struct kms_session *)body;
	installed = (struct kms_installed){ .session = incoming.id };
	installed.result = take_session(service, worker, &incoming);
	if (!installed.result && incoming.role == KMS_RESPONDER && incoming.reversed) {
		installed.reversed = 1;
		installed.n_inner = incoming.n_inner;
		memcpy(installed.inner, incoming.inner, sizeof(installed.inner));
	}
	explicit_bzero(&incoming, sizeof(incoming));
	if (!keyworker_send(worker, KMS_INSTALLED, &installed, sizeof(installed), NULL, 0) || installed.result)
		return;
	owed = keyaccount_session(&service->account, keyworker_index(worker), installed.session);
	service->calls.abandon(service->context, owed->session);
	settle(service, owed);
}

static struct owed *find_session(struct keyservice *service, const struct keyworker *worker, const void *body)
{
	const struct kms_session_ref *ref = body;

	return keyaccount_session(&service->account, keyworker_index(worker), ref->session);
}

static void on_activate(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct owed *owed = find_session(service, worker, body);
	__u64 session;

	if (!owed)
		return;
	session = owed->session;
	admission_activated(service->admission, session);
	settle(service, keyaccount_own_request(&service->account, owed->worker, owed->answers));
	settle(service, owed);
	service->calls.activate(service->context, session);
}

static void on_abandon(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct owed *owed = find_session(service, worker, body);
	__u64 session;

	if (!owed)
		return;
	session = owed->session;
	settle(service, owed);
	service->calls.abandon(service->context, session);
}

static void on_attempt_failed(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_failure *failure = body;

	if (keyaccount_own_request(&service->account, keyworker_index(worker), failure->request))
		service->calls.attempt_failed(service->context, failure);
}

static void on_rejected(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_failure *failure = body;
	struct owed *owed = keyaccount_own_request(&service->account, keyworker_index(worker), failure->request);

	if (!owed)
		return;
	settle(service, owed);
	service->calls.rejected(service->context, failure);
}

static void on_refused(struct keyservice *service, struct keyworker *worker, const void *body)
{
	service->calls.refused(service->context, body);
}

static void on_revoked(struct keyservice *service, struct keyworker *worker, const void *body)
{
	if (service->calls.revoked)
		service->calls.revoked(service->context, body);
}

static void (*const handlers[])(struct keyservice *, struct keyworker *, const void *) = {
	[KMS_READY] = on_ready,
	[KMS_INSTALL] = on_install,
	[KMS_ACTIVATE] = on_activate,
	[KMS_ABANDON] = on_abandon,
	[KMS_ATTEMPT_FAILED] = on_attempt_failed,
	[KMS_REJECTED] = on_rejected,
	[KMS_REFUSED] = on_refused,
	[KMS_REVOKED] = on_revoked,
};

static bool worker_message(void *context, struct keyworker *worker, const struct kms_link_message *message)
{
	if (message->type >= sizeof(handlers) / sizeof(*handlers) || !handlers[message->type])
		return false;
	handlers[message->type](context, worker, message->body);
	return true;
}

static void worker_died(void *context, struct keyworker *worker, const struct keyworker_death *death)
{
	struct keyservice *service = context;

	service->calls.died(service->context, death);
	send_listening_to_all(service); /* another stands in for it */
	if (service->awaited & 1u << death->index)
		note_answer(service, death->index, NULL);
	give_up(service, death->index);
}

/* ---- start and stop ---- */

static int start_workers(struct keyservice *service, char *error, size_t size)
{
	static const struct keyworker_calls calls = { .started = worker_started, .message = worker_message,
						      .died = worker_died };
	struct keyworker_config config = { .base = service->base, .program = service->program,
					   .verbose = service->config.verbose };
	int err = 0;

	begin_reading(service);
	for (size_t i = 0; i < service->n_workers && !err; i++) {
		config.index = i;
		service->awaited |= 1u << i;
		err = keyworker_new(&config, &calls, service, error, size, &service->workers[i]);
	}
	for (size_t i = 0; i < service->n_workers && !err; i++) {
		err = send_listening(service, service->workers[i]);
		if (err)
			snprintf(error, size, "key management service: %s", strerror(-err));
	}
	return err;
}

static int prepare(struct keyservice *service, char *error, size_t size)
{
	const char *program = service->config.program;
	int err;

	if (service->config.policy->n_peers > KMS_MAX_PEERS) {
		snprintf(error, size, "more than %d Peer statements", KMS_MAX_PEERS);
		return -E2BIG;
	}
	err = open_listening(service, error, size);
	if (err)
		return err;
	service->program = open(program, O_PATH | O_CLOEXEC);
	if (service->program < 0 || access(program, X_OK)) {
		err = -errno;
		snprintf(error, size, "%s: %s", program, strerror(-err));
		return err;
	}
	return keyidentity_open(service->config.policy, service->config.policy_folder, error, size, &service->next);
}

int keyservice_start(struct event_base *base, const struct keyservice_config *config,
		     const struct keyservice_calls *calls, void *context, char *error, size_t size,
		     struct keyservice **ret_service)
{
	struct keyservice *service = calloc(1, sizeof(*service));
	int err;

	if (!service)
		return -ENOMEM;
	secret_lock(&incoming, sizeof(incoming));
	service->base = base;
	service->config = *config;
	service->calls = *calls;
	service->context = context;
	service->program = -1;
	service->identity = service->next = KEYIDENTITY_NONE;
	TAILQ_INIT(&service->account);
	service->n_workers = policy_key_service_workers(config->policy, (size_t)sysconf(_SC_NPROCESSORS_ONLN));
	err = admission_new(&service->admission);
	if (!err)
		err = prepare(service, error, size);
	if (!err)
		err = start_workers(service, error, size);
	if (err)
		keyservice_stop(service);
	else
		*ret_service = service;
	return err;
}

void keyservice_stop(struct keyservice *service)
{
	if (!service)
		return;
	for (size_t i = 0; i < service->n_workers; i++)
		keyworker_free(service->workers[i]);
	while (service->n_listening)
		close_last_listening(service);
	while (!TAILQ_EMPTY(&service->account))
		settle(service, TAILQ_FIRST(&service->account));
	admission_free(service->admission);
	keyidentity_close(&service->identity);
	keyidentity_close(&service->next);
	if (service->program >= 0)
		close(service->program);
	free(service);
}

/* ---- from outside ---- */

int keyservice_listen(struct keyservice *service, const char (*interfaces)[POLICY_IFACE_MAX], size_t n, char *error,
		      size_t size)
{
	size_t kept = service->n_listening - service->also, opened = 0;
	int fds[LISTEN_MAX][KEYLISTEN_WORKERS_MAX];
	int err = n > LISTEN_MAX ? -E2BIG : 0;

	/* Two sockets cannot listen at one place: what is there already stays. */
	if (kept && n)
		return 0;
	while (opened < n && !err) {
		err = keylisten_open(interfaces[opened], service->config.policy->interface.key_service_port,
				     service->n_workers, fds[opened], error, size);
		opened += !err;
	}
	if (err) {
		while (opened--)
			close_sockets(service, fds[opened]);
		return err;
	}
	for (size_t i = 0; i < kept; i++)
		close_sockets(service, service->listening[i]);
	if (service->also)
		memmove(service->listening[n], service->listening[kept], sizeof(*fds));
	memcpy(service->listening, fds, n * sizeof(*fds));
	service->n_listening = n + service->also;
	send_listening_to_all(service);
	return 0;
}

int keyservice_listen_also(struct keyservice *service, const char *interface)
{
	char error[256];
	int err = 0;

	if (!interface && !service->also)
		return 0;
	if (service->also)
		close_last_listening(service);
	service->also = false;
	if (interface)
		err = keylisten_open(interface, service->config.policy->interface.key_service_port, service->n_workers,
				     service->listening[service->n_listening], error, sizeof(error));
	if (err)
		log_warning("%s", error);
	service->also = interface && !err;
	service->n_listening += service->also;
	send_listening_to_all(service);
	return err;
}

size_t keyservice_inner(const struct policy *policy, struct hf_prefix *ret_inner)
{
	size_t n = policy->interface.n_address < KMS_MAX_INNER ? policy->interface.n_address : KMS_MAX_INNER;

	for (size_t i = 0; i < n; i++)
		ret_inner[i] = policy_address_is_network(&policy->interface.address[i]) ?
				       policy->interface.address[i] :
				       prefix_of_host(&policy->interface.address[i].addr);
	return n;
}

static int send_request(struct keyworker *worker, const struct kms_request *request)
{
	int fds[KMS_MAX_GATEWAYS];
	size_t opened = 0;
	int err = 0;

	while (opened < request->n_gateways && !err) {
		fds[opened] = keylisten_dialling();
		if (fds[opened] < 0)
			err = fds[opened];
		else
			opened++;
	}
	if (!err)
		err = keyworker_send(worker, KMS_REQUEST, request, sizeof(*request), fds, opened);
	while (opened)
		close(fds[--opened]);
	return err;
}

int keyservice_request(struct keyservice *service, const struct hf_addr *gateways, size_t n, __u64 *ret_id)
{
	const struct policy *policy = service->config.policy;
	struct kms_request request = { .id = service->last_request + 1,
				       .timeout_ms = policy->general.key_request_ms,
				       .patience_ms = PATIENCE_MS,
				       .port = policy->interface.key_service_port,
				       .encapsulation = (__u8)policy->interface.encapsulation,
				       .n_gateways = (__u8)n };
	/* With whom it may dial at once, in the other direction: one process must see both. */
	struct keyworker *worker = stand_in(service, keylisten_worker_of(gateways, service->n_workers));
	struct owed *owed;
	int err;

	if (!worker)
		return -ENOTCONN;
	request.n_inner = (__u32)keyservice_inner(policy, request.inner);
	memcpy(request.gateways, gateways, n * sizeof(*gateways));
	owed = keyaccount_add(&service->account, keyworker_index(worker));
	if (!owed)
		return -ENOMEM;
	owed->request = request.id;
	err = admission_asked(service->admission, request.id, gateways, n);
	if (!err)
		err = send_request(worker, &request);
	if (err)
		settle(service, owed);
	else
		*ret_id = service->last_request = request.id;
	return err;
}

void keyservice_cancel(struct keyservice *service, __u64 id)
{
	struct kms_cancel cancel = { .id = id };
	struct owed *owed = keyaccount_request(&service->account, id);

	if (!owed)
		return;
	keyworker_send(service->workers[owed->worker], KMS_CANCEL, &cancel, sizeof(cancel), NULL, 0);
	settle(service, owed);
}

pid_t keyservice_pid(const struct keyservice *service, size_t worker)
{
	return keyworker_pid(service->workers[worker]);
}
