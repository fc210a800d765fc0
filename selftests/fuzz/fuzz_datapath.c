/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The datapath, compiled for user space: one packet through one program. The kernel
 * is played by shim_*() and bpf_*() below. The packet lies in memory of 32-bit
 * addresses, as the programs' contexts have them, and everything around [data,
 * data_end) is poisoned: an access beyond either end is a fault. So is one beyond a
 * map's value or a ring buffer's record, which are allocations of exactly their size.
 *
 * The input: struct setting, then the packet from its link layer (or, without one,
 * its IPv4 header) on. Who the peers are is fixed: see set_up().
 */
#include <sanitizer/asan_interface.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#undef NULL

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpointer-arith"
#pragma clang diagnostic ignored "-Wsign-compare"
#pragma clang diagnostic ignored "-Wmissing-prototypes"
#include "vmlinux.h"
/* The loader sets the knobs, so here they are variables. */
#define const
#include "bpf/knobs.h"
#undef const
#include "bpf/holdfast.bpf.c"
#pragma clang diagnostic pop

#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_datapath.h"

#define PACKET_MAX 4096
#define ARENA (16 * PACKET_MAX)

static __u8 *arena;
static __u8 *packet; /* where data begins */
static __u8 whole[PACKET_MAX]; /* what the packet is, its pages included */
static struct datapath_setting setting;

/* What came of a run. */
static __u32 set_if_id;
static int n_set;
static struct record {
	struct record *next;
	size_t size;
	bool submitted;
	__u8 *bytes;
} *records;

struct entry {
	struct entry *next;
	const void *map;
	__u8 *key;
	__u8 *value;
};
static struct entry *entries;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	MUST(arena != MAP_FAILED);
	packet = arena + ARENA / 2;
	ASAN_POISON_MEMORY_REGION(arena, ARENA);
	return 0;
}

/* Maps. */

static struct entry *entry_new(const struct shim_map *map, const void *key)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	MUST(entry);
	entry->map = map->map;
	entry->key = malloc(map->key_size);
	entry->value = calloc(1, map->value_size);
	MUST(entry->key && entry->value);
	memcpy(entry->key, key, map->key_size);
	entry->next = entries;
	entries = entry;
	return entry;
}

static void entry_free(struct entry *entry)
{
	free(entry->key);
	free(entry->value);
	free(entry);
}

static bool covers(const struct entry *entry, const void *key)
{
	const struct hf_tunnel_key *prefix = (const void *)entry->key, *asked = key;

	MUST(asked->prefixlen == 128);
	for (__u32 bit = 0; bit < prefix->prefixlen; bit++)
		if ((prefix->addr.b[bit / 8] ^ asked->addr.b[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

void *shim_lookup(const struct shim_map *map, const void *key)
{
	struct entry *best = NULL;

	for (struct entry *entry = entries; entry; entry = entry->next) {
		if (entry->map != map->map)
			continue;
		if (map->type != BPF_MAP_TYPE_LPM_TRIE && !memcmp(entry->key, key, map->key_size))
			return entry->value;
		if (map->type == BPF_MAP_TYPE_LPM_TRIE && covers(entry, key) &&
		    (!best || *(__u32 *)entry->key > *(__u32 *)best->key))
			best = entry;
	}
	if (best)
		return best->value;
	/* An array has all of its entries. */
	if ((map->type == BPF_MAP_TYPE_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_ARRAY) &&
	    *(const __u32 *)key < map->max_entries)
		return entry_new(map, key)->value;
	return NULL;
}

long shim_delete(const struct shim_map *map, const void *key)
{
	for (struct entry **at = &entries; *at; at = &(*at)->next) {
		struct entry *entry = *at;

		if (entry->map != map->map || memcmp(entry->key, key, map->key_size))
			continue;
		*at = entry->next;
		entry_free(entry);
		return 0;
	}
	return -2;
}

#define ENTER(map, ...)                                                                                \
	do {                                                                                           \
		struct {                                                                               \
			typeof(*(map).key) key;                                                        \
			typeof(*(map).value) value;                                                    \
		} pair = { __VA_ARGS__ };                                                              \
		memcpy(entry_new(SHIM_MAP(&(map)), &pair.key)->value, &pair.value, sizeof(pair.value)); \
	} while (0)

/* The ring buffer. */

/* Full for packets that are to be held, but not for the rest. */
__u64 bpf_ringbuf_query(void *ring, __u64 flags)
{
	return setting.flags & DATAPATH_RING_HALF ? HF_EVENTS_SIZE / 2 + 1 : 0;
}

void *shim_reserve(__u64 size)
{
	struct record *record = calloc(1, sizeof(*record));

	MUST(record);
	if (setting.flags & DATAPATH_RING_FULL) {
		free(record);
		return NULL;
	}
	record->bytes = malloc(size);
	MUST(record->bytes);
	memset(record->bytes, 0xa5, size);
	record->size = size;
	record->next = records;
	records = record;
	return record->bytes;
}

void shim_submit(void *bytes)
{
	struct record *record = records;

	while (record && record->bytes != bytes)
		record = record->next;
	MUST(record && !record->submitted);
	record->submitted = true;
}

/* The rest of the kernel. */

__u64 bpf_ktime_get_ns(void)
{
	return DATAPATH_NOW_NS;
}

long bpf_fib_lookup(void *ctx, struct bpf_fib_lookup *fib, int size, __u32 flags)
{
	return setting.fib;
}

long bpf_redirect(__u32 ifindex, __u64 flags)
{
	return 7; /* TC_ACT_REDIRECT */
}

/* What of the packet lies in the linear part: the rest is not there for the programs. */
static void make_linear(struct __sk_buff *skb, size_t linear)
{
	ASAN_UNPOISON_MEMORY_REGION(packet, linear);
	memcpy(packet + (skb->data_end - skb->data), whole + (skb->data_end - skb->data),
	       linear - (skb->data_end - skb->data));
	skb->data_end = skb->data + (__u32)linear;
}

long bpf_skb_pull_data(struct __sk_buff *skb, __u32 len)
{
	if (len > skb->len || (setting.flags & DATAPATH_PULL_FAILS))
		return -12;
	if (len > skb->data_end - skb->data)
		make_linear(skb, len);
	return 0;
}

/* Reads the linear part only, as net/core/filter.c does. */
long bpf_skb_load_bytes_relative(const struct __sk_buff *skb, __u32 offset, void *to, __u32 len, __u32 header)
{
	__u64 from = (__u64)offset + setting.network;

	MUST(header == BPF_HDR_START_NET);
	if (from + len > skb->data_end - skb->data) {
		memset(to, 0, len);
		return -14;
	}
	memcpy(to, packet + from, len);
	return 0;
}

int bpf_skb_set_xfrm_info(struct __sk_buff *skb, const struct bpf_xfrm_info *from)
{
	if (setting.flags & DATAPATH_XFRM_FAILS)
		return -1;
	set_if_id = from->if_id;
	n_set++;
	return 0;
}

int bpf_skb_get_xfrm_info(struct __sk_buff *skb, struct bpf_xfrm_info *to)
{
	if (setting.flags & DATAPATH_XFRM_FAILS)
		return -1;
	to->if_id = setting.from_if_id;
	return 0;
}

/* Who there is. */

static struct hf_addr v4(__u32 host)
{
	struct hf_addr addr;

	hf_addr_of_v4(&addr, bpf_htonl(host));
	return addr;
}

static void set_up(void)
{
	struct hf_live live = { .last_rx_ns = setting.last_rx_ns, .reflect_ns = setting.reflect_ns,
				.reflect_tokens = setting.tokens };
	__u32 steered = setting.flags & DATAPATH_STEERED ? DATAPATH_GATEWAY_IF_ID : 0;

	hf_have_xfrm = !(setting.flags & DATAPATH_NO_XFRM);
	ENTER(hf_tunnels, { 96 + 24, v4(DATAPATH_TARGETS) }, { DATAPATH_CLUSTER_SLOT, 1 });
	ENTER(hf_tunnels, { 96 + 32, v4(DATAPATH_INNER) }, { DATAPATH_CLIENT_SLOT, 0 });
	ENTER(hf_steer, DATAPATH_CLUSTER_SLOT, { steered, (setting.flags & DATAPATH_WATCHED) != 0 });
	ENTER(hf_steer, DATAPATH_CLIENT_SLOT, { DATAPATH_CLIENT_IF_ID, 0 });
	ENTER(hf_members, { DATAPATH_CLUSTER_SLOT, DATAPATH_GATEWAY_IF_ID }, 1);
	ENTER(hf_members, { DATAPATH_CLIENT_SLOT, DATAPATH_CLIENT_IF_ID }, 1);
	ENTER(hf_peers, DATAPATH_GATEWAY_IF_ID, { v4(DATAPATH_GATEWAY), HF_ROLE_GATEWAY, "" });
	ENTER(hf_peers, DATAPATH_CLIENT_IF_ID, { v4(DATAPATH_CLIENT), HF_ROLE_CLIENT, "" });
	ENTER(hf_live, DATAPATH_GATEWAY_IF_ID, live);
	ENTER(hf_live, DATAPATH_CLIENT_IF_ID, live);
	ENTER(hf_outer, { v4(DATAPATH_GATEWAY), 0, { 0 } }, { DATAPATH_GATEWAY_IF_ID, 0 });
	ENTER(hf_outer, { v4(DATAPATH_CLIENT), 0, { 0 } }, { DATAPATH_CLIENT_IF_ID, 1 });
	ENTER(hf_outer, { v4(DATAPATH_CLIENT), 4500, { 0 } }, { DATAPATH_CLIENT_IF_ID, 1 });
	ENTER(hf_beats, DATAPATH_NONCE, { DATAPATH_NOW_NS - 1000, DATAPATH_GATEWAY_IF_ID, 0 });
	ENTER(hf_gate, 0, { setting.flags & DATAPATH_GATE_OPEN ? ~0ull : 0 });
	ENTER(hf_claims, DATAPATH_CLIENT_IF_ID, { 0 });
	ENTER(hf_protected, DATAPATH_PROTECTED, HF_PROTECTED_TARGETS);
	ENTER(hf_protected, DATAPATH_TUNNEL, HF_PROTECTED_TUNNEL);
}

static void clear(void)
{
	while (entries) {
		struct entry *entry = entries;

		entries = entry->next;
		entry_free(entry);
	}
	while (records) {
		struct record *record = records;

		records = record->next;
		MUST(record->submitted);
		free(record->bytes);
		free(record);
	}
	ASAN_POISON_MEMORY_REGION(arena, ARENA);
	n_set = 0;
	set_if_id = 0;
}

/* What must have come of it. */

static __u64 count_drops(void)
{
	__u32 zero = 0;
	const __u64 *drops = bpf_map_lookup_elem(&hf_drops, &zero);
	__u64 sum = 0;

	for (int i = 0; i < HF_DROP_MAX; i++)
		sum += drops[i];
	return sum;
}

static __u32 header_sum(const struct iphdr *ip)
{
	const __u8 *bytes = (const void *)ip;
	__u32 sum = 0;

	for (size_t i = 0; i < (size_t)ip->ihl * 4; i += 2)
		sum += (__u32)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A reflected frame is the one that came, turned round, with a hop less; and only a client's at an open gate is. */
static void check_reflected(const __u8 *frame, size_t len, size_t ip_at)
{
	const struct iphdr *before = (const void *)(whole + ip_at), *after = (const void *)(frame + ip_at);
	size_t rest = ip_at + sizeof(*after);
	size_t ports = ip_at + before->ihl * 4u;

	MUST(setting.fib == BPF_FIB_LKUP_RET_NOT_FWDED || setting.fib == BPF_FIB_LKUP_RET_FWD_DISABLED);
	MUST((setting.flags & DATAPATH_GATE_OPEN) && before->saddr == bpf_htonl(DATAPATH_CLIENT));
	MUST(!(before->frag_off & bpf_htons(HF_IP_MF | HF_IP_OFFSET)));
	MUST(after->saddr == before->daddr && after->daddr == before->saddr);
	MUST(before->ttl > 1 && after->ttl == before->ttl - 1);
	MUST(header_sum(after) == header_sum(before));
	if (ip_at)
		MUST(!memcmp(frame, whole + 6, 6) && !memcmp(frame + 6, whole, 6) && !(whole[0] & 1));
	MUST(!memcmp(frame + rest, whole + rest, ports - rest));
	if (before->protocol == IPPROTO_UDP) {
		MUST(!memcmp(frame + ports, whole + ports + 2, 2) && !memcmp(frame + ports + 2, whole + ports, 2));
		ports += 4;
	}
	MUST(!memcmp(frame + ports, whole + ports, len - ports));
}

static size_t ip_of_frame(void)
{
	size_t at = 12;

	while ((whole[at] == 0x81 && whole[at + 1] == 0) || (whole[at] == 0x88 && whole[at + 1] == 0xa8))
		at += 4;
	return at + 2;
}

static void run_xdp(void)
{
	struct xdp_md ctx = { .data = (__u32)(long)packet, .data_end = (__u32)(long)packet + setting.len,
			      .ingress_ifindex = 1 };
	int verdict;

	ASAN_UNPOISON_MEMORY_REGION(packet, setting.len);
	memcpy(packet, whole, setting.len);
	verdict = hf_xdp_underlay(&ctx);
	MUST(verdict == XDP_PASS || verdict == XDP_DROP || verdict == XDP_TX);
	MUST(count_drops() == (verdict == XDP_DROP));
	if (verdict == XDP_TX)
		check_reflected(packet, setting.len, ip_of_frame());
	else
		MUST(!memcmp(packet, whole, setting.len));
}

/* No more than one event, and of sound content. */
static void check_events(void)
{
	const struct hf_event_packet *event = records ? (const void *)records->bytes : NULL;

	if (!event)
		return;
	MUST(!records->next && records->submitted);
	MUST(event->event.type >= HF_EVENT_WANT && event->event.type <= HF_EVENT_PAYLOAD);
	MUST(event->event.packet_len <= HF_HOLD_MAX);
	if (event->event.packet_len)
		MUST(!memcmp(event->packet, whole + setting.network, event->event.packet_len));
}

static void check_encrypted(int verdict)
{
	MUST(verdict == TC_ACT_OK || verdict == TC_ACT_SHOT || verdict == TC_ACT_STOLEN);
	/* What leaves has been given to one peer's states; what does not, to none. */
	MUST(n_set == (verdict == TC_ACT_OK));
	MUST(count_drops() == (verdict != TC_ACT_OK));
	MUST(verdict != TC_ACT_OK || set_if_id);
	/* Only holdfastd itself chooses its peer, by a control packet. */
	if (verdict == TC_ACT_OK && set_if_id != DATAPATH_GATEWAY_IF_ID && set_if_id != DATAPATH_CLIENT_IF_ID)
		MUST((setting.mark & HF_MARK_MASK) == HF_MARK && whole[setting.network + 9] == HF_CONTROL_PROTOCOL);
	if (verdict == TC_ACT_STOLEN)
		MUST(records && ((struct hf_event *)records->bytes)->type == HF_EVENT_WANT &&
		     ((struct hf_event *)records->bytes)->packet_len);
}

static void check_decrypted(const struct __sk_buff *skb, int verdict)
{
	MUST(verdict == TC_ACT_OK || verdict == TC_ACT_SHOT);
	MUST(count_drops() == (verdict == TC_ACT_SHOT));
	if (verdict != TC_ACT_OK)
		return;
	MUST(!(skb->mark & HF_MARK_MASK) && (skb->mark & ~HF_MARK_MASK) == (setting.mark & ~HF_MARK_MASK));
	MUST(setting.from_if_id == DATAPATH_GATEWAY_IF_ID || setting.from_if_id == DATAPATH_CLIENT_IF_ID);
	/* A client's packets but errors of routers come from the client's address. */
	if (setting.from_if_id == DATAPATH_CLIENT_IF_ID && whole[setting.network + 9] != IPPROTO_ICMP) {
		__be32 saddr;

		memcpy(&saddr, whole + setting.network + 12, sizeof(saddr));
		MUST(saddr == bpf_htonl(DATAPATH_INNER));
	}
}

static void check_underlay(const struct __sk_buff *skb, int verdict)
{
	__be32 daddr;

	MUST(verdict == TC_ACT_UNSPEC);
	MUST((skb->mark & ~HF_MARK_MASK) == (setting.mark & ~HF_MARK_MASK));
	if (skb->mark == setting.mark)
		return;
	memcpy(&daddr, whole + setting.network + 16, sizeof(daddr));
	MUST((skb->mark & HF_MARK_MASK) == HF_MARK && !hf_tunnel_of_v4(daddr));
}

static void check_bare(const struct __sk_buff *skb, int verdict)
{
	if (verdict == 7) {
		check_reflected(packet, skb->data_end - skb->data, 0);
		/* An answer is Holdfast's own: at the underlay's egress nothing else may go to a tunnelled address. */
		MUST(count_drops() == 0 && skb->mark == ((setting.mark & ~HF_MARK_MASK) | HF_MARK));
		return;
	}
	MUST(verdict == TC_ACT_UNSPEC || verdict == TC_ACT_SHOT);
	MUST(count_drops() == (verdict == TC_ACT_SHOT));
	if (verdict == TC_ACT_UNSPEC)
		check_underlay(skb, verdict);
}

/* Whether it is an IPv4 packet to what the policy tunnels, and not Holdfast's own. */
static bool goes_past_tunnels(void)
{
	__be32 daddr;

	if ((setting.mark & HF_MARK_MASK) == HF_MARK || setting.protocol != ETH_P_IP ||
	    setting.network + sizeof(struct iphdr) > setting.len)
		return false;
	memcpy(&daddr, whole + setting.network + 16, sizeof(daddr));
	return !hf_v4_stays_on_link(daddr) && hf_tunnel_of_v4(daddr);
}

static void check_out(int verdict)
{
	bool clear_text = setting.ingress == DATAPATH_PROTECTED || setting.ingress == DATAPATH_TUNNEL ||
			  goes_past_tunnels();

	MUST(verdict == TC_ACT_SHOT || verdict == TC_ACT_UNSPEC);
	MUST(verdict == TC_ACT_SHOT || !clear_text);
	/* Of IPv6 too, but never of what is ours. */
	MUST(verdict == TC_ACT_UNSPEC || clear_text ||
	     (setting.protocol == 0x86dd && (setting.mark & HF_MARK_MASK) != HF_MARK));
}

static void run_tc(enum datapath_program program)
{
	struct __sk_buff skb = { .len = setting.len, .mark = setting.mark, .protocol = bpf_htons(setting.protocol),
				 .ingress_ifindex = setting.ingress, .ifindex = 1, .gso_size = setting.gso,
				 .data = (__u32)(long)packet, .data_end = (__u32)(long)packet };
	size_t linear = setting.linear < setting.len ? setting.linear : setting.len;
	int verdict;

	make_linear(&skb, linear);
	switch (program) {
	case DATAPATH_UNDERLAY:
		verdict = hf_tc_underlay(&skb);
		check_underlay(&skb, verdict);
		break;
	case DATAPATH_BARE:
		verdict = hf_tc_bare(&skb);
		check_bare(&skb, verdict);
		return; /* a reflected packet has changed */
	case DATAPATH_OUT:
		check_out(hf_tc_underlay_out(&skb));
		break;
	case DATAPATH_ENCRYPT:
		check_encrypted(hf_tc_encrypt(&skb));
		break;
	default:
		verdict = hf_tc_decrypted(&skb);
		check_decrypted(&skb, verdict);
		break;
	}
	MUST(!memcmp(packet, whole, skb.data_end - skb.data));
	check_events();
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	struct input in = { data, size };
	enum datapath_program program;

	input_read(&in, &setting, sizeof(setting));
	program = setting.program % DATAPATH_PROGRAMS;
	/* The IPv4 header is where the packet begins, or behind Ethernet, or behind what is left of it. */
	setting.network = program == DATAPATH_BARE || program == DATAPATH_ENCRYPT ? 0 :
			  program == DATAPATH_DECRYPTED ? setting.network % 32 : 14;
	setting.len = in.left < PACKET_MAX ? (__u32)in.left : PACKET_MAX;
	memset(whole, 0, sizeof(whole));
	memcpy(whole, in.at, setting.len);
	if (program != DATAPATH_XDP && setting.len < setting.network)
		return 0; /* the kernel has none such */
	set_up();
	if (program == DATAPATH_XDP)
		run_xdp();
	else
		run_tc(program);
	clear();
	return 0;
}
