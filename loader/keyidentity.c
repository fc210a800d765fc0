/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyidentity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_file(const char *folder, const char *keyword, const char *path, char *error, size_t size)
{
	char full[4096];
	int fd, err;

	if (!path) {
		snprintf(error, size, "the policy says no %s in [IDENTITY]", keyword);
		return -EINVAL;
	}
	if (path[0] == '/')
		snprintf(full, sizeof(full), "%s", path);
	else
		snprintf(full, sizeof(full), "%s/%s", folder, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = -errno;
	snprintf(error, size, "%s %s: %s", keyword, full, strerror(-err));
	return err;
}

int keyidentity_open(const struct policy *policy, const char *folder, char *error, size_t size,
		     struct keyidentity *ret_identity)
{
	const struct policy_identity *paths = &policy->identity;
	const struct {
		const char *keyword;
		const char *path;
	} files[KEYIDENTITY_FILES] = { { "Certificate", paths->certificate },
				       { "PrivateKey", paths->private_key },
				       { "TrustAnchors", paths->trust_anchors },
				       { "RevocationList", paths->revocation_list } };
	struct keyidentity identity = KEYIDENTITY_NONE;
	int err = 0;

	identity.n = paths->revocation_list ? 4 : 3;
	identity.settings = (struct kms_identity){ .lifetime_s = policy_session_lifetime_s(&policy->general),
						   .encapsulation = (__u8)policy->interface.encapsulation,
						   .has_crl = identity.n == 4,
						   .exchange_ms = policy->general.key_request_ms * 2 };
	for (size_t i = 0; i < identity.n && !err; i++) {
		identity.fds[i] = open_file(folder, files[i].keyword, files[i].path, error, size);
		err = identity.fds[i] < 0 ? identity.fds[i] : 0;
	}
	if (err)
		keyidentity_close(&identity);
	else
		*ret_identity = identity;
	return err;
}

void keyidentity_close(struct keyidentity *identity)
{
	for (size_t i = 0; i < KEYIDENTITY_FILES; i++)
		if (identity->fds[i] >= 0)
			close(identity->fds[i]);
	*identity = KEYIDENTITY_NONE;
}
