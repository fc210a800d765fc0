/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loader/client_claim: how often a client's addresses are announced, claimed and given up, and by what is heard. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "loader/claim.h"
#include "loader/client_internal.h"
#include "loader/inner.h"
#include "loader/route.h"

/* What the kernel and the network are told is only counted here. */
static struct {
	unsigned int announced, added, deleted, answers, questions, rearmed;
	__u64 nonce; /* of the last question */
} done;

/* What the next look at any of the hearings finds; none: NULL. */
static const struct claim_arp *said;

int __wrap_claim_arp_open(int index);
int __wrap_claim_arp_announce(int fd, const struct hf_addr *addr, const __u8 mac[6]);
int __wrap_claim_arp_receive(int fd, struct claim_arp *ret_arp);
int __wrap_claim_add(struct netlink *nl, int index, const struct hf_prefix *prefix);
int __wrap_claim_delete(struct netlink *nl, int index, const struct hf_prefix *prefix);
int __wrap_route_announce(struct netlink *nl, int index, const struct hf_prefix *prefix);
int __wrap_route_withdraw(struct netlink *nl, int index, const struct hf_prefix *prefix);
int __wrap_datapath_rearm_claim(struct datapath *dp, __u32 if_id);
int __wrap_inner_control_send(const struct inner *inner, const struct hf_addr *from, const struct hf_addr *to,
			      const struct hf_control_wire *control);
struct peer *__wrap_peers_next(struct peers *peers, struct peer *peer);
void __wrap_peers_record(struct peer *peer);
void __wrap_eventlog_emit(struct eventlog *log, enum event_kind kind, json_t *fields, const char *format, ...);

int __wrap_claim_arp_open(int index)
{
	return eventfd(1, EFD_CLOEXEC); /* readable at all times */
}

int __wrap_claim_arp_announce(int fd, const struct hf_addr *addr, const __u8 mac[6])
{
	done.announced++;
	return 0;
}

int __wrap_claim_arp_receive(int fd, struct claim_arp *ret_arp)
{
	if (!said)
		return -EAGAIN;
	*ret_arp = *said;
	said = NULL;
	return 0;
}

int __wrap_claim_add(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	done.added++;
	return 0;
}

int __wrap_claim_delete(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	done.deleted++;
	return 0;
}

int __wrap_route_announce(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	return 0;
}

int __wrap_route_withdraw(struct netlink *nl, int index, const struct hf_prefix *prefix)
{
	return 0;
}

int __wrap_datapath_rearm_claim(struct datapath *dp, __u32 if_id)
{
	done.rearmed++;
	return 0;
}

int __wrap_inner_control_send(const struct inner *inner, const struct hf_addr *from, const struct hf_addr *to,
			      const struct hf_control_wire *control)
{
	done.answers += control->type == HF_CONTROL_ANSWER;
	done.questions += control->type == HF_CONTROL_PROBE;
	done.nonce = control->nonce;
	return 0;
}

/* Nobody else is outside in the client's addresses. */
struct peer *__wrap_peers_next(struct peers *peers, struct peer *peer)
{
	return NULL;
}

void __wrap_peers_record(struct peer *peer)
{
}

void __wrap_eventlog_emit(struct eventlog *log, enum event_kind kind, json_t *fields, const char *format, ...)
{
	json_decref(fields);
}

/* A gateway with two protected interfaces on one segment, and one client. */
struct world {
	struct node node;
	struct clients *clients;
	struct client *client;
	struct peer peer;
	struct event_base *base;
};

static struct hf_prefix prefix(const char *text, unsigned int len_v4)
{
	struct hf_prefix ret = { .len = (__u8)(96 + len_v4) };

	assert_int_equal(addr_parse(text, strlen(text), &ret.addr), 0);
	return ret;
}

static void world_open(struct world *world, unsigned int len_v4)
{
	static const struct policy policy;
	static const struct policy_table table;
	struct clients_config config = { .node = &world->node, .policy = &policy, .table = &table };

	memset(world, 0, sizeof(*world));
	memset(&done, 0, sizeof(done));
	world->base = config.base = event_base_new();
	world->node.n_protected = 2;
	world->node.protected[0] = (struct node_interface){ .index = 2, .mac = { 2, 0, 0, 0, 0, 1 } };
	world->node.protected[1] = (struct node_interface){ .index = 3, .mac = { 2, 0, 0, 0, 0, 2 } };
	assert_int_equal(clients_new(&config, &world->clients), 0);
	world->peer.inner[0] = prefix("10.1.2.0", len_v4);
	world->peer.remote = prefix("192.0.2.1", 32).addr;
	world->peer.n_inner = 1;
	world->client = calloc(1, sizeof(*world->client));
	assert_non_null(world->client);
	assert_int_equal(hold_new(&world->node.held_lost, &world->client->hold), 0);
	world->client->clients = world->clients;
	world->client->peer = &world->peer;
	world->client->timer = evtimer_new(world->base, client_announce_due, world->client);
	world->peer.owner = world->client;
	world->clients->first = world->client;
}

static void world_close(struct world *world)
{
	clients_free(world->clients);
	event_base_free(world->base);
}

static void control(struct world *world, enum hf_control_type type)
{
	clients_control(world->clients, &world->peer, &(struct hf_event){ .control = type }, true);
}

/* Lets timers run for a while, and does something in every round. */
static void run(struct world *world, unsigned int ms, void (*each)(struct world *world))
{
	__u64 end = clock_now_ns() + ms * CLOCK_NS_PER_MS;

	while (clock_now_ns() < end) {
		if (each)
			each(world);
		event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
}

static void probe(struct world *world)
{
	control(world, HF_CONTROL_PROBE);
}

static void probe_and_leave(struct world *world)
{
	control(world, HF_CONTROL_PROBE);
	control(world, HF_CONTROL_LEAVE);
}

/* At once, and after 100, 500 and 2000 ms, on both interfaces; on another probe from the beginning. */
static void test_repeats(void **state)
{
	struct world world;

	world_open(&world, 32);
	probe(&world);
	assert_true(world.client->claimed);
	assert_int_equal(done.announced, 2);
	run(&world, 300, NULL);
	assert_int_equal(done.announced, 4);
	probe(&world);
	assert_int_equal(done.announced, 6);
	run(&world, 300, NULL);
	assert_int_equal(done.announced, 8);
	assert_int_equal(done.added, 2);
	world_close(&world);
}

/* One that comes a moment after an announcement is answered, and the announcement repeated soon. */
static void test_second_probe(void **state)
{
	struct world world;

	world_open(&world, 32);
	probe(&world);
	probe(&world);
	assert_int_equal(done.answers, 2);
	assert_int_equal(done.announced, 2);
	run(&world, 300, NULL);
	assert_int_equal(done.announced, 4);
	world_close(&world);
}

/* Each probe is answered; announcements keep their pace, and the more addresses, the slower it is. */
static void test_flood(void **state)
{
	struct world world;

	world_open(&world, 32);
	run(&world, 1000, probe);
	assert_in_range(done.answers, 1000, ~0u);
	assert_in_range(done.announced, 2 * 5, 2 * 30);
	world_close(&world);

	world_open(&world, 24);
	for (; world.peer.n_inner < 16; world.peer.n_inner++) {
		world.peer.inner[world.peer.n_inner] = world.peer.inner[0];
		world.peer.inner[world.peer.n_inner].addr.b[14] += (__u8)world.peer.n_inner;
	}
	run(&world, 1000, probe);
	assert_in_range(done.announced, 2 * 4096, 6 * 2 * 4096);
	world_close(&world);
}

/* Leaving is heard each time; coming back waits, and is not forgotten. */
static void test_leaves_and_returns(void **state)
{
	struct world world;

	world_open(&world, 32);
	run(&world, 1000, probe_and_leave);
	assert_false(world.client->claimed);
	assert_in_range(done.added, 2 * 5, 2 * 30);
	assert_int_equal(done.deleted, done.added);
	world.client->announced_all_ns = clock_now_ns();
	probe(&world);
	assert_false(world.client->claimed);
	done.rearmed = 0;
	control(&world, HF_CONTROL_LEAVE);
	assert_int_equal(done.rearmed, 1); /* or its next packet would not be told */
	run(&world, 300, NULL);
	assert_false(world.client->claimed);

	world.client->announced_all_ns = clock_now_ns();
	probe_and_leave(&world);
	probe(&world);
	assert_false(world.client->claimed);
	run(&world, 300, NULL);
	assert_true(world.client->claimed);
	world_close(&world);
}

/* Another gateway's announcement ends the claim; that of our own other interface on the same segment does not. */
static void test_announced(void **state)
{
	struct claim_arp arp = { .announcement = true, .sender_mac = { 2, 0, 0, 0, 0, 2 } };
	struct world world;

	world_open(&world, 24);
	arp.sender = arp.target = prefix("10.1.2.77", 32).addr;
	probe(&world);
	for (unsigned int mac = 1; mac <= 3; mac++) {
		arp.sender_mac[5] = (__u8)mac;
		said = &arp;
		run(&world, 1, NULL);
		assert_null(said);
		assert_int_equal(world.client->claimed, mac < 3);
	}
	world_close(&world);
}

static void answer(struct world *world, __u64 nonce)
{
	clients_control(world->clients, &world->peer, &(struct hf_event){ .control = HF_CONTROL_ANSWER, .nonce = nonce }, true);
}

/* Without an underlay nothing is claimed; who is still there after it, in the same session, is claimed again. */
static void test_underlay_lost(void **state)
{
	struct world world;

	world_open(&world, 32);
	world.peer.up = true;
	world.peer.spi_in = 7;
	probe(&world);
	clients_underlay(world.clients, false);
	assert_false(world.client->claimed);
	assert_int_equal(done.deleted, 2);
	answer(&world, 0);
	run(&world, 200, NULL);
	assert_int_equal(done.questions, 0);
	clients_underlay(world.clients, true);
	assert_int_equal(done.questions, 1);
	run(&world, 200, NULL);
	assert_int_equal(done.questions, 2);
	answer(&world, done.nonce + 1);
	assert_false(world.client->claimed);
	answer(&world, done.nonce);
	assert_true(world.client->claimed);
	run(&world, 600, NULL);
	assert_int_equal(done.questions, 2);
	assert_int_equal(done.announced, 2 + 2 * 3);

	/* Another session: it had found us gone. */
	clients_underlay(world.clients, false);
	clients_underlay(world.clients, true);
	world.peer.spi_in = 8;
	answer(&world, done.nonce);
	assert_false(world.client->claimed);
	run(&world, 700, NULL);
	assert_int_equal(done.questions, 3);

	/* It has moved: asked no more. One that was not claimed is not asked at all. */
	probe(&world);
	clients_underlay(world.clients, false);
	clients_underlay(world.clients, true);
	control(&world, HF_CONTROL_LEAVE);
	answer(&world, done.nonce);
	assert_false(world.client->claimed);
	clients_underlay(world.clients, false);
	clients_underlay(world.clients, true);
	assert_int_equal(done.questions, 4);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_second_probe),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_leaves_and_returns),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_underlay_lost),
	};

	return cmocka_run_group_tests_name("client_claim", tests, NULL, NULL);
}
