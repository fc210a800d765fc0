/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The record of a session as it lies in a pinned map, written by another run of
 * holdfastd, or damaged. The input is one; what is cut short is zero. What is taken for
 * well-formed must be what a session is, must be the same after it has been written once
 * more, and must not be granted what a policy does not give.
 */
#include <errno.h>
#include <linux/types.h>

#include "lib/text.h"
#include "loader/session_record.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_keyservice.h"

static struct policy *granting, *strict;

static struct policy *parse(const char *peers)
{
	struct policy_report report = { 0 };
	struct policy *parsed;
	char text[1024];

	snprintf(text, sizeof(text), KEYSERVICE_POLICY "%s", "a", "b", "c", KEYSERVICE_WORKERS, peers);
	MUST(!policy_parse(text, strlen(text), &report, &parsed));
	policy_report_clear(&report);
	return parsed;
}

static void clean_up(void)
{
	policy_free(granting);
	policy_free(strict);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	granting = parse(KEYSERVICE_PEERS);
	strict = parse("");
	atexit(clean_up);
	return 0;
}

static void check_session(const struct kms_session *session)
{
	MUST(session->role == KMS_INITIATOR || session->role == KMS_RESPONDER);
	MUST(addr_is_v4(&session->local) == addr_is_v4(&session->remote));
	MUST(session->spi_in > 255 && session->spi_in != 0xffffffff);
	MUST(session->spi_out > 255 && session->spi_out != 0xffffffff);
	MUST(session->algorithm >= KMS_AES_256_GCM && session->algorithm <= KMS_CHACHA20_POLY1305);
	MUST(session->encapsulation == (session->remote_port ? KMS_ENCAP_UDP : KMS_ENCAP_ESP));
	MUST(session->proven <= 1 && kms_certificate_is_sound(&session->certificate));
	MUST(memchr(session->name, 0, sizeof(session->name)) && session->name[0] && text_is_printable(session->name));
	MUST(!session->key_len && session->n_inner <= KMS_MAX_INNER);
	for (__u32 i = 0; i < session->n_inner; i++) {
		struct hf_prefix masked = session->inner[i];

		prefix_mask(&masked);
		MUST(session->inner[i].len <= 128 && addr_equal(&masked.addr, &session->inner[i].addr));
	}
}

/* The peer that it becomes, as a record. */
static void check_once_more(const struct hf_session *record, const struct kms_session *session)
{
	struct peer peer = { .role = record->role, .local = session->local, .remote = session->remote,
			     .port = session->remote_port, .n_inner = session->n_inner, .up = true,
			     .spi_in = session->spi_in, .spi_out = session->spi_out, .algorithm = session->algorithm,
			     .established_ns = record->established_ns, .lifetime_s = session->lifetime_s,
			     .proven = session->proven, .not_after = session->not_after,
			     .certificate = session->certificate, .slot = record->slot,
			     .named_bits = record->named, .claimed = record->claimed };
	struct hf_session written;
	struct kms_session again;

	memcpy(peer.name, session->name, sizeof(peer.name));
	memcpy(peer.inner, session->inner, sizeof(peer.inner));
	session_record_fill(&peer, record->grants, &written);
	MUST(!session_record_read(&written, &again));
	MUST(!memcmp(session, &again, sizeof(again)));
	MUST(written.slot == record->slot && written.slot < HF_STEER_MAX && written.claimed == record->claimed);
}

/* Granted by a policy under another fingerprint: each is its own and proven, or within the one [PEER] statement. */
static void check_granted(struct hf_session record, const struct kms_session *session, const struct policy *policy)
{
	const struct hf_addr first = KEYSERVICE_PEER_FIRST, last = KEYSERVICE_PEER_LAST;

	record.grants = session_record_grants(policy);
	MUST(session_record_is_granted(&record, policy));
	record.grants++;
	if (!session_record_is_granted(&record, policy))
		return;
	for (__u32 i = 0; i < session->n_inner; i++) {
		const struct hf_prefix *inner = &session->inner[i];
		bool own = session->proven && inner->len == 128 && addr_equal(&inner->addr, &session->remote);

		MUST(own || (policy == granting && inner->len >= 112 && addr_cmp(&first, &inner->addr) <= 0 &&
			     addr_cmp(&inner->addr, &last) <= 0 && !strcmp(session->name, KEYSERVICE_PEER)));
	}
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	struct input in = { data, size };
	struct kms_session session;
	struct hf_session record;
	int err;

	memset(&session, 0x5a, sizeof(session));
	input_read(&in, &record, sizeof(record));
	err = session_record_read(&record, &session);
	if (err) {
		MUST(err == -EINVAL && session.role == 0x5a);
		MUST(!session_record_is_granted(&record, granting) && !session_record_is_granted(&record, strict));
		return 0;
	}
	check_session(&session);
	check_once_more(&record, &session);
	check_granted(record, &session, granting);
	check_granted(record, &session, strict);
	MUST(session_record_is_valid(&record, 1) == (!record.not_after || record.not_after > 1));
	return 0;
}
