// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hf_tc_underlay_out: what came in on a protected interface, or is to be tunnelled, is dropped; nothing else is touched. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "selftests/prog/fixture.h"

#define CLIENT "100.0.0.1"
#define TARGET "10.0.0.1"

/* Interfaces. Numbers do: the program looks at no more. */
enum { HERE = 0, LOOPBACK_IFINDEX = 1, LAN = 11, DMZ = 12, OTHER = 13, TUNNEL = 14, FAR = 0x7fffffff };

#define ICMP 1
#define TCP 6
#define UDP 17
#define ESP 50
#define NOTHING (-1)

static const __u8 payload[40] = {1, 2, 3, 4};

#define ANSWER(proto)                                                                                          \
	.src = TARGET, .dst = CLIENT, .protocol = (proto), .payload = payload, .payload_len = sizeof(payload)
#define OURS(proto)                                                                                            \
	.src = US, .dst = CLIENT, .protocol = (proto), .payload = payload, .payload_len = sizeof(payload)

#define TO(address)                                                                                            \
	.src = US, .dst = (address), .protocol = UDP, .sport = 67, .dport = 68, .payload = payload,            \
	.payload_len = sizeof(payload)

struct out_case {
	const char *what;
	__u32 from;
	struct packet_spec in;
	__u32 mark;
	bool protects_nothing;
	bool one_armed; /* the underlay is protected too */
	const char *tunnelled; /* a /24 */
	int drop;
};

static const struct out_case cases[] = {
	{"an answer of a target", LAN, {ANSWER(TCP), .sport = 80, .dport = 40000}, .drop = HF_DROP_clear},
	{"from another protected interface", DMZ, {ANSWER(UDP), .sport = 7, .dport = 8}, .drop = HF_DROP_clear},
	{"from one with a large number", FAR, {ANSWER(ICMP)}, .drop = HF_DROP_clear},
	{"a later fragment", LAN, {ANSWER(UDP), .frag = 100}, .drop = HF_DROP_clear},
	{"ESP that somebody else made", LAN, {ANSWER(ESP)}, .drop = HF_DROP_clear},
	{"IPv6", LAN, {ANSWER(UDP), .ethertype = ETH_P_IPV6}, .drop = HF_DROP_clear},
	{"what is no IP at all", LAN, {ANSWER(UDP), .ethertype = ETH_P_ARP}, .drop = HF_DROP_clear},
	/* On an interface that is underlay and protected, hf_tc_underlay marks these on the way in. */
	{"with the mark: no less in clear", LAN, {ANSWER(UDP), .sport = 4500, .dport = 9}, HF_MARK, .drop = HF_DROP_clear},

	{"what was decrypted for a target", TUNNEL, {TO("10.0.0.1")}, .drop = HF_DROP_clear},
	{"decrypted, where the targets are behind the underlay, passes", TUNNEL, {TO("10.0.0.1")}, .one_armed = true,
	 .drop = NOTHING},
	{"an answer of a target there does not", LAN, {ANSWER(TCP)}, .one_armed = true, .drop = HF_DROP_clear},
	{"decrypted on a node that protects nothing", TUNNEL, {TO("10.0.0.1")}, .protects_nothing = true, .drop = NOTHING},

	{"from an interface that is not protected passes", OTHER, {ANSWER(TCP)}, .drop = NOTHING},
	{"likewise with a mark, which stays", OTHER, {ANSWER(TCP)}, 0x77, .drop = NOTHING},
	{"what this machine sends passes", HERE, {OURS(TCP), .sport = 22, .dport = 40000}, .drop = NOTHING},
	{"ESP of this machine passes", HERE, {OURS(ESP)}, HF_MARK, .drop = NOTHING},
	{"ESP in UDP passes", HERE, {OURS(UDP), .sport = 4500, .dport = 4500}, HF_MARK, .drop = NOTHING},
	{"ARP passes", HERE, {OURS(UDP), .ethertype = ETH_P_ARP}, .drop = NOTHING},
	{"to a tunnelled destination", HERE, {TO("10.9.0.1")}, .tunnelled = "10.9.0.0", .drop = HF_DROP_clear},
	{"likewise forwarded, with somebody's mark", OTHER, {TO("10.9.0.255")}, 0x77, .tunnelled = "10.9.0.0",
	 .drop = HF_DROP_clear},
	{"beside the tunnel passes", HERE, {TO("10.9.1.0")}, .tunnelled = "10.9.0.0", .drop = NOTHING},
	{"with our mark it is ESP, or the key service", HERE, {TO("10.9.0.1")}, HF_MARK | 5, .tunnelled = "10.9.0.0",
	 .drop = NOTHING},
	{"broadcast passes, whatever is tunnelled", HERE, {TO("255.255.255.255")}, .tunnelled = "255.255.255.0",
	 .drop = NOTHING},
	{"so do groups of the link", HERE, {TO("224.0.0.18")}, .tunnelled = "224.0.0.0", .drop = NOTHING},
	{"other groups do not", HERE, {TO("224.0.1.18")}, .tunnelled = "224.0.1.0", .drop = HF_DROP_clear},
	{"on a node that protects nothing: forwarded", LAN, {ANSWER(TCP)}, .protects_nothing = true, .drop = NOTHING},
	{"on a node that protects nothing: its own", HERE, {OURS(ESP)}, .protects_nothing = true, .drop = NOTHING},
};

static void test_case(void **state)
{
	/* BPF_PROG_RUN lets a packet leave by the loopback interface. */
	static const unsigned int protected[] = {LAN, DMZ, FAR, LOOPBACK_IFINDEX};
	const struct out_case *c = *state;
	struct run_options options = {.ingress = c->from, .mark = c->mark};
	struct fixture *f = fixture_begin();
	struct run_result result;
	struct packet in;

	assert_int_equal(datapath_set_protected(f->dp, protected, c->protects_nothing ? 0 : 3 + c->one_armed, TUNNEL), 0);
	if (c->tunnelled) {
		struct hf_prefix prefix = fixture_prefix(c->tunnelled, 24);

		assert_int_equal(datapath_set_tunnel(f->dp, &prefix, 1, 1), 0);
	}
	packet_build(&c->in, &in);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_underlay_out"), &in, &options, &result);
	assert_int_equal(result.verdict, c->drop == NOTHING ? TC_ACT_UNSPEC : TC_ACT_SHOT);
	assert_int_equal(result.mark, c->mark);
	assert_int_equal(result.len, in.len);
	assert_memory_equal(result.data, in.data, in.len);
	fixture_assert_drops(f, c->drop);
}

static void run_own(struct fixture *f, __u32 mark, int drop)
{
	const struct packet_spec spec = {OURS(ICMP)};
	struct run_options options = {.mark = mark};
	struct run_result result;
	struct packet in;

	packet_build(&spec, &in);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_underlay_out"), &in, &options, &result);
	assert_int_equal(result.verdict, drop == NOTHING ? TC_ACT_UNSPEC : TC_ACT_SHOT);
	fixture_assert_drops(f, drop);
}

/* On all other interfaces: what is to be tunnelled, and nothing else; also what came in on a protected one passes. */
static void test_guard(void **state)
{
	static const struct {
		const char *to;
		__u32 from, mark;
		int drop;
	} cases_of_guard[] = {
		{"10.9.0.1", HERE, 0, HF_DROP_clear},	 {"10.9.0.1", OTHER, 0x77, HF_DROP_clear},
		{"10.9.0.1", HERE, HF_MARK, NOTHING},	 {"10.9.1.1", HERE, 0, NOTHING},
		{"10.9.1.1", LAN, 0, NOTHING},		 {"255.255.255.255", HERE, 0, NOTHING},
	};
	static const unsigned int protected[] = {LAN};
	struct fixture *f = fixture_begin();
	struct hf_prefix prefix = fixture_prefix("10.9.0.0", 24);
	__u64 drops = 0;

	assert_int_equal(datapath_set_tunnel(f->dp, &prefix, 1, 1), 0);
	assert_int_equal(datapath_set_protected(f->dp, protected, 1, TUNNEL), 0);
	for (size_t i = 0; i < sizeof(cases_of_guard) / sizeof(*cases_of_guard); i++) {
		struct run_options options = {.ingress = cases_of_guard[i].from, .mark = cases_of_guard[i].mark};
		struct packet_spec spec = {TO(cases_of_guard[i].to)};
		__u64 counted[HF_DROP_MAX];
		struct run_result result;
		struct packet in;

		packet_build(&spec, &in);
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_guard"), &in, &options, &result);
		assert_int_equal(result.verdict, cases_of_guard[i].drop == NOTHING ? TC_ACT_UNSPEC : TC_ACT_SHOT);
		drops += cases_of_guard[i].drop == HF_DROP_clear;
		assert_int_equal(datapath_read_drops(f->dp, counted), 0);
		assert_int_equal(counted[HF_DROP_clear], drops);
	}
}

/* To the address of a client that is gone, this machine itself says nothing in clear, until it is opened. */
static void test_closed(void **state)
{
	struct fixture *f = fixture_begin();
	struct hf_prefix client = fixture_prefix(CLIENT, 32);

	run_own(f, 0, NOTHING);
	assert_int_equal(datapath_close_tunnel(f->dp, &client), 0);
	run_own(f, 0, HF_DROP_clear);
	run_own(f, HF_MARK, NOTHING); /* the key service, on its way to a new session */
	assert_int_equal(datapath_open_tunnel(f->dp, &client), 0);
	run_own(f, 0, NOTHING);
}

static bool is_protected(struct fixture *f, __u32 ifindex)
{
	__u32 value;

	return !bpf_map_lookup_elem(datapath_map_fd(f->dp, "hf_protected"), &ifindex, &value);
}

/* The set is replaced as a whole. */
static void test_set(void **state)
{
	unsigned int all[HF_PROTECTED_MAX + 1];
	struct fixture *f = fixture_begin();

	for (unsigned int i = 0; i <= HF_PROTECTED_MAX; i++)
		all[i] = i + 1;
	assert_int_equal(datapath_set_protected(f->dp, all, HF_PROTECTED_MAX + 1, 0), -E2BIG);
	assert_int_equal(datapath_set_protected(f->dp, all, HF_PROTECTED_MAX, HF_PROTECTED_MAX + 1), -E2BIG);
	assert_false(is_protected(f, 1));
	assert_int_equal(datapath_set_protected(f->dp, all, HF_PROTECTED_MAX, 0), 0);
	assert_true(is_protected(f, 1) && is_protected(f, HF_PROTECTED_MAX));
	/* One stays, all others make room for one that is new. */
	assert_int_equal(datapath_set_protected(f->dp, all + HF_PROTECTED_MAX - 1, 2, 0), 0);
	assert_true(is_protected(f, HF_PROTECTED_MAX) && is_protected(f, HF_PROTECTED_MAX + 1));
	for (unsigned int i = 1; i < HF_PROTECTED_MAX; i++)
		assert_false(is_protected(f, i));
	assert_int_equal(datapath_set_protected(f->dp, NULL, 0, 0), 0);
	assert_false(is_protected(f, HF_PROTECTED_MAX) || is_protected(f, HF_PROTECTED_MAX + 1));
}

int main(void)
{
	const struct fixture_table table = {cases, sizeof(cases) / sizeof(*cases), sizeof(*cases), test_case};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_closed),
	};

	return fixture_main("hf_tc_underlay_out", &table, tests, sizeof(tests) / sizeof(*tests));
}
