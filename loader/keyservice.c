/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyservice.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/secret.h"
#include "loader/keyservice_internal.h"

#define PATIENCE_MS 500

/* ---- what is under way ---- */

void keyservice_settle(struct keyservice *service, struct owed *owed)
{
	if (owed && owed->request)
		admission_settled(service->admission, owed->request);
	keyaccount_settle(&service->account, owed);
}

/* ---- who does what ---- */

/* The worker itself, or while it is dead the next one that lives: NULL when none does. */
struct keyworker *keyservice_stand_in(const struct keyservice *service, size_t worker)
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
			if (keyservice_stand_in(service, of) == worker)
				fds[n++] = service->listening[i].fds[of];
	return keyworker_send(worker, KMS_LISTEN, NULL, 0, fds, n);
}

void keyservice_send_listening(struct keyservice *service)
{
	for (size_t i = 0; i < service->n_workers; i++)
		if (keyworker_is_up(service->workers[i]) && send_listening(service, service->workers[i]))
			log_warning("the key management service does not take its sockets");
}

static void close_listening(struct keyservice *service, size_t from)
{
	while (service->n_listening > from) {
		const struct listening *listening = &service->listening[--service->n_listening];

		for (size_t i = 0; i < service->n_workers; i++)
			close(listening->fds[i]);
	}
}

static bool is_among(const struct keyservice_place *place, const struct keyservice_place *places, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (places[i].index == place->index && places[i].port == place->port && !strcmp(places[i].name, place->name))
			return true;
	return false;
}

static bool listens_at(const struct keyservice *service, const struct keyservice_place *place)
{
	for (size_t i = 0; i < service->n_listening; i++)
		if (is_among(place, &service->listening[i].place, 1))
			return true;
	return false;
}

/* What is new comes to those that are there; on failure nothing has. */
static int open_listening(struct keyservice *service, const struct keyservice_place *places, size_t n, char *error,
			  size_t size)
{
	size_t before = service->n_listening;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		struct listening *listening = &service->listening[service->n_listening];

		if (listens_at(service, &places[i]))
			continue;
		if (service->n_listening == KEYSERVICE_LISTEN_MAX) {
			snprintf(error, size, "more than %d interfaces to listen on", KEYSERVICE_LISTEN_MAX);
			err = -E2BIG;
			break;
		}
		listening->place = places[i];
		err = keylisten_open(places[i].name, places[i].port, service->n_workers, listening->fds, error, size);
		service->n_listening += !err;
	}
	if (err)
		close_listening(service, before);
	return err;
}

/* Those at other places than these. */
static void close_others(struct keyservice *service, const struct keyservice_place *places, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < service->n_listening; i++) {
		struct listening listening = service->listening[i];

		if (!is_among(&listening.place, places, n))
			continue;
		service->listening[i] = service->listening[kept];
		service->listening[kept++] = listening;
	}
	close_listening(service, kept);
}

/* ---- start and stop ---- */

/* A user of its own, where there is one: nobody else's processes are that user's. */
static const char *choose_user(void)
{
	static const char own[] = "holdfast";

	if (getpwnam(own))
		return own;
	log_warning("there is no user \"%s\": the key management service runs as \"nobody\", as others may; to make it: "
		    "systemd-sysusers, or adduser --system --group --no-create-home %s", own, own);
	return "nobody";
}

static int start_workers(struct keyservice *service, char *error, size_t size)
{
	static const struct keyworker_calls calls = { .started = keyservice_worker_started,
						      .message = keyservice_worker_message,
						      .died = keyservice_worker_died };
	struct keyworker_config config = { .base = service->base, .program = service->program,
					   .user = choose_user(), .verbose = service->config.verbose };
	int err = 0;

	keyservice_begin_reading(service);
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
	err = open_listening(service, service->config.listen, service->config.n_listen, error, size);
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
	secret_lock(&keyservice_incoming, sizeof(keyservice_incoming));
	service->base = base;
	service->config = *config;
	service->calls = *calls;
	service->context = context;
	service->program = -1;
	service->identity = service->next = KEYIDENTITY_NONE;
	TAILQ_INIT(&service->account);
	service->n_workers = policy_key_service_workers(config->policy, (size_t)sysconf(_SC_NPROCESSORS_ONLN));
	service->inadmissible = (struct pace){ .burst = KEYSERVICE_INADMISSIBLE_BURST,
					       .interval_ns = KEYSERVICE_INADMISSIBLE_NS };
	for (size_t i = 0; i < KEYLISTEN_WORKERS_MAX; i++)
		service->words[i] = (struct pace){ .burst = KEYSERVICE_WORDS_BURST, .interval_ns = KEYSERVICE_WORDS_NS };
	err = admission_new(&service->admission);
	if (!err)
		err = keyservice_begin_watch(service);
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
		keyworker_close(service->workers[i]);
	for (size_t i = 0; i < service->n_workers; i++)
		keyworker_free(service->workers[i]);
	close_listening(service, 0);
	while (!TAILQ_EMPTY(&service->account))
		keyservice_settle(service, TAILQ_FIRST(&service->account));
	admission_free(service->admission);
	if (service->watch)
		event_free(service->watch);
	keyidentity_close(&service->identity);
	keyidentity_close(&service->next);
	if (service->program >= 0)
		close(service->program);
	free(service);
}

/* ---- from outside ---- */

int keyservice_listen(struct keyservice *service, const struct keyservice_place *places, size_t n, char *error,
		      size_t size)
{
	size_t before = service->n_listening, opened;
	int err = open_listening(service, places, n, error, size);

	if (err)
		return err;
	opened = service->n_listening - before;
	close_others(service, places, n);
	if (opened || service->n_listening < before)
		keyservice_send_listening(service);
	return 0;
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
	struct keyworker *worker = keyservice_stand_in(service, keylisten_worker_of(gateways, service->n_workers));
	struct owed *owed;
	int err;

	if (!worker)
		return -ENOTCONN;
	request.n_inner = (__u32)admission_own_inner(policy, request.inner);
	memcpy(request.gateways, gateways, n * sizeof(*gateways));
	owed = keyaccount_add(&service->account, keyworker_index(worker));
	if (!owed)
		return -ENOMEM;
	owed->request = request.id;
	owed->left_s = (unsigned int)(n * request.timeout_ms / 1000) + keyservice_answer_s(service);
	owed->gateways = request.n_gateways;
	err = admission_asked(service->admission, request.id, gateways, n);
	if (!err)
		err = send_request(worker, &request);
	if (err)
		keyservice_settle(service, owed);
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
	keyservice_settle(service, owed);
}

pid_t keyservice_pid(const struct keyservice *service, size_t worker)
{
	return keyworker_pid(service->workers[worker]);
}
