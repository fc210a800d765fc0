/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers of a kernel for fuzz_netlink.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/types.h>
#include <linux/xfrm.h>
#include <string.h>

#include "loader/claim.h"
#include "loader/netlink.h"
#include "loader/xfrm.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_netlink.h"
#include "selftests/fuzz/seeds.h"

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

static void put_expire(__u8 hard)
{
	struct xfrm_user_expire *told = begin(XFRM_MSG_EXPIRE, sizeof(*told));

	told->state.reqid = XFRM_IF_ID_BASE | 1;
	told->state.id.spi = htonl(0x1000);
	told->hard = hard;
	put_answer();
}

static void put_filter(__u32 handle)
{
	struct tcmsg *tc = begin(RTM_NEWTFILTER, sizeof(*tc));

	tc->tcm_ifindex = 2;
	tc->tcm_handle = handle;
	mnl_attr_put_strz(&answer.head, TCA_KIND, "bpf");
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

void seeds_netlink(void)
{
	const struct hf_addr host = { .b = { [10] = 0xff, 0xff, 100, 0, 0, 1 } };
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
	put_u8(NETLINK_HEAR_EXPIRE), put_expire(0), put_expire(1);
	save("netlink", "expire");
	put_u8(NETLINK_HEAR_RECONCILE), put_link(RTM_DELLINK, "hf0", 0), put_link(RTM_NEWLINK, "eth0", IFF_UP);
	put_address(RTM_DELADDR), put_route(AF_INET, RTPROT_BOOT), put_state(), put_expire(1), put_filter(0x4846);
	save("netlink", "reconcile");
	put_u8(NETLINK_ASK_FILTERS), put_filter(0), put_filter(0x4846), put_done(), put_filter(0), put_done();
	save("netlink", "filters");
	put_u8(NETLINK_ASK_FILTERS), begin(RTM_NEWTFILTER, 0), put_answer(), put_done(), put_ack(-ENODEV, NULL);
	save("netlink", "filters-short");
	MUST(!claim_arp_build(&host, (const __u8 *)"\2\0\0\0\0\1", frame));
	put_u8(NETLINK_HEAR_ARP), put_piece(frame, sizeof(frame));
	save("netlink", "arp");
}
