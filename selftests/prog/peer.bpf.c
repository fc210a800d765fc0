// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The other end of the SA, for the tests: BPF_PROG_RUN can neither put the
 * metadata of a decrypted packet on what it runs, nor show what a program has
 * put there.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

extern int bpf_skb_set_xfrm_info(struct __sk_buff *skb, const struct bpf_xfrm_info *from) __ksym __weak;

/* From the kernel's BTF, by name: only the members that are read. */
struct xfrm_md_info {
	__u32 if_id;
} __attribute__((preserve_access_index));

struct metadata_dst {
	union {
		struct xfrm_md_info xfrm_info;
	} u;
} __attribute__((preserve_access_index));

struct sk_buff {
	unsigned long _skb_refdst;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} peer_next SEC(".maps");

__u32 peer_seen = 0;

/* Decrypted from the peer whose if_id is in cb[0]; then the program under test. 0: from nobody. */
SEC("tc")
int peer_sends(struct __sk_buff *skb)
{
	struct bpf_xfrm_info info = {.if_id = skb->cb[0]};

	if (info.if_id && bpf_skb_set_xfrm_info(skb, &info))
		return TC_ACT_UNSPEC;
	bpf_tail_call(skb, &peer_next, 0);
	return TC_ACT_UNSPEC;
}

/* After the program under test: the peer that it steered the packet to. */
SEC("fexit")
int BPF_PROG(peer_receives, struct sk_buff *skb)
{
	struct metadata_dst *dst = (void *)(skb->_skb_refdst & ~1ul); /* SKB_DST_NOREF */

	peer_seen = dst ? BPF_CORE_READ(dst, u.xfrm_info.if_id) : 0;
	return 0;
}

/* Somebody else's XDP program. */
SEC("xdp")
int peer_passes(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
