// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hf_xdp_underlay, and hf_tc_bare on a link without Ethernet: which heartbeats are reflected, consumed or dropped, and the
 * bytes that come out. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/clock.h"
#include "selftests/prog/fixture.h"

#define GATEWAY "192.0.2.10" /* a gateway that this node uses; NONCE is outstanding with it */
#define OTHER_GATEWAY "192.0.2.11"
#define CLIENT "192.0.2.20" /* a client of this node: plain ESP, and UDP from ports 4500 and 40000 */
#define STRANGER "192.0.2.99"

enum { GATEWAY_ID = 100, OTHER_GATEWAY_ID = 101, CLIENT_ID = 200 };

#define NONCE 0x1122334455667788ull
#define WRONG_NONCE 0x8877665544332211ull
#define NOTHING (-1) /* no drop counted */

#define ESP 50
#define UDP 17
#define TCP 6

static const struct hf_beat_wire beat = {.spi = 0xffffffff, .sequence = 0x01000000, .nonce = NONCE};
static const struct hf_beat_wire forged = {.spi = 0xffffffff, .nonce = WRONG_NONCE};
static const struct hf_beat_wire esp = {.spi = 0x01020304, .nonce = NONCE};

/* A heartbeat of 40 bytes: longer than it need be. */
static const __u8 long_beat[40] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static void lie_total_short(struct packet *p);
static void lie_total_long(struct packet *p);
static void lie_udp_short(struct packet *p);
static void lie_udp_long(struct packet *p);
static void lie_ihl_small(struct packet *p);
static void lie_ihl_large(struct packet *p);
static void lie_version(struct packet *p);

#define BEAT .payload = &beat, .payload_len = sizeof(beat)
#define FORGED .payload = &forged, .payload_len = sizeof(forged)
#define FROM(address) .src = (address), .dst = US, .protocol = ESP
#define FROM_UDP(address, from, to) .src = (address), .dst = US, .protocol = UDP, .sport = (from), .dport = (to)

struct beat_case {
	const char *what;
	struct packet_spec in;
	void (*edit)(struct packet *packet);
	bool gate_closed;
	int verdict;
	int drop;
};

static const struct beat_case cases[] = {
	/* Not heartbeats. */
	{"ESP with another SPI passes",
	 {FROM(CLIENT), .payload = &esp, .payload_len = sizeof(esp)},
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"ESP in UDP with another SPI passes",
	 {FROM_UDP(CLIENT, 4500, 4500), .payload = &esp, .payload_len = sizeof(esp)},
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"UDP between other ports passes",
	 {FROM_UDP(CLIENT, 4501, 4499), BEAT},
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"TCP passes", {.src = CLIENT, .dst = US, .protocol = TCP, BEAT}, .verdict = XDP_PASS, .drop = NOTHING},
	{"ARP passes", {FROM(CLIENT), BEAT, .ethertype = ETH_P_ARP}, .verdict = XDP_PASS, .drop = NOTHING},
	{"IPv6 passes", {FROM(CLIENT), BEAT, .ethertype = ETH_P_IPV6}, .verdict = XDP_PASS, .drop = NOTHING},
	{"a third VLAN tag passes", {FROM(CLIENT), BEAT, .vlans = 3}, .verdict = XDP_PASS, .drop = NOTHING},
	{"a later fragment passes", {FROM(CLIENT), BEAT, .frag = 100}, .verdict = XDP_PASS, .drop = NOTHING},
	{"a heartbeat between others passes",
	 {.src = STRANGER, .dst = ELSEWHERE, .protocol = ESP, BEAT},
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"a broken heartbeat between others passes",
	 {.src = STRANGER, .dst = ELSEWHERE, .protocol = ESP, BEAT, .frag = 0x2000},
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"a version that is not 4 passes",
	 {FROM(CLIENT), BEAT},
	 .edit = lie_version,
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"a header length below 5 passes",
	 {FROM(CLIENT), BEAT},
	 .edit = lie_ihl_small,
	 .verdict = XDP_PASS,
	 .drop = NOTHING},
	{"a header length beyond the frame passes",
	 {FROM(CLIENT), BEAT},
	 .edit = lie_ihl_large,
	 .verdict = XDP_PASS,
	 .drop = NOTHING},

	/* Reflected. */
	{"a client's heartbeat is reflected", {FROM(CLIENT), FORGED}, .verdict = XDP_TX, .drop = NOTHING},
	{"with one VLAN tag", {FROM(CLIENT), FORGED, .vlans = 1}, .verdict = XDP_TX, .drop = NOTHING},
	{"with two VLAN tags", {FROM(CLIENT), FORGED, .vlans = 2}, .verdict = XDP_TX, .drop = NOTHING},
	{"with one word of options", {FROM(CLIENT), FORGED, .options = 1}, .verdict = XDP_TX, .drop = NOTHING},
	{"with ten words of options",
	 {FROM(CLIENT), FORGED, .options = 10},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"with the padding of a short frame",
	 {FROM(CLIENT), FORGED, .tail = 2},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"with a long tail", {FROM(CLIENT), FORGED, .tail = 600}, .verdict = XDP_TX, .drop = NOTHING},
	{"with more payload than it need have",
	 {FROM(CLIENT), .payload = long_beat, .payload_len = sizeof(long_beat)},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"in UDP", {FROM_UDP(CLIENT, 4500, 4500), FORGED}, .verdict = XDP_TX, .drop = NOTHING},
	{"in UDP from behind a NAT",
	 {FROM_UDP(CLIENT, 40000, 4500), FORGED},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"in UDP with VLAN tags, options and a tail",
	 {FROM_UDP(CLIENT, 4500, 4500), FORGED, .vlans = 2, .options = 3, .tail = 7},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"a client may send our own nonces back and forth",
	 {FROM(CLIENT), BEAT},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"with the flag that forbids fragments",
	 {FROM(CLIENT), FORGED, .frag = 0x4000},
	 .verdict = XDP_TX,
	 .drop = NOTHING},
	{"with two hops left", {FROM(CLIENT), FORGED, .ttl = 2}, .verdict = XDP_TX, .drop = NOTHING},
	{"with all hops left", {FROM(CLIENT), FORGED, .ttl = 255}, .verdict = XDP_TX, .drop = NOTHING},

	/* Not reflected. */
	{"one hop left: dropped",
	 {FROM(CLIENT), FORGED, .ttl = 1},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"no hop left: dropped",
	 {FROM(CLIENT), FORGED, .ttl_zero = true},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"to a group: dropped",
	 {FROM(CLIENT), FORGED, .mac_group = true},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a first fragment: dropped",
	 {FROM(CLIENT), FORGED, .frag = 0x2000},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a first fragment of an answer: dropped",
	 {FROM(GATEWAY), BEAT, .frag = 0x2000},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a total length that is too short: dropped",
	 {FROM(CLIENT), FORGED},
	 .edit = lie_total_short,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a total length beyond the frame: dropped",
	 {FROM(CLIENT), FORGED},
	 .edit = lie_total_long,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a total length beyond the frame of an answer: dropped",
	 {FROM(GATEWAY), BEAT},
	 .edit = lie_total_long,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a UDP length that is too short: dropped",
	 {FROM_UDP(CLIENT, 4500, 4500), FORGED},
	 .edit = lie_udp_short,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"a UDP length beyond the packet: dropped",
	 {FROM_UDP(CLIENT, 4500, 4500), FORGED, .tail = 9},
	 .edit = lie_udp_long,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_malformed},
	{"the gate closed: dropped",
	 {FROM(CLIENT), FORGED},
	 .gate_closed = true,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_gate},
	{"a stranger's: dropped", {FROM(STRANGER), FORGED}, .verdict = XDP_DROP, .drop = HF_DROP_beat_stranger},
	{"a stranger's while the gate is closed: dropped",
	 {FROM(STRANGER), FORGED},
	 .gate_closed = true,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_stranger},
	{"a stranger's in UDP: dropped",
	 {FROM_UDP(STRANGER, 4500, 4500), FORGED},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_stranger},
	{"a client's address, another port: a stranger",
	 {FROM_UDP(CLIENT, 4999, 4500), FORGED},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_stranger},

	/* Answers. */
	{"an answer is consumed", {FROM(GATEWAY), BEAT}, .verdict = XDP_DROP, .drop = HF_DROP_beat_answered},
	{"an answer in UDP",
	 {FROM_UDP(GATEWAY, 4500, 4500), BEAT},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_answered},
	{"an answer in UDP to another port of ours",
	 {FROM_UDP(GATEWAY, 4500, 40001), BEAT},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_answered},
	{"an answer with VLAN tags, options and a tail",
	 {FROM(GATEWAY), BEAT, .vlans = 2, .options = 2, .tail = 5},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_answered},
	{"an answer on its last hop",
	 {FROM(GATEWAY), BEAT, .ttl = 1},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_answered},
	{"an answer while our own gate is closed",
	 {FROM(GATEWAY), BEAT},
	 .gate_closed = true,
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_answered},
	{"a forged nonce: dropped", {FROM(GATEWAY), FORGED}, .verdict = XDP_DROP, .drop = HF_DROP_beat_unasked},
	{"the nonce of another gateway: dropped",
	 {FROM(OTHER_GATEWAY), BEAT},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_unasked},
	{"our nonce from a stranger: dropped",
	 {FROM(STRANGER), BEAT},
	 .verdict = XDP_DROP,
	 .drop = HF_DROP_beat_stranger},
};

static void edit_be16(struct packet *p, size_t at, int by)
{
	__u16 value;

	memcpy(&value, p->data + at, sizeof(value));
	value = htons((__u16)(ntohs(value) + by));
	memcpy(p->data + at, &value, sizeof(value));
	packet_fix_ip_checksum(p);
}

static void lie_total_short(struct packet *p) { edit_be16(p, p->ip + offsetof(struct iphdr, tot_len), -1); }
static void lie_total_long(struct packet *p) { edit_be16(p, p->ip + offsetof(struct iphdr, tot_len), 1); }
static void lie_udp_short(struct packet *p) { edit_be16(p, p->payload - 4, -1); }
static void lie_udp_long(struct packet *p) { edit_be16(p, p->payload - 4, 1); }
static void lie_ihl_small(struct packet *p) { p->data[p->ip] = 0x44; }
static void lie_ihl_large(struct packet *p) { p->data[p->ip] = 0x4f; }
static void lie_version(struct packet *p) { p->data[p->ip] = 0x65; }

static int program(const struct fixture *f) { return datapath_program_fd(f->dp, "hf_xdp_underlay"); }

static void peer_add(struct fixture *f, const char *text, __u32 if_id, enum hf_role role, __u16 port)
{
	struct hf_addr addr = fixture_addr(text);

	assert_int_equal(datapath_set_peer(f->dp, if_id, &addr, role), 0);
	assert_int_equal(datapath_set_outer(f->dp, &addr, port, if_id, role == HF_ROLE_CLIENT), 0);
}

static struct fixture *begin(void)
{
	struct fixture *f = fixture_begin();

	peer_add(f, GATEWAY, GATEWAY_ID, HF_ROLE_GATEWAY, 0);
	peer_add(f, GATEWAY, GATEWAY_ID, HF_ROLE_GATEWAY, 4500);
	peer_add(f, OTHER_GATEWAY, OTHER_GATEWAY_ID, HF_ROLE_GATEWAY, 0);
	peer_add(f, CLIENT, CLIENT_ID, HF_ROLE_CLIENT, 0);
	peer_add(f, CLIENT, CLIENT_ID, HF_ROLE_CLIENT, 4500);
	peer_add(f, CLIENT, CLIENT_ID, HF_ROLE_CLIENT, 40000);
	assert_int_equal(datapath_add_beat(f->dp, NONCE, GATEWAY_ID, clock_now_ns()), 0);
	assert_int_equal(datapath_set_gate(f->dp, clock_now_ns() + 60 * CLOCK_NS_PER_S), 0);
	return f;
}

static struct hf_live live_of(struct fixture *f, __u32 if_id)
{
	struct hf_live live;

	assert_int_equal(datapath_read_live(f->dp, if_id, &live), 0);
	return live;
}

/* The reflected frame, built anew from its description: it must be equal to the last bit. */
static void turned_build(const struct packet_spec *in, struct packet *ret_packet)
{
	struct packet_spec spec = *in;

	spec.src = in->dst;
	spec.dst = in->src;
	spec.mac_turned = true;
	spec.ttl = (__u8)((in->ttl ? in->ttl : 64) - 1);
	if (in->dport) {
		spec.sport = in->dport;
		spec.dport = in->sport;
	}
	packet_build(&spec, ret_packet);
}

static void test_case(void **state)
{
	const struct beat_case *c = *state;
	struct fixture *f = begin();
	bool answered = c->drop == HF_DROP_beat_answered, reflected = c->verdict == XDP_TX;
	struct packet in, out;
	struct run_result result;

	packet_build(&c->in, &in);
	if (c->edit)
		c->edit(&in);
	out = in;
	if (reflected)
		turned_build(&c->in, &out);
	if (c->gate_closed)
		assert_int_equal(datapath_set_gate(f->dp, 1), 0);
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, c->verdict);
	assert_int_equal(result.len, out.len);
	assert_memory_equal(result.data, out.data, out.len);
	fixture_assert_drops(f, c->drop);
	assert_int_equal(live_of(f, CLIENT_ID).beats_reflected, reflected);
	assert_int_equal(live_of(f, GATEWAY_ID).beats_answered, answered);
	assert_int_equal(live_of(f, GATEWAY_ID).beat_rx_ns != 0, answered);
	assert_int_equal(live_of(f, OTHER_GATEWAY_ID).beats_answered, 0);
	assert_int_equal(datapath_del_beat(f->dp, NONCE), !answered);
}

/* The frame as a link without Ethernet carries it. */
static void strip(struct packet *packet)
{
	packet->len -= packet->ip;
	memmove(packet->data, packet->data + packet->ip, packet->len);
	packet->payload -= packet->ip;
	packet->ip = 0;
}

/* A tun link, which BPF_PROG_RUN cannot play: what is written to the descriptor comes in there, and the reverse. */
static int bare_link(struct fixture *f, unsigned int *ret_ifindex)
{
	struct ifreq request = {.ifr_name = "bare0", .ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), control;
	struct datapath_attached attached = {.mode = DATAPATH_XDP_GENERIC};
	struct datapath_report report;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) {
		print_message("skipped: no tun link can be made\n");
		skip();
	}
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	request.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(control, SIOCSIFFLAGS, &request), 0);
	close(control);
	*ret_ifindex = if_nametoindex("bare0");
	assert_int_equal(datapath_attach_underlay(f->dp, *ret_ifindex, &report, &attached), 0);
	assert_int_equal(attached.mode, DATAPATH_XDP_NONE);
	return fd;
}

/* What the program sent back, past whatever else the kernel has to say there. 0: nothing. */
static ssize_t bare_read(int fd, __u8 *data, size_t size)
{
	const struct iphdr *ip = (const struct iphdr *)(void *)data;
	ssize_t len;

	while ((len = read(fd, data, size)) > 0)
		if (len >= (ssize_t)sizeof(*ip) && ip->version == 4 && (ip->protocol == ESP || ip->protocol == UDP))
			return len;
	return 0;
}

static void check_bare(const struct beat_case *c, int fd, unsigned int protected)
{
	bool answered = c->drop == HF_DROP_beat_answered, reflected = c->verdict == XDP_TX;
	struct fixture *f = begin();
	__u8 data[PACKET_MAX];
	struct packet in, out;

	packet_build(&c->in, &in);
	if (c->edit)
		c->edit(&in);
	strip(&in);
	assert_int_equal(datapath_set_protected(f->dp, &protected, protected != 0, 0), 0);
	if (c->gate_closed)
		assert_int_equal(datapath_set_gate(f->dp, 1), 0);
	assert_int_equal(write(fd, in.data, in.len), in.len);
	if (reflected) {
		turned_build(&c->in, &out);
		strip(&out);
		assert_int_equal(bare_read(fd, data, sizeof(data)), out.len);
		assert_memory_equal(data, out.data, out.len);
	}
	assert_int_equal(bare_read(fd, data, sizeof(data)), 0);
	fixture_assert_drops(f, c->drop);
	assert_int_equal(live_of(f, CLIENT_ID).beats_reflected, reflected);
	assert_int_equal(live_of(f, GATEWAY_ID).beats_answered, answered);
	assert_int_equal(datapath_del_beat(f->dp, NONCE), !answered);
}

static void test_bare(void **state)
{
	struct fixture *f = fixture_begin();
	unsigned int ifindex, n = 0;
	int fd = bare_link(f, &ifindex);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		/* What only Ethernet has, such a link has not; and what is no IPv4 packet does not come that far. */
		if (cases[i].in.vlans || cases[i].in.ethertype || cases[i].in.mac_group || cases[i].edit == lie_version)
			continue;
		print_message("bare: %s\n", cases[i].what);
		check_bare(&cases[i], fd, 0);
		check_bare(&cases[i], fd, ifindex); /* the targets are there, too */
		n++;
	}
	assert_true(n > 30);
	assert_int_equal(datapath_detach_underlay(f->dp, ifindex), 0);
	close(fd);
}

/* Every length of a frame, from the shortest that the kernel runs (its Ethernet header) on. */
static void check_cuts(const struct packet_spec *spec, int whole_verdict, int whole_drop)
{
	struct packet whole, cut;
	struct run_result result;

	packet_build(spec, &whole);
	for (size_t len = ETH_HLEN; len <= whole.len; len++) {
		struct fixture *f = begin();
		bool spi = len >= whole.payload + 4, all = len == whole.len;

		cut = whole;
		cut.len = len;
		fixture_run_xdp(program(f), &cut, &result);
		if (all) {
			assert_int_equal(result.verdict, whole_verdict);
			fixture_assert_drops(f, whole_drop);
			continue;
		}
		assert_int_equal(result.verdict, spi ? XDP_DROP : XDP_PASS);
		fixture_assert_drops(f, spi ? HF_DROP_beat_malformed : NOTHING);
		assert_int_equal(result.len, len);
		assert_memory_equal(result.data, cut.data, len);
	}
}

static void test_cuts(void **state)
{
	const struct packet_spec requests[] = {
		{FROM(CLIENT), FORGED},
		{FROM(CLIENT), FORGED, .vlans = 1},
		{FROM(CLIENT), FORGED, .vlans = 2, .options = 10},
		{FROM_UDP(CLIENT, 4500, 4500), FORGED},
		{FROM_UDP(CLIENT, 4500, 4500), FORGED, .vlans = 2, .options = 1},
	};
	const struct packet_spec answer = {FROM(GATEWAY), BEAT};

	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		check_cuts(&requests[i], XDP_TX, NOTHING);
	check_cuts(&answer, XDP_DROP, HF_DROP_beat_answered);
}

/* The incremental checksum against one computed anew, for every number of hops and odd sums. */
static void test_checksum(void **state)
{
	struct packet_spec spec = {FROM(CLIENT), FORGED};
	struct packet in, out;
	struct run_result result;

	for (unsigned int ttl = 2; ttl < 256; ttl++) {
		struct fixture *f = begin();

		spec.ttl = (__u8)ttl;
		packet_build(&spec, &in);
		turned_build(&spec, &out);
		fixture_run_xdp(program(f), &in, &result);
		assert_int_equal(result.verdict, XDP_TX);
		assert_memory_equal(result.data, out.data, out.len);
	}
}

static void test_answer_counts_once(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(GATEWAY), BEAT};
	struct run_result result;
	struct packet in;
	__u64 before;

	packet_build(&spec, &in);
	before = clock_now_ns();
	assert_int_equal(datapath_add_beat(f->dp, NONCE, GATEWAY_ID, before - 5 * CLOCK_NS_PER_MS), 0);
	fixture_run_xdp(program(f), &in, &result);
	fixture_assert_drops(f, HF_DROP_beat_answered);
	assert_in_range(live_of(f, GATEWAY_ID).beat_rx_ns, before, clock_now_ns());
	assert_in_range(live_of(f, GATEWAY_ID).beat_rtt_ns, 5 * CLOCK_NS_PER_MS, CLOCK_NS_PER_S);
	for (int again = 0; again < 3; again++) {
		fixture_run_xdp(program(f), &in, &result);
		assert_int_equal(result.verdict, XDP_DROP);
		fixture_assert_drops(f, HF_DROP_beat_unasked);
	}
	assert_int_equal(live_of(f, GATEWAY_ID).beats_answered, 1);
}

static void test_nonce_of_a_peer_that_left(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(GATEWAY), BEAT};
	struct run_result result;
	struct packet in;

	packet_build(&spec, &in);
	assert_int_equal(datapath_del_peer(f->dp, GATEWAY_ID), 0);
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_unasked);
}

/* A client that has an outer address still, but no peer any more: as good as a stranger. */
static void test_client_that_left(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(CLIENT), FORGED};
	struct run_result result;
	struct packet in;

	packet_build(&spec, &in);
	assert_int_equal(datapath_del_peer(f->dp, CLIENT_ID), 0);
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_stranger);
}

static void test_rate(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(CLIENT), FORGED};
	__u32 if_id = CLIENT_ID;
	struct run_result result;
	struct hf_live live;
	struct packet in;

	packet_build(&spec, &in);
	for (int i = 0; i < FIXTURE_BURST; i++) {
		fixture_run_xdp(program(f), &in, &result);
		assert_int_equal(result.verdict, XDP_TX);
	}
	fixture_assert_drops(f, NOTHING);
	/* The bucket as if refilled just now, so that the time which this test takes adds no token. */
	live = live_of(f, CLIENT_ID);
	assert_int_equal(live.reflect_tokens, 0);
	live.reflect_ns = clock_now_ns();
	assert_int_equal(bpf_map_update_elem(datapath_map_fd(f->dp, "hf_live"), &if_id, &live, BPF_EXIST), 0);
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_rate);
	/* Another CPU has refilled it since this one looked at the clock: no time has gone by, rather than all of it. */
	live.reflect_ns = clock_now_ns() + CLOCK_NS_PER_S;
	assert_int_equal(bpf_map_update_elem(datapath_map_fd(f->dp, "hf_live"), &if_id, &live, BPF_EXIST), 0);
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_rate);
	/* Two seconds later, at one a second: two. */
	live.reflect_ns = clock_now_ns() - 2 * CLOCK_NS_PER_S - CLOCK_NS_PER_MS;
	assert_int_equal(bpf_map_update_elem(datapath_map_fd(f->dp, "hf_live"), &if_id, &live, BPF_EXIST), 0);
	for (int i = 0; i < 2; i++) {
		fixture_run_xdp(program(f), &in, &result);
		assert_int_equal(result.verdict, XDP_TX);
	}
	fixture_run_xdp(program(f), &in, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_rate);
}

/* Two reflectors face to face, each the other's client: what one sends is fed to the other. It ends. */
static void test_loop(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {.src = CLIENT, .dst = US, .protocol = ESP, FORGED, .ttl = 3};
	struct run_result result;
	struct packet packet;
	int rounds = 0;

	/* The other reflector is played by the same program, whose client is then US. */
	peer_add(f, US, CLIENT_ID + 1, HF_ROLE_CLIENT, 0);
	packet_build(&spec, &packet);
	for (;;) {
		fixture_run_xdp(program(f), &packet, &result);
		if (result.verdict != XDP_TX)
			break;
		assert_true(++rounds < 256);
		memcpy(packet.data, result.data, result.len);
	}
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(rounds, 2); /* three hops: two reflections */
	fixture_assert_drops(f, HF_DROP_beat_malformed);
}

/* What we reflected, thrown back at us: it comes from ourselves, and we are no client of ours. */
static void test_thrown_back(void **state)
{
	struct fixture *f = begin();
	const struct packet_spec spec = {FROM(CLIENT), FORGED};
	struct run_result result;
	struct packet packet;

	packet_build(&spec, &packet);
	fixture_run_xdp(program(f), &packet, &result);
	assert_int_equal(result.verdict, XDP_TX);
	memcpy(packet.data, result.data, result.len);
	fixture_run_xdp(program(f), &packet, &result);
	/* To the client, not to us; without a route to it, it goes no further either. */
	assert_int_equal(result.verdict, XDP_DROP);
	fixture_assert_drops(f, HF_DROP_beat_stranger);
	assert_int_equal(live_of(f, CLIENT_ID).beats_reflected, 1);
}

int main(void)
{
	const struct fixture_table table = {cases, sizeof(cases) / sizeof(*cases), sizeof(*cases), test_case};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_answer_counts_once),
		cmocka_unit_test(test_nonce_of_a_peer_that_left),
		cmocka_unit_test(test_client_that_left),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_thrown_back),
	};

	return fixture_main("hf_xdp_underlay", &table, tests, sizeof(tests) / sizeof(*tests));
}
