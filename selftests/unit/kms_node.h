/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A real holdfast-kms process whose holdfastd is the test: starts and ends it,
 * speaks over its link, makes its sockets on 127.0.0.0/8. Every wait polls with
 * a limit.
 */
#ifndef HF_SELFTESTS_KMS_NODE_H
#define HF_SELFTESTS_KMS_NODE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kms/link.h"
#include "kms/pki.h"

#define NODE_WAIT_MS 20000 /* the machine may be slow; nobody waits this long for what comes */

struct node {
	pid_t pid;
	int link;
	struct kms_link_message message; /* the last one received */
};

static inline struct hf_addr node_addr(const char *text)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

static inline const char *node_program(void)
{
	const char *program = getenv("HOLDFAST_KMS");

	return program ? program : "build/holdfast-kms";
}

static inline void node_exec(int link, const char *user)
{
	char *const args[] = { (char *)"holdfast-kms", user ? (char *)"--user" : NULL, (char *)user, NULL };

	if (link == KMS_LINK_FD)
		fcntl(link, F_SETFD, 0);
	else if (dup2(link, KMS_LINK_FD) < 0)
		_exit(126);
	execv(node_program(), args);
	_exit(127);
}

static inline struct node *node_start_as(const char *user)
{
	struct node *node = calloc(1, sizeof(*node));
	int pair[2];

	assert_non_null(node);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	node->link = pair[0];
	node->pid = fork();
	assert_true(node->pid >= 0);
	if (node->pid == 0)
		node_exec(pair[1], user);
	close(pair[1]);
	return node;
}

/* Kills it without notice. */
static inline void node_kill(struct node *node)
{
	assert_int_equal(kill(node->pid, SIGKILL), 0);
	assert_int_equal(waitpid(node->pid, NULL, 0), node->pid);
	close(node->link);
	free(node);
}

/* Closes the link: it must end by itself, in order (which is also when a sanitizer reports). */
static inline void node_stop(struct node *node)
{
	int status;

	close(node->link);
	assert_int_equal(waitpid(node->pid, &status, 0), node->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	free(node);
}

static inline void node_send(struct node *node, __u32 type, const void *body, size_t len, const int *fds, size_t n_fds)
{
	assert_int_equal(kms_link_send(node->link, type, body, len, fds, n_fds), 0);
}

/* The next message, whatever it is; its body lies in node->message. */
static inline __u32 node_receive(struct node *node)
{
	struct pollfd pollfd = { .fd = node->link, .events = POLLIN };
	int ready;

	do {
		ready = poll(&pollfd, 1, NODE_WAIT_MS);
	} while (ready < 0 && errno == EINTR);
	if (ready != 1)
		fail_msg("no message within %d ms", NODE_WAIT_MS);
	assert_int_equal(kms_link_receive(node->link, &node->message), 1);
	return node->message.type;
}

/* The next message must be of this type. */
static inline const void *node_expect(struct node *node, __u32 type)
{
	__u32 got = node_receive(node);

	if (got != type && (got == KMS_ATTEMPT_FAILED || got == KMS_REJECTED || got == KMS_REFUSED))
		fail_msg("message %u instead of %u: %s", got, type,
			 ((const struct kms_failure *)node->message.body)->text);
	assert_int_equal(got, type);
	return node->message.body;
}

/* A failure whose text contains words. */
static inline void node_expect_failure(struct node *node, __u32 type, int error, const char *words)
{
	const struct kms_failure *failure = node_expect(node, type);

	if (failure->error != error || !strstr(failure->text, words))
		fail_msg("failure %d \"%s\" instead of %d \"...%s...\"", failure->error, failure->text, error, words);
}

static inline struct kms_ready node_identify(struct node *node, const char *dir, const char *name, const char *anchors_dir,
				      const struct kms_identity *settings)
{
	char path[512];
	int fds[4];
	size_t n = settings->has_crl ? 4 : 3;

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), i ? "%s/%s.key" : "%s/%s.pem", dir, name);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			fail_msg("%s: %s", path, strerror(errno));
	}
	snprintf(path, sizeof(path), "%s/ca.pem", anchors_dir);
	fds[2] = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/crl.pem", anchors_dir);
	fds[3] = open(path, O_RDONLY | O_CLOEXEC);
	node_send(node, KMS_IDENTITY, settings, sizeof(*settings), fds, n);
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	return *(const struct kms_ready *)node_expect(node, KMS_READY);
}

/* The node has nothing more to say: it answers what comes after everything before. */
static inline void node_expect_quiet(struct node *node)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[3] = { null, null, null };
	struct kms_identity settings = { .lifetime_s = 1 };
	const struct kms_ready *ready;

	node_send(node, KMS_IDENTITY, &settings, sizeof(settings), fds, 3);
	close(null);
	ready = node_expect(node, KMS_READY);
	assert_int_not_equal(ready->result, 0);
}

/* A TCP socket bound to this address; port 0: any. */
static inline int node_socket(const char *address, __u16 port, bool listening)
{
	struct hf_addr addr = node_addr(address);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, port, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		fail_msg("bind %s port %u: %s", address, port, strerror(errno));
	if (listening)
		assert_int_equal(listen(fd, 512), 0);
	return fd;
}

static inline __u16 node_port_of(int fd)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

/* Asks for a session with these gateways from this source. */
static inline void node_request(struct node *node, struct kms_request *request, const char *source, const char *const *gateways,
			 size_t n)
{
	int fds[KMS_MAX_GATEWAYS] = { 0 };

	request->n_gateways = (__u8)n;
	for (size_t i = 0; i < n; i++) {
		request->gateways[i] = node_addr(gateways[i]);
		fds[i] = node_socket(source, 0, false);
	}
	node_send(node, KMS_REQUEST, request, sizeof(*request), fds, n);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static inline void node_installed(struct node *node, __u64 session, int result)
{
	struct kms_installed installed = { .session = session, .result = result };

	node_send(node, KMS_INSTALLED, &installed, sizeof(installed), NULL, 0);
}

/* The KMS of who was dialled says KMS_ACTIVATE now; this is what comes of it. */
static inline void node_activates(struct node *node, __u64 session, int result)
{
	struct kms_activated activated = { .session = session, .result = result };
	const struct kms_session_ref *ref = node_expect(node, KMS_ACTIVATE);

	assert_int_equal(ref->session, session);
	node_send(node, KMS_ACTIVATED, &activated, sizeof(activated), NULL, 0);
}

#endif
