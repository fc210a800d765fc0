/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long what belongs to a session stays, and when it is renewed: the times of
 * peer*.c, apart from them for the simulation, whose model of peers keeps them too.
 */
#ifndef HF_LOADER_PEER_LIMITS_H
#define HF_LOADER_PEER_LIMITS_H

/*
 * The states of a session that was replaced stay for a while: the inbound one for packets under way, the outbound one for
 * those that another CPU is encrypting with it at this moment, which would be lost. An inbound one stays longer while nothing
 * has come through its successor: where the exchange broke off at its last message, the other end still sends the old way,
 * or already the new way, until the next exchange. PEER_LINGER_UNUSED_MS is counted from the last look at which it was used.
 */
#define PEER_LINGER_MS 5000
#define PEER_LINGER_UNUSED_MS 30000
#define PEER_LINGER_OUT_MS 1000
/* Of one peer, the newest so many: the key management service decides how often there is something new. */
#define PEER_FADING_MAX 16

/* A session is renewed at the latest when this share of its lifetime has passed. */
#define PEER_RENEW_PERCENT 80
/* While a renewal is due it is asked for again after an eighth of the time that is left, within these. */
#define PEER_RENEW_AGAIN_MIN_MS 1000
#define PEER_RENEW_AGAIN_MAX_MS 5000
/* What is asked every PEER_RENEW_AGAIN_MIN_MS then comes true in time for what is on its way to arrive. */
#define PEER_ENDING_MS 3000

#endif
