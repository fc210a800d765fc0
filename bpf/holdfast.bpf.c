// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The datapath: its entry points, one a hook. What they do is in the headers,
 * by subject; what they share with user space is in contract.h; README.md has
 * the tables of programs, maps and drop reasons.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/contract.h"

#include "bpf/knobs.h"
#include "bpf/maps.h"

#include "bpf/drop.h"

#include "bpf/addr.h"
#include "bpf/frame.h"

#include "bpf/beat.h"
#include "bpf/inner.h"

#include "bpf/hold.h"

#include "bpf/decrypted.h"
#include "bpf/encrypt.h"
#include "bpf/underlay.h"

/* What XDP is to do with a frame of the underlay; ctx is of the entry point, XDP's or TC's. */
static __always_inline int hf_heartbeat(void *ctx, __u32 ifindex, void *data, void *end, bool ethernet)
{
	enum hf_frame_kind kind;
	struct hf_frame frame;

	kind = hf_frame_parse(data, end, ethernet, &frame);
	if (kind == HF_FRAME_OTHER || !hf_frame_is_ours(ctx, ifindex, &frame))
		return XDP_PASS;
	if (kind == HF_FRAME_BROKEN)
		return hf_drop(HF_DROP_beat_malformed, XDP_DROP);
	if (hf_beat_answers(&frame))
		return hf_drop(HF_DROP_beat_answered, XDP_DROP);
	return hf_beat_reflect(&frame);
}

/* XDP on the underlay: heartbeats. */
SEC("xdp")
int hf_xdp_underlay(struct xdp_md *ctx)
{
	return hf_heartbeat(ctx, ctx->ingress_ifindex, (void *)(long)ctx->data, (void *)(long)ctx->data_end, true);
}

/* TC ingress on the underlay: the mark. Other filters have their say after it. */
SEC("tc")
int hf_tc_underlay(struct __sk_buff *skb)
{
	hf_underlay_mark(skb);
	return TC_ACT_UNSPEC;
}

/*
 * TC ingress on an underlay without Ethernet (ppp, tun): heartbeats, then the
 * mark. Not XDP: there is only the generic one on such links, and that takes
 * the first bytes for an Ethernet header. When a program has changed them, as
 * in turning a heartbeat, it derives the packet's protocol anew, from nothing
 * (bpf_prog_run_generic_xdp() in net/core/dev.c).
 */
SEC("tc")
int hf_tc_bare(struct __sk_buff *skb)
{
	int verdict = XDP_PASS;

	if (skb->protocol == bpf_htons(ETH_P_IP) &&
	    !bpf_skb_pull_data(skb, skb->len < HF_PULL_MAX ? skb->len : HF_PULL_MAX))
		verdict = hf_heartbeat(skb, skb->ifindex, (void *)(long)skb->data, (void *)(long)skb->data_end, false);
	if (verdict == XDP_DROP)
		return TC_ACT_SHOT;
	if (verdict == XDP_TX) {
		hf_mark_set(skb, HF_MARK); /* it is ours, and may be going to a tunnelled address */
		skb->tc_index = HF_TC_TURNED; /* nor is it forwarded, where the interface is Protected as well */
		return bpf_redirect(skb->ifindex, 0);
	}
	hf_underlay_mark(skb);
	return TC_ACT_UNSPEC;
}

/* TC egress on the underlay: fails closed for the protected networks, and for what the policy tunnels. */
SEC("tc")
int hf_tc_underlay_out(struct __sk_buff *skb)
{
	if (hf_underlay_is_clear(skb) || hf_underlay_bypasses(skb))
		return hf_drop(HF_DROP_clear, TC_ACT_SHOT);
	return TC_ACT_UNSPEC;
}

/* TC egress on all other interfaces, where the policy tunnels anything: what is to be tunnelled does not leave there. */
SEC("tc")
int hf_tc_guard(struct __sk_buff *skb)
{
	return hf_underlay_bypasses(skb) ? hf_drop(HF_DROP_clear, TC_ACT_SHOT) : TC_ACT_UNSPEC;
}

/* TC egress on hf0. */
SEC("tc")
int hf_tc_encrypt(struct __sk_buff *skb)
{
	return hf_encrypt(skb);
}

/* TC ingress on hf0. */
SEC("tc")
int hf_tc_decrypted(struct __sk_buff *skb)
{
	return hf_decrypted(skb);
}

char _license[] SEC("license") = "Dual BSD/GPL";
