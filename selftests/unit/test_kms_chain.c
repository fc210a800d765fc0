/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Authorities above each other, which `holdfast pki` does not make: who is let in, and what of it is revoked when one in the
 * middle is.
 *
 *   root ---- between (ends sooner than what is below it) ---- gateway1
 *     \------ client
 */
#include "selftests/unit/kms_chain.h"
#include "selftests/unit/kms_scene.h"

#include <sys/stat.h>
#include <time.h>

#define DAY_S 86400L

static const struct kms_identity with_lists = {
	.lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000, .has_crl = 1
};

static struct chain_link root, between, gateway1, client1;
static char trust[64], revoking[64];

static void make_folder(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", scene_pki, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* A folder of trust: these authorities, and lists of both, of which the root's names one or nobody. */
static void make_trust(const char *dir, const struct chain_link *first, const struct chain_link *second,
		       const struct chain_link *revoked, bool by_key)
{
	chain_save(dir, "ca", first, &second, second ? 1 : 0);
	chain_add_crl(dir, &root, revoked, 30 * DAY_S, by_key);
	chain_add_crl(dir, &between, NULL, 20 * DAY_S, by_key);
}

static int make_all(void **state)
{
	const struct chain_link *above = &between;

	assert_non_null(mkdtemp(scene_pki));
	root = chain_make("Root", NULL, NULL, 300, NULL);
	between = chain_make("Between", &root, NULL, 10, NULL);
	gateway1 = chain_make("gateway1", &between, GATEWAY_1, 30, NULL);
	client1 = chain_make("client", &root, CLIENT, 30, NULL);
	chain_save(scene_pki, "gateway1", &gateway1, &above, 1);
	chain_save(scene_pki, "client", &client1, NULL, 0);
	make_folder(trust, sizeof(trust), "trust");
	make_trust(trust, &root, NULL, NULL, true);
	make_folder(revoking, sizeof(revoking), "revoking");
	make_trust(revoking, &root, NULL, &between, true);
	return 0;
}

static int remove_all(void **state)
{
	chain_free(&root);
	chain_free(&between);
	chain_free(&gateway1);
	chain_free(&client1);
	return scene_remove_pki(state);
}

static struct node *start(const char *name, const char *trusted)
{
	struct node *node = node_start_as(NULL);
	struct kms_ready ready = node_identify(node, scene_pki, name, trusted, &with_lists);

	if (ready.result)
		fail_msg("%s", ready.text);
	return node;
}

static struct node *start_gateway(void)
{
	struct node *gateway = start("gateway1", trust);

	scene_listen(gateway, GATEWAY_1);
	return gateway;
}

static void tell(struct node *node, const struct kms_session *session)
{
	struct kms_knowns knowns = { .n = 1, .known = { { .remote = session->remote, .certificate = session->certificate } } };

	node_send(node, KMS_KNOWN, &knowns, sizeof(knowns), NULL, 0);
}

/* The session says on what it rests, ends with the first of it, and is named when a list revokes what is in the middle. */
static void names_the_sessions_of_a_revoked_authority(void **state)
{
	struct node *gateway = start_gateway(), *client = start("client", trust);
	struct kms_session c, g;
	__s64 now = (__s64)time(NULL);

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
	assert_int_equal(g.certificate.n, 1);
	assert_int_equal(c.certificate.n, 2);
	assert_int_not_equal(c.certificate.chain[1].serial_len, 0);
	assert_memory_not_equal(&c.certificate.chain[0], &c.certificate.chain[1], sizeof(struct kms_listed));
	assert_in_range(c.not_after, now + 9 * DAY_S, now + 11 * DAY_S);
	assert_in_range(g.not_after, now + 29 * DAY_S, now + 31 * DAY_S);
	tell(client, &c);
	node_expect_quiet(client);
	assert_int_equal(node_identify(client, scene_pki, "client", revoking, &with_lists).result, 0);
	tell(client, &c);
	assert_memory_equal(node_expect(client, KMS_REVOKED), &c.certificate, sizeof(c.certificate));
	node_stop(client);
	node_stop(gateway);
}

/* What began under the list before is not let through by it. */
static void refuses_what_began_before_the_list(void **state)
{
	struct node *gateway = start_gateway(), *client = start("client", trust);
	const struct kms_session *g;

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	g = node_expect(gateway, KMS_INSTALL); /* the client has authenticated it, and waits for its answer */
	assert_int_equal(node_identify(client, scene_pki, "client", revoking, &with_lists).result, 0);
	node_installed(gateway, g->id, 0);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EKEYREVOKED, "could not be installed here");
	node_expect(client, KMS_REJECTED);
	node_expect_quiet(client);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_a_revoked_authority(void **state)
{
	struct node *gateway = start_gateway(), *client = start("client", revoking);

	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "above that of 127.0.0.11 has been revoked");
	node_expect(client, KMS_REJECTED);
	node_stop(client);
	node_stop(gateway);
}

/* A client that trusts the authorities of this folder: whether it has a session with the gateway, or why not. */
static void try_trust(const char *dir, const struct kms_identity *settings, const char *refusal)
{
	struct node *gateway = start_gateway(), *client = node_start_as(NULL);
	struct kms_session c, g;

	assert_int_equal(node_identify(client, scene_pki, "client", dir, settings).result, 0);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	if (refusal) {
		node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, refusal);
		node_expect(client, KMS_REJECTED);
	} else {
		scene_complete(client, gateway, &c, &g);
		assert_int_equal(c.certificate.n, 2);
	}
	node_stop(client);
	node_stop(gateway);
}

/*
 * An anchor in the middle is enough, with lists or without; and is one that the root's list can revoke, though nobody here
 * can say that it is the root's, and though the root is trusted as well.
 */
static void trusts_an_authority_in_the_middle(void **state)
{
	static const char revoked[] = "a certificate above that of 127.0.0.11 has been revoked";
	char dir[64], name[16];

	for (unsigned int i = 0; i < 8; i++) {
		bool by_key = i & 1, revokes = i & 2, both = i & 4;

		snprintf(name, sizeof(name), "trust%u", i);
		make_folder(dir, sizeof(dir), name);
		make_trust(dir, &between, both ? &root : NULL, revokes ? &between : NULL, by_key);
		try_trust(dir, &with_lists, revokes ? revoked : NULL);
		try_trust(dir, &scene_settings, NULL);
	}
}

/* The first of the lists; none of those that are not there. */
static void says_when_a_list_runs_out(void **state)
{
	struct node *client = node_start_as(NULL);
	struct kms_ready ready = node_identify(client, scene_pki, "client", trust, &with_lists);
	__s64 now = (__s64)time(NULL);

	assert_int_equal(ready.result, 0);
	assert_in_range(ready.lists_end, now + 20 * DAY_S - 600, now + 20 * DAY_S);
	ready = node_identify(client, scene_pki, "client", trust, &scene_settings);
	assert_int_equal(ready.result, 0);
	assert_int_equal(ready.lists_end, 0);
	node_stop(client);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(names_the_sessions_of_a_revoked_authority),
		ON_ITS_PORT(refuses_what_began_before_the_list),
		ON_ITS_PORT(refuses_a_revoked_authority),
		ON_ITS_PORT(trusts_an_authority_in_the_middle),
		ON_ITS_PORT(says_when_a_list_runs_out),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_chain", tests, make_all, remove_all);
}
