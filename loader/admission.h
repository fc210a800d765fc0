/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What holdfastd believes a key management service: nothing that the policy, or what
 * was asked of it, rules out. That process parses strangers' bytes, so it may be in
 * somebody else's hands; a session that it wants installed is looked at here, field by
 * field, before anything else is done with it. Owns the list of the requests that
 * are under way. Knows no clock and no I/O.
 *
 * What cannot be known here is what only the certificates say: the peer's name, and that
 * one address is its own. So somebody who has the process can play, for as long as he
 * has it, any client that the policy admits (a [PEER] with all its ranges, or a stranger
 * with one address that is nobody's), and any gateway that the policy names: one
 * that holdfastd asks for, or one that dials it. What he cannot do is widen the policy.
 */
#ifndef HF_LOADER_ADMISSION_H
#define HF_LOADER_ADMISSION_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "kms/link.h"
#include "policy/policy.h"

struct admission;

/* Returns 0 or -ENOMEM. */
int admission_new(struct admission **ret_admission);

/* Takes NULL. */
void admission_free(struct admission *admission);

/* A request with this id is on its way, for a session with one of these. Returns 0 or -ENOMEM. */
int admission_asked(struct admission *admission, __u64 id, const struct hf_addr *gateways, size_t n);

/* It was rejected or cancelled: nothing is to answer it any more. 0: none of those that are under way is. */
void admission_settled(struct admission *admission, __u64 id);

/* The session under this number was admitted; and, later, has been activated: what it answers has been answered. */
void admission_installed(struct admission *admission, const struct kms_session *session);
void admission_activated(struct admission *admission, __u64 session);

/* What a session is held against. */
struct admission_facts {
	const struct policy *policy;
	__u32 lifetime_max_s; /* what the key management service was told to offer */
	bool (*is_own)(void *context, const struct hf_addr *addr); /* whether an address is this machine's */
	bool (*is_broadcast)(void *context, const struct hf_addr *addr); /* whether many have it; NULL: none is such a one */
	void *context;
};

/*
 * Whether this session may be installed. Returns 0; -EPROTO for what no sound key
 * management service sends; -ECANCELED where it answers nothing that is under way
 * (which may have been cancelled while it came); or -EACCES for what the policy does
 * not admit. ret_words (KMS_TEXT_MAX bytes) then says in words what is wrong.
 */
int admission_check(const struct admission *admission, const struct admission_facts *facts,
		    const struct kms_session *session, char *ret_words);

/* The inner prefixes that a request of ours asks for, by the policy: ret_inner has KMS_MAX_INNER. Returns how many. */
size_t admission_own_inner(const struct policy *policy, struct hf_prefix *ret_inner);

#endif
