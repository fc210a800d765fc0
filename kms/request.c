/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kms/accept.h"
#include "kms/connection.h"

struct attempt {
	struct request *request;
	int fd; /* before it begins; then the connection's */
	bool waiting; /* authenticated while another one leads */
	struct connection *connection; /* NULL: not begun, or over */
};

struct request {
	LIST_ENTRY(request) entry;
	struct service *service;
	struct kms_request ask;
	struct attempt attempts[KMS_MAX_GATEWAYS];
	size_t started;
	struct attempt *leader; /* the only one whose exchange is under way */
	struct event *patience; /* ends: the next one begins as well */
	bool both_dial;		/* one of the gateways dials us at this moment: a session is coming */
};

static void request_free(struct request *request)
{
	LIST_REMOVE(request, entry);
	for (size_t i = 0; i < request->ask.n_gateways; i++) {
		connection_stop(request->attempts[i].connection, -ECANCELED, "no longer needed");
		if (request->attempts[i].fd >= 0)
			close(request->attempts[i].fd);
	}
	if (request->patience)
		event_free(request->patience);
	free(request);
}

static const struct hf_addr *gateway_of(const struct attempt *attempt)
{
	return &attempt->request->ask.gateways[attempt - attempt->request->attempts];
}

static void tell_failed(const struct attempt *attempt, int error, const char *text)
{
	service_send_failure(attempt->request->service, KMS_ATTEMPT_FAILED, attempt->request->ask.id,
			     gateway_of(attempt), error, text);
}

static bool under_way(const struct request *request)
{
	for (size_t i = 0; i < request->started; i++)
		if (request->attempts[i].connection)
			return true;
	return false;
}

static void be_patient(struct request *request)
{
	struct timeval tv = { .tv_sec = request->ask.patience_ms / 1000,
			      .tv_usec = request->ask.patience_ms % 1000 * 1000 };

	if (request->started < request->ask.n_gateways)
		evtimer_add(request->patience, &tv);
}

static void lead(struct attempt *attempt)
{
	attempt->request->leader = attempt;
	attempt->waiting = false;
	connection_offer(attempt->connection, &attempt->request->ask);
}

static void on_authenticated(void *context)
{
	struct attempt *attempt = context;

	if (!attempt->request->leader) {
		lead(attempt);
		return;
	}
	/* It is not its fault that it must wait. */
	attempt->waiting = true;
	connection_pause_deadline(attempt->connection);
}

/* The first of those that wait takes over; false when none does. */
static bool pass_lead(struct request *request)
{
	for (size_t i = 0; i < request->started; i++)
		if (request->attempts[i].waiting && request->attempts[i].connection) {
			connection_resume_deadline(request->attempts[i].connection);
			lead(&request->attempts[i]);
			return true;
		}
	return false;
}

static void start_next(struct request *request);

static void on_ended(void *context, int error, const char *text)
{
	struct attempt *attempt = context;
	struct request *request = attempt->request;
	bool was_latest = attempt == &request->attempts[request->started - 1];

	attempt->connection = NULL; /* it sees to its own end */
	attempt->waiting = false;
	if (!error) {
		/* Where it is our client, it is the one who dials when the session is to be renewed. */
		acceptor_know(request->service->acceptor, gateway_of(attempt));
		request_free(request);
		return;
	}
	request->both_dial |= error == -EALREADY;
	tell_failed(attempt, error, text);
	if (request->leader == attempt) {
		request->leader = NULL;
		if (pass_lead(request)) {
			if (!evtimer_pending(request->patience, NULL))
				be_patient(request);
			return;
		}
	}
	if (was_latest || !under_way(request))
		start_next(request);
}

/* The request may be gone by now: the context is not to be touched. */
static void on_gone(void *context)
{
}

static const struct connection_calls calls = {
	.authenticated = on_authenticated,
	.ended = on_ended,
	.gone = on_gone,
};

static int attempt_start(struct attempt *attempt)
{
	const struct kms_request *ask = &attempt->request->ask;
	char text[KMS_TEXT_MAX];
	int fd = attempt->fd;
	int ret;

	attempt->fd = -1;
	ret = connection_dial(attempt->request->service, fd, gateway_of(attempt), ask->port, &calls, attempt,
			      &attempt->connection, text);
	if (ret < 0)
		tell_failed(attempt, ret, text);
	else
		connection_set_deadline(attempt->connection, ask->timeout_ms);
	return ret;
}

/* Begins the next one that can be begun. With none left and none under way, that was it. */
static void start_next(struct request *request)
{
	evtimer_del(request->patience);
	while (request->started < request->ask.n_gateways)
		if (attempt_start(&request->attempts[request->started++]) == 0) {
			be_patient(request);
			return;
		}
	if (under_way(request))
		return;
	service_send_failure(request->service, KMS_REJECTED, request->ask.id, NULL,
			     request->both_dial ? -EALREADY : -EHOSTUNREACH,
			     request->ask.n_gateways > 1 ? "no gateway of the request could be used" :
							   "the gateway could not be used");
	request_free(request);
}

static void on_patience(evutil_socket_t fd, short what, void *context)
{
	start_next(context);
}

static struct request *find_request(struct service *service, __u64 id)
{
	struct request *request;

	LIST_FOREACH(request, &service->requests, entry)
		if (request->ask.id == id)
			return request;
	return NULL;
}

static int request_new(struct service *service, const struct kms_request *ask, struct request **ret_request,
		       const char **ret_text)
{
	struct request *request;

	*ret_text = strerror(ENOMEM);
	if (!service->identity) {
		*ret_text = "the key management service has no certificate";
		return -ENOKEY;
	}
	if (find_request(service, ask->id)) {
		*ret_text = "a request with this id is under way";
		return -EEXIST;
	}
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->patience = evtimer_new(service->base, on_patience, request);
	if (!request->patience) {
		free(request);
		return -ENOMEM;
	}
	event_priority_set(request->patience, SERVICE_FIRST);
	request->service = service;
	request->ask = *ask;
	LIST_INSERT_HEAD(&service->requests, request, entry);
	*ret_request = request;
	return 0;
}

void request_start(struct service *service, const struct kms_request *ask, const int *fds)
{
	struct request *request;
	const char *text;
	int ret = request_new(service, ask, &request, &text);

	if (ret < 0) {
		for (size_t i = 0; i < ask->n_gateways; i++)
			close(fds[i]);
		service_send_failure(service, KMS_REJECTED, ask->id, NULL, ret, text);
		return;
	}
	for (size_t i = 0; i < ask->n_gateways; i++) {
		request->attempts[i].request = request;
		request->attempts[i].fd = fds[i];
	}
	start_next(request);
}

static struct attempt *find_attempt(struct service *service, const struct hf_addr *gateway)
{
	struct request *request;

	LIST_FOREACH(request, &service->requests, entry)
		for (size_t i = 0; i < request->started; i++)
			if (request->attempts[i].connection && addr_equal(gateway_of(&request->attempts[i]), gateway))
				return &request->attempts[i];
	return NULL;
}

/* Of a dial that has not come as far as its offer, the other end knows nothing: it gives way to none. */
static bool has_offered(struct service *service, const struct hf_addr *gateway)
{
	struct request *request;

	LIST_FOREACH(request, &service->requests, entry)
		for (size_t i = 0; i < request->started; i++)
			if (request->attempts[i].connection && addr_equal(gateway_of(&request->attempts[i]), gateway) &&
			    connection_has_offered(request->attempts[i].connection))
				return true;
	return false;
}

int request_give_way(struct service *service, const struct hf_addr *local, const struct hf_addr *remote)
{
	static const char words[] = "both ends dial at once; the other dial goes on";
	struct attempt *attempt;

	if (addr_cmp(local, remote) < 0)
		return has_offered(service, remote) ? -EALREADY : 0;
	while ((attempt = find_attempt(service, remote))) {
		connection_stop(attempt->connection, -EALREADY, words);
		on_ended(attempt, -EALREADY, words);
	}
	return 0;
}

void request_cancel(struct service *service, __u64 id)
{
	struct request *request = find_request(service, id);

	if (request)
		request_free(request);
}

void request_cancel_all(struct service *service)
{
	while (!LIST_EMPTY(&service->requests))
		request_free(LIST_FIRST(&service->requests));
}
