/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/wire.h"

#include <errno.h>
#include <string.h>

#define LENGTH_BYTES 2
#define FRAME_MIN 4 /* length, version, type */

/*
 * One cursor for both directions, so that every message is described once: it
 * reads into the field, or writes the field, and goes bad for good at the first
 * byte that does not fit.
 */
struct cursor {
	__u8 *at;
	size_t left;
	bool writing;
	bool bad;
};

static void cursor_bytes(struct cursor *c, void *field, size_t len)
{
	if (c->bad || c->left < len) {
		c->bad = true;
		return;
	}
	if (c->writing)
		memcpy(c->at, field, len);
	else
		memcpy(field, c->at, len);
	c->at += len;
	c->left -= len;
}

/* A big-endian number of len bytes, which must lie within [min, max]. */
static __u32 cursor_number(struct cursor *c, __u32 value, size_t len, __u32 min, __u32 max)
{
	__u8 bytes[4];

	if (c->writing && (value < min || value > max))
		c->bad = true;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (__u8)(value >> (8 * (len - 1 - i)));
	cursor_bytes(c, bytes, len);
	if (c->bad)
		return 0;
	value = 0;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | bytes[i];
	if (value < min || value > max)
		c->bad = true;
	return value;
}

static void cursor_u8(struct cursor *c, __u8 *field, __u8 min, __u8 max)
{
	*field = (__u8)cursor_number(c, *field, 1, min, max);
}

static void cursor_count(struct cursor *c, size_t *field, size_t min, size_t max)
{
	__u32 value = *field > max ? (__u32)max + 1 : (__u32)*field;

	*field = cursor_number(c, value, 1, (__u32)min, (__u32)max);
}

static void cursor_spi(struct cursor *c, __u32 *field)
{
	*field = cursor_number(c, *field, 4, WIRE_SPI_MIN, 0xfffffffeu);
}

static void cursor_lifetime(struct cursor *c, __u32 *field)
{
	*field = cursor_number(c, *field, 4, 1, WIRE_LIFETIME_MAX);
}

static void cursor_prefixes(struct cursor *c, struct hf_prefix *prefixes, size_t *n)
{
	cursor_count(c, n, 1, KMS_MAX_INNER);
	for (size_t i = 0; !c->bad && i < *n; i++) {
		struct hf_prefix masked;

		cursor_bytes(c, prefixes[i].addr.b, sizeof(prefixes[i].addr.b));
		cursor_u8(c, &prefixes[i].len, 0, 128);
		if (c->bad)
			return;
		masked = prefixes[i];
		prefix_mask(&masked);
		if (!addr_equal(&masked.addr, &prefixes[i].addr))
			c->bad = true;
	}
}

static void cursor_algorithms(struct cursor *c, __u8 *algorithms, size_t *n)
{
	cursor_count(c, n, 1, WIRE_ALGORITHMS_MAX);
	for (size_t i = 0; !c->bad && i < *n; i++) {
		/* Numbers we do not know pass: a newer initiator may offer more than we have. */
		cursor_u8(c, &algorithms[i], 1, 255);
		for (size_t j = 0; j < i; j++)
			if (algorithms[j] == algorithms[i])
				c->bad = true;
	}
}

static void offer_body(struct cursor *c, struct wire_message *message)
{
	struct wire_offer *offer = &message->offer;

	cursor_spi(c, &offer->spi);
	cursor_lifetime(c, &offer->lifetime_s);
	cursor_u8(c, &offer->encapsulation, KMS_ENCAP_AUTO, KMS_ENCAP_UDP);
	cursor_bytes(c, offer->outer.b, sizeof(offer->outer.b));
	if (!c->bad && addr_is_zero(&offer->outer))
		c->bad = true;
	cursor_algorithms(c, offer->algorithms, &offer->n_algorithms);
	cursor_prefixes(c, offer->inner, &offer->n_inner);
}

static void answer_body(struct cursor *c, struct wire_message *message)
{
	struct wire_answer *answer = &message->answer;

	cursor_spi(c, &answer->spi);
	cursor_lifetime(c, &answer->lifetime_s);
	cursor_u8(c, &answer->encapsulation, KMS_ENCAP_ESP, KMS_ENCAP_UDP);
	cursor_u8(c, &answer->algorithm, KMS_AES_256_GCM, KMS_CHACHA20_POLY1305);
	cursor_prefixes(c, answer->inner, &answer->n_inner);
}

static void refuse_body(struct cursor *c, struct wire_message *message)
{
	struct wire_refusal *refusal = &message->refusal;
	size_t len = c->writing ? strnlen(refusal->text, sizeof(refusal->text)) : 0;

	refusal->reason = (__u16)cursor_number(c, refusal->reason, 2, 1, 0xffff);
	cursor_count(c, &len, 0, sizeof(refusal->text) - 1);
	if (c->bad)
		return;
	cursor_bytes(c, refusal->text, len);
	/* It ends in logs and on terminals. */
	for (size_t i = 0; !c->bad && i < len; i++)
		if (refusal->text[i] < 0x20 || refusal->text[i] > 0x7e)
			c->bad = true;
}

static void empty_body(struct cursor *c, struct wire_message *message)
{
}

static void (*const bodies[])(struct cursor *c, struct wire_message *message) = {
	[WIRE_OFFER] = offer_body,   [WIRE_ANSWER] = answer_body, [WIRE_REFUSE] = refuse_body,
	[WIRE_CONFIRM] = empty_body, [WIRE_DONE] = empty_body,	  [WIRE_REVERSE] = answer_body,
};

static bool type_is_known(unsigned int type)
{
	return type < sizeof(bodies) / sizeof(bodies[0]) && bodies[type];
}

bool wire_spi_is_valid(__u32 spi)
{
	return spi >= WIRE_SPI_MIN && spi != HF_BEAT_SPI;
}

size_t wire_key_len(__u8 algorithm)
{
	static const __u8 lengths[] = {
		[KMS_AES_256_GCM] = 32 + 4,	  /* RFC 4106, 8.1: the salt follows the key */
		[KMS_AES_128_GCM] = 16 + 4,
		[KMS_CHACHA20_POLY1305] = 32 + 4, /* RFC 7634, 2 */
	};

	return algorithm < sizeof(lengths) ? lengths[algorithm] : 0;
}

int wire_encode(const struct wire_message *message, __u8 *buffer, size_t size)
{
	struct wire_message copy = *message;
	struct cursor c = { .writing = true };
	size_t len;

	if (!type_is_known(message->type))
		return -EINVAL;
	if (size < WIRE_FRAME_MAX)
		return -ENOSPC;
	c.at = buffer + FRAME_MIN;
	c.left = size - FRAME_MIN;
	bodies[message->type](&c, &copy);
	if (c.bad)
		return -EINVAL;
	len = (size_t)(c.at - buffer);
	buffer[0] = (__u8)((len - LENGTH_BYTES) >> 8);
	buffer[1] = (__u8)(len - LENGTH_BYTES);
	buffer[2] = WIRE_VERSION;
	buffer[3] = (__u8)message->type;
	return (int)len;
}

int wire_frame_len(const __u8 *bytes, size_t len)
{
	size_t frame;

	if (len < LENGTH_BYTES)
		return 0;
	frame = LENGTH_BYTES + ((size_t)bytes[0] << 8 | bytes[1]);
	return frame < FRAME_MIN || frame > WIRE_FRAME_MAX ? -EPROTO : (int)frame;
}

int wire_decode(const __u8 *bytes, size_t len, struct wire_message *ret_message)
{
	struct wire_message message;
	struct cursor c = { .at = (__u8 *)bytes + FRAME_MIN };

	if (len < FRAME_MIN || wire_frame_len(bytes, len) != (int)len)
		return -EPROTO;
	if (bytes[2] != WIRE_VERSION)
		return -EPROTONOSUPPORT;
	if (!type_is_known(bytes[3]))
		return -EPROTO;
	memset(&message, 0, sizeof(message));
	message.type = bytes[3];
	c.left = len - FRAME_MIN;
	bodies[message.type](&c, &message);
	if (c.bad || c.left)
		return -EPROTO;
	*ret_message = message;
	return 0;
}

void wire_key_context(__u32 spi_initiator, __u32 spi_responder, __u8 algorithm, __u8 encapsulation,
		      __u8 ret_context[WIRE_CONTEXT_LEN])
{
	struct cursor c = { .at = ret_context, .left = WIRE_CONTEXT_LEN, .writing = true };

	cursor_number(&c, WIRE_VERSION, 1, 0, 255);
	cursor_number(&c, spi_initiator, 4, 0, 0xffffffffu);
	cursor_number(&c, spi_responder, 4, 0, 0xffffffffu);
	cursor_number(&c, algorithm, 1, 0, 255);
	cursor_number(&c, encapsulation, 1, 0, 255);
}
