/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The key management service as a whole, between two real processes of it: the
 * keys of both ends, and a request that goes from gateway to gateway until one
 * is right, all have failed, or somebody breaks off.
 */
#include "selftests/unit/kms_scene.h"

static void gives_both_ends_the_same_keys(void **state)
{
	static const __u8 zero[KMS_KEY_MAX];
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_session c, g, c2, g2;

	scene_ask(client, scene_request(7), GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_int_equal(c.request, 7);
	assert_int_equal(g.request, 0);
	assert_int_equal(c.algorithm, KMS_AES_256_GCM);
	assert_int_equal(c.key_len, 36);
	assert_memory_not_equal(c.key_in, zero, KMS_KEY_MAX);
	assert_int_equal(c.encapsulation, KMS_ENCAP_ESP);
	assert_int_equal(c.remote_port, 0);
	assert_int_equal(c.lifetime_s, 3600);
	assert_string_equal(c.name, "gateway1");
	assert_string_equal(g.name, "client");
	assert_true(g.not_after > 1700000000);
	/* Without inner prefixes in the request: the client's own outer address. */
	assert_int_equal(g.n_inner, 1);
	assert_string_equal(prefix_text(&g.inner[0]).s, CLIENT);

	/* A second session has nothing in common with the first. */
	scene_ask(client, scene_request(8), GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c2, &g2);
	scene_assert_match(&c2, &g2);
	assert_memory_not_equal(c.key_in, c2.key_in, 36);
	assert_int_not_equal(c.spi_in, c2.spi_in);
	assert_int_not_equal(g.id, g2.id);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

/* Key and salt of either way, of as many sessions as there were. */
struct all_keys {
	__u8 key[2 * 1000][KMS_KEY_MAX];
	size_t n;
};

static int cmp_key(const void *a, const void *b)
{
	return memcmp(a, b, KMS_KEY_MAX);
}

/*
 * The kernel counts each state's IVs up from the beginning, so a pair of key and IV is used twice only if a key is. A
 * thousand sessions of one client with one gateway, both of which die and begin anew again and again, have two thousand.
 */
static void never_gives_a_key_twice(void **state)
{
	static struct all_keys all;
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_session c, g;

	for (unsigned int i = 0; i < 1000; i++) {
		if (i % 50 == 49) {
			node_kill(client);
			client = scene_start_node("client");
		}
		if (i % 60 == 59) { /* before this address comes too often */
			node_kill(gateway);
			gateway = scene_start_gateway("gateway1", GATEWAY_1);
		}
		scene_ask(client, scene_request(i + 1), GATEWAY_1, NULL, NULL);
		scene_complete(client, gateway, &c, &g);
		scene_assert_match(&c, &g);
		memcpy(all.key[all.n++], c.key_in, KMS_KEY_MAX);
		memcpy(all.key[all.n++], c.key_out, KMS_KEY_MAX);
	}
	qsort(all.key, all.n, sizeof(*all.key), cmp_key);
	for (size_t i = 1; i < all.n; i++)
		assert_int_not_equal(cmp_key(all.key[i - 1], all.key[i]), 0);
	assert_int_equal(all.n, 2000);
	node_stop(client);
	node_stop(gateway);
}

static void uses_udp_when_asked(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);
	struct kms_session c, g;

	request.encapsulation = KMS_ENCAP_UDP;
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_int_equal(c.encapsulation, KMS_ENCAP_UDP);
	assert_int_equal(c.remote_port, 4500);
	node_stop(client);
	node_stop(gateway);
}

static void goes_past_a_gateway_that_says_nothing(void **state)
{
	int silent = node_socket(GATEWAY_1, scene_port, true); /* accepts TCP in the kernel's queue, and that is all */
	struct node *gateway = scene_start_gateway("gateway2", GATEWAY_2);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);
	struct kms_session c, g;

	request.patience_ms = 50;
	request.timeout_ms = 20000;
	scene_ask(client, request, GATEWAY_1, GATEWAY_2, NULL);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_string_equal(c.name, "gateway2");
	node_expect_quiet(client); /* the first was not a failure: it was not waited for */
	node_stop(client);
	node_stop(gateway);
	close(silent);
}

static void gives_up_on_silence_in_time(void **state)
{
	int silent = node_socket(GATEWAY_1, scene_port, true);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);

	request.timeout_ms = 150;
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ETIMEDOUT, "no TLS handshake within 150 ms");
	node_expect_failure(client, KMS_REJECTED, EHOSTUNREACH, "");
	node_expect_quiet(client);
	node_stop(client);
	close(silent);
}

/* One that authenticates and then stands still leads until its time is over; the next one goes on then. */
static void passes_the_lead(void **state)
{
	struct node *one = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *two = scene_start_gateway("gateway2", GATEWAY_2);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);
	struct node *slow, *gateway;
	struct kms_session c, g;
	__u64 id;

	request.patience_ms = 30;
	request.timeout_ms = 2000;
	scene_ask(client, request, GATEWAY_1, GATEWAY_2, NULL);
	/* On a slow machine the second may overtake the first: the one that leads is the one to stand still. */
	slow = scene_first_to_speak(one, two);
	gateway = slow == one ? two : one;
	id = ((const struct kms_session *)node_expect(slow, KMS_INSTALL))->id; /* and its holdfastd does not answer */
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ETIMEDOUT, "exchange was not completed within 2000 ms");
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_int_equal(((const struct kms_session_ref *)node_expect(slow, KMS_ABANDON))->session, id);
	node_expect(slow, KMS_REFUSED);
	node_expect_quiet(client);
	node_stop(client);
	node_stop(gateway);
	node_stop(slow);
}

static void goes_on_after_a_wrong_certificate(void **state)
{
	struct node *wrong = node_start_as(NULL);
	struct node *gateway = scene_start_gateway("gateway3", GATEWAY_3);
	struct node *client = scene_start_node("client");
	struct kms_session c, g;

	assert_int_equal(node_identify(wrong, scene_pki, "gateway1", scene_pki, &scene_settings).result, 0);
	scene_listen(wrong, GATEWAY_2);
	/* Nobody listens on the first, the second has the wrong certificate. */
	scene_ask(client, scene_request(9), GATEWAY_1, GATEWAY_2, GATEWAY_3);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ECONNREFUSED, "Connection refused");
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "is for 127.0.0.11, not for this gateway");
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_int_equal(c.request, 9);
	node_expect_quiet(client);
	node_stop(client);
	node_stop(gateway);
	node_stop(wrong);
}

static void rejects_once_when_all_fail(void **state)
{
	static const char *const gateways[] = { GATEWAY_1, GATEWAY_2, GATEWAY_3 };
	struct node *client = scene_start_node("client");

	scene_ask(client, scene_request(5), GATEWAY_1, GATEWAY_2, GATEWAY_3);
	for (size_t i = 0; i < 3; i++) {
		const struct kms_failure *failure = node_expect(client, KMS_ATTEMPT_FAILED);

		assert_int_equal(failure->error, ECONNREFUSED);
		assert_int_equal(failure->request, 5);
		assert_string_equal(addr_text(&failure->peer).s, gateways[i]);
	}
	assert_int_equal(((const struct kms_failure *)node_expect(client, KMS_REJECTED))->request, 5);
	node_expect_quiet(client);
	node_stop(client);
}

static void cancels(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_cancel cancel = { .id = 3 };
	struct kms_session c, g;

	scene_ask(client, scene_request(3), GATEWAY_1, NULL, NULL);
	g = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	node_send(client, KMS_CANCEL, &cancel, sizeof(cancel), NULL, 0);
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, c.id);
	node_installed(client, c.id, 0); /* crosses the cancelling: must change nothing */
	node_expect_quiet(client);
	assert_int_equal(((const struct kms_session_ref *)node_expect(gateway, KMS_ABANDON))->session, g.id);
	node_expect_failure(gateway, KMS_REFUSED, ECONNRESET, "before it confirmed the session");
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void tells_the_client_when_the_gateway_cannot_install(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	const struct kms_session *g;

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	g = node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, g->id, -EEXIST);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ECONNREFUSED, "refused: the session could not be installed");
	node_expect(client, KMS_REJECTED);
	node_expect_failure(gateway, KMS_REFUSED, EEXIST, "could not be installed");
	node_expect_quiet(gateway); /* nothing was installed, so nothing is abandoned */
	node_stop(client);
	node_stop(gateway);
}

static void tries_another_when_the_client_cannot_install(void **state)
{
	struct node *first = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *second = scene_start_gateway("gateway2", GATEWAY_2);
	struct node *client = scene_start_node("client");
	const struct kms_session *session;
	struct kms_session c, g;
	__u64 id;

	scene_ask(client, scene_request(1), GATEWAY_1, GATEWAY_2, NULL);
	session = node_expect(first, KMS_INSTALL);
	id = session->id;
	node_installed(first, id, 0);
	session = node_expect(client, KMS_INSTALL);
	node_installed(client, session->id, -ENOSPC);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ENOSPC, "could not be installed here");
	assert_int_equal(((const struct kms_session_ref *)node_expect(first, KMS_ABANDON))->session, id);
	scene_complete(client, second, &c, &g);
	scene_assert_match(&c, &g);
	node_stop(client);
	node_stop(first);
	node_stop(second);
}

/* What the gateway has lost meanwhile, or cannot send through, the client does not use. */
static void abandons_what_the_gateway_could_not_activate(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_session c, g;

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	g = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	node_installed(client, c.id, 0);
	node_activates(gateway, g.id, -ENOENT);
	node_expect_failure(gateway, KMS_REFUSED, ENOENT, "could not be activated");
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, c.id);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ECONNRESET, "before it took the confirmation");
	node_expect(client, KMS_REJECTED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

/* A CONFIRM that lay there when the time was over, unread: who sent it has given up. */
static void takes_no_confirmation_that_comes_too_late(void **state)
{
	struct kms_identity settings = scene_settings;
	struct kms_knowns knowns = { .n = 1 }; /* what they send is looked at before all else */
	struct node *gateway = node_start_as(NULL), *client = scene_start_node("client");
	struct kms_session c, g;

	settings.exchange_ms = 3000;
	knowns.known[0].remote = node_addr(CLIENT);
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &settings).result, 0);
	node_send(gateway, KMS_KNOWN, &knowns, sizeof(knowns), NULL, 0);
	scene_listen(gateway, GATEWAY_1);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	g = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	assert_int_equal(kill(gateway->pid, SIGSTOP), 0);
	node_installed(client, c.id, 0);
	usleep(3200000); /* it is time itself that is tested */
	assert_int_equal(kill(gateway->pid, SIGCONT), 0);
	assert_int_equal(((const struct kms_session_ref *)node_expect(gateway, KMS_ABANDON))->session, g.id);
	node_expect_failure(gateway, KMS_REFUSED, ETIMEDOUT, "exchange was not completed within 3000 ms");
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, c.id);
	node_stop(client);
	node_stop(gateway);
}

static void abandons_when_the_client_dies(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	const struct kms_session *session;
	__u64 id;

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	session = node_expect(gateway, KMS_INSTALL);
	id = session->id;
	node_kill(client);
	assert_int_equal(((const struct kms_session_ref *)node_expect(gateway, KMS_ABANDON))->session, id);
	node_expect_failure(gateway, KMS_REFUSED, ECONNRESET, "while the session was being installed");
	node_stop(gateway);
}

static void abandons_when_the_gateway_dies(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	const struct kms_session *session;
	__u64 id;

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	session = node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, session->id, 0);
	session = node_expect(client, KMS_INSTALL);
	id = session->id;
	node_kill(gateway);
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, id);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ECONNRESET, "while the session was being installed");
	node_expect(client, KMS_REJECTED);
	node_stop(client);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(gives_both_ends_the_same_keys),
		ON_ITS_PORT(never_gives_a_key_twice),
		ON_ITS_PORT(uses_udp_when_asked),
		ON_ITS_PORT(goes_past_a_gateway_that_says_nothing),
		ON_ITS_PORT(gives_up_on_silence_in_time),
		ON_ITS_PORT(passes_the_lead),
		ON_ITS_PORT(goes_on_after_a_wrong_certificate),
		ON_ITS_PORT(rejects_once_when_all_fail),
		ON_ITS_PORT(cancels),
		ON_ITS_PORT(tells_the_client_when_the_gateway_cannot_install),
		ON_ITS_PORT(tries_another_when_the_client_cannot_install),
		ON_ITS_PORT(abandons_what_the_gateway_could_not_activate),
		ON_ITS_PORT(takes_no_confirmation_that_comes_too_late),
		ON_ITS_PORT(abandons_when_the_client_dies),
		ON_ITS_PORT(abandons_when_the_gateway_dies),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_service", tests, scene_make_pki, scene_remove_pki);
}
