/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of keyservice.h share, and nobody else: the service itself.
 * keyservice.c starts and stops it, has its sockets, and asks; keyservice_identity.c
 * is what the workers are told, keyservice_messages.c what they say, and
 * keyservice_watch.c how long they may take for it.
 */
#ifndef HF_LOADER_KEYSERVICE_INTERNAL_H
#define HF_LOADER_KEYSERVICE_INTERNAL_H

#include "kms/accept.h"
#include "lib/clock.h"
#include "lib/pace.h"
#include "loader/admission.h"
#include "loader/keyaccount.h"
#include "loader/keyidentity.h"
#include "loader/keylisten.h"
#include "loader/keyservice.h"

/*
 * What a sound worker keeps below, and one that has gone mad or is in other hands may not exceed: exchanges under way with those
 * who dialled it, and things that it says only for people to read (kms/accept.c tells a quarter of that).
 */
#define KEYSERVICE_HALVES_MAX ACCEPT_ALL_MAX
#define KEYSERVICE_WORDS_BURST 128
#define KEYSERVICE_WORDS_NS (CLOCK_NS_PER_S / 32)
#define KEYSERVICE_INADMISSIBLE_BURST 10
#define KEYSERVICE_INADMISSIBLE_NS CLOCK_NS_PER_S

/* How long a worker may take to read an identity or to send an echo; and for a request, beyond the time of its tries. */
#define KEYSERVICE_ANSWER_S 20

/* What a worker has yet to answer: the seconds that it has left for it; 0: nothing. */
struct keyservice_answers {
	unsigned int identity_s;
	unsigned int echo_s;
};

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
	struct pace inadmissible;		     /* the sessions that were not, as they are told */
	struct pace words[KEYLISTEN_WORKERS_MAX]; /* all else that a worker says for people to read */
	size_t asked[KEYLISTEN_WORKERS_MAX]; /* of how many certificates (KMS_KNOWN) a worker may say yet that they are revoked */
	struct keyaccount account;
	struct event *watch;
	unsigned int watched_s; /* how often it came */
	struct keyservice_answers answers[KEYLISTEN_WORKERS_MAX];
	__u64 last_request;
	__u64 last_session;
	struct listening {
		struct keyservice_place place;
		int fds[KEYLISTEN_WORKERS_MAX];
	} listening[KEYSERVICE_LISTEN_MAX];
	size_t n_listening;
};

/* keyservice.c */

/* No longer under way; NULL is none. */
void keyservice_settle(struct keyservice *service, struct owed *owed);

/* The worker itself, or while it is dead the next one that lives: NULL when none does. */
struct keyworker *keyservice_stand_in(const struct keyservice *service, size_t worker);

/* To all: which sockets are whose, now. */
void keyservice_send_listening(struct keyservice *service);

/* keyservice_identity.c */

/* An identity is offered: from here on the answers count. */
void keyservice_begin_reading(struct keyservice *service);

/* A worker that was waited for has answered; NULL: it died instead. */
void keyservice_note_answer(struct keyservice *service, size_t worker, const struct kms_ready *ready);

/* Who has a session and comes to this worker: told to it, or while it is dead to the one that stands in for it. */
void keyservice_share_known(struct keyservice *service, size_t worker);

void keyservice_on_ready(struct keyservice *service, struct keyworker *worker, const void *body);

/* For keyworker_new(), as the two below. */
int keyservice_worker_started(void *context, struct keyworker *worker, char *error, size_t size);

/* keyservice_watch.c */

/* From now on, until the service is freed: workers that hang are ended. Returns 0 or -ENOMEM. */
int keyservice_begin_watch(struct keyservice *service);

/* How long a worker may take for each answer, in seconds. */
unsigned int keyservice_answer_s(const struct keyservice *service);

void keyservice_on_echo(struct keyservice *service, struct keyworker *worker, const void *body);

/* keyservice_messages.c */

/* The session that is being installed, with its keys; wiped each time. */
extern struct kms_session keyservice_incoming;

/* Whether something that a worker says only for people to read is to be told. */
bool keyservice_may_tell(struct keyservice *service, const struct keyworker *worker);

bool keyservice_worker_message(void *context, struct keyworker *worker, const struct kms_link_message *message);
void keyservice_worker_died(void *context, struct keyworker *worker, const struct keyworker_death *death);

#endif
