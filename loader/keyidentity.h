/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The files of the identity, open: certificate, private key, trust anchors, revocation lists. Once read they stay open, so
 * that a key management service that is started again gets the very same, whatever has become of the paths meanwhile.
 */
#ifndef HF_LOADER_KEYIDENTITY_H
#define HF_LOADER_KEYIDENTITY_H

#include "kms/link.h"
#include "policy/policy.h"

#define KEYIDENTITY_FILES 4

struct keyidentity {
	int fds[KEYIDENTITY_FILES]; /* -1: not open */
	size_t n;		    /* 3 without revocation lists */
	struct kms_identity settings;
};

#define KEYIDENTITY_NONE ((struct keyidentity){ .fds = { -1, -1, -1, -1 } })

/*
 * Opens the files that the policy names; relative paths start at folder. Returns 0; or -errno with error (size bytes)
 * filled, and *ret_identity untouched.
 */
int keyidentity_open(const struct policy *policy, const char *folder, char *error, size_t size,
		     struct keyidentity *ret_identity);

void keyidentity_close(struct keyidentity *identity);

#endif
