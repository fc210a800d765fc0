/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/claim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

static void build_proxy(struct netlink_request *request, __u16 type, __u16 flags, int index,
			const struct hf_addr *addr)
{
	struct ndmsg *head = netlink_request(request, type, flags, sizeof(*head));

	head->ndm_ifindex = index;
	head->ndm_flags = NTF_PROXY;
	head->ndm_state = NUD_PERMANENT;
	head->ndm_family = (__u8)netlink_put_addr(request, NDA_DST, addr);
	if (type == RTM_NEWNEIGH)
		mnl_attr_put_u8(&request->head, NDA_PROTOCOL, NETLINK_HF_PROTOCOL);
}

size_t claim_count(const struct hf_prefix *prefix)
{
	return addr_is_v4(&prefix->addr) && prefix->len >= CLAIM_RANGE_LEN ? (size_t)1 << (128 - prefix->len) : 0;
}

struct hf_addr claim_addr(const struct hf_prefix *prefix, size_t i)
{
	struct hf_addr addr = prefix->addr;

	addr.b[15] |= (__u8)i;
	return addr;
}

_Static_assert(CLAIM_RANGE_LEN >= 120, "a range is told apart by the last byte");

/* The entries of one prefix on one interface. */
struct range {
	const struct hf_prefix *prefix;
	int index;
};

static int build_range_add(const void *context, size_t i, struct netlink_request *request)
{
	const struct range *range = context;
	struct hf_addr addr = claim_addr(range->prefix, i);

	build_proxy(request, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, range->index, &addr);
	return 0;
}

static int build_range_delete(const void *context, size_t i, struct netlink_request *request)
{
	const struct range *range = context;
	struct hf_addr addr = claim_addr(range->prefix, i);

	build_proxy(request, RTM_DELNEIGH, 0, range->index, &addr);
	return 0;
}

int claim_add(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	struct range range = { prefix, index };

	if (!addr_is_v4(&prefix->addr))
		return -EAFNOSUPPORT;
	return netlink_batch(nl, claim_count(prefix), build_range_add, &range, 0);
}

int claim_delete(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	struct range range = { prefix, index };
	int err;

	if (!addr_is_v4(&prefix->addr))
		return -EAFNOSUPPORT;
	err = netlink_batch(nl, claim_count(prefix), build_range_delete, &range, ENOENT);
	return err == -ENODEV ? 0 : err;
}

struct proxy {
	int index;
	struct hf_addr addr;
};

static int collect_proxy(void *context, const struct nlmsghdr *message)
{
	const struct ndmsg *head = mnl_nlmsg_get_payload(message);
	bool ours = false, has_addr = false;
	struct proxy proxy = { 0 };
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return 0;
	if (head->ndm_family != AF_INET || !(head->ndm_flags & NTF_PROXY))
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*head)) {
		if (mnl_attr_get_type(attr) == NDA_PROTOCOL && mnl_attr_get_payload_len(attr) == 1)
			ours = mnl_attr_get_u8(attr) == NETLINK_HF_PROTOCOL;
		else if (mnl_attr_get_type(attr) == NDA_DST && mnl_attr_get_payload_len(attr) == 4)
			has_addr = !netlink_get_addr(AF_INET, mnl_attr_get_payload(attr), &proxy.addr);
	}
	proxy.index = head->ndm_ifindex;
	return ours && has_addr ? netlink_list_add(context, &proxy, sizeof(proxy)) : 0;
}

static int build_flush(const void *context, size_t i, struct netlink_request *request)
{
	const struct proxy *proxy = (const struct proxy *)context + i;

	build_proxy(request, RTM_DELNEIGH, 0, proxy->index, &proxy->addr);
	return 0;
}

static size_t drop_kept(struct netlink_list *found, bool (*keep)(void *, int, const struct hf_addr *), void *context)
{
	struct proxy *proxies = found->items;
	size_t n = 0;

	for (size_t i = 0; i < found->n; i++)
		if (!keep || !keep(context, proxies[i].index, &proxies[i].addr))
			proxies[n++] = proxies[i];
	return n;
}

int claim_sweep(struct netlink *nl, bool (*keep)(void *context, int index, const struct hf_addr *addr), void *context,
		size_t *ret_n)
{
	struct netlink_list found = { 0 };
	int err;

	do {
		struct netlink_request request;
		struct ndmsg *head = netlink_request(&request, RTM_GETNEIGH, NLM_F_DUMP, sizeof(*head));

		head->ndm_family = AF_INET;
		head->ndm_flags = NTF_PROXY;
		found.n = 0;
		err = netlink_talk(nl, &request, collect_proxy, &found);
	} while (err == -EAGAIN);
	if (!err) {
		found.n = drop_kept(&found, keep, context);
		err = netlink_batch(nl, found.n, build_flush, found.items, ENOENT);
	}
	if (!err && ret_n)
		*ret_n = found.n;
	netlink_list_clear(&found);
	return err;
}

int claim_flush(struct netlink *nl, size_t *ret_n)
{
	return claim_sweep(nl, NULL, NULL, ret_n);
}

/* An Ethernet frame with ARP for IPv4 (RFC 826). */
struct frame {
	struct ether_header ethernet;
	struct ether_arp arp;
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == CLAIM_ARP_LEN, "ARP over Ethernet");

static struct hf_addr read_addr(const __u8 bytes[4])
{
	__be32 v4;

	memcpy(&v4, bytes, sizeof(v4));
	return addr_from_be32(v4);
}

int claim_arp_parse(const void *bytes, size_t len, struct claim_arp *ret_arp)
{
	static const __u8 none[4];
	struct claim_arp arp = { 0 };
	struct frame frame;
	__u16 operation;

	if (len < sizeof(frame))
		return -EPROTO;
	memcpy(&frame, bytes, sizeof(frame));
	operation = ntohs(frame.arp.arp_op);
	if (frame.ethernet.ether_type != htons(ETHERTYPE_ARP) || frame.arp.arp_hrd != htons(ARPHRD_ETHER) ||
	    frame.arp.arp_pro != htons(ETHERTYPE_IP) || frame.arp.arp_hln != 6 || frame.arp.arp_pln != 4 ||
	    (operation != ARPOP_REQUEST && operation != ARPOP_REPLY))
		return -EPROTO;
	arp.sender = read_addr(frame.arp.arp_spa);
	arp.target = read_addr(frame.arp.arp_tpa);
	memcpy(arp.sender_mac, frame.arp.arp_sha, sizeof(arp.sender_mac));
	arp.reply = operation == ARPOP_REPLY;
	arp.probe = !memcmp(frame.arp.arp_spa, none, sizeof(none));
	arp.announcement = !arp.probe && addr_equal(&arp.sender, &arp.target);
	*ret_arp = arp;
	return 0;
}

int claim_arp_build(const struct hf_addr *addr, const __u8 mac[6], __u8 ret_frame[CLAIM_ARP_LEN])
{
	__be32 v4 = addr_to_be32(addr);
	struct frame frame = { 0 };

	if (!addr_is_v4(addr))
		return -EAFNOSUPPORT;
	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, mac, ETH_ALEN);
	frame.ethernet.ether_type = htons(ETHERTYPE_ARP);
	frame.arp.arp_hrd = htons(ARPHRD_ETHER);
	frame.arp.arp_pro = htons(ETHERTYPE_IP);
	frame.arp.arp_hln = 6;
	frame.arp.arp_pln = 4;
	/* A request, as RFC 5227 (2.3) has it: receivers take it even right after another change. */
	frame.arp.arp_op = htons(ARPOP_REQUEST);
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_spa, &v4, sizeof(v4));
	memcpy(frame.arp.arp_tpa, &v4, sizeof(v4));
	memcpy(ret_frame, &frame, sizeof(frame));
	return 0;
}

/* ARP for IPv4 only; protocol ETH_P_ARP of the socket has sorted out the rest. */
static int filter_arp(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct ether_header, ether_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_ARP, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, sizeof(struct ether_header) + offsetof(struct arphdr, ar_pro)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, CLAIM_ARP_LEN),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

int claim_arp_open(int index)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = index };
	/* Protocol 0 until it is bound: nothing of other interfaces, and nothing unfiltered, gets in before. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	err = filter_arp(fd);
	if (!err && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int claim_arp_announce(int fd, const struct hf_addr *addr, const __u8 mac[6])
{
	__u8 frame[CLAIM_ARP_LEN];
	int err = claim_arp_build(addr, mac, frame);

	if (err)
		return err;
	return send(fd, frame, sizeof(frame), 0) < 0 ? -errno : 0;
}

int claim_arp_receive(int fd, struct claim_arp *ret_arp)
{
	__u8 frame[CLAIM_ARP_LEN];
	ssize_t got = recv(fd, frame, sizeof(frame), 0);

	if (got < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return claim_arp_parse(frame, (size_t)got, ret_arp);
}
