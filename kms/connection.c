/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/connection.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/exchange.h"
#include "kms/wire.h"
#include "lib/clock.h"
#include "lib/secret.h"

/*
 * How long we wait for the other end to close after we have said our last
 * word: closing with its bytes unread would reset the connection, and our last
 * word (an alert, a REFUSE) would be lost with it.
 */
#define LINGER_MS 1000
#define READS_AT_ONCE 16

enum stage { STAGE_CONNECTING, STAGE_HANDSHAKE, STAGE_EXCHANGE, STAGE_ENDED, STAGE_LINGERING, STAGE_MAX };

struct connection {
	LIST_ENTRY(connection) entry;
	struct service *service;
	enum stage stage;
	bool dialled;
	bool shut; /* we have said our last word */
	int fd;
	struct tls *tls;
	struct event *readable;
	struct event *writable;
	struct event *timer; /* the deadline; after the end, the linger time */
	__u32 allowed_ms;
	__u64 deadline_ns; /* 0: none, or its clock stands */
	__u64 left_ns; /* while the deadline's clock stands */
	struct hf_addr local;
	struct hf_addr remote;
	struct tls_peer peer;
	struct exchange exchange;
	__u64 request;
	__u64 session;
	__u8 out[WIRE_FRAME_MAX];
	size_t out_len;
	size_t out_at;
	const struct connection_calls *calls;
	void *context;
	int error; /* of the end */
	char text[KMS_TEXT_MAX];
};

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void connection_free(struct connection *c)
{
	LIST_REMOVE(c, entry);
	free_event(c->readable);
	free_event(c->writable);
	free_event(c->timer);
	tls_free(c->tls);
	if (c->fd >= 0)
		close(c->fd);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

static void set_timer(struct connection *c, __u64 ns)
{
	struct timeval tv = { .tv_sec = (time_t)(ns / CLOCK_NS_PER_S),
			      .tv_usec = (suseconds_t)(ns % CLOCK_NS_PER_S / 1000) };

	evtimer_add(c->timer, &tv);
}

/* Nothing is called from here: the timer does it, from the loop, where nobody else is on the stack. */
static void connection_end(struct connection *c, int error, const char *text)
{
	if (c->stage >= STAGE_ENDED)
		return;
	c->stage = STAGE_ENDED;
	c->error = error;
	snprintf(c->text, sizeof(c->text), "%s", text);
	event_del(c->readable);
	event_del(c->writable);
	set_timer(c, 0);
}

static void step(struct connection *c, const struct exchange_event *event);

static void stop_exchange(struct connection *c, int error, const char *text)
{
	step(c, &(struct exchange_event){ .type = EXCHANGE_STOP, .error = error, .text = text });
}

/* ---- the exchange's actions ---- */

/* Half of the exporter's bytes for each direction: first the initiator's to the responder. */
static int derive_keys(struct connection *c, struct kms_session *session)
{
	const struct exchange_terms *terms = &c->exchange.terms;
	__u8 context[WIRE_CONTEXT_LEN], *bytes = secret_alloc(2 * KMS_KEY_MAX);
	size_t len = wire_key_len(terms->algorithm);
	int ret;

	if (!bytes)
		return -ENOMEM;
	wire_key_context(terms->spi_initiator, terms->spi_responder, terms->algorithm, terms->encapsulation, context);
	ret = tls_export(c->tls, WIRE_EXPORTER_LABEL, context, sizeof(context), bytes, 2 * len);
	if (!ret) {
		session->key_len = (__u8)len;
		memcpy(c->dialled ? session->key_out : session->key_in, bytes, len);
		memcpy(c->dialled ? session->key_in : session->key_out, bytes + len, len);
	}
	secret_free(bytes, 2 * KMS_KEY_MAX);
	return ret;
}

/* Whether the peer's certificate names the address that it is seen to come from. */
static bool remote_is_proven(const struct connection *c)
{
	for (size_t i = 0; i < c->peer.n_hosts; i++)
		if (addr_equal(&c->peer.hosts[i], &c->remote))
			return true;
	return false;
}

/* What holdfastd needs to know of the session, but for its keys. */
static void describe_session(struct connection *c, struct kms_session *session)
{
	const struct exchange_terms *terms = &c->exchange.terms;

	*session = (struct kms_session){
		.id = c->session = ++c->service->last_session,
		.request = c->request,
		.local = c->local,
		.remote = c->remote,
		.spi_in = c->dialled ? terms->spi_initiator : terms->spi_responder,
		.spi_out = c->dialled ? terms->spi_responder : terms->spi_initiator,
		.lifetime_s = terms->lifetime_s,
		.remote_port = terms->encapsulation == KMS_ENCAP_UDP ? HF_UDP_ENCAP_PORT : 0,
		.role = c->dialled ? KMS_INITIATOR : KMS_RESPONDER,
		.algorithm = terms->algorithm,
		.encapsulation = terms->encapsulation,
		.proven = remote_is_proven(c),
		.reversed = terms->reversed,
		.n_inner = (__u32)terms->n_inner,
		.not_after = c->peer.not_after,
		.certificate = c->peer.certificate,
	};
	memcpy(session->inner, terms->inner, terms->n_inner * sizeof(session->inner[0]));
	memcpy(session->name, c->peer.name, sizeof(session->name));
}

static void install(struct connection *c)
{
	struct kms_session *session;
	int ret = c->calls->offered && !c->dialled ? c->calls->offered(c->context, &c->local) : 0;

	/* The lists may be newer than the handshake. */
	if (!ret && tls_identity_revokes(c->service->identity, &c->peer.certificate))
		ret = -EKEYREVOKED;
	if (ret) {
		step(c, &(struct exchange_event){ .type = EXCHANGE_INSTALLED, .error = ret });
		return;
	}
	session = secret_alloc(sizeof(*session));
	if (session)
		describe_session(c, session);
	ret = session ? derive_keys(c, session) : -ENOMEM;
	if (!ret)
		service_send(c->service, KMS_INSTALL, session, sizeof(*session));
	secret_free(session, sizeof(*session));
	if (ret) {
		c->exchange.installing = false;
		stop_exchange(c, ret, ret == -ENOMEM ? "out of memory" : "TLS gave no keys");
	}
}

/* Writes what waits. Returns 0 (also when some of it must wait on) or -errno. */
static int flush_out(struct connection *c)
{
	while (c->out_at < c->out_len) {
		ssize_t sent = tls_write(c->tls, c->out + c->out_at, c->out_len - c->out_at);

		if (sent == -EAGAIN) {
			event_add(tls_wants_write(c->tls) ? c->writable : c->readable, NULL);
			return 0;
		}
		if (sent < 0) {
			c->out_at = c->out_len;
			return (int)sent;
		}
		c->out_at += (size_t)sent;
	}
	c->out_at = c->out_len = 0;
	return 0;
}

static void step(struct connection *c, const struct exchange_event *event)
{
	struct exchange_actions act;
	struct kms_session_ref ref = { .session = c->session };

	exchange_step(&c->exchange, event, &act);
	if (act.activate)
		service_send(c->service, KMS_ACTIVATE, &ref, sizeof(ref));
	if (act.abandon)
		service_send(c->service, KMS_ABANDON, &ref, sizeof(ref));
	if (act.send_len) {
		/* One message at a time: what was said before was answered. */
		memcpy(c->out, act.send, act.send_len);
		c->out_len = act.send_len;
		c->out_at = 0;
		/* A failure to write shows in reading too, and there perhaps with the alert that explains it. */
		if (flush_out(c) < 0)
			event_active(c->readable, EV_READ, 0);
	}
	if (act.install)
		install(c);
	if (exchange_has_ended(&c->exchange))
		connection_end(c, c->exchange.state == EXCHANGE_SUCCEEDED ? 0 : act.error, act.text);
}

/* ---- the stages ---- */

static void read_exchange(struct connection *c)
{
	__u8 bytes[WIRE_FRAME_MAX];

	for (int i = 0; i < READS_AT_ONCE && c->stage == STAGE_EXCHANGE; i++) {
		ssize_t got = tls_read(c->tls, bytes, sizeof(bytes));

		if (got == -EAGAIN)
			return;
		if (got > 0)
			step(c, &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = bytes, .len = (size_t)got });
		else
			step(c, &(struct exchange_event){
					.type = EXCHANGE_CLOSED, .error = (int)got, .text = tls_text(c->tls) });
	}
	/* OpenSSL may hold more than the socket has left to say. */
	if (c->stage == STAGE_EXCHANGE)
		event_active(c->readable, EV_READ, 0);
}

static void on_exchange(struct connection *c)
{
	flush_out(c);
	read_exchange(c);
}

static struct exchange_permit permit_of(const struct connection *c)
{
	return (struct exchange_permit){ .name = c->peer.name, .hosts = c->peer.hosts, .n_hosts = c->peer.n_hosts,
					 .peers = &c->service->peers };
}

static int start_responder(struct connection *c)
{
	const struct kms_identity *settings = &c->service->settings;
	struct exchange_permit permit = permit_of(c);
	__u32 spi;

	do {
		if (tls_random(&spi, sizeof(spi)) < 0)
			return -EIO;
	} while (!wire_spi_is_valid(spi));
	exchange_init_responder(&c->exchange, spi, settings->lifetime_s, settings->encapsulation, &c->remote, &permit);
	step(c, &(struct exchange_event){ .type = EXCHANGE_OPEN });
	return 0;
}

static void on_handshake(struct connection *c)
{
	int ret = tls_handshake(c->tls, &c->peer);

	if (ret == -EAGAIN) {
		if (tls_wants_write(c->tls))
			event_add(c->writable, NULL);
		return;
	}
	if (ret < 0) {
		connection_end(c, ret, tls_text(c->tls)[0] ? tls_text(c->tls) :
							     "closed the connection during the TLS handshake");
		return;
	}
	c->stage = STAGE_EXCHANGE;
	if (!c->dialled && start_responder(c) < 0) {
		connection_end(c, -EIO, "no random numbers");
		return;
	}
	c->calls->authenticated(c->context);
	/* The last record of the handshake may have brought more with it. */
	event_active(c->readable, EV_READ, 0);
}

static int start_tls(struct connection *c)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);
	int one = 1;
	int ret;

	/* The end of the handshake and the offer are two writes: the second must not wait for an answer. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (getsockname(c->fd, (struct sockaddr *)&local, &len) < 0)
		return -errno;
	ret = addr_from_sockaddr((struct sockaddr *)&local, &c->local);
	if (ret < 0)
		return ret;
	ret = tls_open(c->service->identity, c->fd, c->dialled ? &c->remote : NULL, &c->remote, &c->tls);
	if (ret < 0)
		return ret;
	c->stage = STAGE_HANDSHAKE;
	return event_add(c->readable, NULL) < 0 ? -ENOMEM : 0;
}

static void on_connecting(struct connection *c)
{
	int error = 0, ret;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	ret = error ? -error : start_tls(c);
	if (ret < 0)
		connection_end(c, ret, strerror(-ret));
	else
		on_handshake(c);
}

static void on_ended(struct connection *c)
{
}

static void on_lingering(struct connection *c)
{
	char bytes[1024];
	ssize_t got = 1;

	if (c->tls && !c->shut && flush_out(c) == 0 && c->out_len)
		return;
	if (!c->shut) {
		if (c->tls)
			tls_shutdown(c->tls);
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	for (int i = 0; i < READS_AT_ONCE && got > 0; i++)
		got = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	c->calls->gone(c->context);
	connection_free(c);
}

static void say_timeout(struct connection *c);

/* After a stall the timer is due as well, but what those have sent whose priority is higher comes first. */
static bool is_late(const struct connection *c)
{
	return c->stage < STAGE_ENDED && c->deadline_ns && clock_now_ns() >= c->deadline_ns;
}

static void on_io(evutil_socket_t fd, short what, void *context)
{
	static void (*const handlers[STAGE_MAX])(struct connection *c) = {
		[STAGE_CONNECTING] = on_connecting, [STAGE_HANDSHAKE] = on_handshake, [STAGE_EXCHANGE] = on_exchange,
		[STAGE_ENDED] = on_ended,	    [STAGE_LINGERING] = on_lingering,
	};
	struct connection *c = context;

	if (is_late(c))
		say_timeout(c);
	else
		handlers[c->stage](c);
}

static void say_timeout(struct connection *c)
{
	static const char *const words[STAGE_MAX] = {
		[STAGE_CONNECTING] = "no TCP connection",
		[STAGE_HANDSHAKE] = "connected, but no TLS handshake",
		[STAGE_EXCHANGE] = "authenticated, but the exchange was not completed",
	};
	char text[KMS_TEXT_MAX];

	snprintf(text, sizeof(text), "%s within %u ms", words[c->stage], c->allowed_ms);
	if (c->stage == STAGE_EXCHANGE)
		stop_exchange(c, -ETIMEDOUT, text);
	/* Before authentication, and where the exchange did not begin, there is nothing to take back. */
	connection_end(c, -ETIMEDOUT, text);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct connection *c = context;

	switch (c->stage) {
	case STAGE_ENDED:
		c->stage = STAGE_LINGERING;
		set_timer(c, LINGER_MS * CLOCK_NS_PER_MS);
		c->calls->ended(c->context, c->error, c->text);
		event_add(c->readable, NULL);
		on_lingering(c);
		break;
	case STAGE_LINGERING:
		c->calls->gone(c->context);
		connection_free(c);
		break;
	default:
		say_timeout(c);
	}
}

/* ---- from outside ---- */

static int connection_new(struct service *service, int fd, const struct hf_addr *remote, bool dialled, bool first,
			  const struct connection_calls *calls, void *context, struct connection **ret_connection)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&service->connections, c, entry);
	c->service = service;
	c->fd = fd;
	c->remote = *remote;
	c->dialled = dialled;
	c->calls = calls;
	c->context = context;
	c->readable = event_new(service->base, fd, EV_READ | EV_PERSIST, on_io, c);
	c->writable = event_new(service->base, fd, EV_WRITE, on_io, c);
	c->timer = evtimer_new(service->base, on_timer, c);
	if (!c->readable || !c->writable || !c->timer) {
		connection_free(c);
		return -ENOMEM;
	}
	event_priority_set(c->readable, first ? SERVICE_FIRST : SERVICE_AFTER);
	event_priority_set(c->writable, first ? SERVICE_FIRST : SERVICE_AFTER);
	event_priority_set(c->timer, first ? SERVICE_FIRST : SERVICE_AFTER);
	*ret_connection = c;
	return 0;
}

int connection_dial(struct service *service, int fd, const struct hf_addr *gateway, __u16 port,
		    const struct connection_calls *calls, void *context, struct connection **ret_connection,
		    char ret_text[KMS_TEXT_MAX])
{
	struct connection *c;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(gateway, port, &sa);
	int ret = connection_new(service, fd, gateway, true, true, calls, context, &c);

	if (ret < 0)
		goto out;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		ret = -errno;
		connection_free(c);
		goto out;
	}
	event_add(c->writable, NULL);
	*ret_connection = c;
out:
	if (ret < 0)
		snprintf(ret_text, KMS_TEXT_MAX, "%s", strerror(-ret));
	return ret;
}

int connection_accept(struct service *service, int fd, const struct hf_addr *remote, bool first,
		      const struct connection_calls *calls, void *context, struct connection **ret_connection)
{
	struct connection *c;
	int ret = connection_new(service, fd, remote, false, first, calls, context, &c);

	if (ret < 0)
		return ret;
	ret = start_tls(c);
	if (ret < 0) {
		connection_free(c);
		return ret;
	}
	*ret_connection = c;
	return 0;
}

void connection_offer(struct connection *c, const struct kms_request *request)
{
	struct wire_offer offer = { .lifetime_s = c->service->settings.lifetime_s,
				    .encapsulation = request->encapsulation,
				    .outer = c->local,
				    .n_inner = request->n_inner };
	struct exchange_permit permit = permit_of(c);
	__u32 spi;

	if (c->stage != STAGE_EXCHANGE)
		return;
	c->request = request->id;
	memcpy(offer.inner, request->inner, request->n_inner * sizeof(offer.inner[0]));
	if (!offer.n_inner)
		offer.inner[offer.n_inner++] = prefix_of_host(&c->local);
	do {
		if (tls_random(&spi, sizeof(spi)) < 0) {
			connection_end(c, -EIO, "no random numbers");
			return;
		}
	} while (!wire_spi_is_valid(spi));
	exchange_init_initiator(&c->exchange, spi, &offer, &permit);
	step(c, &(struct exchange_event){ .type = EXCHANGE_OPEN });
}

bool connection_has_offered(const struct connection *c)
{
	return c->dialled && c->stage == STAGE_EXCHANGE && c->exchange.state != EXCHANGE_IDLE;
}

void connection_set_deadline(struct connection *c, __u32 ms)
{
	if (c->stage >= STAGE_ENDED)
		return;
	c->allowed_ms = ms;
	c->left_ns = ms * CLOCK_NS_PER_MS;
	connection_resume_deadline(c);
}

void connection_pause_deadline(struct connection *c)
{
	__u64 now = clock_now_ns();

	if (c->stage >= STAGE_ENDED || !c->deadline_ns)
		return;
	c->left_ns = c->deadline_ns > now ? c->deadline_ns - now : 0;
	c->deadline_ns = 0;
	evtimer_del(c->timer);
}

void connection_resume_deadline(struct connection *c)
{
	if (c->stage >= STAGE_ENDED)
		return;
	c->deadline_ns = clock_now_ns() + c->left_ns;
	set_timer(c, c->left_ns);
}

void connection_stop(struct connection *c, int error, const char *text)
{
	if (!c)
		return;
	if (c->stage == STAGE_EXCHANGE)
		stop_exchange(c, error, text);
	if (c->tls)
		tls_shutdown(c->tls);
	connection_free(c);
}

void connection_stop_all(struct service *service)
{
	while (!LIST_EMPTY(&service->connections))
		connection_stop(LIST_FIRST(&service->connections), -ECANCELED, "the key management service ends");
}

/* The one whose exchange is about this session; NULL: it is over. */
static struct connection *find_exchange(struct service *service, __u64 session)
{
	struct connection *c;

	LIST_FOREACH(c, &service->connections, entry)
		if (c->session == session && c->stage == STAGE_EXCHANGE)
			return c;
	return NULL;
}

void connection_installed(struct service *service, const struct kms_installed *installed)
{
	struct connection *c = find_exchange(service, installed->session);

	if (!c)
		return;
	step(c, &(struct exchange_event){ .type = EXCHANGE_INSTALLED,
					  .error = installed->result,
					  .reversed = installed->reversed,
					  .inner = installed->inner,
					  .n_inner = installed->n_inner });
	if (c->exchange.state == EXCHANGE_WAIT_CONFIRM &&
	    c->deadline_ns > clock_now_ns() + KMS_CONFIRM_MS * CLOCK_NS_PER_MS)
		connection_set_deadline(c, KMS_CONFIRM_MS);
}

void connection_activated(struct service *service, const struct kms_activated *activated)
{
	struct connection *c = find_exchange(service, activated->session);

	if (c)
		step(c, &(struct exchange_event){ .type = EXCHANGE_ACTIVATED, .error = activated->result });
}
