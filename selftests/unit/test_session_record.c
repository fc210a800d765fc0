/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of sessions: there and back, what is not believed, and what a changed policy still grants. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/session_record.h"

static struct hf_addr addr(const char *text)
{
	struct hf_addr ret;

	assert_int_equal(addr_parse(text, strlen(text), &ret), 0);
	return ret;
}

static struct peer make_peer(void)
{
	struct peer peer = { .role = HF_ROLE_CLIENT, .if_id = 0x48000007, .local = addr("192.0.2.1"),
			     .remote = addr("198.51.100.7"), .port = 4501, .name = "laptop", .n_inner = 2, .up = true,
			     .spi_in = 0x1000, .spi_out = 0xfffffffe, .algorithm = KMS_CHACHA20_POLY1305,
			     .established_ns = 77, .lifetime_s = 3600, .proven = true, .not_after = 4102444800,
			     .slot = 9, .named_bits = 2, .claimed = true };

	peer.certificate.n = 2;
	peer.certificate.chain[0].serial_len = peer.certificate.chain[1].serial_len = KMS_SERIAL_MAX;
	peer.certificate.chain[1].serial[0] = 1;
	peer.inner[0] = prefix_of_host(&peer.remote);
	peer.inner[1] = (struct hf_prefix){ .addr = addr("10.8.0.0"), .len = 96 + 24 };
	return peer;
}

static void there_and_back(void **state)
{
	struct peer peer = make_peer();
	struct kms_session session;
	struct hf_session record;

	session_record_fill(&peer, 5, &record);
	assert_int_equal(record.established_ns, 77);
	assert_int_equal(record.slot, 9);
	assert_int_equal(record.named, 2);
	assert_true(record.claimed);
	assert_int_equal(session_record_read(&record, &session), 0);
	assert_true(peer_role_of(&session) == HF_ROLE_CLIENT);
	assert_memory_equal(&session.local, &peer.local, sizeof(peer.local));
	assert_memory_equal(&session.remote, &peer.remote, sizeof(peer.remote));
	assert_int_equal(session.spi_in, peer.spi_in);
	assert_int_equal(session.spi_out, peer.spi_out);
	assert_int_equal(session.encapsulation, KMS_ENCAP_UDP);
	assert_int_equal(session.remote_port, 4501);
	assert_int_equal(session.algorithm, KMS_CHACHA20_POLY1305);
	assert_int_equal(session.lifetime_s, 3600);
	assert_string_equal(session.name, "laptop");
	assert_int_equal(session.n_inner, 2);
	assert_memory_equal(session.inner, peer.inner, 2 * sizeof(*peer.inner));
	assert_int_equal(session.not_after, 4102444800);
	assert_memory_equal(&session.certificate, &peer.certificate, sizeof(peer.certificate));
	for (size_t i = 0; i < sizeof(session.key_in); i++)
		assert_int_equal(session.key_in[i] | session.key_out[i], 0);

	peer.role = HF_ROLE_GATEWAY;
	peer.port = 0;
	session_record_fill(&peer, 5, &record);
	assert_int_equal(session_record_read(&record, &session), 0);
	assert_true(peer_role_of(&session) == HF_ROLE_GATEWAY);
	assert_int_equal(session.encapsulation, KMS_ENCAP_ESP);
}

static void nonsense_is_not_believed(void **state)
{
	struct peer peer = make_peer();
	struct kms_session session;
	struct hf_session good, bad[15];

	session_record_fill(&peer, 0, &good);
	peer.certificate.n = KMS_CHAIN_MAX + 1;
	session_record_fill(&peer, 0, &bad[13]);
	peer.certificate.n = 2;
	peer.certificate.chain[1].serial_len = KMS_SERIAL_MAX + 1;
	session_record_fill(&peer, 0, &bad[14]);
	for (size_t i = 0; i < 13; i++)
		bad[i] = good;
	bad[0].role = 3;
	bad[1].n_inner = HF_INNER_MAX + 1;
	bad[2].spi_in = 255;
	bad[3].spi_out = HF_BEAT_SPI;
	bad[4].algorithm = 0;
	bad[5].algorithm = KMS_CHACHA20_POLY1305 + 1;
	memset(bad[6].name, 'x', sizeof(bad[6].name));
	bad[7].inner[1].prefixlen = 129;
	bad[8].inner[1].addr = addr("10.8.0.1"); /* bits beyond its length */
	bad[9].slot = HF_STEER_MAX;
	strcpy(bad[10].name, "\033[2J");
	strcpy(bad[11].name, "\xff"); /* no JSON can have it */
	bad[12].name[0] = 0;
	assert_int_equal(session_record_read(&good, &session), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (session_record_read(&bad[i], &session) != -EINVAL)
			fail_msg("record %zu was believed", i);
}

static struct policy *parse(const char *peers)
{
	struct policy_report report = { 0 };
	struct policy *policy;
	char text[1024];

	snprintf(text, sizeof(text),
		 "[IDENTITY]\nCertificate = a\nPrivateKey = b\nTrustAnchors = c\n[INTERFACE]\nUnderlay = eth0\n%s", peers);
	if (policy_parse(text, strlen(text), &report, &policy))
		fail_msg("%s", report.n ? report.messages[0].text : "?");
	policy_report_clear(&report);
	return policy;
}

static void changed_grants_are_looked_at(void **state)
{
	struct policy *before = parse("[PEER]\nPeer1 = 10.8.0.0/24 laptop\n");
	struct policy *wider = parse("[PEER]\nPeer1 = 10.8.0.0/16 laptop\nPeer2 = 10.9.0.0/24 desk\n");
	struct policy *narrower = parse("[PEER]\nPeer1 = 10.8.0.0/25 laptop\n");
	struct policy *other = parse("[PEER]\nPeer1 = 10.8.0.0/24 desk\n"), *none = parse("");
	struct peer peer = make_peer();
	struct hf_session record;

	session_record_fill(&peer, session_record_grants(before), &record);
	assert_true(session_record_is_granted(&record, before));
	assert_true(session_record_is_granted(&record, wider));
	assert_false(session_record_is_granted(&record, narrower));
	assert_false(session_record_is_granted(&record, other));
	assert_false(session_record_is_granted(&record, none));
	/* Its own address alone, which its certificate proves, needs no statement. */
	record.n_inner = 1;
	assert_true(session_record_is_granted(&record, none));
	record.proven = 0;
	assert_false(session_record_is_granted(&record, none));
	policy_free(before);
	policy_free(wider);
	policy_free(narrower);
	policy_free(other);
	policy_free(none);
}

static void expired_certificates(void **state)
{
	struct peer peer = make_peer();
	struct hf_session record;

	session_record_fill(&peer, 0, &record);
	assert_true(session_record_is_valid(&record, 4102444799));
	assert_false(session_record_is_valid(&record, 4102444800));
	record.not_after = 0; /* not told */
	assert_true(session_record_is_valid(&record, 4102444800));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(nonsense_is_not_believed),
		cmocka_unit_test(changed_grants_are_looked_at),
		cmocka_unit_test(expired_certificates),
	};

	return cmocka_run_group_tests_name("session_record", tests, NULL, NULL);
}
