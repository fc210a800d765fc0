/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The exchange between two key management services. The first byte says what the
 * rest is: one message, with its length or without; a peer's bytes, in pieces, to one end of an exchange; or
 * what a wire in an attacker's hands does to two ends. What decodes must encode to
 * the same bytes, and no end may install what it did not offer or permit.
 */
#include <errno.h>
#include <linux/types.h>

#include "kms/exchange.h"
#include "kms/wire.h"
#include "selftests/fuzz/fuzz.h"

#define SPI_A 0x1000
#define SPI_B 0x2000
#define LIFETIME 3600

static const struct hf_addr host_a = { .b = { [10] = 0xff, 0xff, 100, 0, 0, 1 } };

/* Two prefixes may be asked for; the certificate has the one, a [PEER] statement the other. */
static struct kms_peers peers = { .n = 1 };
static struct wire_offer offer = { .lifetime_s = LIFETIME, .n_inner = 2 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	offer.outer = host_a;
	offer.inner[0] = prefix_of_host(&host_a);
	offer.inner[1] = (struct hf_prefix){ .addr.b = { [10] = 0xff, 0xff, 10, 9, 0, 0 }, .len = 120 };
	strcpy(peers.peers[0].name, "client");
	peers.peers[0].first = offer.inner[1].addr;
	peers.peers[0].last = offer.inner[1].addr;
	peers.peers[0].last.b[15] = 255;
	return 0;
}

static void fuzz_message(const __u8 *data, size_t size)
{
	struct wire_message message;
	__u8 again[WIRE_FRAME_MAX];
	int ret = wire_decode(data, size, &message);

	MUST(ret == 0 || ret == -EPROTO || ret == -EPROTONOSUPPORT);
	if (ret)
		return;
	MUST(wire_frame_len(data, size) == (int)size);
	MUST(wire_encode(&message, again, sizeof(again)) == (int)size);
	MUST(!memcmp(again, data, size));
}

/* A message whose length is right: the input, cut or filled up with zeroes to what its first two bytes say. */
static void fuzz_framed(struct input in)
{
	size_t size = 2 + input_u16(&in) % (WIRE_FRAME_MAX - 1);
	__u8 *frame = malloc(size);

	MUST(frame);
	frame[0] = (__u8)((size - 2) >> 8);
	frame[1] = (__u8)(size - 2);
	input_read(&in, frame + 2, size - 2);
	fuzz_message(frame, size);
	free(frame);
}

static void begin(struct exchange *x, enum kms_role role)
{
	const struct exchange_permit permit = { .name = "client", .hosts = &host_a, .n_hosts = 1, .peers = &peers };

	if (role == KMS_INITIATOR)
		exchange_init_initiator(x, SPI_A, &offer, &permit);
	else
		exchange_init_responder(x, SPI_B, LIFETIME, KMS_ENCAP_AUTO, &host_a, &permit);
}

/* What any end may be brought to install, whatever the other one says. */
static void check_terms(const struct exchange *x)
{
	const struct exchange_terms *terms = &x->terms;

	MUST(wire_spi_is_valid(terms->spi_initiator) && wire_spi_is_valid(terms->spi_responder));
	MUST((x->role == KMS_INITIATOR ? terms->spi_initiator : terms->spi_responder) == x->spi);
	MUST(wire_key_len(terms->algorithm));
	MUST(terms->encapsulation == KMS_ENCAP_ESP || terms->encapsulation == KMS_ENCAP_UDP);
	MUST(terms->lifetime_s >= 1 && terms->lifetime_s <= LIFETIME);
	MUST(terms->n_inner >= 1 && terms->n_inner <= KMS_MAX_INNER);
	for (size_t i = 0; i < terms->n_inner; i++)
		MUST(exchange_permits(&x->permit, &terms->inner[i]));
}

static void check_actions(const struct exchange *x, const struct exchange_actions *actions)
{
	struct wire_message message;

	MUST(!actions->send_len || wire_decode(actions->send, actions->send_len, &message) == 0);
	MUST(!(actions->activate && actions->abandon));
	MUST(memchr(actions->text, 0, sizeof(actions->text)));
	if (actions->install)
		check_terms(x);
	MUST(x->state != EXCHANGE_FAILED || !x->installing);
	MUST(!actions->activate || (x->state == EXCHANGE_WAIT_ACTIVATED && !actions->send_len) || x->role == KMS_INITIATOR);
}

static void step(struct exchange *x, const struct exchange_event *event, struct exchange_actions *actions)
{
	exchange_step(x, event, actions);
	check_actions(x, actions);
}

/* holdfastd's answer, by one byte: done, refused, or turned round; in the last case, prefixes of the input. */
static void answer_install(struct exchange *x, __u8 how, struct input *in, struct exchange_actions *actions)
{
	struct exchange_event event = { .type = EXCHANGE_INSTALLED };
	struct hf_prefix inner[KMS_MAX_INNER] = { offer.inner[0] };

	if (how % 4 == 1)
		event.error = how & 4 ? -EALREADY : -EADDRINUSE;
	event.reversed = x->role == KMS_RESPONDER && how % 4 == 2;
	event.inner = inner;
	event.n_inner = event.reversed ? 1 + (how & 4 ? input_u8(in) % KMS_MAX_INNER : 0) : 0;
	for (size_t i = 1; i < event.n_inner; i++)
		input_read(in, &inner[i], sizeof(inner[i]));
	step(x, &event, actions);
}

/* And the other one: what does not stand is not done. */
static void answer_activate(struct exchange *x, __u8 how, struct exchange_actions *actions)
{
	int error = how & 0x80 ? -ENOENT : 0;

	step(x, &(struct exchange_event){ .type = EXCHANGE_ACTIVATED, .error = error }, actions);
	MUST(x->state == (error ? EXCHANGE_FAILED : EXCHANGE_SUCCEEDED) && !actions->send_len == !!error);
}

/* One end; each piece of the input is a piece of the peer's stream. */
static void fuzz_stream(struct input in)
{
	__u8 how = input_u8(&in);
	struct exchange_actions actions;
	struct exchange x;

	begin(&x, how & 1 ? KMS_INITIATOR : KMS_RESPONDER);
	step(&x, &(struct exchange_event){ .type = EXCHANGE_OPEN }, &actions);
	while (in.left && !exchange_has_ended(&x)) {
		size_t len;
		__u8 *piece = input_piece(&in, 2 * WIRE_FRAME_MAX, &len);

		step(&x, &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = piece, .len = len }, &actions);
		free(piece);
		if (actions.install)
			answer_install(&x, how >> 1, &in, &actions);
		if (x.state == EXCHANGE_WAIT_ACTIVATED && !(how & 0x40))
			answer_activate(&x, how, &actions);
	}
	step(&x, &(struct exchange_event){ .type = EXCHANGE_CLOSED }, &actions);
	MUST(exchange_has_ended(&x));
}

/* Two ends; the wire between them changes, at a byte that the input names, what the input says. */
static void fuzz_pair(struct input in)
{
	struct exchange ends[2];
	struct exchange_actions actions;
	__u8 carried[WIRE_FRAME_MAX];
	size_t len, touched = 0;
	int to = 1;

	begin(&ends[0], KMS_INITIATOR);
	begin(&ends[1], KMS_RESPONDER);
	step(&ends[1], &(struct exchange_event){ .type = EXCHANGE_OPEN }, &actions);
	step(&ends[0], &(struct exchange_event){ .type = EXCHANGE_OPEN }, &actions);
	for (; actions.send_len; to = !to) {
		__u8 how = input_u8(&in);

		len = actions.send_len;
		memcpy(carried, actions.send, len);
		for (int i = 0; i < (how & 3); i++, touched++)
			carried[input_u16(&in) % len] = input_u8(&in);
		step(&ends[to], &(struct exchange_event){ .type = EXCHANGE_BYTES, .bytes = carried, .len = len },
		     &actions);
		if (actions.install)
			answer_install(&ends[to], how >> 2, &in, &actions);
		if (ends[to].state == EXCHANGE_WAIT_ACTIVATED)
			answer_activate(&ends[to], how, &actions);
		if (exchange_has_ended(&ends[to]) && exchange_has_ended(&ends[!to]))
			break;
	}
	/* Untouched, what both have installed is the same. */
	if (!touched && ends[0].state == EXCHANGE_SUCCEEDED && ends[1].state == EXCHANGE_SUCCEEDED)
		MUST(ends[0].terms.spi_responder == ends[1].terms.spi_responder &&
		     ends[0].terms.algorithm == ends[1].terms.algorithm &&
		     ends[0].terms.reversed == ends[1].terms.reversed);
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	if (size < 1)
		return 0;
	switch (data[0] % 4) {
	case 0:
		fuzz_message(data + 1, size - 1);
		break;
	case 1:
		fuzz_stream((struct input){ data + 1, size - 1 });
		break;
	case 2:
		fuzz_pair((struct input){ data + 1, size - 1 });
		break;
	case 3:
		fuzz_framed((struct input){ data + 1, size - 1 });
		break;
	}
	return 0;
}
