/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The link between the processes, as holdfast-kms reads it, and strangers' bytes
 * before TLS has proved anything: holdfastd says what the input says, over a real
 * socketpair, to the real service with a real certificate; so do those who dial and
 * those who are dialled. There is no network: connect(), accept4() and
 * getsockname() are the target's, and sockets are pairs of its own.
 *
 * The input: records. A byte says what (a type of the link; SERVICE_NETWORK: bytes for
 * a connection; SERVICE_DIAL: somebody dials), one of flags, then two bytes of length
 * with the body. A body that is cut short is filled up as in fuzz_keyservice.c.
 */
#define main holdfast_kms_main
int holdfast_kms_main(int argc, char **argv);
#include "kms/holdfast-kms.c"
#undef main

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kms/pki.h"
#include "lib/text.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_service.h"

#define CONNECTIONS_MAX 32

static struct event_base *base;
static struct tls_identity *identity;
static int link_ends[2];
static int network[CONNECTIONS_MAX]; /* the far ends of the connections */
static size_t n_network;
static unsigned int dials; /* wait to be accepted */

int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_event_add(struct event *event, const struct timeval *wait);
int __real_event_add(struct event *event, const struct timeval *wait);

int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	if (n_network == CONNECTIONS_MAX) {
		errno = ENETUNREACH;
		return -1;
	}
	/* Its far end lies where send_record() has put it. */
	errno = EINPROGRESS;
	return -1;
}

int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)sa;
	int pair[2];

	if (!dials || n_network == CONNECTIONS_MAX) {
		errno = EAGAIN;
		return -1;
	}
	dials--;
	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	*sin = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xcb007105 + dials % 2) };
	*len = sizeof(*sin);
	network[n_network++] = pair[1];
	return pair[0];
}

int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	*(struct sockaddr_in *)sa = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	*len = sizeof(struct sockaddr_in);
	return 0;
}

/* A moment (that of the listening socket) is over when the loop comes round again: no input lasts as long. */
int __wrap_event_add(struct event *event, const struct timeval *wait)
{
	static const struct timeval now;

	return __real_event_add(event, wait && !wait->tv_sec && wait->tv_usec <= 1000 ? &now : wait);
}

static void load_identity(void)
{
	char dir[] = "/tmp/holdfast-fuzz-XXXXXX", path[64], error[PKI_ERROR_MAX], text[KMS_TEXT_MAX];
	const struct hf_addr us = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };
	static const char *const files[] = { "us.pem", "us.key", "ca.pem", "crl.pem" };
	static const char *const others[] = { "ca.key", "index", "serial" };
	int fds[4];

	MUST(mkdtemp(dir) && !pki_init(dir, error) && !pki_issue(dir, "us", &us, 1, 30, error));
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		MUST(fds[i] >= 0 && !unlink(path));
	}
	MUST(!tls_identity_load(fds, true, &identity, text));
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, others[i]);
		unlink(path);
	}
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	MUST(base);
	load_identity();
	return 0;
}

static const size_t body_sizes[] = {
	[KMS_IDENTITY] = sizeof(struct kms_identity), [KMS_REQUEST] = sizeof(struct kms_request),
	[KMS_CANCEL] = sizeof(struct kms_cancel),     [KMS_INSTALLED] = sizeof(struct kms_installed),
	[KMS_KNOWN] = sizeof(struct kms_knowns),      [KMS_ACTIVATED] = sizeof(struct kms_activated),
};

/* An identity's files have the body as their content; sockets are ends of pairs, whose other ends are the network. */
static void make_fds(__u8 type, int *fds, size_t n, const __u8 *body, size_t len)
{
	int pair[2];

	for (size_t i = 0; i < n; i++) {
		if (type == KMS_IDENTITY) {
			fds[i] = memfd_create("pem", MFD_CLOEXEC);
			MUST(fds[i] >= 0 && write(fds[i], body, len) == (ssize_t)len && !lseek(fds[i], 0, SEEK_SET));
			continue;
		}
		MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
		fds[i] = pair[0];
		/* A listening one is readable when somebody dials. */
		if (type == KMS_LISTEN)
			MUST(send(pair[1], "", 1, MSG_NOSIGNAL) == 1);
		if (n_network < CONNECTIONS_MAX)
			network[n_network++] = pair[1];
		else
			close(pair[1]);
	}
}

static void send_record(__u8 type, __u8 flags, const __u8 *body, size_t len)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * 16)];
	} control = { .bytes = { 0 } };
	struct kms_link_head head = { .version = KMS_LINK_VERSION, .type = type };
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = type ? sizeof(head) : 0 },
				{ .iov_base = (void *)body, .iov_len = len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t n = flags >> 4;
	int fds[16];

	make_fds(type, fds, n, body, len);
	if (n) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int) * n) };
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * n);
	}
	sendmsg(link_ends[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void take_record(struct input *in)
{
	static __u8 body[sizeof(struct kms_peers) + 64];
	__u8 type = input_u8(in), flags = input_u8(in);
	size_t len;
	__u8 *piece = input_piece(in, sizeof(body), &len);

	memset(body, 0, sizeof(body));
	memcpy(body, piece, len);
	free(piece);
	if (type == SERVICE_NETWORK && n_network) {
		send(network[flags % n_network], body, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	}
	if (type == SERVICE_DIAL) {
		dials += flags % 16;
		return;
	}
	if (!(flags & SERVICE_AS_IT_IS) && type < sizeof(body_sizes) / sizeof(body_sizes[0]) && body_sizes[type])
		len = body_sizes[type];
	send_record(type, flags, body, len);
}

/* What the service tells holdfastd is well-formed, and nothing that nobody agreed to. */
static void drain(void)
{
	static struct kms_link_message message;

	while (kms_link_receive(link_ends[0], &message) > 0) {
		MUST(message.type >= KMS_READY && message.type != KMS_INSTALL && message.type != KMS_ACTIVATE);
		kms_link_message_clear(&message);
	}
}

static int lowest_fd(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);

	close(fd);
	return fd;
}

static void end(struct service *service)
{
	service->link = -1;
	request_cancel_all(service);
	acceptor_free(service->acceptor);
	connection_stop_all(service);
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	/* An identity that was taken has freed ours. */
	identity = service->identity;
	service->identity = NULL;
	service_clear(service);
	free(service);
	while (n_network)
		close(network[--n_network]);
	close(link_ends[0]);
	close(link_ends[1]);
	dials = 0;
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	struct service *service = calloc(1, sizeof(*service));
	struct input in = { data, size };
	int before = lowest_fd();

	MUST(service && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, link_ends));
	MUST(!service_init(service, base, link_ends[1]) && !acceptor_new(service, &service->acceptor));
	service->identity = identity;
	while (in.left && service->link >= 0) {
		take_record(&in);
		on_link_readable(link_ends[1], EV_READ, service);
		for (int i = 0; i < 3; i++)
			event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		drain();
	}
	end(service);
	MUST(lowest_fd() == before);
	return 0;
}
