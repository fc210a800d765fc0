/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The scenery of tests of the key management service as a whole: certificates
 * of an authority of the test's own, and real holdfast-kms processes on
 * loopback, the test in holdfastd's place at each of their links.
 *
 *   client 127.0.0.1 ----- TCP, TLS 1.3 ----- gateways 127.0.0.11, .12, .13
 *       | link                                    | links
 *       +--------------- this test ---------------+
 */
#ifndef HF_SELFTESTS_KMS_SCENE_H
#define HF_SELFTESTS_KMS_SCENE_H

#include "selftests/unit/kms_node.h"

#define CLIENT "127.0.0.1"
#define GATEWAY_1 "127.0.0.11"
#define GATEWAY_2 "127.0.0.12"
#define GATEWAY_3 "127.0.0.13"

static char scene_pki[] = "/tmp/holdfast-kms-test-XXXXXX";
static char scene_other_pki[sizeof(scene_pki) + 8];
static __u16 scene_port;

static const struct kms_identity scene_settings = {
	.lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000
};

static inline void scene_issue(const char *dir, const char *name, const char *address, int days)
{
	struct hf_addr addr = node_addr(address);
	char error[PKI_ERROR_MAX];

	if (pki_issue(dir, name, &addr, 1, days, error))
		fail_msg("%s", error);
}

static inline int scene_make_pki(void **state)
{
	char error[PKI_ERROR_MAX];

	assert_non_null(mkdtemp(scene_pki));
	snprintf(scene_other_pki, sizeof(scene_other_pki), "%s/other", scene_pki);
	if (pki_init(scene_pki, error) || pki_init(scene_other_pki, error))
		fail_msg("%s", error);
	scene_issue(scene_pki, "client", CLIENT, 30);
	scene_issue(scene_pki, "expired", CLIENT, -1);
	scene_issue(scene_pki, "gateway1", GATEWAY_1, 30);
	scene_issue(scene_pki, "gateway2", GATEWAY_2, 30);
	scene_issue(scene_pki, "gateway3", GATEWAY_3, 30);
	scene_issue(scene_pki, "gateway1-expired", GATEWAY_1, -1);
	scene_issue(scene_other_pki, "gateway1", GATEWAY_1, 30);
	scene_issue(scene_other_pki, "client", CLIENT, 30);
	return 0;
}

static inline int scene_remove_pki(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", scene_pki);
	return system(command);
}

/* The same port on every gateway's address, and free on them all. */
static inline int scene_choose_port(void **state)
{
	int fd = node_socket("0.0.0.0", 0, true);

	scene_port = node_port_of(fd);
	close(fd);
	return 0;
}

static inline struct node *scene_start_node(const char *name)
{
	struct node *node = node_start_as(NULL);
	struct kms_ready ready = node_identify(node, scene_pki, name, scene_pki, &scene_settings);

	if (ready.result)
		fail_msg("%s", ready.text);
	assert_string_equal(ready.name, name);
	return node;
}

static inline void scene_listen(struct node *node, const char *address)
{
	int fd = node_socket(address, scene_port, true);

	node_send(node, KMS_LISTEN, NULL, 0, &fd, 1);
	close(fd);
}

static inline struct node *scene_start_gateway(const char *name, const char *address)
{
	struct node *node = scene_start_node(name);

	scene_listen(node, address);
	return node;
}

static inline struct kms_request scene_request(__u64 id)
{
	return (struct kms_request){ .id = id, .timeout_ms = 10000, .patience_ms = 5000, .port = scene_port };
}

static inline void scene_ask(struct node *client, struct kms_request request, const char *first, const char *second,
			     const char *third)
{
	const char *gateways[3] = { first, second, third };

	node_request(client, &request, CLIENT, gateways, third ? 3 : second ? 2 : 1);
}

/* Plays holdfastd on both sides of one exchange that succeeds. Keys are wiped with the last message only: a test. */
static inline void scene_complete(struct node *client, struct node *gateway, struct kms_session *ret_client,
				  struct kms_session *ret_gateway)
{
	const struct kms_session_ref *ref;

	*ret_gateway = *(const struct kms_session *)node_expect(gateway, KMS_INSTALL);
	node_installed(gateway, ret_gateway->id, 0);
	*ret_client = *(const struct kms_session *)node_expect(client, KMS_INSTALL);
	node_installed(client, ret_client->id, 0);
	node_activates(gateway, ret_gateway->id, 0);
	ref = node_expect(client, KMS_ACTIVATE);
	assert_int_equal(ref->session, ret_client->id);
}

static inline void scene_assert_match(const struct kms_session *client, const struct kms_session *gateway)
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

/* Which of the two has something to say first. */
static inline struct node *scene_first_to_speak(struct node *a, struct node *b)
{
	struct pollfd pollfds[2] = { { .fd = a->link, .events = POLLIN }, { .fd = b->link, .events = POLLIN } };

	assert_true(poll(pollfds, 2, NODE_WAIT_MS) > 0);
	return pollfds[0].revents ? a : b;
}

#endif
