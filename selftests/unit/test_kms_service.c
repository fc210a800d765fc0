/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The key management service as a whole: real holdfast-kms processes on
 * loopback, the test in holdfastd's place at each of their links.
 *
 *   client 127.0.0.1 ----- TCP, TLS 1.3 ----- gateways 127.0.0.11, .12, .13
 *       | link                                    | links
 *       +--------------- this test ---------------+
 */
#include "selftests/unit/kms_node.h"

#include <sys/prctl.h>
#include <sys/stat.h>

#include "lib/privilege.h"

#define CLIENT "127.0.0.1"
#define GATEWAY_1 "127.0.0.11"
#define GATEWAY_2 "127.0.0.12"
#define GATEWAY_3 "127.0.0.13"

static char pki[] = "/tmp/holdfast-kms-test-XXXXXX";
static char other_pki[sizeof(pki) + 8];
static __u16 port;

static const struct kms_identity settings = { .lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000 };
static const struct kms_identity settings_crl = {
	.lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000, .has_crl = 1
};

/* ---- scenery ---- */

static void issue(const char *dir, const char *name, const char *address, int days)
{
	struct hf_addr addr = node_addr(address);
	char error[PKI_ERROR_MAX];

	if (pki_issue(dir, name, &addr, 1, days, error))
		fail_msg("%s", error);
}

static int make_pki(void **state)
{
	char error[PKI_ERROR_MAX];

	assert_non_null(mkdtemp(pki));
	snprintf(other_pki, sizeof(other_pki), "%s/other", pki);
	if (pki_init(pki, error) || pki_init(other_pki, error))
		fail_msg("%s", error);
	issue(pki, "client", CLIENT, 30);
	issue(pki, "expired", CLIENT, -1);
	issue(pki, "gateway1", GATEWAY_1, 30);
	issue(pki, "gateway2", GATEWAY_2, 30);
	issue(pki, "gateway3", GATEWAY_3, 30);
	issue(pki, "gateway1-expired", GATEWAY_1, -1);
	issue(other_pki, "gateway1", GATEWAY_1, 30);
	issue(other_pki, "client", CLIENT, 30);
	return 0;
}

static int remove_pki(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", pki);
	return system(command);
}

/* The same port on every gateway's address, and free on them all. */
static int choose_port(void **state)
{
	int fd = node_socket("0.0.0.0", 0, true);

	port = node_port_of(fd);
	close(fd);
	return 0;
}

static struct node *start_node(const char *name)
{
	struct node *node = node_start_as(NULL);
	struct kms_ready ready = node_identify(node, pki, name, pki, &settings);

	if (ready.result)
		fail_msg("%s", ready.text);
	assert_string_equal(ready.name, name);
	return node;
}

static void node_listen(struct node *node, const char *address)
{
	int fd = node_socket(address, port, true);

	node_send(node, KMS_LISTEN, NULL, 0, &fd, 1);
	close(fd);
}

static struct node *start_gateway(const char *name, const char *address)
{
	struct node *node = start_node(name);

	node_listen(node, address);
	return node;
}

static struct kms_request request_of(__u64 id)
{
	return (struct kms_request){ .id = id, .timeout_ms = 10000, .patience_ms = 5000, .port = port };
}

static void ask(struct node *client, struct kms_request request, const char *first, const char *second, const char *third)
{
	const char *gateways[3] = { first, second, third };

	node_request(client, &request, CLIENT, gateways, third ? 3 : second ? 2 : 1);
}

/* Plays holdfastd on both sides of one exchange that succeeds. Keys are wiped with the last message only: a test. */
static void complete(struct node *client, struct node *gateway, struct kms_session *ret_client,
		     struct kms_session *ret_gateway)
{
	const struct kms_session_ref *ref;

	*ret_gateway = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, ret_gateway->id, 0);
	*ret_client = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	node_installed(client, ret_client->id, 0);
	ref = node_expect(gateway, KMS_ACTIVATE);
	assert_int_equal(ref->session, ret_gateway->id);
	ref = node_expect(client, KMS_ACTIVATE);
	assert_int_equal(ref->session, ret_client->id);
}

static void assert_match(const struct kms_session *client, const struct kms_session *gateway)
{
	assert_int_equal(client->role, KMS_INITIATOR);
	assert_int_equal(gateway->role, KMS_RESPONDER);
	assert_int_equal(client->spi_in, gateway->spi_out);
	assert_int_equal(client->spi_out, gateway->spi_in);
	assert_int_not_equal(client->spi_in, client->spi_out);
	assert_true(client->spi_in > 255 && client->spi_out > 255);
	assert_int_equal(client->algorithm, gateway->algorithm);
	assert_int_equal(client->key_len, gateway->key_len);
	assert_memory_equal(client->key_in, gateway->key_out, KMS_KEY_MAX);
	assert_memory_equal(client->key_out, gateway->key_in, KMS_KEY_MAX);
	assert_memory_not_equal(client->key_in, client->key_out, client->key_len);
	assert_int_equal(client->encapsulation, gateway->encapsulation);
	assert_int_equal(client->lifetime_s, gateway->lifetime_s);
	assert_true(addr_equal(&client->local, &gateway->remote));
	assert_true(addr_equal(&client->remote, &gateway->local));
	assert_int_equal(client->n_inner, gateway->n_inner);
	assert_memory_equal(client->inner, gateway->inner, client->n_inner * sizeof(client->inner[0]));
}

/* ---- tests ---- */

static void gives_both_ends_the_same_keys(void **state)
{
	static const __u8 zero[KMS_KEY_MAX];
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_session c, g, c2, g2;

	ask(client, request_of(7), GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
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
	ask(client, request_of(8), GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c2, &g2);
	assert_match(&c2, &g2);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_session c, g;

	for (unsigned int i = 0; i < 1000; i++) {
		if (i % 50 == 49) {
			node_kill(client);
			client = start_node("client");
		}
		if (i % 60 == 59) { /* before this address comes too often */
			node_kill(gateway);
			gateway = start_gateway("gateway1", GATEWAY_1);
		}
		ask(client, request_of(i + 1), GATEWAY_1, NULL, NULL);
		complete(client, gateway, &c, &g);
		assert_match(&c, &g);
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

/* Which of the two has something to say first. */
static struct node *first_to_speak(struct node *a, struct node *b)
{
	struct pollfd pollfds[2] = { { .fd = a->link, .events = POLLIN }, { .fd = b->link, .events = POLLIN } };

	assert_true(poll(pollfds, 2, NODE_WAIT_MS) > 0);
	return pollfds[0].revents ? a : b;
}

/* The client dials, or the gateway: from its own address. */
static void dial(struct node *node, __u64 id, const char *from, const char *to)
{
	struct kms_request request = request_of(id);

	node_request(node, &request, from, &to, 1);
}

/* holdfastd of the responder says that it uses the dialler as its gateway. */
static void installed_reversed(struct node *node, __u64 session, const char *inner)
{
	struct hf_addr addr = node_addr(inner);
	struct kms_installed installed = { .session = session, .reversed = 1, .n_inner = 1 };

	installed.inner[0] = prefix_of_host(&addr);
	node_send(node, KMS_INSTALLED, &installed, sizeof(installed), NULL, 0);
}

static void lets_a_gateway_start(void **state)
{
	struct node *gateway = start_node("gateway1");
	struct node *client = start_gateway("client", CLIENT);
	struct kms_session c, g;

	dial(gateway, 3, GATEWAY_1, CLIENT);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	assert_int_equal(c.role, KMS_RESPONDER);
	assert_int_equal(c.proven, 1);
	assert_int_equal(c.reversed, 0);
	assert_string_equal(prefix_text(&c.inner[0]).s, GATEWAY_1);
	installed_reversed(client, c.id, CLIENT);
	g = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	assert_int_equal(g.role, KMS_INITIATOR);
	assert_int_equal(g.reversed, 1);
	assert_int_equal(g.request, 3);
	assert_int_equal(g.n_inner, 1);
	assert_string_equal(prefix_text(&g.inner[0]).s, CLIENT);
	assert_string_equal(g.name, "client");
	assert_memory_equal(g.key_in, c.key_out, KMS_KEY_MAX);
	assert_memory_equal(g.key_out, c.key_in, KMS_KEY_MAX);
	assert_int_equal(g.spi_in, c.spi_out);
	node_installed(gateway, g.id, 0);
	node_expect(client, KMS_ACTIVATE);
	node_expect(gateway, KMS_ACTIVATE);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_foreign_inner_addresses_of_a_called_client(void **state)
{
	struct node *gateway = start_node("gateway1");
	struct node *client = start_gateway("client", CLIENT);
	__u64 id;

	dial(gateway, 3, GATEWAY_1, CLIENT);
	id = ((const struct kms_session *)node_expect(client, KMS_INSTALL))->id;
	installed_reversed(client, id, "10.9.9.9");
	node_expect_failure(gateway, KMS_ATTEMPT_FAILED, EACCES, "client may not use 10.9.9.9 inside");
	node_expect(gateway, KMS_REJECTED);
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, id);
	node_expect(client, KMS_REFUSED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

/* Who comes from another address than its certificate says is let in, but has not proved to be that address. */
static void tells_who_is_proven(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client;
	struct kms_request request = request_of(1);
	struct hf_addr inner = node_addr("127.0.0.99");
	struct kms_session c, g;

	issue(pki, "elsewhere", "127.0.0.99", 30);
	client = start_node("elsewhere");
	request.inner[request.n_inner++] = prefix_of_host(&inner);
	ask(client, request, GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c, &g);
	assert_int_equal(g.proven, 0);
	assert_int_equal(c.proven, 1);
	node_stop(client);
	node_stop(gateway);
}

/*
 * Both dial at once: the lower address's dial, here the client's, is the one that goes on, whoever of the two came
 * first.
 */
static void both_dial_the_client_first(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_gateway("client", CLIENT);
	struct kms_session c, g;

	dial(client, 1, CLIENT, GATEWAY_1);
	g = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL); /* and is at work still */
	dial(gateway, 2, GATEWAY_1, CLIENT);
	node_expect_failure(client, KMS_REFUSED, EALREADY, "both ends dial");
	node_expect_failure(gateway, KMS_ATTEMPT_FAILED, EALREADY, "both ends dial");
	node_expect_failure(gateway, KMS_REJECTED, EALREADY, "");
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	node_installed(client, c.id, 0);
	node_expect(gateway, KMS_ACTIVATE);
	node_expect(client, KMS_ACTIVATE);
	assert_match(&c, &g);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void both_dial_the_gateway_first(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_gateway("client", CLIENT);
	struct kms_session c, g;
	__u64 id;

	dial(gateway, 2, GATEWAY_1, CLIENT);
	id = ((const struct kms_session *)node_expect(client, KMS_INSTALL))->id; /* and is at work still */
	dial(client, 1, CLIENT, GATEWAY_1);
	node_expect_failure(gateway, KMS_ATTEMPT_FAILED, EALREADY, "both ends dial");
	node_expect_failure(gateway, KMS_REJECTED, EALREADY, "");
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, id);
	node_expect(client, KMS_REFUSED);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

/* holdfastd in short: what was installed, what stands, whether the own request is over. */
struct end {
	struct node *node;
	struct kms_session installed[16];
	size_t n;
	struct kms_session stands;
	bool over;
	bool yielded;
};

static void end_take(struct end *end)
{
	__u32 type = node_receive(end->node);
	const struct kms_session_ref *ref = end->node->message.body;
	struct kms_session *session;

	switch (type) {
	case KMS_INSTALL:
		assert_true(end->n < 16);
		session = &end->installed[end->n++];
		*session = *(const struct kms_session *)end->node->message.body;
		node_installed(end->node, session->id, 0);
		break;
	case KMS_ACTIVATE:
		for (size_t i = 0; i < end->n; i++)
			if (end->installed[i].id == ref->session)
				end->stands = end->installed[i];
		end->over |= end->stands.request != 0;
		break;
	case KMS_REJECTED:
		end->over = true;
		break;
	case KMS_ATTEMPT_FAILED:
		end->yielded |= ((const struct kms_failure *)end->node->message.body)->error == EALREADY;
		break;
	default:
		assert_true(type == KMS_ABANDON || type == KMS_REFUSED);
	}
}

/* At the very same time, over and over: what stands at one end stands at the other. */
static void both_dial_at_once(void **state)
{
	struct end client = { .node = start_gateway("client", CLIENT) };
	struct end gateway = { .node = start_gateway("gateway1", GATEWAY_1) };
	unsigned int yielded = 0;

	for (__u64 round = 1; round <= 40; round++) {
		client.n = gateway.n = 0;
		client.over = gateway.over = gateway.yielded = client.yielded = false;
		memset(&client.stands, 0, sizeof(client.stands));
		memset(&gateway.stands, 0, sizeof(gateway.stands));
		dial(round & 1 ? client.node : gateway.node, round, round & 1 ? CLIENT : GATEWAY_1,
		     round & 1 ? GATEWAY_1 : CLIENT);
		dial(round & 1 ? gateway.node : client.node, round, round & 1 ? GATEWAY_1 : CLIENT,
		     round & 1 ? CLIENT : GATEWAY_1);
		while (!client.over || !gateway.over || !client.stands.id || client.stands.spi_in != gateway.stands.spi_out)
			end_take(first_to_speak(client.node, gateway.node) == client.node ? &client : &gateway);
		assert_int_equal(client.stands.spi_out, gateway.stands.spi_in);
		assert_memory_equal(client.stands.key_in, gateway.stands.key_out, KMS_KEY_MAX);
		assert_false(client.yielded);
		yielded += gateway.yielded;
	}
	assert_true(yielded > 0); /* else they never met */
	node_stop(client.node);
	node_stop(gateway.node);
}

static void uses_udp_when_asked(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);
	struct kms_session c, g;

	request.encapsulation = KMS_ENCAP_UDP;
	ask(client, request, GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	assert_int_equal(c.encapsulation, KMS_ENCAP_UDP);
	assert_int_equal(c.remote_port, 4500);
	node_stop(client);
	node_stop(gateway);
}

static void goes_past_a_gateway_that_says_nothing(void **state)
{
	int silent = node_socket(GATEWAY_1, port, true); /* accepts TCP in the kernel's queue, and that is all */
	struct node *gateway = start_gateway("gateway2", GATEWAY_2);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);
	struct kms_session c, g;

	request.patience_ms = 50;
	request.timeout_ms = 20000;
	ask(client, request, GATEWAY_1, GATEWAY_2, NULL);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	assert_string_equal(c.name, "gateway2");
	node_expect_quiet(client); /* the first was not a failure: it was not waited for */
	node_stop(client);
	node_stop(gateway);
	close(silent);
}

static void gives_up_on_silence_in_time(void **state)
{
	int silent = node_socket(GATEWAY_1, port, true);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);

	request.timeout_ms = 150;
	ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ETIMEDOUT, "no TLS handshake within 150 ms");
	node_expect_failure(client, KMS_REJECTED, EHOSTUNREACH, "");
	node_expect_quiet(client);
	node_stop(client);
	close(silent);
}

/* One that authenticates and then stands still leads until its time is over; the next one goes on then. */
static void passes_the_lead(void **state)
{
	struct node *one = start_gateway("gateway1", GATEWAY_1);
	struct node *two = start_gateway("gateway2", GATEWAY_2);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);
	struct node *slow, *gateway;
	struct kms_session c, g;
	__u64 id;

	request.patience_ms = 30;
	request.timeout_ms = 2000;
	ask(client, request, GATEWAY_1, GATEWAY_2, NULL);
	/* On a slow machine the second may overtake the first: the one that leads is the one to stand still. */
	slow = first_to_speak(one, two);
	gateway = slow == one ? two : one;
	id = ((const struct kms_session *)node_expect(slow, KMS_INSTALL))->id; /* and its holdfastd does not answer */
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ETIMEDOUT, "exchange was not completed within 2000 ms");
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	assert_int_equal(((const struct kms_session_ref *)node_expect(slow, KMS_ABANDON))->session, id);
	node_expect(slow, KMS_REFUSED);
	node_expect_quiet(client);
	node_stop(client);
	node_stop(gateway);
	node_stop(slow);
}

/* One gateway with this identity, and the faults that both sides see. */
static void assert_gateway_refused(const char *dir, const char *name, int error, const char *words)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = start_node("client");

	assert_int_equal(node_identify(gateway, dir, name, pki, &settings).result, 0);
	node_listen(gateway, GATEWAY_1);
	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, error, words);
	node_expect(client, KMS_REJECTED);
	node_expect(gateway, KMS_REFUSED);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_a_certificate_of_another_gateway(void **state)
{
	assert_gateway_refused(pki, "gateway2", EACCES,
			       "certificate of 127.0.0.11 is for 127.0.0.12, not for this gateway");
}

static void refuses_a_client_posing_as_a_gateway(void **state)
{
	assert_gateway_refused(pki, "client", EACCES, "certificate of 127.0.0.11 is for 127.0.0.1, not for this gateway");
}

static void refuses_an_expired_gateway(void **state)
{
	assert_gateway_refused(pki, "gateway1-expired", EACCES, "certificate of 127.0.0.11 has expired");
}

static void refuses_a_gateway_of_another_ca(void **state)
{
	assert_gateway_refused(other_pki, "gateway1", EACCES, "is not signed by a trust anchor");
}

/* A client with this identity, refused by a good gateway. */
static void assert_client_refused(const char *dir, const char *name, const struct kms_identity *gateway_settings,
				  const char *words, const char *words_at_client)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = node_start_as(NULL);

	assert_int_equal(node_identify(gateway, pki, "gateway1", pki, gateway_settings).result, 0);
	assert_int_equal(node_identify(client, dir, name, pki, &settings).result, 0);
	node_listen(gateway, GATEWAY_1);
	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
	node_expect_failure(gateway, KMS_REFUSED, EACCES, words);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, words_at_client);
	node_expect(client, KMS_REJECTED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_an_expired_client(void **state)
{
	assert_client_refused(pki, "expired", &settings, "certificate of 127.0.0.1 has expired",
			      "did not accept our certificate: certificate expired");
}

static void refuses_a_client_of_another_ca(void **state)
{
	assert_client_refused(other_pki, "client", &settings, "is not signed by a trust anchor",
			      "did not accept our certificate: unknown CA");
}

static void refuses_a_revoked_client(void **state)
{
	char error[PKI_ERROR_MAX], command[256];

	/* Its files are kept aside: revoking moves them away. */
	issue(pki, "revoked", CLIENT, 30);
	snprintf(command, sizeof(command), "mkdir %s/kept && cp %s/revoked.pem %s/revoked.key %s/kept", pki, pki, pki, pki);
	assert_int_equal(system(command), 0);
	assert_int_equal(pki_revoke(pki, "revoked", error), 0);
	snprintf(command, sizeof(command), "%s/kept", pki);
	assert_client_refused(command, "revoked", &settings_crl, "certificate of 127.0.0.1 has been revoked",
			      "did not accept our certificate: certificate revoked");
}

static void lets_the_others_in_with_a_revocation_list(void **state)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = node_start_as(NULL);
	struct kms_session c, g;

	assert_int_equal(node_identify(gateway, pki, "gateway1", pki, &settings_crl).result, 0);
	assert_int_equal(node_identify(client, pki, "client", pki, &settings_crl).result, 0);
	node_listen(gateway, GATEWAY_1);
	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	node_stop(client);
	node_stop(gateway);
}

static void goes_on_after_a_wrong_certificate(void **state)
{
	struct node *wrong = node_start_as(NULL);
	struct node *gateway = start_gateway("gateway3", GATEWAY_3);
	struct node *client = start_node("client");
	struct kms_session c, g;

	assert_int_equal(node_identify(wrong, pki, "gateway1", pki, &settings).result, 0);
	node_listen(wrong, GATEWAY_2);
	/* Nobody listens on the first, the second has the wrong certificate. */
	ask(client, request_of(9), GATEWAY_1, GATEWAY_2, GATEWAY_3);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ECONNREFUSED, "Connection refused");
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "is for 127.0.0.11, not for this gateway");
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	assert_int_equal(c.request, 9);
	node_expect_quiet(client);
	node_stop(client);
	node_stop(gateway);
	node_stop(wrong);
}

static void rejects_once_when_all_fail(void **state)
{
	static const char *const gateways[] = { GATEWAY_1, GATEWAY_2, GATEWAY_3 };
	struct node *client = start_node("client");

	ask(client, request_of(5), GATEWAY_1, GATEWAY_2, GATEWAY_3);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_cancel cancel = { .id = 3 };
	struct kms_session c, g;

	ask(client, request_of(3), GATEWAY_1, NULL, NULL);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	const struct kms_session *g;

	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
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
	struct node *first = start_gateway("gateway1", GATEWAY_1);
	struct node *second = start_gateway("gateway2", GATEWAY_2);
	struct node *client = start_node("client");
	const struct kms_session *session;
	struct kms_session c, g;
	__u64 id;

	ask(client, request_of(1), GATEWAY_1, GATEWAY_2, NULL);
	session = node_expect(first, KMS_INSTALL);
	id = session->id;
	node_installed(first, id, 0);
	session = node_expect(client, KMS_INSTALL);
	node_installed(client, session->id, -ENOSPC);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, ENOSPC, "could not be installed here");
	assert_int_equal(((const struct kms_session_ref *)node_expect(first, KMS_ABANDON))->session, id);
	complete(client, second, &c, &g);
	assert_match(&c, &g);
	node_stop(client);
	node_stop(first);
	node_stop(second);
}

static void abandons_when_the_client_dies(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	const struct kms_session *session;
	__u64 id;

	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
	session = node_expect(gateway, KMS_INSTALL);
	id = session->id;
	node_kill(client);
	assert_int_equal(((const struct kms_session_ref *)node_expect(gateway, KMS_ABANDON))->session, id);
	node_expect_failure(gateway, KMS_REFUSED, ECONNRESET, "while the session was being installed");
	node_stop(gateway);
}

static void abandons_when_the_gateway_dies(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	const struct kms_session *session;
	__u64 id;

	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
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

/* How many of these connections their other end has not closed. */
static size_t count_open(const int *fds, size_t n)
{
	size_t open_ones = 0;
	char byte;

	for (size_t i = 0; i < n; i++)
		open_ones += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	return open_ones;
}

static void flood(const char *source_format, size_t sources, size_t per_source, int *fds)
{
	struct hf_addr addr = node_addr(GATEWAY_1);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, port, &sa);

	for (size_t i = 0; i < sources * per_source; i++) {
		char source[32];

		snprintf(source, sizeof(source), "%s%u", source_format, (unsigned int)(i / per_source + 1));
		fds[i] = node_socket(source, 0, false);
		fcntl(fds[i], F_SETFL, 0); /* connect() waits, so that all are in the queue before the next step */
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, len), 0);
	}
}

static void bears_a_flood(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_session c, g;
	int fds[320];

	flood("127.0.2.", 40, 8, fds);
	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
	while (node_receive(gateway) == KMS_REFUSED)
		assert_non_null(strstr(((const struct kms_failure *)gateway->message.body)->text, "without authentication"));
	assert_int_equal(gateway->message.type, KMS_INSTALL);
	g = *(const struct kms_session *)gateway->message.body;
	node_installed(gateway, g.id, 0);
	c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	assert_match(&c, &g);
	assert_true(count_open(fds, 320) <= 256);
	assert_true(count_open(fds, 320) >= 250);
	for (size_t i = 0; i < 320; i++)
		close(fds[i]);
	node_stop(client);
	node_stop(gateway);
}

static void bears_a_flood_of_one_address(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	int fds[30];

	flood("127.0.0.", 1, 30, fds); /* the client's own address */
	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct kms_identity hasty = settings;
	int fd;

	hasty.exchange_ms = 100;
	assert_int_equal(node_identify(gateway, pki, "gateway1", pki, &hasty).result, 0);
	flood("127.0.2.", 1, 1, &fd);
	node_expect_failure(gateway, KMS_REFUSED, ETIMEDOUT, "no TLS handshake within 100 ms");
	assert_int_equal(write(fd, "x", 1), 1);
	node_stop(gateway);
	close(fd);
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
	__u32 type;

	do {
		type = node_receive(gateway);
	} while (type == KMS_REFUSED);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_session c, g;
	pid_t flooding;
	size_t n = 0;

	know(gateway, CLIENT);
	flooding = flood_on();
	while (!turned_away(n))
		assert_true(++n < 3000);
	for (__u64 id = 1; id <= 4; id++) {
		ask(client, request_of(id), GATEWAY_1, NULL, NULL);
		assert_int_equal(past_refusals(gateway), KMS_INSTALL);
		g = *(const struct kms_session *)gateway->message.body;
		node_installed(gateway, g.id, 0);
		c = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
		assert_match(&c, &g);
		node_installed(client, c.id, 0);
		node_expect(client, KMS_ACTIVATE);
		assert_int_equal(past_refusals(gateway), KMS_ACTIVATE);
	}
	kill(flooding, SIGKILL);
	waitpid(flooding, NULL, 0);
	node_stop(client);
	node_stop(gateway);
}

/* A source that comes again and again: after a burst, its newest connection is closed at once. */
static void limits_the_rate_of_a_source(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
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
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
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

static struct hf_prefix prefix_of(const char *text, __u8 v4_len)
{
	struct hf_addr addr = node_addr(text);
	struct hf_prefix prefix = prefix_of_host(&addr);

	prefix.len = 96 + v4_len;
	return prefix;
}

static void set_peer(struct node *gateway, const char *first, const char *last, const char *name)
{
	struct kms_peers peers = { .n = 1 };

	peers.peers[0].first = node_addr(first);
	peers.peers[0].last = node_addr(last);
	snprintf(peers.peers[0].name, sizeof(peers.peers[0].name), "%s", name);
	node_send(gateway, KMS_PEERS, &peers, offsetof(struct kms_peers, peers) + sizeof(struct kms_peer), NULL, 0);
}

static void grants_what_peer_says(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);
	struct kms_session c, g;

	request.n_inner = 2;
	request.inner[0] = prefix_of("10.1.0.0", 24);
	request.inner[1] = prefix_of(CLIENT, 32);
	set_peer(gateway, "10.1.0.0", "10.1.0.255", "client");
	ask(client, request, GATEWAY_1, NULL, NULL);
	complete(client, gateway, &c, &g);
	assert_match(&c, &g);
	assert_int_equal(g.n_inner, 2);
	assert_string_equal(prefix_text(&g.inner[0]).s, "10.1.0.0/24");
	node_stop(client);
	node_stop(gateway);
}

static void refuses_inner_addresses_of_others(void **state)
{
	struct node *gateway = start_gateway("gateway1", GATEWAY_1);
	struct node *client = start_node("client");
	struct kms_request request = request_of(1);

	request.n_inner = 1;
	request.inner[0] = prefix_of("10.1.0.0", 24);
	set_peer(gateway, "10.1.0.0", "10.1.0.254", "client"); /* one too few */
	ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "refused: client may not use 10.1.0.0/24 inside");
	node_expect(client, KMS_REJECTED);
	node_expect_failure(gateway, KMS_REFUSED, EACCES, "client may not use 10.1.0.0/24 inside");

	set_peer(gateway, "10.1.0.0", "10.1.0.255", "somebody-else");
	ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "may not use");
	node_expect(client, KMS_REJECTED);
	node_expect(gateway, KMS_REFUSED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void says_which_file_is_wrong(void **state)
{
	struct node *node = start_node("client");
	struct kms_ready ready;
	char path[512], other[512];
	int fds[3];

	snprintf(path, sizeof(path), "%s/client.pem", pki);
	snprintf(other, sizeof(other), "%s/gateway1.key", pki);
	fds[0] = open(path, O_RDONLY | O_CLOEXEC);
	fds[1] = open(other, O_RDONLY | O_CLOEXEC);
	fds[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	node_send(node, KMS_IDENTITY, &settings, sizeof(settings), fds, 3);
	ready = *(const struct kms_ready *)node_expect(node, KMS_READY);
	assert_int_equal(ready.result, -EINVAL);
	assert_string_equal(ready.text, "private key: does not belong to the certificate");
	node_send(node, KMS_IDENTITY, &settings, sizeof(settings), (int[]){ fds[2], fds[1], fds[0] }, 3);
	ready = *(const struct kms_ready *)node_expect(node, KMS_READY);
	assert_string_equal(ready.text, "certificate: no certificate in PEM form");
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	node_stop(node);
}

static void rejects_without_an_identity(void **state)
{
	struct node *client = node_start_as(NULL);

	ask(client, request_of(1), GATEWAY_1, NULL, NULL);
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
	struct node *node = start_node("client");
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
	ready = node_identify(client, pki, "client", pki, &settings);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, choose_port)
		ON_ITS_PORT(gives_both_ends_the_same_keys),
		ON_ITS_PORT(never_gives_a_key_twice),
		ON_ITS_PORT(lets_a_gateway_start),
		ON_ITS_PORT(refuses_foreign_inner_addresses_of_a_called_client),
		ON_ITS_PORT(tells_who_is_proven),
		ON_ITS_PORT(both_dial_the_client_first),
		ON_ITS_PORT(both_dial_the_gateway_first),
		ON_ITS_PORT(both_dial_at_once),
		ON_ITS_PORT(uses_udp_when_asked),
		ON_ITS_PORT(goes_past_a_gateway_that_says_nothing),
		ON_ITS_PORT(gives_up_on_silence_in_time),
		ON_ITS_PORT(passes_the_lead),
		ON_ITS_PORT(refuses_a_certificate_of_another_gateway),
		ON_ITS_PORT(refuses_a_client_posing_as_a_gateway),
		ON_ITS_PORT(refuses_an_expired_gateway),
		ON_ITS_PORT(refuses_a_gateway_of_another_ca),
		ON_ITS_PORT(refuses_an_expired_client),
		ON_ITS_PORT(refuses_a_client_of_another_ca),
		ON_ITS_PORT(refuses_a_revoked_client),
		ON_ITS_PORT(lets_the_others_in_with_a_revocation_list),
		ON_ITS_PORT(goes_on_after_a_wrong_certificate),
		ON_ITS_PORT(rejects_once_when_all_fail),
		ON_ITS_PORT(cancels),
		ON_ITS_PORT(tells_the_client_when_the_gateway_cannot_install),
		ON_ITS_PORT(tries_another_when_the_client_cannot_install),
		ON_ITS_PORT(abandons_when_the_client_dies),
		ON_ITS_PORT(abandons_when_the_gateway_dies),
		ON_ITS_PORT(bears_a_flood),
		ON_ITS_PORT(bears_a_flood_of_one_address),
		ON_ITS_PORT(serves_first_who_has_a_session),
		ON_ITS_PORT(limits_the_rate_of_a_source),
		ON_ITS_PORT(limits_the_bytes_of_a_stranger),
		ON_ITS_PORT(ends_idle_connections),
		ON_ITS_PORT(lets_its_last_word_arrive),
		ON_ITS_PORT(grants_what_peer_says),
		ON_ITS_PORT(refuses_inner_addresses_of_others),
		ON_ITS_PORT(says_which_file_is_wrong),
		ON_ITS_PORT(rejects_without_an_identity),
		ON_ITS_PORT(is_not_started_by_hand),
		ON_ITS_PORT(ends_at_a_malformed_record),
		ON_ITS_PORT(gives_up_its_privileges),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_service", tests, make_pki, remove_pki);
}
