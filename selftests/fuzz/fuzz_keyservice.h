/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The policy and the request that a session must fit in fuzz_keyservice.c; for that target and for seeds.c. */
#ifndef HF_SELFTESTS_FUZZ_KEYSERVICE_H
#define HF_SELFTESTS_FUZZ_KEYSERVICE_H

#define KEYSERVICE_V4(i, j, k, l) { .b = { [10] = 0xff, 0xff, i, j, k, l } }

#define KEYSERVICE_US KEYSERVICE_V4(192, 0, 2, 1)
#define KEYSERVICE_GATEWAY KEYSERVICE_V4(192, 0, 2, 9)
#define KEYSERVICE_PEER "client"
#define KEYSERVICE_PEER_FIRST KEYSERVICE_V4(10, 7, 0, 0)
#define KEYSERVICE_PEER_LAST KEYSERVICE_V4(10, 7, 255, 255)

#define KEYSERVICE_WORKERS 2

/* The identity's three files follow, and the number of workers; and then, in one of two policies, KEYSERVICE_PEERS. */
#define KEYSERVICE_POLICY                                 \
	"[IDENTITY]\nCertificate = %s\nPrivateKey = %s\n" \
	"TrustAnchors = %s\n"                             \
	"[CLUSTER]\nCluster1 = 192.0.2.9 192.0.2.10\n"   \
	"[TUNNEL]\nTunnel1 = 10.0.0.0/24 Cluster1\n"      \
	"[INTERFACE]\nKeyServiceWorkers = %d\n"
#define KEYSERVICE_PEERS "[PEER]\nPeer1 = 10.7.0.0/16 client\n"

enum keyservice_flags {
	KEYSERVICE_AS_IT_IS = 1, /* the body is not filled up */
	KEYSERVICE_FDS = 2,	 /* with as many descriptors as the upper three bits say */
};
#define KEYSERVICE_WORKER_SHIFT 2 /* two bits: who says it */

/* Records that are not of the link: what holdfastd does. */
enum keyservice_doing {
	KEYSERVICE_ASK = 0x80, /* asks for a session, if none is asked for */
	KEYSERVICE_CANCEL,
	KEYSERVICE_RELOAD, /* hands the identity over anew */
	KEYSERVICE_CHANGE, /* takes the other of the two policies */
	KEYSERVICE_WAIT,   /* for so long that who owes an answer has been silent for too long */
};

#endif
