/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the process gives up before it reads a byte that it did not make itself. */
#ifndef HF_KMS_SANDBOX_H
#define HF_KMS_SANDBOX_H

#include <stddef.h>

/*
 * No core dumps, no ptrace by our own user, no new privileges, and as many
 * descriptors as we may have. As root: becomes user (NULL: stays root).
 * Returns 0, or -errno with the reason in error.
 */
int sandbox_enter(const char *user, char *error, size_t size);

#endif
