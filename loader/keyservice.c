/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyservice.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"

#define SESSION_LIFETIME_S 3600
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 10000
/* A process that ran this long was healthy: the back-off starts anew. */
#define RESTART_HEALTHY_NS (30 * CLOCK_NS_PER_S)
#define LISTEN_BACKLOG 512
#define LISTEN_MAX 16
#define REAP_TRIES 200 /* of 10 ms */
#define PATIENCE_MS 500

struct keyservice {
	struct event_base *base;
	struct keyservice_config config;
	struct keyservice_calls calls;
	void *context;
	struct event *readable;
	struct event *restart;
	int program; /* the file: where it lies may be out of our reach when it is started again */
	int link;
	pid_t pid;
	unsigned int restarts;
	__u64 started_ns;
	__u64 last_request;
	int listening[LISTEN_MAX + 1]; /* with also, at the end */
	size_t n_listening;
	bool also;
};

static int process_start(struct keyservice *service, char *error, size_t size);

static int set_mark(int fd)
{
	__u32 mark = HF_MARK;

	return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ? -errno : 0;
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_mark(fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* The accepted sockets inherit mark and device from the listening one (inet_csk_clone_lock()). */
static int listen_on(const char *interface, __u16 port, char *error, size_t size)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = tcp_socket();
	int one = 1;
	int err;

	if (fd < 0) {
		snprintf(error, size, "socket: %s", strerror(-fd));
		return fd;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) &&
	    !bind(fd, (struct sockaddr *)&sin, sizeof(sin)) && !listen(fd, LISTEN_BACKLOG))
		return fd;
	err = -errno;
	snprintf(error, size, "cannot listen on %s, TCP port %u: %s", interface, port, strerror(-err));
	close(fd);
	return err;
}

static int open_listening(struct keyservice *service, char *error, size_t size)
{
	for (size_t i = 0; i < service->config.n_listen && i < LISTEN_MAX; i++) {
		int fd = listen_on(service->config.listen[i], service->config.policy->interface.key_service_port,
				   error, size);

		if (fd < 0)
			return fd;
		service->listening[service->n_listening++] = fd;
	}
	return 0;
}

static int open_identity(const struct keyservice *service, const char *keyword, const char *path, char *error,
			 size_t size)
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
		snprintf(full, sizeof(full), "%s/%s", service->config.policy_folder, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = -errno;
	snprintf(error, size, "%s %s: %s", keyword, full, strerror(-err));
	return err;
}

static int send_identity(struct keyservice *service, char *error, size_t size)
{
	const struct policy_identity *paths = &service->config.policy->identity;
	const struct {
		const char *keyword;
		const char *path;
	} files[] = { { "Certificate", paths->certificate },
		      { "PrivateKey", paths->private_key },
		      { "TrustAnchors", paths->trust_anchors },
		      { "RevocationList", paths->revocation_list } };
	size_t n = paths->revocation_list ? 4 : 3;
	struct kms_identity identity = { .lifetime_s = SESSION_LIFETIME_S,
					 .encapsulation = (__u8)service->config.policy->interface.encapsulation,
					 .has_crl = n == 4,
					 .exchange_ms = service->config.policy->general.key_request_ms * 2 };
	int fds[4] = { -1, -1, -1, -1 };
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		fds[i] = open_identity(service, files[i].keyword, files[i].path, error, size);
		err = fds[i] < 0 ? fds[i] : 0;
	}
	if (!err) {
		err = kms_link_send(service->link, KMS_IDENTITY, &identity, sizeof(identity), fds, n);
		if (err)
			snprintf(error, size, "key management service: %s", strerror(-err));
	}
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return err;
}

static int send_peers(struct keyservice *service, char *error, size_t size)
{
	const struct policy *policy = service->config.policy;
	struct kms_peers *peers;
	int err;

	if (policy->n_peers > KMS_MAX_PEERS) {
		snprintf(error, size, "more than %d Peer statements", KMS_MAX_PEERS);
		return -E2BIG;
	}
	peers = calloc(1, sizeof(*peers));
	if (!peers)
		return -ENOMEM;
	peers->n = (__u32)policy->n_peers;
	for (size_t i = 0; i < policy->n_peers; i++) {
		peers->peers[i].first = policy->peers[i].range.first;
		peers->peers[i].last = policy->peers[i].range.last;
		memcpy(peers->peers[i].name, policy->peers[i].name, KMS_NAME_MAX);
	}
	err = kms_link_send(service->link, KMS_PEERS, peers, sizeof(*peers), NULL, 0);
	if (err)
		snprintf(error, size, "key management service: %s", strerror(-err));
	free(peers);
	return err;
}

static void on_ready(struct keyservice *service, const void *body)
{
	service->calls.ready(service->context, body);
}

static void on_install(struct keyservice *service, const void *body)
{
	static struct kms_session session; /* wiped each time */
	struct kms_installed installed;

	secret_lock(&session, sizeof(session));
	session = *(const struct kms_session *)body;
	installed = (struct kms_installed){ .session = session.id };

	installed.result = service->calls.install(service->context, &session);
	if (!installed.result && session.role == KMS_RESPONDER && session.reversed) {
		installed.reversed = 1;
		installed.n_inner = session.n_inner;
		memcpy(installed.inner, session.inner, sizeof(installed.inner));
	}
	explicit_bzero(&session, sizeof(session));
	if (kms_link_send(service->link, KMS_INSTALLED, &installed, sizeof(installed), NULL, 0))
		service->calls.abandon(service->context, installed.session);
}

static void on_activate(struct keyservice *service, const void *body)
{
	service->calls.activate(service->context, ((const struct kms_session_ref *)body)->session);
}

static void on_abandon(struct keyservice *service, const void *body)
{
	service->calls.abandon(service->context, ((const struct kms_session_ref *)body)->session);
}

static void on_attempt_failed(struct keyservice *service, const void *body)
{
	service->calls.attempt_failed(service->context, body);
}

static void on_rejected(struct keyservice *service, const void *body)
{
	service->calls.rejected(service->context, body);
}

static void on_refused(struct keyservice *service, const void *body)
{
	service->calls.refused(service->context, body);
}

static void (*const handlers[])(struct keyservice *, const void *) = {
	[KMS_READY] = on_ready,
	[KMS_INSTALL] = on_install,
	[KMS_ACTIVATE] = on_activate,
	[KMS_ABANDON] = on_abandon,
	[KMS_ATTEMPT_FAILED] = on_attempt_failed,
	[KMS_REJECTED] = on_rejected,
	[KMS_REFUSED] = on_refused,
};

static void process_reap(struct keyservice *service, int signal)
{
	if (!service->pid)
		return;
	kill(service->pid, signal);
	/* It ends at once when the link closes; one that hangs does not hold us up. */
	for (int i = 0; i < REAP_TRIES; i++) {
		struct timespec pause = { .tv_nsec = 10000000 };

		if (waitpid(service->pid, NULL, WNOHANG) == service->pid) {
			service->pid = 0;
			return;
		}
		nanosleep(&pause, NULL);
	}
	kill(service->pid, SIGKILL);
	waitpid(service->pid, NULL, 0);
	service->pid = 0;
}

static void link_close(struct keyservice *service)
{
	if (service->readable)
		event_free(service->readable);
	service->readable = NULL;
	if (service->link >= 0)
		close(service->link);
	service->link = -1;
}

static void restart_later(struct keyservice *service)
{
	unsigned int wait = RESTART_FIRST_MS << (service->restarts < 7 ? service->restarts : 7);
	struct timeval tv;

	if (clock_now_ns() - service->started_ns > RESTART_HEALTHY_NS)
		service->restarts = 0;
	service->restarts++;
	if (wait > RESTART_MAX_MS)
		wait = RESTART_MAX_MS;
	tv.tv_sec = wait / 1000;
	tv.tv_usec = (wait % 1000) * 1000;
	event_add(service->restart, &tv);
}

static void process_failed(struct keyservice *service, const char *why)
{
	link_close(service);
	process_reap(service, SIGKILL);
	service->calls.died(service->context, why);
	restart_later(service);
}

static void link_readable(evutil_socket_t fd, short what, void *context)
{
	struct keyservice *service = context;
	static struct kms_link_message message; /* holds keys for the time of one call: wiped each time */

	for (;;) {
		int got;

		secret_lock(&message, sizeof(message));
		got = kms_link_receive(service->link, &message);
		if (got == -EAGAIN || got == -EINTR)
			return;
		if (got <= 0) {
			process_failed(service, got ? "it sent something that is not well-formed" : "it ended");
			return;
		}
		if (message.type < sizeof(handlers) / sizeof(*handlers) && handlers[message.type])
			handlers[message.type](service, message.body);
		else
			got = 0;
		kms_link_message_clear(&message);
		if (!got) {
			process_failed(service, "it sent a message of the wrong kind");
			return;
		}
	}
}

static void restart_due(evutil_socket_t fd, short what, void *context)
{
	struct keyservice *service = context;
	char error[512];

	if (!process_start(service, error, sizeof(error)))
		return;
	log_error("key management service: %s", error);
	link_close(service);
	process_reap(service, SIGKILL);
	restart_later(service);
}

static void exec_program(struct keyservice *service, int link)
{
	/* A user of its own where the package made one. */
	const char *user = getpwnam("holdfast") ? "holdfast" : "nobody";
	char *const args[] = { (char *)"holdfast-kms", (char *)"--user", (char *)user,
			       service->config.verbose ? (char *)"-v" : NULL, NULL };

	/* Nothing but stdin, stdout, stderr and the link goes along: all else is close-on-exec. */
	if (link == KMS_LINK_FD)
		fcntl(link, F_SETFD, 0);
	else if (dup2(link, KMS_LINK_FD) < 0)
		_exit(127);
	execveat(service->program, "", args, environ, AT_EMPTY_PATH);
	_exit(127);
}

static int send_listening(struct keyservice *service)
{
	return kms_link_send(service->link, KMS_LISTEN, NULL, 0, service->listening, service->n_listening);
}

static int process_start(struct keyservice *service, char *error, size_t size)
{
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		err = -errno;
		snprintf(error, size, "socketpair: %s", strerror(-err));
		return err;
	}
	service->link = pair[0];
	service->started_ns = clock_now_ns();
	service->pid = fork();
	if (service->pid == 0)
		exec_program(service, pair[1]);
	err = service->pid < 0 ? -errno : 0;
	close(pair[1]);
	if (err) {
		service->pid = 0;
		snprintf(error, size, "fork: %s", strerror(-err));
		return err;
	}
	service->readable = event_new(service->base, service->link, EV_READ | EV_PERSIST, link_readable, service);
	event_add(service->readable, NULL);
	err = send_identity(service, error, size);
	if (!err)
		err = send_peers(service, error, size);
	if (!err) {
		err = send_listening(service);
		if (err)
			snprintf(error, size, "key management service: %s", strerror(-err));
	}
	return err;
}

int keyservice_start(struct event_base *base, const struct keyservice_config *config,
		     const struct keyservice_calls *calls, void *context, char *error, size_t size,
		     struct keyservice **ret_service)
{
	struct keyservice *service = calloc(1, sizeof(*service));
	int err;

	if (!service)
		return -ENOMEM;
	service->base = base;
	service->config = *config;
	service->calls = *calls;
	service->context = context;
	service->link = -1;
	service->restart = evtimer_new(base, restart_due, service);
	err = open_listening(service, error, size);
	service->program = open(config->program, O_PATH | O_CLOEXEC);
	if (!err && (service->program < 0 || access(config->program, X_OK))) {
		err = -errno;
		snprintf(error, size, "%s: %s", config->program, strerror(-err));
	}
	if (!err)
		err = process_start(service, error, size);
	if (err)
		keyservice_stop(service);
	else
		*ret_service = service;
	return err;
}

void keyservice_stop(struct keyservice *service)
{
	if (!service)
		return;
	link_close(service);
	process_reap(service, SIGTERM);
	event_free(service->restart);
	for (size_t i = 0; i < service->n_listening; i++)
		close(service->listening[i]);
	if (service->program >= 0)
		close(service->program);
	free(service);
}

int keyservice_listen_also(struct keyservice *service, const char *interface)
{
	char error[256];
	int fd = 0;

	if (!interface && !service->also)
		return 0;
	if (service->also)
		close(service->listening[--service->n_listening]);
	service->also = false;
	if (interface) {
		fd = listen_on(interface, service->config.policy->interface.key_service_port, error, sizeof(error));
		service->also = fd >= 0;
	}
	if (service->also)
		service->listening[service->n_listening++] = fd;
	else if (fd < 0)
		log_warning("%s", error);
	/* One that is being started again is told then. */
	if (service->link >= 0 && send_listening(service))
		log_warning("the key management service does not take its sockets");
	return fd < 0 ? fd : 0;
}

size_t keyservice_inner(const struct policy *policy, struct hf_prefix *ret_inner)
{
	size_t n = policy->interface.n_address < KMS_MAX_INNER ? policy->interface.n_address : KMS_MAX_INNER;

	for (size_t i = 0; i < n; i++)
		ret_inner[i] = policy_address_is_network(&policy->interface.address[i]) ?
				       policy->interface.address[i] :
				       prefix_of_host(&policy->interface.address[i].addr);
	return n;
}

int keyservice_request(struct keyservice *service, const struct hf_addr *gateways, size_t n, __u64 *ret_id)
{
	const struct policy *policy = service->config.policy;
	struct kms_request request = { .id = service->last_request + 1,
				       .timeout_ms = policy->general.key_request_ms,
				       .patience_ms = PATIENCE_MS,
				       .port = policy->interface.key_service_port,
				       .encapsulation = (__u8)policy->interface.encapsulation,
				       .n_gateways = (__u8)n };
	int fds[KMS_MAX_GATEWAYS];
	size_t opened = 0;
	int err = 0;

	if (service->link < 0)
		return -ENOTCONN;
	request.n_inner = (__u32)keyservice_inner(policy, request.inner);
	memcpy(request.gateways, gateways, n * sizeof(*gateways));
	while (opened < n && !err) {
		fds[opened] = tcp_socket();
		if (fds[opened] < 0)
			err = fds[opened];
		else
			opened++;
	}
	if (!err)
		err = kms_link_send(service->link, KMS_REQUEST, &request, sizeof(request), fds, opened);
	while (opened)
		close(fds[--opened]);
	if (!err)
		*ret_id = service->last_request = request.id;
	return err;
}

void keyservice_cancel(struct keyservice *service, __u64 id)
{
	struct kms_cancel cancel = { .id = id };

	if (service->link >= 0)
		kms_link_send(service->link, KMS_CANCEL, &cancel, sizeof(cancel), NULL, 0);
}

pid_t keyservice_pid(const struct keyservice *service)
{
	return service->pid;
}
