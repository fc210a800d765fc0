/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/link.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/text.h"

/* Largest body of any type; kms_link_message's buffer holds it and its head. */
#define BODY_MAX sizeof(struct kms_peers)

static bool text_ends(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

static bool identity_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_identity *identity = body;

	return identity->has_crl <= 1 && n_fds == 3u + identity->has_crl &&
	       identity->encapsulation <= KMS_ENCAP_UDP;
}

static bool peers_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_peers *peers = body;

	/* Whole, or shortened to the entries that it has. */
	if (peers->n > KMS_MAX_PEERS ||
	    (len != sizeof(*peers) && len != offsetof(struct kms_peers, peers) + peers->n * sizeof(struct kms_peer)))
		return false;
	for (__u32 i = 0; i < peers->n; i++)
		if (!text_ends(peers->peers[i].name, sizeof(peers->peers[i].name)))
			return false;
	return true;
}

bool kms_certificate_is_sound(const struct kms_certificate *certificate)
{
	if (certificate->n > KMS_CHAIN_MAX)
		return false;
	for (size_t i = 0; i < KMS_CHAIN_MAX; i++)
		if (certificate->chain[i].serial_len > KMS_SERIAL_MAX)
			return false;
	return true;
}

static bool knowns_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_knowns *knowns = body;

	if (knowns->n > KMS_MAX_KNOWN)
		return false;
	for (__u32 i = 0; i < knowns->n; i++)
		if (!kms_certificate_is_sound(&knowns->known[i].certificate))
			return false;
	return true;
}

static bool revoked_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_certificate *certificate = body;

	return certificate->n && kms_certificate_is_sound(certificate);
}

static bool request_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_request *request = body;

	return request->id && request->n_gateways >= 1 && request->n_gateways <= KMS_MAX_GATEWAYS &&
	       request->n_gateways == n_fds && request->n_inner <= KMS_MAX_INNER &&
	       request->encapsulation <= KMS_ENCAP_UDP;
}

static bool installed_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_installed *installed = body;

	return installed->reversed <= 1 && installed->n_inner <= KMS_MAX_INNER &&
	       (installed->reversed != 0) == (installed->n_inner != 0);
}

static bool ready_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_ready *ready = body;

	return text_ends(ready->name, sizeof(ready->name)) && text_ends(ready->text, sizeof(ready->text));
}

static bool session_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_session *session = body;

	return session->n_inner <= KMS_MAX_INNER && session->key_len <= KMS_KEY_MAX && session->proven <= 1 &&
	       session->reversed <= 1 && kms_certificate_is_sound(&session->certificate) &&
	       text_ends(session->name, sizeof(session->name));
}

static bool failure_is_sound(const void *body, size_t len, size_t n_fds)
{
	const struct kms_failure *failure = body;

	return text_ends(failure->text, sizeof(failure->text));
}

/* What is said to people ends in logs and on terminals: what is not printable is made so, rather than refused. */

static void clean_ready(void *body)
{
	struct kms_ready *ready = body;

	text_make_printable(ready->name);
	text_make_printable(ready->text);
}

static void clean_failure(void *body)
{
	text_make_printable(((struct kms_failure *)body)->text);
}

/* What a record of each type must look like; a type without an entry is unknown. */
static const struct link_rule {
	bool known;
	size_t min_len;
	size_t max_len;
	size_t min_fds;
	size_t max_fds;
	bool (*is_sound)(const void *body, size_t len, size_t n_fds); /* NULL: nothing more to check */
	void (*clean)(void *body); /* of one that has arrived, and is sound; NULL: nothing */
} rules[] = {
#define FIXED(type) .known = true, .min_len = sizeof(type), .max_len = sizeof(type)
	[KMS_IDENTITY] = { FIXED(struct kms_identity), .min_fds = 3, .max_fds = 4, .is_sound = identity_is_sound },
	[KMS_PEERS] = { .known = true,
			.min_len = offsetof(struct kms_peers, peers),
			.max_len = sizeof(struct kms_peers),
			.is_sound = peers_is_sound },
	[KMS_LISTEN] = { .known = true, .max_fds = KMS_LINK_FDS_MAX },
	[KMS_REQUEST] = { FIXED(struct kms_request), .min_fds = 1, .max_fds = KMS_MAX_GATEWAYS,
			  .is_sound = request_is_sound },
	[KMS_CANCEL] = { FIXED(struct kms_cancel) },
	[KMS_INSTALLED] = { FIXED(struct kms_installed), .is_sound = installed_is_sound },
	[KMS_KNOWN] = { FIXED(struct kms_knowns), .is_sound = knowns_is_sound },
	[KMS_ACTIVATED] = { FIXED(struct kms_activated) },
	[KMS_READY] = { FIXED(struct kms_ready), .is_sound = ready_is_sound, .clean = clean_ready },
	[KMS_INSTALL] = { FIXED(struct kms_session), .is_sound = session_is_sound },
	[KMS_ACTIVATE] = { FIXED(struct kms_session_ref) },
	[KMS_ABANDON] = { FIXED(struct kms_session_ref) },
	[KMS_ATTEMPT_FAILED] = { FIXED(struct kms_failure), .is_sound = failure_is_sound, .clean = clean_failure },
	[KMS_REJECTED] = { FIXED(struct kms_failure), .is_sound = failure_is_sound, .clean = clean_failure },
	[KMS_REFUSED] = { FIXED(struct kms_failure), .is_sound = failure_is_sound, .clean = clean_failure },
	[KMS_REVOKED] = { FIXED(struct kms_certificate), .is_sound = revoked_is_sound },
	[KMS_ECHO] = { .known = true },
#undef FIXED
};

_Static_assert(sizeof(struct kms_request) <= BODY_MAX && sizeof(struct kms_session) <= BODY_MAX &&
	       sizeof(struct kms_knowns) <= BODY_MAX,
	       "kms_link_message's buffer holds every type");

static bool record_is_sound(__u32 type, const void *body, size_t len, size_t n_fds)
{
	const struct link_rule *rule;

	if (type >= sizeof(rules) / sizeof(rules[0]))
		return false;
	rule = &rules[type];
	return rule->known && len >= rule->min_len && len <= rule->max_len && n_fds >= rule->min_fds &&
	       n_fds <= rule->max_fds && (!rule->is_sound || rule->is_sound(body, len, n_fds));
}

/* Room for the descriptors of one record, aligned for struct cmsghdr. */
union fds_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * KMS_LINK_FDS_MAX)];
};

int kms_link_send(int link, __u32 type, const void *body, size_t len, const int *fds, size_t n_fds)
{
	struct kms_link_head head = { .version = KMS_LINK_VERSION, .type = type };
	struct iovec iov[2] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)body, .iov_len = len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	union fds_control control;
	ssize_t sent;

	if (!record_is_sound(type, body, len, n_fds))
		return -EINVAL;
	if (n_fds) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
	}
	do {
		sent = sendmsg(link, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Takes the descriptors out of the control data. More than there is room for end in MSG_CTRUNC, not here. */
static void take_fds(struct msghdr *msg, struct kms_link_message *message)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (message->n_fds < KMS_LINK_FDS_MAX)
				message->fds[message->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

int kms_link_receive(int link, struct kms_link_message *ret_message)
{
	struct iovec iov = { .iov_base = ret_message->buffer.bytes, .iov_len = sizeof(ret_message->buffer.bytes) };
	union fds_control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t got;

	ret_message->n_fds = 0;
	ret_message->len = 0;
	ret_message->body = NULL;
	do {
		got = recvmsg(link, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(&msg, ret_message);
	if (got == 0 && ret_message->n_fds == 0)
		return 0;

	ret_message->len = (size_t)got;
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)got < sizeof(struct kms_link_head) ||
	    ret_message->buffer.head.version != KMS_LINK_VERSION)
		goto malformed;
	ret_message->type = ret_message->buffer.head.type;
	ret_message->len = (size_t)got - sizeof(struct kms_link_head);
	ret_message->body = ret_message->buffer.bytes + sizeof(struct kms_link_head);
	if (!record_is_sound(ret_message->type, ret_message->body, ret_message->len, ret_message->n_fds))
		goto malformed;
	if (rules[ret_message->type].clean)
		rules[ret_message->type].clean(ret_message->buffer.bytes + sizeof(struct kms_link_head));
	return 1;

malformed:
	kms_link_message_clear(ret_message);
	return -EPROTO;
}

void kms_link_message_clear(struct kms_link_message *message)
{
	for (size_t i = 0; i < message->n_fds; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->n_fds = 0;
	message->body = NULL;
	message->len = 0;
	explicit_bzero(&message->buffer, sizeof(message->buffer));
}
