/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyaccount.h"

#include <stdlib.h>

struct owed *keyaccount_add(struct keyaccount *account, size_t worker)
{
	struct owed *owed = calloc(1, sizeof(*owed));

	if (!owed)
		return NULL;
	owed->worker = worker;
	TAILQ_INSERT_TAIL(account, owed, entry);
	return owed;
}

void keyaccount_settle(struct keyaccount *account, struct owed *owed)
{
	if (!owed)
		return;
	TAILQ_REMOVE(account, owed, entry);
	free(owed);
}

struct owed *keyaccount_request(struct keyaccount *account, __u64 id)
{
	struct owed *owed;

	TAILQ_FOREACH(owed, account, entry)
		if (id && owed->request == id)
			return owed;
	return NULL;
}

struct owed *keyaccount_own_request(struct keyaccount *account, size_t worker, __u64 id)
{
	struct owed *owed = keyaccount_request(account, id);

	return owed && owed->worker == worker ? owed : NULL;
}

struct owed *keyaccount_session(struct keyaccount *account, size_t worker, __u64 kms)
{
	struct owed *owed;

	TAILQ_FOREACH(owed, account, entry)
		if (!owed->request && owed->kms == kms && owed->worker == worker)
			return owed;
	return NULL;
}

struct owed *keyaccount_answer(struct keyaccount *account, const struct owed *request)
{
	struct owed *owed;

	TAILQ_FOREACH(owed, account, entry)
		if (!owed->request && owed->answers == request->request && owed->worker == request->worker)
			return owed;
	return NULL;
}

size_t keyaccount_sessions(const struct keyaccount *account, size_t worker)
{
	const struct owed *owed;
	size_t n = 0;

	TAILQ_FOREACH(owed, account, entry)
		n += !owed->request && owed->worker == worker;
	return n;
}

void keyaccount_take(struct keyaccount *account, size_t worker, struct keyaccount *ret_lost)
{
	struct owed *owed, *next;

	for (owed = TAILQ_FIRST(account); owed; owed = next) {
		next = TAILQ_NEXT(owed, entry);
		if (owed->worker != worker)
			continue;
		TAILQ_REMOVE(account, owed, entry);
		if (owed->request)
			TAILQ_INSERT_TAIL(ret_lost, owed, entry);
		else
			TAILQ_INSERT_HEAD(ret_lost, owed, entry);
	}
}
