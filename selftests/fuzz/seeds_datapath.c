/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets for fuzz_datapath.c. */
#include <arpa/inet.h>
#include <linux/types.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <stdbool.h>

#include "lib/addr.h"
#include "selftests/fuzz/fuzz_datapath.h"
#include "selftests/fuzz/seeds.h"

struct seed_packet {
	unsigned int vlans;
	bool ethernet;
	__u32 saddr;
	__u32 daddr;
	unsigned int options; /* words */
	__u8 ttl;
	__u8 protocol;
	__u16 port; /* of UDP, both */
	const void *payload;
	size_t payload_len;
};

static __u16 header_check(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (unsigned int i = 0; i < ip->ihl * 2u; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static void put_ethernet(const struct seed_packet *packet)
{
	static const __u8 macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	static const __u8 tag[] = { 0x81, 0x00, 0x00, 0x05 };

	put(macs, sizeof(macs));
	for (unsigned int i = 0; i < packet->vlans; i++)
		put(tag, sizeof(tag));
	put("\x08\x00", 2);
}

static void put_packet(const struct seed_packet *packet)
{
	struct {
		struct iphdr ip;
		__u8 options[40];
	} head = { .ip = { .version = 4, .ihl = 5 + packet->options, .ttl = packet->ttl ? packet->ttl : 64,
			   .protocol = packet->protocol, .saddr = htonl(packet->saddr),
			   .daddr = htonl(packet->daddr) } };
	struct udphdr udp = { .source = htons(packet->port), .dest = htons(packet->port),
			      .len = htons((__u16)(sizeof(udp) + packet->payload_len)) };
	size_t in_udp = packet->port ? sizeof(udp) : 0;

	head.ip.tot_len = htons((__u16)(head.ip.ihl * 4u + in_udp + packet->payload_len));
	head.ip.check = header_check(&head.ip);
	if (packet->ethernet)
		put_ethernet(packet);
	put(&head, head.ip.ihl * 4u);
	put(&udp, in_udp);
	put(packet->payload, packet->payload_len);
}

void seeds_datapath(void)
{
	const struct hf_beat_wire beat = { .spi = htonl(HF_BEAT_SPI), .sequence = htonl(1), .nonce = 1 };
	const struct hf_beat_wire answer = { .spi = htonl(HF_BEAT_SPI), .nonce = DATAPATH_NONCE };
	const struct hf_control_wire control = { .magic = htonl(HF_CONTROL_MAGIC), .if_id = htonl(DATAPATH_GATEWAY_IF_ID),
						 .nonce = 7, .type = HF_CONTROL_PROBE };
	struct {
		struct icmphdr icmp;
		struct iphdr about;
	} error = { .icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED },
		    .about = { .version = 4, .ihl = 5, .saddr = htonl(DATAPATH_TARGETS + 1),
			       .daddr = htonl(DATAPATH_INNER) } };
	const __u8 esp[16] = { 0, 0, 1, 0, 0, 0, 0, 1 };
	const struct {
		const char *name;
		__u8 program;
		__u8 flags;
		__u32 from_if_id;
		struct seed_packet packet;
	} seeds[] = {
		{ "xdp-beat", DATAPATH_XDP, DATAPATH_GATE_OPEN, 0,
		  { 0, true, DATAPATH_CLIENT, DATAPATH_US, 0, 64, IPPROTO_ESP, 0, &beat, sizeof(beat) } },
		{ "xdp-beat-udp-vlan", DATAPATH_XDP, DATAPATH_GATE_OPEN, 0,
		  { 2, true, DATAPATH_CLIENT, DATAPATH_US, 2, 64, IPPROTO_UDP, 4500, &beat, sizeof(beat) } },
		{ "xdp-beat-closed", DATAPATH_XDP, 0, 0,
		  { 0, true, DATAPATH_CLIENT, DATAPATH_US, 0, 64, IPPROTO_ESP, 0, &beat, sizeof(beat) } },
		{ "xdp-answer", DATAPATH_XDP, 0, 0,
		  { 1, true, DATAPATH_GATEWAY, DATAPATH_US, 0, 63, IPPROTO_ESP, 0, &answer, sizeof(answer) } },
		{ "xdp-esp", DATAPATH_XDP, 0, 0,
		  { 0, true, DATAPATH_GATEWAY, DATAPATH_US, 0, 63, IPPROTO_ESP, 0, esp, sizeof(esp) } },
		{ "bare-beat", DATAPATH_BARE, DATAPATH_GATE_OPEN, 0,
		  { 0, false, DATAPATH_CLIENT, DATAPATH_US, 0, 64, IPPROTO_ESP, 0, &beat, sizeof(beat) } },
		{ "bare-udp", DATAPATH_BARE, 0, 0,
		  { 0, false, DATAPATH_GATEWAY, DATAPATH_US, 0, 64, IPPROTO_UDP, 4500, esp, sizeof(esp) } },
		{ "underlay-esp", DATAPATH_UNDERLAY, 0, 0,
		  { 0, true, DATAPATH_CLIENT, DATAPATH_US, 0, 64, IPPROTO_ESP, 0, esp, sizeof(esp) } },
		{ "underlay-tcp", DATAPATH_UNDERLAY, 0, 0,
		  { 0, true, DATAPATH_CLIENT, DATAPATH_US, 1, 64, IPPROTO_TCP, 7546, esp, sizeof(esp) } },
		{ "out", DATAPATH_OUT, 0, 0,
		  { 0, true, DATAPATH_US, DATAPATH_CLIENT, 0, 64, IPPROTO_ESP, 0, esp, sizeof(esp) } },
		{ "encrypt", DATAPATH_ENCRYPT, DATAPATH_STEERED | DATAPATH_WATCHED, 0,
		  { 0, false, DATAPATH_US, DATAPATH_TARGETS + 1, 0, 64, IPPROTO_UDP, 53, esp, sizeof(esp) } },
		{ "encrypt-held", DATAPATH_ENCRYPT, 0, 0,
		  { 0, false, DATAPATH_US, DATAPATH_TARGETS + 1, 0, 64, IPPROTO_UDP, 53, esp, sizeof(esp) } },
		{ "encrypt-control", DATAPATH_ENCRYPT, 0, 0,
		  { 0, false, DATAPATH_US, DATAPATH_GATEWAY, 0, 64, HF_CONTROL_PROTOCOL, 0, &control, sizeof(control) } },
		{ "decrypted", DATAPATH_DECRYPTED, 0, DATAPATH_CLIENT_IF_ID,
		  { 0, false, DATAPATH_INNER, DATAPATH_TARGETS + 1, 0, 64, IPPROTO_UDP, 53, esp, sizeof(esp) } },
		{ "decrypted-control", DATAPATH_DECRYPTED, 0, DATAPATH_CLIENT_IF_ID,
		  { 0, false, DATAPATH_INNER, DATAPATH_US, 0, 64, HF_CONTROL_PROTOCOL, 0, &control, sizeof(control) } },
		{ "decrypted-answer", DATAPATH_DECRYPTED, 0, DATAPATH_GATEWAY_IF_ID,
		  { 0, false, DATAPATH_GATEWAY, DATAPATH_INNER, 0, 64, HF_CONTROL_PROTOCOL, 0, &control, sizeof(control) } },
		{ "decrypted-error", DATAPATH_DECRYPTED, 0, DATAPATH_CLIENT_IF_ID,
		  { 0, false, 0x0a090101, DATAPATH_TARGETS + 1, 0, 64, IPPROTO_ICMP, 0, &error, sizeof(error) } },
	};

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		struct datapath_setting setting = {
			.program = seeds[i].program, .flags = seeds[i].flags, .fib = 4, .protocol = ETHERTYPE_IP,
			.linear = 2048, .from_if_id = seeds[i].from_if_id, .mark = HF_MARK | 5, .ingress = 1,
			.tokens = 3,
		};

		put(&setting, sizeof(setting));
		put_packet(&seeds[i].packet);
		save("datapath", seeds[i].name);
	}
}
