/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the corpora that no editor can: `make fuzz-seeds`. Each input is one that its
 * target takes as well-formed, made by the project's own encoders where there are
 * any; libFuzzer goes on from there. The corpus of the policy is text, and kept by hand.
 */
#include <errno.h>
#include <linux/types.h>
#include <sys/stat.h>

#include "kms/exchange.h"
#include "kms/wire.h"
#include "selftests/fuzz/fuzz.h"

static const char *folder;

/* An input in the making. */
static __u8 bytes[65536];
static size_t len;

static void put(const void *from, size_t n)
{
	MUST(len + n <= sizeof(bytes));
	memcpy(bytes + len, from, n);
	len += n;
}

static void put_u8(__u8 value)
{
	put(&value, sizeof(value));
}

static void put_piece(const void *from, size_t n)
{
	__u16 length = (__u16)n;

	put(&length, sizeof(length));
	put(from, n);
}

/* Ends the input: it becomes corpus/TARGET/NAME. */
static void save(const char *target, const char *name)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	MUST(!mkdir(path, 0755) || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "w");
	MUST(file && fwrite(bytes, 1, len, file) == len && !fclose(file));
	len = 0;
}

/* kms: fuzz_kms.c has the ends' addresses, SPIs and prefixes. */

static const struct hf_addr client = { .b = { [10] = 0xff, 0xff, 100, 0, 0, 1 } };

static void seed_kms_message(const char *name, const struct wire_message *message)
{
	__u8 frame[WIRE_FRAME_MAX];
	int n = wire_encode(message, frame, sizeof(frame));

	MUST(n > 0);
	put_u8(0);
	put(frame, (size_t)n);
	save("kms", name);
	/* The same to an end that waits for it: 1, as the responder; or as the initiator. */
	put_u8(1);
	put_u8(message->type == WIRE_OFFER ? 0 : 1);
	put_piece(frame, (size_t)n);
	if (message->type == WIRE_OFFER || message->type == WIRE_ANSWER) {
		__u8 next[] = { 0, 2, WIRE_VERSION, message->type == WIRE_OFFER ? WIRE_CONFIRM : WIRE_DONE };

		put_piece(next, sizeof(next));
	}
	{
		char streamed[64];

		snprintf(streamed, sizeof(streamed), "%s-to-an-end", name);
		save("kms", streamed);
	}
}

static void seed_kms(void)
{
	struct wire_message offer = { .type = WIRE_OFFER,
				      .offer = { .spi = 0x1000, .lifetime_s = 3600, .outer = client, .n_algorithms = 3,
						 .algorithms = { KMS_AES_256_GCM, KMS_AES_128_GCM,
								 KMS_CHACHA20_POLY1305 },
						 .n_inner = 1, .inner = { prefix_of_host(&client) } } };
	struct wire_message answer = { .type = WIRE_ANSWER,
				       .answer = { .spi = 0x2000, .lifetime_s = 600, .encapsulation = KMS_ENCAP_UDP,
						   .algorithm = KMS_AES_256_GCM, .n_inner = 1,
						   .inner = { prefix_of_host(&client) } } };
	struct wire_message refusal = { .type = WIRE_REFUSE, .refusal = { .reason = WIRE_REASON_INNER, .text = "no" } };
	struct wire_message reverse = answer, confirm = { .type = WIRE_CONFIRM }, done = { .type = WIRE_DONE };

	reverse.type = WIRE_REVERSE;
	seed_kms_message("offer", &offer);
	seed_kms_message("answer", &answer);
	seed_kms_message("refuse", &refusal);
	seed_kms_message("reverse", &reverse);
	seed_kms_message("confirm", &confirm);
	seed_kms_message("done", &done);
	for (int how = 0; how < 3; how++) {
		static const char *const names[] = { "pair", "pair-install-fails", "pair-reversed" };

		put_u8(2);
		put_u8(0);
		put_u8((__u8)(how << 2));
		put_u8((__u8)(how << 2));
		save("kms", names[how]);
	}
	put_u8(2);
	put_u8(1);
	put("\x04\x00\x01", 3); /* one byte of the offer is another */
	save("kms", "pair-touched");
}

int main(int argc, char **argv)
{
	MUST(argc == 2);
	folder = argv[1];
	seed_kms();
	return 0;
}
