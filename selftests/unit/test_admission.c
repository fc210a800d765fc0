/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What holdfastd believes a key management service: one good session of each kind, and each field of it gone bad. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loader/admission.h"

#define REQUEST 7
#define LIFETIME 3600
#define MAPPED [10] = 0xff, 0xff

static const struct hf_addr us = { .b = { MAPPED, 192, 0, 2, 1 } };
static const struct hf_addr gateway = { .b = { MAPPED, 192, 0, 2, 9 } };
static const struct hf_addr other_gateway = { .b = { MAPPED, 192, 0, 2, 10 } };
static const struct hf_addr client = { .b = { MAPPED, 203, 0, 113, 5 } };
static const struct hf_addr inside = { .b = { MAPPED, 10, 9, 0, 5 } }; /* our own Address */

static const char text[] = "[INTERFACE]\n"
			   "Address = 10.9.0.5/24 10.8.0.0/16\n"
			   "[CLUSTER]\n"
			   "Cluster1 = 192.0.2.9 192.0.2.10\n"
			   "[TUNNEL]\n"
			   "Tunnel1 = 10.0.0.0/24 Cluster1\n"
			   "[PEER]\n"
			   "Peer1 = 10.7.0.0/16 client\n";

static struct policy *policy;
static struct admission *admission;
static char words[KMS_TEXT_MAX];

static bool is_own(void *context, const struct hf_addr *addr)
{
	return addr_equal(addr, &us) || addr_equal(addr, &inside);
}

/* Of the network of clients. */
static bool is_broadcast(void *context, const struct hf_addr *addr)
{
	return addr->b[12] == client.b[12] && addr->b[15] == 0xff;
}

static struct policy *parse(const char *policy_text)
{
	struct policy_report report = { 0 };
	struct policy *parsed = NULL;

	assert_int_equal(policy_parse(policy_text, strlen(policy_text), &report, &parsed), 0);
	policy_report_clear(&report);
	return parsed;
}

static int set_up(void **state)
{
	policy = parse(text);
	assert_int_equal(admission_new(&admission), 0);
	assert_int_equal(admission_asked(admission, REQUEST, &gateway, 1), 0);
	return 0;
}

static int tear_down(void **state)
{
	admission_free(admission);
	policy_free(policy);
	return 0;
}

/* As we dialled a gateway. */
static struct kms_session dialled(void)
{
	struct kms_session session = {
		.id = 1, .request = REQUEST, .local = us, .remote = gateway, .spi_in = 0x1000, .spi_out = 0x2000,
		.lifetime_s = LIFETIME, .role = KMS_INITIATOR, .algorithm = KMS_AES_256_GCM,
		.encapsulation = KMS_ENCAP_ESP, .key_len = 36, .proven = 1, .n_inner = 1, .name = "gateway",
		.key_in = { 1 }, .key_out = { 2 },
	};

	session.inner[0] = prefix_of_host(&inside);
	return session;
}

/* As a client dialled us. */
static struct kms_session accepted(void)
{
	struct kms_session session = dialled();

	session.request = 0;
	session.remote = client;
	session.role = KMS_RESPONDER;
	session.inner[0] = prefix_of_host(&client);
	strcpy(session.name, "client");
	return session;
}

static int check_against(const struct policy *against, const struct kms_session *session)
{
	const struct admission_facts facts = { .policy = against, .lifetime_max_s = LIFETIME, .is_own = is_own,
					       .is_broadcast = is_broadcast };
	int err;

	memset(words, 0, sizeof(words));
	err = admission_check(admission, &facts, session, words);
	/* Whoever is refused is told why, in one line. */
	assert_int_equal(err != 0, words[0] != 0);
	assert_null(strchr(words, '\n'));
	return err;
}

static int check(const struct kms_session *session)
{
	return check_against(policy, session);
}

static void takes_good_ones(void **state)
{
	struct kms_session session = dialled();

	assert_int_equal(check(&session), 0);
	session.inner[1] = (struct hf_prefix){ .addr.b = { MAPPED, 10, 8, 0, 0 }, .len = 112 };
	session.n_inner = 2; /* the network of Address as well */
	assert_int_equal(check(&session), 0);
	session = accepted();
	assert_int_equal(check(&session), 0);
	session.encapsulation = KMS_ENCAP_UDP;
	session.remote_port = HF_UDP_ENCAP_PORT;
	session.algorithm = KMS_AES_128_GCM;
	session.key_len = 20;
	session.proven = 0;
	assert_int_equal(check(&session), 0);
	/* A [PEER] statement's. */
	session.inner[0] = (struct hf_prefix){ .addr.b = { MAPPED, 10, 7, 1, 0 }, .len = 120 };
	assert_int_equal(check(&session), 0);
	/* We dialled a client whom the policy names; its prefixes are what counts. */
	session = dialled();
	session.reversed = 1;
	session.inner[0] = prefix_of_host(&gateway);
	assert_int_equal(check(&session), 0);
}

/* Each changes one field of a good one. */
struct change {
	const char *what;
	void (*apply)(struct kms_session *session);
	int expected;
};

static void refuse_each(const struct kms_session *good, const struct change *changes, size_t n)
{
	assert_int_equal(check(good), 0);
	for (size_t i = 0; i < n; i++) {
		struct kms_session session = *good;
		int err;

		changes[i].apply(&session);
		err = check(&session);
		if (err != changes[i].expected)
			fail_msg("%s: %d instead of %d (%s)", changes[i].what, err, changes[i].expected, words);
	}
}

#define CHANGE(name, statement)                                   \
	static void name(struct kms_session *session)             \
	{                                                         \
		statement;                                        \
	}

CHANGE(no_number, session->id = 0)
CHANGE(role_0, session->role = 0)
CHANGE(role_3, session->role = 3)
CHANGE(role_255, session->role = 255)
CHANGE(not_proven, session->proven = 0)
CHANGE(no_request, session->request = 0)
CHANGE(strange_request, session->request++)
CHANGE(strange_gateway, session->remote = other_gateway)
CHANGE(remote_client, session->remote = client)
CHANGE(remote_us, session->remote = inside)
CHANGE(remote_zero, memset(&session->remote, 0, sizeof(session->remote)))
CHANGE(remote_group, session->remote.b[12] = 224)
CHANGE(remote_broadcast, memset(session->remote.b + 12, 0xff, 4))
CHANGE(remote_loopback, session->remote.b[12] = 127)
CHANGE(remote_v6, session->remote.b[0] = 0x20)
CHANGE(ends_v6, session->local.b[0] = session->remote.b[0] = 0x20)
CHANGE(client_broadcast, session->remote.b[15] = 0xff)
CHANGE(local_strange, session->local = client)
CHANGE(local_zero, memset(&session->local, 0, sizeof(session->local)))
CHANGE(spi_in_0, session->spi_in = 0)
CHANGE(spi_in_255, session->spi_in = 255)
CHANGE(spi_in_beat, session->spi_in = 0xffffffff)
CHANGE(spi_out_1, session->spi_out = 1)
CHANGE(spi_out_beat, session->spi_out = 0xffffffff)
CHANGE(algorithm_0, session->algorithm = 0)
CHANGE(algorithm_4, session->algorithm = 4)
CHANGE(algorithm_255, session->algorithm = 255)
CHANGE(key_short, session->key_len = 35)
CHANGE(key_none, session->key_len = 0)
CHANGE(key_of_another, session->key_len = 20)
CHANGE(keys_alike, memcpy(session->key_in, session->key_out, KMS_KEY_MAX))
CHANGE(lifetime_none, session->lifetime_s = 0)
CHANGE(lifetime_long, session->lifetime_s = LIFETIME + 1)
CHANGE(lifetime_endless, session->lifetime_s = 0xffffffff)
CHANGE(encapsulation_auto, session->encapsulation = KMS_ENCAP_AUTO)
CHANGE(encapsulation_3, session->encapsulation = 3)
CHANGE(port_of_esp, session->remote_port = 4500)
CHANGE(port_of_udp, (session->encapsulation = KMS_ENCAP_UDP, session->remote_port = 53))
CHANGE(name_empty, session->name[0] = 0)
CHANGE(name_newline, strcpy(session->name, "client\nroot"))
CHANGE(name_escape, strcpy(session->name, "\033[2Jclient"))
CHANGE(name_c1, strcpy(session->name, "\xc2\x9b" "2J"))
CHANGE(name_latin1, strcpy(session->name, "caf\xe9"))
CHANGE(inner_none, session->n_inner = 0)
CHANGE(inner_many, session->n_inner = KMS_MAX_INNER + 1)
CHANGE(inner_long, session->inner[0].len = 129)
CHANGE(inner_255, session->inner[0].len = 255)
CHANGE(inner_bits, session->inner[0].len = 120)
CHANGE(inner_all, memset(&session->inner[0], 0, sizeof(session->inner[0])))
CHANGE(inner_mapped, session->inner[0] = ((struct hf_prefix){ .addr.b = { [10] = 0xff, 0xfe }, .len = 95 }))
CHANGE(inner_strange, session->inner[0] = prefix_of_host(&client))
CHANGE(inner_wide, session->inner[0] = ((struct hf_prefix){ .addr.b = { MAPPED, 10, 9, 0, 0 }, .len = 120 }))
CHANGE(inner_second, (session->inner[1] = prefix_of_host(&other_gateway), session->n_inner = 2))
CHANGE(client_wide, session->inner[0] = ((struct hf_prefix){ .addr.b = { MAPPED, 203, 0, 113, 0 }, .len = 120 }))
CHANGE(client_beyond, session->inner[0] = ((struct hf_prefix){ .addr.b = { MAPPED, 10, 0, 0, 0 }, .len = 104 }))
CHANGE(client_of_another, (strcpy(session->name, "thief"),
			   session->inner[0] = (struct hf_prefix){ .addr.b = { MAPPED, 10, 7, 1, 0 }, .len = 120 }))
CHANGE(client_ours, session->inner[0] = prefix_of_host(&us))
CHANGE(client_gateway, session->inner[0] = prefix_of_host(&gateway))
CHANGE(client_group, session->inner[0].addr.b[12] = 239)
CHANGE(client_loopback, session->inner[0].addr.b[12] = 127)
CHANGE(client_answers, session->request = REQUEST)
CHANGE(client_reversed, session->reversed = 1)

static void refuses_bad_esp(void **state)
{
	static const struct change changes[] = {
#define BAD(name) { #name, name, -EPROTO }
		BAD(no_number), BAD(role_0), BAD(role_3), BAD(role_255), BAD(remote_zero), BAD(remote_group),
		BAD(remote_broadcast), BAD(remote_loopback), BAD(remote_v6), BAD(ends_v6), BAD(local_zero), BAD(spi_in_0),
		BAD(spi_in_255), BAD(spi_in_beat), BAD(spi_out_1), BAD(spi_out_beat), BAD(algorithm_0), BAD(algorithm_4),
		BAD(algorithm_255), BAD(key_short), BAD(key_none), BAD(key_of_another), BAD(keys_alike),
		BAD(lifetime_none), BAD(lifetime_long), BAD(lifetime_endless), BAD(encapsulation_auto),
		BAD(encapsulation_3), BAD(port_of_esp), BAD(port_of_udp), BAD(name_empty), BAD(name_newline),
		BAD(name_escape), BAD(name_c1), BAD(name_latin1), BAD(inner_none), BAD(inner_many), BAD(inner_long),
		BAD(inner_255), BAD(inner_bits), BAD(inner_all), BAD(inner_mapped),
#undef BAD
		{ "local_strange", local_strange, -EACCES },
		{ "remote_us", remote_us, -EACCES },
	};
	struct kms_session session = dialled();

	refuse_each(&session, changes, sizeof(changes) / sizeof(changes[0]));
	session = accepted();
	refuse_each(&session, changes, sizeof(changes) / sizeof(changes[0]));
}

static void refuses_what_was_not_asked(void **state)
{
	static const struct change changes[] = {
		{ "not_proven", not_proven, -EPROTO },	     { "no_request", no_request, -EPROTO },
		{ "strange_request", strange_request, -ECANCELED },
		{ "strange_gateway", strange_gateway, -EACCES }, { "remote_client", remote_client, -EACCES },
		{ "inner_strange", inner_strange, -EACCES }, { "inner_wide", inner_wide, -EACCES },
		{ "inner_second", inner_second, -EACCES },
	};
	struct kms_session session = dialled();

	refuse_each(&session, changes, sizeof(changes) / sizeof(changes[0]));
}

static void refuses_clients_outside_the_policy(void **state)
{
	static const struct change changes[] = {
		{ "client_broadcast", client_broadcast, -EACCES },
		{ "client_wide", client_wide, -EACCES },     { "client_beyond", client_beyond, -EACCES },
		{ "client_of_another", client_of_another, -EACCES },
		{ "client_ours", client_ours, -EACCES },     { "client_gateway", client_gateway, -EACCES },
		{ "client_group", client_group, -EACCES },   { "client_loopback", client_loopback, -EACCES },
		{ "client_answers", client_answers, -EPROTO }, { "client_reversed", client_reversed, -EPROTO },
	};
	struct kms_session session = accepted();

	refuse_each(&session, changes, sizeof(changes) / sizeof(changes[0]));
}

static void obeys_the_policy(void **state)
{
	struct policy *nobody = parse("[INTERFACE]\nAccept = NO\n"), *udp = parse("[INTERFACE]\nEncapsulation = UDP\n");
	struct kms_session session = accepted();

	assert_int_equal(check_against(nobody, &session), -EACCES);
	assert_int_equal(check_against(udp, &session), -EACCES);
	session.encapsulation = KMS_ENCAP_UDP;
	session.remote_port = HF_UDP_ENCAP_PORT;
	assert_int_equal(check_against(udp, &session), 0);
	/* Without an Address of the policy, our outer one is what we use inside. */
	session = dialled();
	assert_int_equal(check_against(nobody, &session), -EACCES);
	session.inner[0] = prefix_of_host(&us);
	assert_int_equal(check_against(nobody, &session), 0);
	policy_free(nobody);
	policy_free(udp);
}

static void a_request_is_answered_once(void **state)
{
	struct kms_session session = dialled();

	/* The one that was installed may have come to nothing: then the next gateway is tried. */
	admission_installed(admission, &session);
	session.id = 2;
	assert_int_equal(check(&session), 0);
	admission_installed(admission, &session);
	admission_activated(admission, 1);
	assert_int_equal(check(&session), 0);
	admission_activated(admission, 2);
	session.id = 3;
	assert_int_equal(check(&session), -ECANCELED);
}

static void a_request_may_end(void **state)
{
	struct kms_session session = dialled();

	assert_int_equal(admission_asked(admission, REQUEST + 1, &other_gateway, 1), 0);
	admission_settled(admission, REQUEST);
	assert_int_equal(check(&session), -ECANCELED);
	session.request = REQUEST + 1;
	assert_int_equal(check(&session), -EACCES);
	session.remote = other_gateway;
	assert_int_equal(check(&session), 0);
	admission_settled(admission, 0);
	assert_int_equal(check(&session), -ECANCELED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(takes_good_ones),	    CASE(refuses_bad_esp),	 CASE(refuses_what_was_not_asked),
		CASE(refuses_clients_outside_the_policy), CASE(obeys_the_policy), CASE(a_request_is_answered_once),
		CASE(a_request_may_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
