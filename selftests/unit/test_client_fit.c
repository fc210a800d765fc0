/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An inner address at which somebody else is reached outside: whose it may be, and when it is announced. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/client_internal.h"
#include "loader/peer_internal.h"

#define V4(...) { .b = { [10] = 0xff, 0xff, __VA_ARGS__ } }

static const struct hf_addr alice_outside = V4(198, 51, 100, 7), mallory_outside = V4(203, 0, 113, 66);
static struct policy *policy;
static struct peer alice, mallory;
static struct peers peers = { .first = &alice };
static struct clients clients = { .config = { .peers = &peers } };

static int set_up(void **state)
{
	static const char text[] = "[IDENTITY]\nCertificate = a\nPrivateKey = a\nTrustAnchors = a\n"
				   "[PEER]\nPeer1 = 198.51.100.0/24 site\n";
	struct policy_report report = { 0 };

	assert_int_equal(policy_parse(text, sizeof(text) - 1, &report, &policy), 0);
	policy_report_clear(&report);
	clients.config.policy = policy;
	alice = (struct peer){ .peers = &peers, .role = HF_ROLE_CLIENT, .remote = alice_outside, .name = "alice", .next = &mallory };
	mallory = (struct peer){ .peers = &peers, .role = HF_ROLE_CLIENT, .remote = mallory_outside, .name = "mallory" };
	return 0;
}

static int tear_down(void **state)
{
	policy_free(policy);
	return 0;
}

static struct kms_session session_of(const char *name, const struct hf_addr *remote, const struct hf_prefix *inner)
{
	struct kms_session session = { .role = KMS_RESPONDER, .remote = *remote, .n_inner = 1, .inner = { *inner } };

	strcpy(session.name, name);
	return session;
}

static void refuses_where_somebody_else_is_outside(void **state)
{
	const struct hf_prefix inner = prefix_of_host(&alice_outside);
	struct kms_session session = session_of("mallory", &mallory_outside, &inner);

	assert_int_equal(clients_check_outside(&clients, &session, 0), -EADDRINUSE);
	assert_int_equal(clients_check_outside(&clients, &session, 1), 0); /* the policy tunnels it there */
	/* Her own; also from elsewhere, while the session before stands. */
	session = session_of("alice", &alice_outside, &inner);
	assert_int_equal(clients_check_outside(&clients, &session, 0), 0);
	session.remote = mallory_outside;
	assert_int_equal(clients_check_outside(&clients, &session, 0), 0);
	session = session_of("site", &mallory_outside, &inner);
	assert_int_equal(clients_check_outside(&clients, &session, 0), 0); /* by [PEER] */
}

static bool announced(struct peer *peer)
{
	const struct client client = { .clients = &clients, .peer = peer };

	return client_is_announced(&client, 0);
}

static void announces_nobody_elses(void **state)
{
	mallory.inner[0] = prefix_of_host(&alice_outside);
	mallory.n_inner = 1;
	assert_false(announced(&mallory));
	alice.remote = (struct hf_addr)V4(198, 51, 100, 8);
	assert_true(announced(&mallory));
	alice.remote = alice_outside;
	strcpy(mallory.name, "site");
	assert_true(announced(&mallory));
	/* Its own outer address never. */
	mallory.remote = alice_outside;
	assert_false(announced(&mallory));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refuses_where_somebody_else_is_outside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(announces_nobody_elses, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
