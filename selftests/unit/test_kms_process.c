/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast-kms as a process: started by hand, with files that are wrong, without any, and what is left to it. */
#include "selftests/unit/kms_scene.h"

#include <sys/resource.h>

#include "lib/privilege.h"

static void says_which_file_is_wrong(void **state)
{
	struct node *node = scene_start_node("client");
	struct kms_ready ready;
	char path[512], other[512];
	int fds[3];

	snprintf(path, sizeof(path), "%s/client.pem", scene_pki);
	snprintf(other, sizeof(other), "%s/gateway1.key", scene_pki);
	fds[0] = open(path, O_RDONLY | O_CLOEXEC);
	fds[1] = open(other, O_RDONLY | O_CLOEXEC);
	fds[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	node_send(node, KMS_IDENTITY, &scene_settings, sizeof(scene_settings), fds, 3);
	ready = *(const struct kms_ready *)node_expect(node, KMS_READY);
	assert_int_equal(ready.result, -EINVAL);
	assert_string_equal(ready.text, "private key: does not belong to the certificate");
	node_send(node, KMS_IDENTITY, &scene_settings, sizeof(scene_settings), (int[]){ fds[2], fds[1], fds[0] }, 3);
	ready = *(const struct kms_ready *)node_expect(node, KMS_READY);
	assert_string_equal(ready.text, "certificate: no certificate in PEM form");
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	node_stop(node);
}

static void rejects_without_an_identity(void **state)
{
	struct node *client = node_start_as(NULL);

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_REJECTED, ENOKEY, "no certificate");
	node_stop(client);
}

/* Runs it without the link. Returns its exit status; what it wrote is in text. */
static int run_by_hand(const char *argument, char *text, size_t size)
{
	char command[512];
	FILE *pipe;
	int status;

	snprintf(command, sizeof(command), "%s %s 2>&1 3<&-", node_program(), argument);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	text[fread(text, 1, size - 1, pipe)] = 0;
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void is_not_started_by_hand(void **state)
{
	char text[2048];

	assert_int_equal(run_by_hand("", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "started without the link to holdfastd"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
	assert_int_equal(run_by_hand("--version", text, sizeof(text)), 0);
	assert_string_equal(text, "holdfast-kms " HF_VERSION "\n");
	assert_int_equal(run_by_hand("--help", text, sizeof(text)), 0);
	assert_int_equal(run_by_hand("--nonsense", text, sizeof(text)), 2);
}

static void ends_at_a_malformed_record(void **state)
{
	struct node *node = scene_start_node("client");
	int status;

	assert_int_equal(send(node->link, "nonsense", 8, 0), 8);
	assert_int_equal(waitpid(node->pid, &status, 0), node->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	close(node->link);
	free(node);
}

/* A line of /proc/PID/status: what stands behind its name. */
static void read_status(pid_t pid, const char *name, char *ret_value, size_t size)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	ret_value[0] = 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			snprintf(ret_value, size, "%s", line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " \t"));
	fclose(file);
	ret_value[strcspn(ret_value, "\n")] = 0;
}

/* Seen from outside, once it is ready: what it is, and what is left to it. */
static void gives_up_its_privileges(void **state)
{
	static const struct {
		const char *name;
		const char *value;
		bool sealed; /* not in a program with a sanitizer */
	} lines[] = {
		{ "Groups", "", false },
		{ "CapInh", "0000000000000000", false },
		{ "CapPrm", "0000000000000000", false },
		{ "CapEff", "0000000000000000", false },
		{ "CapBnd", "0000000000000000", false },
		{ "CapAmb", "0000000000000000", false },
		{ "NoNewPrivs", "1", false },
		{ "Seccomp", "2", true },
	};
	struct node *client;
	struct kms_ready ready;
	unsigned int ids[4] = { 0 };
	char value[256];

	if (geteuid() != 0)
		skip();
	client = node_start_as("nobody");
	ready = node_identify(client, scene_pki, "client", scene_pki, &scene_settings);
	assert_int_equal(ready.result, 0);
	for (size_t i = 0; i < 2; i++) {
		read_status(client->pid, i ? "Gid" : "Uid", value, sizeof(value));
		assert_int_equal(sscanf(value, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]), 4);
		for (size_t j = 0; j < 4; j++)
			assert_int_not_equal(ids[j], 0);
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (lines[i].sealed && PRIVILEGE_SANITIZER)
			continue;
		read_status(client->pid, lines[i].name, value, sizeof(value));
		value[strcspn(value, " ")] = 0;
		if (strcmp(value, lines[i].value))
			fail_msg("%s: %s instead of %s", lines[i].name, value, lines[i].value);
	}
	node_stop(client);
}

/* Starts one with this limit of locked memory; what it says until it is ready goes to text. NULL: we may not lift the limit. */
static struct node *start_with_memlock(rlim_t limit, char *text, size_t size)
{
	struct rlimit before, with = { .rlim_cur = limit };
	struct node *node;
	FILE *file;
	int err;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
	with.rlim_max = limit == RLIM_INFINITY ? limit : before.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &with))
		return NULL;
	file = tmpfile();
	err = dup(STDERR_FILENO);
	assert_true(file && err >= 0);
	dup2(fileno(file), STDERR_FILENO);
	node = scene_start_node("client");
	dup2(err, STDERR_FILENO);
	close(err);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &before), 0);
	rewind(file);
	text[fread(text, 1, size - 1, file)] = 0;
	fclose(file);
	return node;
}

static unsigned long status_kb(pid_t pid, const char *name)
{
	char value[256];

	read_status(pid, name, value, sizeof(value));
	return strtoul(value, NULL, 10);
}

/* All of it, not only what is made for keys. */
static void locks_its_memory(void **state)
{
	struct node *node;
	char text[2048];

	if (PRIVILEGE_SANITIZER)
		skip();
	node = start_with_memlock(RLIM_INFINITY, text, sizeof(text));
	if (!node)
		skip();
	assert_null(strstr(text, "swapped"));
	assert_true(status_kb(node->pid, "VmLck") > status_kb(node->pid, "VmSize") * 9 / 10);
	node_stop(node);
}

static void says_that_its_memory_is_not_locked(void **state)
{
	struct node *node;
	char text[2048];

	if (PRIVILEGE_SANITIZER)
		skip();
	node = start_with_memlock(4 << 20, text, sizeof(text));
	assert_non_null(node);
	assert_non_null(strstr(text, "keys may be swapped out"));
	assert_in_range(status_kb(node->pid, "VmLck"), 1024, 4096); /* the secure heap is */
	node_stop(node);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(says_which_file_is_wrong),
		ON_ITS_PORT(rejects_without_an_identity),
		ON_ITS_PORT(is_not_started_by_hand),
		ON_ITS_PORT(ends_at_a_malformed_record),
		ON_ITS_PORT(gives_up_its_privileges),
		ON_ITS_PORT(locks_its_memory), ON_ITS_PORT(says_that_its_memory_is_not_locked),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_process", tests, scene_make_pki, scene_remove_pki);
}
