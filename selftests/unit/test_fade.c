/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What stays for a while of exchanges that broke off is bounded, for each peer. */
#include "selftests/unit/space.h"

#include <event2/event.h>
#include <linux/netlink.h>

#include "lib/clock.h"
#include "loader/netlink.h"
#include "loader/peer_internal.h"

#define MOST 16
#define FLOOD 500

/* As many timers as states that fade. */
static int fading(const struct peers *peers)
{
	return event_base_get_num_events(peers->base, EVENT_BASE_COUNT_ADDED);
}

/* One peer has no end of them; the other's few are left alone. */
static void keeps_the_newest_of_each_peer(void **state)
{
	struct node node = { 0 };
	struct peers peers = { .node = &node };
	struct peer few = { .peers = &peers, .if_id = 1 }, many = { .peers = &peers, .if_id = 2 };
	const struct hf_addr local = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };

	space_enter_new();
	if (netlink_open(NETLINK_XFRM, &node.xfrm))
		space_skip("this kernel has no XFRM");
	peers.base = event_base_new();
	assert_non_null(peers.base);
	for (__u32 spi = 0x1000; spi < 0x1003; spi++)
		peer_fade_inbound(&few, &local, spi, clock_now_ns());
	assert_int_equal(fading(&peers), 3);
	for (__u32 spi = 0x2000; spi < 0x2000 + FLOOD; spi++)
		peer_fade_inbound(&many, &local, spi, clock_now_ns());
	assert_int_equal(fading(&peers), 3 + MOST);
	peers_end_fading(&peers);
	assert_int_equal(fading(&peers), 0);
	event_base_free(peers.base);
	netlink_close(node.xfrm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_newest_of_each_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
