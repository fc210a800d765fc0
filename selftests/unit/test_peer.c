/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Peers and clients over a kernel that keeps what they make, and fails where it is told to: halves of sessions that come,
 * are overtaken, and break off, at each step; and what is left of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "selftests/unit/peer_kernel.h"

#include "lib/log.h"
#include "policy/policy.h"

#define IDENTITY "[IDENTITY]\nCertificate = null\nPrivateKey = null\nTrustAnchors = null\n"
#define GATEWAYS "[CLUSTER]\nCluster1 = 192.0.2.9\n[TUNNEL]\nTunnel1 = 10.0.0.0/24 Cluster1\n"

static struct policy *policy, *without_peers;
static struct policy_table *table, *table_without;
static struct node node;
static struct event_base *base;
static struct peers *peers;
static struct clients *clients;
static struct eventlog *events;
static unsigned int renewals_wanted, ended;

static struct hf_addr v4(const char *text)
{
	return addr_from_be32(inet_addr(text));
}

static void on_expiry(void *context, struct peer *peer, bool renew)
{
	renewals_wanted += renew;
	ended += !renew;
}

static bool slot_is_taken(void *context, __u32 slot)
{
	return false;
}

static int start(void **state)
{
	struct clients_config config = { .node = &node, .first_slot = 2, .slot_is_taken = slot_is_taken };

	memset(&kernel, 0, sizeof(kernel));
	memset(&node, 0, sizeof(node));
	renewals_wanted = ended = 0;
	base = event_base_new();
	assert_int_equal(eventlog_new(&events), 0);
	assert_int_equal(peers_new(base, &node, on_expiry, NULL, &peers), 0);
	config.base = base;
	config.peers = peers;
	config.log = events;
	config.policy = policy;
	config.table = table;
	assert_int_equal(clients_new(&config, &clients), 0);
	return 0;
}

/* Whatever a test did: nothing of it is left. */
static int stop(void **state)
{
	clients_free(clients);
	peers_free(peers);
	assert_int_equal(kernel_count_states(), 0);
	assert_int_equal(kernel_count(kernel.policies) + kernel_count(kernel.peers) + kernel_count(kernel.outer) +
			 kernel_count(kernel.sessions), 0);
	eventlog_free(events);
	event_base_free(base);
	return 0;
}

static void parse(const char *text, struct policy **ret_policy, struct policy_table **ret_table)
{
	struct policy_report report = { 0 };

	assert_int_equal(policy_parse(text, strlen(text), &report, ret_policy), 0);
	assert_int_equal(policy_compile(*ret_policy, ret_table), 0);
	policy_report_clear(&report);
}

static int set_up(void **state)
{
	log_init("test", LOG_LEVEL_ERROR);
	parse(IDENTITY GATEWAYS "[PEER]\nPeer1 = 10.7.0.0/16 alice\n", &policy, &table);
	parse(IDENTITY GATEWAYS, &without_peers, &table_without);
	return 0;
}

static int tear_down(void **state)
{
	policy_table_free(table);
	policy_table_free(table_without);
	policy_free(policy);
	policy_free(without_peers);
	return 0;
}

/* The number is the KMS's, and makes the SPIs. */
static struct kms_session session_of(enum kms_role role, __u32 number)
{
	struct kms_session session = {
		.id = number, .local = v4("192.0.2.1"), .remote = v4("203.0.113.5"), .spi_in = 0x1000 + number,
		.spi_out = 0x2000 + number, .lifetime_s = 600, .role = (__u8)role, .algorithm = KMS_AES_256_GCM,
		.encapsulation = KMS_ENCAP_ESP, .key_len = 36, .proven = 1, .n_inner = 1, .name = "alice",
	};

	session.inner[0] = (struct hf_prefix){ .addr = v4("10.7.0.0"), .len = 120 };
	return session;
}

/* alice dials us. */
static struct kms_session alice(__u32 number)
{
	return session_of(KMS_RESPONDER, number);
}

/* Somebody else with this state. */
static void take_spi(const struct hf_addr *local, __u32 spi)
{
	struct xfrm_state_spec spec = { .way = XFRM_WAY_IN, .local = *local, .spi = spi };

	assert_int_equal(__wrap_xfrm_state_add(NULL, &spec), 0);
}

static void give_spi(const struct hf_addr *local, __u32 spi)
{
	__wrap_xfrm_state_delete(NULL, local, spi);
}

static struct peer *pending(__u32 number)
{
	return peers_by_pending(peers, number);
}

static void bring_up(const struct kms_session *session)
{
	assert_int_equal(clients_install(clients, session), 0);
	assert_non_null(pending((__u32)session->id));
	assert_int_equal(clients_activate(clients, pending((__u32)session->id)), 0);
}

/* We dial this gateway. */
static struct peer *dial(struct peer *known, __u32 number)
{
	struct kms_session session = session_of(KMS_INITIATOR, number);
	struct peer *peer;

	assert_int_equal(peers_install(peers, known, &session, &peer), 0);
	return peer;
}

static struct peer *gateway_up(__u32 number)
{
	struct peer *peer = dial(NULL, number);

	assert_int_equal(peers_activate(peer), 0);
	return peer;
}

/* How long until new keys are wanted, in ms. */
static long long due_ms(const struct peer *peer)
{
	struct timeval due, now;

	assert_true(event_pending(peer->expiry, EV_TIMEOUT, &due));
	gettimeofday(&now, NULL);
	return (due.tv_sec - now.tv_sec) * 1000LL + (due.tv_usec - now.tv_usec) / 1000;
}

static bool is_there(const struct hf_addr *dst, __u32 spi)
{
	return kernel_state(dst, spi);
}

/* What goes out, and whose own words are believed. */
static bool leads_to(const struct peer *peer, const struct hf_addr *remote)
{
	const struct kernel_entry *policies = kernel_entry(kernel.policies, peer->if_id, NULL);
	const struct kernel_entry *entry = kernel_entry(kernel.peers, peer->if_id, NULL);

	return policies && entry && addr_equal(&policies->addr, remote) && addr_equal(&entry->addr, remote);
}

/* ---- the first half, failing at each step ---- */

/* An exchange that cannot be installed takes nothing from the one that waits. */
static void keeps_the_half_that_waits(void **state)
{
	struct kms_session first = alice(1), second = alice(2);
	struct kms_session udp = alice(3);

	assert_int_equal(clients_install(clients, &first), 0);
	take_spi(&second.local, second.spi_in);
	assert_int_equal(clients_install(clients, &second), -EEXIST);
	give_spi(&second.local, second.spi_in);
	second.spi_in = first.spi_in;
	assert_int_equal(clients_install(clients, &second), -EEXIST);
	udp.encapsulation = KMS_ENCAP_UDP;
	kernel.fail_at = kernel.calls + 1; /* port 4500 */
	assert_int_equal(clients_install(clients, &udp), -ENOMEM);
	assert_non_null(pending(1));
	assert_true(is_there(&first.local, first.spi_in));
	assert_int_equal(clients_activate(clients, pending(1)), 0);
}

/* And what waits goes as it came, by a reload as well. */
static void gives_up_the_half_that_waits(void **state)
{
	struct kms_session first = alice(1), second = alice(2);

	assert_int_equal(clients_install(clients, &first), 0);
	take_spi(&second.local, second.spi_in);
	assert_int_equal(clients_install(clients, &second), -EEXIST);
	give_spi(&second.local, second.spi_in);
	clients_change_policy(clients, without_peers, table_without);
	assert_null(peers_next(peers, NULL));
	assert_false(clients_any(clients));
	assert_int_equal(kernel_count(kernel.tunnels) + kernel_count(kernel.routes) + kernel_count(kernel.members), 0);
}

/* One that is overtaken before it was up: only the newer one waits. */
static void the_newer_exchange_wins(void **state)
{
	struct kms_session first = alice(1), second = alice(2);

	assert_int_equal(clients_install(clients, &first), 0);
	assert_int_equal(clients_install(clients, &second), 0);
	assert_null(pending(1));
	assert_non_null(pending(2));
	assert_false(is_there(&first.local, first.spi_in));
	assert_int_equal(clients_activate(clients, pending(2)), 0);
	assert_int_equal(kernel_count_states(), 2);
}

enum before { NOBODY, WAITING, UP, BEFORES };

/* Each call to the kernel fails once, for whoever is there: then all is as it was, and the next exchange comes to its end. */
static void fails_at_any_step(enum before before, unsigned int step, bool *ret_failed)
{
	struct kms_session first = alice(1), second = alice(2), third = alice(3);
	const struct hf_addr elsewhere = v4("198.51.100.66");
	struct peer *peer;
	int err;

	if (before == WAITING)
		assert_int_equal(clients_install(clients, &first), 0);
	else if (before == UP)
		bring_up(&first);
	second.remote = elsewhere;
	second.encapsulation = KMS_ENCAP_UDP;
	kernel.fail_at = kernel.calls + step;
	err = clients_install(clients, &second);
	*ret_failed = err;
	assert_true(!err || err == -ENOMEM);
	peer = peers_next(peers, NULL);
	if (err && before == NOBODY)
		assert_null(peer);
	if (err)
		assert_false(is_there(&second.local, second.spi_in));
	if (before == UP) {
		assert_true(peer->up && addr_equal(&peer->remote, &first.remote));
		assert_true(is_there(&first.local, first.spi_in) && is_there(&first.remote, first.spi_out));
		assert_true(leads_to(peer, &first.remote));
	}
	if (err && before == WAITING && pending(1))
		assert_true(leads_to(peer, &first.remote));
	kernel.fail_at = 0;
	bring_up(&third);
	peer = peers_next(peers, NULL);
	assert_null(peers_next(peers, peer));
	assert_true(peer->up && peer->spi_in == third.spi_in && !peer->pending);
	assert_true(leads_to(peer, &third.remote));
	clients_session_end(clients, peer, "the test is over");
	assert_false(clients_any(clients));
	assert_int_equal(kernel_count(kernel.tunnels) + kernel_count(kernel.routes) + kernel_count(kernel.members), 0);
}

static void installs_whole_or_not_at_all(void **state)
{
	for (enum before before = NOBODY; before < BEFORES; before++) {
		bool failed = true;
		unsigned int step = 1;

		for (; failed; step++) {
			fails_at_any_step(before, step, &failed);
			stop(state);
			start(state);
		}
		assert_true(step > 5);
	}
}

/* ---- a client with other addresses than before ---- */

/* The session before ends when the new one is installed, and not by an exchange that cannot be. */
static void ends_a_session_for_one_that_is_there(void **state)
{
	struct kms_session first = alice(1), second = alice(2);
	struct peer *peer;

	bring_up(&first);
	peer = peers_next(peers, NULL);
	second.n_inner = 2;
	second.inner[1] = (struct hf_prefix){ .addr = v4("10.7.1.0"), .len = 120 };
	take_spi(&second.local, second.spi_in);
	assert_int_equal(clients_install(clients, &second), -EEXIST);
	give_spi(&second.local, second.spi_in);
	assert_ptr_equal(peers_next(peers, NULL), peer);
	assert_true(peer->up);
	assert_int_equal(kernel_count(kernel.tunnels), 1);
	bring_up(&second);
	peer = peers_next(peers, NULL);
	assert_null(peers_next(peers, peer));
	assert_int_equal(peer->n_inner, 2);
	assert_int_equal(kernel_count(kernel.tunnels), 2);
	assert_int_equal(kernel_count_states(), 2);
}

/* ---- a renewal from another address ---- */

/* What is in use stays so until the exchange has come to its end, and if it does not. */
static void leads_elsewhere_when_it_is_certain(void **state)
{
	struct kms_session first = alice(1), second = alice(2), third = alice(3);
	struct peer *peer;

	bring_up(&first);
	peer = peers_next(peers, NULL);
	second.remote = third.remote = v4("198.51.100.66");
	assert_int_equal(clients_install(clients, &second), 0);
	assert_true(leads_to(peer, &first.remote));
	clients_abandon(clients, pending(2));
	assert_true(peer->up && leads_to(peer, &first.remote));
	bring_up(&third);
	assert_true(leads_to(peer, &third.remote) && addr_equal(&peer->remote, &third.remote));
}

/* Each call of the second half fails once: what was in use is in use. */
static void activates_whole_or_not_at_all(void **state)
{
	for (unsigned int step = 1; step <= 3; step++) {
		struct kms_session first = alice(1), second = alice(2);
		struct peer *peer;

		bring_up(&first);
		peer = peers_next(peers, NULL);
		second.remote = v4("198.51.100.66");
		assert_int_equal(clients_install(clients, &second), 0);
		kernel.fail_at = kernel.calls + step;
		assert_int_equal(clients_activate(clients, pending(2)), -ENOMEM);
		assert_true(peer->up && peer->spi_out == first.spi_out && leads_to(peer, &first.remote));
		assert_false(is_there(&second.remote, second.spi_out));
		clients_abandon(clients, pending(2));
		assert_int_equal(kernel_count_states(), 2);
		stop(state);
		start(state);
	}
}

/* From 6.13 on a policy holds on to the state that it has used: a renewal writes it anew. */
static void writes_policies_anew_with_each_key(void **state)
{
	struct peer *peer = gateway_up(1);
	unsigned int written = kernel.policies_written;

	dial(peer, 2);
	assert_int_equal(kernel.policies_written, written);
	assert_int_equal(peers_activate(peer), 0);
	assert_int_equal(kernel.policies_written, written + 1);
}

/* ---- what heals a session of which the two ends use different keys ---- */

/* DONE was lost: the other end uses the new keys, whoever asked for them. */
static void begins_anew_after_a_broken_renewal(void **state)
{
	struct peer *peer = gateway_up(1);

	assert_true(due_ms(peer) > 60000);
	dial(peer, 2);
	assert_false(peers_abandon(peer));
	assert_true(is_there(&peer->local, 0x1002));
	assert_in_range(due_ms(peer), 0, 1000);
	/* The next one comes through. */
	dial(peer, 3);
	assert_int_equal(peers_activate(peer), 0);
	assert_true(due_ms(peer) > 60000);
	/* Overtaken is broken off, too. */
	dial(peer, 4);
	dial(peer, 5);
	assert_in_range(due_ms(peer), 0, 1000);
}

/* The same, and killed: nobody knows what the state is for. */
static void begins_anew_after_a_crash_in_a_renewal(void **state)
{
	struct peer *peer = gateway_up(1);
	struct kms_session session = session_of(KMS_INITIATOR, 2);
	struct xfrm_state_spec left = { .way = XFRM_WAY_IN, .local = session.local, .remote = session.remote,
					.spi = session.spi_in, .if_id = peer->if_id };
	size_t n;

	assert_int_equal(__wrap_xfrm_state_add(NULL, &left), 0);
	assert_int_equal(peers_sweep(peers, &n), 0);
	assert_int_equal(n, 1);
	assert_true(is_there(&session.local, session.spi_in));
	assert_in_range(due_ms(peer), 0, 1000);
}

/* Exchanges broke off, and one came through here: its last message may be lost as well, and the other end go on as before. */
static void keeps_what_is_used_though_another_came_through(void **state)
{
	struct timeval look = { .tv_sec = PEER_LINGER_MS / 1000, .tv_usec = 300000 };
	struct peer *peer = gateway_up(1);

	for (__u32 number = 2; number <= 3; number++) {
		dial(peer, number);
		assert_false(peers_abandon(peer));
	}
	dial(peer, 4);
	assert_int_equal(peers_activate(peer), 0);
	kernel.later_ns += 2 * PEER_LINGER_MS * CLOCK_NS_PER_MS;
	kernel_state(&peer->local, 0x1002)->use.packets = 5;
	event_base_loopexit(base, &look);
	event_base_dispatch(base);
	assert_true(is_there(&peer->local, 0x1002));
	assert_false(is_there(&peer->local, 0x1003));
}

/* An outbound state that the run before added so many seconds after that of the record, or before. */
static __u32 left_outbound(const struct peer *peer, int later_s)
{
	struct kms_session session = session_of(KMS_INITIATOR, 2);
	struct xfrm_state_spec left = { .way = XFRM_WAY_OUT, .local = session.local, .remote = session.remote,
					.spi = session.spi_out, .if_id = peer->if_id };
	__u64 recorded_s = kernel_state(&peer->remote, peer->spi_out)->use.added_s;

	assert_int_equal(__wrap_xfrm_state_add(NULL, &left), 0);
	kernel_state(&left.remote, left.spi)->use.added_s = recorded_s + (__u64)later_s;
	return left.spi;
}

/* Killed between the outbound state and the record: the state is in use. Whichever of the two the list begins with. */
static void goes_on_with_the_state_that_is_in_use(void **state)
{
	struct peer *peer = gateway_up(1);
	__u32 before = peer->spi_out, later = left_outbound(peer, 1);
	struct hf_addr remote = peer->remote;
	size_t n;

	assert_int_equal(peers_sweep(peers, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(peer->spi_out, later);
	assert_int_equal(kernel_entry(kernel.sessions, peer->if_id, NULL)->value, later);
	assert_true(is_there(&remote, later) && is_there(&remote, before));
	assert_in_range(due_ms(peer), 0, 1000);
	peers_end_fading(peers);
	assert_false(is_there(&remote, before));
}

static void goes_on_with_the_state_of_the_record(void **state)
{
	for (int later_s = -1; later_s <= 0; later_s++) {
		struct peer *peer = gateway_up(1);
		__u32 before = peer->spi_out, other = left_outbound(peer, later_s);
		size_t n;

		assert_int_equal(peers_sweep(peers, &n), 0);
		assert_int_equal(n, 1);
		assert_int_equal(peer->spi_out, before);
		assert_false(is_there(&peer->remote, other));
		stop(state);
		start(state);
	}
}

/* ---- a port that is translated ---- */

static struct peer *behind_a_translator(__u32 number)
{
	struct kms_session session = session_of(KMS_INITIATOR, number);
	struct peer *peer = peers_next(peers, NULL);

	session.encapsulation = KMS_ENCAP_UDP;
	assert_int_equal(peers_install(peers, peer, &session, &peer), 0);
	assert_int_equal(peers_activate(peer), 0);
	return peer;
}

/* The port where the packets come from is where the peer is, whichever of the states they come through. */
static void follows_the_port_of_the_state_before(void **state)
{
	struct peer *peer = behind_a_translator(1);
	struct mapping_change change = { .if_id = peer->if_id, .spi = peer->spi_in, .remote = peer->remote, .port = 20001 };

	behind_a_translator(2);
	assert_int_equal(peer->spi_in, 0x1002);
	peers_follow(peers, &change);
	assert_int_equal(peer->port, 20001);
	assert_int_equal(kernel_state(&peer->remote, peer->spi_out)->spec.encap_remote, 20001);
	assert_non_null(kernel_entry(kernel.outer, 20001, &peer->remote));
	change.spi = 0x1009; /* nobody's */
	change.port = 20002;
	peers_follow(peers, &change);
	assert_int_equal(peer->port, 20001);
}

static void move_to(struct peer *peer, __u16 port)
{
	peers_follow(peers, &(struct mapping_change){ .if_id = peer->if_id, .spi = peer->spi_in, .remote = peer->remote,
						      .port = port });
	assert_int_equal(peer->port, port);
}

/* The kernel ends a state when add_time + lifetime is over, by the clock of the day. */
static __s64 ends_in_s(const struct hf_addr *dst, __u32 spi)
{
	const struct kernel_state *state = kernel_state(dst, spi);

	return (__s64)state->use.added_s + state->spec.lifetime_s - (__s64)__wrap_time(NULL);
}

/* However the clock of the day has jumped, a state that is moved ends when it would have. */
static void moves_a_state_and_not_its_end(void **state)
{
	struct peer *peer = behind_a_translator(1);

	kernel.later_ns += 100 * CLOCK_NS_PER_S;
	move_to(peer, 20001);
	assert_in_range(ends_in_s(&peer->local, peer->spi_in), 499, 501);
	kernel.day_s = 365 * 86400;
	move_to(peer, 20002);
	assert_in_range(ends_in_s(&peer->local, peer->spi_in), 499, 501);
	assert_in_range(ends_in_s(&peer->remote, peer->spi_out), 499, 501);
	kernel.day_s = -50;
	move_to(peer, 20003);
	assert_in_range(ends_in_s(&peer->local, peer->spi_in), 499, 501);
	/* Not before. */
	kernel.day_s = -365 * 86400;
	move_to(peer, 20004);
	assert_true(ends_in_s(&peer->local, peer->spi_in) > 500);
}

/* ---- limits of which the kernel could not tell ---- */

static void renews_what_was_spent_before_it_was_up(void **state)
{
	struct peers_limits limits = { .rekey_ms = 600000, .bytes = 1 << 20, .packets = 1000 };
	struct peer *peer;

	peers_set_limits(peers, &limits);
	peer = dial(NULL, 1);
	peers_on_limit(peers, NULL); /* some notices were lost; not of this one */
	assert_false(peer->pending_spent);
	kernel_state(&peer->local, 0x1001)->use.packets = 1000;
	peers_on_limit(peers, NULL);
	assert_int_equal(peers_activate(peer), 0);
	assert_in_range(due_ms(peer), 0, 100);
}

/* ---- what only seems to be gone ---- */

static void asks_again_before_it_takes_a_state_for_gone(void **state)
{
	struct peer *peer = gateway_up(1);

	dial(peer, 2);
	kernel.read_error = -ENOBUFS;
	assert_true(peers_stand(peer) && peers_pending_stands(peer));
	kernel.read_error = 0;
	assert_true(peers_stand(peer) && peers_pending_stands(peer));
	give_spi(&peer->local, peer->spi_in);
	assert_false(peers_stand(peer));
}

/* ---- the end of a run ---- */

/* A start that fails leaves all as it is: what fades, too. */
static void leaves_what_fades(void **state)
{
	struct peer *peer = gateway_up(1);
	struct hf_addr local = peer->local, remote = peer->remote;

	dial(peer, 2);
	assert_int_equal(peers_activate(peer), 0);
	node.leave = true;
	peers_free(peers);
	peers = NULL;
	assert_true(is_there(&local, 0x1001) && is_there(&remote, 0x2001));
	assert_true(is_there(&local, 0x1002) && is_there(&remote, 0x2002));
	memset(&kernel, 0, sizeof(kernel));
	node.leave = false;
	assert_int_equal(peers_new(base, &node, on_expiry, NULL, &peers), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		CASE(keeps_the_half_that_waits),
		CASE(gives_up_the_half_that_waits),
		CASE(the_newer_exchange_wins),
		CASE(installs_whole_or_not_at_all),
		CASE(ends_a_session_for_one_that_is_there),
		CASE(leads_elsewhere_when_it_is_certain),
		CASE(activates_whole_or_not_at_all),
		CASE(writes_policies_anew_with_each_key),
		CASE(begins_anew_after_a_broken_renewal),
		CASE(begins_anew_after_a_crash_in_a_renewal),
		CASE(keeps_what_is_used_though_another_came_through),
		CASE(goes_on_with_the_state_that_is_in_use),
		CASE(goes_on_with_the_state_of_the_record),
		CASE(follows_the_port_of_the_state_before),
		CASE(moves_a_state_and_not_its_end),
		CASE(renews_what_was_spent_before_it_was_up),
		CASE(asks_again_before_it_takes_a_state_for_gone),
		CASE(leaves_what_fades),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
