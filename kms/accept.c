/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/connection.h"
#include "kms/knock.h"
#include "kms/request.h"
#include "lib/clock.h"
#include "lib/pace.h"

#define ACCEPTS_AT_ONCE 256
#define EXCHANGE_MS 5000 /* when holdfastd does not say */
#define PAUSE_MS 100	 /* when the process is out of descriptors */
#define BREATH_MS 1	 /* after some have come: strangers without end must not keep all others waiting */

/* How many refusals are told: strangers can cause any number. */
#define TELL_BURST 32
#define TELL_INTERVAL_NS (CLOCK_NS_PER_S / 8)

struct visitor {
	TAILQ_ENTRY(visitor) entry;
	struct acceptor *acceptor;
	struct connection *connection;
	struct hf_addr source;
	bool known; /* authenticated */
	bool familiar; /* has a session with us already */
};

struct acceptor {
	struct service *service;
	struct event *listening[KMS_LINK_FDS_MAX];
	size_t n_listening;
	struct event *pause;
	TAILQ_HEAD(visitors, visitor) unknown; /* oldest first */
	struct visitors known;
	size_t n_unknown; /* the strangers among them, */
	size_t n_familiar; /* and the others */
	size_t n_known;
	struct knock *knock;
	struct pace refusals;
};

static void leave_unknown(struct visitor *visitor)
{
	struct acceptor *acceptor = visitor->acceptor;

	TAILQ_REMOVE(&acceptor->unknown, visitor, entry);
	if (visitor->familiar)
		acceptor->n_familiar--;
	else
		acceptor->n_unknown--;
}

static void visitor_free(struct visitor *visitor)
{
	if (visitor->known) {
		TAILQ_REMOVE(&visitor->acceptor->known, visitor, entry);
		visitor->acceptor->n_known--;
	} else {
		leave_unknown(visitor);
	}
	free(visitor);
}

static void tell_refused(struct acceptor *acceptor, const struct hf_addr *source, int error, const char *text)
{
	char more[KMS_TEXT_MAX];
	unsigned int untold;

	if (!pace_allows(&acceptor->refusals, clock_now_ns(), &untold))
		return;
	if (untold)
		snprintf(more, sizeof(more), "%.140s (and %u more before)", text, untold);
	else
		snprintf(more, sizeof(more), "%s", text);
	service_send_failure(acceptor->service, KMS_REFUSED, 0, source, error, more);
}

static __u32 exchange_ms(const struct acceptor *acceptor)
{
	__u32 ms = acceptor->service->settings.exchange_ms;

	return ms ? ms : EXCHANGE_MS;
}

static __u32 handshake_ms(const struct acceptor *acceptor)
{
	return exchange_ms(acceptor) < ACCEPT_HANDSHAKE_MS ? exchange_ms(acceptor) : ACCEPT_HANDSHAKE_MS;
}

void acceptor_know(struct acceptor *acceptor, const struct hf_addr *remote)
{
	__u64 now = clock_now_ns();

	knock_know(acceptor->knock, remote, now, now + acceptor->service->settings.lifetime_s * CLOCK_NS_PER_S);
}

static void on_authenticated(void *context)
{
	struct visitor *visitor = context;
	struct acceptor *acceptor = visitor->acceptor;

	leave_unknown(visitor);
	TAILQ_INSERT_TAIL(&acceptor->known, visitor, entry);
	acceptor->n_known++;
	visitor->known = true;
	if (exchange_ms(acceptor) > ACCEPT_HANDSHAKE_MS)
		connection_set_deadline(visitor->connection, exchange_ms(acceptor) - ACCEPT_HANDSHAKE_MS);
}

static int on_offered(void *context, const struct hf_addr *local)
{
	struct visitor *visitor = context;

	return request_give_way(visitor->acceptor->service, local, &visitor->source);
}

static void on_ended(void *context, int error, const char *text)
{
	struct visitor *visitor = context;

	if (error)
		tell_refused(visitor->acceptor, &visitor->source, error, text);
	else
		acceptor_know(visitor->acceptor, &visitor->source);
}

static void on_gone(void *context)
{
	visitor_free(context);
}

static const struct connection_calls calls = {
	.authenticated = on_authenticated,
	.ended = on_ended,
	.offered = on_offered,
	.gone = on_gone,
};

static void push_out(struct visitor *visitor, const char *why)
{
	tell_refused(visitor->acceptor, &visitor->source, -EUSERS, why);
	connection_stop(visitor->connection, -EUSERS, why);
	visitor_free(visitor);
}

static struct visitor *oldest_stranger(struct acceptor *acceptor)
{
	struct visitor *visitor;

	TAILQ_FOREACH(visitor, &acceptor->unknown, entry)
		if (!visitor->familiar)
			return visitor;
	return NULL;
}

/* Nobody who has a session gives way to another source: who finds the reserve full has come as a stranger (pass_knock()). */
static void make_room(struct acceptor *acceptor, const struct hf_addr *source, bool familiar)
{
	struct visitor *visitor, *oldest_of_source = NULL;
	size_t n = 0;

	TAILQ_FOREACH(visitor, &acceptor->unknown, entry) {
		if (!knock_same_source(&visitor->source, source))
			continue;
		oldest_of_source = oldest_of_source ? oldest_of_source : visitor;
		n++;
	}
	if (n >= ACCEPT_PER_SOURCE_MAX)
		push_out(oldest_of_source, "too many connections of this address without authentication");
	else if (!familiar && acceptor->n_unknown >= ACCEPT_UNKNOWN_MAX)
		push_out(oldest_stranger(acceptor), "too many connections without authentication");
}

/*
 * Whether he may come in now; says so where he may not. With the reserve full, one who has a session is as good as a
 * stranger: their rate is for him, too, and their places. So of many who come at once, as after a power cut, each is served
 * in his turn, and they do not push each other out.
 */
static bool pass_knock(struct acceptor *acceptor, const struct hf_addr *source, bool *ret_familiar)
{
	static const char *const words[] = {
		[KNOCK_SOURCE_TOO_OFTEN] = "this address comes too often",
		[KNOCK_STRANGERS_TOO_OFTEN] = "too many come who have no session with us, or too many who have",
	};
	__u64 now = clock_now_ns();
	enum knock_verdict verdict = knock_at(acceptor->knock, source, now, ret_familiar);

	if (verdict == KNOCK_OPEN && *ret_familiar && acceptor->n_familiar >= ACCEPT_RESERVE) {
		*ret_familiar = false;
		if (!knock_as_stranger(acceptor->knock, now))
			verdict = KNOCK_STRANGERS_TOO_OFTEN;
	}
	if (verdict != KNOCK_OPEN)
		tell_refused(acceptor, source, -EUSERS, words[verdict]);
	return verdict == KNOCK_OPEN;
}

static void take_visitor(struct acceptor *acceptor, int fd, const struct sockaddr *sa)
{
	struct service *service = acceptor->service;
	struct visitor *visitor = NULL;
	struct hf_addr source;
	bool familiar;

	if (!service->identity || addr_from_sockaddr(sa, &source) < 0 || !pass_knock(acceptor, &source, &familiar)) {
		close(fd);
		return;
	}
	make_room(acceptor, &source, familiar);
	if (acceptor->n_unknown + acceptor->n_familiar + acceptor->n_known < ACCEPT_ALL_MAX)
		visitor = calloc(1, sizeof(*visitor));
	if (!visitor) {
		close(fd);
		tell_refused(acceptor, &source, -EUSERS, "too many connections");
		return;
	}
	visitor->acceptor = acceptor;
	visitor->source = source;
	visitor->familiar = familiar;
	if (connection_accept(service, fd, &source, familiar, &calls, visitor, &visitor->connection) < 0) {
		free(visitor);
		return;
	}
	TAILQ_INSERT_TAIL(&acceptor->unknown, visitor, entry);
	if (familiar)
		acceptor->n_familiar++;
	else
		acceptor->n_unknown++;
	connection_set_deadline(visitor->connection, handshake_ms(acceptor));
}

static void set_listening(struct acceptor *acceptor, bool on)
{
	for (size_t i = 0; i < acceptor->n_listening; i++)
		if (on)
			event_add(acceptor->listening[i], NULL);
		else
			event_del(acceptor->listening[i]);
}

static void pause_listening(struct acceptor *acceptor, int ms)
{
	struct timeval tv = { .tv_usec = ms * 1000 };

	set_listening(acceptor, false);
	evtimer_add(acceptor->pause, &tv);
}

/* Without a descriptor nothing can be accepted, and the socket stays readable: the loop must not spin. */
static void out_of_descriptors(struct acceptor *acceptor)
{
	struct visitor *stranger = oldest_stranger(acceptor);
	struct visitor *visitor = stranger ? stranger : TAILQ_FIRST(&acceptor->unknown);

	if (visitor)
		push_out(visitor, "out of file descriptors");
	pause_listening(acceptor, PAUSE_MS);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
	set_listening(context, true);
}

static void on_listening(evutil_socket_t listening, short what, void *context)
{
	struct acceptor *acceptor = context;
	int i;

	for (i = 0; i < ACCEPTS_AT_ONCE; i++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof(sa);
		int fd = accept4(listening, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_visitor(acceptor, fd, (struct sockaddr *)&sa);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			out_of_descriptors(acceptor);
			return;
		}
		if (errno == EAGAIN || errno == EBADF || errno == EINVAL)
			break;
		/* Others are errors of the connection that was to be accepted (accept(2)): on to the next. */
	}
	if (i)
		pause_listening(acceptor, BREATH_MS);
}

static void stop_listening(struct acceptor *acceptor)
{
	evtimer_del(acceptor->pause);
	while (acceptor->n_listening) {
		struct event *event = acceptor->listening[--acceptor->n_listening];
		int fd = event_get_fd(event);

		event_free(event);
		close(fd);
	}
}

void acceptor_listen(struct acceptor *acceptor, const int *fds, size_t n)
{
	stop_listening(acceptor);
	for (size_t i = 0; i < n; i++) {
		struct event *event = event_new(acceptor->service->base, fds[i], EV_READ | EV_PERSIST, on_listening,
						acceptor);

		if (!event || fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK) < 0) {
			if (event)
				event_free(event);
			close(fds[i]);
			continue;
		}
		event_priority_set(event, SERVICE_FIRST);
		event_add(event, NULL);
		acceptor->listening[acceptor->n_listening++] = event;
	}
}

int acceptor_new(struct service *service, struct acceptor **ret_acceptor)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
	__u64 seed;

	if (acceptor)
		acceptor->refusals = (struct pace){ .burst = TELL_BURST, .interval_ns = TELL_INTERVAL_NS };
	if (!acceptor || tls_random(&seed, sizeof(seed)) < 0 || knock_new(seed, &acceptor->knock) < 0) {
		free(acceptor);
		return -ENOMEM;
	}
	acceptor->service = service;
	TAILQ_INIT(&acceptor->unknown);
	TAILQ_INIT(&acceptor->known);
	acceptor->pause = evtimer_new(service->base, on_pause_over, acceptor);
	if (!acceptor->pause) {
		knock_free(acceptor->knock);
		free(acceptor);
		return -ENOMEM;
	}
	event_priority_set(acceptor->pause, SERVICE_FIRST);
	*ret_acceptor = acceptor;
	return 0;
}

static void dismiss(struct visitors *visitors)
{
	struct visitor *visitor;

	while ((visitor = TAILQ_FIRST(visitors))) {
		connection_stop(visitor->connection, -ECANCELED, "the key management service ends");
		visitor_free(visitor);
	}
}

void acceptor_free(struct acceptor *acceptor)
{
	if (!acceptor)
		return;
	stop_listening(acceptor);
	dismiss(&acceptor->unknown);
	dismiss(&acceptor->known);
	event_free(acceptor->pause);
	knock_free(acceptor->knock);
	free(acceptor);
}
