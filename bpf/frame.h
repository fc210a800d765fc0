/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames on the underlay: finds heartbeats among them. Ethernet, up to two VLAN
 * tags, IPv4 with options, then ESP, or UDP from or to port 4500 with ESP in it
 * (RFC 3948). Or without a link layer, beginning with IPv4.
 */
#ifndef HF_BPF_FRAME_H
#define HF_BPF_FRAME_H

#define HF_IP_MF 0x2000u
#define HF_IP_OFFSET 0x1fffu

enum hf_frame_kind {
	HF_FRAME_OTHER,	 /* not a heartbeat: none of our business */
	HF_FRAME_BEAT,	 /* everything in struct hf_frame is set */
	HF_FRAME_BROKEN, /* the SPI of a heartbeat, but the rest is not right; ip is set */
};

struct hf_frame {
	struct ethhdr *eth; /* NULL where the link has none */
	struct iphdr *ip;
	struct udphdr *udp; /* NULL for plain ESP */
	struct hf_beat_wire *beat;
};

/* The type of what follows Ethernet and VLAN tags, and where it is; 0 when cut short. */
static __always_inline __be16 hf_frame_payload(struct ethhdr *eth, void *end, void **ret_payload)
{
	struct vlan_hdr *vlan = (void *)(eth + 1);
	__be16 proto;

	if ((void *)(eth + 1) > end)
		return 0;
	proto = eth->h_proto;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > end)
			return 0;
		proto = vlan->h_vlan_encapsulated_proto;
		vlan++;
	}
	*ret_payload = vlan;
	return proto;
}

/* What follows the IPv4 header if it may be ESP; sets udp when it is in UDP. */
static __always_inline void *hf_frame_esp(struct iphdr *ip, void *end, struct udphdr **ret_udp)
{
	void *payload = (void *)ip + ip->ihl * 4;
	struct udphdr *udp = payload;

	if (ip->protocol == IPPROTO_ESP)
		return payload;
	if (ip->protocol != IPPROTO_UDP || (void *)(udp + 1) > end)
		return NULL;
	if (udp->dest != bpf_htons(HF_UDP_ENCAP_PORT) && udp->source != bpf_htons(HF_UDP_ENCAP_PORT))
		return NULL;
	*ret_udp = udp;
	return udp + 1;
}

/* Whether the lengths that the headers tell hold a whole heartbeat and lie within the frame. */
static __always_inline bool hf_frame_is_whole(const struct hf_frame *frame, void *end)
{
	__u32 total = bpf_ntohs(frame->ip->tot_len);
	__u32 headers = (void *)frame->beat - (void *)frame->ip;

	if ((void *)(frame->beat + 1) > end || (void *)frame->ip + total > end)
		return false;
	if (total < headers + sizeof(struct hf_beat_wire))
		return false;
	if (!frame->udp)
		return true;
	headers = frame->ip->ihl * 4;
	return bpf_ntohs(frame->udp->len) >= sizeof(struct udphdr) + sizeof(struct hf_beat_wire) &&
	       bpf_ntohs(frame->udp->len) <= total - headers;
}

/* ethernet: a constant of the entry point; which kind of link it is on, the packet does not tell. */
static __always_inline enum hf_frame_kind hf_frame_parse(void *data, void *end, bool ethernet,
							 struct hf_frame *frame)
{
	void *payload = data, *esp;

	frame->udp = NULL;
	frame->eth = ethernet ? payload : NULL;
	if (ethernet && hf_frame_payload(frame->eth, end, &payload) != bpf_htons(ETH_P_IP))
		return HF_FRAME_OTHER;
	frame->ip = payload;
	if ((void *)(frame->ip + 1) > end)
		return HF_FRAME_OTHER;
	/* A fragment but the first has no SPI: it cannot be told from others, and alone it is nothing. */
	if (frame->ip->version != 4 || frame->ip->ihl < 5 ||
	    (frame->ip->frag_off & bpf_htons(HF_IP_OFFSET)))
		return HF_FRAME_OTHER;
	esp = hf_frame_esp(frame->ip, end, &frame->udp);
	if (!esp || esp + sizeof(__be32) > end || *(__be32 *)esp != bpf_htonl(HF_BEAT_SPI))
		return HF_FRAME_OTHER;
	frame->beat = esp;
	if ((frame->ip->frag_off & bpf_htons(HF_IP_MF)) || !hf_frame_is_whole(frame, end))
		return HF_FRAME_BROKEN;
	return HF_FRAME_BEAT;
}

/*
 * Whether the frame is for this node. A heartbeat on its way between others,
 * through a node that forwards, is none of our business.
 */
static __always_inline bool hf_frame_is_ours(void *ctx, __u32 ifindex, const struct hf_frame *frame)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = frame->ip->protocol,
		.ifindex = ifindex,
		.ipv4_src = frame->ip->saddr,
		.ipv4_dst = frame->ip->daddr,
	};
	long result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);

	/* A node that forwards nothing is asked no further: what is not for it, the stack drops. */
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

#endif
