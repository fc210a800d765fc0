/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the first byte of an input of fuzz_netlink.c says; for that target and for seeds.c. */
#ifndef HF_SELFTESTS_FUZZ_NETLINK_H
#define HF_SELFTESTS_FUZZ_NETLINK_H

enum netlink_requests {
	NETLINK_ASK_LINK,
	NETLINK_ASK_FIRST_V4,
	NETLINK_ASK_PATH,
	NETLINK_ASK_STATE,
	NETLINK_ASK_XFRM_FLUSH,
	NETLINK_ASK_STATES,
	NETLINK_ASK_ROUTE_FLUSH,
	NETLINK_ASK_CLAIM_FLUSH,
	NETLINK_ASK_POLICIES,
	NETLINK_ASK_PROBE,
	NETLINK_ASK_PROBE_TUNNEL,
	NETLINK_ASK_REPLAY,
	NETLINK_HEAR_MONITOR,
	NETLINK_HEAR_MAPPING,
	NETLINK_HEAR_ARP,
	NETLINK_REQUESTS
};

/* The sequence number of a message that answers another request. */
#define NETLINK_FOREIGN 0x77777777u

#endif
