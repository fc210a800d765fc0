/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel answers. libmnl's sockets are the target's own (mnl_socket.h and
 * below), so that a request of the loader's meets a kernel that answers from the
 * input; libmnl's parsing is the real one. What lies behind a datagram in the
 * receive buffer is poisoned: reading on is a fault.
 *
 * The input: a byte that chooses the request, then datagrams, each with two bytes of
 * length before it. Port and sequence number are set as the loader expects them,
 * unless the message's sequence number is NETLINK_FOREIGN.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/types.h>
#include <linux/xfrm.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader/auto.h"
#include "loader/claim.h"
#include "loader/datapath_attach.h"
#include "loader/expire.h"
#include "loader/link.h"
#include "loader/mapping.h"
#include "loader/netlink.h"
#include "loader/reconcile.h"
#include "loader/route.h"
#include "loader/xfrm.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_netlink.h"
#include "selftests/mnl_socket.h"

static struct input kernel;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	mnl_socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* takes the options that are set */
	MUST(mnl_socket_fd >= 0);
	return 0;
}

/* What the loader sends is well-formed, whatever it was told before. */
ssize_t mnl_socket_sendto(const struct mnl_socket *to, const void *bytes, size_t len)
{
	const struct nlmsghdr *message = bytes;
	int left = (int)len;

	MUST(len);
	for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
		((struct mnl_socket *)to)->sequence = message->nlmsg_seq;
	MUST(left == 0);
	return (ssize_t)len;
}

static void address(struct mnl_socket *socket, __u8 *bytes, size_t len)
{
	struct nlmsghdr *message = (struct nlmsghdr *)bytes;
	int left = (int)len;

	for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		message->nlmsg_pid = MNL_SOCKET_PORT;
		if (message->nlmsg_seq != NETLINK_FOREIGN)
			message->nlmsg_seq = socket->sequence;
	}
}

ssize_t mnl_socket_recvfrom(const struct mnl_socket *from, void *buffer, size_t size)
{
	struct mnl_socket *socket = (struct mnl_socket *)from;
	size_t len;
	__u8 *piece;

	ASAN_UNPOISON_MEMORY_REGION(buffer, size);
	if (!kernel.left) {
		/* One that waits would wait for ever. */
		errno = !socket->blocking ? EAGAIN : socket->ended ? EIO : ENOBUFS;
		socket->ended = true;
		return -1;
	}
	piece = input_piece(&kernel, size, &len);
	memcpy(buffer, piece, len);
	free(piece);
	address(socket, buffer, len);
	ASAN_POISON_MEMORY_REGION((__u8 *)buffer + len, size - len);
	if (!len) {
		errno = ENOBUFS;
		return -1;
	}
	return (ssize_t)len;
}

/* The requests. */

static const struct hf_addr somewhere = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };

static bool ends(const char *text, size_t size)
{
	return memchr(text, 0, size);
}

static int ask_link(struct netlink *nl)
{
	struct link_info info = { 0 };
	int err = link_by_name(nl, "eth0", &info);

	MUST(err || info.index > 0);
	MUST(ends(info.name, sizeof(info.name)) && ends(info.kind, sizeof(info.kind)) &&
	     ends(info.driver, sizeof(info.driver)));
	return err;
}

static int ask_first_v4(struct netlink *nl)
{
	struct hf_addr addr;
	int err = link_first_v4(nl, 2, &addr);

	MUST(err || addr_is_v4(&addr));
	return err;
}

static int ask_path(struct netlink *nl)
{
	struct link_path path = { 0 };
	int err = link_path(nl, &somewhere, &path);

	MUST(err || path.index > 0);
	return err;
}

static int ask_state(struct netlink *nl)
{
	struct xfrm_state_use use;

	return xfrm_state_read(nl, &somewhere, 0x1000, &use);
}

static int ask_xfrm_flush(struct netlink *nl)
{
	return xfrm_flush(nl, NULL, NULL);
}

static int visit(void *context, const struct xfrm_found *state)
{
	MUST((state->if_id & XFRM_IF_ID_MASK) == XFRM_IF_ID_BASE);
	return 0;
}

static int ask_states(struct netlink *nl)
{
	return xfrm_state_list(nl, visit, NULL);
}

static int ask_claim_flush(struct netlink *nl)
{
	return claim_flush(nl, NULL);
}

/* A batch: acknowledgements of many messages. */
static int ask_policies(struct netlink *nl)
{
	const struct xfrm_peer peer = { .local = somewhere, .remote = somewhere, .if_id = XFRM_IF_ID_BASE | 1 };

	return xfrm_policy_add(nl, &peer);
}

static int ask_probe(struct netlink *nl)
{
	char text[200] = "";
	int err = xfrm_probe(nl, text, sizeof(text));

	MUST(ends(text, sizeof(text)) && !strchr(text, '\n'));
	return err;
}

static int ask_probe_tunnel(struct netlink *nl)
{
	char text[200] = "";
	int err = link_probe_tunnel(nl, text, sizeof(text));

	MUST(ends(text, sizeof(text)));
	return err;
}

static void note(void *context, const struct netlink_event *event)
{
	struct auto_links *links = context;
	const struct auto_link *link;
	size_t n;

	MUST(event->type <= NETLINK_OVERRUN && ends(event->name, sizeof(event->name)));
	MUST(!event->running || event->up);
	MUST(auto_links_note(links, event) == 0);
	link = auto_links_pick(links, &n);
	MUST(!link == !n && n <= links->n);
	MUST(!link || (link->running && !addr_is_zero(&link->peer)));
}

static int ask_replay(struct netlink *nl)
{
	struct auto_links links = { 0 };
	int err = netlink_monitor_replay(nl, note, &links);

	auto_links_clear(&links);
	return err;
}

/* The listeners. */

static int hear_monitor(struct netlink *nl)
{
	struct auto_links links = { 0 };
	struct netlink_monitor *monitor;
	int err = netlink_monitor_open(note, &links, &monitor);

	MUST(!err);
	err = netlink_monitor_dispatch(monitor);
	netlink_monitor_close(monitor);
	auto_links_clear(&links);
	return err;
}

static void moved(void *context, const struct mapping_change *change)
{
	MUST(addr_text(&change->remote).s[0]);
}

static int hear_mapping(struct netlink *nl)
{
	struct mapping *mapping;

	MUST(!mapping_open(moved, NULL, &mapping));
	mapping_dispatch(mapping);
	mapping_close(mapping);
	return 0;
}

/* No netlink, but heard in the same way, and from anybody. */
static int hear_arp(struct netlink *nl)
{
	while (kernel.left) {
		struct claim_arp arp;
		size_t len;
		__u8 *frame = input_piece(&kernel, 128, &len);

		if (!claim_arp_parse(frame, len, &arp))
			MUST(!(arp.probe && arp.announcement) && addr_is_v4(&arp.sender) && addr_is_v4(&arp.target));
		free(frame);
	}
	return 0;
}

static void told(void *context, const struct expire_notice *notice)
{
	MUST(!context);
}

static int hear_expire(struct netlink *nl)
{
	struct expire *expire;

	MUST(!expire_open(told, NULL, &expire));
	expire_dispatch(expire);
	expire_close(expire);
	return 0;
}

/* Notices as reconcile.c takes them: by whichever of the two readers. */
static int hear_reconcile(struct netlink *nl)
{
	static const struct node node = { .n_underlay = 1, .underlay = { { .name = "eth0", .index = 2 } }, .n_protected = 1,
					  .protected = { { .name = "eth1", .index = 3 } } };
	const struct reconcile_ours ours = { .tunnel = 4, .node = &node, .route_port = 1, .xfrm_port = 2 };
	__u8 buffer[8192] __attribute__((aligned(8)));
	struct mnl_socket socket = { 0 };
	ssize_t got;

	while ((got = mnl_socket_recvfrom(&socket, buffer, sizeof(buffer))) > 0) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		int left = (int)got;

		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
			MUST(!((reconcile_read_route(&ours, message) | reconcile_read_xfrm(&ours, message)) &
			       ~(unsigned int)RECONCILE_ALL));
	}
	return 0;
}

/* Of an interface that is not there: what is written then, by libbpf's own socket, does nothing. */
static int ask_filters(struct netlink *nl)
{
	return datapath_tc_detach(0x7ffffff0, 0);
}

static int (*const requests[NETLINK_REQUESTS])(struct netlink *nl) = {
	[NETLINK_ASK_LINK] = ask_link,
	[NETLINK_ASK_FIRST_V4] = ask_first_v4,
	[NETLINK_ASK_PATH] = ask_path,
	[NETLINK_ASK_STATE] = ask_state,
	[NETLINK_ASK_XFRM_FLUSH] = ask_xfrm_flush,
	[NETLINK_ASK_STATES] = ask_states,
	[NETLINK_ASK_ROUTE_FLUSH] = route_flush,
	[NETLINK_ASK_CLAIM_FLUSH] = ask_claim_flush,
	[NETLINK_ASK_POLICIES] = ask_policies,
	[NETLINK_ASK_PROBE] = ask_probe,
	[NETLINK_ASK_PROBE_TUNNEL] = ask_probe_tunnel,
	[NETLINK_ASK_REPLAY] = ask_replay,
	[NETLINK_HEAR_MONITOR] = hear_monitor,
	[NETLINK_HEAR_MAPPING] = hear_mapping,
	[NETLINK_HEAR_ARP] = hear_arp,
	[NETLINK_HEAR_EXPIRE] = hear_expire,
	[NETLINK_HEAR_RECONCILE] = hear_reconcile,
	[NETLINK_ASK_FILTERS] = ask_filters,
};

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	struct netlink *nl;
	int err;

	kernel = (struct input){ data, size };
	MUST(!netlink_open(NETLINK_ROUTE, &nl));
	err = requests[input_u8(&kernel) % NETLINK_REQUESTS](nl);
	MUST(err <= 0 && err >= -4095);
	MUST(strlen(netlink_text(nl)) < 160);
	netlink_close(nl);
	return 0;
}
