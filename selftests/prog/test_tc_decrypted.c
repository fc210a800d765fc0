// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * hf_tc_decrypted: what a peer may send, what counts as a sign of life, and
 * what holdfastd is told. All but the last test need the XFRM kfuncs.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <string.h>

#include "lib/clock.h"
#include "selftests/prog/fixture.h"
#include "selftests/prog/peer.skel.h"

#define GATEWAY "200.0.0.254"	/* a gateway of ours, for the targets of slot 1 */
#define TARGET "10.0.0.1"	/* slot 1 */
#define OTHER_TARGET "10.1.0.1" /* slot 3: another cluster's */
#define CLIENT "192.0.2.20"	/* a client of ours */
#define INSIDE "100.0.0.1"	/* its inner address: slot 2 */
#define NOWHERE "172.16.0.1"	/* no tunnel */
#define HERE "100.0.0.9"

enum { NOBODY = 0, GATEWAY_ID = 100, CLIENT_ID = 200, UNKNOWN_ID = 300 };

#define ICMP 1
#define UDP 17
#define NOTHING (-1)

static const __u8 payload[64] = {1, 2, 3, 4, 5, 6, 7, 8};
static const __u8 unreachable[36] = {3, 1};
static const __u8 time_exceeded[36] = {11, 0};
static const __u8 echo_reply[36] = {0, 0};
static const struct hf_control_wire answer = {
	.magic = 0x54434648, .if_id = 0x66, .nonce = 0xabcdef, .type = HF_CONTROL_ANSWER};
static const struct hf_control_wire question = {
	.magic = 0x54434648, .if_id = 0x66, .nonce = 0xabcdef, .type = HF_CONTROL_PROBE};

/* An ICMP error about a packet, and where it says that one went from and to. */
#define ADDRESS(a, b, c, d) (a), (b), (c), (d)
#define ERROR(type, code, from, to)                                                                            \
	{                                                                                                      \
		(type), (code), 0, 0, 0, 0, 5, 0x78, 0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, from, to,     \
			0x9c, 0x40, 0, 80, 0, 0, 0, 1                                                          \
	}
#define A_HERE ADDRESS(100, 0, 0, 9)
#define A_TARGET ADDRESS(10, 0, 0, 1)
#define A_OTHER_TARGET ADDRESS(10, 1, 0, 1)
#define A_INSIDE ADDRESS(100, 0, 0, 1)
#define A_NOWHERE ADDRESS(172, 16, 0, 1)

static const __u8 too_big[36] = ERROR(3, 4, A_HERE, A_TARGET);
static const __u8 exceeded[36] = ERROR(11, 0, A_HERE, A_TARGET);
static const __u8 parameter[36] = ERROR(12, 0, A_HERE, A_TARGET);
static const __u8 quench[36] = ERROR(4, 0, A_HERE, A_TARGET);
static const __u8 redirect[36] = ERROR(5, 1, A_HERE, A_TARGET);
static const __u8 echo[36] = ERROR(8, 0, A_HERE, A_TARGET);
static const __u8 about_other_target[36] = ERROR(3, 4, A_HERE, A_OTHER_TARGET);
static const __u8 about_nowhere[36] = ERROR(3, 4, A_HERE, A_NOWHERE);
static const __u8 about_inside[36] = ERROR(3, 4, A_HERE, A_INSIDE);
static const __u8 about_others[36] = ERROR(3, 4, A_NOWHERE, A_TARGET);
static const __u8 about_answer[36] = ERROR(3, 4, A_TARGET, A_HERE);

#define FROM(address)                                                                                          \
	.src = (address), .dst = HERE, .protocol = UDP, .sport = 1000, .dport = 2000, .payload = payload,      \
	.payload_len = sizeof(payload)
#define ICMP_FROM(address, message)                                                                            \
	.src = (address), .dst = HERE, .protocol = ICMP, .payload = (message), .payload_len = sizeof(message)
#define CONTROL_FROM(address)                                                                                  \
	.src = (address), .dst = HERE, .protocol = HF_CONTROL_PROTOCOL, .payload = &answer,                    \
	.payload_len = sizeof(answer)
#define PROBE_FROM(address)                                                                                    \
	.src = (address), .dst = HERE, .protocol = HF_CONTROL_PROTOCOL, .payload = &question,                  \
	.payload_len = sizeof(question)

static void lie_version(struct packet *p) { p->data[p->ip] = 0x65; }
static void lie_ihl_small(struct packet *p) { p->data[p->ip] = 0x44; }
static void lie_quoted_version(struct packet *p) { p->data[p->payload + 8] = 0x65; }
static void lie_quoted_ihl(struct packet *p) { p->data[p->payload + 8] = 0x44; }
static void lie_total(struct packet *p) { p->data[p->ip + 3] = 20 + 27; } /* a byte less than is read */

struct decrypted_case {
	const char *what;
	__u32 from;
	struct packet_spec in;
	void (*edit)(struct packet *packet);
	int drop;
	bool live;		 /* counts as a sign of life */
	enum hf_event_type told; /* 0: nothing */
	enum hf_control_type control; /* of what is told; 0: ANSWER */
};

static const struct decrypted_case cases[] = {
	{"a target's packet through its gateway", GATEWAY_ID, {FROM(TARGET)}, .drop = NOTHING, .live = true},
	{"with options", GATEWAY_ID, {FROM(TARGET), .options = 10}, .drop = NOTHING, .live = true},
	{"a fragment", GATEWAY_ID, {FROM(TARGET), .frag = 0x2000}, .drop = NOTHING, .live = true},
	{"a later fragment", GATEWAY_ID, {FROM(TARGET), .frag = 3}, .drop = NOTHING, .live = true},
	{"a client's packet, the first: its claim is told",
	 CLIENT_ID,
	 {FROM(INSIDE)},
	 .drop = NOTHING,
	 .live = true,
	 .told = HF_EVENT_CLAIM},
	{"an echo reply", GATEWAY_ID, {ICMP_FROM(TARGET, echo_reply)}, .drop = NOTHING, .live = true},
	{"a time exceeded", GATEWAY_ID, {ICMP_FROM(TARGET, time_exceeded)}, .drop = NOTHING, .live = true},
	{"a destination unreachable passes, but is no sign of life",
	 GATEWAY_ID,
	 {ICMP_FROM(TARGET, unreachable)},
	 .drop = NOTHING},
	{"likewise with options", GATEWAY_ID, {ICMP_FROM(TARGET, unreachable), .options = 4}, .drop = NOTHING},
	{"a later fragment that looks like one is a sign of life",
	 GATEWAY_ID,
	 {ICMP_FROM(TARGET, unreachable), .frag = 3},
	 .drop = NOTHING,
	 .live = true},
	{"ICMP without a byte",
	 GATEWAY_ID,
	 {.src = TARGET, .dst = HERE, .protocol = ICMP},
	 .drop = NOTHING,
	 .live = true},

	{"an inner source of another cluster: dropped",
	 GATEWAY_ID,
	 {FROM(OTHER_TARGET)},
	 .drop = HF_DROP_inner_source},
	{"an inner source of a client: dropped", GATEWAY_ID, {FROM(INSIDE)}, .drop = HF_DROP_inner_source},
	{"an inner source of nobody: dropped", GATEWAY_ID, {FROM(NOWHERE)}, .drop = HF_DROP_inner_source},
	{"the gateway's own outer address: dropped", GATEWAY_ID, {FROM(GATEWAY)}, .drop = HF_DROP_inner_source},
	{"a client that plays a target: dropped", CLIENT_ID, {FROM(TARGET)}, .drop = HF_DROP_inner_source},
	{"an unreachable from where it may not: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, unreachable)},
	 .drop = HF_DROP_inner_source},
	{"an unknown peer: dropped", UNKNOWN_ID, {FROM(TARGET)}, .drop = HF_DROP_unknown_peer},
	{"from nobody, in clear: dropped", NOBODY, {FROM(TARGET)}, .drop = HF_DROP_unknown_peer},
	{"IPv6: dropped", GATEWAY_ID, {FROM(TARGET), .ethertype = ETH_P_IPV6}, .drop = HF_DROP_family},
	{"a version that is not 4: dropped",
	 GATEWAY_ID,
	 {FROM(TARGET)},
	 .edit = lie_version,
	 .drop = HF_DROP_malformed},
	{"a header length below 5: dropped",
	 GATEWAY_ID,
	 {FROM(TARGET)},
	 .edit = lie_ihl_small,
	 .drop = HF_DROP_malformed},

	{"a router's fragmentation needed about a packet of ours",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, too_big)},
	 .drop = NOTHING},
	{"likewise with options", GATEWAY_ID, {ICMP_FROM(NOWHERE, too_big), .options = 10}, .drop = NOTHING},
	{"likewise as a first fragment", GATEWAY_ID, {ICMP_FROM(NOWHERE, too_big), .frag = 0x2000}, .drop = NOTHING},
	{"the gateway's own, from its outer address", GATEWAY_ID, {ICMP_FROM(GATEWAY, too_big)}, .drop = NOTHING},
	{"a router's time exceeded", GATEWAY_ID, {ICMP_FROM(NOWHERE, exceeded)}, .drop = NOTHING},
	{"a router's parameter problem", GATEWAY_ID, {ICMP_FROM(NOWHERE, parameter)}, .drop = NOTHING},
	{"of a router behind a client: passes, claims nothing",
	 CLIENT_ID,
	 {ICMP_FROM(NOWHERE, about_inside)},
	 .drop = NOTHING},
	{"a router's source quench: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, quench)},
	 .drop = HF_DROP_inner_source},
	{"a router's redirect: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, redirect)},
	 .drop = HF_DROP_inner_source},
	{"an echo request that looks like it: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, echo)},
	 .drop = HF_DROP_inner_source},
	{"UDP that looks like it: dropped",
	 GATEWAY_ID,
	 {.src = NOWHERE, .dst = HERE, .protocol = UDP, .payload = too_big, .payload_len = sizeof(too_big)},
	 .drop = HF_DROP_inner_source},
	{"an error about a packet to another cluster: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, about_other_target)},
	 .drop = HF_DROP_inner_source},
	{"about a packet to a client, from a gateway: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, about_inside)},
	 .drop = HF_DROP_inner_source},
	{"about a packet to a target, from a client: dropped",
	 CLIENT_ID,
	 {ICMP_FROM(NOWHERE, too_big)},
	 .drop = HF_DROP_inner_source},
	{"about a packet that no tunnel carries: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, about_nowhere)},
	 .drop = HF_DROP_inner_source},
	{"about a packet of somebody else: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, about_others)},
	 .drop = HF_DROP_inner_source},
	{"about a packet the other way: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, about_answer)},
	 .drop = HF_DROP_inner_source},
	{"a later fragment: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, too_big), .frag = 3},
	 .drop = HF_DROP_inner_source},
	{"about what is no IPv4: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, too_big)},
	 .edit = lie_quoted_version,
	 .drop = HF_DROP_inner_source},
	{"about a header that is too short: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, too_big)},
	 .edit = lie_quoted_ihl,
	 .drop = HF_DROP_inner_source},
	{"with a total length that ends in what is quoted: dropped",
	 GATEWAY_ID,
	 {ICMP_FROM(NOWHERE, too_big)},
	 .edit = lie_total,
	 .drop = HF_DROP_inner_source},
	{"from an unknown peer: dropped", UNKNOWN_ID, {ICMP_FROM(NOWHERE, too_big)}, .drop = HF_DROP_unknown_peer},

	{"a control packet of the gateway itself",
	 GATEWAY_ID,
	 {CONTROL_FROM(GATEWAY)},
	 .drop = HF_DROP_control_consumed,
	 .live = true,
	 .told = HF_EVENT_CONTROL},
	{"a gateway that asks whether we live shows no life itself",
	 GATEWAY_ID,
	 {PROBE_FROM(GATEWAY)},
	 .drop = HF_DROP_control_consumed,
	 .told = HF_EVENT_CONTROL,
	 .control = HF_CONTROL_PROBE},
	{"a client that asks does",
	 CLIENT_ID,
	 {PROBE_FROM(INSIDE)},
	 .drop = HF_DROP_control_consumed,
	 .live = true,
	 .told = HF_EVENT_CONTROL,
	 .control = HF_CONTROL_PROBE},
	{"a control packet with options",
	 GATEWAY_ID,
	 {CONTROL_FROM(GATEWAY), .options = 3},
	 .drop = HF_DROP_control_consumed,
	 .live = true,
	 .told = HF_EVENT_CONTROL},
	{"a control packet from an inner source",
	 CLIENT_ID,
	 {CONTROL_FROM(INSIDE)},
	 .drop = HF_DROP_control_consumed,
	 .live = true,
	 .told = HF_EVENT_CONTROL},
	{"a control packet from a source it may not use: dropped",
	 CLIENT_ID,
	 {CONTROL_FROM(TARGET)},
	 .drop = HF_DROP_inner_source},
	{"a control packet from another peer's address: dropped",
	 CLIENT_ID,
	 {CONTROL_FROM(GATEWAY)},
	 .drop = HF_DROP_inner_source},
	{"a control packet of an unknown peer: dropped",
	 UNKNOWN_ID,
	 {CONTROL_FROM(GATEWAY)},
	 .drop = HF_DROP_unknown_peer},
	{"a control packet as a first fragment: dropped",
	 GATEWAY_ID,
	 {CONTROL_FROM(GATEWAY), .frag = 0x2000},
	 .drop = HF_DROP_control_malformed},
	{"protocol 253 without the magic is ordinary",
	 GATEWAY_ID,
	 {.src = TARGET,
	  .dst = HERE,
	  .protocol = HF_CONTROL_PROTOCOL,
	  .payload = payload,
	  .payload_len = sizeof(payload)},
	 .drop = NOTHING,
	 .live = true},
};

static struct peer_bpf *sender;

/* The program that plays the SA: it runs before the one under test. */
static void sender_load(const struct fixture *f)
{
	int fd = datapath_program_fd(f->dp, "hf_tc_decrypted");
	__u32 zero = 0;

	if (sender)
		return;
	sender = peer_bpf__open();
	assert_non_null(sender);
	bpf_program__set_autoload(sender->progs.peer_receives, false);
	bpf_program__set_autoload(sender->progs.peer_passes, false);
	assert_int_equal(peer_bpf__load(sender), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(sender->maps.peer_next), &zero, &fd, BPF_ANY), 0);
}

static void peer_add(struct fixture *f, const char *text, __u32 if_id, enum hf_role role, __u32 slot)
{
	struct hf_addr addr = fixture_addr(text);

	assert_int_equal(datapath_set_peer(f->dp, if_id, &addr, role), 0);
	assert_int_equal(datapath_set_member(f->dp, slot, if_id), 0);
}

static void tunnel_add(struct fixture *f, const char *text, unsigned int len, __u32 slot)
{
	struct hf_prefix prefix = fixture_prefix(text, len);

	prefix_mask(&prefix);
	assert_int_equal(datapath_set_tunnel(f->dp, &prefix, slot, slot), 0);
}

static struct fixture *begin(void)
{
	struct fixture *f = fixture_begin_xfrm();

	tunnel_add(f, TARGET, 24, 1);
	tunnel_add(f, INSIDE, 32, 2);
	tunnel_add(f, OTHER_TARGET, 24, 3);
	peer_add(f, GATEWAY, GATEWAY_ID, HF_ROLE_GATEWAY, 1);
	peer_add(f, CLIENT, CLIENT_ID, HF_ROLE_CLIENT, 2);
	sender_load(f);
	return f;
}

static int run_from(__u32 peer, const struct packet *in, __u32 mark, struct run_result *ret)
{
	const struct run_options options = {.as_peer = peer, .mark = mark};

	fixture_run_tc(bpf_program__fd(sender->progs.peer_sends), in, &options, ret);
	return ret->verdict;
}

static struct hf_live live_of(struct fixture *f, __u32 if_id)
{
	struct hf_live live;

	assert_int_equal(datapath_read_live(f->dp, if_id, &live), 0);
	return live;
}

static void check_told(struct fixture *f, const struct decrypted_case *c)
{
	struct hf_addr source = fixture_addr(c->in.src);

	fixture_take_events(f);
	assert_int_equal(f->n_events, c->told != 0);
	if (!c->told)
		return;
	assert_int_equal(f->events[0].type, c->told);
	assert_int_equal(f->events[0].if_id, c->from);
	assert_true(addr_equal(&f->events[0].inner, &source));
	if (c->told != HF_EVENT_CONTROL)
		return;
	assert_true(f->events[0].nonce == answer.nonce);
	assert_int_equal(f->events[0].control, c->control ? c->control : HF_CONTROL_ANSWER);
}

static void test_case(void **state)
{
	const struct decrypted_case *c = *state;
	struct fixture *f = begin();
	struct run_result result;
	bool passes = c->drop == NOTHING;
	struct packet in;

	packet_build(&c->in, &in);
	if (c->edit)
		c->edit(&in);
	run_from(c->from, &in, HF_MARK | 0x12, &result);
	assert_int_equal(result.verdict, passes ? TC_ACT_OK : TC_ACT_SHOT);
	assert_int_equal(result.len, in.len);
	assert_memory_equal(result.data, in.data, in.len);
	if (passes)
		assert_int_equal(result.mark, 0x12);
	fixture_assert_drops(f, c->drop);
	assert_int_equal(live_of(f, GATEWAY_ID).last_rx_ns != 0, c->live && c->from == GATEWAY_ID);
	assert_int_equal(live_of(f, CLIENT_ID).last_rx_ns != 0, c->live && c->from == CLIENT_ID);
	check_told(f, c);
}

static void test_control_cuts(void **state)
{
	struct fixture *f = begin();
	struct packet_spec spec = {CONTROL_FROM(GATEWAY)};
	struct run_result result;
	struct packet in;

	for (size_t len = sizeof(answer.magic); len < sizeof(answer); len++) {
		spec.payload_len = len;
		packet_build(&spec, &in);
		assert_int_equal(run_from(GATEWAY_ID, &in, 0, &result), TC_ACT_SHOT);
		fixture_assert_drops(f, HF_DROP_control_malformed);
		spec.payload_len = sizeof(answer);
		packet_build(&spec, &in);
		in.len = in.payload + len;
		assert_int_equal(run_from(GATEWAY_ID, &in, 0, &result), TC_ACT_SHOT);
		fixture_assert_drops(f, HF_DROP_control_malformed);
	}
	assert_int_equal(live_of(f, GATEWAY_ID).last_rx_ns, 0);
}

/* An error whose quote is cut: passes when the quoted header is whole, and nothing behind the end is read. */
static void test_error_cuts(void **state)
{
	struct fixture *f = begin();
	struct packet_spec spec = {ICMP_FROM(NOWHERE, too_big)};
	struct run_result result;
	struct packet in;

	for (size_t len = 0; len <= sizeof(too_big); len++) {
		spec.payload_len = len;
		packet_build(&spec, &in);
		assert_int_equal(run_from(GATEWAY_ID, &in, 0, &result), len < 28 ? TC_ACT_SHOT : TC_ACT_OK);
		fixture_assert_drops(f, len < 28 ? HF_DROP_inner_source : NOTHING);
		spec.payload_len = sizeof(too_big);
		packet_build(&spec, &in);
		in.len = in.payload + len;
		assert_int_equal(run_from(GATEWAY_ID, &in, 0, &result), len < 28 ? TC_ACT_SHOT : TC_ACT_OK);
		fixture_assert_drops(f, len < 28 ? HF_DROP_inner_source : NOTHING);
	}
	assert_int_equal(live_of(f, GATEWAY_ID).last_rx_ns, 0);
}

/* Told once, until it is armed again. */
static void test_claim(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(INSIDE)};
	struct run_result result;
	struct packet in;

	packet_build(&spec, &in);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(run_from(CLIENT_ID, &in, 0, &result), TC_ACT_OK);
		fixture_take_events(f);
		assert_int_equal(f->n_events, 1);
		assert_int_equal(f->events[0].type, HF_EVENT_CLAIM);
		assert_int_equal(datapath_rearm_claim(f->dp, CLIENT_ID), 0);
	}
	assert_int_equal(datapath_rearm_claim(f->dp, GATEWAY_ID), -ENOENT);
}

/* The ring full: a control packet is counted as lost, and a claim is told when there is room again. */
static void test_ring_full(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {CONTROL_FROM(GATEWAY)}, claim = {FROM(INSIDE)};
	__u64 drops[HF_DROP_MAX] = {0};
	struct run_result result;
	struct packet in;
	int n, taken = 0, now;

	packet_build(&spec, &in);
	for (n = 0; n < 100000 && !drops[HF_DROP_control_lost]; n++) {
		assert_int_equal(run_from(GATEWAY_ID, &in, 0, &result), TC_ACT_SHOT);
		assert_int_equal(datapath_read_drops(f->dp, drops), 0);
	}
	assert_int_equal(drops[HF_DROP_control_lost], 1);
	assert_int_equal(drops[HF_DROP_control_consumed], n - 1);
	packet_build(&claim, &in);
	assert_int_equal(run_from(CLIENT_ID, &in, 0, &result), TC_ACT_OK);
	datapath_on_event(f->dp, NULL, NULL);
	/* A call takes some of them, and leaves time for others. */
	while ((now = datapath_consume_events(f->dp)) > 0)
		taken += now;
	assert_int_equal(taken, n - 1);
	fixture_listen(f);
	assert_int_equal(run_from(CLIENT_ID, &in, 0, &result), TC_ACT_OK);
	fixture_take_events(f);
	assert_int_equal(f->n_events, 1);
	assert_int_equal(f->events[0].type, HF_EVENT_CLAIM);
}

/* The time of a sign of life: now, and not written again within its grain. */
static void test_live_time(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(TARGET)};
	__u32 if_id = GATEWAY_ID;
	struct run_result result;
	__u64 before = clock_now_ns();
	struct hf_live live;
	struct packet in;

	packet_build(&spec, &in);
	run_from(GATEWAY_ID, &in, 0, &result);
	live = live_of(f, GATEWAY_ID);
	assert_in_range(live.last_rx_ns, before, clock_now_ns());
	live.last_rx_ns -= CLOCK_NS_PER_S;
	assert_int_equal(bpf_map_update_elem(datapath_map_fd(f->dp, "hf_live"), &if_id, &live, BPF_EXIST), 0);
	run_from(GATEWAY_ID, &in, 0, &result);
	assert_in_range(live_of(f, GATEWAY_ID).last_rx_ns, before, clock_now_ns());
}

/* Without the kfuncs, no packet on hf0 is known to have been decrypted: none gets through. */
static void test_without_xfrm(void **state)
{
	const struct datapath_config config = {.without_xfrm = true};
	const struct packet_spec spec = {FROM(TARGET)};
	__u64 drops[HF_DROP_MAX];
	struct run_result result;
	struct datapath *dp;
	struct packet in;

	fixture_begin();
	assert_int_equal(datapath_open(&config, NULL, &dp), 0);
	packet_build(&spec, &in);
	fixture_run_tc(datapath_program_fd(dp, "hf_tc_decrypted"), &in, NULL, &result);
	assert_int_equal(datapath_read_drops(dp, drops), 0);
	datapath_free(dp);
	assert_int_equal(result.verdict, TC_ACT_SHOT);
	assert_int_equal(drops[HF_DROP_unknown_peer], 1);
}

static int tear_down_sender(void **state)
{
	peer_bpf__destroy(sender);
	sender = NULL;
	return 0;
}

int main(void)
{
	const struct fixture_table table = {cases, sizeof(cases) / sizeof(*cases), sizeof(*cases), test_case};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_cuts),
		cmocka_unit_test(test_error_cuts),
		cmocka_unit_test(test_claim),
		cmocka_unit_test(test_ring_full),
		cmocka_unit_test(test_live_time),
		cmocka_unit_test_teardown(test_without_xfrm, tear_down_sender),
	};

	return fixture_main("hf_tc_decrypted", &table, tests, sizeof(tests) / sizeof(*tests));
}
