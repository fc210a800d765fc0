/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the corpora that no editor can: `make fuzz-seeds`. Each input is one that its
 * target takes as well-formed, made by the project's own encoders where there are
 * any; libFuzzer goes on from there. The corpus of the policy is text, and kept by hand.
 */
#include <errno.h>
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/types.h>
#include <linux/xfrm.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <sys/stat.h>

#include "kms/exchange.h"
#include "kms/wire.h"
#include "loader/claim.h"
#include "loader/netlink.h"
#include "loader/xfrm.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_datapath.h"
#include "selftests/fuzz/fuzz_keyservice.h"
#include "selftests/fuzz/fuzz_netlink.h"
#include "selftests/fuzz/fuzz_service.h"

static const char *folder;

/* An input in the making. */
static __u8 bytes[65536];
static size_t len;

static void put(const void *from, size_t n)
{
	MUST(len + n <= sizeof(bytes));
	memcpy(bytes + len, from, n);
	len += n;
}

static void put_u8(__u8 value)
{
	put(&value, sizeof(value));
}

static void put_piece(const void *from, size_t n)
{
	__u16 length = (__u16)n;

	put(&length, sizeof(length));
	if (n)
		put(from, n);
}

/* Ends the input: it becomes corpus/TARGET/NAME. */
static void save(const char *target, const char *name)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	MUST(!mkdir(path, 0755) || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "w");
	MUST(file && fwrite(bytes, 1, len, file) == len && !fclose(file));
	len = 0;
}

/* kms: fuzz_kms.c has the ends' addresses, SPIs and prefixes. */

static const struct hf_addr client = { .b = { [10] = 0xff, 0xff, 100, 0, 0, 1 } };

static void seed_kms_message(const char *name, const struct wire_message *message)
{
	__u8 frame[WIRE_FRAME_MAX];
	int n = wire_encode(message, frame, sizeof(frame));
	char more[64];

	MUST(n > 0);
	put_u8(0);
	put(frame, (size_t)n);
	save("kms", name);
	put_u8(3);
	put(&(__u16){ (__u16)(n - 2) }, 2);
	put(frame + 2, (size_t)n - 2);
	snprintf(more, sizeof(more), "%s-framed", name);
	save("kms", more);
	/* The same to an end that waits for it: 1, as the responder; or as the initiator. */
	put_u8(1);
	put_u8(message->type == WIRE_OFFER ? 0 : 1);
	put_piece(frame, (size_t)n);
	if (message->type == WIRE_OFFER || message->type == WIRE_ANSWER) {
		__u8 next[] = { 0, 2, WIRE_VERSION, message->type == WIRE_OFFER ? WIRE_CONFIRM : WIRE_DONE };

		put_piece(next, sizeof(next));
	}
	snprintf(more, sizeof(more), "%s-to-an-end", name);
	save("kms", more);
}

static void seed_kms(void)
{
	struct wire_message offer = { .type = WIRE_OFFER,
				      .offer = { .spi = 0x1000, .lifetime_s = 3600, .outer = client, .n_algorithms = 3,
						 .algorithms = { KMS_AES_256_GCM, KMS_AES_128_GCM,
								 KMS_CHACHA20_POLY1305 },
						 .n_inner = 1, .inner = { prefix_of_host(&client) } } };
	struct wire_message answer = { .type = WIRE_ANSWER,
				       .answer = { .spi = 0x2000, .lifetime_s = 600, .encapsulation = KMS_ENCAP_UDP,
						   .algorithm = KMS_AES_256_GCM, .n_inner = 1,
						   .inner = { prefix_of_host(&client) } } };
	struct wire_message refusal = { .type = WIRE_REFUSE, .refusal = { .reason = WIRE_REASON_INNER, .text = "no" } };
	struct wire_message reverse = answer, many = offer, confirm = { .type = WIRE_CONFIRM }, done = { .type = WIRE_DONE };

	reverse.type = WIRE_REVERSE;
	many.offer.n_inner = KMS_MAX_INNER; /* of ::/0 */
	memset(many.offer.inner, 0, sizeof(many.offer.inner));
	seed_kms_message("offer-of-many", &many);
	seed_kms_message("offer", &offer);
	seed_kms_message("answer", &answer);
	seed_kms_message("refuse", &refusal);
	seed_kms_message("reverse", &reverse);
	seed_kms_message("confirm", &confirm);
	seed_kms_message("done", &done);
	for (int how = 0; how < 3; how++) {
		static const char *const names[] = { "pair", "pair-install-fails", "pair-reversed" };

		put_u8(2);
		put_u8(0);
		put_u8((__u8)(how << 2));
		put_u8((__u8)(how << 2));
		save("kms", names[how]);
	}
	put_u8(2);
	put_u8(1);
	put("\x04\x00\x01", 3); /* one byte of the offer is another */
	save("kms", "pair-touched");
}

/* datapath */

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
	union {
		struct iphdr ip;
		__u8 bytes[60];
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
	put(head.bytes, head.ip.ihl * 4u);
	put(&udp, in_udp);
	put(packet->payload, packet->payload_len);
}

static void seed_datapath(void)
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

/* netlink */

static union {
	struct nlmsghdr head;
	__u8 bytes[1024];
} answer;

/* Begins an answer of this type with n_head zeroed bytes of fixed header. */
static void *begin(__u16 type, size_t n_head)
{
	memset(&answer, 0, sizeof(answer));
	mnl_nlmsg_put_header(answer.bytes);
	answer.head.nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(&answer.head, n_head);
}

static void put_answer(void)
{
	put_piece(answer.bytes, answer.head.nlmsg_len);
}

static void put_ack(int error, const char *text)
{
	struct nlmsgerr *body = begin(NLMSG_ERROR, sizeof(*body));

	body->error = error;
	body->msg.nlmsg_len = sizeof(body->msg);
	answer.head.nlmsg_flags = NLM_F_CAPPED | (text ? NLM_F_ACK_TLVS : 0);
	if (text)
		mnl_attr_put_strz(&answer.head, NLMSGERR_ATTR_MSG, text);
	put_answer();
}

static void put_done(void)
{
	begin(NLMSG_DONE, sizeof(int));
	answer.head.nlmsg_flags = NLM_F_MULTI;
	put_answer();
}

static void put_link(__u16 type, const char *name, unsigned int flags)
{
	struct ifinfomsg *head = begin(type, sizeof(*head));
	struct nlattr *info, *data;

	head->ifi_index = 2;
	head->ifi_flags = flags;
	mnl_attr_put_strz(&answer.head, IFLA_IFNAME, name);
	mnl_attr_put_u32(&answer.head, IFLA_MTU, 1500);
	mnl_attr_put_u8(&answer.head, IFLA_OPERSTATE, IF_OPER_UP);
	mnl_attr_put(&answer.head, IFLA_ADDRESS, 6, "\2\0\0\0\0\1");
	info = mnl_attr_nest_start(&answer.head, IFLA_LINKINFO);
	mnl_attr_put_strz(&answer.head, IFLA_INFO_KIND, "xfrm");
	data = mnl_attr_nest_start(&answer.head, IFLA_INFO_DATA);
	mnl_attr_put(&answer.head, IFLA_XFRM_COLLECT_METADATA, 0, NULL);
	mnl_attr_nest_end(&answer.head, data);
	mnl_attr_nest_end(&answer.head, info);
	put_answer();
}

static void put_address(__u16 type)
{
	struct ifaddrmsg *head = begin(type, sizeof(*head));

	head->ifa_family = AF_INET;
	head->ifa_index = 2;
	mnl_attr_put_u32(&answer.head, IFA_LOCAL, htonl(0x0a000001));
	mnl_attr_put_u32(&answer.head, IFA_ADDRESS, htonl(0x0a000002));
	put_answer();
}

static void put_route(__u8 family, __u8 protocol)
{
	struct rtmsg *head = begin(RTM_NEWROUTE, sizeof(*head));
	static const __u8 dst[16] = { 0x20, 1, 0xd, 0xb8 };
	struct nlattr *metrics;

	head->rtm_family = family;
	head->rtm_dst_len = 32;
	head->rtm_protocol = protocol;
	head->rtm_type = RTN_UNICAST;
	mnl_attr_put(&answer.head, RTA_DST, family == AF_INET ? 4 : 16, dst);
	mnl_attr_put(&answer.head, RTA_PREFSRC, family == AF_INET ? 4 : 16, dst);
	mnl_attr_put(&answer.head, RTA_GATEWAY, family == AF_INET ? 4 : 16, dst);
	mnl_attr_put_u32(&answer.head, RTA_TABLE, 7546);
	mnl_attr_put_u32(&answer.head, RTA_PRIORITY, 1);
	mnl_attr_put_u32(&answer.head, RTA_OIF, 2);
	metrics = mnl_attr_nest_start(&answer.head, RTA_METRICS);
	mnl_attr_put_u32(&answer.head, RTAX_MTU, 1400);
	mnl_attr_nest_end(&answer.head, metrics);
	put_answer();
}

static void put_state(void)
{
	struct xfrm_usersa_info *info = begin(XFRM_MSG_NEWSA, sizeof(*info));

	info->family = AF_INET;
	info->id.proto = IPPROTO_ESP;
	info->id.spi = htonl(0x1000);
	info->reqid = XFRM_IF_ID_BASE | 1;
	mnl_attr_put_u32(&answer.head, XFRMA_IF_ID, XFRM_IF_ID_BASE | 1);
	put_answer();
}

static void put_policy(void)
{
	struct xfrm_userpolicy_info *info = begin(XFRM_MSG_NEWPOLICY, sizeof(*info));
	struct xfrm_user_tmpl tmpl = { .reqid = XFRM_IF_ID_BASE | 1 };

	info->sel.family = AF_INET;
	mnl_attr_put(&answer.head, XFRMA_TMPL, sizeof(tmpl), &tmpl);
	mnl_attr_put_u32(&answer.head, XFRMA_IF_ID, XFRM_IF_ID_BASE | 1);
	put_answer();
}

static void put_use(void)
{
	struct xfrm_lifetime_cur cur = { .bytes = 1, .packets = 2, .add_time = 3, .use_time = 4 };
	struct xfrm_replay_state_esn replay = { .seq = 5 };

	begin(XFRM_MSG_NEWAE, sizeof(struct xfrm_aevent_id));
	mnl_attr_put(&answer.head, XFRMA_LTIME_VAL, sizeof(cur), &cur);
	mnl_attr_put(&answer.head, XFRMA_REPLAY_ESN_VAL, sizeof(replay), &replay);
	mnl_attr_put_u32(&answer.head, XFRMA_IF_ID, XFRM_IF_ID_BASE | 1);
	put_answer();
}

static void put_neighbour(void)
{
	struct ndmsg *head = begin(RTM_NEWNEIGH, sizeof(*head));

	head->ndm_family = AF_INET;
	head->ndm_flags = NTF_PROXY;
	head->ndm_ifindex = 3;
	mnl_attr_put_u8(&answer.head, NDA_PROTOCOL, NETLINK_HF_PROTOCOL);
	mnl_attr_put_u32(&answer.head, NDA_DST, htonl(0x0a090005));
	put_answer();
}

static void put_mapping(void)
{
	struct xfrm_user_mapping *mapping = begin(XFRM_MSG_MAPPING, sizeof(*mapping));

	mapping->id.family = AF_INET;
	mapping->reqid = XFRM_IF_ID_BASE | 1;
	mapping->new_sport = htons(4501);
	put_answer();
}

static void seed_netlink(void)
{
	__u8 frame[CLAIM_ARP_LEN];

	put_u8(NETLINK_ASK_LINK), put_link(RTM_NEWLINK, "eth0", IFF_UP), put_ack(0, NULL);
	save("netlink", "link");
	put_u8(NETLINK_ASK_LINK), put_ack(-19, "no such device");
	save("netlink", "link-missing");
	put_u8(NETLINK_ASK_FIRST_V4), put_address(RTM_NEWADDR), put_done();
	save("netlink", "first-address");
	put_u8(NETLINK_ASK_PATH), put_route(AF_INET, RTPROT_BOOT), put_ack(0, NULL);
	save("netlink", "path");
	put_u8(NETLINK_ASK_STATE), put_use(), put_ack(0, NULL);
	save("netlink", "state-use");
	put_u8(NETLINK_ASK_XFRM_FLUSH), put_policy(), put_done(), put_ack(0, NULL), put_state(), put_done(), put_ack(0, NULL);
	save("netlink", "xfrm-flush");
	put_u8(NETLINK_ASK_STATES), put_state(), put_state(), put_done();
	save("netlink", "states");
	put_u8(NETLINK_ASK_ROUTE_FLUSH), put_route(AF_INET, NETLINK_HF_PROTOCOL), put_done(), put_ack(0, NULL), put_done();
	put_route(AF_INET6, NETLINK_HF_PROTOCOL), put_done(), put_ack(0, NULL), put_done();
	save("netlink", "route-flush");
	put_u8(NETLINK_ASK_CLAIM_FLUSH), put_neighbour(), put_done(), put_ack(0, NULL);
	save("netlink", "claim-flush");
	put_u8(NETLINK_ASK_POLICIES), put_ack(-22, "not so"), put_ack(0, NULL);
	save("netlink", "batch");
	put_u8(NETLINK_ASK_PROBE), put_ack(-93, NULL);
	save("netlink", "probe");
	put_u8(NETLINK_ASK_PROBE_TUNNEL), put_ack(-95, "unknown device type");
	save("netlink", "probe-tunnel");
	put_u8(NETLINK_ASK_REPLAY), put_link(RTM_NEWLINK, "ppp0", IFF_UP | IFF_RUNNING | IFF_LOWER_UP | IFF_POINTOPOINT);
	put_done(), put_address(RTM_NEWADDR), put_done();
	save("netlink", "replay");
	put_u8(NETLINK_HEAR_MONITOR), put_link(RTM_NEWLINK, "ppp0", IFF_UP | IFF_RUNNING | IFF_LOWER_UP | IFF_POINTOPOINT);
	put_address(RTM_NEWADDR), put_route(AF_INET, RTPROT_BOOT), put_address(RTM_DELADDR);
	put_link(RTM_DELLINK, "ppp0", IFF_POINTOPOINT);
	save("netlink", "monitor");
	put_u8(NETLINK_HEAR_MAPPING), put_mapping();
	save("netlink", "mapping");
	MUST(!claim_arp_build(&client, (const __u8 *)"\2\0\0\0\0\1", frame));
	put_u8(NETLINK_HEAR_ARP), put_piece(frame, sizeof(frame));
	save("netlink", "arp");
}

/* control */

static void seed_control(void)
{
	static const struct {
		const char *name;
		const char *lines;
	} seeds[] = {
		{ "status", "{\"command\": \"status\"}\n" },
		{ "events", "{\"command\": \"events\"}\n{\"command\": \"drain\"}\n{\"command\":\"undrain\"}\n" },
		{ "failover", "{\"command\": \"failover\", \"cluster\": \"Cluster 1\", \"gateway\": \"192.0.2.1\"}\n" },
		{ "failover-any", "{\"command\": \"failover\", \"cluster\": \"AUTO\"}\n" },
		{ "failover-wrong", "{\"command\": \"failover\", \"cluster\": \"x\", \"gateway\": \"192.0.2\"}\n" },
		{ "no-json", "[]\nnull\n{\"command\": 1}\n{\"command\": \"\xff\"}\n\n" },
	};

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		size_t half = strlen(seeds[i].lines) / 2;

		put_piece(seeds[i].lines, strlen(seeds[i].lines));
		put_piece(seeds[i].lines, half);
		put_piece(seeds[i].lines + half, strlen(seeds[i].lines) - half);
		save("control", seeds[i].name);
	}
}

/* keyservice */

static void put_record(__u8 type, __u8 flags, const void *body, size_t n)
{
	put_u8(type);
	put_u8(flags);
	put_piece(body, n);
}

static void seed_keyservice(void)
{
	const struct hf_addr us = KEYSERVICE_US, gateway = KEYSERVICE_GATEWAY, peer = KEYSERVICE_V4(203, 0, 113, 5);
	struct kms_session session = {
		.id = 1, .request = 1, .local = us, .remote = gateway, .spi_in = 0x1000, .spi_out = 0x2000,
		.lifetime_s = 600, .role = KMS_INITIATOR, .algorithm = KMS_AES_256_GCM,
		.encapsulation = KMS_ENCAP_ESP, .key_len = 36, .proven = 1, .n_inner = 1,
		.inner = { prefix_of_host(&us) }, .name = KEYSERVICE_PEER, .key_in = { 1 }, .key_out = { 2 },
	};
	const struct kms_ready ready = { .name = "us" };
	const struct kms_session_ref ref = { .session = 1 };
	const struct kms_failure failure = { .request = 1, .peer = gateway, .error = EACCES, .text = "not so" };
	const struct kms_failure refused = { .peer = gateway, .error = EACCES, .text = "\033[2J\n" };

	put_record(KMS_READY, 0, &ready, sizeof(ready));
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	put_record(KMS_ACTIVATE, 0, &ref, sizeof(ref));
	save("keyservice", "dialled");
	session.id = 2;
	session.spi_in++; /* the target says no to odd ones */
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	session.reversed = 1;
	session.spi_in++;
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	put_record(KMS_ABANDON, 0, &ref, sizeof(ref));
	save("keyservice", "reversed");
	session = (struct kms_session){ .id = 3, .local = us, .remote = peer, .spi_in = 0x1000, .spi_out = 0x2000,
					.lifetime_s = 600, .role = KMS_RESPONDER, .algorithm = KMS_AES_128_GCM,
					.encapsulation = KMS_ENCAP_UDP, .remote_port = 4500, .key_len = 20,
					.n_inner = 2, .name = KEYSERVICE_PEER, .key_in = { 1 }, .key_out = { 2 } };
	session.inner[0] = prefix_of_host(&peer);
	session.inner[1] = (struct hf_prefix){ .addr = KEYSERVICE_V4(10, 7, 3, 0), .len = 120 };
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	put_record(KMS_ACTIVATE, 0, &ref, sizeof(ref));
	save("keyservice", "accepted");
	session.name[0] = 0;
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	save("keyservice", "inadmissible");
	put_record(KMS_ATTEMPT_FAILED, 0, &failure, sizeof(failure));
	put_record(KMS_REJECTED, 0, &failure, sizeof(failure));
	put_record(KMS_REFUSED, 0, &refused, sizeof(refused));
	save("keyservice", "failures");
	put_record(KMS_ACTIVATE, 0x62, &ref, sizeof(ref));
	save("keyservice", "descriptors");
	put_record(0, 1, "\2\0\0\0", 4);
	save("keyservice", "raw");
	put_record(KMS_CANCEL, 1, &ref, sizeof(ref));
	save("keyservice", "wrong-kind");
}

/* service */

static void seed_service(void)
{
	struct kms_request request = { .id = 1, .timeout_ms = 1000, .patience_ms = 100, .port = 7546, .n_gateways = 2,
				       .gateways = { KEYSERVICE_GATEWAY, KEYSERVICE_GATEWAY } };
	const struct kms_identity settings = { .lifetime_s = 3600, .exchange_ms = 5000 };
	const struct kms_installed installed = { .session = 1 };
	const struct kms_cancel cancel = { .id = 1 };
	static const __u8 hello[] = { 22, 3, 1, 0, 5, 1, 0, 0, 1, 3 }; /* the start of a ClientHello */
	const __u8 peers[4 + sizeof(struct kms_peer)] = { 1 };

	put_record(KMS_REQUEST, 2 << 4, &request, sizeof(request));
	put_record(SERVICE_NETWORK, 0, hello, sizeof(hello));
	put_record(KMS_CANCEL, 0, &cancel, sizeof(cancel));
	save("service", "request");
	put_record(KMS_PEERS, SERVICE_AS_IT_IS, peers, sizeof(peers));
	put_record(KMS_LISTEN, 1 << 4, NULL, 0);
	put_record(SERVICE_DIAL, 10, NULL, 0);
	put_record(KMS_INSTALLED, 0, &installed, sizeof(installed));
	put_record(SERVICE_NETWORK, 1, hello, sizeof(hello));
	put_record(SERVICE_NETWORK, 2, "GET / HTTP/1.0\r\n\r\n", 18);
	save("service", "dialled");
	put_record(KMS_IDENTITY, 3 << 4, &settings, sizeof(settings));
	save("service", "identity");
	put_record(KMS_ACTIVATE, SERVICE_AS_IT_IS, &cancel, sizeof(cancel));
	save("service", "wrong-kind");
	put_record(0, SERVICE_AS_IT_IS, hello, sizeof(hello));
	save("service", "raw");
}

int main(int argc, char **argv)
{
	MUST(argc == 2);
	folder = argv[1];
	seed_kms();
	seed_datapath();
	seed_netlink();
	seed_control();
	seed_keyservice();
	seed_service();
	return 0;
}
