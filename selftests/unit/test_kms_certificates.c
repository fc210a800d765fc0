/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is let in, and as whom: certificates of the wrong name, age or authority, revoked ones, and inner addresses. */
#include "selftests/unit/kms_scene.h"

#include "kms/tls_internal.h"

static const struct kms_identity settings_crl = {
	.lifetime_s = 3600, .encapsulation = KMS_ENCAP_AUTO, .exchange_ms = 10000, .has_crl = 1
};

/* One gateway with this identity, and the faults that both sides see. */
static void assert_gateway_refused(const char *dir, const char *name, const struct kms_identity *client_settings, int error,
				   const char *words)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = node_start_as(NULL);

	assert_int_equal(node_identify(gateway, dir, name, scene_pki, &scene_settings).result, 0);
	assert_int_equal(node_identify(client, scene_pki, "client", scene_pki, client_settings).result, 0);
	scene_listen(gateway, GATEWAY_1);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
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
	assert_gateway_refused(scene_pki, "gateway2", &scene_settings, EACCES,
			       "certificate of 127.0.0.11 is for 127.0.0.12, not for this gateway");
}

static void refuses_a_client_posing_as_a_gateway(void **state)
{
	assert_gateway_refused(scene_pki, "client", &scene_settings, EACCES,
			       "certificate of 127.0.0.11 is for 127.0.0.1, not for this gateway");
}

static void refuses_an_expired_gateway(void **state)
{
	assert_gateway_refused(scene_pki, "gateway1-expired", &scene_settings, EACCES, "certificate of 127.0.0.11 has expired");
}

static void refuses_a_gateway_of_another_ca(void **state)
{
	assert_gateway_refused(scene_other_pki, "gateway1", &scene_settings, EACCES, "is not signed by a trust anchor");
}

/* A client with this identity, refused by a good gateway. */
static void assert_client_refused(const char *dir, const char *name, const struct kms_identity *gateway_settings,
				  const char *words, const char *words_at_client)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = node_start_as(NULL);

	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, gateway_settings).result, 0);
	assert_int_equal(node_identify(client, dir, name, scene_pki, &scene_settings).result, 0);
	scene_listen(gateway, GATEWAY_1);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	node_expect_failure(gateway, KMS_REFUSED, EACCES, words);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, words_at_client);
	node_expect(client, KMS_REJECTED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

static void refuses_an_expired_client(void **state)
{
	assert_client_refused(scene_pki, "expired", &scene_settings, "certificate of 127.0.0.1 has expired",
			      "did not accept our certificate: certificate expired");
}

static void refuses_a_client_of_another_ca(void **state)
{
	assert_client_refused(scene_other_pki, "client", &scene_settings, "is not signed by a trust anchor",
			      "did not accept our certificate: unknown CA");
}

/* A certificate that is on the list. Its files are kept aside, in the folder that is returned: revoking moves them away. */
static const char *issue_revoked(const char *name, const char *address)
{
	static char kept[64];
	char error[PKI_ERROR_MAX], command[512];

	scene_issue(scene_pki, name, address, 30);
	snprintf(kept, sizeof(kept), "%s/kept", scene_pki);
	snprintf(command, sizeof(command), "mkdir -p %s && cp %s/%s.pem %s/%s.key %s", kept, scene_pki, name, scene_pki, name,
		 kept);
	assert_int_equal(system(command), 0);
	assert_int_equal(pki_revoke(scene_pki, name, error), 0);
	return kept;
}

static void refuses_a_revoked_client(void **state)
{
	assert_client_refused(issue_revoked("revoked", CLIENT), "revoked", &settings_crl,
			      "certificate of 127.0.0.1 has been revoked",
			      "did not accept our certificate: certificate revoked");
}

static void refuses_a_revoked_gateway(void **state)
{
	assert_gateway_refused(issue_revoked("revoked-gateway", GATEWAY_1), "revoked-gateway", &settings_crl, EACCES,
			       "certificate of 127.0.0.11 has been revoked");
}

static void lets_the_others_in_with_a_revocation_list(void **state)
{
	struct node *gateway = node_start_as(NULL);
	struct node *client = node_start_as(NULL);
	struct kms_session c, g;

	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", scene_pki, &settings_crl).result, 0);
	assert_int_equal(node_identify(client, scene_pki, "client", scene_pki, &settings_crl).result, 0);
	scene_listen(gateway, GATEWAY_1);
	scene_ask(client, scene_request(1), GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	node_stop(client);
	node_stop(gateway);
}

/* While one authority takes the place of another, all trust both, with a list of either. */
static void takes_two_authorities_with_their_lists(void **state)
{
	const char *const clients[] = { scene_pki, scene_other_pki };
	char both[64], command[512];
	struct node *gateway = node_start_as(NULL);

	snprintf(both, sizeof(both), "%s/both", scene_pki);
	snprintf(command, sizeof(command), "mkdir %s && for f in ca crl; do cat %s/$f.pem %s/$f.pem >%s/$f.pem; done", both,
		 scene_pki, scene_other_pki, both);
	assert_int_equal(system(command), 0);
	assert_int_equal(node_identify(gateway, scene_pki, "gateway1", both, &settings_crl).result, 0);
	scene_listen(gateway, GATEWAY_1);
	for (__u64 i = 0; i < 2; i++) {
		struct node *client = node_start_as(NULL);
		struct kms_session c, g;

		assert_int_equal(node_identify(client, clients[i], "client", both, &settings_crl).result, 0);
		scene_ask(client, scene_request(i + 1), GATEWAY_1, NULL, NULL);
		scene_complete(client, gateway, &c, &g);
		scene_assert_match(&c, &g);
		node_stop(client);
	}
	node_stop(gateway);
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
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);
	struct kms_session c, g;

	request.n_inner = 2;
	request.inner[0] = prefix_of("10.1.0.0", 24);
	request.inner[1] = prefix_of(CLIENT, 32);
	set_peer(gateway, "10.1.0.0", "10.1.0.255", "client");
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	scene_complete(client, gateway, &c, &g);
	scene_assert_match(&c, &g);
	assert_int_equal(g.n_inner, 2);
	assert_string_equal(prefix_text(&g.inner[0]).s, "10.1.0.0/24");
	node_stop(client);
	node_stop(gateway);
}

static void refuses_inner_addresses_of_others(void **state)
{
	struct node *gateway = scene_start_gateway("gateway1", GATEWAY_1);
	struct node *client = scene_start_node("client");
	struct kms_request request = scene_request(1);

	request.n_inner = 1;
	request.inner[0] = prefix_of("10.1.0.0", 24);
	set_peer(gateway, "10.1.0.0", "10.1.0.254", "client"); /* one too few */
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "refused: client may not use 10.1.0.0/24 inside");
	node_expect(client, KMS_REJECTED);
	node_expect_failure(gateway, KMS_REFUSED, EACCES, "client may not use 10.1.0.0/24 inside");

	set_peer(gateway, "10.1.0.0", "10.1.0.255", "somebody-else");
	scene_ask(client, request, GATEWAY_1, NULL, NULL);
	node_expect_failure(client, KMS_ATTEMPT_FAILED, EACCES, "may not use");
	node_expect(client, KMS_REJECTED);
	node_expect(gateway, KMS_REFUSED);
	node_expect_quiet(gateway);
	node_stop(client);
	node_stop(gateway);
}

/* One definition on both sides of the link: what is let in here is not inadmissible there. */
static void takes_printable_names_only(void **state)
{
	static const struct {
		const char *name;
		int result;
	} names[] = { { "caf\xc3\xa9", 0 }, { "line\nbreak", -EINVAL }, { "c1\xc2\x85", -EINVAL }, { "del\x7f", -EINVAL } };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		X509 *certificate = X509_new();
		X509_NAME *subject = X509_NAME_new();
		char name[KMS_NAME_MAX];

		assert_true(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[i].name, -1,
						       -1, 0));
		assert_true(X509_set_subject_name(certificate, subject));
		assert_int_equal(tls_certificate_name(certificate, name), names[i].result);
		X509_NAME_free(subject);
		X509_free(certificate);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_printable_names_only),
#define ON_ITS_PORT(test) cmocka_unit_test_setup(test, scene_choose_port)
		ON_ITS_PORT(refuses_a_certificate_of_another_gateway),
		ON_ITS_PORT(refuses_a_client_posing_as_a_gateway),
		ON_ITS_PORT(refuses_an_expired_gateway),
		ON_ITS_PORT(refuses_a_gateway_of_another_ca),
		ON_ITS_PORT(refuses_an_expired_client),
		ON_ITS_PORT(refuses_a_client_of_another_ca),
		ON_ITS_PORT(refuses_a_revoked_client),
		ON_ITS_PORT(refuses_a_revoked_gateway),
		ON_ITS_PORT(lets_the_others_in_with_a_revocation_list),
		ON_ITS_PORT(takes_two_authorities_with_their_lists),
		ON_ITS_PORT(grants_what_peer_says),
		ON_ITS_PORT(refuses_inner_addresses_of_others),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kms_certificates", tests, scene_make_pki, scene_remove_pki);
}
