/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From clear to encrypted: which peer a packet on hf0 goes to. Whatever finds
 * none is dropped: nothing leaves hf0 in clear.
 */
#ifndef HF_BPF_ENCRYPT_H
#define HF_BPF_ENCRYPT_H

extern int bpf_skb_set_xfrm_info(struct __sk_buff *skb, const struct bpf_xfrm_info *from) __ksym __weak;

/* Hands the packet to the states of one peer. */
static __always_inline int hf_encrypt_for(struct __sk_buff *skb, __u32 if_id)
{
	struct bpf_xfrm_info info = {.if_id = if_id};

	if (!hf_have_xfrm || bpf_skb_set_xfrm_info(skb, &info))
		return hf_drop(HF_DROP_no_xfrm, TC_ACT_SHOT);
	return TC_ACT_OK;
}

/*
 * A control packet says itself which peer it is for, and only holdfastd may
 * make one: it takes CAP_NET_ADMIN to set the mark. Anybody else's, forwarded
 * ones included, would be believed by the receiver: it goes no further.
 */
static __always_inline int hf_encrypt_control(struct __sk_buff *skb, const struct hf_control_wire *control)
{
	__u32 if_id = bpf_ntohl(control->if_id);

	if ((skb->mark & HF_MARK_MASK) != HF_MARK || !if_id)
		return hf_drop(HF_DROP_control_malformed, TC_ACT_SHOT);
	return hf_encrypt_for(skb, if_id);
}

static __always_inline int hf_encrypt(struct __sk_buff *skb)
{
	struct hf_control_wire control;
	const struct hf_tunnel *tunnel;
	struct hf_steer *steer;
	struct hf_inner inner;
	__u32 slot, if_id;
	long found;

	found = hf_inner_parse(skb, &inner);
	if (found)
		return hf_drop(-1 - found, TC_ACT_SHOT);
	found = hf_inner_control(skb, &inner, &control);
	if (found < 0)
		return hf_drop(HF_DROP_control_malformed, TC_ACT_SHOT);
	if (found)
		return hf_encrypt_control(skb, &control);
	tunnel = hf_tunnel_of_v4(inner.ip.daddr);
	if (!tunnel)
		return hf_drop(HF_DROP_not_tunnelled, TC_ACT_SHOT);
	slot = tunnel->slot;
	steer = bpf_map_lookup_elem(&hf_steer, &slot);
	if (!steer)
		return hf_drop(HF_DROP_no_session, TC_ACT_SHOT);
	if_id = *(volatile __u32 *)&steer->if_id; /* once: it may become 0 at any time */
	if (if_id) {
		if (steer->watch)
			hf_tell_payload(steer, slot);
		return hf_encrypt_for(skb, if_id);
	}
	return hf_hold(skb, &inner, slot);
}

#endif
