/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests over netlink. The listening side is netlink_monitor.c. */
#include "loader/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/rtnetlink.h>

/* The kernel fills dumps in skbs of up to 32 KiB when it sees a buffer as large. */
#define RECEIVE_MAX 65536
#define BATCH_MAX 32768
/* So that a full set of error messages (about 1 KiB of memory each) fits the socket's buffer. */
#define BATCH_MESSAGES 256
#define RECEIVE_MEMORY (1 << 20)

struct netlink {
	struct mnl_socket *socket;
	__u32 sequence;
	char text[160];
	__u8 receive[RECEIVE_MAX];
	__u8 batch[BATCH_MAX];
};

/* What is waited for, and what has come of it. */
struct wait {
	__u32 first; /* sequence numbers of the request, or of the batch */
	__u32 last;
	bool dump;
	int tolerate;
	netlink_answer answer;
	void *context;
	int result;
	bool interrupted;
	bool done;
};

int netlink_open(int protocol, struct netlink **ret_nl)
{
	struct netlink *nl = calloc(1, sizeof(*nl));
	int on = 1, memory = RECEIVE_MEMORY, err;

	if (!nl)
		return -ENOMEM;
	nl->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!nl->socket || mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		netlink_close(nl);
		return err;
	}
	/*
	 * Each makes things better and none is vital: the kernel's words; no echo of
	 * our request (which has keys) in its errors; filters of dumps obeyed; room.
	 */
	mnl_socket_setsockopt(nl->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	setsockopt(mnl_socket_get_fd(nl->socket), SOL_SOCKET, SO_RCVBUFFORCE, &memory, sizeof(memory));
	*ret_nl = nl;
	return 0;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl);
}

__u32 netlink_port(const struct netlink *nl)
{
	return nl ? mnl_socket_get_portid(nl->socket) : 0;
}

const char *netlink_text(const struct netlink *nl)
{
	return nl->text;
}

void *netlink_request(struct netlink_request *request, __u16 type, __u16 flags, size_t head_len)
{
	struct nlmsghdr *head;

	memset(request, 0, sizeof(*request));
	head = mnl_nlmsg_put_header(request->bytes);
	head->nlmsg_type = type;
	head->nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(head, head_len);
}

bool netlink_message_ok(const struct nlmsghdr *message, int left)
{
	return mnl_nlmsg_ok(message, left) && message->nlmsg_len <= (__u32)left;
}

/* Finds the extended ack's text among the attributes that start offset bytes into the payload. */
static void read_text(const struct nlmsghdr *message, size_t offset, char *text, size_t size)
{
	const struct nlattr *attr;

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || mnl_nlmsg_get_payload_len(message) < offset)
		return;
	mnl_attr_for_each(attr, message, offset) {
		if (mnl_attr_get_type(attr) != NLMSGERR_ATTR_MSG || mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
			continue;
		strncpy(text, mnl_attr_get_str(attr), size - 1);
		text[size - 1] = '\0';
	}
}

/* 0, or as the kernel's MAX_ERRNO has it: nothing that a negation or a caller stumbles over. */
static bool is_errno(int error)
{
	return error <= 0 && error >= -4095;
}

static void take_error(struct netlink *nl, const struct nlmsghdr *message, struct wait *wait)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	size_t offset = sizeof(*error);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error) || !is_errno(error->error) ||
	    error->msg.nlmsg_len < sizeof(error->msg)) {
		wait->result = -EBADMSG;
		wait->done = true;
		return;
	}
	if (error->error && !(message->nlmsg_flags & NLM_F_CAPPED))
		offset += error->msg.nlmsg_len - sizeof(error->msg);
	if (error->error && error->error != -wait->tolerate && !wait->result) {
		wait->result = error->error;
		read_text(message, offset, nl->text, sizeof(nl->text));
	}
	wait->done = message->nlmsg_seq == wait->last;
}

static void take_done(struct netlink *nl, const struct nlmsghdr *message, struct wait *wait)
{
	int error;

	wait->done = true;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(int))
		return;
	error = *(const int *)mnl_nlmsg_get_payload(message);
	if (error < 0 && !wait->result) {
		wait->result = is_errno(error) ? error : -EBADMSG;
		read_text(message, sizeof(int), nl->text, sizeof(nl->text));
	}
}

static void take_message(struct netlink *nl, const struct nlmsghdr *message, struct wait *wait)
{
	if (message->nlmsg_seq - wait->first > wait->last - wait->first)
		return; /* left over from a request that broke off */
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		wait->interrupted = true;
	if (message->nlmsg_type == NLMSG_ERROR)
		take_error(nl, message, wait);
	else if (message->nlmsg_type == NLMSG_DONE)
		take_done(nl, message, wait);
	else if (message->nlmsg_type >= NLMSG_MIN_TYPE && wait->answer && !wait->result)
		wait->result = wait->answer(wait->context, message);
}

/* Reads until what is waited for is done. Goes on after a failed answer, to leave nothing unread. */
static int receive(struct netlink *nl, struct wait *wait)
{
	unsigned int portid = mnl_socket_get_portid(nl->socket);
	size_t most = 0;
	int err = 0;

	while (!wait->done) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)nl->receive;
		ssize_t got = mnl_socket_recvfrom(nl->socket, nl->receive, sizeof(nl->receive));
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err = -errno;
			break;
		}
		if ((size_t)got > most)
			most = (size_t)got;
		for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
			if (message->nlmsg_pid == portid)
				take_message(nl, message, wait);
	}
	explicit_bzero(nl->receive, most);
	if (err)
		return err;
	return wait->result ? wait->result : wait->interrupted ? -EAGAIN : 0;
}

static int send_all(struct netlink *nl, const void *bytes, size_t len)
{
	ssize_t sent;

	do
		sent = mnl_socket_sendto(nl->socket, bytes, len);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int netlink_talk(struct netlink *nl, struct netlink_request *request, netlink_answer answer, void *context)
{
	struct nlmsghdr *head = &request->head;
	struct wait wait = { .answer = answer, .context = context };
	int err;

	nl->text[0] = '\0';
	wait.dump = (head->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	/* A dump ends with NLMSG_DONE; an acknowledgement besides would be one too many. */
	if (!wait.dump)
		head->nlmsg_flags |= NLM_F_ACK;
	head->nlmsg_seq = wait.first = wait.last = ++nl->sequence;
	/* XFRM_MSG_GETAE is answered to the port in the message rather than to the socket's. */
	head->nlmsg_pid = mnl_socket_get_portid(nl->socket);
	err = send_all(nl, head, head->nlmsg_len);
	if (!err)
		err = receive(nl, &wait);
	explicit_bzero(request->bytes, sizeof(request->bytes));
	return err;
}

/* Fills nl->batch with messages from *i on. Returns bytes, or -errno of build(). */
static ssize_t fill(struct netlink *nl, size_t n, size_t *i, netlink_build build, const void *context)
{
	struct netlink_request request;
	struct nlmsghdr *last = NULL;
	size_t len = 0, count = 0;
	int err = 0;

	while (*i < n && count < BATCH_MESSAGES && len + sizeof(request) <= sizeof(nl->batch)) {
		err = build(context, *i, &request);
		if (err)
			break;
		request.head.nlmsg_seq = ++nl->sequence;
		last = (struct nlmsghdr *)(nl->batch + len);
		memcpy(last, request.bytes, request.head.nlmsg_len);
		len += MNL_ALIGN(request.head.nlmsg_len);
		count++;
		++*i;
	}
	explicit_bzero(request.bytes, sizeof(request.bytes));
	if (err)
		return err;
	/* Errors are told for each message; success only for the last, which says that all were read. */
	if (last)
		last->nlmsg_flags |= NLM_F_ACK;
	return (ssize_t)len;
}

int netlink_batch(struct netlink *nl, size_t n, netlink_build build, const void *context, int tolerate)
{
	size_t i = 0;
	int first_err = 0;

	nl->text[0] = '\0';
	while (i < n) {
		/* A result already there keeps the first error's text. */
		struct wait wait = { .first = nl->sequence + 1, .tolerate = tolerate, .result = first_err };
		ssize_t len = fill(nl, n, &i, build, context);
		int err;

		if (len < 0)
			return (int)len;
		wait.last = nl->sequence;
		err = send_all(nl, nl->batch, (size_t)len);
		explicit_bzero(nl->batch, (size_t)len);
		if (err)
			return err;
		err = receive(nl, &wait);
		if (!first_err)
			first_err = err;
	}
	return first_err;
}

int netlink_list_add(struct netlink_list *list, const void *item, size_t size)
{
	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		void *items = reallocarray(list->items, room, size);

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	memcpy((char *)list->items + list->n++ * size, item, size);
	return 0;
}

void netlink_list_clear(struct netlink_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int netlink_put_addr(struct netlink_request *request, __u16 type, const struct hf_addr *addr)
{
	__be32 v4 = addr_to_be32(addr);

	if (addr_is_v4(addr)) {
		mnl_attr_put(&request->head, type, sizeof(v4), &v4);
		return AF_INET;
	}
	mnl_attr_put(&request->head, type, sizeof(addr->b), addr->b);
	return AF_INET6;
}

int netlink_get_addr(int family, const void *bytes, struct hf_addr *ret_addr)
{
	__be32 v4;

	switch (family) {
	case AF_INET:
		memcpy(&v4, bytes, sizeof(v4));
		*ret_addr = addr_from_be32(v4);
		return 0;
	case AF_INET6:
		memcpy(ret_addr->b, bytes, sizeof(ret_addr->b));
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

__u8 netlink_prefix_len(const struct hf_prefix *prefix)
{
	return addr_is_v4(&prefix->addr) ? (__u8)(prefix->len - 96) : prefix->len;
}
