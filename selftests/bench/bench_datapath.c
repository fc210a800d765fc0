// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a packet costs in the datapath, by BPF_PROG_RUN: each program beside its
 * floor (a program of the same type that does nothing) in the same run. The best
 * of several rounds, in turn with the floor's, since machines are noisy.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "selftests/bench/floor.skel.h"
#include "selftests/prog/fixture.h"

#define INSIDE "100.0.0.1"
#define TARGET "10.0.0.1"
#define GATEWAY "200.0.0.254"
#define UDP 17
#define ESP 50

enum { PEER_ID = 100, ROUNDS = 7, REPEAT = 200000, ONE_BY_ONE = 2000, MANY_TUNNELS = 100000 };

static struct floor_bpf *floors;
static const __u8 payload[64] = {1, 2, 3, 4, 5, 6, 7, 8};

static double run_repeated(int program, const struct packet *packet, int expected, int repeat)
{
	static __u8 out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->data, .data_size_in = (__u32)packet->len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = repeat);

	assert_true(program >= 0);
	assert_int_equal(bpf_prog_test_run_opts(program, &opts), 0);
	assert_int_equal((int)opts.retval, expected);
	return opts.duration;
}

/*
 * Nanoseconds a packet, by the kernel's own count. One by one: for programs that change what they run on, as
 * bpf_skb_set_xfrm_info() does, which refuses a packet that has a destination; then it is the quickest of them.
 */
static double run(int program, const struct packet *packet, int expected, bool one_by_one)
{
	double best = 1e9;

	if (!one_by_one)
		return run_repeated(program, packet, expected, REPEAT);
	for (int i = 0; i < ONE_BY_ONE; i++) {
		double ns = run_repeated(program, packet, expected, 1);

		best = ns < best ? ns : best;
	}
	return best;
}

static void measure(const char *what, int program, int expected, int floor, int floor_verdict, const struct packet *packet,
		    bool one_by_one)
{
	double best = 1e9, floor_best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		double ns = run(program, packet, expected, one_by_one);
		double floor_ns = run(floor, packet, floor_verdict, one_by_one);

		best = ns < best ? ns : best;
		floor_best = floor_ns < floor_best ? floor_ns : floor_best;
	}
	printf("BENCH %-58s %7.0f ns  floor %5.0f ns  ratio %.1f\n", what, best, floor_best, best / floor_best);
}

static void floor_load(void)
{
	if (!floors)
		floors = floor_bpf__open_and_load();
	assert_non_null(floors);
}

static void measure_xdp(const char *what, struct fixture *f, const struct packet_spec *spec)
{
	struct packet packet;

	floor_load();
	packet_build(spec, &packet);
	measure(what, datapath_program_fd(f->dp, "hf_xdp_underlay"), XDP_PASS,
		bpf_program__fd(floors->progs.floor_xdp), XDP_PASS, &packet, false);
}

static void bench_xdp(void **state)
{
	struct fixture *f = fixture_begin();

	measure_xdp("XDP: an ordinary packet of the underlay", f,
		    &(struct packet_spec){.src = GATEWAY, .dst = US, .protocol = UDP, .sport = 9, .dport = 9,
					  .payload = payload, .payload_len = sizeof(payload)});
	measure_xdp("XDP: ESP, no heartbeat", f,
		    &(struct packet_spec){.src = GATEWAY, .dst = US, .protocol = ESP, .payload = payload,
					  .payload_len = sizeof(payload)});
}

static void measure_encrypt(const char *what, struct fixture *f)
{
	struct packet packet;

	packet_build(&(struct packet_spec){.src = INSIDE, .dst = TARGET, .protocol = UDP, .sport = 9, .dport = 9,
					   .payload = payload, .payload_len = sizeof(payload)}, &packet);
	floor_load();
	measure(what, datapath_program_fd(f->dp, "hf_tc_encrypt"), TC_ACT_OK, bpf_program__fd(floors->progs.floor_tc),
		TC_ACT_OK, &packet, true);
}

static void bench_encrypt(void **state)
{
	struct fixture *f = fixture_begin_xfrm();
	struct hf_prefix target = fixture_prefix(TARGET, 32);
	struct hf_addr gateway = fixture_addr(GATEWAY);

	assert_int_equal(datapath_set_peer(f->dp, PEER_ID, &gateway, HF_ROLE_GATEWAY), 0);
	assert_int_equal(datapath_set_tunnel(f->dp, &target, 1, 1), 0);
	assert_int_equal(datapath_steer(f->dp, 1, PEER_ID), 0);
	measure_encrypt("TC: classified and steered, one tunnel", f);
	for (__u32 i = 1; i < MANY_TUNNELS; i++) {
		struct hf_prefix prefix = fixture_prefix("11.0.0.0", 32);
		__u32 addr = (11u << 24) + i * 2;

		for (int b = 0; b < 4; b++)
			prefix.addr.b[12 + b] = (__u8)(addr >> (24 - 8 * b));
		assert_int_equal(datapath_set_tunnel(f->dp, &prefix, 2, 2), 0);
	}
	measure_encrypt("TC: classified and steered, 100,000 tunnels", f);
	assert_int_equal(datapath_steer(f->dp, 1, 0), 0);
	fixture_begin();
}

int main(void)
{
	static const struct CMUnitTest benches[] = {
		cmocka_unit_test(bench_xdp),
		cmocka_unit_test(bench_encrypt),
	};
	int failed = fixture_main("bench_datapath", &(struct fixture_table){.n = 0}, benches,
				  sizeof(benches) / sizeof(*benches));

	if (floors)
		floor_bpf__destroy(floors);
	return failed;
}
