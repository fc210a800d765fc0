/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An input in the making, for the files that seeds.c is made of: put its bytes, then save it. */
#ifndef HF_SELFTESTS_FUZZ_SEEDS_H
#define HF_SELFTESTS_FUZZ_SEEDS_H

#include <linux/types.h>
#include <stddef.h>

void put(const void *from, size_t n);
void put_u8(__u8 value);

/* With its length before it, as input_piece() reads it. */
void put_piece(const void *from, size_t n);

/* Ends the input: it becomes corpus/TARGET/NAME. */
void save(const char *target, const char *name);

void seeds_datapath(void);
void seeds_netlink(void);

#endif
