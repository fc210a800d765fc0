/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XFRM states and policies of the peers. What the kernel makes of the attributes: net/xfrm/xfrm_user.c. */
#include "loader/xfrm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/xfrm.h>

#define AEAD_ICV_BITS 128
#define SPI_RESERVED 255 /* RFC 4303, 2.1 */
/* Inbound only the window counts; but ESN wants one on every state. */
#define REPLAY_WINDOW_OUT 32
/* How often the kernel may tell that a peer's port is another than the state's, in seconds. */
#define MAPPING_PACE 1

static const struct algorithm {
	const char *name;
	size_t key_len;
} algorithms[] = {
	[KMS_AES_256_GCM] = { "rfc4106(gcm(aes))", 36 },
	[KMS_AES_128_GCM] = { "rfc4106(gcm(aes))", 20 },
	[KMS_CHACHA20_POLY1305] = { "rfc7539esp(chacha20,poly1305)", 36 },
};

static bool if_id_is_ours(__u32 if_id)
{
	return (if_id & XFRM_IF_ID_MASK) == XFRM_IF_ID_BASE;
}

static const struct algorithm *find_algorithm(enum kms_algorithm id, size_t key_len)
{
	const struct algorithm *algorithm;

	if (id <= 0 || (size_t)id >= sizeof(algorithms) / sizeof(algorithms[0]))
		return NULL;
	algorithm = &algorithms[id];
	return algorithm->key_len == key_len ? algorithm : NULL;
}

static xfrm_address_t to_xfrm(const struct hf_addr *addr)
{
	xfrm_address_t xfrm = { .a6 = { 0 } };

	if (addr_is_v4(addr))
		xfrm.a4 = addr_to_be32(addr);
	else
		memcpy(&xfrm, addr->b, sizeof(addr->b));
	return xfrm;
}

static __u16 family_of(const struct hf_addr *addr)
{
	return addr_is_v4(addr) ? AF_INET : AF_INET6;
}

static bool spec_is_valid(const struct xfrm_state_spec *spec)
{
	return find_algorithm(spec->algorithm, spec->key_len) && if_id_is_ours(spec->if_id) &&
	       spec->spi > SPI_RESERVED && spec->spi != HF_BEAT_SPI &&
	       family_of(&spec->local) == family_of(&spec->remote);
}

static void put_aead(struct nlmsghdr *head, const struct xfrm_state_spec *spec)
{
	union {
		struct xfrm_algo_aead aead;
		__u8 bytes[sizeof(struct xfrm_algo_aead) + KMS_KEY_MAX];
	} attr = { .bytes = { 0 } };

	strcpy(attr.aead.alg_name, find_algorithm(spec->algorithm, spec->key_len)->name);
	attr.aead.alg_key_len = (unsigned int)(spec->key_len * 8);
	attr.aead.alg_icv_len = AEAD_ICV_BITS;
	memcpy(attr.bytes + sizeof(attr.aead), spec->key, spec->key_len);
	mnl_attr_put(head, XFRMA_ALG_AEAD, sizeof(attr.aead) + spec->key_len, attr.bytes);
	explicit_bzero(&attr, sizeof(attr));
}

static void put_replay(struct nlmsghdr *head, enum xfrm_way way)
{
	struct xfrm_replay_state_esn replay = { 0 };

	replay.replay_window = way == XFRM_WAY_IN ? XFRM_REPLAY_WINDOW : REPLAY_WINDOW_OUT;
	replay.bmp_len = replay.replay_window / 32;
	/* The header alone will do: the kernel starts with an empty bitmap of bmp_len words. */
	mnl_attr_put(head, XFRMA_REPLAY_ESN_VAL, sizeof(replay), &replay);
}

static void put_encap(struct nlmsghdr *head, const struct xfrm_state_spec *spec)
{
	bool in = spec->way == XFRM_WAY_IN;
	struct xfrm_encap_tmpl encap = { .encap_type = UDP_ENCAP_ESPINUDP };

	encap.encap_sport = htons(in ? spec->encap_remote : spec->encap_local);
	encap.encap_dport = htons(in ? spec->encap_local : spec->encap_remote);
	mnl_attr_put(head, XFRMA_ENCAP, sizeof(encap), &encap);
}

static __u64 limit_or_none(__u64 limit)
{
	return limit ? limit : XFRM_INF;
}

static void put_limits(struct xfrm_lifetime_cfg *lifetime, const struct xfrm_limits *limits)
{
	lifetime->soft_byte_limit = limit_or_none(limits->soft_bytes);
	lifetime->hard_byte_limit = limit_or_none(limits->hard_bytes);
	lifetime->soft_packet_limit = limit_or_none(limits->soft_packets);
	lifetime->hard_packet_limit = limit_or_none(limits->hard_packets);
}

static void put_unlimited(struct xfrm_lifetime_cfg *lifetime)
{
	put_limits(lifetime, &(struct xfrm_limits){ 0 });
}

static void build_state(struct netlink_request *request, __u16 type, __u16 flags, const struct xfrm_state_spec *spec)
{
	bool in = spec->way == XFRM_WAY_IN;
	struct xfrm_usersa_info *info = netlink_request(request, type, flags, sizeof(*info));

	info->id.daddr = to_xfrm(in ? &spec->local : &spec->remote);
	info->id.spi = htonl(spec->spi);
	info->id.proto = IPPROTO_ESP;
	info->saddr = to_xfrm(in ? &spec->remote : &spec->local);
	info->family = family_of(&spec->local);
	info->mode = XFRM_MODE_TUNNEL;
	info->reqid = spec->if_id;
	/* AF_UNSPEC: without a selector's family, the state carries both inner families. */
	info->flags = XFRM_STATE_ESN | XFRM_STATE_AF_UNSPEC;
	put_limits(&info->lft, &spec->limits);
	info->lft.hard_add_expires_seconds = spec->lifetime_s;
	put_aead(&request->head, spec);
	put_replay(&request->head, spec->way);
	mnl_attr_put_u32(&request->head, XFRMA_IF_ID, spec->if_id);
	if (spec->encap_local)
		put_encap(&request->head, spec);
	if (in && spec->encap_local)
		mnl_attr_put_u32(&request->head, XFRMA_MTIMER_THRESH, MAPPING_PACE);
	if (in)
		return;
	/* On an inbound state these would mark what was decrypted, and lead it past the tunnel's rule. */
	mnl_attr_put_u32(&request->head, XFRMA_SET_MARK, HF_MARK);
	mnl_attr_put_u32(&request->head, XFRMA_SET_MARK_MASK, HF_MARK_MASK);
	/* As the heartbeats' DSCP: what a network does to the one it does to the other. */
	mnl_attr_put_u32(&request->head, XFRMA_SA_EXTRA_FLAGS, XFRM_SA_XFLAG_DONT_ENCAP_DSCP);
}

int xfrm_state_add(struct netlink *nl, const struct xfrm_state_spec *spec)
{
	struct netlink_request request;

	if (!spec_is_valid(spec))
		return -EINVAL;
	build_state(&request, XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, spec);
	return netlink_talk(nl, &request, NULL, NULL);
}

/* The kernel wants a key, of the right length, and does not look at it (xfrm_state_update() in net/xfrm/xfrm_state.c). */
int xfrm_state_move(struct netlink *nl, const struct xfrm_state_spec *spec)
{
	static const __u8 no_key[KMS_KEY_MAX];
	struct xfrm_state_spec moved = *spec;
	struct netlink_request request;

	if (spec->algorithm <= 0 || (size_t)spec->algorithm >= sizeof(algorithms) / sizeof(algorithms[0]))
		return -EINVAL;
	moved.key = no_key;
	moved.key_len = algorithms[spec->algorithm].key_len;
	if (!spec_is_valid(&moved) || !moved.encap_local)
		return -EINVAL;
	build_state(&request, XFRM_MSG_UPDSA, NLM_F_REPLACE, &moved);
	return netlink_talk(nl, &request, NULL, NULL);
}

static void fill_id(struct xfrm_usersa_id *id, const struct hf_addr *dst, __u32 spi)
{
	id->daddr = to_xfrm(dst);
	id->spi = htonl(spi);
	id->family = family_of(dst);
	id->proto = IPPROTO_ESP;
}

static void build_state_delete(struct netlink_request *request, const struct hf_addr *dst, __u32 spi)
{
	fill_id(netlink_request(request, XFRM_MSG_DELSA, 0, sizeof(struct xfrm_usersa_id)), dst, spi);
}

int xfrm_state_delete(struct netlink *nl, const struct hf_addr *dst, __u32 spi)
{
	struct netlink_request request;
	int err;

	build_state_delete(&request, dst, spi);
	err = netlink_talk(nl, &request, NULL, NULL);
	return err == -ESRCH ? 0 : err;
}

static int read_use(void *context, const struct nlmsghdr *message)
{
	struct xfrm_state_use *use = context;
	const struct nlattr *attr;

	if (message->nlmsg_type != XFRM_MSG_NEWAE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct xfrm_aevent_id))
		return -EBADMSG;
	mnl_attr_for_each(attr, message, sizeof(struct xfrm_aevent_id)) {
		const void *payload = mnl_attr_get_payload(attr);
		size_t len = mnl_attr_get_payload_len(attr);
		__u16 type = mnl_attr_get_type(attr);

		if (type == XFRMA_LTIME_VAL && len >= sizeof(struct xfrm_lifetime_cur)) {
			struct xfrm_lifetime_cur cur;

			memcpy(&cur, payload, sizeof(cur)); /* attributes are aligned to 4 bytes only */
			use->bytes = cur.bytes;
			use->packets = cur.packets;
			use->added_s = cur.add_time;
			use->first_use_s = cur.use_time;
		} else if (type == XFRMA_REPLAY_ESN_VAL && len >= sizeof(struct xfrm_replay_state_esn)) {
			const struct xfrm_replay_state_esn *replay = payload;
			__u64 received = (__u64)replay->seq_hi << 32 | replay->seq;
			__u64 sent = (__u64)replay->oseq_hi << 32 | replay->oseq;

			use->seq = received ? received : sent; /* a state counts one way only */
		} else if (type == XFRMA_IF_ID && len == sizeof(__u32)) {
			use->if_id = mnl_attr_get_u32(attr);
		}
	}
	return 0;
}

/* GETAE rather than GETSA: it tells all that is wanted here, and no keys. */
int xfrm_state_read(struct netlink *nl, const struct hf_addr *dst, __u32 spi, struct xfrm_state_use *ret_use)
{
	struct xfrm_state_use use = { 0 };
	struct netlink_request request;
	struct xfrm_aevent_id *id;
	int err;

	id = netlink_request(&request, XFRM_MSG_GETAE, 0, sizeof(*id));
	fill_id(&id->sa_id, dst, spi);
	id->flags = XFRM_AE_RVAL | XFRM_AE_LVAL;
	err = netlink_talk(nl, &request, read_use, &use);
	if (!err)
		*ret_use = use;
	return err;
}

static const struct direction {
	__u8 dir;
	bool outward;
} directions[] = {
	{ XFRM_POLICY_IN, false },
	{ XFRM_POLICY_FWD, false },
	{ XFRM_POLICY_OUT, true },
};

#define N_DIRECTIONS (sizeof(directions) / sizeof(directions[0]))

static int build_policy_add(const void *context, size_t i, struct netlink_request *request)
{
	const struct xfrm_peer *peer = context;
	const struct direction *direction = &directions[i];
	struct xfrm_user_tmpl tmpl = { 0 };
	struct xfrm_userpolicy_info *info;

	/* UPDPOLICY adds what is not there yet. */
	info = netlink_request(request, XFRM_MSG_UPDPOLICY, 0, sizeof(*info));
	info->sel.family = AF_INET;
	info->dir = direction->dir;
	info->action = XFRM_POLICY_ALLOW;
	put_unlimited(&info->lft);
	tmpl.id.proto = IPPROTO_ESP;
	tmpl.id.daddr = to_xfrm(direction->outward ? &peer->remote : &peer->local);
	/* Inward from anywhere: a state is the peer's by reqid and if_id, and two of them may be of two addresses. */
	if (direction->outward)
		tmpl.saddr = to_xfrm(&peer->local);
	tmpl.family = family_of(&peer->local);
	tmpl.reqid = peer->if_id;
	tmpl.mode = XFRM_MODE_TUNNEL;
	tmpl.aalgos = tmpl.ealgos = tmpl.calgos = ~0u; /* all three so: any algorithm, AEADs too */
	mnl_attr_put(&request->head, XFRMA_TMPL, sizeof(tmpl), &tmpl);
	mnl_attr_put_u32(&request->head, XFRMA_IF_ID, peer->if_id);
	return 0;
}

int xfrm_policy_add(struct netlink *nl, const struct xfrm_peer *peer)
{
	if (!if_id_is_ours(peer->if_id) || family_of(&peer->local) != family_of(&peer->remote))
		return -EINVAL;
	return netlink_batch(nl, N_DIRECTIONS, build_policy_add, peer, 0);
}

/* A policy, as it takes to delete it. */
struct policy_key {
	struct xfrm_selector sel;
	__u32 if_id;
	__u8 dir;
};

static void build_policy_key(struct netlink_request *request, const struct policy_key *key)
{
	struct xfrm_userpolicy_id *id = netlink_request(request, XFRM_MSG_DELPOLICY, 0, sizeof(*id));

	id->sel = key->sel;
	id->dir = key->dir;
	mnl_attr_put_u32(&request->head, XFRMA_IF_ID, key->if_id);
}

static int build_policy_delete(const void *context, size_t i, struct netlink_request *request)
{
	struct policy_key key = { .sel.family = AF_INET, .if_id = *(const __u32 *)context, .dir = directions[i].dir };

	build_policy_key(request, &key);
	return 0;
}

int xfrm_policy_delete(struct netlink *nl, __u32 if_id)
{
	if (!if_id_is_ours(if_id))
		return -EINVAL;
	return netlink_batch(nl, N_DIRECTIONS, build_policy_delete, &if_id, ENOENT);
}

/* The if_id among the attributes after offset bytes; 0: none. */
static __u32 read_if_id(const struct nlmsghdr *message, size_t offset)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, offset)
		if (mnl_attr_get_type(attr) == XFRMA_IF_ID && mnl_attr_get_payload_len(attr) == sizeof(__u32))
			return mnl_attr_get_u32(attr);
	return 0;
}

/*
 * Messages in a dump are aligned to 4 bytes, these headers want 8: copied.
 * False when the message is of another type, or too short.
 */
static bool copy_head(const struct nlmsghdr *message, __u16 type, void *head, size_t len)
{
	if (message->nlmsg_type != type || mnl_nlmsg_get_payload_len(message) < len)
		return false;
	memcpy(head, mnl_nlmsg_get_payload(message), len);
	return true;
}

static __u64 none_or_limit(__u64 limit)
{
	return limit == XFRM_INF ? 0 : limit;
}

static int collect_state(void *context, const struct nlmsghdr *message)
{
	struct xfrm_usersa_info info;
	struct xfrm_found found = { 0 };

	if (!copy_head(message, XFRM_MSG_NEWSA, &info, sizeof(info)))
		return 0;
	found.if_id = read_if_id(message, sizeof(info));
	found.spi = ntohl(info.id.spi);
	if (info.id.proto != IPPROTO_ESP || !if_id_is_ours(found.if_id) || info.reqid != found.if_id ||
	    netlink_get_addr(info.family, &info.id.daddr, &found.dst))
		return 0;
	found.limits.soft_bytes = none_or_limit(info.lft.soft_byte_limit);
	found.limits.hard_bytes = none_or_limit(info.lft.hard_byte_limit);
	found.limits.soft_packets = none_or_limit(info.lft.soft_packet_limit);
	found.limits.hard_packets = none_or_limit(info.lft.hard_packet_limit);
	found.added_s = info.curlft.add_time;
	found.spent = info.curlft.bytes >= info.lft.soft_byte_limit || info.curlft.packets >= info.lft.soft_packet_limit;
	return netlink_list_add(context, &found, sizeof(found));
}

static bool tmpl_has_reqid(const struct nlmsghdr *message, __u32 reqid)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct xfrm_userpolicy_info)) {
		const struct xfrm_user_tmpl *tmpl = mnl_attr_get_payload(attr);

		if (mnl_attr_get_type(attr) == XFRMA_TMPL && mnl_attr_get_payload_len(attr) >= sizeof(*tmpl))
			return tmpl->reqid == reqid;
	}
	return false;
}

static int collect_policy(void *context, const struct nlmsghdr *message)
{
	struct xfrm_userpolicy_info info;
	struct policy_key key = { 0 };

	if (!copy_head(message, XFRM_MSG_NEWPOLICY, &info, sizeof(info)))
		return 0;
	key.if_id = read_if_id(message, sizeof(info));
	if (!if_id_is_ours(key.if_id) || !tmpl_has_reqid(message, key.if_id))
		return 0;
	key.sel = info.sel;
	key.dir = info.dir;
	return netlink_list_add(context, &key, sizeof(key));
}

/*
 * Dumps into the list; asks again when the tables changed meanwhile. The request
 * has no fixed header: the kernel reads the filters of a dump from its start.
 */
static int collect(struct netlink *nl, __u16 type, netlink_answer answer, struct netlink_list *list)
{
	struct netlink_request request;
	int err;

	do {
		list->n = 0;
		netlink_request(&request, type, NLM_F_DUMP, 0);
		err = netlink_talk(nl, &request, answer, list);
	} while (err == -EAGAIN);
	return err;
}

static int build_flush_state(const void *context, size_t i, struct netlink_request *request)
{
	const struct xfrm_found *state = (const struct xfrm_found *)context + i;

	build_state_delete(request, &state->dst, state->spi);
	return 0;
}

static int build_flush_policy(const void *context, size_t i, struct netlink_request *request)
{
	build_policy_key(request, (const struct policy_key *)context + i);
	return 0;
}

int xfrm_flush(struct netlink *nl, size_t *ret_states, size_t *ret_policies)
{
	struct netlink_list states = { 0 }, policies = { 0 };
	int err;

	err = collect(nl, XFRM_MSG_GETPOLICY, collect_policy, &policies);
	if (!err)
		err = netlink_batch(nl, policies.n, build_flush_policy, policies.items, ENOENT);
	if (!err)
		err = collect(nl, XFRM_MSG_GETSA, collect_state, &states);
	if (!err)
		err = netlink_batch(nl, states.n, build_flush_state, states.items, ESRCH);
	if (!err && ret_states)
		*ret_states = states.n;
	if (!err && ret_policies)
		*ret_policies = policies.n;
	netlink_list_clear(&states);
	netlink_list_clear(&policies);
	return err;
}

int xfrm_state_list(struct netlink *nl, int (*visit)(void *context, const struct xfrm_found *state), void *context)
{
	struct netlink_list states = { 0 };
	const struct xfrm_found *found;
	size_t i;
	int err;

	err = collect(nl, XFRM_MSG_GETSA, collect_state, &states);
	for (i = 0, found = states.items; !err && i < states.n; i++)
		err = visit(context, &found[i]);
	netlink_list_clear(&states);
	return err;
}

int xfrm_policy_list(struct netlink *nl, int (*visit)(void *context, __u32 if_id), void *context)
{
	struct netlink_list policies = { 0 };
	const struct policy_key *key;
	size_t i;
	int err;

	err = collect(nl, XFRM_MSG_GETPOLICY, collect_policy, &policies);
	for (i = 0, key = policies.items; !err && i < policies.n; i++)
		err = visit(context, key[i].if_id);
	netlink_list_clear(&policies);
	return err;
}

/* The kernel looks for the algorithm first: without it, whether it has ESP is not told. */
#define NO_GCM "this kernel has no IPsec ESP with AES-GCM: use one with CONFIG_INET_ESP and CONFIG_CRYPTO_GCM"

static const struct {
	int err;
	const char *text;
} probe_texts[] = {
	{ -EPROTONOSUPPORT, "this kernel has no IPsec ESP: use one with CONFIG_INET_ESP (module esp4)" },
	{ -ENOSYS, NO_GCM },
	{ -ENOENT, NO_GCM },
	{ -EPERM, "setting up IPsec ESP needs root (CAP_NET_ADMIN)" },
};

static void explain_probe(struct netlink *nl, int err, char *text, size_t size)
{
	size_t i;

	for (i = 0; i < sizeof(probe_texts) / sizeof(probe_texts[0]); i++)
		if (probe_texts[i].err == err) {
			snprintf(text, size, "%s", probe_texts[i].text);
			return;
		}
	snprintf(text, size, "this kernel refuses IPsec ESP with AES-GCM: %s%s%s", strerror(-err),
		 *netlink_text(nl) ? ": " : "", netlink_text(nl));
}

int xfrm_probe(struct netlink *nl, char *text, size_t size)
{
	static const __u8 key[KMS_KEY_MAX];
	struct xfrm_state_spec spec = {
		.way = XFRM_WAY_IN,
		.local = addr_from_be32(htonl(INADDR_LOOPBACK)),
		.remote = addr_from_be32(htonl(INADDR_LOOPBACK)),
		.spi = SPI_RESERVED + 1,
		.if_id = XFRM_IF_ID_BASE | (XFRM_IF_ID_COUNT - 1),
		.algorithm = KMS_AES_256_GCM,
		.key = key,
		.key_len = sizeof(key),
		.lifetime_s = 10, /* should we die in between */
	};
	int err = xfrm_state_add(nl, &spec);

	if (err && err != -EEXIST) {
		explain_probe(nl, err, text, size);
		return err;
	}
	return xfrm_state_delete(nl, &spec.local, spec.spi);
}

int xfrm_encap_open(const struct hf_addr *local, __u16 port)
{
	int encap = UDP_ENCAP_ESPINUDP, mark = (int)HF_MARK, err;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(local, port, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_ENCAP, &encap, sizeof(encap)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
