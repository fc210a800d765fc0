// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * hf_tc_encrypt: which peer a packet on hf0 goes to, and that everything else
 * stops there. What is steered needs the XFRM kfuncs; the rest runs anywhere.
 */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <string.h>

#include "lib/clock.h"
#include "selftests/prog/fixture.h"
#include "selftests/prog/peer.skel.h"

#define INSIDE "100.0.0.1"
#define TARGET "10.0.0.1"    /* slot 1, steered to PEER_ID */
#define NEIGHBOUR "10.0.0.9" /* slot 2: a narrower prefix within slot 1's, to OTHER_ID */
#define WAITING "10.1.0.1"   /* slot 3: no peer */
#define UNLISTED "10.9.0.1"  /* no tunnel */

enum { PEER_ID = 100, OTHER_ID = 101, CONTROL_ID = 102 };

#define UDP 17
#define TCP 6
#define NOTHING (-1)

static const __u8 payload[64] = {1, 2, 3, 4, 5, 6, 7, 8};
static const __u8 large[HF_HOLD_MAX + 1];

/* if_id in network order: 102, 0. */
static const struct hf_control_wire control = {.magic = 0x54434648, .if_id = 0x66000000, .nonce = 7, .type = 1};
static const struct hf_control_wire control_for_none = {.magic = 0x54434648, .nonce = 7, .type = 1};

#define TO(address) .src = INSIDE, .dst = (address), .protocol = UDP, .sport = 1000, .dport = 2000
#define DATA .payload = payload, .payload_len = sizeof(payload)
#define CONTROL                                                                                                \
	.src = INSIDE, .dst = TARGET, .protocol = HF_CONTROL_PROTOCOL, .payload = &control,                    \
	.payload_len = sizeof(control)

static void lie_version(struct packet *p) { p->data[p->ip] = 0x65; }
static void lie_ihl_small(struct packet *p) { p->data[p->ip] = 0x44; }

static void lie_total(struct packet *p) { memset(p->data + p->ip + offsetof(struct iphdr, tot_len), 0, 2); }

struct encrypt_case {
	const char *what;
	struct packet_spec in;
	void (*edit)(struct packet *packet);
	struct run_options options;
	int verdict;
	int drop;
	__u32 steered; /* to this peer: needs the kfuncs */
	bool wanted;   /* holdfastd is asked for a session for slot 3 */
};

#define SHOT .verdict = TC_ACT_SHOT

static const struct encrypt_case cases[] = {
	{"a tunnelled destination goes to the peer in use",
	 {TO(TARGET), DATA},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"the narrower prefix decides", {TO(NEIGHBOUR), DATA}, .drop = NOTHING, .steered = OTHER_ID},
	{"with options", {TO(TARGET), DATA, .options = 10}, .drop = NOTHING, .steered = PEER_ID},
	{"a fragment", {TO(TARGET), DATA, .frag = 0x2000}, .drop = NOTHING, .steered = PEER_ID},
	{"a later fragment", {TO(TARGET), DATA, .frag = 8}, .drop = NOTHING, .steered = PEER_ID},
	{"an empty packet",
	 {.src = INSIDE, .dst = TARGET, .protocol = UDP},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"with our mark, ordinary traffic is steered like any",
	 {TO(TARGET), DATA},
	 .options = {.mark = HF_MARK},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"protocol 253 without the magic is ordinary",
	 {.src = INSIDE, .dst = TARGET, .protocol = HF_CONTROL_PROTOCOL, DATA},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"protocol 253 too short for the magic is ordinary",
	 {.src = INSIDE, .dst = TARGET, .protocol = HF_CONTROL_PROTOCOL, .payload = &control, .payload_len = 3},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"the magic in another protocol is ordinary",
	 {.src = INSIDE, .dst = TARGET, .protocol = 254, .payload = &control, .payload_len = sizeof(control)},
	 .drop = NOTHING,
	 .steered = PEER_ID},
	{"a control packet goes where it says",
	 {CONTROL},
	 .options = {.mark = HF_MARK},
	 .drop = NOTHING,
	 .steered = CONTROL_ID},
	{"the lower bits of the mark do not matter",
	 {CONTROL},
	 .options = {.mark = HF_MARK | 5},
	 .drop = NOTHING,
	 .steered = CONTROL_ID},
	{"a control packet to where no tunnel is",
	 {.src = INSIDE,
	  .dst = UNLISTED,
	  .protocol = HF_CONTROL_PROTOCOL,
	  .payload = &control,
	  .payload_len = sizeof(control)},
	 .options = {.mark = HF_MARK},
	 .drop = NOTHING,
	 .steered = CONTROL_ID},

	{"a control packet without the mark: dropped", {CONTROL}, SHOT, .drop = HF_DROP_control_malformed},
	{"a control packet with another mark: dropped",
	 {CONTROL},
	 .options = {.mark = HF_MARK ^ 0x00010000},
	 SHOT,
	 .drop = HF_DROP_control_malformed},
	{"a control packet for no peer: dropped",
	 {.src = INSIDE,
	  .dst = TARGET,
	  .protocol = HF_CONTROL_PROTOCOL,
	  .payload = &control_for_none,
	  .payload_len = sizeof(control)},
	 .options = {.mark = HF_MARK},
	 SHOT,
	 .drop = HF_DROP_control_malformed},
	{"a control packet as a first fragment: dropped",
	 {CONTROL, .frag = 0x2000},
	 .options = {.mark = HF_MARK},
	 SHOT,
	 .drop = HF_DROP_control_malformed},
	{"a destination without a tunnel: dropped", {TO(UNLISTED), DATA}, SHOT, .drop = HF_DROP_not_tunnelled},
	{"IPv6: dropped", {TO(TARGET), DATA, .ethertype = ETH_P_IPV6}, SHOT, .drop = HF_DROP_family},
	{"ARP: dropped", {TO(TARGET), DATA, .ethertype = ETH_P_ARP}, SHOT, .drop = HF_DROP_family},
	{"a version that is not 4: dropped",
	 {TO(TARGET), DATA},
	 .edit = lie_version,
	 SHOT,
	 .drop = HF_DROP_malformed},
	{"a header length below 5: dropped",
	 {TO(TARGET), DATA},
	 .edit = lie_ihl_small,
	 SHOT,
	 .drop = HF_DROP_malformed},
	{"a total length below the header's: dropped",
	 {TO(TARGET), DATA},
	 .edit = lie_total,
	 SHOT,
	 .drop = HF_DROP_malformed},

	{"no session: held",
	 {TO(WAITING), DATA},
	 .verdict = TC_ACT_STOLEN,
	 .drop = HF_DROP_held,
	 .wanted = true},
	{"no session, a fragment: held",
	 {TO(WAITING), DATA, .frag = 0x2000},
	 .verdict = TC_ACT_STOLEN,
	 .drop = HF_DROP_held,
	 .wanted = true},
	{"no session, options: held",
	 {TO(WAITING), DATA, .options = 10},
	 .verdict = TC_ACT_STOLEN,
	 .drop = HF_DROP_held,
	 .wanted = true},
	{"no session, a tail: held without it",
	 {TO(WAITING), DATA, .tail = 9},
	 .verdict = TC_ACT_STOLEN,
	 .drop = HF_DROP_held,
	 .wanted = true},
	{"no session, as long as may be held",
	 {.src = INSIDE, .dst = WAITING, .protocol = 99, .payload = large, .payload_len = HF_HOLD_MAX - 20},
	 .verdict = TC_ACT_STOLEN,
	 .drop = HF_DROP_held,
	 .wanted = true},
	{"no session, a byte too long: asked for and dropped",
	 {.src = INSIDE, .dst = WAITING, .protocol = 99, .payload = large, .payload_len = HF_HOLD_MAX - 19},
	 SHOT,
	 .drop = HF_DROP_no_session,
	 .wanted = true},
	{"no session, several segments in one: asked for and dropped",
	 {TO(WAITING), DATA},
	 .options = {.gso_size = 32},
	 SHOT,
	 .drop = HF_DROP_no_session,
	 .wanted = true},
};

static struct peer_bpf *receiver;

/* The program that sees, after the one under test, which peer it chose. */
static void receiver_attach(const struct fixture *f)
{
	int fd = datapath_program_fd(f->dp, "hf_tc_encrypt");
	struct bpf_link *link;

	if (receiver)
		return;
	receiver = peer_bpf__open();
	assert_non_null(receiver);
	bpf_program__set_autoload(receiver->progs.peer_sends, false);
	bpf_program__set_autoload(receiver->progs.peer_passes, false);
	assert_int_equal(bpf_program__set_attach_target(receiver->progs.peer_receives, fd, "hf_tc_encrypt"), 0);
	assert_int_equal(peer_bpf__load(receiver), 0);
	link = bpf_program__attach_trace(receiver->progs.peer_receives);
	assert_non_null(link);
	receiver->links.peer_receives = link;
}

static void tunnel_add(struct fixture *f, const char *text, unsigned int len, __u32 slot, __u32 if_id)
{
	struct hf_prefix prefix = fixture_prefix(text, len);

	prefix_mask(&prefix);
	assert_int_equal(datapath_set_tunnel(f->dp, &prefix, slot, slot), 0);
	assert_int_equal(datapath_steer(f->dp, slot, if_id), 0);
}

static void world_make(struct fixture *f)
{
	tunnel_add(f, TARGET, 24, 1, PEER_ID);
	tunnel_add(f, NEIGHBOUR, 32, 2, OTHER_ID);
	tunnel_add(f, WAITING, 16, 3, 0);
}

static void check_event(struct fixture *f, const struct packet *in, bool wanted, bool held)
{
	struct hf_addr inside = fixture_addr(INSIDE);
	__u16 total;

	fixture_take_events(f);
	assert_int_equal(f->n_events, wanted);
	if (!wanted)
		return;
	memcpy(&total, in->data + in->ip + offsetof(struct iphdr, tot_len), sizeof(total));
	assert_int_equal(f->events[0].type, HF_EVENT_WANT);
	assert_int_equal(f->events[0].slot, 3);
	assert_int_equal(f->events[0].if_id, 0);
	assert_true(addr_equal(&f->events[0].inner, &inside));
	assert_in_range(clock_now_ns() - f->events[0].time_ns, 0, 10 * CLOCK_NS_PER_S);
	assert_int_equal(f->events[0].packet_len, held ? ntohs(total) : 0);
	assert_memory_equal(f->held[0], in->data + in->ip, f->events[0].packet_len);
}

static void test_case(void **state)
{
	const struct encrypt_case *c = *state;
	struct fixture *f = c->steered ? fixture_begin_xfrm() : fixture_begin();
	struct run_result result;
	struct packet in;

	world_make(f);
	if (c->steered)
		receiver_attach(f);
	if (receiver)
		receiver->bss->peer_seen = 0;
	packet_build(&c->in, &in);
	if (c->edit)
		c->edit(&in);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, &c->options, &result);
	assert_int_equal(result.verdict, c->verdict);
	assert_int_equal(result.len, in.len);
	assert_memory_equal(result.data, in.data, in.len);
	assert_int_equal(result.mark, c->options.mark);
	fixture_assert_drops(f, c->drop);
	check_event(f, &in, c->wanted, c->verdict == TC_ACT_STOLEN);
	if (receiver)
		assert_int_equal(receiver->bss->peer_seen, c->steered);
}

/* Cut short within its control header, a packet with the mark is no ordinary one. */
static void test_control_cuts(void **state)
{
	struct fixture *f = fixture_begin();
	struct run_options options = {.mark = HF_MARK};
	struct packet_spec spec = {CONTROL};
	struct run_result result;
	struct packet in;

	world_make(f);
	for (size_t len = sizeof(control.magic); len < sizeof(control); len++) {
		spec.payload_len = len;
		packet_build(&spec, &in);
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, &options, &result);
		assert_int_equal(result.verdict, TC_ACT_SHOT);
		fixture_assert_drops(f, HF_DROP_control_malformed);
	}
	/* The header says whole, but the packet is cut. */
	for (size_t len = sizeof(control.magic); len < sizeof(control); len++) {
		spec.payload_len = sizeof(control);
		packet_build(&spec, &in);
		in.len = in.payload + len;
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, &options, &result);
		assert_int_equal(result.verdict, TC_ACT_SHOT);
		fixture_assert_drops(f, HF_DROP_control_malformed);
	}
}

/* A prefix that a client had a moment ago: nothing is held for it, and nobody is asked. Opening touches no other. */
static void test_closed(void **state)
{
	struct hf_prefix waiting = fixture_prefix(WAITING, 32), target = fixture_prefix(TARGET, 24);
	struct fixture *f = fixture_begin();
	struct packet_spec spec = {TO(WAITING), DATA};
	struct run_result result;
	struct packet in;

	world_make(f);
	prefix_mask(&target);
	packet_build(&spec, &in);
	assert_int_equal(datapath_close_tunnel(f->dp, &waiting), 0);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, NULL, &result);
	assert_int_equal(result.verdict, TC_ACT_SHOT);
	fixture_assert_drops(f, HF_DROP_no_session);
	fixture_take_events(f);
	assert_int_equal(f->n_events, 0);

	assert_int_equal(datapath_open_tunnel(f->dp, &target), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(datapath_open_tunnel(f->dp, &waiting), 0);
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, NULL, &result);
		assert_int_equal(result.verdict, TC_ACT_STOLEN);
		fixture_assert_drops(f, HF_DROP_held);
		fixture_take_events(f);
		assert_int_equal(f->n_events, 1);
		assert_int_equal(f->events[0].slot, 3);
	}
}

/* A watched slot tells of the next packet, and of that one only. */
static void test_watch(void **state)
{
	struct fixture *f = fixture_begin();
	struct run_options options = {0};
	struct packet_spec spec = {TO(TARGET), DATA};
	struct run_result result;
	struct packet in;

	world_make(f);
	packet_build(&spec, &in);
	assert_int_equal(datapath_watch(f->dp, 1, PEER_ID), 0);
	for (int i = 0; i < 3; i++) {
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, &options, &result);
		fixture_take_events(f);
		assert_int_equal(f->n_events, i == 0);
		if (i)
			continue;
		assert_int_equal(f->events[0].type, HF_EVENT_PAYLOAD);
		assert_int_equal(f->events[0].slot, 1);
		assert_int_equal(f->events[0].if_id, PEER_ID);
	}
	/* Steering anew ends the watch. */
	assert_int_equal(datapath_watch(f->dp, 1, PEER_ID), 0);
	assert_int_equal(datapath_steer(f->dp, 1, OTHER_ID), 0);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, &options, &result);
	fixture_take_events(f);
	assert_int_equal(f->n_events, 0);
}

/* A packet for holding whose bytes end before its length says: asked for, not held. */
static void test_held_cuts(void **state)
{
	struct fixture *f = fixture_begin();
	const struct packet_spec spec = {TO(WAITING), DATA, .options = 2};
	struct run_result result;
	struct packet whole, cut;

	world_make(f);
	packet_build(&spec, &whole);
	for (size_t len = whole.ip + 20; len < whole.len; len++) {
		cut = whole;
		cut.len = len;
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &cut, NULL, &result);
		assert_int_equal(result.verdict, TC_ACT_SHOT);
		fixture_assert_drops(f, HF_DROP_no_session);
		check_event(f, &cut, true, false);
	}
}

static void count_by_type(void *context, const struct hf_event *event, const __u8 *packet)
{
	((unsigned int *)context)[event->type]++;
}

static bool is_readable(const struct fixture *f)
{
	struct pollfd at = {.fd = datapath_events_fd(f->dp), .events = POLLIN};

	return poll(&at, 1, 0) == 1;
}

/* The ring half full: dropped with the reason, and nothing is held that is not told. */
static void test_ring_full(void **state)
{
	struct fixture *f = fixture_begin();
	const struct packet_spec spec = {TO(WAITING), DATA};
	unsigned int held = 0, refused = 0, counts[8] = {0};
	int taken = 0;
	__u64 drops[HF_DROP_MAX];
	struct run_result result;
	struct packet in;

	world_make(f);
	packet_build(&spec, &in);
	while (refused < 3 && held < 10000) {
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, NULL, &result);
		if (result.verdict == TC_ACT_STOLEN)
			held++;
		else
			refused++;
	}
	assert_int_equal(refused, 3);
	assert_in_range(held, 450, 550);
	assert_int_equal(datapath_read_drops(f->dp, drops), 0);
	assert_int_equal(drops[HF_DROP_held], held);
	assert_int_equal(drops[HF_DROP_no_session], refused);

	/* What else is told has room. */
	assert_int_equal(datapath_watch(f->dp, 1, PEER_ID), 0);
	packet_build(&(struct packet_spec){TO(TARGET), DATA}, &in);
	fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, NULL, &result);
	datapath_on_event(f->dp, count_by_type, counts);
	/* Some at a time; what is left keeps the descriptor readable. */
	for (unsigned int left = held + 1; left; left -= (unsigned int)taken) {
		assert_true(is_readable(f));
		taken = datapath_consume_events(f->dp);
		assert_int_equal(taken, left > 256 ? 256 : left);
	}
	assert_false(is_readable(f));
	assert_int_equal(datapath_consume_events(f->dp), 0);
	assert_int_equal(counts[HF_EVENT_WANT], held);
	assert_int_equal(counts[HF_EVENT_PAYLOAD], 1);
	fixture_listen(f);
}

static void test_switch(void **state)
{
	struct fixture *f = fixture_begin_xfrm();
	const struct packet_spec spec = {TO(TARGET), DATA};
	struct run_result result;
	struct packet in;

	world_make(f);
	receiver_attach(f);
	packet_build(&spec, &in);
	for (__u32 if_id = 1; if_id < 5; if_id++) {
		assert_int_equal(datapath_steer(f->dp, 1, if_id), 0);
		fixture_run_tc(datapath_program_fd(f->dp, "hf_tc_encrypt"), &in, NULL, &result);
		assert_int_equal(result.verdict, TC_ACT_OK);
		assert_int_equal(receiver->bss->peer_seen, if_id);
	}
	fixture_assert_drops(f, NOTHING);
}

/* On a kernel without the kfuncs nothing gets through. */
static void test_without_xfrm(void **state)
{
	struct fixture *f = fixture_begin();
	const struct datapath_config config = {.without_xfrm = true};
	const struct packet_spec spec = {TO(TARGET), DATA};
	__u64 drops[HF_DROP_MAX];
	struct fixture without = {0};
	struct run_result result;
	struct packet in;

	(void)f;
	assert_int_equal(datapath_open(&config, NULL, &without.dp), 0);
	world_make(&without);
	packet_build(&spec, &in);
	fixture_run_tc(datapath_program_fd(without.dp, "hf_tc_encrypt"), &in, NULL, &result);
	assert_int_equal(datapath_read_drops(without.dp, drops), 0);
	datapath_free(without.dp);
	assert_int_equal(result.verdict, TC_ACT_SHOT);
	assert_int_equal(drops[HF_DROP_no_xfrm], 1);
}

static int tear_down_receiver(void **state)
{
	peer_bpf__destroy(receiver);
	receiver = NULL;
	return 0;
}

int main(void)
{
	const struct fixture_table table = {cases, sizeof(cases) / sizeof(*cases), sizeof(*cases), test_case};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_cuts),
		cmocka_unit_test(test_held_cuts),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_ring_full),
		cmocka_unit_test(test_without_xfrm),
		cmocka_unit_test_teardown(test_switch, tear_down_receiver),
	};

	return fixture_main("hf_tc_encrypt", &table, tests, sizeof(tests) / sizeof(*tests));
}
