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

/* XDP on the underlay: heartbeats. */
SEC("xdp")
int hf_xdp_underlay(struct xdp_md *ctx)
{
	enum hf_frame_kind kind;
	struct hf_frame frame;

	kind = hf_frame_parse(ctx, &frame);
	if (kind == HF_FRAME_OTHER || !hf_frame_is_ours(ctx, &frame))
		return XDP_PASS;
	if (kind == HF_FRAME_BROKEN)
		return hf_drop(HF_DROP_beat_malformed, XDP_DROP);
	if (hf_beat_answers(&frame))
		return hf_drop(HF_DROP_beat_answered, XDP_DROP);
	return hf_beat_reflect(&frame);
}

/* TC ingress on the underlay: the mark. Other filters have their say after it. */
SEC("tc")
int hf_tc_underlay(struct __sk_buff *skb)
{
	hf_underlay_mark(skb);
	return TC_ACT_UNSPEC;
}

/* TC egress on the underlay: fails closed for the protected networks. */
SEC("tc")
int hf_tc_underlay_out(struct __sk_buff *skb)
{
	if (hf_underlay_is_clear(skb))
		return hf_drop(HF_DROP_clear, TC_ACT_SHOT);
	return TC_ACT_UNSPEC;
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
