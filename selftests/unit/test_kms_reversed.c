/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A gateway that dials its client: whose addresses, whose gateway, and what stands when both dial at once. */
#include "selftests/unit/kms_scene.h"

/* The client dials, or the gateway: from its own address. */
static void dial(struct node *node, __u64 id, const char *from, const char *to)
{
	struct kms_request request = scene_request(id);

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
	struct node *gateway = scene_start_node("gateway1");
	struct node *client = scene_start_gateway("client", CLIENT);
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
	node_activates(client, c.id, 0);
	node_expect(gateway, KMS_ACTIVATE);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_foreign_inner_addresses_of_a_called_client(void **state)
{
	struct node *gateway = scene_start_node("gateway1");
	struct node *client = scene_start_gateway("client", CLIENT);
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
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client;
	struct kms_request request = scene_request(1);
	struct hf_addr inner = node_addr("127.0.0.99");
	struct kms_session c, g;

	scene_issue(scene_pki, "elsewhere", "127.0.0.99", 30);
	client = scene_start_node("elsewhere");
	request.inner[request.n_inner++] = prefix_of_host(&inner);
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
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
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_gateway("client", CLIENT);
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
	node_activates(gateway, g.id, 0);
	node_expect(client, KMS_ACTIVATE);
	scene_assert_match(&c, &g);
	node_expect_quiet(client);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void both_dial_the_gateway_first(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_gateway("client", CLIENT);
	struct kms_session c, g;
	__u64 id;

	dial(gateway, 2, GATEWAY_1, CLIENT);
	id = ((const struct kms_session *)node_expect(client, KMS_INSTALL))->id; /* and is at work still */
	dial(client, 1, CLIENT, GATEWAY_1);
	node_expect_failure(gateway, KMS_ATTEMPT_FAILED, EALREADY, "both ends dial");
	node_expect_failure(gateway, KMS_REJECTED, EALREADY, "");
	assert_int_equal(((const struct kms_session_ref *)node_expect(client, KMS_ABANDON))->session, id);
	node_expect(client, KMS_REFUSED);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
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
		if (end->stands.role == KMS_RESPONDER) {
			struct kms_activated activated = { .session = end->stands.id };

			node_send(end->node, KMS_ACTIVATED, &activated, sizeof(activated), NULL, 0);
		}
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
	struct end client = { .node = scene_start_gateway("client", CLIENT) };
	struct end gateway = { .node = scene_start_gateway("gateway1", GATEWAY_1) };
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
			end_take(scene_first_to_speak(client.node, gateway.node) == client.node ? &client : &gateway);
		assert_int_equal(client.stands.spi_out, gateway.stands.spi_in);
		assert_memory_equal(client.stands.key_in, gateway.stands.key_out, KMS_KEY_MAX);
		assert_false(client.yielded);
		yielded += gateway.yielded;
	}
	assert_true(yielded > 0); /* else they never met */
	node_stop(client.node);
	node_stop(gateway.node);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(lets_a_gateway_start),
		ON_ITS_PORT(refuses_foreign_inner_addresses_of_a_called_client),
		ON_ITS_PORT(tells_who_is_proven),
		ON_ITS_PORT(both_dial_the_client_first),
		ON_ITS_PORT(both_dial_the_gateway_first),
		ON_ITS_PORT(both_dial_at_once),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_reversed", tests, scene_make_pki, scene_remove_pki);
}
