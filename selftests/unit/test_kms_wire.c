/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The messages of the exchange: round trip, the specified bytes, every cut, every field out of range, noise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kms/wire.h"

static struct hf_prefix prefix_of(const char *text, __u8 len)
{
	struct hf_prefix prefix = { .len = len };

	assert_int_equal(addr_parse(text, strlen(text), &prefix.addr), 0);
	return prefix;
}

static struct wire_message offer(void)
{
	struct wire_message message = { .type = WIRE_OFFER };

	message.offer = (struct wire_offer){
		.spi = 0x1a2b3c4d,
		.lifetime_s = 3600,
		.encapsulation = KMS_ENCAP_AUTO,
		.outer = prefix_of("100.0.0.1", 128).addr,
		.n_algorithms = 3,
		.algorithms = { KMS_AES_256_GCM, KMS_AES_128_GCM, KMS_CHACHA20_POLY1305 },
		.n_inner = 2,
		.inner = { prefix_of("100.0.0.1", 128), prefix_of("10.1.0.0", 112) },
	};
	return message;
}

static struct wire_message answer(void)
{
	struct wire_message message = { .type = WIRE_ANSWER };

	message.answer = (struct wire_answer){
		.spi = 0x5e6f7081,
		.lifetime_s = 1800,
		.encapsulation = KMS_ENCAP_UDP,
		.algorithm = KMS_AES_256_GCM,
		.n_inner = 1,
		.inner = { prefix_of("100.0.0.1", 128) },
	};
	return message;
}

static struct wire_message refusal(void)
{
	return (struct wire_message){ .type = WIRE_REFUSE, .refusal = { .reason = 3, .text = "not yours" } };
}

static struct wire_message confirm(void)
{
	return (struct wire_message){ .type = WIRE_CONFIRM };
}

static struct wire_message done(void)
{
	return (struct wire_message){ .type = WIRE_DONE };
}

static struct wire_message reverse(void)
{
	struct wire_message message = answer();

	message.type = WIRE_REVERSE;
	message.answer.inner[message.answer.n_inner++] = prefix_of("2001:db8::", 64);
	return message;
}

static struct wire_message (*const samples[])(void) = { offer, answer, refusal, confirm, done, reverse };
#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static int encode(const struct wire_message *message, __u8 bytes[WIRE_FRAME_MAX])
{
	return wire_encode(message, bytes, WIRE_FRAME_MAX);
}

/* In a buffer of exactly its length, so that a sanitizer sees each byte read beyond. */
static int decode_exact(const __u8 *bytes, size_t len, struct wire_message *ret_message)
{
	__u8 *copy = malloc(len ? len : 1);
	int ret;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	ret = wire_decode(copy, len, ret_message);
	free(copy);
	return ret;
}

static void round_trip(void **state)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct wire_message message = samples[i](), back;
		__u8 bytes[WIRE_FRAME_MAX];
		int len = encode(&message, bytes);

		assert_true(len > 0);
		assert_int_equal(wire_frame_len(bytes, (size_t)len), len);
		memset(&back, 0, sizeof(back));
		assert_int_equal(decode_exact(bytes, (size_t)len, &back), 0);
		assert_memory_equal(&back, &message, sizeof(message));
	}
}

/* The example of PROTOCOL.md. */
static void writes_the_specified_bytes(void **state)
{
	static const __u8 expected[] = {
		0x00, 0x42, 0x01, 0x01,				      /* length 66, version 1, OFFER */
		0x1a, 0x2b, 0x3c, 0x4d, 0x00, 0x00, 0x0e, 0x10, 0x00, /* SPI, lifetime, AUTO */
		0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0xff, 0xff, 100, 0, 0, 1, /* outer */
		0x03, 0x01, 0x02, 0x03,				      /* algorithms */
		0x02,						      /* two prefixes */
		0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0xff, 0xff, 100, 0, 0, 1, 128,
		0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0xff, 0xff, 10,  1, 0, 0, 112,
	};
	static const __u8 expected_answer[] = {
		0x00, 0x2f, 0x01, 0x02, 0x5e, 0x6f, 0x70, 0x81, 0x00, 0x00, 0x07, 0x08, 0x01, 0x01, 0x02,
		0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0xff, 0xff, 100, 0, 0, 1, 128,
		0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0, 0xff, 0xff, 10,  1, 0, 0, 112,
	};
	static const __u8 expected_confirm[] = { 0x00, 0x02, 0x01, 0x04 };
	struct wire_message message = offer();
	__u8 bytes[WIRE_FRAME_MAX];

	assert_int_equal(encode(&message, bytes), sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
	message = answer();
	message.answer.encapsulation = KMS_ENCAP_ESP;
	message.answer.n_inner = 2;
	message.answer.inner[1] = prefix_of("10.1.0.0", 112);
	assert_int_equal(encode(&message, bytes), sizeof(expected_answer));
	assert_memory_equal(bytes, expected_answer, sizeof(expected_answer));
	message = confirm();
	assert_int_equal(encode(&message, bytes), sizeof(expected_confirm));
	assert_memory_equal(bytes, expected_confirm, sizeof(expected_confirm));
}

static void is_cut_at_every_byte(void **state)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct wire_message message = samples[i](), back;
		__u8 bytes[WIRE_FRAME_MAX];
		int len = encode(&message, bytes);

		for (int cut = 0; cut < len; cut++) {
			/* As it is, and with a length field that agrees with the cut. */
			assert_int_equal(decode_exact(bytes, (size_t)cut, &back), -EPROTO);
			if (cut < 4)
				continue;
			bytes[0] = (__u8)((cut - 2) >> 8);
			bytes[1] = (__u8)(cut - 2);
			assert_int_equal(decode_exact(bytes, (size_t)cut, &back), -EPROTO);
			encode(&message, bytes);
		}
		/* One byte too many. */
		bytes[len] = 0;
		bytes[1]++;
		assert_int_equal(decode_exact(bytes, (size_t)len + 1, &back), -EPROTO);
	}
}

/* A byte of a valid message set to a value that its field does not have. */
static const struct {
	const char *what;
	struct wire_message (*sample)(void);
	size_t at;
	size_t n;
	__u8 bytes[4];
	int expected;
} spoilt[] = {
	{ "version 0", confirm, 2, 1, { 0 }, -EPROTONOSUPPORT },
	{ "version 2", offer, 2, 1, { 2 }, -EPROTONOSUPPORT },
	{ "type 0", confirm, 3, 1, { 0 }, -EPROTO },
	{ "type 6", confirm, 3, 1, { 6 }, -EPROTO },
	{ "type 255", confirm, 3, 1, { 255 }, -EPROTO },
	{ "offer: SPI 0", offer, 4, 4, { 0, 0, 0, 0 }, -EPROTO },
	{ "offer: SPI 255", offer, 4, 4, { 0, 0, 0, 255 }, -EPROTO },
	{ "offer: SPI of heartbeats", offer, 4, 4, { 255, 255, 255, 255 }, -EPROTO },
	{ "offer: lifetime 0", offer, 8, 4, { 0, 0, 0, 0 }, -EPROTO },
	{ "offer: lifetime over a year", offer, 8, 4, { 0x01, 0xe1, 0x33, 0x81 }, -EPROTO },
	{ "offer: encapsulation 3", offer, 12, 1, { 3 }, -EPROTO },
	{ "offer: no algorithms", offer, 29, 1, { 0 }, -EPROTO },
	{ "offer: nine algorithms", offer, 29, 1, { 9 }, -EPROTO },
	{ "offer: algorithm 0", offer, 30, 1, { 0 }, -EPROTO },
	{ "offer: an algorithm twice", offer, 31, 1, { 1 }, -EPROTO },
	{ "offer: no prefix", offer, 33, 1, { 0 }, -EPROTO },
	{ "offer: 17 prefixes", offer, 33, 1, { 17 }, -EPROTO },
	{ "offer: prefix of 129 bits", offer, 50, 1, { 129 }, -EPROTO },
	{ "offer: bits beyond the prefix", offer, 50, 1, { 127 }, -EPROTO },
	{ "answer: SPI 1", answer, 4, 4, { 0, 0, 0, 1 }, -EPROTO },
	{ "answer: lifetime 0", answer, 8, 4, { 0, 0, 0, 0 }, -EPROTO },
	{ "answer: encapsulation AUTO", answer, 12, 1, { 0 }, -EPROTO },
	{ "answer: encapsulation 3", answer, 12, 1, { 3 }, -EPROTO },
	{ "answer: algorithm 0", answer, 13, 1, { 0 }, -EPROTO },
	{ "answer: algorithm 4", answer, 13, 1, { 4 }, -EPROTO },
	{ "answer: no prefix", answer, 14, 1, { 0 }, -EPROTO },
	{ "refusal: reason 0", refusal, 4, 2, { 0, 0 }, -EPROTO },
	{ "refusal: text longer than the message", refusal, 6, 1, { 10 }, -EPROTO },
	{ "refusal: text longer than allowed", refusal, 6, 1, { 192 }, -EPROTO },
	{ "refusal: newline", refusal, 7, 1, { '\n' }, -EPROTO },
	{ "refusal: NUL", refusal, 7, 1, { 0 }, -EPROTO },
	{ "refusal: not ASCII", refusal, 7, 1, { 0xc3 }, -EPROTO },
	/* These may be: */
	{ "offer: lifetime of a year", offer, 8, 4, { 0x01, 0xe1, 0x33, 0x80 }, 0 },
	{ "offer: SPI 256", offer, 4, 4, { 0, 0, 1, 0 }, 0 },
	{ "offer: an algorithm we do not know", offer, 31, 1, { 200 }, 0 },
	{ "refusal: a reason we do not know", refusal, 4, 2, { 255, 255 }, 0 },
};

static void checks_every_field(void **state)
{
	for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		struct wire_message message = spoilt[i].sample(), back;
		__u8 bytes[WIRE_FRAME_MAX];
		int len = encode(&message, bytes), got;

		memcpy(bytes + spoilt[i].at, spoilt[i].bytes, spoilt[i].n);
		got = decode_exact(bytes, (size_t)len, &back);
		if (got != spoilt[i].expected)
			fail_msg("%s: %d instead of %d", spoilt[i].what, got, spoilt[i].expected);
	}
}

static void checks_the_outer_address(void **state)
{
	struct wire_message message = offer(), back;
	__u8 bytes[WIRE_FRAME_MAX];
	int len = encode(&message, bytes);

	memset(bytes + 13, 0, 16);
	assert_int_equal(decode_exact(bytes, (size_t)len, &back), -EPROTO);
}

static void encodes_nothing_that_it_would_not_decode(void **state)
{
	struct wire_message message;
	__u8 bytes[WIRE_FRAME_MAX];

#define REFUSES(sample, change)                                       \
	do {                                                          \
		message = sample();                                   \
		change;                                               \
		assert_int_equal(encode(&message, bytes), -EINVAL);    \
	} while (0)
	REFUSES(offer, message.offer.spi = 255);
	REFUSES(offer, message.offer.spi = 0xffffffffu);
	REFUSES(offer, message.offer.lifetime_s = 0);
	REFUSES(offer, message.offer.encapsulation = 3);
	REFUSES(offer, message.offer.n_algorithms = 0);
	REFUSES(offer, message.offer.n_algorithms = 300);
	REFUSES(offer, message.offer.n_inner = 17);
	REFUSES(offer, message.offer.inner[1].len = 97);
	REFUSES(offer, memset(&message.offer.outer, 0, sizeof(message.offer.outer)));
	REFUSES(answer, message.answer.encapsulation = KMS_ENCAP_AUTO);
	REFUSES(answer, message.answer.algorithm = 4);
	REFUSES(answer, message.answer.n_inner = 0);
	REFUSES(refusal, message.refusal.reason = 0);
	REFUSES(refusal, memset(message.refusal.text, 'x', sizeof(message.refusal.text)));
	REFUSES(refusal, message.refusal.text[0] = '\n');
	REFUSES(confirm, message.type = 0);
	REFUSES(confirm, message.type = 77);
	message = confirm();
	assert_int_equal(wire_encode(&message, bytes, 3), -ENOSPC);
}

static void tells_lengths(void **state)
{
	static const __u8 empty[] = { 0, 0 }, short_one[] = { 0, 1 }, long_one[] = { 0x01, 0xff }, longest[] = { 0x01, 0xfe };

	assert_int_equal(wire_frame_len(empty, 0), 0);
	assert_int_equal(wire_frame_len(empty, 1), 0);
	assert_int_equal(wire_frame_len(empty, 2), -EPROTO);
	assert_int_equal(wire_frame_len(short_one, 2), -EPROTO);
	assert_int_equal(wire_frame_len(longest, 2), WIRE_FRAME_MAX);
	assert_int_equal(wire_frame_len(long_one, 2), -EPROTO);
}

/* Noise must neither crash nor pass unless it encodes to itself again. */
static void survives_noise(void **state)
{
	unsigned int seed = 20240229;
	unsigned int passed = 0;

	for (int round = 0; round < 200000; round++) {
		struct wire_message message = samples[(unsigned int)round % N_SAMPLES](), back;
		__u8 bytes[WIRE_FRAME_MAX], again[WIRE_FRAME_MAX];
		int len = encode(&message, bytes);

		for (int change = rand_r(&seed) % 3; change >= 0; change--)
			bytes[rand_r(&seed) % len] = (__u8)rand_r(&seed);
		if (decode_exact(bytes, (size_t)len, &back) < 0)
			continue;
		passed++;
		assert_int_equal(encode(&back, again), len);
		assert_memory_equal(again, bytes, (size_t)len);
	}
	assert_true(passed > 1000);
}

static void binds_keys_to_the_terms(void **state)
{
	static const __u8 expected[WIRE_CONTEXT_LEN] = { 1, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e, 0x6f, 0x70, 0x81, 2, 1 };
	__u8 context[WIRE_CONTEXT_LEN];

	wire_key_context(0x1a2b3c4d, 0x5e6f7081, KMS_AES_128_GCM, KMS_ENCAP_ESP, context);
	assert_memory_equal(context, expected, sizeof(expected));
	assert_int_equal(wire_key_len(KMS_AES_256_GCM), 36);
	assert_int_equal(wire_key_len(KMS_AES_128_GCM), 20);
	assert_int_equal(wire_key_len(KMS_CHACHA20_POLY1305), 36);
	assert_int_equal(wire_key_len(0), 0);
	assert_int_equal(wire_key_len(4), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(writes_the_specified_bytes),
		cmocka_unit_test(is_cut_at_every_byte),
		cmocka_unit_test(checks_every_field),
		cmocka_unit_test(checks_the_outer_address),
		cmocka_unit_test(encodes_nothing_that_it_would_not_decode),
		cmocka_unit_test(tells_lengths),
		cmocka_unit_test(survives_noise),
		cmocka_unit_test(binds_keys_to_the_terms),
	};

	return cmocka_run_group_tests_name("kms_wire", tests, NULL, NULL);
}
