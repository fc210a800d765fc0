/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Workers that hang: the process is there and its link is open, but nothing comes from it any more, since it was stopped,
 * goes round in a parser, or waits for somebody to read its log. It has a time for each answer that it owes: an echo, so
 * that one is noticed of which nothing else is asked; the identity and each request, so that an echo is not all that it
 * has for us. Who takes longer is killed, and started again, as after any death.
 *
 * Time is counted in turns of our own loop: while we stand still ourselves, nobody is late.
 */
#include <errno.h>

#include "loader/keyservice_internal.h"

#define ECHO_EVERY_S 5

unsigned int keyservice_answer_s(const struct keyservice *service)
{
	return service->config.answer_s ? service->config.answer_s : KEYSERVICE_ANSWER_S;
}

/* One second less. Whether it was the last. */
static bool runs_out(unsigned int *left_s)
{
	return *left_s && !--*left_s;
}

static void watch_worker(struct keyservice *service, struct keyworker *worker)
{
	struct keyservice_answers *answers = &service->answers[keyworker_index(worker)];

	if (runs_out(&answers->identity_s))
		keyworker_end(worker, "it did not say whether it takes the identity");
	if (runs_out(&answers->echo_s))
		keyworker_end(worker, "it hung");
	if (answers->echo_s || service->watched_s % ECHO_EVERY_S)
		return;
	/* One that does not read its link any more does not answer either: whether this could be sent is all the same. */
	answers->echo_s = keyservice_answer_s(service);
	keyworker_send(worker, KMS_ECHO, NULL, 0, NULL, 0);
}

static void on_watch(evutil_socket_t fd, short what, void *context)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct keyservice *service = context;
	struct owed *owed;

	evtimer_add(service->watch, &second);
	for (size_t i = 0; i < service->n_workers; i++)
		if (keyworker_is_up(service->workers[i]))
			watch_worker(service, service->workers[i]);
	TAILQ_FOREACH(owed, &service->account, entry)
		if (runs_out(&owed->left_s))
			keyworker_end(service->workers[owed->worker], "it did not answer a request");
	service->watched_s++;
}

int keyservice_begin_watch(struct keyservice *service)
{
	static const struct timeval second = { .tv_sec = 1 };

	service->watch = evtimer_new(service->base, on_watch, service);
	return service->watch && !evtimer_add(service->watch, &second) ? 0 : -ENOMEM;
}

void keyservice_on_echo(struct keyservice *service, struct keyworker *worker, const void *body)
{
	service->answers[keyworker_index(worker)].echo_s = 0;
}
