/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What strangers cost the key service who come in numbers, too often, and say nothing, too much or nonsense. */
#include "selftests/unit/kms_scene.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* How many of these connections their other end has not closed. */
static size_t count_open(const int *fds, size_t n)
{
	size_t open_ones = 0;
	char byte;

	for (size_t i = 0; i < n; i++)
		open_ones += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	return open_ones;
}

/* A connection to the gateway of this address. It waits, so that it is in the queue before the next step. */
static int connect_from(const char *source)
{
	struct hf_addr addr = node_addr(GATEWAY_1);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, scene_port, &sa);
	int fd = node_socket(source, 0, false);

	fcntl(fd, F_SETFL, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void flood(const char *source_format, size_t sources, size_t per_source, int *fds)
{
	for (size_t i = 0; i < sources * per_source; i++) {
		char source[32];

		snprintf(source, sizeof(source), "%s%u", source_format, (unsigned int)(i / per_source + 1));
		fds[i] = connect_from(source);
	}
}

static void bears_a_flood(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_session c, g;
	int fds[320];

	flood("127.0.2.", 40, 8, fds);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	while (node_receive(gateway) == KMS_REFUSED)
		assert_non_null(strstr(((const struct kms_failure *)gateway->message.body)->text, "without authentication"));
	assert_int_equal(gateway->message.type, KMS_INSTALL);
	g = *(const struct kms_session *)gateway->message.body;
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	scene_assert_match(&c, &g);
	assert_true(count_open(fds, 320) <= 256);
	assert_true(count_open(fds, 320) >= 250);
	for (size_t i = 0; i < 320; i++)
		close(fds[i]);
	node_stop(client);
	node_stop(gateway);
}

static void bears_a_flood_of_one_address(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	int fds[30];

	flood("127.0.0.", 1, 30, fds); /* the client's own address */
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	while (node_receive(gateway) == KMS_REFUSED)
		assert_non_null(strstr(((const struct kms_failure *)gateway->message.body)->text, "of this address"));
	assert_int_equal(gateway->message.type, KMS_INSTALL);
	assert_true(count_open(fds, 30) <= 8);
	for (size_t i = 0; i < 30; i++)
		close(fds[i]);
	node_stop(client);
	node_stop(gateway);
}

static void ends_idle_connections(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct kms_identity hasty = scene_settings;
	int fd;

	hasty.exchange_ms = 100;
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &hasty).result, 0);
	flood("127.0.2.", 1, 1, &fd);
	node_expect_failure(gateway, KMS_REFUSED, ETIMEDOUT, "no TLS handshake within 100 ms");
	assert_int_equal(write(fd, "x", 1), 1);
	node_stop(gateway);
	close(fd);
}

/* So many of this format's addresses, from 1 on. */
static void know_many(struct node *gateway, const char *source_format, unsigned int n)
{
	struct kms_knowns knowns = { .n = 0 };
	char source[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(source, sizeof(source), "%s%u", source_format, i + 1);
		knowns.known[knowns.n++].remote = node_addr(source);
		if (knowns.n < KMS_MAX_KNOWN && i + 1 < n)
			continue;
		node_send(gateway, KMS_KNOWN, &knowns, sizeof(knowns), NULL, 0);
		knowns.n = 0;
	}
}

static void know(struct node *gateway, const char *address)
{
	struct kms_knowns knowns = { .n = 1 };

	knowns.known[0].remote = node_addr(address);
	node_send(gateway, KMS_KNOWN, &knowns, sizeof(knowns), NULL, 0);
}

/* Reads from an end in being what strangers had to be told, until something else comes. */
static __u32 past_refusals(struct node *gateway)
{
	__u32 type = KMS_REFUSED;

	for (int n = 0; type == KMS_REFUSED && n < 100; n++)
		type = node_receive(gateway);
	return type;
}

/* A process that floods until it is killed: connections of 127.0.100.0 and on, 8 a source, closed again. */
static pid_t flood_on(void)
{
	pid_t pid = fork();
	char sources[16];
	int fds[320];

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (unsigned int n = 0;; n++) {
		snprintf(sources, sizeof(sources), "127.0.%u.", 100 + n % 100);
		flood(sources, 40, 8, fds);
		for (size_t i = 0; i < 320; i++)
			close(fds[i]);
	}
}

/* Whether somebody who comes now is turned away; each time somebody else, who does not come too often himself. */
static bool turned_away(size_t n)
{
	struct pollfd pollfd = { .events = POLLIN };
	char source[16];

	snprintf(source, sizeof(source), "127.0.%u.", 200 + (unsigned int)(n % 50));
	flood(source, 1, 1, &pollfd.fd);
	poll(&pollfd, 1, 5);
	close(pollfd.fd);
	return pollfd.revents;
}

/* More strangers come than may: the next one is turned away, who has a session is not. */
static void serves_first_who_has_a_session(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_session c, g;
	pid_t flooding;
	size_t n = 0;

	know(gateway, CLIENT);
	flooding = flood_on();
	for (__u64 id = 1; id <= 40; id++) {
		while (!turned_away(n))
			assert_true(++n < 3000);
		scene_ask(client, scene_request(id), GATEWAY_1, NULL, NULL);
		assert_int_equal(past_refusals(gateway), KMS_INSTALL);
		g = *(const struct kms_session *)gateway->message.body;
		node_installed(gateway, g.id, 0);
		c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
		scene_assert_match(&c, &g);
		node_installed(client, c.id, 0);
		assert_int_equal(past_refusals(gateway), KMS_ACTIVATE);
		node_send(gateway, KMS_ACTIVATED, &(struct kms_activated){ .session = g.id }, sizeof(struct kms_activated),
			  NULL, 0);
		node_expect(client, KMS_ACTIVATE);
	}
	kill(flooding, SIGKILL);
	waitpid(flooding, NULL, 0);
	node_stop(client);
	node_stop(gateway);
}

/* As many as there are too many; not by what is told of them, which is only some of it. */
static void until_pushed_out(const int *fds, size_t n)
{
	for (int i = 0; count_open(fds, n) > 256; i++) {
		assert_true(i < 500);
		poll(NULL, 0, 10);
	}
}

/* Who has a session and is slow keeps his place, though more strangers come than there are places. */
static void keeps_a_place_for_who_has_a_session(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	int known, fds[320];

	know(gateway, "127.0.3.1");
	/* An answer, and so it has heard that. */
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &scene_settings).result, 0);
	flood("127.0.3.", 1, 1, &known);
	flood("127.0.2.", 40, 8, fds);
	until_pushed_out(fds, 320);
	assert_int_equal(count_open(&known, 1), 1);
	for (size_t i = 0; i < 320; i++)
		close(fds[i]);
	close(known);
	node_stop(gateway);
}

/* More of them come at once than there are places for: the others have strangers' places, and nobody is pushed out. */
static void pushes_out_nobody_who_has_a_session(void **state)
{
	enum { MANY = 100 };
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct pollfd link = { .fd = gateway->link, .events = POLLIN };
	int known[MANY], fds[320];

	know_many(gateway, "127.0.3.", MANY);
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &scene_settings).result, 0);
	flood("127.0.3.", MANY, 1, known);
	assert_int_equal(poll(&link, 1, 300), 0); /* nobody was refused */
	assert_int_equal(count_open(known, MANY), MANY);
	/* Strangers push out those who sit on strangers' places, and no others. */
	flood("127.0.2.", 40, 8, fds);
	until_pushed_out(fds, 320);
	assert_int_equal(count_open(known, 64), 64);
	for (size_t i = 0; i < 320; i++)
		close(fds[i]);
	for (size_t i = 0; i < MANY; i++)
		close(known[i]);
	node_stop(gateway);
}

/* Out of descriptors: strangers give theirs back first. */
static void takes_descriptors_from_strangers(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	const struct rlimit none = { 0 };
	int known, stranger, others[4], next;

	know(gateway, "127.0.3.1");
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &scene_settings).result, 0);
	known = connect_from("127.0.3.1"); /* the oldest of all */
	stranger = connect_from("127.0.4.1");
	flood("127.0.2.", 4, 1, others);
	poll(NULL, 0, 200); /* all were accepted */
	if (prlimit(gateway->pid, RLIMIT_NOFILE, &none, NULL))
		skip();
	next = connect_from("127.0.5.1");
	node_expect_failure(gateway, KMS_REFUSED, EUSERS, "out of file descriptors");
	assert_int_equal(poll(&(struct pollfd){ .fd = stranger, .events = POLLIN }, 1, NODE_WAIT_MS), 1);
	assert_int_equal(count_open(&known, 1), 1);
	for (size_t i = 0; i < 4; i++)
		close(others[i]);
	close(next);
	close(stranger);
	close(known);
	node_stop(gateway);
}

/* Whom we dialled ourselves, and so have a session with, has a place as well: he may be the one who dials next. */
static void keeps_a_place_for_whom_we_dialled(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *other = scene_start_gateway("gateway2", GATEWAY_2);
	const char *dialled[] = { GATEWAY_2 };
	struct kms_request request = scene_request(1);
	struct kms_session ours, theirs;
	int again, fds[320];

	node_request(gateway, &request, GATEWAY_1, dialled, 1);
	scene_complete(gateway, other, &ours, &theirs);
	/* An answer, and so it has come to the end of that. */
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &scene_settings).result, 0);
	again = connect_from(GATEWAY_2);
	flood("127.0.2.", 40, 8, fds);
	until_pushed_out(fds, 320);
	assert_int_equal(count_open(&again, 1), 1);
	for (size_t i = 0; i < 320; i++)
		close(fds[i]);
	close(again);
	node_stop(other);
	node_stop(gateway);
}

/* A source that comes again and again: after a burst, its newest connection is closed at once. */
static void limits_the_rate_of_a_source(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct pollfd pollfd = { .events = POLLIN };
	int fds[200], other;
	size_t n = 0;

	do {
		assert_true(n < 200);
		flood("127.0.2.", 1, 1, &fds[n]);
		pollfd.fd = fds[n++];
	} while (!poll(&pollfd, 1, 2));
	assert_in_range(n, 65, 120); /* some more, in the time that it took */
	flood("127.0.4.", 1, 1, &other);
	pollfd.fd = other;
	assert_int_equal(poll(&pollfd, 1, 50), 0);
	while (n)
		close(fds[--n]);
	close(other);
	node_stop(gateway);
}

/* One TLS message that goes on and on: given up long before its end. */
static void limits_the_bytes_of_a_stranger(void **state)
{
	enum { RECORD = 16000, RECORDS = 7 };
	static __u8 bytes[RECORDS][5 + RECORD];
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct pollfd pollfd = { .fd = gateway->link, .events = POLLIN };
	size_t sent = 0;
	ssize_t n = 1;
	int fd;

	for (size_t i = 0; i < RECORDS; i++)
		memcpy(bytes[i], (const __u8[]){ 22, 3, 1, RECORD >> 8, RECORD & 0xff }, 5);
	memcpy(bytes[0] + 5, (const __u8[]){ 1, 1, 0xf0, 0 }, 4); /* a ClientHello of 126976 bytes */
	flood("127.0.2.", 1, 1, &fd);
	/* In small steps, as from afar: what is there at once is read at once. */
	for (; sent < sizeof(bytes) && n > 0 && !poll(&pollfd, 1, 2); sent += (size_t)n)
		n = send(fd, bytes[0] + sent, sizeof(bytes) - sent < 500 ? sizeof(bytes) - sent : 500, MSG_NOSIGNAL);
	node_expect_failure(gateway, KMS_REFUSED, EMSGSIZE, "says too much before it authenticates");
	assert_in_range(sent, 64 << 10, 96 << 10);
	node_stop(gateway);
	close(fd);
}

/* Somebody who talks on while we refuse him still reads why: an alert and an orderly end, not a reset. */
static void lets_its_last_word_arrive(void **state)
{
	static char garbage[100000];
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	char answer[256];
	size_t len = 0;
	ssize_t got;
	int fd;

	memset(garbage, 'G', sizeof(garbage));
	memcpy(garbage, "\x16\x03\x01\x00\x10", 5); /* a TLS record, of a handshake message that does not exist */
	flood("127.0.2.", 1, 1, &fd);
	assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
	shutdown(fd, SHUT_WR);
	while ((got = read(fd, answer + len, sizeof(answer) - len)) > 0)
		len += (size_t)got;
	assert_int_equal(got, 0);
	assert_true(len >= 7);
	assert_int_equal(answer[0], 21); /* an alert (RFC 8446, 5.1) */
	node_expect_failure(gateway, KMS_REFUSED, EPROTO, "does not speak this TLS");
	node_stop(gateway);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(bears_a_flood),
		ON_ITS_PORT(bears_a_flood_of_one_address),
		ON_ITS_PORT(serves_first_who_has_a_session), ON_ITS_PORT(keeps_a_place_for_who_has_a_session),
		ON_ITS_PORT(keeps_a_place_for_whom_we_dialled), ON_ITS_PORT(pushes_out_nobody_who_has_a_session),
		ON_ITS_PORT(takes_descriptors_from_strangers),
		ON_ITS_PORT(limits_the_rate_of_a_source),
		ON_ITS_PORT(limits_the_bytes_of_a_stranger),
		ON_ITS_PORT(ends_idle_connections),
		ON_ITS_PORT(lets_its_last_word_arrive),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_strangers", tests, scene_make_pki, scene_remove_pki);
}
