/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Traffic without a session: the packet goes to holdfastd, which sends it when a session stands. */
#ifndef HF_BPF_HOLD_H
#define HF_BPF_HOLD_H

/* Copies the packet into the event. 0, or negative when it does not fit. */
static __always_inline long hf_hold_copy(struct __sk_buff *skb, const struct hf_inner *inner,
					 struct hf_event_packet *held)
{
	__u32 len = bpf_ntohs(inner->ip.tot_len);

	held->event.packet_len = 0;
	if (skb->gso_size)
		return -1;
	barrier_var(len); /* the verifier must see both bounds on one register: no folding of the comparisons */
	if (len < sizeof(inner->ip))
		return -1;
	barrier_var(len);
	if (len > HF_HOLD_MAX)
		return -1;
	if (bpf_skb_load_bytes_relative(skb, 0, held->packet, len, BPF_HDR_START_NET) &&
	    (bpf_skb_pull_data(skb, skb->len) ||
	     bpf_skb_load_bytes_relative(skb, 0, held->packet, len, BPF_HDR_START_NET)))
		return -1;
	held->event.packet_len = len;
	return 0;
}

/* Packets to be held may fill half the ring; the rest is for what clients and gateways say. */
#define HF_HOLD_RING (HF_EVENTS_SIZE / 2)

/*
 * Asks holdfastd for a session for the slot. A packet that could be handed
 * over counts as taken (TC_ACT_STOLEN: the sender sees no error); one that
 * could not is dropped, and the asking alone goes through if the ring has room.
 */
static __always_inline int hf_hold(struct __sk_buff *skb, const struct hf_inner *inner, __u32 slot)
{
	struct hf_event_packet *held = NULL;
	long lost;

	if (bpf_ringbuf_query(&hf_events, BPF_RB_AVAIL_DATA) <= HF_HOLD_RING)
		held = bpf_ringbuf_reserve(&hf_events, sizeof(*held), 0);
	if (!held)
		return hf_drop(HF_DROP_no_session, TC_ACT_SHOT);
	__builtin_memset(&held->event, 0, sizeof(held->event));
	held->event.time_ns = bpf_ktime_get_ns();
	held->event.type = HF_EVENT_WANT;
	held->event.slot = slot;
	hf_addr_of_v4(&held->event.inner, inner->ip.saddr);
	lost = hf_hold_copy(skb, inner, held);
	bpf_ringbuf_submit(held, 0);
	return lost ? hf_drop(HF_DROP_no_session, TC_ACT_SHOT) : hf_drop(HF_DROP_held, TC_ACT_STOLEN);
}

/* The slot was watched for payload: tells holdfastd once. Where the ring is full, the next packet tells. */
static __always_inline void hf_tell_payload(struct hf_steer *steer, __u32 slot)
{
	struct hf_event *event;

	if (__sync_val_compare_and_swap(&steer->watch, 1, 0) != 1)
		return;
	event = bpf_ringbuf_reserve(&hf_events, sizeof(*event), 0);
	if (!event) {
		steer->watch = 1;
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->type = HF_EVENT_PAYLOAD;
	event->slot = slot;
	event->if_id = steer->if_id;
	bpf_ringbuf_submit(event, 0);
}

#endif
