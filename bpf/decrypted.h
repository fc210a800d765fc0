/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From encrypted to clear: what came through the SA of a peer. Checks that the
 * peer may use the inner source, takes the packet as an authenticated sign of
 * life, tells holdfastd that a client uses this gateway, and takes control
 * packets out.
 */
#ifndef HF_BPF_DECRYPTED_H
#define HF_BPF_DECRYPTED_H

#define HF_LIVE_GRAIN_NS 1000000ull /* how exact last_rx_ns is: not every packet writes the cache line */

extern int bpf_skb_get_xfrm_info(struct __sk_buff *skb, struct bpf_xfrm_info *to) __ksym __weak;

/* The peer's if_id, or 0. */
static __always_inline __u32 hf_decrypted_from(struct __sk_buff *skb)
{
	struct bpf_xfrm_info info = {};

	if (!hf_have_xfrm || bpf_skb_get_xfrm_info(skb, &info))
		return 0;
	return info.if_id;
}

/* Whether the peer may send from this inner source. */
static __always_inline bool hf_source_is_allowed(__be32 saddr, __u32 if_id)
{
	const struct hf_tunnel *tunnel = hf_tunnel_of_v4(saddr);
	struct hf_member member = {.if_id = if_id};

	if (!tunnel)
		return false;
	member.slot = tunnel->slot;
	return bpf_map_lookup_elem(&hf_members, &member);
}

/*
 * Whether this is an ICMP error about a packet that went to this peer, told to
 * the one who sent it. A router on the way may say so, whose own address is no
 * inner one: without it, path MTU discovery fails. What the peer may tell lies so
 * is about packets to its own addresses, which it could as well not deliver.
 */
static __always_inline bool hf_error_is_allowed(struct __sk_buff *skb, const struct hf_inner *inner, __u32 if_id)
{
	struct hf_icmp_error error;

	if (inner->ip.protocol != IPPROTO_ICMP || !inner->first ||
	    bpf_ntohs(inner->ip.tot_len) < inner->payload + sizeof(error) ||
	    hf_inner_load(skb, inner->payload, &error, sizeof(error)))
		return false;
	if (error.type != HF_ICMP_UNREACHABLE && error.type != HF_ICMP_TIME_EXCEEDED &&
	    error.type != HF_ICMP_PARAMETER)
		return false;
	return error.about.version == 4 && error.about.ihl >= 5 && error.about.saddr == inner->ip.daddr &&
	       hf_source_is_allowed(error.about.daddr, if_id);
}

/* A gateway that is cut off from its targets says "unreachable": that is no sign of life. */
static __always_inline bool hf_inner_is_unreachable(struct __sk_buff *skb, const struct hf_inner *inner)
{
	__u8 type;

	return inner->ip.protocol == IPPROTO_ICMP && inner->first &&
	       !hf_inner_load(skb, inner->payload, &type, sizeof(type)) && type == HF_ICMP_UNREACHABLE;
}

static __always_inline void hf_live_touch(__u32 if_id)
{
	struct hf_live *live = bpf_map_lookup_elem(&hf_live, &if_id);
	__u64 now = bpf_ktime_get_ns();

	if (live && now - live->last_rx_ns >= HF_LIVE_GRAIN_NS)
		live->last_rx_ns = now;
}

static __always_inline struct hf_event *hf_event_new(enum hf_event_type type, __u32 if_id, __be32 saddr)
{
	struct hf_event *event = bpf_ringbuf_reserve(&hf_events, sizeof(*event), 0);

	if (!event)
		return NULL;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->type = type;
	event->if_id = if_id;
	hf_addr_of_v4(&event->inner, saddr);
	return event;
}

/* The first packet of a client since holdfastd last asked: tell, once. A full ring: the next packet tells. */
static __always_inline void hf_claim_tell(__u32 if_id, __be32 saddr)
{
	struct hf_claim *claim = bpf_map_lookup_elem(&hf_claims, &if_id);
	struct hf_event *event;

	if (!claim || claim->told || __sync_val_compare_and_swap(&claim->told, 0, 1))
		return;
	event = hf_event_new(HF_EVENT_CLAIM, if_id, saddr);
	if (event)
		bpf_ringbuf_submit(event, 0);
	else
		claim->told = 0;
}

/*
 * A control packet of a known peer and source: to holdfastd, and no further. It is a sign of life, but for one: a
 * gateway that asks whether we live has not heard us, so it does not show that the way there and back stands.
 */
static __always_inline int hf_control_deliver(const struct hf_control_wire *control, enum hf_role role, __u32 if_id,
					      __be32 saddr)
{
	struct hf_event *event;

	if (role != HF_ROLE_GATEWAY || control->type != HF_CONTROL_PROBE)
		hf_live_touch(if_id);
	event = hf_event_new(HF_EVENT_CONTROL, if_id, saddr);
	if (!event)
		return hf_drop(HF_DROP_control_lost, TC_ACT_SHOT);
	event->nonce = control->nonce;
	event->control = control->type;
	bpf_ringbuf_submit(event, 0);
	return hf_drop(HF_DROP_control_consumed, TC_ACT_SHOT);
}

/* The way on: into the clear. The mark was set on the underlay for the reverse-path check; it survived decryption. */
static __always_inline int hf_decrypted_pass(struct __sk_buff *skb)
{
	hf_mark_set(skb, 0);
	return TC_ACT_OK;
}

static __always_inline int hf_decrypted(struct __sk_buff *skb)
{
	struct hf_control_wire control;
	const struct hf_peer *peer;
	struct hf_inner inner;
	__u32 if_id;
	long found;

	if_id = hf_decrypted_from(skb);
	peer = bpf_map_lookup_elem(&hf_peers, &if_id);
	if (!peer)
		return hf_drop(HF_DROP_unknown_peer, TC_ACT_SHOT);
	found = hf_inner_parse(skb, &inner);
	if (found)
		return hf_drop(-1 - found, TC_ACT_SHOT);
	found = hf_inner_control(skb, &inner, &control);
	if (found < 0)
		return hf_drop(HF_DROP_control_malformed, TC_ACT_SHOT);
	/* A gateway's own words come from its outer address, which is no target. */
	if (!hf_source_is_allowed(inner.ip.saddr, if_id) &&
	    !(found && hf_addr_is_v4(&peer->outer, inner.ip.saddr))) {
		if (found || !hf_error_is_allowed(skb, &inner, if_id))
			return hf_drop(HF_DROP_inner_source, TC_ACT_SHOT);
		/* No sign of life, and no address of a client's to be claimed. */
		return hf_decrypted_pass(skb);
	}
	if (found)
		return hf_control_deliver(&control, peer->role, if_id, inner.ip.saddr);
	if (!hf_inner_is_unreachable(skb, &inner))
		hf_live_touch(if_id);
	hf_claim_tell(if_id, inner.ip.saddr);
	return hf_decrypted_pass(skb);
}

#endif
