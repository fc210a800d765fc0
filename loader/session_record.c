/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/session_record.h"

#include <errno.h>
#include <string.h>

#include "lib/text.h"

_Static_assert(HF_NAME_MAX == KMS_NAME_MAX && HF_NAME_MAX == POLICY_NAME_MAX, "names are copied whole");
_Static_assert(HF_INNER_MAX == KMS_MAX_INNER, "so are the inner prefixes");
_Static_assert(HF_CERTIFICATE_LEN == sizeof(struct kms_certificate), "so is what tells the certificate");

void session_record_fill(const struct peer *peer, __u64 grants, struct hf_session *ret)
{
	struct hf_session record = {
		.local = peer->local,
		.remote = peer->remote,
		.established_ns = peer->established_ns,
		.not_after = peer->not_after,
		.grants = grants,
		.spi_in = peer->spi_in,
		.spi_out = peer->spi_out,
		.lifetime_s = peer->lifetime_s,
		.slot = peer->slot,
		.named = peer->named_bits,
		.port = peer->port,
		.role = (__u8)peer->role,
		.algorithm = (__u8)peer->algorithm,
		.claimed = peer->claimed,
		.proven = peer->proven,
		.n_inner = (__u8)peer->n_inner,
	};

	memcpy(record.certificate, &peer->certificate, sizeof(record.certificate));
	memcpy(record.name, peer->name, sizeof(record.name));
	for (size_t i = 0; i < peer->n_inner; i++) {
		record.inner[i].prefixlen = peer->inner[i].len;
		record.inner[i].addr = peer->inner[i].addr;
	}
	*ret = record;
}

static bool prefix_is_whole(const struct hf_tunnel_key *key, struct hf_prefix *ret)
{
	struct hf_prefix prefix = { .addr = key->addr, .len = (__u8)key->prefixlen }, masked = prefix;

	if (key->prefixlen > 128)
		return false;
	prefix_mask(&masked);
	*ret = prefix;
	return addr_equal(&masked.addr, &prefix.addr);
}

static bool spi_is_good(__u32 spi)
{
	return spi > 255 && spi != HF_BEAT_SPI; /* RFC 4303, 2.1 */
}

/* It ends in logs and in JSON, as that of a session from the KMS does (admission.c). */
static bool name_is_whole(const char *name)
{
	return memchr(name, '\0', HF_NAME_MAX) && name[0] && text_is_printable(name);
}

int session_record_read(const struct hf_session *record, struct kms_session *ret)
{
	struct kms_session session = {
		.local = record->local,
		.remote = record->remote,
		.spi_in = record->spi_in,
		.spi_out = record->spi_out,
		.lifetime_s = record->lifetime_s,
		.remote_port = record->port,
		.role = record->role == HF_ROLE_GATEWAY ? KMS_INITIATOR : KMS_RESPONDER,
		.algorithm = record->algorithm,
		.encapsulation = record->port ? KMS_ENCAP_UDP : KMS_ENCAP_ESP,
		.proven = record->proven,
		.n_inner = record->n_inner,
		.not_after = record->not_after,
	};

	if ((record->role != HF_ROLE_GATEWAY && record->role != HF_ROLE_CLIENT) || record->claimed > 1 ||
	    record->proven > 1 || record->n_inner > HF_INNER_MAX || !spi_is_good(record->spi_in) ||
	    !spi_is_good(record->spi_out) || record->algorithm < KMS_AES_256_GCM ||
	    record->algorithm > KMS_CHACHA20_POLY1305 || addr_is_v4(&record->local) != addr_is_v4(&record->remote) ||
	    !name_is_whole(record->name) || record->slot >= HF_STEER_MAX)
		return -EINVAL;
	memcpy(&session.certificate, record->certificate, sizeof(session.certificate));
	if (!kms_certificate_is_sound(&session.certificate))
		return -EINVAL;
	memcpy(session.name, record->name, sizeof(session.name));
	for (size_t i = 0; i < record->n_inner; i++)
		if (!prefix_is_whole(&record->inner[i], &session.inner[i]))
			return -EINVAL;
	*ret = session;
	return 0;
}

static __u64 fnv(__u64 hash, const void *bytes, size_t len)
{
	const __u8 *at = bytes;

	while (len--)
		hash = (hash ^ *at++) * 0x100000001b3ull;
	return hash;
}

__u64 session_record_grants(const struct policy *policy)
{
	__u64 hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < policy->n_peers; i++) {
		const struct policy_peer *peer = &policy->peers[i];

		hash = fnv(hash, &peer->range, sizeof(peer->range));
		hash = fnv(hash, peer->name, strlen(peer->name) + 1);
	}
	return hash;
}

static bool is_named(const struct policy *policy, const struct hf_prefix *prefix, const char *name)
{
	struct hf_addr last = prefix->addr;

	for (unsigned int bit = prefix->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	for (size_t i = 0; i < policy->n_peers; i++)
		if (!strcmp(policy->peers[i].name, name) && addr_cmp(&policy->peers[i].range.first, &prefix->addr) <= 0 &&
		    addr_cmp(&last, &policy->peers[i].range.last) <= 0)
			return true;
	return false;
}

bool session_record_is_granted(const struct hf_session *record, const struct policy *policy)
{
	struct kms_session session;

	if (session_record_read(record, &session))
		return false;
	if (record->grants == session_record_grants(policy))
		return true;
	for (size_t i = 0; i < session.n_inner; i++) {
		const struct hf_prefix *inner = &session.inner[i];
		bool own = record->proven && inner->len == 128 && addr_equal(&inner->addr, &record->remote);

		if (!own && !is_named(policy, inner, session.name))
			return false;
	}
	return true;
}

bool session_record_is_valid(const struct hf_session *record, __s64 now_s)
{
	return !record->not_after || now_s < record->not_after;
}
