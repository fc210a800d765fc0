/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/admission.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/text.h"

#define SPI_RESERVED 255 /* RFC 4303, 2.1 */

struct asked {
	LIST_ENTRY(asked) entry;
	__u64 id;
	__u64 session; /* the last one that was admitted as its answer; 0: none */
	size_t n;
	struct hf_addr gateways[KMS_MAX_GATEWAYS];
};

struct admission {
	LIST_HEAD(asked_list, asked) asked;
};

/* ---- the list ---- */

int admission_new(struct admission **ret_admission)
{
	struct admission *admission = calloc(1, sizeof(*admission));

	if (!admission)
		return -ENOMEM;
	LIST_INIT(&admission->asked);
	*ret_admission = admission;
	return 0;
}

void admission_free(struct admission *admission)
{
	if (!admission)
		return;
	admission_settled(admission, 0);
	free(admission);
}

int admission_asked(struct admission *admission, __u64 id, const struct hf_addr *gateways, size_t n)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	if (!asked)
		return -ENOMEM;
	asked->id = id;
	asked->n = n < KMS_MAX_GATEWAYS ? n : KMS_MAX_GATEWAYS;
	memcpy(asked->gateways, gateways, asked->n * sizeof(*gateways));
	LIST_INSERT_HEAD(&admission->asked, asked, entry);
	return 0;
}

static struct asked *find_asked(const struct admission *admission, __u64 id)
{
	struct asked *asked;

	LIST_FOREACH(asked, &admission->asked, entry)
		if (asked->id == id)
			return asked;
	return NULL;
}

static void settle(struct asked *asked)
{
	LIST_REMOVE(asked, entry);
	free(asked);
}

void admission_settled(struct admission *admission, __u64 id)
{
	struct asked *asked = id ? find_asked(admission, id) : NULL;

	if (asked)
		settle(asked);
	while (!id && !LIST_EMPTY(&admission->asked))
		settle(LIST_FIRST(&admission->asked));
}

void admission_installed(struct admission *admission, const struct kms_session *session)
{
	struct asked *asked = session->request ? find_asked(admission, session->request) : NULL;

	if (asked)
		asked->session = session->id;
}

void admission_activated(struct admission *admission, __u64 session)
{
	struct asked *asked;

	LIST_FOREACH(asked, &admission->asked, entry)
		if (session && asked->session == session) {
			settle(asked);
			return;
		}
}

/* ---- the check ---- */

size_t admission_own_inner(const struct policy *policy, struct hf_prefix *ret_inner)
{
	size_t n = policy->interface.n_address < KMS_MAX_INNER ? policy->interface.n_address : KMS_MAX_INNER;

	for (size_t i = 0; i < n; i++)
		ret_inner[i] = policy_address_is_network(&policy->interface.address[i]) ?
				       policy->interface.address[i] :
				       prefix_of_host(&policy->interface.address[i].addr);
	return n;
}

/* What is looked at, and where the words go. */
struct look {
	const struct admission *admission;
	const struct admission_facts *facts;
	const struct policy *policy; /* the facts' */
	const struct kms_session *session;
	char *words;
};

/* Says what is wrong, and returns err. */
static int __attribute__((format(printf, 3, 4))) wrong(const struct look *look, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(look->words, KMS_TEXT_MAX, format, args);
	va_end(args);
	return err;
}

static int check_role(const struct look *look)
{
	const struct kms_session *session = look->session;

	if (!session->id)
		return wrong(look, -EPROTO, "it has no number");
	if (session->role != KMS_INITIATOR && session->role != KMS_RESPONDER)
		return wrong(look, -EPROTO, "it has the role %u", session->role);
	if (session->role == KMS_INITIATOR && !session->request)
		return wrong(look, -EPROTO, "it was dialled, but for no request");
	if (session->role == KMS_INITIATOR && !session->proven)
		return wrong(look, -EPROTO, "it was dialled, and the address that was dialled is not proven");
	/* Whom a responder uses as its gateway is not for that process to say. */
	if (session->role == KMS_RESPONDER && (session->request || session->reversed))
		return wrong(look, -EPROTO, "the other end dialled, but it answers a request, or is reversed");
	return 0;
}

/* A single host somewhere, as it may stand in an IP header as a source. */
static bool is_host(const struct hf_addr *addr)
{
	__u32 v4 = ntohl(addr_to_be32(addr));

	if (addr_is_zero(addr))
		return false;
	if (addr_is_v4(addr))
		return v4 >> 24 != 0 && v4 >> 24 != IN_LOOPBACKNET && v4 >> 28 < 14; /* 224/4: groups; 240/4: reserved */
	return addr->b[0] != 0xff && !(addr->b[15] == 1 && !memcmp(addr->b, (const __u8[15]){ 0 }, 15));
}

static bool is_own(const struct look *look, const struct hf_addr *addr)
{
	return look->facts->is_own(look->facts->context, addr);
}

static int check_ends(const struct look *look)
{
	const struct kms_session *session = look->session;

	/* IPv4 outside: keylisten.c has no sockets of the other family. */
	if (!is_host(&session->local) || !is_host(&session->remote) || !addr_is_v4(&session->local) ||
	    !addr_is_v4(&session->remote))
		return wrong(look, -EPROTO, "it runs from %s to %s", addr_text(&session->local).s,
			     addr_text(&session->remote).s);
	if (!is_own(look, &session->local))
		return wrong(look, -EACCES, "its own end, %s, is no address of this machine",
			     addr_text(&session->local).s);
	if (look->facts->is_broadcast && look->facts->is_broadcast(look->facts->context, &session->remote))
		return wrong(look, -EACCES, "its other end, %s, is not one machine's", addr_text(&session->remote).s);
	if (is_own(look, &session->remote))
		return wrong(look, -EACCES, "its other end, %s, is an address of this machine",
			     addr_text(&session->remote).s);
	return 0;
}

static int check_esp(const struct look *look)
{
	static const __u8 key_lens[] = { [KMS_AES_256_GCM] = 36, [KMS_AES_128_GCM] = 20, [KMS_CHACHA20_POLY1305] = 36 };
	const struct kms_session *session = look->session;
	const __u32 spis[] = { session->spi_in, session->spi_out };

	for (size_t i = 0; i < 2; i++)
		if (spis[i] <= SPI_RESERVED || spis[i] == HF_BEAT_SPI)
			return wrong(look, -EPROTO, "its SPI 0x%08x is reserved", spis[i]);
	if (session->algorithm >= sizeof(key_lens) || !key_lens[session->algorithm])
		return wrong(look, -EPROTO, "its algorithm %u is unknown", session->algorithm);
	if (session->key_len != key_lens[session->algorithm])
		return wrong(look, -EPROTO, "its keys have %u bytes", session->key_len);
	/* Both count their packets from one: the same key twice is the same key stream twice. */
	if (!memcmp(session->key_in, session->key_out, session->key_len))
		return wrong(look, -EPROTO, "both directions have the same key");
	if (!session->lifetime_s || session->lifetime_s > look->facts->lifetime_max_s)
		return wrong(look, -EPROTO, "its lifetime is %u s, of %u at the most", session->lifetime_s,
			     look->facts->lifetime_max_s);
	return 0;
}

static int check_encapsulation(const struct look *look)
{
	const struct kms_session *session = look->session;
	enum policy_encapsulation wanted = look->policy->interface.encapsulation;

	if (session->encapsulation != KMS_ENCAP_ESP && session->encapsulation != KMS_ENCAP_UDP)
		return wrong(look, -EPROTO, "its encapsulation %u is unknown", session->encapsulation);
	if (session->encapsulation == KMS_ENCAP_ESP ? session->remote_port != 0 :
						      session->remote_port != HF_UDP_ENCAP_PORT)
		return wrong(look, -EPROTO, "it begins at UDP port %u", session->remote_port);
	if (wanted != POLICY_ENCAP_AUTO &&
	    (wanted == POLICY_ENCAP_UDP) != (session->encapsulation == KMS_ENCAP_UDP))
		return wrong(look, -EACCES, "its encapsulation is not the policy's");
	return 0;
}

static int check_name(const struct look *look)
{
	if (!look->session->name[0] || !text_is_printable(look->session->name))
		return wrong(look, -EPROTO, "its peer's name is empty or not printable");
	return 0;
}

/* Well-formed: no bits beyond its length, and of one family. */
static bool prefix_is_sound(const struct hf_prefix *prefix)
{
	static const struct hf_addr mapped = { .b = { [10] = 0xff, 0xff } };
	struct hf_prefix masked = *prefix;

	if (prefix->len > 128)
		return false;
	prefix_mask(&masked);
	return addr_equal(&masked.addr, &prefix->addr) && (prefix->len >= 96 || !prefix_contains(prefix, &mapped));
}

static int check_prefixes(const struct look *look)
{
	const struct kms_session *session = look->session;

	if (session->n_inner < 1 || session->n_inner > KMS_MAX_INNER)
		return wrong(look, -EPROTO, "it has %u inner prefixes", session->n_inner);
	for (__u32 i = 0; i < session->n_inner; i++)
		if (!prefix_is_sound(&session->inner[i]))
			return wrong(look, -EPROTO, "an inner prefix, %s/%u, is not well-formed",
				     addr_text(&session->inner[i].addr).s, session->inner[i].len);
	return 0;
}

/* We dialled: is that so, and with one of those whom we meant? */
static int check_request(const struct look *look)
{
	const struct kms_session *session = look->session;
	const struct asked *asked = find_asked(look->admission, session->request);

	if (!asked)
		return wrong(look, -ECANCELED, "the request that it answers is not under way");
	for (size_t i = 0; i < asked->n; i++)
		if (addr_equal(&asked->gateways[i], &session->remote))
			return 0;
	return wrong(look, -EACCES, "it is with %s, which the request that it answers does not name",
		     addr_text(&session->remote).s);
}

static bool same_prefix(const struct hf_prefix *a, const struct hf_prefix *b)
{
	return a->len == b->len && addr_equal(&a->addr, &b->addr);
}

/* We are the client of the two: we use what we asked for, or some of it. */
static int check_own_inner(const struct look *look)
{
	const struct kms_session *session = look->session;
	struct hf_prefix own[KMS_MAX_INNER];
	size_t n = admission_own_inner(look->policy, own);

	if (!n)
		own[n++] = prefix_of_host(&session->local);
	for (__u32 i = 0; i < session->n_inner; i++) {
		bool asked = false;

		for (size_t k = 0; k < n; k++)
			asked |= same_prefix(&session->inner[i], &own[k]);
		if (!asked)
			return wrong(look, -EACCES, "it would give this node %s inside, which is not its own",
				     prefix_text(&session->inner[i]).s);
	}
	return 0;
}

/* Whether a [PEER] statement gives the prefix to the session's peer. */
static bool is_granted(const struct look *look, const struct hf_prefix *prefix)
{
	struct hf_addr last = prefix->addr;

	for (unsigned int bit = prefix->len; bit < 128; bit++)
		last.b[bit / 8] |= (__u8)(0x80 >> bit % 8);
	for (size_t i = 0; i < look->policy->n_peers; i++) {
		const struct policy_peer *peer = &look->policy->peers[i];

		if (!strcmp(peer->name, look->session->name) && addr_cmp(&peer->range.first, &prefix->addr) <= 0 &&
		    addr_cmp(&last, &peer->range.last) <= 0)
			return true;
	}
	return false;
}

static bool is_gateway(const struct policy *policy, const struct hf_addr *addr)
{
	for (size_t i = 0; i < policy->n_clusters; i++)
		for (size_t g = 0; g < policy->clusters[i].n_gateways; g++)
			if (addr_equal(&policy->clusters[i].gateways[g], addr))
				return true;
	return false;
}

/*
 * The other end is the client. A certificate names single addresses, so more than
 * one can only be a [PEER] statement's; and one, if not by such a statement, is not one
 * that is known to be somebody else's.
 */
static int check_client_inner(const struct look *look)
{
	const struct kms_session *session = look->session;

	for (__u32 i = 0; i < session->n_inner; i++) {
		const struct hf_prefix *inner = &session->inner[i];

		if (is_granted(look, inner))
			continue;
		if (inner->len < 128)
			return wrong(look, -EACCES, "%.64s would use %s inside, which no [PEER] statement gives it",
				     session->name, prefix_text(inner).s);
		if (!is_host(&inner->addr) || is_own(look, &inner->addr) ||
		    (is_gateway(look->policy, &inner->addr) && !addr_equal(&inner->addr, &session->remote)))
			return wrong(look, -EACCES, "%.64s would use %s inside, which is no client's", session->name,
				     prefix_text(inner).s);
	}
	return 0;
}

static int check_way(const struct look *look)
{
	const struct kms_session *session = look->session;
	int err;

	if (session->role == KMS_RESPONDER && !look->policy->interface.accept)
		return wrong(look, -EACCES, "the policy accepts nobody who dials");
	err = session->role == KMS_INITIATOR ? check_request(look) : 0;
	if (err)
		return err;
	return session->role == KMS_INITIATOR && !session->reversed ? check_own_inner(look) : check_client_inner(look);
}

int admission_check(const struct admission *admission, const struct admission_facts *facts,
		    const struct kms_session *session, char *ret_words)
{
	static int (*const checks[])(const struct look *) = {
		check_role, check_ends, check_esp, check_encapsulation, check_name, check_prefixes, check_way,
	};
	const struct look look = { admission, facts, facts->policy, session, ret_words };
	int err = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks) && !err; i++)
		err = checks[i](&look);
	return err;
}
