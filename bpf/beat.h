/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Heartbeats: an answer to one of ours is consumed, one of a client of ours is
 * reflected, everything else is dropped under its own reason. An answer counts
 * only with a nonce that is outstanding with the peer that it comes from.
 */
#ifndef HF_BPF_BEAT_H
#define HF_BPF_BEAT_H

#define HF_NS_PER_S 1000000000ull

/* Consumes the frame if it answers a heartbeat of ours. Once only: the nonce goes with it. */
static __always_inline bool hf_beat_answers(const struct hf_frame *frame)
{
	__u64 nonce = frame->beat->nonce;
	struct hf_beat *sent = bpf_map_lookup_elem(&hf_beats, &nonce);
	struct hf_peer *peer;
	struct hf_live *live;
	__u64 now, sent_ns;
	__u32 if_id;

	if (!sent)
		return false;
	if_id = sent->if_id;
	sent_ns = sent->sent_ns;
	peer = bpf_map_lookup_elem(&hf_peers, &if_id);
	live = bpf_map_lookup_elem(&hf_live, &if_id);
	if (!peer || !live || !hf_addr_is_v4(&peer->outer, frame->ip->saddr))
		return false;
	if (bpf_map_delete_elem(&hf_beats, &nonce))
		return false; /* another CPU had the same answer */
	now = bpf_ktime_get_ns();
	live->beat_rx_ns = now;
	live->beat_rtt_ns = now - sent_ns;
	__sync_fetch_and_add(&live->beats_answered, 1);
	return true;
}

static __always_inline bool hf_gate_is_open(void)
{
	__u32 zero = 0;
	const struct hf_gate *gate = bpf_map_lookup_elem(&hf_gate, &zero);

	return gate && bpf_ktime_get_ns() < gate->open_until_ns;
}

/*
 * Takes a token. Without a lock: CPUs that meet here may take one token twice,
 * which loosens the limit a little and can break nothing.
 */
static __always_inline bool hf_beat_within_rate(struct hf_live *live)
{
	__u64 rate = hf_reflect_per_second, burst = hf_reflect_burst;
	__u64 now = bpf_ktime_get_ns();
	__u64 silence = now - live->reflect_ns;
	__u64 tokens = live->reflect_tokens;

	if (!rate)
		return false;
	if ((__s64)silence < 0)
		silence = 0; /* another CPU has written a later time since */
	if (!live->reflect_ns || silence >= burst * HF_NS_PER_S / rate) {
		tokens = burst;
		live->reflect_ns = now;
	} else if (silence >= HF_NS_PER_S / rate) {
		__u64 refill = silence * rate / HF_NS_PER_S;

		tokens += refill;
		if (tokens > burst)
			tokens = burst;
		live->reflect_ns += refill * HF_NS_PER_S / rate;
	}
	if (tokens)
		live->reflect_tokens = tokens - 1;
	else
		live->reflect_tokens = 0;
	return tokens > 0;
}

/* RFC 1624, equation 3, for the byte ttl, which is the upper half of its 16-bit word. */
static __always_inline void hf_ip_decrement_ttl(struct iphdr *ip)
{
	__u32 sum = (__u16)~ip->check + (__u16)~bpf_htons((__u16)ip->ttl << 8) +
		    bpf_htons((__u16)(ip->ttl - 1) << 8);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->ttl--;
}

/*
 * Turns the frame round in place. The checksums of IP and UDP are sums over
 * what is only swapped, so the hop less is all that changes them.
 */
static __always_inline void hf_beat_turn(struct hf_frame *frame)
{
	struct ethhdr *eth = frame->eth;
	__u8 mac[ETH_ALEN];
	__be32 addr = frame->ip->saddr;

	if (eth) {
		__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
		__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
		__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	}
	frame->ip->saddr = frame->ip->daddr;
	frame->ip->daddr = addr;
	if (frame->udp) {
		__be16 port = frame->udp->source;

		frame->udp->source = frame->udp->dest;
		frame->udp->dest = port;
	}
	hf_ip_decrement_ttl(frame->ip);
}

/* Whether it was sent to a group of hosts; without a link layer, only a multicast address or 255.255.255.255 tells. */
static __always_inline bool hf_beat_to_group(const struct hf_frame *frame)
{
	return frame->eth ? frame->eth->h_dest[0] & 1 : bpf_ntohl(frame->ip->daddr) >> 28 >= 14;
}

/* A heartbeat which is no answer: reflects it, or says why not. */
static __always_inline int hf_beat_reflect(struct hf_frame *frame)
{
	struct hf_outer_key key = {.port = frame->udp ? bpf_ntohs(frame->udp->source) : 0};
	struct hf_outer *outer;
	struct hf_live *live;

	hf_addr_of_v4(&key.addr, frame->ip->saddr);
	outer = bpf_map_lookup_elem(&hf_outer, &key);
	if (!outer)
		return hf_drop(HF_DROP_beat_stranger, XDP_DROP);
	if (!outer->reflect)
		return hf_drop(HF_DROP_beat_unasked, XDP_DROP);
	live = bpf_map_lookup_elem(&hf_live, &outer->if_id);
	if (!live)
		return hf_drop(HF_DROP_beat_stranger, XDP_DROP);
	/* Out of hops; or to a group, whose address must not become a source. */
	if (frame->ip->ttl <= 1 || hf_beat_to_group(frame))
		return hf_drop(HF_DROP_beat_malformed, XDP_DROP);
	if (!hf_gate_is_open())
		return hf_drop(HF_DROP_beat_gate, XDP_DROP);
	if (!hf_beat_within_rate(live))
		return hf_drop(HF_DROP_beat_rate, XDP_DROP);
	hf_beat_turn(frame);
	__sync_fetch_and_add(&live->beats_reflected, 1);
	return XDP_TX;
}

#endif
