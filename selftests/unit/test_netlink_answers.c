/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers of a kernel that is not as it should be. libmnl's sockets are this test's own
 * (mnl_socket.h and below); its parsing is the real one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

#include "loader/link.h"
#include "loader/mapping.h"
#include "loader/netlink.h"
#include "loader/route.h"
#include "loader/xfrm.h"
#include "selftests/mnl_socket.h"

/* What is received, one datagram a call; of the last route that was deleted, its destination. */
static struct {
	union {
		struct nlmsghdr head;
		__u8 bytes[512];
	} datagram[8];
	size_t len[8];
	size_t n, next;
} kernel;
static __u8 deleted[16];
static unsigned int n_deleted, n_policies_deleted;

ssize_t mnl_socket_sendto(const struct mnl_socket *socket, const void *bytes, size_t len)
{
	const struct nlmsghdr *message = bytes;
	const struct nlattr *attr;

	((struct mnl_socket *)socket)->sequence = message->nlmsg_seq;
	n_policies_deleted += message->nlmsg_type == XFRM_MSG_DELPOLICY;
	if (message->nlmsg_type != RTM_DELROUTE)
		return (ssize_t)len;
	n_deleted++;
	mnl_attr_for_each(attr, message, sizeof(struct rtmsg))
		if (mnl_attr_get_type(attr) == RTA_DST)
			memcpy(deleted, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
	return (ssize_t)len;
}

ssize_t mnl_socket_recvfrom(const struct mnl_socket *socket, void *buffer, size_t size)
{
	struct nlmsghdr *head = &kernel.datagram[kernel.next].head;

	if (kernel.next == kernel.n) {
		errno = socket->blocking ? EIO : EAGAIN;
		return -1;
	}
	head->nlmsg_pid = MNL_SOCKET_PORT;
	head->nlmsg_seq = socket->sequence;
	memset(buffer, 0xff, size); /* what another message left there */
	memcpy(buffer, head, kernel.len[kernel.next]);
	return (ssize_t)kernel.len[kernel.next++];
}

/* The next datagram: a message of this type with len zeroed bytes of fixed header. */
static void *answer(__u16 type, size_t len, struct nlmsghdr **ret_head)
{
	*ret_head = mnl_nlmsg_put_header(kernel.datagram[kernel.n].bytes);
	(*ret_head)->nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(*ret_head, len);
}

static void answered(void)
{
	kernel.len[kernel.n] = kernel.datagram[kernel.n].head.nlmsg_len;
	kernel.n++;
}

static void acknowledge(int error)
{
	struct nlmsghdr *head;
	struct nlmsgerr *body = answer(NLMSG_ERROR, sizeof(*body), &head);

	body->error = error;
	body->msg.nlmsg_len = sizeof(body->msg);
	head->nlmsg_flags = NLM_F_CAPPED;
	answered();
}

static void end_dump(void)
{
	struct nlmsghdr *head;

	answer(NLMSG_DONE, sizeof(int), &head);
	answered();
}

static struct netlink *nl;

static int set_up(void **state)
{
	memset(&kernel, 0, sizeof(kernel));
	memset(deleted, 0, sizeof(deleted));
	n_deleted = n_policies_deleted = 0;
	alarm(10); /* some of these went on for ever */
	return netlink_open(NETLINK_ROUTE, &nl);
}

static int tear_down(void **state)
{
	alarm(0);
	netlink_close(nl);
	return 0;
}

static void a_length_beyond_2g_is_no_message(void **state)
{
	static const __u32 lengths[] = { 0x80000000, 0xfffffff0, 0xffffffff };
	struct link_info info;
	struct nlmsghdr *head;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		kernel.n = kernel.next = 0;
		answer(RTM_NEWLINK, sizeof(struct ifinfomsg), &head);
		answered();
		head->nlmsg_len = lengths[i];
		assert_int_equal(link_by_name(nl, "eth0", &info), -EIO); /* nothing more came */
	}
}

static void on_mapping(void *context, const struct mapping_change *change)
{
	++*(unsigned int *)context;
}

static void a_length_beyond_2g_is_no_mapping(void **state)
{
	struct xfrm_user_mapping *told;
	struct mapping *mapping;
	struct nlmsghdr *head;
	unsigned int n = 0;

	assert_int_equal(mapping_open(on_mapping, &n, &mapping), 0);
	for (int i = 0; i < 2; i++) {
		told = answer(XFRM_MSG_MAPPING, sizeof(*told), &head);
		told->id.family = AF_INET;
		answered();
	}
	kernel.datagram[0].head.nlmsg_len = 0xffffffff;
	mapping_dispatch(mapping);
	assert_int_equal(n, 1); /* the second one, as it should be */
	mapping_close(mapping);
}

static void an_acknowledgement_is_no_answer(void **state)
{
	const struct hf_addr addr = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };
	struct link_info info;
	struct link_path path;

	acknowledge(0);
	assert_int_equal(link_by_name(nl, "eth0", &info), -EBADMSG);
	acknowledge(0);
	assert_int_equal(link_path(nl, &addr, &path), -EBADMSG);
}

static void an_error_is_an_errno(void **state)
{
	static const int errors[] = { 1, 0x7fffffff, -4096, -0x7fffffff - 1 };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		kernel.n = kernel.next = 0;
		acknowledge(errors[i]);
		assert_int_equal(link_set_up(nl, 1, true), -EBADMSG);
	}
	kernel.n = kernel.next = 0;
	acknowledge(-ENODEV);
	assert_int_equal(link_set_up(nl, 1, true), -ENODEV);
}

/* One route of ours in the tunnel's table, of IPv6, whose destination has so many bytes. */
static void tell_route(__u8 dst_len, size_t bytes)
{
	static const __u8 dst[16] = { 0x20, 0x01, 0x0d, 0xb8 };
	struct nlmsghdr *head;
	struct rtmsg *route;

	memset(&kernel, 0, sizeof(kernel));
	end_dump(); /* IPv4, the tunnel's table */
	end_dump(); /* and the main one */
	route = answer(RTM_NEWROUTE, sizeof(*route), &head);
	route->rtm_family = AF_INET6;
	route->rtm_protocol = NETLINK_HF_PROTOCOL;
	route->rtm_dst_len = dst_len;
	mnl_attr_put_u32(head, RTA_TABLE, ROUTE_TABLE);
	mnl_attr_put(head, RTA_DST, bytes, dst); /* at the end: nothing of the message follows */
	answered();
	end_dump();
	acknowledge(0); /* of the deletion */
	end_dump();
}

static void a_short_destination_is_not_read_beyond(void **state)
{
	static const __u8 whole[16] = { 0x20, 0x01, 0x0d, 0xb8 }, none[16];

	tell_route(32, 16);
	assert_int_equal(route_flush(nl), 0);
	assert_int_equal(n_deleted, 1);
	assert_memory_equal(deleted, whole, sizeof(whole));
	tell_route(32, 4);
	assert_int_equal(route_flush(nl), 0);
	assert_memory_equal(deleted, none, sizeof(none));
}

static void a_prefix_length_has_a_limit(void **state)
{
	tell_route(200, 16);
	assert_int_equal(route_flush(nl), -EBADMSG);
	assert_int_equal(n_deleted, 0);
}

/* They may be those of a living session. */
static void deletes_no_policies_that_cannot_be_written(void **state)
{
	struct xfrm_peer peer = { .if_id = XFRM_IF_ID_BASE | 1 };

	acknowledge(-ENOMEM);
	assert_int_not_equal(xfrm_policy_add(nl, &peer), 0);
	assert_int_equal(n_policies_deleted, 0);
	xfrm_policy_delete(nl, peer.if_id);
	assert_int_equal(n_policies_deleted, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_length_beyond_2g_is_no_message),	      CASE(a_length_beyond_2g_is_no_mapping),
		CASE(an_acknowledgement_is_no_answer),	      CASE(an_error_is_an_errno),
		CASE(a_short_destination_is_not_read_beyond), CASE(a_prefix_length_has_a_limit),
		CASE(deletes_no_policies_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
