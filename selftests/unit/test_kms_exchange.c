/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The pure state machine of one exchange: both ends face to face, and each alone against what must not be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kms/exchange.h"

#define SPI_I 0x11111111
#define SPI_R 0x22222222

/* Two ends, the rights of the initiator, and what each last did. */
struct pair {
	struct exchange i, r;
	struct exchange_actions act;
	struct hf_addr hosts[1];
	struct kms_peers peers;
};

static struct hf_addr addr(const char *text)
{
	struct hf_addr address;

	assert_int_equal(addr_parse(text, strlen(text), &address), 0);
	return address;
}

static struct hf_prefix prefix(const char *text, __u8 v4_len)
{
	struct hf_addr address = addr(text);
	struct hf_prefix result = prefix_of_host(&address);

	result.len = 96 + v4_len;
	return result;
}

struct want {
	__u8 i_encapsulation;
	__u8 r_encapsulation;
	const char *seen_from; /* NULL: from where the initiator thinks it is */
};

static struct pair *pair_new(const struct want *want)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct wire_offer offer = { .lifetime_s = 3600, .n_inner = 1 };
	struct exchange_permit permit;
	struct hf_addr remote = addr(want->seen_from ? want->seen_from : "100.0.0.1");

	assert_non_null(p);
	p->hosts[0] = addr("100.0.0.1");
	permit = (struct exchange_permit){ .name = "client", .hosts = p->hosts, .n_hosts = 1, .peers = &p->peers };
	offer.outer = addr("100.0.0.1");
	offer.encapsulation = want->i_encapsulation;
	offer.inner[0] = prefix("100.0.0.1", 32);
	exchange_init_initiator(&p->i, SPI_I, &offer, &permit);
	exchange_init_responder(&p->r, SPI_R, 1800, want->r_encapsulation, &remote, &permit);
	return p;
}

static struct pair *pair_default(void)
{
	return pair_new(&(struct want){ KMS_ENCAP_AUTO, KMS_ENCAP_AUTO, NULL });
}

static void feed(struct pair *p, struct exchange *x, enum exchange_event_type type, int error)
{
	exchange_step(x, &(struct exchange_event){ .type = type, .error = error, .text = "" }, &p->act);
}

static void feed_bytes(struct pair *p, struct exchange *x, const __u8 *bytes, size_t len)
{
	exchange_step(x, &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = bytes, .len = len }, &p->act);
}

/* What was sent last goes to x. */
static void deliver(struct pair *p, struct exchange *x)
{
	__u8 bytes[WIRE_FRAME_MAX];
	size_t len = p->act.send_len;

	assert_true(len > 0);
	memcpy(bytes, p->act.send, len);
	feed_bytes(p, x, bytes, len);
}

static void assert_failed(const struct pair *p, const struct exchange *x, int error, const char *words)
{
	assert_int_equal(x->state, EXCHANGE_FAILED);
	assert_int_equal(p->act.error, error);
	if (!strstr(p->act.text, words))
		fail_msg("\"%s\" instead of \"...%s...\"", p->act.text, words);
}

/* The way of a good exchange, step by step; each brings both ends one further. */
static void step_open(struct pair *p)
{
	feed(p, &p->r, EXCHANGE_OPEN, 0);
	assert_int_equal(p->act.send_len, 0);
	feed(p, &p->i, EXCHANGE_OPEN, 0);
	assert_int_equal(p->i.state, EXCHANGE_WAIT_ANSWER);
}

static void step_offer(struct pair *p)
{
	deliver(p, &p->r);
	assert_true(p->act.install);
	assert_int_equal(p->act.send_len, 0);
	assert_int_equal(p->r.state, EXCHANGE_WAIT_INSTALLED);
}

static void step_answer(struct pair *p)
{
	feed(p, &p->r, EXCHANGE_INSTALLED, 0);
	deliver(p, &p->i);
	assert_true(p->act.install);
	assert_int_equal(p->i.state, EXCHANGE_WAIT_INSTALLED);
}

static void step_confirm(struct pair *p)
{
	feed(p, &p->i, EXCHANGE_INSTALLED, 0);
	assert_int_equal(p->i.state, EXCHANGE_WAIT_DONE);
	deliver(p, &p->r);
	assert_true(p->act.activate);
	assert_false(p->act.abandon);
	assert_int_equal(p->act.send_len, 0);
	assert_int_equal(p->r.state, EXCHANGE_WAIT_ACTIVATED);
}

static void step_done(struct pair *p)
{
	feed(p, &p->r, EXCHANGE_ACTIVATED, 0);
	assert_int_equal(p->r.state, EXCHANGE_SUCCEEDED);
	deliver(p, &p->i);
	assert_int_equal(p->i.state, EXCHANGE_SUCCEEDED);
	assert_false(p->act.abandon);
}

static void (*const steps[])(struct pair *p) = { step_open, step_offer, step_answer, step_confirm, step_done };
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void advance(struct pair *p, size_t n)
{
	for (size_t k = 0; k < n; k++)
		steps[k](p);
}

static void agrees(void **state)
{
	struct pair *p = pair_default();

	advance(p, N_STEPS);
	assert_memory_equal(&p->i.terms, &p->r.terms, sizeof(p->i.terms));
	assert_int_equal(p->i.terms.spi_initiator, SPI_I);
	assert_int_equal(p->i.terms.spi_responder, SPI_R);
	assert_int_equal(p->i.terms.lifetime_s, 1800);
	assert_int_equal(p->i.terms.algorithm, KMS_AES_256_GCM);
	assert_int_equal(p->i.terms.encapsulation, KMS_ENCAP_ESP);
	free(p);
}

static void agrees_byte_by_byte(void **state)
{
	struct pair *p = pair_default();
	__u8 bytes[WIRE_FRAME_MAX];
	size_t len;

	step_open(p);
	len = p->act.send_len;
	memcpy(bytes, p->act.send, len);
	for (size_t k = 0; k < len; k++) {
		assert_false(p->act.install);
		feed_bytes(p, &p->r, bytes + k, 1);
	}
	assert_true(p->act.install);
	free(p);
}

static void chooses_the_encapsulation(void **state)
{
	static const struct {
		struct want want;
		__u8 expected; /* KMS_ENCAP_AUTO: refused */
	} cases[] = {
		{ { KMS_ENCAP_AUTO, KMS_ENCAP_AUTO, NULL }, KMS_ENCAP_ESP },
		{ { KMS_ENCAP_AUTO, KMS_ENCAP_AUTO, "198.51.100.7" }, KMS_ENCAP_UDP },
		{ { KMS_ENCAP_ESP, KMS_ENCAP_AUTO, "198.51.100.7" }, KMS_ENCAP_ESP },
		{ { KMS_ENCAP_UDP, KMS_ENCAP_AUTO, NULL }, KMS_ENCAP_UDP },
		{ { KMS_ENCAP_AUTO, KMS_ENCAP_UDP, NULL }, KMS_ENCAP_UDP },
		{ { KMS_ENCAP_AUTO, KMS_ENCAP_ESP, "198.51.100.7" }, KMS_ENCAP_ESP },
		{ { KMS_ENCAP_UDP, KMS_ENCAP_UDP, NULL }, KMS_ENCAP_UDP },
		{ { KMS_ENCAP_ESP, KMS_ENCAP_UDP, NULL }, KMS_ENCAP_AUTO },
		{ { KMS_ENCAP_UDP, KMS_ENCAP_ESP, NULL }, KMS_ENCAP_AUTO },
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct pair *p = pair_new(&cases[k].want);

		step_open(p);
		deliver(p, &p->r);
		if (cases[k].expected == KMS_ENCAP_AUTO) {
			assert_failed(p, &p->r, -ENOPROTOOPT, "insists");
			deliver(p, &p->i);
			assert_failed(p, &p->i, -ECONNREFUSED, "refused: one side insists");
		} else {
			assert_int_equal(p->r.terms.encapsulation, cases[k].expected);
		}
		free(p);
	}
}

static void permits_only_what_is_the_initiators(void **state)
{
	static struct kms_peers peers;
	struct hf_addr hosts[] = { addr("10.0.0.5"), addr("2001:db8::5") };
	struct exchange_permit permit = { .name = "client", .hosts = hosts, .n_hosts = 2, .peers = &peers };
	struct hf_prefix everything = { .len = 0 };
	struct hf_prefix host6 = { .addr = hosts[1], .len = 128 };
	struct hf_prefix p;

	peers.n = 2;
	peers.peers[0] = (struct kms_peer){ addr("10.1.0.0"), addr("10.1.0.255"), "client" };
	peers.peers[1] = (struct kms_peer){ addr("10.2.0.0"), addr("10.2.0.255"), "other" };
	assert_true(exchange_permits(&permit, &host6));
	assert_false(exchange_permits(&permit, &everything));
#define PERMITS(text, len) (p = prefix(text, len), exchange_permits(&permit, &p))
	assert_true(PERMITS("10.0.0.5", 32));
	assert_false(PERMITS("10.0.0.6", 32));
	assert_false(PERMITS("10.0.0.4", 31)); /* a host address covers no wider prefix */
	assert_true(PERMITS("10.1.0.0", 24));
	assert_true(PERMITS("10.1.0.255", 32));
	assert_true(PERMITS("10.1.0.64", 26));
	assert_false(PERMITS("10.1.0.0", 23));
	assert_false(PERMITS("10.1.1.0", 32));
	assert_false(PERMITS("10.2.0.0", 24)); /* another's */
	permit.name = "Client";
	assert_false(PERMITS("10.1.0.0", 24)); /* names are compared to the letter */
	permit.peers = NULL;
	assert_false(PERMITS("10.1.0.0", 24));
}

static void refuses_foreign_inner_addresses(void **state)
{
	struct pair *p = pair_default();

	p->hosts[0] = addr("100.0.0.2");
	step_open(p);
	deliver(p, &p->r);
	assert_failed(p, &p->r, -EACCES, "client may not use 100.0.0.1 inside");
	assert_false(p->act.install);
	assert_false(p->act.abandon);
	deliver(p, &p->i);
	assert_failed(p, &p->i, -EACCES, "refused: client may not use 100.0.0.1 inside");
	free(p);
}

static void refuses_without_a_common_algorithm(void **state)
{
	struct pair *p = pair_default();

	p->i.offer.n_algorithms = 1;
	p->i.offer.algorithms[0] = 99;
	step_open(p);
	deliver(p, &p->r);
	assert_failed(p, &p->r, -ENOPROTOOPT, "no algorithm in common");
	free(p);
}

static void follows_the_initiators_preference(void **state)
{
	struct pair *p = pair_default();

	p->i.offer.n_algorithms = 3;
	memcpy(p->i.offer.algorithms, (__u8[]){ 99, KMS_CHACHA20_POLY1305, KMS_AES_256_GCM }, 3);
	advance(p, N_STEPS);
	assert_int_equal(p->i.terms.algorithm, KMS_CHACHA20_POLY1305);
	free(p);
}

/* An end that breaks off is abandoned exactly where something was installed and not yet sealed. */
static void abandons_what_was_installed(void **state)
{
	static const struct {
		size_t after;
		bool i_abandons, r_abandons;
	} cases[] = {
		{ 0, false, false }, { 1, false, false }, { 2, false, true },
		{ 3, true, true },   { 4, true, false },  { 5, false, false },
	};
	static const enum exchange_event_type ends[] = { EXCHANGE_CLOSED, EXCHANGE_STOP };

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
		for (size_t e = 0; e < 2; e++) {
			struct pair *p = pair_default();

			advance(p, cases[k].after);
			feed(p, &p->i, ends[e], -ECONNRESET);
			assert_int_equal(p->act.abandon, cases[k].i_abandons);
			feed(p, &p->r, ends[e], -ECONNRESET);
			assert_int_equal(p->act.abandon, cases[k].r_abandons);
			/* Once only, whatever comes after. */
			feed(p, &p->r, EXCHANGE_CLOSED, 0);
			assert_false(p->act.abandon);
			feed(p, &p->r, EXCHANGE_INSTALLED, 0);
			assert_int_equal(p->act.send_len, 0);
			free(p);
		}
}

/* The initiator is not told that it is done; what was activated here, or not, is no longer the exchange's to abandon. */
static void is_not_done_before_it_stands(void **state)
{
	struct pair *p = pair_default();

	advance(p, 4);
	feed(p, &p->r, EXCHANGE_ACTIVATED, -ENOENT);
	assert_failed(p, &p->r, -ENOENT, "could not be activated");
	assert_int_equal(p->act.send_len, 0);
	assert_false(p->act.abandon);
	feed(p, &p->i, EXCHANGE_CLOSED, 0);
	assert_failed(p, &p->i, -ECONNRESET, "before it took the confirmation");
	assert_true(p->act.abandon);
	free(p);

	p = pair_default();
	advance(p, 3);
	feed(p, &p->r, EXCHANGE_ACTIVATED, 0); /* of what was not confirmed */
	assert_int_equal(p->r.state, EXCHANGE_WAIT_CONFIRM);
	assert_int_equal(p->act.send_len, 0);
	free(p);
}

static void says_why_it_could_not_install(void **state)
{
	struct pair *p = pair_default();

	advance(p, 2);
	feed(p, &p->r, EXCHANGE_INSTALLED, -EEXIST);
	assert_failed(p, &p->r, -EEXIST, "could not be installed");
	assert_false(p->act.abandon);
	deliver(p, &p->i);
	assert_failed(p, &p->i, -ECONNREFUSED, "could not be installed");
	free(p);

	p = pair_default();
	advance(p, 3);
	feed(p, &p->i, EXCHANGE_INSTALLED, -ENOSPC);
	assert_failed(p, &p->i, -ENOSPC, "could not be installed here");
	assert_false(p->act.abandon);
	assert_int_equal(p->act.send_len, 0);
	free(p);
}

/* The responder's holdfastd has said that it uses the initiator as its gateway, and this prefix inside. */
static void feed_reversed(struct pair *p, const struct hf_prefix *inner)
{
	exchange_step(&p->r, &(struct exchange_event){ .type = EXCHANGE_INSTALLED, .reversed = true, .inner = inner,
						       .n_inner = 1 }, &p->act);
}

static void reverses(void **state)
{
	struct pair *p = pair_default();
	struct hf_prefix inner = prefix("10.7.0.0", 24); /* was not asked for: it is the responder's */

	p->peers.n = 1;
	p->peers.peers[0] = (struct kms_peer){ addr("10.7.0.0"), addr("10.7.0.255"), "client" };
	advance(p, 2);
	feed_reversed(p, &inner);
	deliver(p, &p->i);
	assert_true(p->act.install);
	assert_true(p->i.terms.reversed);
	step_confirm(p);
	step_done(p);
	assert_memory_equal(&p->i.terms, &p->r.terms, sizeof(p->i.terms));
	assert_int_equal(p->i.terms.n_inner, 1);
	assert_memory_equal(&p->i.terms.inner[0], &inner, sizeof(inner));
	free(p);
}

/* What a responder may not use inside, it does not get by turning round. */
static void refuses_foreign_inner_addresses_of_a_responder(void **state)
{
	struct pair *p = pair_default();
	struct hf_prefix inner = prefix("100.0.0.2", 32);

	advance(p, 2);
	feed_reversed(p, &inner);
	deliver(p, &p->i);
	assert_failed(p, &p->i, -EACCES, "client may not use 100.0.0.2 inside");
	assert_false(p->act.install);
	assert_false(p->act.abandon);
	free(p);
}

static void says_that_both_dial(void **state)
{
	struct pair *p = pair_default();

	advance(p, 2);
	feed(p, &p->r, EXCHANGE_INSTALLED, -EALREADY);
	assert_failed(p, &p->r, -EALREADY, "both ends dial");
	assert_false(p->act.abandon);
	deliver(p, &p->i);
	assert_failed(p, &p->i, -EALREADY, "both ends dial");
	free(p);
}

/* An answer must lie within the offer; but the prefixes of a reversed one are checked otherwise. */
static void checks_the_answer(void **state)
{
	for (int k = 0; k < 9; k++) {
		struct pair *p = pair_new(&(struct want){ KMS_ENCAP_ESP, KMS_ENCAP_AUTO, NULL });
		struct wire_message message = { .type = k < 5 ? WIRE_ANSWER : WIRE_REVERSE };
		int fault = k % 5;
		__u8 bytes[WIRE_FRAME_MAX];

		p->i.offer.n_algorithms = 1;
		message.answer = (struct wire_answer){ .spi = SPI_R, .lifetime_s = 3600, .algorithm = KMS_AES_256_GCM,
						       .encapsulation = KMS_ENCAP_ESP, .n_inner = 1 };
		message.answer.inner[0] = prefix("100.0.0.1", 32);
		step_open(p);
		if (fault == 1)
			message.answer.algorithm = KMS_AES_128_GCM;
		if (fault == 2)
			message.answer.encapsulation = KMS_ENCAP_UDP;
		if (fault == 3)
			message.answer.lifetime_s = 3601;
		if (fault == 4)
			message.answer.inner[0] = prefix("100.0.0.0", 24);
		feed_bytes(p, &p->i, bytes, (size_t)wire_encode(&message, bytes, sizeof(bytes)));
		assert_int_equal(p->act.install, fault == 0);
		if (fault)
			assert_failed(p, &p->i, -EPROTO, "the answer");
		free(p);
	}
}

/* Every message in every state: those out of turn end it, install nothing and activate nothing. */
static void takes_no_message_out_of_turn(void **state)
{
	static const struct {
		size_t after;
		bool to_initiator;
		unsigned int allowed; /* bits of enum wire_type */
	} cases[] = {
		{ 0, true, 0 },
		{ 0, false, 0 },
		{ 1, true, 1u << WIRE_ANSWER | 1u << WIRE_REFUSE | 1u << WIRE_REVERSE },
		{ 1, false, 1u << WIRE_OFFER },
		{ 2, false, 0 },
		{ 3, true, 0 },
		{ 3, false, 1u << WIRE_CONFIRM },
		{ 4, true, 1u << WIRE_DONE },
		{ 4, false, 0 },
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
		for (unsigned int type = WIRE_OFFER; type <= WIRE_REVERSE; type++) {
			struct pair *p = pair_default();
			struct exchange *x = cases[k].to_initiator ? &p->i : &p->r;
			struct wire_message message = { .type = type };
			__u8 bytes[WIRE_FRAME_MAX];
			bool installing;

			if (type == WIRE_OFFER)
				message.offer = p->i.offer;
			if (type == WIRE_ANSWER || type == WIRE_REVERSE) {
				message.answer = (struct wire_answer){ .spi = SPI_R, .lifetime_s = 1, .algorithm = 1,
								       .encapsulation = 1, .n_inner = 1 };
				message.answer.inner[0] = prefix("100.0.0.1", 32);
			}
			if (type == WIRE_REFUSE)
				message.refusal = (struct wire_refusal){ .reason = 1, .text = "no" };
			advance(p, cases[k].after);
			installing = x->installing;
			feed_bytes(p, x, bytes, (size_t)wire_encode(&message, bytes, sizeof(bytes)));
			if (!(cases[k].allowed & 1u << type)) {
				assert_failed(p, x, -EPROTO, "out of turn");
				assert_false(p->act.install);
				assert_false(p->act.activate);
				assert_int_equal(p->act.abandon, installing);
			} else if (type != WIRE_REFUSE) {
				assert_int_not_equal(x->state, EXCHANGE_FAILED);
			}
			free(p);
		}
}

static void takes_one_message_at_a_time(void **state)
{
	struct pair *p = pair_default();
	__u8 bytes[WIRE_FRAME_MAX + 1];
	size_t len;

	step_open(p);
	len = p->act.send_len;
	memcpy(bytes, p->act.send, len);
	bytes[len] = 0;
	feed_bytes(p, &p->r, bytes, len + 1);
	assert_failed(p, &p->r, -EPROTO, "impossible length");
	free(p);

	p = pair_default();
	feed(p, &p->r, EXCHANGE_OPEN, 0);
	memset(bytes, 0, sizeof(bytes));
	feed_bytes(p, &p->r, bytes, sizeof(bytes));
	assert_failed(p, &p->r, -EPROTO, "more bytes");
	free(p);

	p = pair_default();
	feed(p, &p->r, EXCHANGE_OPEN, 0);
	feed_bytes(p, &p->r, (const __u8[]){ 0, 2, 9, 1 }, 4);
	assert_failed(p, &p->r, -EPROTONOSUPPORT, "another version");
	free(p);
}

/* Random events: it always stays in a state, never installs twice, abandons only what it installed. */
static void survives_noise(void **state)
{
	unsigned int seed = 4711;

	for (int round = 0; round < 20000; round++) {
		struct pair *p = pair_default();
		struct exchange *x = round & 1 ? &p->i : &p->r;
		int installs = 0, abandons = 0, activates = 0;
		__u8 last[WIRE_FRAME_MAX];
		size_t len = 0;

		advance(p, (size_t)(rand_r(&seed) % 5));
		installs += x->installing;
		for (int k = 0; k < 8; k++) {
			struct exchange_event event = { .type = (enum exchange_event_type)(rand_r(&seed) % 5),
							.error = rand_r(&seed) % 2 ? -EIO : 0, .text = "noise" };

			if (p->act.send_len) {
				len = p->act.send_len;
				memcpy(last, p->act.send, len);
			}
			event.bytes = last;
			event.len = len ? (size_t)rand_r(&seed) % (len + 1) : 0;
			if (event.type == EXCHANGE_STOP && rand_r(&seed) % 4)
				continue;
			exchange_step(x, &event, &p->act);
			installs += p->act.install;
			abandons += p->act.abandon;
			activates += p->act.activate;
			assert_true(x->state <= EXCHANGE_FAILED);
			if (p->act.abandon)
				assert_int_equal(x->state, EXCHANGE_FAILED);
		}
		assert_true(installs <= 1);
		assert_true(abandons + activates <= 1);
		assert_true(abandons <= installs);
		free(p);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees),
		cmocka_unit_test(agrees_byte_by_byte),
		cmocka_unit_test(chooses_the_encapsulation),
		cmocka_unit_test(permits_only_what_is_the_initiators),
		cmocka_unit_test(refuses_foreign_inner_addresses),
		cmocka_unit_test(refuses_without_a_common_algorithm),
		cmocka_unit_test(follows_the_initiators_preference),
		cmocka_unit_test(abandons_what_was_installed),
		cmocka_unit_test(is_not_done_before_it_stands),
		cmocka_unit_test(says_why_it_could_not_install),
		cmocka_unit_test(reverses),
		cmocka_unit_test(refuses_foreign_inner_addresses_of_a_responder),
		cmocka_unit_test(says_that_both_dial),
		cmocka_unit_test(checks_the_answer),
		cmocka_unit_test(takes_no_message_out_of_turn),
		cmocka_unit_test(takes_one_message_at_a_time),
		cmocka_unit_test(survives_noise),
	};

	return cmocka_run_group_tests_name("kms_exchange", tests, NULL, NULL);
}
