/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tests of the BPF programs share: a datapath of their own in a
 * network namespace of their own, packets from a description, and one run of a
 * program with everything that came of it. Nothing is attached or pinned.
 */
#ifndef HF_SELFTESTS_PROG_FIXTURE_H
#define HF_SELFTESTS_PROG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/types.h>

#include "loader/datapath.h"

#define PACKET_MAX 4096
#define FIXTURE_EVENTS_MAX 8
#define FIXTURE_SLOTS 16 /* slots that tests may use */
#define FIXTURE_PER_SECOND 1
#define FIXTURE_BURST 4
#define FIXTURE_KMS_PORT 7546

#define US "192.0.2.1"		 /* an address of the namespace */
#define ELSEWHERE "198.51.100.9" /* routed, not ours */

/* A packet, described. Zero means the usual: ttl 64, no options, no tail. */
struct packet_spec {
	unsigned int vlans; /* 0 to 3 tags; the outer of several is 802.1ad */
	__u16 ethertype;    /* of the innermost tag; 0: IPv4 */
	const char *src;
	const char *dst;
	unsigned int options; /* 32-bit words */
	__u8 ttl;
	bool ttl_zero;
	__u8 protocol;
	__u16 frag;  /* host order: flags and offset */
	__u16 sport; /* with dport: a UDP header, or the start of a TCP one */
	__u16 dport;
	const void *payload;
	size_t payload_len;
	size_t tail;	 /* bytes of the frame behind the IPv4 packet */
	bool mac_turned; /* destination and source exchanged */
	bool mac_group;	 /* sent to a group */
};

struct packet {
	__u8 data[PACKET_MAX];
	size_t len;
	size_t ip;	/* where each begins */
	size_t payload; /* behind the UDP header, if there is one */
};

void packet_build(const struct packet_spec *spec, struct packet *ret_packet);
/* After an edit of the IPv4 header. */
void packet_fix_ip_checksum(struct packet *packet);

struct fixture {
	struct datapath *dp;
	bool has_xfrm;
	const char *unable; /* why nothing can be run, or NULL */
	struct hf_event events[FIXTURE_EVENTS_MAX];
	__u8 held[FIXTURE_EVENTS_MAX][HF_HOLD_MAX];
	size_t n_events;
};

/* Group set-up and tear-down: one datapath for all tests of a program. state is not used. */
int fixture_open(void **state);
int fixture_close(void **state);

#define FIXTURE_TESTS_MAX 128

/* Runs a group: one test for each row of a table (state: the row), then the others. Returns main()'s result. */
struct fixture_table {
	const void *rows;
	size_t n;
	size_t row_size; /* each row begins with the test's name, a const char * */
	CMUnitTestFunction test;
};

int fixture_main(const char *group, const struct fixture_table *table, const struct CMUnitTest *others,
		 size_t n_others);

/* For the start of each test: skips it, with the reason, where it cannot run; empties the maps. */
struct fixture *fixture_begin(void);
/* Likewise, for tests that need the XFRM kfuncs. */
struct fixture *fixture_begin_xfrm(void);

struct run_result {
	int verdict; /* as the program returned it */
	__u8 data[PACKET_MAX];
	size_t len;
	__u32 mark;
};

struct run_options {
	__u32 mark;
	__u32 gso_size;
	__u32 ingress; /* ifindex that it came in on */
	__u32 as_peer; /* cb[0], for the program that plays a peer */
};

/* Runs one packet through a program by its descriptor. Fails the test when the kernel refuses to. */
void fixture_run_xdp(int program, const struct packet *packet, struct run_result *ret);
void fixture_run_tc(int program, const struct packet *packet, const struct run_options *options,
		    struct run_result *ret);

/* Fails the test unless reason was counted once and nothing else was; -1: nothing at all. Starts anew. */
void fixture_assert_drops(struct fixture *fixture, int reason);

/* Takes what is in the ring buffer into fixture->events. */
void fixture_take_events(struct fixture *fixture);

/* Events go to the fixture again, after a test that took them itself. */
void fixture_listen(struct fixture *fixture);

struct hf_addr fixture_addr(const char *text);
struct hf_prefix fixture_prefix(const char *text, unsigned int len_v4);

#endif
