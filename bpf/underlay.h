/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The underlay, in and out. In: the mark on what arrives for Holdfast. Where the inner
 * address of a client is its outer one, the way back to it is hf0; with
 * rp_filter 1 and src_valid_mark the reverse-path check follows the mark
 * instead, and the client's ESP passes. Out: what came from a protected network
 * does not leave here, nor what was decrypted for one, nor what the policy tunnels.
 */
#ifndef HF_BPF_UNDERLAY_H
#define HF_BPF_UNDERLAY_H

/* tc_index of a heartbeat that was turned: what comes in has 0, and only a program of this machine can write another. */
#define HF_TC_TURNED 0x4846u

/* ESP, ESP in UDP, or TCP of the key management service. */
static __always_inline bool hf_underlay_is_ours(struct __sk_buff *skb, const struct hf_inner *packet)
{
	struct {
		__be16 source;
		__be16 dest;
	} ports;
	__be16 port;

	if (packet->ip.protocol == IPPROTO_ESP)
		return true;
	if (packet->ip.protocol == IPPROTO_UDP)
		port = bpf_htons(HF_UDP_ENCAP_PORT);
	else if (packet->ip.protocol == IPPROTO_TCP)
		port = bpf_htons(hf_kms_port);
	else
		return false;
	/* Later fragments show no port; of TCP there are none, of ESP in UDP there may be. */
	if (!packet->first)
		return packet->ip.protocol == IPPROTO_UDP;
	if (hf_inner_load(skb, packet->payload, &ports, sizeof(ports)))
		return false;
	return ports.source == port || ports.dest == port;
}

/*
 * Nothing that is itself to be tunnelled may get the mark: forwarded, it would
 * pass by the tunnel in clear.
 */
static __always_inline void hf_underlay_mark(struct __sk_buff *skb)
{
	struct hf_inner packet;

	if (hf_inner_parse(skb, &packet) || !hf_underlay_is_ours(skb, &packet))
		return;
	if (!hf_tunnel_of_v4(packet.ip.daddr))
		hf_mark_set(skb, HF_MARK);
}

/*
 * Whether the packet came in on a Protected interface, or out of the tunnel for the
 * targets, and is being forwarded as it came: the route to the targets may be gone, and
 * another lead here. What this machine makes itself came in nowhere; neither did what the
 * tunnel interface has encrypted, which forgets the interface at the way in
 * (xfrmi_scrub_packet() in net/xfrm/xfrm_interface_core.c). The mark would say
 * less: on an interface that is both, hf_tc_underlay has set it on the way in.
 * A heartbeat that hf_tc_bare has turned came in where it leaves.
 */
static __always_inline bool hf_underlay_is_clear(const struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex, to = skb->ifindex;
	const __u32 *what = from ? bpf_map_lookup_elem(&hf_protected, &from) : NULL;

	if (!what || skb->tc_index == HF_TC_TURNED)
		return false;
	return *what == HF_PROTECTED_TARGETS || !bpf_map_lookup_elem(&hf_protected, &to);
}

#define ETH_P_IPV6 0x86dd
#define HF_V6_DADDR 24 /* where the destination stands (RFC 8200, 3) */
#define HF_LINK_LOCAL_GROUPS 0xe0000000u /* 224.0.0.0/24 (RFC 5771, 4) */

/* What no router forwards is no tunnel's, whatever the policy's ranges: DHCP of a client that tunnels everything. */
static __always_inline bool hf_v4_stays_on_link(__be32 daddr)
{
	return daddr == 0xffffffff || (daddr & bpf_htonl(0xffffff00)) == bpf_htonl(HF_LINK_LOCAL_GROUPS);
}

/*
 * Whether the packet goes to a tunnelled destination without being Holdfast's
 * own, which is marked. The routing rule leads such packets to hf0, so none gets
 * here but when somebody has removed it, or its table's routes.
 */
static __always_inline bool hf_underlay_bypasses(struct __sk_buff *skb)
{
	struct hf_tunnel_key key = {.prefixlen = 128};
	__be32 v4;

	if ((skb->mark & HF_MARK_MASK) == HF_MARK)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return !hf_inner_load(skb, offsetof(struct iphdr, daddr), &v4, sizeof(v4)) &&
		       !hf_v4_stays_on_link(v4) && hf_tunnel_of_v4(v4);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return !hf_inner_load(skb, HF_V6_DADDR, &key.addr, sizeof(key.addr)) &&
		       key.addr.b[0] != 0xff && key.addr.b[0] != 0xfe && bpf_map_lookup_elem(&hf_tunnels, &key);
	return false;
}

#endif
