/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The link between the processes, as holdfastd reads it: a key management service in
 * somebody else's hands says what the input says, over a real socketpair, to the real
 * keyservice.c. (No process is started: fork() is the target's, and the other end of
 * the pair is kept.) Whatever it says, nothing is handed on to be installed that the
 * policy does not admit, no descriptor of its gets a place, and every text is printable.
 *
 * The input: records of the link. A type (0: the next is raw bytes), a byte of flags, and
 * two bytes of length with the body; a body that is cut short is filled up with zeroes
 * to its type's size unless KEYSERVICE_AS_IT_IS is set.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"
#include "loader/keyservice.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_keyservice.h"

#define PID 1234567

static struct event_base *base;
static struct policy *policy;
static char identity[] = "/tmp/holdfast-fuzz-XXXXXX";
static int theirs = -1; /* the other end of the link */
static bool dead;

/* One request is under way. */
static const struct hf_addr us = KEYSERVICE_US, gateway = KEYSERVICE_GATEWAY;
static __u64 request;

int __real_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
pid_t __wrap_fork(void);
int __wrap_kill(pid_t pid, int signal);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);

int __wrap_socketpair(int domain, int type, int protocol, int pair[2])
{
	int err = __real_socketpair(domain, type, protocol, pair);

	if (!err && domain == AF_UNIX && type & SOCK_SEQPACKET) {
		if (theirs >= 0)
			close(theirs);
		theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
		MUST(theirs >= 0);
	}
	return err;
}

pid_t __wrap_fork(void)
{
	return PID;
}

int __wrap_kill(pid_t pid, int signal)
{
	return 0;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	return pid;
}

/* SO_MARK is not for everybody. */
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	return 0;
}

/* What keyservice.c hands on. */

static bool is_own(void *context, const struct hf_addr *addr)
{
	return addr_equal(addr, &us);
}

static void on_ready(void *context, const struct kms_ready *ready)
{
	MUST(text_is_printable(ready->name) && text_is_printable(ready->text));
}

static bool is_prefix(const struct hf_prefix *prefix)
{
	struct hf_prefix masked = *prefix;

	prefix_mask(&masked);
	return prefix->len >= 1 && prefix->len <= 128 && addr_equal(&masked.addr, &prefix->addr);
}

/* The promises of admission.h, once more and apart from it. */
static int on_install(void *context, struct kms_session *session)
{
	const struct hf_addr peer_first = KEYSERVICE_PEER_FIRST, peer_last = KEYSERVICE_PEER_LAST;

	MUST(session->id && text_is_printable(session->name) && session->name[0]);
	MUST(addr_equal(&session->local, &us) && !addr_equal(&session->remote, &us));
	MUST(addr_is_v4(&session->remote) && !addr_is_zero(&session->remote));
	MUST(session->spi_in > 255 && session->spi_in != 0xffffffff);
	MUST(session->spi_out > 255 && session->spi_out != 0xffffffff);
	MUST(session->lifetime_s >= 1 && session->lifetime_s <= 31536000);
	MUST(session->key_len == 36 || session->key_len == 20);
	MUST(session->n_inner >= 1 && session->n_inner <= KMS_MAX_INNER);
	if (session->role == KMS_INITIATOR)
		MUST(session->request == request && addr_equal(&session->remote, &gateway) && session->proven);
	else
		MUST(session->role == KMS_RESPONDER && !session->request && !session->reversed);
	for (__u32 i = 0; i < session->n_inner; i++) {
		const struct hf_prefix *inner = &session->inner[i];

		MUST(is_prefix(inner));
		MUST(inner->len == 128 ||
		     (addr_cmp(&peer_first, &inner->addr) <= 0 && addr_cmp(&inner->addr, &peer_last) <= 0 &&
		      !strcmp(session->name, KEYSERVICE_PEER)));
		/* We dialled, and use what is ours. */
		MUST(session->role != KMS_INITIATOR || session->reversed || addr_equal(&inner->addr, &us));
	}
	return session->spi_in & 1 ? -EADDRINUSE : 0;
}

static void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	MUST(words[0] && strlen(words) < KMS_TEXT_MAX && text_is_printable(words));
}

static void on_session(void *context, __u64 session)
{
}

static void on_failure(void *context, const struct kms_failure *failure)
{
	MUST(text_is_printable(failure->text));
}

static void on_rejected(void *context, const struct kms_failure *failure)
{
	MUST(failure->request && text_is_printable(failure->text));
}

static void on_died(void *context, const char *why)
{
	dead = true;
}

static const struct keyservice_calls calls = {
	.ready = on_ready, .is_own = is_own, .inadmissible = on_inadmissible, .install = on_install,
	.activate = on_session, .abandon = on_session, .attempt_failed = on_failure, .rejected = on_rejected,
	.refused = on_failure, .died = on_died,
};

static void clean_up(void)
{
	unlink(identity);
	policy_free(policy);
	event_base_free(base);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct policy_report report = { 0 };
	char text[1024];
	int fd;

	log_init("fuzz", LOG_LEVEL_ERROR);
	base = event_base_new();
	fd = mkstemp(identity);
	MUST(base && fd >= 0);
	close(fd);
	snprintf(text, sizeof(text), KEYSERVICE_POLICY, identity, identity, identity);
	MUST(!policy_parse(text, strlen(text), &report, &policy));
	policy_report_clear(&report);
	atexit(clean_up);
	return 0;
}

static const size_t body_sizes[] = {
	[KMS_READY] = sizeof(struct kms_ready),		 [KMS_INSTALL] = sizeof(struct kms_session),
	[KMS_ACTIVATE] = sizeof(struct kms_session_ref), [KMS_ABANDON] = sizeof(struct kms_session_ref),
	[KMS_ATTEMPT_FAILED] = sizeof(struct kms_failure), [KMS_REJECTED] = sizeof(struct kms_failure),
	[KMS_REFUSED] = sizeof(struct kms_failure),
};

/* One record, with its head or, as type 0, without; with a descriptor or several, where the flags say so. */
static void send_record(struct input *in)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * 8)];
	} control = { .bytes = { 0 } };
	__u8 type = input_u8(in), flags = input_u8(in);
	struct kms_link_head head = { .version = KMS_LINK_VERSION, .type = type };
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = type ? sizeof(head) : 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	static __u8 body[sizeof(struct kms_peers) + 64];
	size_t len;
	__u8 *piece = input_piece(in, sizeof(body), &len);

	memset(body, 0, sizeof(body));
	memcpy(body, piece, len);
	free(piece);
	if (!(flags & KEYSERVICE_AS_IT_IS) && type < sizeof(body_sizes) / sizeof(body_sizes[0]) && body_sizes[type])
		len = body_sizes[type];
	iov[1] = (struct iovec){ .iov_base = body, .iov_len = len };
	if (flags & KEYSERVICE_FDS) {
		size_t n = flags >> 5 ? flags >> 5 : 1;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int) * n) };
		for (size_t i = 0; i < n; i++)
			memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &theirs, sizeof(int));
	}
	sendmsg(theirs, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What holdfastd says must be well-formed, too. */
static void drain(void)
{
	static struct kms_link_message message;

	while (kms_link_receive(theirs, &message) > 0)
		kms_link_message_clear(&message);
}

/* The lowest descriptor that is free: higher after a run than before, and one has leaked. */
static int lowest_fd(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	const struct keyservice_config config = { .program = "/bin/true", .policy = policy, .policy_folder = "/tmp" };
	struct input in = { data, size };
	struct keyservice *service = NULL;
	char error[512];
	int before = lowest_fd();

	dead = false;
	MUST(!keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &service));
	MUST(!keyservice_request(service, &gateway, 1, &request));
	while (in.left && !dead) {
		send_record(&in);
		event_base_loop(base, EVLOOP_NONBLOCK);
		drain();
	}
	keyservice_stop(service);
	close(theirs);
	theirs = -1;
	MUST(lowest_fd() == before);
	return 0;
}
