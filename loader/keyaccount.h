/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What each worker of the key management service has under way: requests that it was given, and sessions of which it
 * has installed one half. So that one that dies costs its own and no others, and none can speak of another's.
 */
#ifndef HF_LOADER_KEYACCOUNT_H
#define HF_LOADER_KEYACCOUNT_H

#include <linux/types.h>
#include <stddef.h>
#include <sys/queue.h>

struct owed {
	TAILQ_ENTRY(owed) entry;
	size_t worker;
	__u64 request; /* its id; 0: this is a session */
	__u64 session; /* ours */
	__u64 kms;     /* the worker's own number of the session: no two workers' need differ */
	__u64 answers; /* the request that the session answers, or 0 */
	unsigned int left_s;   /* of a request: until its worker is given up (keyservice_watch.c) */
	/* Of a request: how many gateways it names, how many of them have failed, and how many have been taken for its answer. */
	unsigned int gateways, failures, installs;
};
TAILQ_HEAD(keyaccount, owed);

/* A new entry of this worker's, its other fields zero; or NULL. It belongs to the account until it is settled. */
struct owed *keyaccount_add(struct keyaccount *account, size_t worker);

/* It is over. Takes NULL. */
void keyaccount_settle(struct keyaccount *account, struct owed *owed);

/* The request of this id; only if this worker has it; the worker's session of this number of its own. Or NULL. */
struct owed *keyaccount_request(struct keyaccount *account, __u64 id);
struct owed *keyaccount_own_request(struct keyaccount *account, size_t worker, __u64 id);
struct owed *keyaccount_session(struct keyaccount *account, size_t worker, __u64 kms);

/* The session that is to answer this request, or NULL. */
struct owed *keyaccount_answer(struct keyaccount *account, const struct owed *request);

/* How many sessions this worker has installed the first half of, and said no more of. */
size_t keyaccount_sessions(const struct keyaccount *account, size_t worker);

/* Moves all that a worker has to ret_lost (an empty account): sessions first, then requests in their order. */
void keyaccount_take(struct keyaccount *account, size_t worker, struct keyaccount *ret_lost);

#endif
