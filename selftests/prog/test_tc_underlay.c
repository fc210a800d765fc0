// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hf_tc_underlay: which packets get the mark; none is changed or dropped. */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <string.h>

#include "selftests/prog/fixture.h"

/* BPF_PROG_RUN itself refuses IPv4 without a whole header, since Linux 6.18 at the latest. */
#define TC_LEAST 20

#define PEER "192.0.2.20"
#define TARGET "10.0.0.1" /* tunnelled */

#define ESP 50
#define UDP 17
#define TCP 6
#define ICMP 1

static const __u8 payload[40] = {1, 2, 3, 4}; /* long enough to be taken for IPv6 by the kernel, which looks */

#define HERE(proto)                                                                                            \
	.src = PEER, .dst = US, .protocol = (proto), .payload = payload, .payload_len = sizeof(payload)
#define ONWARD(proto)                                                                                          \
	.src = PEER, .dst = TARGET, .protocol = (proto), .payload = payload, .payload_len = sizeof(payload)

struct mark_case {
	const char *what;
	struct packet_spec in;
	__u32 mark;
	__u32 mark_out;
};

static const struct mark_case cases[] = {
	{"ESP is marked", {HERE(ESP)}, 0, HF_MARK},
	{"with options", {HERE(ESP), .options = 10}, 0, HF_MARK},
	{"a first fragment of ESP", {HERE(ESP), .frag = 0x2000}, 0, HF_MARK},
	{"a later fragment of ESP", {HERE(ESP), .frag = 100}, 0, HF_MARK},
	{"the lower bits of a mark stay", {HERE(ESP)}, 0x1234, HF_MARK | 0x1234},
	{"the upper bits are ours", {HERE(ESP)}, 0xabcd1234, HF_MARK | 0x1234},
	{"UDP to port 4500", {HERE(UDP), .sport = 40000, .dport = 4500}, 0, HF_MARK},
	{"UDP from port 4500", {HERE(UDP), .sport = 4500, .dport = 40000}, 0, HF_MARK},
	{"UDP to port 4500 behind options", {HERE(UDP), .sport = 1, .dport = 4500, .options = 7}, 0, HF_MARK},
	{"a later fragment of UDP", {HERE(UDP), .frag = 1}, 0, HF_MARK},
	{"UDP between other ports is not", {HERE(UDP), .sport = 4501, .dport = 4499}, 0, 0},
	{"UDP to the port of the key service is not", {HERE(UDP), .sport = 1, .dport = FIXTURE_KMS_PORT}, 0, 0},
	{"TCP to the key service", {HERE(TCP), .sport = 40000, .dport = FIXTURE_KMS_PORT}, 0, HF_MARK},
	{"TCP from the key service", {HERE(TCP), .sport = FIXTURE_KMS_PORT, .dport = 40000}, 0, HF_MARK},
	{"TCP to port 4500 is not", {HERE(TCP), .sport = 1, .dport = 4500}, 0, 0},
	{"a later fragment of TCP is not", {HERE(TCP), .frag = 1}, 0, 0},
	{"other TCP keeps its mark", {HERE(TCP), .sport = 1, .dport = 80}, 0x77, 0x77},
	{"ICMP is not", {HERE(ICMP)}, 0, 0},
	{"ARP is not", {HERE(ESP), .ethertype = ETH_P_ARP}, 0, 0},
	{"IPv6 is not", {HERE(ESP), .ethertype = ETH_P_IPV6}, 0, 0},
	/* Marked, these would pass by the tunnel in clear. */
	{"ESP to a tunnelled destination is not", {ONWARD(ESP)}, 0, 0},
	{"UDP to port 4500 of a tunnelled destination is not",
	 {ONWARD(UDP), .sport = 4500, .dport = 4500},
	 0,
	 0},
	{"TCP to the key service's port of a tunnelled destination is not",
	 {ONWARD(TCP), .sport = 1, .dport = FIXTURE_KMS_PORT},
	 0,
	 0},
};

static struct fixture *begin(void)
{
	struct fixture *f = fixture_begin();
	struct hf_prefix targets = fixture_prefix(TARGET, 32);

	assert_int_equal(datapath_set_tunnel(f->dp, &targets, 1, 1), 0);
	return f;
}

static void run_and_check(struct fixture *f, const struct packet *in, __u32 mark, __u32 mark_out)
{
	struct run_options options = {.mark = mark};
	struct run_result result;

	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_underlay"), in, &options, &result);
	assert_int_equal(result.verdict, TC_ACT_UNSPEC);
	assert_int_equal(result.mark, mark_out);
	assert_int_equal(result.len, in->len);
	assert_memory_equal(result.data, in->data, in->len);
	fixture_assert_drops(f, -1);
}

static void test_case(void **state)
{
	const struct mark_case *c = *state;
	struct fixture *f = begin();
	struct packet in;

	packet_build(&c->in, &in);
	run_and_check(f, &in, c->mark, c->mark_out);
}

/* Cut anywhere: marked as soon as what tells is there, and never read beyond. */
static void check_cuts(const struct packet_spec *spec, size_t needed)
{
	struct fixture *f = begin();
	struct packet whole, cut;

	packet_build(spec, &whole);
	for (size_t len = ETH_HLEN + TC_LEAST; len <= whole.len; len++) {
		cut = whole;
		cut.len = len;
		run_and_check(f, &cut, 0, len >= whole.ip + needed ? HF_MARK : 0);
	}
}

static void test_cuts(void **state)
{
	const struct packet_spec esp = {HERE(ESP), .options = 2};
	const struct packet_spec udp = {HERE(UDP), .sport = 4500, .dport = 4500, .options = 2};
	const struct packet_spec tcp = {HERE(TCP), .sport = 9, .dport = FIXTURE_KMS_PORT};

	check_cuts(&esp, 20);
	check_cuts(&udp, 28 + 4);
	check_cuts(&tcp, 20 + 4);
}

int main(void)
{
	const struct fixture_table table = {cases, sizeof(cases) / sizeof(*cases), sizeof(*cases), test_case};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
	};

	return fixture_main("hf_tc_underlay", &table, tests, sizeof(tests) / sizeof(*tests));
}
