/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The failover state machine of one cluster: which gateway is used, when it is
 * asked for a sign of life, when it is left, and what is asked of the key
 * management service. Pure: (state, event, now) -> (state, actions). It does no
 * I/O, has no clock, allocates nothing, and knows gateways only by their index
 * in the cluster's order; loader/cluster.c feeds it and carries its actions out.
 *
 * Times are nanoseconds of one monotonic clock. "Sign of life" is whatever
 * proves that the gateway is there: an authenticated packet of its SA, or the
 * answer to one of our heartbeats.
 */
#ifndef HF_LOADER_FAILOVER_H
#define HF_LOADER_FAILOVER_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define FAILOVER_MAX_GATEWAYS 64
#define FAILOVER_NOBODY (-1)

enum failover_heartbeat { FAILOVER_BEAT_NONE, FAILOVER_BEAT_DEFERRED, FAILOVER_BEAT_INSTANT };

struct failover_config {
	enum failover_heartbeat heartbeat;
	__u64 response_ns; /* HeartbeatResponseTime */
	__u64 defer_ns;	   /* HeartbeatDeferTime */
	unsigned int tries; /* HeartbeatTries: unanswered heartbeats that make a gateway failed; >= 1 */
	unsigned int standby; /* further gateways to keep authenticated */
	bool connect_at_start;
	int n_gateways;
	__u64 seed; /* of the jitter; any number */
};

enum failover_state {
	FAILOVER_NONE,	  /* no session */
	FAILOVER_STANDBY, /* a session, not in use */
	FAILOVER_ACTIVE,  /* in use */
	FAILOVER_FAILED,  /* did not answer, or is draining */
};

struct failover_gateway {
	bool session;
	bool failed;	    /* silent: no sign of life since failed_ns */
	bool leaving;	    /* asked us to leave (drain, gate closed) since failed_ns */
	bool mute;	    /* failed because nothing comes through its session: a heartbeat's answer does not revive it */
	__u64 failed_ns;    /* when it failed; retry_ns: not asked for a standby session before */
	__u64 retry_ns;
	__u64 last_rx_ns;   /* last sign of life of this session */
	__u64 last_auth_ns; /* last authenticated packet of this session */
	__u64 remove_ns;    /* 0, or when the session of a failed gateway is removed */
	/* Damping: how often it was left for a fault of its own lately, and until when it does not draw us back. */
	unsigned int faults;
	__u64 damped_ns;
};

/* Why a gateway is left; also the reason in the event. */
enum failover_reason {
	FAILOVER_FIRST,	       /* none was in use before */
	FAILOVER_SILENT,       /* heartbeats unanswered */
	FAILOVER_PATH,	       /* it is there, but nothing that we send through the SA is answered */
	FAILOVER_LEAVING,      /* it asked to be left, or its session was about to end */
	FAILOVER_SESSION_LOST, /* the session ended */
	FAILOVER_ADMIN,	       /* a user's wish */
	FAILOVER_PEER,	       /* another gateway started a session with us */
	FAILOVER_RETURNED,     /* all were silent, this one answered first */
	FAILOVER_POLICY,       /* the policy no longer names the one that was in use */
};

const char *failover_reason_name(enum failover_reason reason);
const char *failover_state_name(enum failover_state state);

enum failover_event_type {
	FAILOVER_TICK,	       /* time has passed; whatever was stamped by now was told before (ALIVE), of every gateway */
	FAILOVER_START,	       /* the policy is in force, and what there is of sessions has been adopted */
	FAILOVER_WANT,	       /* traffic for the cluster found no gateway */
	FAILOVER_PAYLOAD,      /* payload left for the gateway in use, which was watched for it */
	FAILOVER_ALIVE,	       /* gateway, rx_ns, auth_ns, answer_ns: what the datapath stamped */
	FAILOVER_ANSWERED,     /* gateway answered a probe: the way through its session stands in both directions */
	FAILOVER_SESSION_UP,   /* gateway, by_peer (it dialled us), answers_request */
	FAILOVER_SESSION_DOWN, /* gateway: the session ended (lifetime, peer, administrator) */
	FAILOVER_REJECTED,     /* the request failed as a whole; denied: by certificates, not by silence */
	FAILOVER_LEAVE_ME,     /* gateway asks to be left, or its session is about to end */
	FAILOVER_MOVE,	       /* gateway or FAILOVER_NOBODY (the next): a user's wish */
	FAILOVER_ADOPTED,      /* gateway, in_use, rx_ns, auth_ns: its session was made by an earlier run of the daemon */
	FAILOVER_CHANGED,      /* change: the policy is another */
};

/*
 * from[g]: which gateway the new g was before, or FAILOVER_NOBODY; what is
 * known of it stays. The request under way is taken to be cancelled. Where the
 * gateway in use is not among the new ones, another with a session is steered
 * to; with none a session is requested, and no STEER says that nobody is in
 * use: until there is one, or the caller's patience ends, traffic may go on as
 * it did.
 */
struct failover_change {
	struct failover_config config;
	int from[FAILOVER_MAX_GATEWAYS];
};

struct failover_event {
	enum failover_event_type type;
	int gateway;
	bool by_peer;
	bool answers_request;
	bool denied;
	bool in_use; /* traffic is steered to it already */
	__u64 rx_ns;
	__u64 auth_ns;
	__u64 answer_ns; /* the last answer to a heartbeat */
	const struct failover_change *change;
};

enum failover_action_type {
	FAILOVER_DO_STEER,   /* gateway (or nobody): traffic goes there from now on */
	FAILOVER_DO_PROBE,   /* gateway: send a probe through its SA */
	FAILOVER_DO_BEAT,    /* gateway: send a heartbeat */
	FAILOVER_DO_WATCH,   /* gateway: tell (FAILOVER_PAYLOAD) when payload leaves for it; once */
	FAILOVER_DO_LEAVE,   /* gateway: tell it, through its SA, that we have left */
	FAILOVER_DO_REMOVE,  /* gateway: remove its session */
	FAILOVER_DO_REQUEST, /* ask the KMS for one session with one of request[0..n_request) */
	FAILOVER_SAY_MISSED,   /* gateway, value: how many heartbeats in a row */
	FAILOVER_SAY_FAILED,   /* gateway, reason, value: ns since its last sign of life */
	FAILOVER_SAY_SWITCHED, /* gateway, from (or nobody), reason */
	FAILOVER_SAY_RECOVERED, /* gateway, from, reason, value: outage in ns, see outage_from_ns, to the first packet through the new */
	FAILOVER_SAY_UPLINK,   /* every gateway fell silent at once: the own uplink is suspected */
	FAILOVER_SAY_FALSE_ALARM, /* gateway: was left, but lives */
};

struct failover_action {
	enum failover_action_type type;
	int gateway;
	int from;
	enum failover_reason reason;
	__u64 value;
};

#define FAILOVER_MAX_ACTIONS 256

struct failover_actions {
	size_t n;
	struct failover_action action[FAILOVER_MAX_ACTIONS];
	int n_request;
	int request[FAILOVER_MAX_GATEWAYS]; /* of FAILOVER_DO_REQUEST: in the order to try; at most one a step */
};

struct failover {
	struct failover_config config;
	struct failover_gateway gateway[FAILOVER_MAX_GATEWAYS];
	int current; /* index of the gateway that traffic is steered to, or FAILOVER_NOBODY */

	/* The check of the gateway in use: beats sent since it began, 0 when none runs. */
	unsigned int beats;
	__u64 check_ns;	 /* when the check began */
	__u64 beat_ns;	 /* when its last beat left */
	bool watching;	 /* the datapath will tell of the next payload */
	bool beat_extended; /* a late timer has been given one more response time */
	unsigned int loss;  /* estimate of lost heartbeats, in 1/1024 */
	__u64 loss_ns;	    /* since when no heartbeat has said more of it */

	/* The probe through the SA: after a switch, and where it is not sure that the way there and back stands. */
	unsigned int probes; /* sent and not answered; 0 when answered */
	__u64 probe_ns;
	__u64 probed_from_ns; /* when the first of them was sent */
	unsigned int unproven; /* heartbeats in a row that were not answered, though something came: it may not hear us */
	bool doubt;	       /* only an answer ends the probing: what comes by itself proves nothing */
	bool patient;	       /* the probing is by routine, and waits for a gateway's daemon that has stopped for a while */
	__u64 proven_ns;       /* when a probe was last answered; or such that one is due soon after a switch */
	bool path_lost;	       /* probes are not answered, and there is no other to go to: a new session is asked for */

	/*
	 * The outage under way. It began with the last sign of the gateway left that fell silent, but where nobody sent for
	 * long, with the first payload that it did not answer; where one was left that still forwarded, with the move.
	 */
	bool switching;
	int left;
	enum failover_reason why;
	__u64 outage_from_ns;
	__u64 switched_ns;
	bool silent; /* every gateway with a session is silent: they are asked in turn */
	int suspect; /* the one asked last */

	/* The request under way: which gateways it names, and whether traffic waits for it. */
	__u64 asked; /* bit per gateway; 0: no request */
	bool asked_urgent;
	bool ask_failed;     /* the last round was rejected: failed gateways are asked too */
	unsigned int rounds; /* rejected in a row */
	__u64 request_after_ns;
	unsigned int vain; /* sessions in a row that were asked for and put to use, and no probe through them answered */
	__u64 vain_until_ns; /* after those, none is asked for sooner */
	__u64 wanted_ns; /* last time traffic asked, 0 never */
	bool was_used;	 /* a session was in use before */
	int move_to;	 /* MOVE waits for a session with it */
	bool moving;
	__u64 random;
	__u64 failovers; /* switches away from a gateway in use */
};

/* Sets the machine up with nobody in use. */
void failover_init(struct failover *machine, const struct failover_config *config);

/* One step. The actions are to be carried out in their order. */
void failover_step(struct failover *machine, const struct failover_event *event, __u64 now_ns,
		   struct failover_actions *ret_actions);

/* When the next FAILOVER_TICK is due; ~0 for never. */
__u64 failover_deadline_ns(const struct failover *machine, __u64 now_ns);

enum failover_state failover_gateway_state(const struct failover *machine, int gateway);

/*
 * Whether sessions of this cluster are worth new keys when theirs grow old. Not so
 * with DEFERRED while nothing is sent or received: no connection is made in idle
 * times; the next payload makes a session anew.
 */
bool failover_renews(const struct failover *machine, __u64 now_ns);

/* How many unanswered heartbeats in a row count as death now: HeartbeatTries, more where the path loses. */
unsigned int failover_tries(const struct failover *machine);

#endif
