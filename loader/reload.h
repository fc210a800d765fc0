/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `holdfast reload`: reads the policy again and puts the difference in force. In
 * order: what may be wrong is found first (text, what cannot be changed while
 * running, identity), while nothing is changed; then, within one step of the
 * event loop, tunnels that are new are added, the clusters change, and tunnels
 * that are gone are removed. One at a time.
 */
#ifndef HF_LOADER_RELOAD_H
#define HF_LOADER_RELOAD_H

#include <jansson.h>

#include "kms/link.h"

struct daemon;

/* visitor: who is to be answered, 0: nobody. Returns the answer, or CONTROL_LATER. */
json_t *reload_start(struct daemon *daemon, __u64 visitor);

/* What holdfast-kms says of the identity, while a reload waits for it. */
void reload_identity(struct daemon *daemon, const struct kms_ready *ready);

/* It cannot go on: nothing is changed. */
void reload_fail(struct daemon *daemon, const char *why);

/* One under way is forgotten. */
void reload_free(struct daemon *daemon);

#endif
