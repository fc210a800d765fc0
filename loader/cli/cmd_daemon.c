/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* up and down: starting the daemon in the background, and ending it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "loader/cli/cli.h"
#include "loader/control.h"

#define UP_WITHIN_S 60
#define DOWN_WITHIN_S 30

struct start {
	char program[4200];
	char log[256];
	char notify_name[64]; /* abstract socket, as systemd's NOTIFY_SOCKET */
	int notify;
	off_t log_before;
};

static int open_notify(struct start *start)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len;

	snprintf(start->notify_name, sizeof(start->notify_name), "@holdfast-up-%d", (int)getpid());
	strcpy(sun.sun_path, start->notify_name);
	sun.sun_path[0] = '\0';
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(start->notify_name));
	start->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (start->notify < 0 || bind(start->notify, (struct sockaddr *)&sun, len))
		return -errno;
	return 0;
}

static int open_log(const struct cli *cli, struct start *start)
{
	int fd;

	snprintf(start->log, sizeof(start->log), CONTROL_RUN_ROOT "/%s", cli->instance);
	if ((mkdir(CONTROL_RUN_ROOT, 0755) && errno != EEXIST) || (mkdir(start->log, 0755) && errno != EEXIST))
		return -errno;
	strcat(start->log, "/log");
	fd = open(start->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	start->log_before = lseek(fd, 0, SEEK_END);
	return fd;
}

/* What the daemon logged since it was started: it says why. */
static void show_log(const struct start *start)
{
	FILE *log = fopen(start->log, "r");
	char line[512];

	if (!log)
		return;
	fseek(log, start->log_before, SEEK_SET);
	while (fgets(line, sizeof(line), log))
		fputs(line, stderr);
	fclose(log);
}

/* A start that failed leaves nothing, and it has said what the log holds. */
static void forget_log(const struct cli *cli, const struct start *start)
{
	char folder[128];

	snprintf(folder, sizeof(folder), CONTROL_RUN_ROOT "/%s", cli->instance);
	unlink(start->log);
	rmdir(folder);
	rmdir(CONTROL_RUN_ROOT);
}

static pid_t start_daemon(const struct cli *cli, struct start *start, char **options, int log)
{
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	setsid();
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	dup2(log, STDERR_FILENO);
	if (chdir("/")) {
		/* it stays where it is */
	}
	setenv("NOTIFY_SOCKET", start->notify_name, 1);
	execv(start->program, options);
	fprintf(stderr, "%s: %s\n", start->program, strerror(errno));
	_exit(127);
}

/* 0: ready; -ECHILD: it ended; -ETIMEDOUT. */
static int wait_ready(const struct start *start, pid_t pid)
{
	__u64 end = clock_now_ns() + UP_WITHIN_S * CLOCK_NS_PER_S;
	char text[1024];

	while (clock_now_ns() < end) {
		struct pollfd fd = { .fd = start->notify, .events = POLLIN };
		ssize_t len;

		if (poll(&fd, 1, 50) > 0) {
			len = recv(start->notify, text, sizeof(text) - 1, MSG_DONTWAIT);
			text[len > 0 ? len : 0] = '\0';
			if (strstr(text, "READY=1"))
				return 0;
		}
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return -ECHILD;
	}
	kill(pid, SIGTERM);
	return -ETIMEDOUT;
}

static void find_daemon(char *path, size_t size)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len > 0 ? len : 0] = '\0';
	snprintf(path, size, "%s/holdfastd", dirname(self));
}

int cmd_up(const struct cli *cli, int argc, char **argv)
{
	struct start start = { .notify = -1 };
	char policy[4096] = CLI_DEFAULT_POLICY;
	char *options[8] = { (char *)"holdfastd", (char *)"-i", (char *)cli->instance, (char *)"-p", policy, NULL };
	int option, log, err;
	pid_t pid;

	while ((option = getopt(argc, argv, "p:v")) != -1) {
		if (option == 'v')
			options[5] = (char *)"-v";
		else if (option != 'p' || !realpath(optarg, policy))
			return option == 'p' ? cli_error(cli, "%s: %s", optarg, strerror(errno)) : cli_usage(cli);
	}
	if (optind != argc)
		return cli_usage(cli);
	if (geteuid())
		return cli_error(cli, "needs root: use sudo; nothing was changed");
	err = cli_connect(cli->instance);
	if (err >= 0) {
		close(err);
		return cli_error(cli, "instance %s runs already", cli->instance);
	}
	log = open_log(cli, &start);
	if (log < 0)
		return cli_error(cli, "%s: %s", start.log, strerror(-log));
	err = open_notify(&start);
	if (err)
		return cli_error(cli, "%s", strerror(-err));
	find_daemon(start.program, sizeof(start.program));
	pid = start_daemon(cli, &start, options, log);
	if (pid < 0)
		return cli_error(cli, "%s", strerror(errno));
	err = wait_ready(&start, pid);
	if (!err) {
		printf("instance %s is up (pid %d); its log is %s\n", cli->instance, (int)pid, start.log);
		return EXIT_SUCCESS;
	}
	show_log(&start);
	if (!start.log_before)
		forget_log(cli, &start);
	return err == -ECHILD ? EXIT_FAILURE : cli_error(cli, "not ready after %d s", UP_WITHIN_S);
}

/*
 * The lock's file, by which a start is told from another: 0 when there is none. It is removed last of all when everything
 * is taken down in order, and stays with what a daemon leaves that was killed.
 */
static ino_t lock_of(const struct cli *cli)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), CONTROL_RUN_ROOT "/%s/lock", cli->instance);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* No daemon: what one that was killed has left is taken down by another, which starts nothing. */
static int down_alone(const struct cli *cli)
{
	char program[4200];

	find_daemon(program, sizeof(program));
	execl(program, "holdfastd", "-i", cli->instance, "--down", NULL);
	return cli_error(cli, "%s: %s", program, strerror(errno));
}

int cmd_down(const struct cli *cli, int argc, char **argv)
{
	ino_t lock = lock_of(cli);
	json_t *reply;
	pid_t pid;
	__u64 end;
	int fd;

	if (argc != 1)
		return cli_usage(cli);
	fd = cli_connect(cli->instance);
	if ((fd == -ENOENT || fd == -ECONNREFUSED) && !geteuid())
		return down_alone(cli);
	if (fd >= 0)
		close(fd);
	reply = cli_request(cli, json_pack("{s:s}", "command", "down"));
	if (!reply)
		return EXIT_FAILURE;
	pid = (pid_t)json_integer_value(json_object_get(reply, "pid"));
	json_decref(reply);
	for (end = clock_now_ns() + DOWN_WITHIN_S * CLOCK_NS_PER_S; clock_now_ns() < end;) {
		struct timespec pause = { .tv_nsec = 20000000 };
		bool dead = kill(pid, 0); /* first: it may end between the two */

		if (!lock || lock_of(cli) != lock) {
			printf(CONTROL_DOWN_TEXT, cli->instance);
			return EXIT_SUCCESS;
		}
		if (dead)
			return cli_error(cli, "instance %s (pid %d) died before all was taken down: what is left of it stays "
					 "closed; take it down once more", cli->instance, (int)pid);
		nanosleep(&pause, NULL);
	}
	return cli_error(cli, "instance %s (pid %d) is still there after %d s", cli->instance, (int)pid, DOWN_WITHIN_S);
}
