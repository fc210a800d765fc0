/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inner packets, as TC sees them on hf0, and packets of the underlay after the
 * link layer. Everything is read from the network header on: on hf0 the buffer
 * begins there on egress, but on ingress, after decryption, it may begin with
 * what is left of the underlay's link-layer header.
 */
#ifndef HF_BPF_INNER_H
#define HF_BPF_INNER_H

#define HF_PULL_MAX 128 /* link layer, IPv4 with options, and what is read of the payload */

enum {
	HF_ICMP_UNREACHABLE = 3, /* code 4: fragmentation needed */
	HF_ICMP_TIME_EXCEEDED = 11,
	HF_ICMP_PARAMETER = 12,
};

/* An ICMP error (RFC 792) as far as it is read: its header, and the header of the packet that it is about. */
struct hf_icmp_error {
	__u8 type;
	__u8 code;
	__u16 check;
	__u32 rest;
	struct iphdr about;
};

/* Reads len bytes at offset of the network header. 0, or negative when the packet ends before. */
static __always_inline long hf_inner_load(struct __sk_buff *skb, __u32 offset, void *to, __u32 len)
{
	__u32 pull = skb->len < HF_PULL_MAX ? skb->len : HF_PULL_MAX;

	if (!bpf_skb_load_bytes_relative(skb, offset, to, len, BPF_HDR_START_NET))
		return 0;
	/* That reads the linear part only; what it lacks may lie in a page. */
	if (bpf_skb_pull_data(skb, pull))
		return -1;
	return bpf_skb_load_bytes_relative(skb, offset, to, len, BPF_HDR_START_NET);
}

/* Sets our bits of the mark; the rest is the administrator's. The verifier takes only a whole word. */
static __always_inline void hf_mark_set(struct __sk_buff *skb, __u32 bits)
{
	*(volatile __u32 *)&skb->mark = (skb->mark & ~HF_MARK_MASK) | bits;
}

struct hf_inner {
	struct iphdr ip;
	__u32 payload; /* offset of what follows the IPv4 header, options included */
	bool first;    /* not a later fragment: the payload begins with its protocol's header */
};

/* Reads the IPv4 header. Returns 0, or the reason to drop the packet, negative and less one. */
static __always_inline long hf_inner_parse(struct __sk_buff *skb, struct hf_inner *inner)
{
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return -1 - HF_DROP_family;
	if (hf_inner_load(skb, 0, &inner->ip, sizeof(inner->ip)))
		return -1 - HF_DROP_malformed;
	inner->payload = inner->ip.ihl * 4;
	if (inner->ip.version != 4 || inner->ip.ihl < 5 || bpf_ntohs(inner->ip.tot_len) < inner->payload)
		return -1 - HF_DROP_malformed;
	inner->first = !(inner->ip.frag_off & bpf_htons(HF_IP_OFFSET));
	return 0;
}

/*
 * Control packets. Returns 1 and the payload, 0 when it is none, or negative
 * when it has the magic but is cut short or a fragment.
 */
static __always_inline long hf_inner_control(struct __sk_buff *skb, const struct hf_inner *inner,
					     struct hf_control_wire *control)
{
	__be32 magic;

	if (inner->ip.protocol != HF_CONTROL_PROTOCOL || !inner->first)
		return 0;
	if (hf_inner_load(skb, inner->payload, &magic, sizeof(magic)) ||
	    magic != bpf_htonl(HF_CONTROL_MAGIC))
		return 0;
	if ((inner->ip.frag_off & bpf_htons(HF_IP_MF)) ||
	    bpf_ntohs(inner->ip.tot_len) < inner->payload + sizeof(*control) ||
	    hf_inner_load(skb, inner->payload, control, sizeof(*control)))
		return -1;
	return 1;
}

#endif
