/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the workers say, and what becomes of it when one dies: a message counts
 * for what the account has of its worker, and is a call then. Sessions are
 * installed only if they are admissible (admission.c).
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "loader/keyservice_internal.h"

/* What is shorter would be renewed faster than it is made. */
#define LEAST_LIFETIME_S 5

bool keyservice_may_tell(struct keyservice *service, const struct keyworker *worker)
{
	size_t index = keyworker_index(worker);
	unsigned int untold;

	if (!pace_allows(&service->words[index], clock_now_ns(), &untold))
		return false;
	if (untold)
		log_warning("key management service %zu said %u things more than one may say in this time", index + 1, untold);
	return true;
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
					       .is_own = service->calls.is_own,
					       .is_broadcast = service->calls.is_broadcast, .context = service->context };
	char words[KMS_TEXT_MAX];
	unsigned int more;
	int err = admission_check(service->admission, &facts, session, words);

	/* One for a request that was cancelled while it came is nobody's fault. */
	if (err == -ECANCELED)
		log_debug("a session with %s: %s", addr_text(&session->remote).s, words);
	else if (err && pace_allows(&service->inadmissible, clock_now_ns(), &more))
		service->calls.inadmissible(service->context, &session->remote, words, more);
	return err;
}

/*
 * A sound one makes one exchange at a time for a request, and one at the most with each of its gateways (kms/request.c): each
 * leaves a state in the kernel for a while when it breaks off.
 */
static int count_answer(struct keyservice *service, struct owed *request)
{
	if (keyaccount_answer(&service->account, request))
		return -EEXIST;
	return request->installs++ < request->gateways ? 0 : -EUSERS;
}

static int take_session(struct keyservice *service, struct keyworker *worker, struct kms_session *session)
{
	size_t index = keyworker_index(worker);
	struct owed *owed, *request;
	int err = admit(service, session);

	if (!err)
		err = limit_lifetime(service, session);
	if (err)
		return err;
	/* One that answers a request answers its own. */
	request = keyaccount_own_request(&service->account, index, session->request);
	if ((session->role == KMS_INITIATOR) != (request != NULL))
		return -ENOENT;
	if (keyaccount_session(&service->account, index, session->id))
		return -EEXIST;
	if (!request && keyaccount_sessions(&service->account, index) >= KEYSERVICE_HALVES_MAX)
		return -EUSERS;
	err = request ? count_answer(service, request) : 0;
	if (err)
		return err;
	owed = keyaccount_add(&service->account, index);
	if (!owed)
		return -ENOMEM;
	owed->kms = session->id;
	owed->answers = session->request;
	session->id = owed->session = ++service->last_session;
	err = service->calls.install(service->context, session);
	if (err)
		keyservice_settle(service, keyaccount_session(&service->account, index, owed->kms));
	else
		admission_installed(service->admission, session);
	return err;
}

/* The session that is being installed, with its keys; wiped each time. */
struct kms_session keyservice_incoming;

static void on_install(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct kms_installed installed;
	struct owed *owed;

	keyservice_incoming = *(const struct kms_session *)body;
	installed = (struct kms_installed){ .session = keyservice_incoming.id };
	installed.result = take_session(service, worker, &keyservice_incoming);
	if (!installed.result && keyservice_incoming.role == KMS_RESPONDER && keyservice_incoming.reversed) {
		installed.reversed = 1;
		installed.n_inner = keyservice_incoming.n_inner;
		memcpy(installed.inner, keyservice_incoming.inner, sizeof(installed.inner));
	}
	explicit_bzero(&keyservice_incoming, sizeof(keyservice_incoming));
	if (!keyworker_send(worker, KMS_INSTALLED, &installed, sizeof(installed), NULL, 0) || installed.result)
		return;
	owed = keyaccount_session(&service->account, keyworker_index(worker), installed.session);
	service->calls.abandon(service->context, owed->session);
	keyservice_settle(service, owed);
}

static struct owed *find_session(struct keyservice *service, const struct keyworker *worker, const void *body)
{
	const struct kms_session_ref *ref = body;

	return keyaccount_session(&service->account, keyworker_index(worker), ref->session);
}

static void on_activate(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct kms_failure failure = { .error = ECANCELED, .text = "its session could not be activated" };
	struct owed *owed = find_session(service, worker, body), *request;
	struct kms_activated activated = { .pad = 0 };
	__u64 session;
	bool ours;

	if (!owed)
		return;
	session = owed->session;
	activated.session = owed->kms;
	ours = owed->answers; /* we dialled, and have the last word already */
	request = keyaccount_own_request(&service->account, owed->worker, owed->answers);
	failure.request = request ? request->request : 0;
	admission_activated(service->admission, session);
	keyservice_settle(service, request);
	keyservice_settle(service, owed);
	activated.result = service->calls.activate(service->context, session);
	/* One that does not hear it has not said DONE: as if that were lost. */
	if (!ours)
		keyworker_send(worker, KMS_ACTIVATED, &activated, sizeof(activated), NULL, 0);
	/* To the worker the request has been answered: it says no more of it. */
	if (activated.result && failure.request)
		service->calls.rejected(service->context, &failure);
}

static void on_abandon(struct keyservice *service, struct keyworker *worker, const void *body)
{
	struct owed *owed = find_session(service, worker, body);
	__u64 session;

	if (!owed)
		return;
	session = owed->session;
	keyservice_settle(service, owed);
	service->calls.abandon(service->context, session);
}

static void on_attempt_failed(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_failure *failure = body;
	struct owed *owed = keyaccount_own_request(&service->account, keyworker_index(worker), failure->request);

	/* Each gateway of a request fails once. */
	if (owed && owed->failures++ < KMS_MAX_GATEWAYS)
		service->calls.attempt_failed(service->context, failure);
}

static void on_rejected(struct keyservice *service, struct keyworker *worker, const void *body)
{
	const struct kms_failure *failure = body;
	struct owed *owed = keyaccount_own_request(&service->account, keyworker_index(worker), failure->request);

	if (!owed)
		return;
	keyservice_settle(service, owed);
	service->calls.rejected(service->context, failure);
}

static void on_refused(struct keyservice *service, struct keyworker *worker, const void *body)
{
	if (keyservice_may_tell(service, worker))
		service->calls.refused(service->context, body);
}

/* An answer to what was asked, of each certificate once: not whenever it likes. */
static void on_revoked(struct keyservice *service, struct keyworker *worker, const void *body)
{
	size_t *asked = &service->asked[keyworker_index(worker)];

	if (!*asked)
		return;
	--*asked;
	if (service->calls.revoked)
		service->calls.revoked(service->context, body);
}

static void (*const handlers[])(struct keyservice *, struct keyworker *, const void *) = {
	[KMS_READY] = keyservice_on_ready,
	[KMS_INSTALL] = on_install,
	[KMS_ACTIVATE] = on_activate,
	[KMS_ABANDON] = on_abandon,
	[KMS_ATTEMPT_FAILED] = on_attempt_failed,
	[KMS_REJECTED] = on_rejected,
	[KMS_REFUSED] = on_refused,
	[KMS_REVOKED] = on_revoked,
	[KMS_ECHO] = keyservice_on_echo,
};

bool keyservice_worker_message(void *context, struct keyworker *worker, const struct kms_link_message *message)
{
	if (message->type >= sizeof(handlers) / sizeof(*handlers) || !handlers[message->type])
		return false;
	handlers[message->type](context, worker, message->body);
	return true;
}

void keyservice_worker_died(void *context, struct keyworker *worker, const struct keyworker_death *death)
{
	struct keyservice *service = context;

	service->words[death->index].paid_ns = 0; /* what the next one says is not paid for by this one */
	service->answers[death->index] = (struct keyservice_answers){ 0 };
	service->asked[death->index] = 0;
	service->calls.died(service->context, death);
	keyservice_send_listening(service); /* another stands in for it */
	keyservice_share_known(service, death->index);
	if (service->awaited & 1u << death->index)
		keyservice_note_answer(service, death->index, NULL);
	give_up(service, death->index);
}
