/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A policy while it is being read: the model, and what only the reading needs:
 * places of keywords, numbers taken, references that are not resolved yet.
 * Private to policy/.
 */
#ifndef HF_POLICY_DRAFT_H
#define HF_POLICY_DRAFT_H

#include "policy/index.h"
#include "policy/policy.h"

/* Keywords that stand once; the others carry a number. */
enum draft_key {
	DRAFT_KEY_HEARTBEAT,
	DRAFT_KEY_RESPONSE_TIME,
	DRAFT_KEY_DEFER_TIME,
	DRAFT_KEY_TRIES,
	DRAFT_KEY_ORDER,
	DRAFT_KEY_STANDBY,
	DRAFT_KEY_CONNECT,
	DRAFT_KEY_KEY_REQUEST,
	DRAFT_KEY_REKEY_TIME,
	DRAFT_KEY_REKEY_BYTES,
	DRAFT_KEY_REKEY_PACKETS,
	DRAFT_KEY_CERTIFICATE,
	DRAFT_KEY_PRIVATE_KEY,
	DRAFT_KEY_TRUST_ANCHORS,
	DRAFT_KEY_REVOCATION_LIST,
	DRAFT_KEY_UNDERLAY,
	DRAFT_KEY_PROTECTED,
	DRAFT_KEY_ADDRESS,
	DRAFT_KEY_SERVICE_PORT,
	DRAFT_KEY_ACCEPT,
	DRAFT_KEY_WORKERS,
	DRAFT_KEY_ENCAPSULATION,
	DRAFT_KEYS,
	DRAFT_KEY_NUMBERED = DRAFT_KEYS,
};

/* What a Tunnel or Redirect Tunnel names as its target, and where. */
struct draft_target {
	struct policy_place place;
	unsigned int cluster; /* the number of a cluster to look up; 0: the model has the target already */
};

struct draft {
	struct policy *policy;
	struct policy_report *report;
	struct policy_place keys[DRAFT_KEYS]; /* line 0: not given */

	/* Number -> line, or for clusters the index in the model. */
	struct index clusters;
	struct index tunnels;
	struct index redirects;
	struct index peers;
	struct index hosts; /* address -> index of its implicit cluster */

	struct draft_target *tunnel_targets;   /* as policy->tunnels */
	struct draft_target *redirect_targets; /* as policy->redirects */
};

#endif
