/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How often somebody may knock who has not proved who he is: a rate for each source (an IPv4 address, an IPv6 /64), one for
 * all strangers together, and who is no stranger: the other ends of sessions, which the second does not count. Pure: no
 * sockets and no clock. Its memory is bounded; strangers displace each other in it, and nobody who is known. It is made for
 * some 20,000 who are known: of more, some are taken for strangers.
 */
#ifndef HF_KMS_KNOCK_H
#define HF_KMS_KNOCK_H

#include <stdbool.h>

#include "lib/addr.h"

/* So many at once, then so many a second. */
#define KNOCK_SOURCE_BURST 64
#define KNOCK_SOURCE_PER_S 16
#define KNOCK_STRANGERS_BURST 1024
#define KNOCK_STRANGERS_PER_S 256

enum knock_verdict { KNOCK_OPEN, KNOCK_SOURCE_TOO_OFTEN, KNOCK_STRANGERS_TOO_OFTEN };

struct knock;

/* seed: random, so that nobody can choose sources that fall together. Returns 0 or -ENOMEM. */
int knock_new(__u64 seed, struct knock **ret_gate);
void knock_free(struct knock *knock);

/* Somebody knocks at this time (monotonic, ns). ret_known: whether he has a session. */
enum knock_verdict knock_at(struct knock *knock, const struct hf_addr *source, __u64 now_ns, bool *ret_known);

/*
 * Somebody who was let in as one that is known is to count as a stranger after all: whether he may come in as such, too.
 */
bool knock_as_stranger(struct knock *knock, __u64 now_ns);

/* The source is known until then; where too many are, that is forgotten. */
void knock_know(struct knock *knock, const struct hf_addr *source, __u64 now_ns, __u64 until_ns);

/* Whoever has a whole IPv6 /64 has it for nothing: it counts as one source. */
bool knock_same_source(const struct hf_addr *a, const struct hf_addr *b);

#endif
