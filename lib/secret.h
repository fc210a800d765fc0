/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory for keys: zeroed, kept out of swap and core dumps, and wiped when it is given back. Each piece has pages of
 * its own: meant for few, short-lived ones. Where the limit of locked memory (RLIMIT_MEMLOCK) is used up, a piece is not
 * locked, and all else holds.
 */
#ifndef HF_LIB_SECRET_H
#define HF_LIB_SECRET_H

#include <stddef.h>

/* Returns len zeroed bytes, or NULL. */
void *secret_alloc(size_t len);

/* Wipes and frees what secret_alloc() gave for len. Takes NULL. */
void secret_free(void *bytes, size_t len);

/* Keeps memory that is the caller's (static, say) out of swap and core dumps. Best effort. */
void secret_lock(void *bytes, size_t len);

#endif
