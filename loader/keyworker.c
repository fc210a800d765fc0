/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/keyworker.h"

#include <errno.h>
#include <fcntl.h>
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
#include "loader/keylog.h"

#define MESSAGES_AT_ONCE 32
#define TURN_NS (5 * CLOCK_NS_PER_MS) /* a message may cost what many clients make of it */
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 10000
#define RESTART_DOUBLINGS 7
/* A process that ran this long was healthy: the back-off starts anew. */
#define RESTART_HEALTHY_NS (30 * CLOCK_NS_PER_S)
#define REAP_PAUSE_MS 10
#define REAP_TRIES 200 /* at an end in order */
#define REAP_TRIES_DEAD 20
#define LINK_BUFFER_BYTES (8 << 20)

struct keyworker {
	struct keyworker_config config;
	struct keyworker_calls calls;
	void *context;
	struct event *readable;
	struct event *restart;
	struct keylog *log; /* what the process writes to its standard error */
	int link;
	pid_t pid;
	const char *ended; /* why we killed it; NULL: we did not */
	unsigned int deaths; /* in a row */
	__u64 started_ns;
	__u64 ending_ns; /* since when it is to end in order; 0: it is not */
};

/* The message that is being handled: it holds keys for the time of one call, and is wiped each time. */
static struct kms_link_message inbox;

/* Ends it with the signal and waits for it. Its status, as of waitpid(); 0 when there was none. */
static int reap(struct keyworker *worker, int signal, int tries)
{
	int status = 0;

	if (!worker->pid)
		return 0;
	kill(worker->pid, signal);
	/* It ends at once when the link closes; one that hangs does not hold us up. */
	for (int i = 0; i < tries; i++) {
		struct timespec pause = { .tv_nsec = REAP_PAUSE_MS * CLOCK_NS_PER_MS };

		if (waitpid(worker->pid, &status, WNOHANG) == worker->pid) {
			worker->pid = 0;
			return status;
		}
		nanosleep(&pause, NULL);
	}
	kill(worker->pid, SIGKILL);
	waitpid(worker->pid, &status, 0);
	worker->pid = 0;
	return status;
}

static void close_link(struct keyworker *worker)
{
	if (worker->readable)
		event_free(worker->readable);
	worker->readable = NULL;
	if (worker->link >= 0)
		close(worker->link);
	worker->link = -1;
}

/* When the process is gone: its last words. */
static void close_log(struct keyworker *worker)
{
	keylog_close(worker->log);
	worker->log = NULL;
}

/* Counts a death. Returns how long to wait before the next start. */
static unsigned int back_off(struct keyworker *worker)
{
	unsigned int wait;

	if (clock_now_ns() - worker->started_ns > RESTART_HEALTHY_NS)
		worker->deaths = 0;
	wait = RESTART_FIRST_MS << (worker->deaths < RESTART_DOUBLINGS ? worker->deaths : RESTART_DOUBLINGS);
	worker->deaths++;
	return wait < RESTART_MAX_MS ? wait : RESTART_MAX_MS;
}

/* why NULL: it has ended by itself, or keyworker_end() saw to it. Otherwise it is killed. */
static void fail(struct keyworker *worker, const char *why)
{
	struct keyworker_death death = { .index = worker->config.index };
	struct timeval tv;
	char text[512];
	int status;

	close_link(worker);
	/* One that has just closed its end is on its way out: it has a moment to say how it died. */
	status = reap(worker, why ? SIGKILL : 0, REAP_TRIES_DEAD);
	if (!why)
		why = worker->ended;
	close_log(worker);
	if (why)
		snprintf(text, sizeof(text), "%s", why);
	else if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "it ended with status %d", WEXITSTATUS(status));
	death.why = text;
	death.again_ms = back_off(worker);
	death.times = worker->deaths;
	tv.tv_sec = death.again_ms / 1000;
	tv.tv_usec = death.again_ms % 1000 * 1000;
	event_add(worker->restart, &tv);
	worker->calls.died(worker->context, worker, &death);
}

static void link_readable(evutil_socket_t fd, short what, void *context)
{
	struct keyworker *worker = context;
	__u64 end = clock_now_ns() + TURN_NS;
	bool right = true;

	/* Then whatever else waits has its turn: one that says no end of things holds up no heartbeat. */
	for (int i = 0; right; i++) {
		int got = i < MESSAGES_AT_ONCE && (!i || clock_now_ns() < end) ? kms_link_receive(worker->link, &inbox) : -EAGAIN;

		if (got == -EAGAIN || got == -EINTR)
			return;
		if (got <= 0) {
			fail(worker, got ? "it sent something that is not well-formed" : NULL);
			return;
		}
		right = worker->calls.message(worker->context, worker, &inbox);
		kms_link_message_clear(&inbox);
	}
	fail(worker, "it sent a message of the wrong kind");
}

static void exec_program(const struct keyworker *worker, int link, int words)
{
	char *const args[] = { (char *)"holdfast-kms", (char *)"--user", (char *)worker->config.user,
			       worker->config.verbose ? (char *)"-v" : NULL, NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Our log is ours to write to: what it has to say goes through keylog.c, in the form that is read there. */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(words, STDERR_FILENO) < 0)
		_exit(127);
	unsetenv("JOURNAL_STREAM");
	/* Nothing but stdin, stdout, stderr and the link goes along, whatever holdfastd itself was started with. */
	if (link == KMS_LINK_FD)
		fcntl(link, F_SETFD, 0);
	else if (dup2(link, KMS_LINK_FD) < 0)
		_exit(127);
	if (close_range(KMS_LINK_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC))
		_exit(127);
	execveat(worker->config.program, "", args, environ, AT_EMPTY_PATH);
	_exit(127);
}

static int start(struct keyworker *worker, char *error, size_t size)
{
	static const int room = LINK_BUFFER_BYTES;
	int pair[2], words, err;

	worker->started_ns = clock_now_ns();
	worker->ended = NULL;
	err = keylog_open(worker->config.base, worker->config.index, &worker->log, &words);
	if (err) {
		snprintf(error, size, "a pipe: %s", strerror(-err));
		return err;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		err = -errno;
		close(words);
		snprintf(error, size, "socketpair: %s", strerror(-err));
		return err;
	}
	worker->link = pair[0];
	/* Many sessions are told at once when it starts; without the privilege for it, fewer. */
	setsockopt(worker->link, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	worker->pid = fork();
	if (worker->pid == 0)
		exec_program(worker, pair[1], words);
	err = worker->pid < 0 ? -errno : 0;
	close(pair[1]);
	close(words);
	if (err) {
		worker->pid = 0;
		snprintf(error, size, "fork: %s", strerror(-err));
		return err;
	}
	worker->readable = event_new(worker->config.base, worker->link, EV_READ | EV_PERSIST, link_readable, worker);
	if (!worker->readable || event_add(worker->readable, NULL)) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	return worker->calls.started(worker->context, worker, error, size);
}

static void restart_due(evutil_socket_t fd, short what, void *context)
{
	struct keyworker *worker = context;
	char error[512] = "";

	if (!start(worker, error, sizeof(error)))
		return;
	fail(worker, error);
}

int keyworker_new(const struct keyworker_config *config, const struct keyworker_calls *calls, void *context, char *error,
		  size_t size, struct keyworker **ret_worker)
{
	struct keyworker *worker = calloc(1, sizeof(*worker));
	int err = -ENOMEM;

	snprintf(error, size, "out of memory");
	if (!worker)
		return err;
	secret_lock(&inbox, sizeof(inbox));
	worker->config = *config;
	worker->calls = *calls;
	worker->context = context;
	worker->link = -1;
	worker->restart = evtimer_new(config->base, restart_due, worker);
	if (worker->restart)
		err = start(worker, error, size);
	if (err)
		keyworker_free(worker);
	else
		*ret_worker = worker;
	return err;
}

void keyworker_close(struct keyworker *worker)
{
	if (!worker || worker->ending_ns)
		return;
	close_link(worker);
	worker->ending_ns = clock_now_ns();
	if (worker->pid)
		kill(worker->pid, SIGTERM);
}

/* What is left of its time. */
static int tries_left(const struct keyworker *worker)
{
	__u64 gone = (clock_now_ns() - worker->ending_ns) / (REAP_PAUSE_MS * CLOCK_NS_PER_MS);

	return gone < REAP_TRIES ? REAP_TRIES - (int)gone : 1;
}

void keyworker_free(struct keyworker *worker)
{
	if (!worker)
		return;
	keyworker_close(worker);
	reap(worker, 0, tries_left(worker));
	close_log(worker);
	if (worker->restart)
		event_free(worker->restart);
	free(worker);
}

size_t keyworker_index(const struct keyworker *worker)
{
	return worker->config.index;
}

bool keyworker_is_up(const struct keyworker *worker)
{
	return worker && worker->link >= 0;
}

pid_t keyworker_pid(const struct keyworker *worker)
{
	return worker->pid;
}

void keyworker_end(struct keyworker *worker, const char *why)
{
	if (!keyworker_is_up(worker) || !worker->pid || worker->ended)
		return;
	worker->ended = why;
	kill(worker->pid, SIGKILL);
}

int keyworker_send(struct keyworker *worker, __u32 type, const void *body, size_t len, const int *fds, size_t n_fds)
{
	return keyworker_is_up(worker) ? kms_link_send(worker->link, type, body, len, fds, n_fds) : -ENOTCONN;
}
