/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the fuzz targets share: reading an input piece by piece, and saying what
 * must hold. Beyond memory faults, which the sanitizers find, each target checks
 * what its subject promises; a promise that is broken aborts, which libFuzzer
 * takes for a finding. Included after either <linux/types.h> or vmlinux.h.
 */
#ifndef HF_SELFTESTS_FUZZ_H
#define HF_SELFTESTS_FUZZ_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As assert(), whatever NDEBUG says. */
#define MUST(condition)                                                                              \
	do {                                                                                         \
		if (!(condition)) {                                                                  \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                     \
		}                                                                                    \
	} while (0)

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The rest of an input. */
struct input {
	const __u8 *at;
	size_t left;
};

/* The next len bytes; where they are not there, what is, and zeroes. */
static inline void input_read(struct input *in, void *to, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(to, 0, len);
	if (n)
		memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

static inline __u8 input_u8(struct input *in)
{
	__u8 value;

	input_read(in, &value, sizeof(value));
	return value;
}

static inline __u16 input_u16(struct input *in)
{
	__u16 value;

	input_read(in, &value, sizeof(value));
	return value;
}

static inline __u32 input_u32(struct input *in)
{
	__u32 value;

	input_read(in, &value, sizeof(value));
	return value;
}

/* A piece of up to max bytes, by a length of two bytes before it, in an allocation of exactly its size: free() it. */
static inline __u8 *input_piece(struct input *in, size_t max, size_t *ret_len)
{
	size_t len = input_u16(in);
	__u8 *piece;

	if (len > max)
		len = max;
	if (len > in->left)
		len = in->left;
	piece = malloc(len ? len : 1);
	MUST(piece);
	input_read(in, piece, len);
	*ret_len = len;
	return piece;
}

#endif
