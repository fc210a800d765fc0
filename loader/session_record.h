/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The record of a session in hf_sessions: a peer as bytes, and back. A record
 * is read by another run of holdfastd, perhaps of another build, so nothing in
 * it is believed before it is checked. Pure: knows no maps and no kernel.
 */
#ifndef HF_LOADER_SESSION_RECORD_H
#define HF_LOADER_SESSION_RECORD_H

#include "kms/link.h"
#include "loader/peer.h"
#include "policy/policy.h"

/* The record of a peer that is up. grants: session_record_grants() of the policy in force. */
void session_record_fill(const struct peer *peer, __u64 grants, struct hf_session *ret_record);

/*
 * The session that a record tells of, without keys: an initiator's where the
 * peer is a gateway, a responder's where it is a client. -EINVAL: it is not
 * well-formed.
 */
int session_record_read(const struct hf_session *record, struct kms_session *ret_session);

/* A fingerprint (FNV-1a) of the [PEER] statements: what was granted under the same ones needs no second look. */
__u64 session_record_grants(const struct policy *policy);

/*
 * Whether the policy grants the inner addresses of a client's record as it
 * stands: nothing has changed; or each is its proven own address, or named by a
 * [PEER] statement.
 */
bool session_record_is_granted(const struct hf_session *record, const struct policy *policy);

/* Whether the peer's certificate was still good at a time in seconds since 1970. */
bool session_record_is_valid(const struct hf_session *record, __s64 now_s);

#endif
