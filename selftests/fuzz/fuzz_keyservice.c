/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The link between the processes, as holdfastd reads it: key management services in
 * somebody else's hands say what the input says, over real socketpairs, to the real
 * keyservice*.c and keyworker.c. (No process is started: fork() is the target's, and the
 * other ends of the pairs are kept; one that is to be started again is so at once.)
 * Whatever they say, nothing is handed on to be installed that the policy does not
 * admit, none speaks of what is another's, no descriptor of theirs gets a place, every
 * text is printable, and what a dead one had under way is given up.
 *
 * The input: records. A type of the link (0: the next is raw bytes; from KEYSERVICE_ASK
 * on: something that holdfastd does), a byte of flags, and two bytes of length with the
 * body; a body that is cut short is filled up with zeroes to its type's size unless
 * KEYSERVICE_AS_IT_IS is set.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"
#include "loader/keyservice.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_keyservice.h"

#define PID 1234567
#define SLOTS (2 * KEYSERVICE_WORKERS) /* one that is started again comes before its old end is seen to be closed */
#define LIVE_MAX 256
#define WAIT_S 60

static struct event_base *base;
static struct policy *policy, *strict; /* strict: without [PEER] statements */
static bool is_strict; /* which of the two is in force */
static char identity[] = "/tmp/holdfast-fuzz-XXXXXX";
static struct keyservice *service;

static const struct hf_addr us = KEYSERVICE_US, gateway = KEYSERVICE_GATEWAY;

/* The other ends of the links, -1: none. The process that has one is PID and its place here. */
static int theirs[SLOTS] = { -1, -1, -1, -1 };
static size_t talker, newest;
static struct event *watch;

/* The request that is under way, 0: none; and who was given it. */
static __u64 request;
static __u64 answered; /* the last request that a session was taken for */
static size_t owner;
static bool has_identity, over;
static __s64 our_end; /* of our certificate, as the last KMS_READY that was handed on said */

/* The sessions that were taken, and neither activated nor abandoned. */
static struct live {
	__u64 id;
	__u64 request;
	size_t slot;
	bool overtaken; /* it cannot be activated */
} live[LIVE_MAX];
static size_t n_live;
static bool rejection_due; /* a request's session was not activated */

int __real_socketpair(int domain, int type, int protocol, int pair[2]);
int __real_event_add(struct event *event, const struct timeval *after);
int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_event_add(struct event *event, const struct timeval *after);
pid_t __wrap_fork(void);
int __wrap_kill(pid_t pid, int signal);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);

int __wrap_socketpair(int domain, int type, int protocol, int pair[2])
{
	int err = __real_socketpair(domain, type, protocol, pair);

	MUST(!err && domain == AF_UNIX && type & SOCK_SEQPACKET);
	for (newest = 0; newest < SLOTS && theirs[newest] >= 0; newest++)
		;
	MUST(newest < SLOTS);
	theirs[newest] = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
	MUST(theirs[newest] >= 0);
	return 0;
}

/* One timer is that of the next start: it is at once. The other, of a second, comes when the input says so. */
int __wrap_event_add(struct event *event, const struct timeval *after)
{
	static const struct timeval at_once;

	if (after && after->tv_sec == 1 && !after->tv_usec) {
		watch = event;
		return 0;
	}
	return __real_event_add(event, after ? &at_once : NULL);
}

pid_t __wrap_fork(void)
{
	return PID + (pid_t)newest;
}

/* Who is killed has no more to say; its end is closed when holdfastd has seen it. */
int __wrap_kill(pid_t pid, int signal)
{
	MUST(pid >= PID && pid < PID + SLOTS);
	if (signal == SIGKILL && theirs[pid - PID] >= 0)
		shutdown(theirs[pid - PID], SHUT_WR);
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

/* What keyservice_messages.c hands on. */

static bool is_own(void *context, const struct hf_addr *addr)
{
	return addr_equal(addr, &us);
}

static void on_ready(void *context, const struct kms_ready *ready)
{
	if (!ready->result)
		our_end = ready->not_after;
	/* Without a first identity holdfastd ends. */
	over = ready->result && !has_identity;
	if (over)
		event_base_loopbreak(base);
	has_identity |= !ready->result;
	MUST(text_is_printable(ready->name) && text_is_printable(ready->text));
}

static bool is_prefix(const struct hf_prefix *prefix)
{
	struct hf_prefix masked = *prefix;

	prefix_mask(&masked);
	return prefix->len >= 1 && prefix->len <= 128 && addr_equal(&masked.addr, &prefix->addr);
}

static struct live *find_live(__u64 id)
{
	for (size_t i = 0; i < n_live; i++)
		if (live[i].id == id)
			return &live[i];
	return NULL;
}

/* The promises of admission.h, once more and apart from it. */
static int on_install(void *context, struct kms_session *session)
{
	const struct hf_addr peer_first = KEYSERVICE_PEER_FIRST, peer_last = KEYSERVICE_PEER_LAST;
	__s64 now = (__s64)time(NULL);

	MUST(session->id && text_is_printable(session->name) && session->name[0]);
	MUST(addr_equal(&session->local, &us) && !addr_equal(&session->remote, &us));
	MUST(addr_is_v4(&session->remote) && !addr_is_zero(&session->remote));
	MUST(session->spi_in > 255 && session->spi_in != 0xffffffff);
	MUST(session->spi_out > 255 && session->spi_out != 0xffffffff);
	/* Nothing outlives a certificate. (Two seconds: the clock goes on.) */
	MUST(session->not_after > now && session->lifetime_s <= (__u64)session->not_after - (__u64)now + 2);
	MUST(our_end > now && session->lifetime_s <= (__u64)our_end - (__u64)now + 2);
	MUST(session->lifetime_s >= 1 && session->lifetime_s <= policy_session_lifetime_s(&policy->general));
	MUST(kms_certificate_is_sound(&session->certificate));
	MUST(session->key_len == 36 || session->key_len == 20);
	MUST(session->n_inner >= 1 && session->n_inner <= KMS_MAX_INNER);
	if (session->role == KMS_INITIATOR)
		MUST(request && session->request == request && talker == owner &&
		     addr_equal(&session->remote, &gateway) && session->proven);
	else
		MUST(session->role == KMS_RESPONDER && !session->request && !session->reversed);
	for (__u32 i = 0; i < session->n_inner; i++) {
		const struct hf_prefix *inner = &session->inner[i];

		MUST(is_prefix(inner));
		MUST(inner->len == 128 ||
		     (!is_strict && addr_cmp(&peer_first, &inner->addr) <= 0 && addr_cmp(&inner->addr, &peer_last) <= 0 &&
		      !strcmp(session->name, KEYSERVICE_PEER)));
		/* We dialled, and use what is ours. */
		MUST(session->role != KMS_INITIATOR || session->reversed || addr_equal(&inner->addr, &us));
	}
	/* Of the one gateway that a request names, one answer, whatever becomes of it. */
	MUST(session->role != KMS_INITIATOR || session->request != answered);
	if (session->role == KMS_INITIATOR)
		answered = session->request;
	if (session->spi_in & 1 || n_live == LIVE_MAX)
		return -EADDRINUSE;
	MUST(!find_live(session->id));
	live[n_live++] = (struct live){ session->id, session->request, talker, session->spi_in & 2 };
	return 0;
}

static void on_inadmissible(void *context, const struct hf_addr *remote, const char *words, unsigned int more)
{
	MUST(words[0] && strlen(words) < KMS_TEXT_MAX && text_is_printable(words));
}

static int on_activate(void *context, __u64 id)
{
	struct live *session = find_live(id);
	bool overtaken;

	MUST(session && session->slot == talker);
	overtaken = session->overtaken;
	rejection_due = overtaken && session->request && session->request == request;
	/* It answers the request: there will be no other. */
	if (session->request && session->request == request && !overtaken)
		request = 0;
	*session = live[--n_live];
	return overtaken ? -ENOENT : 0;
}

/* Of one that is alive, or by the death of who had it. */
static void on_abandon(void *context, __u64 id)
{
	struct live *session = find_live(id);

	MUST(session);
	*session = live[--n_live];
}

static void on_failure(void *context, const struct kms_failure *failure)
{
	MUST(text_is_printable(failure->text));
}

static void on_attempt_failed(void *context, const struct kms_failure *failure)
{
	MUST(request && failure->request == request && talker == owner);
	on_failure(context, failure);
}

static void on_rejected(void *context, const struct kms_failure *failure)
{
	MUST(request && failure->request == request && text_is_printable(failure->text));
	MUST(!rejection_due || failure->error == ECANCELED);
	request = 0;
	rejection_due = false;
}

static void on_died(void *context, const struct keyworker_death *death)
{
	MUST(death->index < KEYSERVICE_WORKERS && death->why[0] && text_is_printable(death->why) && death->times);
}

/* Somebody has a session. */
static size_t known(void *context, size_t from, struct kms_known *ret_known, size_t max)
{
	MUST(!from && max);
	ret_known[0] = (struct kms_known){ .remote = gateway,
					   .certificate = { .n = 1, .chain = { { .serial_len = 1, .serial = { 7 } } } } };
	return 1;
}

static void on_revoked(void *context, const struct kms_certificate *certificate)
{
	MUST(certificate->n >= 1 && kms_certificate_is_sound(certificate));
}

static const struct keyservice_calls calls = {
	.ready = on_ready, .is_own = is_own, .inadmissible = on_inadmissible, .install = on_install,
	.activate = on_activate, .abandon = on_abandon, .attempt_failed = on_attempt_failed,
	.rejected = on_rejected, .refused = on_failure, .died = on_died, .known = known, .revoked = on_revoked,
};

static void clean_up(void)
{
	unlink(identity);
	policy_free(policy);
	policy_free(strict);
	event_base_free(base);
}

static struct policy *parse(const char *peers)
{
	struct policy_report report = { 0 };
	struct policy *parsed;
	char text[1024];

	snprintf(text, sizeof(text), KEYSERVICE_POLICY "%s", identity, identity, identity, KEYSERVICE_WORKERS, peers);
	MUST(!policy_parse(text, strlen(text), &report, &parsed));
	policy_report_clear(&report);
	return parsed;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd;

	log_init("fuzz", LOG_LEVEL_ERROR);
	base = event_base_new();
	fd = mkstemp(identity);
	MUST(base && fd >= 0);
	close(fd);
	policy = parse(KEYSERVICE_PEERS);
	strict = parse("");
	atexit(clean_up);
	return 0;
}

static const size_t body_sizes[] = {
	[KMS_READY] = sizeof(struct kms_ready),		 [KMS_INSTALL] = sizeof(struct kms_session),
	[KMS_ACTIVATE] = sizeof(struct kms_session_ref), [KMS_ABANDON] = sizeof(struct kms_session_ref),
	[KMS_ATTEMPT_FAILED] = sizeof(struct kms_failure), [KMS_REJECTED] = sizeof(struct kms_failure),
	[KMS_REFUSED] = sizeof(struct kms_failure),	 [KMS_REVOKED] = sizeof(struct kms_certificate),
};

#define BODY_MAX (sizeof(struct kms_peers) + 64)

/* One record, with its head or, as type 0, without; with a descriptor or several, where the flags say so. */
static void send_record(__u8 type, __u8 flags, const __u8 *piece, size_t len)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * 8)];
	} control = { .bytes = { 0 } };
	struct kms_link_head head = { .version = KMS_LINK_VERSION, .type = type };
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = type ? sizeof(head) : 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	static __u8 body[BODY_MAX];

	memset(body, 0, sizeof(body));
	memcpy(body, piece, len);
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
			memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &theirs[talker], sizeof(int));
	}
	sendmsg(theirs[talker], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One whose link is closed is dead: it has nothing under way. */
static void bury(size_t slot)
{
	close(theirs[slot]);
	theirs[slot] = -1;
	MUST(!request || owner != slot);
	for (size_t i = 0; i < n_live; i++)
		MUST(live[i].slot != slot);
}

static void hear(size_t slot, const struct kms_link_message *message)
{
	const struct kms_request *asked = message->body;

	MUST(message->type < KMS_READY || message->type == KMS_ECHO);
	MUST((message->type != KMS_INSTALLED && message->type != KMS_ACTIVATED) || slot == talker);
	if (message->type != KMS_REQUEST)
		return;
	MUST(asked->id == request && asked->n_gateways == 1);
	owner = slot;
}

/* What holdfastd says must be well-formed, too. */
static void drain(void)
{
	static struct kms_link_message message;

	for (size_t i = 0; i < SLOTS; i++) {
		int got = theirs[i] < 0 ? -EAGAIN : kms_link_receive(theirs[i], &message);

		for (; got > 0; got = kms_link_receive(theirs[i], &message)) {
			hear(i, &message);
			kms_link_message_clear(&message);
		}
		MUST(!got || got == -EAGAIN);
		if (!got)
			bury(i);
	}
}

/* What holdfastd does meanwhile. */

static void ask(void)
{
	if (!request && keyservice_request(service, &gateway, 1, &request))
		request = 0;
	drain();
}

static void cancel(void)
{
	keyservice_cancel(service, request);
	request = 0;
}

static void reload(void)
{
	char error[512];

	keyservice_offer_identity(service, policy, error, sizeof(error));
}

static void change_policy(void)
{
	is_strict = !is_strict;
	keyservice_take_policy(service, is_strict ? strict : policy);
}

/* Longer than anything may take: no request and no reading is under way then, whoever says what. */
static void wait_long(void)
{
	for (int i = 0; i < WAIT_S && !over; i++) {
		event_active(watch, EV_TIMEOUT, 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
		drain();
	}
	MUST(over || !request);
}

static void (*const doings[])(void) = { ask, cancel, reload, change_policy, wait_long };

/* One record of the input, and what comes of it. */
static void step(struct input *in)
{
	__u8 type = input_u8(in), flags = input_u8(in);
	size_t len;
	__u8 *piece = input_piece(in, BODY_MAX, &len);

	talker = (flags >> KEYSERVICE_WORKER_SHIFT & 3u) % SLOTS;
	if (type >= KEYSERVICE_ASK && (size_t)(type - KEYSERVICE_ASK) < sizeof(doings) / sizeof(doings[0]))
		doings[type - KEYSERVICE_ASK]();
	else if (theirs[talker] >= 0)
		send_record(type, flags, piece, len);
	free(piece);
	if (over)
		return;
	event_base_loop(base, EVLOOP_NONBLOCK);
	MUST(!rejection_due);
	drain();
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
	char error[512];
	int before = lowest_fd();

	n_live = 0;
	request = answered = 0;
	our_end = 0;
	is_strict = has_identity = over = false;
	MUST(!keyservice_start(base, &config, &calls, NULL, error, sizeof(error), &service));
	drain();
	ask();
	while (in.left && !over)
		step(&in);
	keyservice_stop(service);
	for (size_t i = 0; i < SLOTS; i++) {
		if (theirs[i] >= 0)
			close(theirs[i]);
		theirs[i] = -1;
	}
	MUST(lowest_fd() == before);
	return 0;
}
