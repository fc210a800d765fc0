// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The TC filters. They have a fixed handle and priority, so that the filter of
 * a new run takes the place of the old one's in one step.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "loader/datapath_internal.h"
#include "loader/datapath_attach.h"
#include "loader/netlink.h"

#define TC_HANDLE 0x4846u /* "HF" */
#define TC_PRIORITY 10u

int datapath_tc_attach(unsigned int ifindex, enum bpf_tc_attach_point point, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program_fd, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .flags = BPF_TC_F_REPLACE);
	int result = bpf_tc_hook_create(&hook);

	if (result && result != -EEXIST)
		return result;
	return bpf_tc_attach(&hook, &opts);
}

bool datapath_tc_is_attached(unsigned int ifindex, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

	return !bpf_tc_query(&hook, &opts);
}

/* Whether it is a filter in a dump: each has a handle; the heads of chains and of priorities have none. */
static bool is_filter(const struct nlmsghdr *message)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);

	return message->nlmsg_type == RTM_NEWTFILTER && mnl_nlmsg_get_payload_len(message) >= sizeof(*tc) && tc->tcm_handle;
}

/* The end of a dump, or the error in the place of one: 0 or -errno. */
static int dump_end(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type == NLMSG_DONE)
		return 0;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error))
		return -EBADMSG;
	return error->error < 0 && error->error >= -4095 ? error->error : -EBADMSG;
}

/* How many filters, whosever, there are at one side of the clsact qdisc; negative: -errno. */
static int filters_at(struct mnl_socket *socket, unsigned int ifindex, __u32 parent)
{
	char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	unsigned int n = 0, port = mnl_socket_get_portid(socket);
	struct tcmsg *tc;
	const struct nlmsghdr *answer;
	ssize_t len;
	int left;

	message->nlmsg_type = RTM_GETTFILTER;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = parent;
	tc = mnl_nlmsg_put_extra_header(message, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = parent;
	if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		return -errno;
	while ((len = mnl_socket_recvfrom(socket, buffer, sizeof(buffer))) > 0)
		for (answer = message, left = (int)len; netlink_message_ok(answer, left);
		     answer = mnl_nlmsg_next(answer, &left)) {
			if (answer->nlmsg_seq != parent || answer->nlmsg_pid != port)
				continue;
			if (answer->nlmsg_flags & NLM_F_DUMP_INTR)
				return -EINTR;
			if (answer->nlmsg_type == NLMSG_DONE || answer->nlmsg_type == NLMSG_ERROR)
				return dump_end(answer) ? dump_end(answer) : (int)n;
			n += is_filter(answer);
		}
	return len ? -errno : -EBADMSG;
}

/* Removes the clsact qdisc if nothing hangs on it any more. */
static int qdisc_remove_if_bare(unsigned int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct mnl_socket *socket = mnl_socket_open(NETLINK_ROUTE);
	int in, out;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		in = out = -errno;
	} else {
		in = filters_at(socket, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS));
		out = filters_at(socket, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS));
	}
	mnl_socket_close(socket);
	if (in < 0 || out < 0)
		return in < 0 ? in : out;
	return in || out ? 0 : bpf_tc_hook_destroy(&hook);
}

static bool is_gone(int result)
{
	return result == -ENOENT || result == -ENODEV || result == -EINVAL; /* EINVAL: no clsact there */
}

int datapath_tc_detach(unsigned int ifindex, enum bpf_tc_attach_point points)
{
	const enum bpf_tc_attach_point each[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
	int result = 0, one;

	for (size_t i = 0; i < sizeof(each) / sizeof(*each); i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = each[i]);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

		if (!(points & each[i]))
			continue;
		one = bpf_tc_detach(&hook, &opts);
		if (one && !is_gone(one))
			result = one;
	}
	one = qdisc_remove_if_bare(ifindex);
	if (one && !is_gone(one))
		result = one;
	return result;
}
