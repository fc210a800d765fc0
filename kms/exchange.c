/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/exchange.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In our order of preference, as initiator; as responder the initiator's order counts. */
static const __u8 algorithms[] = { KMS_AES_256_GCM, KMS_AES_128_GCM, KMS_CHACHA20_POLY1305 };

static void __attribute__((format(printf, 4, 5)))
fail(struct exchange *x, struct exchange_actions *act, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(act->text, sizeof(act->text), format, args);
	va_end(args);
	act->error = error;
	act->abandon = x->installing;
	x->installing = false;
	x->state = EXCHANGE_FAILED;
}

static void send_message(struct exchange *x, struct exchange_actions *act, const struct wire_message *message)
{
	int len = wire_encode(message, act->send, sizeof(act->send));

	if (len < 0) {
		fail(x, act, len, "a message of ours has a field out of range");
		return;
	}
	act->send_len = (size_t)len;
}

/* Says no to the initiator, and ends. */
static void __attribute__((format(printf, 5, 6)))
refuse(struct exchange *x, struct exchange_actions *act, enum wire_reason reason, int error, const char *format, ...)
{
	struct wire_message message = { .type = WIRE_REFUSE, .refusal.reason = (__u16)reason };
	va_list args;

	va_start(args, format);
	vsnprintf(message.refusal.text, sizeof(message.refusal.text), format, args);
	va_end(args);
	/* A certificate's name may hold UTF-8; the wire has ASCII only. */
	for (char *p = message.refusal.text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	send_message(x, act, &message);
	fail(x, act, error, "%s", message.refusal.text);
}

static bool host_permits(const struct exchange_permit *permit, const struct hf_prefix *prefix)
{
	for (size_t i = 0; prefix->len == 128 && i < permit->n_hosts; i++)
		if (addr_equal(&permit->hosts[i], &prefix->addr))
			return true;
	return false;
}

bool exchange_permits(const struct exchange_permit *permit, const struct hf_prefix *prefix)
{
	struct hf_addr last = prefix->addr;

	if (host_permits(permit, prefix))
		return true;
	for (unsigned int bit = prefix->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	for (__u32 i = 0; permit->peers && i < permit->peers->n; i++) {
		const struct kms_peer *peer = &permit->peers->peers[i];

		if (!strcmp(peer->name, permit->name) && addr_cmp(&peer->first, &prefix->addr) <= 0 &&
		    addr_cmp(&last, &peer->last) <= 0)
			return true;
	}
	return false;
}

static __u8 choose_algorithm(const struct wire_offer *offer)
{
	for (size_t i = 0; i < offer->n_algorithms; i++)
		if (wire_key_len(offer->algorithms[i]))
			return offer->algorithms[i];
	return 0;
}

/* KMS_ENCAP_AUTO as the result: the two do not agree. */
static __u8 choose_encapsulation(const struct exchange *x)
{
	__u8 theirs = x->offer.encapsulation;
	__u8 ours = x->encapsulation;

	if (theirs != KMS_ENCAP_AUTO && ours != KMS_ENCAP_AUTO)
		return theirs == ours ? ours : KMS_ENCAP_AUTO;
	if (theirs != KMS_ENCAP_AUTO)
		return theirs;
	if (ours != KMS_ENCAP_AUTO)
		return ours;
	/* The initiator comes from another address than it thinks: something translates, and ESP has no ports. */
	return addr_equal(&x->offer.outer, &x->remote) ? KMS_ENCAP_ESP : KMS_ENCAP_UDP;
}

static void on_open(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	struct wire_message message = { .type = WIRE_OFFER };

	if (x->role == KMS_RESPONDER) {
		x->state = EXCHANGE_WAIT_OFFER;
		return;
	}
	x->state = EXCHANGE_WAIT_ANSWER;
	message.offer = x->offer;
	send_message(x, act, &message);
}

static void on_offer(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	const struct wire_offer *offer = &message->offer;
	struct exchange_terms *terms = &x->terms;

	x->offer = *offer;
	for (size_t i = 0; i < offer->n_inner; i++)
		if (!exchange_permits(&x->permit, &offer->inner[i])) {
			refuse(x, act, WIRE_REASON_INNER, -EACCES,
			       "%s may not use %s inside: neither an address of its certificate nor a [PEER] range",
			       x->permit.name, prefix_text(&offer->inner[i]).s);
			return;
		}
	terms->algorithm = choose_algorithm(offer);
	if (!terms->algorithm) {
		refuse(x, act, WIRE_REASON_ALGORITHM, -ENOPROTOOPT, "no algorithm in common");
		return;
	}
	terms->encapsulation = choose_encapsulation(x);
	if (terms->encapsulation == KMS_ENCAP_AUTO) {
		refuse(x, act, WIRE_REASON_ENCAPSULATION, -ENOPROTOOPT,
		       "one side insists on plain ESP, the other on ESP in UDP");
		return;
	}
	terms->spi_initiator = offer->spi;
	terms->spi_responder = x->spi;
	terms->lifetime_s = offer->lifetime_s < x->lifetime_s ? offer->lifetime_s : x->lifetime_s;
	terms->n_inner = offer->n_inner;
	memcpy(terms->inner, offer->inner, sizeof(terms->inner));
	act->install = true;
	x->installing = true;
	x->state = EXCHANGE_WAIT_INSTALLED;
}

static bool was_asked(const struct wire_offer *offer, const struct hf_prefix *prefix)
{
	for (size_t i = 0; i < offer->n_inner; i++)
		if (offer->inner[i].len == prefix->len && addr_equal(&offer->inner[i].addr, &prefix->addr))
			return true;
	return false;
}

/* What the responder answers must lie within what was offered: it may choose, not invent. */
static const char *answer_fault(const struct exchange *x, const struct wire_answer *answer)
{
	if (!memchr(x->offer.algorithms, answer->algorithm, x->offer.n_algorithms))
		return "the answer chooses an algorithm that was not offered";
	if (x->offer.encapsulation != KMS_ENCAP_AUTO && x->offer.encapsulation != answer->encapsulation)
		return "the answer chooses another encapsulation than was asked for";
	if (answer->lifetime_s > x->offer.lifetime_s)
		return "the answer has a longer lifetime than was offered";
	return NULL;
}

static void take_answer(struct exchange *x, const struct wire_answer *answer, bool reversed,
			struct exchange_actions *act)
{
	x->terms = (struct exchange_terms){
		.spi_initiator = x->spi,
		.spi_responder = answer->spi,
		.lifetime_s = answer->lifetime_s,
		.algorithm = answer->algorithm,
		.encapsulation = answer->encapsulation,
		.reversed = reversed,
		.n_inner = answer->n_inner,
	};
	memcpy(x->terms.inner, answer->inner, sizeof(x->terms.inner));
	act->install = true;
	x->installing = true;
	x->state = EXCHANGE_WAIT_INSTALLED;
}

static void on_answer(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	const struct wire_answer *answer = &message->answer;
	const char *fault = answer_fault(x, answer);

	for (size_t i = 0; !fault && i < answer->n_inner; i++)
		if (!was_asked(&x->offer, &answer->inner[i]))
			fault = "the answer grants an inner prefix that was not asked for";
	if (fault)
		fail(x, act, -EPROTO, "%s", fault);
	else
		take_answer(x, answer, false, act);
}

/* We dialled, but are the gateway of the two: what a responder checks of a client, we check here. */
static void on_reverse(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	const struct wire_answer *answer = &message->answer;
	const char *fault = answer_fault(x, answer);

	if (fault) {
		fail(x, act, -EPROTO, "%s", fault);
		return;
	}
	for (size_t i = 0; i < answer->n_inner; i++)
		if (!exchange_permits(&x->permit, &answer->inner[i])) {
			fail(x, act, -EACCES,
			     "%s may not use %s inside: neither an address of its certificate nor a [PEER] range",
			     x->permit.name, prefix_text(&answer->inner[i]).s);
			return;
		}
	take_answer(x, answer, true, act);
}

static void on_refuse(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	int error = message->refusal.reason == WIRE_REASON_INNER     ? -EACCES :
		    message->refusal.reason == WIRE_REASON_BOTH_DIAL ? -EALREADY : -ECONNREFUSED;

	fail(x, act, error, "refused: %.*s", KMS_TEXT_MAX - 16,
	     message->refusal.text[0] ? message->refusal.text : "no reason given");
}

static void on_confirm(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	act->activate = true;
	x->installing = false;
	x->state = EXCHANGE_WAIT_ACTIVATED;
}

static void on_done(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	act->activate = true;
	x->installing = false;
	x->state = EXCHANGE_SUCCEEDED;
}

/* Which message is awaited in which state; all others are out of turn. */
static const struct turn {
	enum exchange_state state;
	enum wire_type type;
	void (*take)(struct exchange *x, const struct wire_message *message, struct exchange_actions *act);
} turns[] = {
	{ EXCHANGE_WAIT_OFFER, WIRE_OFFER, on_offer },
	{ EXCHANGE_WAIT_ANSWER, WIRE_ANSWER, on_answer },
	{ EXCHANGE_WAIT_ANSWER, WIRE_REVERSE, on_reverse },
	{ EXCHANGE_WAIT_ANSWER, WIRE_REFUSE, on_refuse },
	{ EXCHANGE_WAIT_CONFIRM, WIRE_CONFIRM, on_confirm },
	{ EXCHANGE_WAIT_DONE, WIRE_DONE, on_done },
};

static void on_message(struct exchange *x, const struct wire_message *message, struct exchange_actions *act)
{
	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
		if (turns[i].state == x->state && turns[i].type == message->type) {
			turns[i].take(x, message, act);
			return;
		}
	fail(x, act, -EPROTO, "a message of type %u out of turn", (unsigned int)message->type);
}

static void on_bytes(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	struct wire_message message;
	int frame, ret;

	/* Each message answers the one before, so never more than one is on its way. */
	if (event->len > sizeof(x->in) - x->in_len) {
		fail(x, act, -EPROTO, "more bytes than one message may have");
		return;
	}
	memcpy(x->in + x->in_len, event->bytes, event->len);
	x->in_len += event->len;
	frame = wire_frame_len(x->in, x->in_len);
	if (frame < 0 || (frame && x->in_len > (size_t)frame)) {
		fail(x, act, -EPROTO, "a message of impossible length");
		return;
	}
	if (!frame || x->in_len < (size_t)frame)
		return;
	ret = wire_decode(x->in, x->in_len, &message);
	x->in_len = 0;
	if (ret < 0)
		fail(x, act, ret, "%s", ret == -EPROTONOSUPPORT ? "a message of another version of the protocol" :
								  "a message that is not well-formed");
	else
		on_message(x, &message, act);
}

static void on_installed(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	struct wire_message message = { .type = WIRE_CONFIRM };

	if (x->state != EXCHANGE_WAIT_INSTALLED)
		return;
	if (event->error) {
		x->installing = false; /* nothing is there to be abandoned */
		if (x->role == KMS_RESPONDER && event->error == -EALREADY)
			refuse(x, act, WIRE_REASON_BOTH_DIAL, event->error, "both ends dial at once; the other dial goes on");
		else if (x->role == KMS_RESPONDER)
			refuse(x, act, WIRE_REASON_INSTALL, event->error, "the session could not be installed");
		else
			fail(x, act, event->error, "the session could not be installed here: %s",
			     strerror(-event->error));
		return;
	}
	if (x->role == KMS_RESPONDER) {
		if (event->reversed) {
			x->terms.reversed = true;
			x->terms.n_inner = event->n_inner;
			memcpy(x->terms.inner, event->inner, event->n_inner * sizeof(*event->inner));
		}
		message.type = event->reversed ? WIRE_REVERSE : WIRE_ANSWER;
		message.answer = (struct wire_answer){
			.spi = x->spi,
			.lifetime_s = x->terms.lifetime_s,
			.encapsulation = x->terms.encapsulation,
			.algorithm = x->terms.algorithm,
			.n_inner = x->terms.n_inner,
		};
		memcpy(message.answer.inner, x->terms.inner, sizeof(message.answer.inner));
	}
	x->state = x->role == KMS_RESPONDER ? EXCHANGE_WAIT_CONFIRM : EXCHANGE_WAIT_DONE;
	send_message(x, act, &message);
}

/* Only what stands is done: what was overtaken, or could not be activated, is not there to be used. */
static void on_activated(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	struct wire_message done = { .type = WIRE_DONE };

	if (x->state != EXCHANGE_WAIT_ACTIVATED)
		return;
	if (event->error) {
		fail(x, act, event->error, "the session could not be activated: %s", strerror(-event->error));
		return;
	}
	x->state = EXCHANGE_SUCCEEDED;
	send_message(x, act, &done);
}

static void on_closed(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	static const char *const when[] = {
		[EXCHANGE_IDLE] = "before the exchange began",
		[EXCHANGE_WAIT_OFFER] = "before its offer was complete",
		[EXCHANGE_WAIT_ANSWER] = "instead of answering the offer",
		[EXCHANGE_WAIT_INSTALLED] = "while the session was being installed",
		[EXCHANGE_WAIT_CONFIRM] = "before it confirmed the session",
		[EXCHANGE_WAIT_ACTIVATED] = "while the session was being activated",
		[EXCHANGE_WAIT_DONE] = "before it took the confirmation",
	};

	if (event->text && event->text[0])
		fail(x, act, event->error, "%s", event->text);
	else
		fail(x, act, event->error ? event->error : -ECONNRESET, "closed the connection %s", when[x->state]);
}

static void on_stop(struct exchange *x, const struct exchange_event *event, struct exchange_actions *act)
{
	fail(x, act, event->error, "%s", event->text);
}

void exchange_init_initiator(struct exchange *x, __u32 spi, const struct wire_offer *offer,
			     const struct exchange_permit *permit)
{
	memset(x, 0, sizeof(*x));
	x->role = KMS_INITIATOR;
	x->spi = spi;
	x->offer = *offer;
	x->offer.spi = spi;
	x->permit = *permit;
	x->offer.n_algorithms = sizeof(algorithms);
	memcpy(x->offer.algorithms, algorithms, sizeof(algorithms));
}

void exchange_init_responder(struct exchange *x, __u32 spi, __u32 lifetime_s, __u8 encapsulation,
			     const struct hf_addr *remote, const struct exchange_permit *permit)
{
	memset(x, 0, sizeof(*x));
	x->role = KMS_RESPONDER;
	x->spi = spi;
	x->lifetime_s = lifetime_s;
	x->encapsulation = encapsulation;
	x->remote = *remote;
	x->permit = *permit;
}

bool exchange_has_ended(const struct exchange *x)
{
	return x->state == EXCHANGE_SUCCEEDED || x->state == EXCHANGE_FAILED;
}

void exchange_step(struct exchange *x, const struct exchange_event *event, struct exchange_actions *ret_actions)
{
	static void (*const handlers[])(struct exchange *x, const struct exchange_event *event,
					struct exchange_actions *act) = {
		[EXCHANGE_OPEN] = on_open,     [EXCHANGE_BYTES] = on_bytes, [EXCHANGE_INSTALLED] = on_installed,
		[EXCHANGE_ACTIVATED] = on_activated, [EXCHANGE_CLOSED] = on_closed, [EXCHANGE_STOP] = on_stop,
	};

	memset(ret_actions, 0, sizeof(*ret_actions));
	if (exchange_has_ended(x) || (event->type == EXCHANGE_OPEN && x->state != EXCHANGE_IDLE))
		return;
	handlers[event->type](x, event, ret_actions);
}
