/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd: options, the locks, the event loop, signals,
 * readiness. What the daemon does is in daemon*.c.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"
#include "loader/confine.h"
#include "loader/control.h"
#include "loader/daemon.h"
#include "loader/keeper.h"
#include "loader/logfile.h"
#include "loader/node.h"
#include "policy/file.h"

#define DEFAULT_POLICY "/etc/holdfast/policy.conf"

static const char usage[] =
	"Usage: holdfastd [-p POLICY] [-i INSTANCE] [-k] [-n] [-v]\n"
	"       holdfastd [-i INSTANCE] --down\n"
	"\n"
	"The Holdfast daemon: stays in the foreground and logs to stderr.\n"
	"\n"
	"  -p POLICY    policy file (default: " DEFAULT_POLICY ")\n"
	"  -i INSTANCE  name of the instance (default: default); one runs per network namespace\n"
	"  -k           a start that fails keeps closed what the policy tunnels: it is tried again\n"
	"  -n           check the policy and exit: 0, or 1 with its errors\n"
	"  -v           log more\n"
	"  --down       take down what a run of the instance that was killed has left, and exit\n"
	"  -h, --help   this text\n"
	"  --version    the version\n"
	"\n"
	"SIGHUP reads the policy again, as `holdfast reload` does. SIGTERM takes the tunnels down in\n"
	"order and leaves nothing behind; after SIGKILL the datapath goes on. `holdfast` is the command to talk to it; see holdfastd(8).\n";

struct program {
	struct event_base *base;
	struct daemon *daemon;
	struct control *control;
	struct daemon_config config;
	char control_path[128];
	bool retired;
	int status;
};

static void stop_loop(evutil_socket_t signal, short what, void *context)
{
	event_base_loopbreak(((struct program *)context)->base);
}

/* The first wish to stop gives clients a moment to move; a second one does not wait. */
static void retire(evutil_socket_t signal, short what, void *context)
{
	static const struct timeval moment = { .tv_usec = 500000 };
	static const struct timeval at_once = { .tv_usec = 10000 }; /* the answer to `down` goes out first */
	struct program *program = context;
	bool wait;

	if (program->retired) {
		event_base_loopbreak(program->base);
		return;
	}
	program->retired = true;
	wait = program->daemon && daemon_retire(program->daemon);
	event_base_once(program->base, -1, EV_TIMEOUT, stop_loop, program, wait ? &moment : &at_once);
}

static void reload(evutil_socket_t signal, short what, void *context)
{
	struct program *program = context;

	if (program->daemon && !program->retired)
		daemon_reload(program->daemon);
}

static void on_answer(void *context, __u64 visitor, json_t *reply)
{
	control_answer(((struct program *)context)->control, visitor, reply);
}

static json_t *on_command(void *context, const json_t *request, __u64 visitor)
{
	struct program *program = context;
	const char *command = json_string_value(json_object_get(request, "command"));

	if (!command || strcmp(command, "down"))
		return daemon_command(program->daemon, request, visitor);
	daemon_open_the_way(program->daemon);
	retire(-1, 0, program);
	return json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid());
}

static void on_event(void *context, const json_t *event)
{
	control_publish(((struct program *)context)->control, event);
}

static void on_started(void *context)
{
	sd_notify(0, "READY=1");
}

static void on_failed(void *context, const char *why)
{
	struct program *program = context;

	log_error("%s", why);
	sd_notifyf(0, "STATUS=%s", why);
	program->status = EXIT_FAILURE;
	event_base_loopbreak(program->base);
}

static void bound_log(evutil_socket_t fd, short what, void *context)
{
	struct program *program = context;
	char path[160];
	int err;

	snprintf(path, sizeof(path), "%s/log", program->config.run_dir);
	err = logfile_bound(STDERR_FILENO, path);
	if (err)
		log_warning("%s.old: %s: what was logged before is lost", path, strerror(-err));
}

static int check_policy(const char *path)
{
	struct policy_report report = { 0 };
	struct policy *policy = NULL;
	char error[512] = "";
	int err = policyfile_load(path, &policy, &report, error, sizeof(error));

	policyfile_print_report(path, &report, stderr);
	if (err && !report.errors)
		fprintf(stderr, "holdfastd: %s\n", error);
	policy_report_clear(&report);
	policy_free(policy);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * One daemon an instance, and one a network namespace: two would each take what the other has in the kernel for that of a
 * run before. The locks are held for as long as the process lives.
 */
struct locks {
	char instance_path[160];
	char space_path[96];
	int instance;
	int space;
};

static bool is_file(int fd, const char *path)
{
	struct stat open, there;

	return !fstat(fd, &open) && !stat(path, &there) && open.st_ino == there.st_ino && open.st_dev == there.st_dev;
}

/* The descriptor, or -errno; -EWOULDBLOCK: somebody else has it. */
static int lock_file(const char *run_dir, const char *path)
{
	for (;;) {
		int fd, err;

		if ((mkdir(CONTROL_RUN_ROOT, 0755) && errno != EEXIST) || (mkdir(run_dir, 0755) && errno != EEXIST))
			return -errno;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno != ENOENT)
			return -errno;
		/* Who had it may have ended in between: the file is gone then, or another one. */
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
			err = -errno;
			close(fd);
			return err;
		}
		if (fd >= 0 && is_file(fd, path))
			return fd;
		if (fd >= 0)
			close(fd);
	}
}

/* A log that `holdfast up` made stays; all else there only a running instance needs. */
static void unlock(const struct locks *locks, const char *run_dir)
{
	if (locks->space >= 0) {
		unlink(locks->space_path);
		close(locks->space);
	}
	if (locks->instance >= 0) {
		unlink(locks->instance_path);
		close(locks->instance);
	}
	rmdir(run_dir);
	rmdir(CONTROL_RUN_ROOT);
}

static int lock(const char *run_dir, struct locks *ret_locks)
{
	struct locks locks = { .instance = -1, .space = -1 };
	struct stat space;

	if (stat("/proc/self/ns/net", &space)) {
		log_error("/proc/self/ns/net: %s", strerror(errno));
		return -1;
	}
	snprintf(locks.instance_path, sizeof(locks.instance_path), "%s/lock", run_dir);
	snprintf(locks.space_path, sizeof(locks.space_path), CONTROL_RUN_ROOT "/netns-%llu", (unsigned long long)space.st_ino);
	locks.instance = lock_file(run_dir, locks.instance_path);
	if (locks.instance < 0) {
		if (locks.instance == -EWOULDBLOCK)
			log_error("this instance runs already (%s is locked); see `holdfast status`", locks.instance_path);
		else
			log_error("%s: %s", locks.instance_path, strerror(-locks.instance));
		return -1;
	}
	locks.space = lock_file(run_dir, locks.space_path);
	if (locks.space < 0) {
		if (locks.space == -EWOULDBLOCK)
			log_error("an instance of Holdfast runs in this network namespace already (%s is locked): the kernel allows "
				  "one; nothing was changed", locks.space_path);
		else
			log_error("%s: %s", locks.space_path, strerror(-locks.space));
		unlock(&locks, run_dir);
		return -1;
	}
	*ret_locks = locks;
	return 0;
}

/* For `holdfast down` where no daemon runs: a start, to be ended in order, may be what cannot be had. */
static int take_down(const struct program *program)
{
	const char *instance = program->config.instance;
	struct node_config config = { .instance = instance, .run_dir = program->config.run_dir };
	static struct node node;
	int err = node_clear(&node, &config);

	if (err) {
		log_error("%s", node.error);
		return EXIT_FAILURE;
	}
	unlink(program->control_path); /* of the one that was killed */
	printf(CONTROL_DOWN_TEXT, instance);
	return EXIT_SUCCESS;
}

static int run(struct program *program)
{
	static const struct {
		int signal;
		event_callback_fn wish;
	} signals[] = { { SIGTERM, retire }, { SIGINT, retire }, { SIGHUP, reload } };
	enum { N_SIGNALS = sizeof(signals) / sizeof(*signals) };
	static const struct timeval look_each = { .tv_sec = LOGFILE_LOOK_EACH_S };
	struct event *events[N_SIGNALS], *look;
	char error[DAEMON_ERROR_MAX] = "";
	int err = 0;

	for (size_t i = 0; i < N_SIGNALS; i++) {
		events[i] = evsignal_new(program->base, signals[i].signal, signals[i].wish, program);
		if (!events[i] || event_add(events[i], NULL))
			err = -ENOMEM;
	}
	look = event_new(program->base, -1, EV_PERSIST, bound_log, program);
	if (!look || event_add(look, &look_each))
		err = -ENOMEM;
	if (err) {
		log_error("event loop: %s; nothing was changed", strerror(-err));
		program->status = EXIT_FAILURE;
		goto out;
	}
	program->config.context = program;
	err = daemon_start(program->base, &program->config, error, &program->daemon);
	if (err) {
		log_error("%s", error);
		sd_notifyf(0, "STATUS=%s", error);
		program->status = EXIT_FAILURE;
		goto out;
	}
	err = confine_run();
	if (!err)
		err = control_open(program->base, program->control_path, on_command, program, &program->control);
	if (err) {
		log_error("control socket %s: %s", program->control_path, strerror(-err));
		daemon_leave(program->daemon);
		program->status = EXIT_FAILURE;
		goto out;
	}
	daemon_listen(program->daemon, on_event, program);
	event_base_dispatch(program->base);
	sd_notify(0, "STOPPING=1");
out:
	daemon_stop(program->daemon);
	control_close(program->control);
	for (size_t i = 0; i < N_SIGNALS; i++)
		if (events[i])
			event_free(events[i]);
	if (look)
		event_free(look);
	return program->status;
}

/* The key management service lies beside this program: in the build folder and once installed. */
static void find_key_service(char *path, size_t size)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len > 0 ? len : 0] = '\0';
	snprintf(path, size, "%s/holdfast-kms", dirname(self));
}

static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	/* Heartbeat times are milliseconds: a coarse clock would miss them. */
	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { "down", no_argument, NULL, 'd' },
						 { NULL, 0, NULL, 0 } };
	struct program program = { .config = { .instance = "default", .policy_path = DEFAULT_POLICY,
					       .started = on_started, .failed = on_failed,
					       .answer = on_answer } };
	char key_service[4200], run_dir[96];
	bool only_check = false, only_down = false;
	struct locks locks;
	int option, status, err;

	if (argc && !strcmp(argv[0], KEEPER_NAME))
		return keeper_main();
	while ((option = getopt_long(argc, argv, "p:i:knvh", options, NULL)) != -1) {
		switch (option) {
		case 'p': program.config.policy_path = optarg; break;
		case 'i': program.config.instance = optarg; break;
		case 'k': program.config.keep_closed = true; break;
		case 'n': only_check = true; break;
		case 'v': program.config.verbose = true; break;
		case 'd': only_down = true; break;
		case 'h': fputs(usage, stdout); return EXIT_SUCCESS;
		case 'V': puts("holdfastd " HF_VERSION); return EXIT_SUCCESS;
		default: fputs("Try `holdfastd --help`.\n", stderr); return EXIT_FAILURE;
		}
	}
	log_init("holdfastd", program.config.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (optind < argc || !text_is_instance(program.config.instance)) {
		log_error(optind < argc ? "too many arguments" : "an instance's name has up to 31 letters, digits, . _ -");
		return EXIT_FAILURE;
	}
	if (only_check)
		return check_policy(program.config.policy_path);
	if (geteuid()) {
		log_error("needs root (CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW): start it with sudo; nothing was changed");
		return EXIT_FAILURE;
	}
	err = confine_start();
	if (err) {
		log_error("cannot give up privileges: %s; nothing was changed", strerror(-err));
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	find_key_service(key_service, sizeof(key_service));
	snprintf(run_dir, sizeof(run_dir), CONTROL_RUN_ROOT "/%s", program.config.instance);
	snprintf(program.control_path, sizeof(program.control_path), "%s/control.sock", run_dir);
	program.config.key_service = key_service;
	program.config.run_dir = run_dir;
	if (lock(run_dir, &locks))
		return EXIT_FAILURE;
	if (only_down) {
		status = take_down(&program);
		unlock(&locks, run_dir);
		return status;
	}
	program.base = make_base();
	if (!program.base) {
		log_error("event loop: %s", strerror(errno));
		unlock(&locks, run_dir);
		return EXIT_FAILURE;
	}
	status = run(&program);
	event_base_free(program.base);
	libevent_global_shutdown();
	unlock(&locks, run_dir);
	return status;
}
