/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the workers are told of who we are and whom they are to know: the
 * identity, which all of them take or none, the [PEER] statements, and who has
 * sessions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "loader/keyservice_internal.h"

#define KNOWN_AT_ONCE KMS_MAX_KNOWN

/* ---- what a worker is told ---- */

static int send_identity(struct keyservice *service, struct keyworker *worker, const struct keyidentity *identity)
{
	service->answers[keyworker_index(worker)].identity_s = keyservice_answer_s(service);
	return keyworker_send(worker, KMS_IDENTITY, &identity->settings, sizeof(identity->settings), identity->fds,
			      identity->n);
}

/* To one that runs: if it cannot be told it is ended, and told when it is started again. */
static void tell_identity(struct keyservice *service, struct keyworker *worker, const struct keyidentity *identity)
{
	int err = send_identity(service, worker, identity);

	if (!err)
		return;
	log_warning("key management service %zu: %s", keyworker_index(worker) + 1, strerror(-err));
	keyworker_end(worker, "it did not take the identity");
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

/*
 * Who has sessions is said worker by worker, since each has its share of the addresses (keylisten.h): those come first with
 * it, and their certificates it may know to be revoked, as every worker has the same list.
 */
struct shares {
	struct keyservice *service;
	struct keyworker *to; /* NULL: whoever has each share now */
	struct kms_knowns knowns[KEYLISTEN_WORKERS_MAX];
	struct kms_known some[KNOWN_AT_ONCE];
};

static int send_share(struct shares *shares, size_t of)
{
	struct keyworker *worker = shares->to ? shares->to : keyservice_stand_in(shares->service, of);
	struct kms_knowns *knowns = &shares->knowns[of];
	int err = 0;

	/* With nobody there, it is told when it is started again. */
	if (worker && knowns->n)
		err = keyworker_send(worker, KMS_KNOWN, knowns, sizeof(*knowns), NULL, 0);
	if (worker && !err)
		shares->service->asked[keyworker_index(worker)] += knowns->n;
	knowns->n = 0;
	return err;
}

/* The shares of these workers, as bits; to: as in struct shares. */
static int send_known(struct keyservice *service, __u32 of_workers, struct keyworker *to)
{
	struct shares *shares;
	size_t from = 0, got;
	int err = 0;

	if (!service->calls.known)
		return 0;
	shares = calloc(1, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	shares->service = service;
	shares->to = to;
	do {
		got = service->calls.known(service->context, from, shares->some, KNOWN_AT_ONCE);
		from += got;
		for (size_t i = 0; i < got && !err; i++) {
			size_t of = keylisten_worker_of(&shares->some[i].remote, service->n_workers);
			struct kms_knowns *knowns = &shares->knowns[of];

			if (!(of_workers & 1u << of))
				continue;
			knowns->known[knowns->n++] = shares->some[i];
			if (knowns->n == KMS_MAX_KNOWN)
				err = send_share(shares, of);
		}
	} while (!err && got == KNOWN_AT_ONCE);
	for (size_t of = 0; of < service->n_workers && !err; of++)
		err = send_share(shares, of);
	free(shares);
	return err;
}

void keyservice_share_known(struct keyservice *service, size_t worker)
{
	if (send_known(service, 1u << worker, NULL))
		log_warning("the key management service cannot be told whom it is to know");
}

int keyservice_worker_started(void *context, struct keyworker *worker, char *error, size_t size)
{
	struct keyservice *service = context;
	int err = send_identity(service, worker, service->reading ? &service->next : &service->identity);

	if (!err)
		err = send_peers(worker, service->config.policy);
	if (!err)
		err = send_known(service, 1u << keyworker_index(worker), worker);
	if (err)
		snprintf(error, size, "key management service: %s", strerror(-err));
	return err;
}

/* ---- the identity ---- */

/* Revoked now, and live all the same? */
static void ask_for_revoked(struct keyservice *service)
{
	if (send_known(service, ~0u, NULL))
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
			tell_identity(service, service->workers[i], &service->identity);
	service->calls.ready(service->context, &verdict);
	if (!verdict.result && !first)
		ask_for_revoked(service);
}

void keyservice_note_answer(struct keyservice *service, size_t worker, const struct kms_ready *ready)
{
	service->awaited &= ~(1u << worker);
	if (ready && (!service->heard || ready->result)) {
		service->verdict = *ready;
		service->heard = true;
	}
	if (!service->awaited)
		conclude(service);
}

void keyservice_on_ready(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_ready *ready = body;

	service->answers[keyworker_index(worker)].identity_s = 0;
	if (service->awaited & 1u << keyworker_index(worker)) {
		keyservice_note_answer(service, keyworker_index(worker), ready);
		return;
	}
	/* It was started again, or took back a new identity. */
	if (!keyservice_may_tell(service, worker))
		return;
	if (!service->reading && ready->result)
		log_error("key management service: %s", ready->text);
	keyservice_send_listening(service);
	if (!service->reading && !ready->result)
		service->calls.ready(service->context, ready);
}

void keyservice_begin_reading(struct keyservice *service)
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
	keyservice_begin_reading(service);
	for (size_t i = 0; i < service->n_workers; i++) {
		if (!keyworker_is_up(service->workers[i]))
			continue; /* it is given the new one when it is started again */
		service->awaited |= 1u << i;
		tell_identity(service, service->workers[i], &service->next);
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
