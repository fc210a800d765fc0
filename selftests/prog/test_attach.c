// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Pins and attachments, on a pair of veths in a network namespace with a bpf
 * file system of its own:
 *
 *     hfa (192.0.2.1, the programs) ---- hfb (the test, by a packet socket)
 *
 * What is attached is shown by what it does: a heartbeat sent into hfb comes
 * back or does not.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "lib/clock.h"
#include "selftests/prog/fixture.h"
#include "selftests/prog/peer.skel.h"

#define CLIENT "192.0.2.20"
#define CLIENT_ID 200
#define ESP 50
#define INSTANCE "prog-test"
#define PINS DATAPATH_PIN_ROOT "/" INSTANCE

static const struct hf_beat_wire beat = {.spi = 0xffffffff, .nonce = 77};

static unsigned int hfa, hfb;
static int wire = -1; /* a packet socket on hfb */

static void command(const char *line) { assert_int_equal(system(line), 0); }

static int set_up(void **state)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	if (geteuid())
		return 0;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		return -1;
	/* Without IPv6, whose neighbour discovery would talk over the wire. */
	if (system("ip link set lo up && ip link add hfa address 02:00:00:00:00:01 type veth peer name hfb "
		   "address 02:00:00:00:00:02 && sysctl -qw net.ipv6.conf.hfa.disable_ipv6=1 "
		   "net.ipv6.conf.hfb.disable_ipv6=1 && ip addr add " US "/24 dev hfa && ip link set hfa up && "
		   "ip link set hfb up"))
		return -1;
	hfa = if_nametoindex("hfa");
	hfb = if_nametoindex("hfb");
	wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	addr.sll_ifindex = (int)hfb;
	return wire < 0 || bind(wire, (struct sockaddr *)&addr, sizeof(addr)) ? -1 : 0;
}

static int tear_down(void **state)
{
	if (wire >= 0)
		close(wire);
	return 0;
}

static void require_root(void)
{
	if (geteuid()) {
		print_message("skipped: needs root\n");
		skip();
	}
}

static struct datapath *open_or_fail(void)
{
	const struct datapath_config config = {
		.instance = INSTANCE, .key_service_port = 7546, .without_xfrm = true};
	struct datapath_report report;
	struct datapath *dp = NULL;

	if (datapath_open(&config, &report, &dp))
		fail_msg("%s\n%s", report.text, report.detail);
	return dp;
}

static void client_add(struct datapath *dp)
{
	struct hf_addr client = fixture_addr(CLIENT);

	assert_int_equal(datapath_set_peer(dp, CLIENT_ID, &client, HF_ROLE_CLIENT), 0);
	assert_int_equal(datapath_set_outer(dp, &client, 0, CLIENT_ID, true), 0);
	assert_int_equal(datapath_set_gate(dp, clock_now_ns() + 60 * CLOCK_NS_PER_S), 0);
}

static struct datapath_attached attach_or_fail(struct datapath *dp)
{
	struct datapath_attached attached;
	struct datapath_report report;

	if (datapath_attach_underlay(dp, hfa, &report, &attached))
		fail_msg("%s\n%s", report.text, report.detail);
	return attached;
}

/* Sends a heartbeat into hfb. Whether it comes back within the time. */
static bool beat_comes_back(int milliseconds)
{
	const struct packet_spec spec = {
		.src = CLIENT, .dst = US, .protocol = ESP, .payload = &beat, .payload_len = sizeof(beat)};
	struct pollfd readable = {.fd = wire, .events = POLLIN};
	__u64 end = clock_now_ns() + (__u64)milliseconds * CLOCK_NS_PER_MS;
	struct packet_spec turned = spec;
	struct packet out, expected;
	__u8 in[PACKET_MAX];

	turned.src = US;
	turned.dst = CLIENT;
	turned.ttl = 63;
	turned.mac_turned = true;
	packet_build(&spec, &out);
	packet_build(&turned, &expected);
	assert_int_equal(send(wire, out.data, out.len, 0), out.len);
	while (clock_now_ns() < end) {
		ssize_t len = poll(&readable, 1, 10) > 0 ? recv(wire, in, sizeof(in), 0) : -1;

		if (len == (ssize_t)expected.len && !memcmp(in, expected.data, expected.len))
			return true;
	}
	return false;
}

#define COMES_BACK() assert_true(beat_comes_back(5000))
#define IS_LOST() assert_false(beat_comes_back(150))

static unsigned int programs_on(unsigned int ifindex)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex((int)ifindex);
	int n;

	if (libxdp_get_error(all) || !all)
		return 0;
	n = xdp_multiprog__is_legacy(all) ? 1 : xdp_multiprog__program_count(all);
	xdp_multiprog__close(all);
	return (unsigned int)n;
}

static void assert_bare(void)
{
	assert_int_equal(programs_on(hfa), 0);
	assert_int_equal(access(PINS, F_OK), -1);
	command("! tc qdisc show dev hfa | grep -q clsact");
}

static void test_no_bpf_file_system(void **state)
{
	const struct datapath_config config = {
		.instance = "x", .pin_root = "/tmp/hf-no-such", .without_xfrm = true};
	struct datapath_report report;
	struct datapath *dp = NULL;

	require_root();
	assert_int_equal(datapath_open(&config, &report, &dp), -ENOTDIR);
	assert_null(dp);
	assert_non_null(strstr(report.text, "mount -t bpf"));
	assert_int_equal(access("/tmp/hf-no-such", F_OK), -1);
}

static void test_instance_name(void **state)
{
	const char *const bad[] = {"", ".", "..", "a/b", "/"};
	struct datapath_report report;
	struct datapath *dp = NULL;

	require_root();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct datapath_config config = {.instance = bad[i], .without_xfrm = true};

		assert_int_equal(datapath_open(&config, &report, &dp), -EINVAL);
	}
}

static int peers_count(void *context, __u32 if_id, const struct hf_peer *peer)
{
	assert_int_equal(if_id, CLIENT_ID);
	assert_string_equal(peer->label, CLIENT);
	++*(int *)context;
	return 0;
}

static void test_adopt(void **state)
{
	struct datapath *dp;
	int peers = 0;
	__u32 if_id;

	require_root();
	dp = open_or_fail();
	assert_false(datapath_is_adopted(dp));
	client_add(dp);
	assert_int_equal(datapath_steer(dp, 5, 55), 0);
	datapath_free(dp);

	dp = open_or_fail();
	assert_true(datapath_is_adopted(dp));
	assert_int_equal(datapath_read_steer(dp, 5, &if_id), 0);
	assert_int_equal(if_id, 55);
	assert_int_equal(datapath_each_peer(dp, peers_count, &peers), 0);
	assert_int_equal(peers, 1);
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_bare();
}

static void test_other_version(void **state)
{
	const struct datapath_config config = {.instance = INSTANCE, .without_xfrm = true};
	struct hf_version other = {.contract = HF_CONTRACT_VERSION + 1};
	struct datapath_report report;
	struct datapath *dp;
	__u32 zero = 0;

	require_root();
	dp = open_or_fail();
	assert_int_equal(bpf_map_update_elem(datapath_map_fd(dp, "hf_version"), &zero, &other, BPF_ANY), 0);
	datapath_free(dp);
	dp = NULL;
	assert_int_equal(datapath_open(&config, &report, &dp), -EPROTO);
	assert_null(dp);
	assert_int_equal(access(PINS "/hf_version", F_OK), 0);
	assert_int_equal(datapath_unpin(NULL, INSTANCE), 0);
	assert_int_equal(datapath_unpin(NULL, INSTANCE), 0);
	assert_bare();
}

/* Pins without the version, which comes last: an opening that was cut off. Begun anew. */
static void test_half_a_set(void **state)
{
	struct datapath *dp;
	__u32 if_id;

	require_root();
	dp = open_or_fail();
	assert_int_equal(datapath_steer(dp, 5, 55), 0);
	datapath_free(dp);
	assert_int_equal(unlink(PINS "/hf_version"), 0);
	dp = open_or_fail();
	assert_false(datapath_is_adopted(dp));
	assert_int_equal(datapath_read_steer(dp, 5, &if_id), 0);
	assert_int_equal(if_id, 0);
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_bare();
}

/* A driver without native XDP, as a bridge is one: generic mode, and it is said. */
static void test_driver_refuses(void **state)
{
	struct datapath_attached attached;
	struct datapath_report report;
	struct datapath *dp;
	unsigned int bridge;

	require_root();
	command("ip link add name hfbridge type bridge && ip link set hfbridge up");
	bridge = if_nametoindex("hfbridge");
	dp = open_or_fail();
	assert_int_equal(datapath_attach_underlay(dp, bridge, &report, &attached), 0);
	assert_int_equal(attached.mode, DATAPATH_XDP_GENERIC);
	assert_non_null(strstr(attached.note, "the driver takes no native XDP"));
	command("ip -o link show hfbridge | grep -q xdpgeneric");
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	command("! ip -o link show hfbridge | grep -q xdp");
	command("ip link del hfbridge");
}

static void test_life(void **state)
{
	struct datapath_attached attached;
	struct datapath *dp;

	require_root();
	IS_LOST();
	dp = open_or_fail();
	client_add(dp);
	attached = attach_or_fail(dp);
	assert_int_equal(attached.mode, DATAPATH_XDP_GENERIC); /* veth */
	print_message("  dispatcher: %s %s\n", attached.dispatcher ? "yes" : "no", attached.note);
	assert_int_equal(attached.dispatcher, !*attached.note);
	COMES_BACK();
	assert_int_equal(datapath_attach_tunnel(dp, hfb, NULL), 0); /* any interface will do */
	datapath_free(dp);					    /* as if killed */
	assert_int_equal(programs_on(hfa), 1);

	dp = open_or_fail();
	assert_true(datapath_is_adopted(dp));
	attach_or_fail(dp);
	assert_int_equal(programs_on(hfa), 1);
	assert_int_equal(datapath_attach_tunnel(dp, hfb, NULL), 0);
	command("test $(tc filter show dev hfa ingress | grep -c hf_tc_underlay) = 1");
	command("test $(tc filter show dev hfa egress | grep -c hf_tc_underlay_) = 1");
	command("test $(tc filter show dev hfb ingress | grep -c hf_tc_decrypted) = 1");
	command("test $(tc filter show dev hfb egress | grep -c hf_tc_encrypt) = 1");
	assert_int_equal(datapath_detach_tunnel(dp, hfb), 0); /* it would stop our own heartbeats */
	COMES_BACK();
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_bare();
	command("! tc qdisc show dev hfb | grep -q clsact");
	IS_LOST();
}

/* Sends a packet of a protected network into far. Whether it comes out of hfb, forwarded. */
static bool is_forwarded(int far, int milliseconds)
{
	const struct packet_spec spec = {
		.src = "198.51.100.7", .dst = CLIENT, .protocol = 6, .payload = &beat, .payload_len = sizeof(beat)};
	struct pollfd readable = {.fd = wire, .events = POLLIN};
	__u64 end = clock_now_ns() + (__u64)milliseconds * CLOCK_NS_PER_MS;
	struct packet_spec forwarded = spec;
	struct packet out, expected;
	__u8 in[PACKET_MAX];

	forwarded.ttl = 63;
	forwarded.mac_turned = true; /* the neighbour's */
	packet_build(&spec, &out);
	packet_build(&forwarded, &expected);
	assert_int_equal(send(far, out.data, out.len, 0), out.len);
	while (clock_now_ns() < end) {
		ssize_t len = poll(&readable, 1, 10) > 0 ? recv(wire, in, sizeof(in), 0) : -1;

		if (len == (ssize_t)expected.len && !memcmp(in, expected.data, expected.len))
			return true;
	}
	return false;
}

/* A machine that forwards: from hfp to hfa, unless hfp is protected. */
static void test_protected(void **state)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET};
	__u64 drops[HF_DROP_MAX];
	struct datapath *dp;
	unsigned int hfp;
	int far;

	require_root();
	command("ip link add hfp address 02:00:00:00:00:01 type veth peer name hfq && "
		"sysctl -qw net.ipv6.conf.hfp.disable_ipv6=1 net.ipv6.conf.hfq.disable_ipv6=1 && "
		"ip addr add 198.51.100.1/24 dev hfp && ip link set hfp up && ip link set hfq up && "
		"ip neigh replace " CLIENT " lladdr 02:00:00:00:00:02 dev hfa && sysctl -qw net.ipv4.ip_forward=1");
	hfp = if_nametoindex("hfp");
	far = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	addr.sll_ifindex = (int)if_nametoindex("hfq");
	assert_int_equal(bind(far, (struct sockaddr *)&addr, sizeof(addr)), 0);
	dp = open_or_fail();
	client_add(dp);
	attach_or_fail(dp);
	assert_true(is_forwarded(far, 5000)); /* nothing is protected: nothing changes */
	assert_int_equal(datapath_set_protected(dp, &hfp, 1, 0), 0);
	assert_false(is_forwarded(far, 150));
	assert_int_equal(datapath_read_drops(dp, drops), 0);
	assert_int_equal(drops[HF_DROP_clear], 1);
	COMES_BACK();
	datapath_free(dp); /* as if killed: what is attached still guards */
	assert_false(is_forwarded(far, 150));
	dp = open_or_fail();
	attach_or_fail(dp);
	assert_int_equal(datapath_read_drops(dp, drops), 0);
	assert_int_equal(drops[HF_DROP_clear], 2);
	assert_int_equal(datapath_set_protected(dp, NULL, 0, 0), 0);
	assert_true(is_forwarded(far, 5000));
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_true(is_forwarded(far, 5000));
	assert_bare();
	close(far);
	command("sysctl -qw net.ipv4.ip_forward=0 && ip link del hfp && ip neigh del " CLIENT " dev hfa");
}

static struct peer_bpf *stranger_open(void)
{
	struct peer_bpf *stranger = peer_bpf__open();

	assert_non_null(stranger);
	bpf_program__set_autoload(stranger->progs.peer_sends, false);
	bpf_program__set_autoload(stranger->progs.peer_receives, false);
	return stranger;
}

/* Whether the one program on hfa hangs on a dispatcher. */
static bool is_shared(void)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex((int)hfa);
	bool shared;

	assert_int_equal(libxdp_get_error(all), 0);
	shared = !xdp_multiprog__is_legacy(all);
	xdp_multiprog__close(all);
	return shared;
}

static void test_beside_another(void **state)
{
	struct peer_bpf *stranger;
	struct xdp_program *program;
	struct datapath_attached attached;
	struct datapath *dp;

	require_root();
	stranger = stranger_open();
	program = xdp_program__from_bpf_obj(stranger->obj, "xdp");
	assert_int_equal(libxdp_get_error(program), 0);
	assert_int_equal(xdp_program__attach(program, (int)hfa, XDP_MODE_SKB, 0), 0);
	if (!is_shared()) {
		assert_int_equal(xdp_program__detach(program, (int)hfa, XDP_MODE_SKB, 0), 0);
		xdp_program__close(program);
		peer_bpf__destroy(stranger);
		print_message("skipped: this kernel cannot run libxdp's dispatcher (freplace)\n");
		skip();
	}
	command("tc qdisc add dev hfa clsact && tc filter add dev hfa ingress protocol all prio 77 u32 match "
		"u32 0 0 "
		"action pass");
	dp = open_or_fail();
	client_add(dp);
	attached = attach_or_fail(dp);
	assert_true(attached.dispatcher);
	assert_int_equal(programs_on(hfa), 2);
	COMES_BACK();
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_int_equal(programs_on(hfa), 1);
	command("tc filter show dev hfa ingress | grep -q u32 && tc qdisc del dev hfa clsact");
	assert_int_equal(xdp_program__detach(program, (int)hfa, XDP_MODE_SKB, 0), 0);
	xdp_program__close(program);
	peer_bpf__destroy(stranger);
	assert_bare();
}

static void test_one_that_does_not_share(void **state)
{
	struct datapath_attached attached;
	struct datapath_report report;
	struct peer_bpf *stranger;
	struct datapath *dp;
	int fd;

	require_root();
	stranger = stranger_open();
	assert_int_equal(peer_bpf__load(stranger), 0);
	fd = bpf_program__fd(stranger->progs.peer_passes);
	assert_int_equal(bpf_xdp_attach((int)hfa, fd, XDP_FLAGS_SKB_MODE, NULL), 0);
	dp = open_or_fail();
	assert_int_equal(datapath_attach_underlay(dp, hfa, &report, &attached), -EBUSY);
	assert_non_null(strstr(report.text, "hfa"));
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_int_equal(programs_on(hfa), 1);
	assert_int_equal(bpf_xdp_detach((int)hfa, XDP_FLAGS_SKB_MODE, NULL), 0);
	peer_bpf__destroy(stranger);
	assert_bare();
}

/* An interface that goes away takes its programs along; coming down is no error. */
static void test_interface_that_goes(void **state)
{
	struct datapath_attached attached;
	unsigned int gone;
	struct datapath *dp;

	require_root();
	command("ip link add hfc type veth peer name hfd");
	gone = if_nametoindex("hfc");
	dp = open_or_fail();
	assert_int_equal(datapath_attach_underlay(dp, gone, NULL, &attached), 0);
	assert_int_equal(datapath_attach_tunnel(dp, if_nametoindex("hfd"), NULL), 0);
	command("ip link del hfc");
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	assert_bare();
}

static void test_tunnels_in_bulk(void **state)
{
	enum { N = 10000 };
	struct datapath_tunnel *tunnels = calloc(N, sizeof(*tunnels));
	struct hf_prefix first = fixture_prefix("10.0.0.0", 32);
	struct datapath *dp;
	struct hf_tunnel value;
	struct hf_tunnel_key key;

	if (geteuid())
		free(tunnels);
	require_root();
	assert_non_null(tunnels);
	for (__u32 i = 0; i < N; i++) {
		tunnels[i].prefix = first;
		tunnels[i].prefix.addr.b[14] = (__u8)(i >> 8);
		tunnels[i].prefix.addr.b[15] = (__u8)i;
		tunnels[i].slot = i;
		tunnels[i].number = i + 1;
	}
	dp = open_or_fail();
	assert_int_equal(datapath_set_tunnels(dp, tunnels, N), 0);
	for (__u32 i = 0; i < N; i++) {
		key = (struct hf_tunnel_key){.prefixlen = 128, .addr = tunnels[i].prefix.addr};
		assert_int_equal(bpf_map_lookup_elem(datapath_map_fd(dp, "hf_tunnels"), &key, &value), 0);
		assert_int_equal(value.slot, i);
		assert_int_equal(value.number, i + 1);
	}
	tunnels[N - 1].slot = DATAPATH_SLOTS;
	assert_int_equal(datapath_set_tunnels(dp, tunnels, N), -EINVAL);
	assert_int_equal(datapath_remove(dp), 0);
	datapath_free(dp);
	free(tunnels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_bpf_file_system),
		cmocka_unit_test(test_instance_name),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_half_a_set),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_driver_refuses),
		cmocka_unit_test(test_protected),
		cmocka_unit_test(test_beside_another),
		cmocka_unit_test(test_one_that_does_not_share),
		cmocka_unit_test(test_interface_that_goes),
		cmocka_unit_test(test_tunnels_in_bulk),
	};

	return cmocka_run_group_tests_name("attach", tests, set_up, tear_down);
}
