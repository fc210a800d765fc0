/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For tests of the failover state machine in virtual time: a small world of
 * gateways that live or are silent, with sessions or without, answers what the
 * machine does.
 */
#ifndef HF_SELFTESTS_FAILOVER_WORLD_H
#define HF_SELFTESTS_FAILOVER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/failover.h"

#define MS 1000000ull
#define S (1000 * MS)
#define GATEWAYS 3

/* The world: what is true of each gateway, and when answers come back. */
struct world {
	struct failover machine;
	__u64 now;
	bool alive[GATEWAYS];	    /* answers heartbeats and requests */
	bool keeps_session[GATEWAYS]; /* has not forgotten our session */
	bool closed[GATEWAYS];	    /* its gate: heartbeats are not answered, and a probe with the wish to be left */
	bool mute[GATEWAYS];	    /* nothing comes through its sessions */
	bool flooded[GATEWAYS];	    /* somebody uses up what it answers of heartbeats */
	unsigned int loss;	    /* of a heartbeat or its answer, in 1/100 */
	__u64 rtt;
	struct {
		__u64 at;
		int gateway;
		bool auth, leave;
	} answers[64];
	size_t n_answers;
	__u64 request_done; /* 0: none under way */
	int request[GATEWAYS];
	int n_request;

	/* What happened. */
	int steered; /* where the datapath sends */
	unsigned int beats, beats_to[GATEWAYS], probes, requests, removed, switches, uplink, false_alarms, leaves;
	struct failover_action recovered;
	unsigned int recoveries, held, watched;
};

static inline void world_step(struct world *w, struct failover_event event);

/* A heartbeat, or a probe (auth), has left for a gateway, which would answer it if it lives. */
static inline void world_answer(struct world *w, int g, bool auth, bool would)
{
	assert_true(w->machine.gateway[g].session); /* never to a gateway without a session */
	if (!w->alive[g] || !w->keeps_session[g] || (unsigned int)(rand() % 100) < w->loss ||
	    (unsigned int)(rand() % 100) < w->loss || w->n_answers >= 64 || !would)
		return;
	w->answers[w->n_answers].at = w->now + w->rtt;
	w->answers[w->n_answers].gateway = g;
	w->answers[w->n_answers].auth = auth;
	w->answers[w->n_answers++].leave = auth && w->closed[g];
}

static inline void world_carry_out(struct world *w, const struct failover_action *action)
{
	int g = action->gateway;

	switch (action->type) {
	case FAILOVER_DO_STEER:
		w->steered = g;
		w->held += g == FAILOVER_NOBODY;
		break;
	case FAILOVER_DO_BEAT:
		w->beats++;
		w->beats_to[g]++;
		world_answer(w, g, false, !w->closed[g] && !w->flooded[g]);
		break;
	case FAILOVER_DO_PROBE:
		w->probes++;
		world_answer(w, g, true, !w->mute[g]);
		break;
	case FAILOVER_DO_LEAVE: w->leaves++; break;
	case FAILOVER_DO_WATCH: w->watched++; break;
	case FAILOVER_DO_REMOVE: w->removed++; break;
	case FAILOVER_SAY_SWITCHED: w->switches++; break;
	case FAILOVER_SAY_RECOVERED:
		w->recovered = *action;
		w->recoveries++;
		break;
	case FAILOVER_SAY_UPLINK: w->uplink++; break;
	case FAILOVER_SAY_FALSE_ALARM: w->false_alarms++; break;
	default: break;
	}
}

static inline void world_step(struct world *w, struct failover_event event)
{
	struct failover_actions actions;

	failover_step(&w->machine, &event, w->now, &actions);
	for (size_t i = 0; i < actions.n; i++) {
		if (actions.action[i].type != FAILOVER_DO_REQUEST) {
			world_carry_out(w, &actions.action[i]);
			continue;
		}
		w->requests++;
		w->n_request = actions.n_request;
		memcpy(w->request, actions.request, sizeof(w->request));
		assert_in_range(actions.n_request, 1, GATEWAYS);
		w->request_done = w->now + 20 * MS;
	}
}

static inline void world_finish_request(struct world *w)
{
	w->request_done = 0;
	for (int i = 0; i < w->n_request; i++) {
		int g = w->request[i];

		if (!w->alive[g])
			continue;
		w->keeps_session[g] = true;
		world_step(w, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .answers_request = true });
		return;
	}
	world_step(w, (struct failover_event){ .type = FAILOVER_REJECTED });
}

/* Lets the world go on until `end`, every event at its own time. */
static inline void world_run_until(struct world *w, __u64 end)
{
	for (unsigned int guard = 0; guard < 1000000; guard++) {
		__u64 next = failover_deadline_ns(&w->machine, w->now);
		size_t first = w->n_answers;

		for (size_t i = 0; i < w->n_answers; i++)
			if (w->answers[i].at <= next && (first == w->n_answers || w->answers[i].at < w->answers[first].at))
				first = i;
		if (first < w->n_answers)
			next = w->answers[first].at;
		if (w->request_done && w->request_done <= next) {
			next = w->request_done;
			first = w->n_answers;
		}
		if (next > end) {
			w->now = end;
			return;
		}
		if (next > w->now)
			w->now = next;
		if (w->request_done && w->request_done <= w->now) {
			world_finish_request(w);
		} else if (first < w->n_answers) {
			int g = w->answers[first].gateway;
			bool auth = w->answers[first].auth, leave = w->answers[first].leave;

			w->answers[first] = w->answers[--w->n_answers];
			world_step(w, (struct failover_event){ .type = FAILOVER_ALIVE, .gateway = g, .rx_ns = w->now,
							       .auth_ns = auth ? w->now : 0,
							       .answer_ns = auth ? 0 : w->now });
			if (auth)
				world_step(w, (struct failover_event){ .type = leave ? FAILOVER_LEAVE_ME : FAILOVER_ANSWERED,
								       .gateway = g });
		} else {
			world_step(w, (struct failover_event){ .type = FAILOVER_TICK });
		}
	}
	fail_msg("the machine asks for ticks without end at %llu", (unsigned long long)w->now);
}

static inline void world_init(struct world *w, enum failover_heartbeat mode, unsigned int standby)
{
	struct failover_config config = { .heartbeat = mode, .response_ns = 50 * MS, .defer_ns = 100 * MS, .tries = 2,
					  .standby = standby, .n_gateways = GATEWAYS, .seed = 1 };

	srand(1);
	memset(w, 0, sizeof(*w));
	w->now = S;
	w->rtt = 2 * MS;
	w->steered = FAILOVER_NOBODY;
	for (int g = 0; g < GATEWAYS; g++)
		w->alive[g] = true;
	failover_init(&w->machine, &config);
	world_step(w, (struct failover_event){ .type = FAILOVER_START });
	assert_int_equal(w->requests, 0);
	world_step(w, (struct failover_event){ .type = FAILOVER_WANT });
	assert_int_equal(w->requests, 1);
	world_run_until(w, w->now + S);
}

/* A gateway that starts a session with us. */
static inline void world_dials(struct world *w, int g)
{
	w->keeps_session[g] = true;
	world_step(w, (struct failover_event){ .type = FAILOVER_SESSION_UP, .gateway = g, .by_peer = true });
}

#endif
