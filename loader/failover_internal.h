/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of failover.h share, and nobody else. failover.c is one step:
 * events, sessions that come and go, the next deadline. failover_choice.c is
 * which gateway is used, failover_check.c whether that one is there,
 * failover_request.c what is asked of the key management service, and
 * failover_change.c what goes on when the daemon or the policy is a new one.
 * No more I/O, clock or memory than failover.h has.
 */
#ifndef HF_LOADER_FAILOVER_INTERNAL_H
#define HF_LOADER_FAILOVER_INTERNAL_H

#include "loader/failover.h"

#define MS 1000000ull
#define S (1000 * MS)
#define NEVER (~0ull)

/*
 * Payload leaves, heartbeats are answered, but nothing came through the session for so long: the other end may have
 * another session than we (its last message of a renewal was lost), or something on the way may drop ESP.
 */
#define FAILOVER_PATH_AFTER (5 * S)
/*
 * What comes through the session does not show that what is sent arrives: the targets may send by themselves. So while
 * payload leaves, a probe has to be answered this often.
 */
#define FAILOVER_PROOF_AFTER (20 * S)
/* After a switch, so soon: the probe that goes with it may have ended with anything that came. */
#define FAILOVER_PROOF_FIRST S

struct failover_step {
	struct failover *m;
	__u64 now;
	struct failover_actions *out;
};

/* Adds an action; the caller fills in the rest of it. */
struct failover_action *failover_act(struct failover_step *s, enum failover_action_type type, int gateway);

/* failover_choice.c. With a session, and neither failed nor leaving. */
bool failover_usable(const struct failover *m, int g);

/*
 * The next usable gateway in the cluster's order, beginning after `after`; not the current one, and one that
 * comes and goes only when there is no other. FAILOVER_NOBODY: none.
 */
int failover_next_usable(const struct failover *m, int after, __u64 now);

/* It has started a session with us: whether we are to use it. One that had to begin anew once more waits anew. */
bool failover_draws(struct failover *m, int g, __u64 now);

/* There is a first session with it again, whoever asked for it: one that is damped may just have been away, and waits anew. */
void failover_begins_anew(struct failover *m, int g, __u64 now);

/* How many could be used in the place of the current one. */
int failover_count_usable_others(const struct failover *m);

/* From the current one to this one, or to FAILOVER_NOBODY, with all that is said and sent then. */
void failover_steer(struct failover_step *s, int to, enum failover_reason reason);

/* The current one is no good: to the next, or to nobody. */
void failover_pick_other(struct failover_step *s, enum failover_reason reason);

/* The same, and it has failed. */
void failover_fail_current(struct failover_step *s, enum failover_reason reason);

/* failover_check.c. Each run_ does what is due by now, each _due is when: NEVER, or a time that may be past. */
void failover_begin_probes(struct failover_step *s);
/* The last of those that are under way once more, through a new session. */
void failover_repeat_probe(struct failover_step *s);
/* What is known of the path's loss grows old, where no heartbeat says more of it. */
void failover_forget_loss(struct failover_step *s);
void failover_run_check(struct failover_step *s);
__u64 failover_probe_due(const struct failover *m);
void failover_run_probe(struct failover_step *s);
__u64 failover_path_due(const struct failover *m);
void failover_run_path(struct failover_step *s);
__u64 failover_silent_due(const struct failover *m);
void failover_run_silent(struct failover_step *s);
void failover_on_payload(struct failover_step *s, const struct failover_event *event);
void failover_on_alive(struct failover_step *s, const struct failover_event *event);
void failover_on_answered(struct failover_step *s, const struct failover_event *event);

/* One that failed lives: perhaps it was a false alarm. */
void failover_revive(struct failover_step *s, int g);

/* failover_request.c. A time of `first`, doubled each round up to `most`, of which half is left to chance. */
__u64 failover_backoff(struct failover *m, __u64 first, unsigned int rounds, __u64 most);

/* Whether a session is wanted though nobody sends at this moment. */
bool failover_wants(const struct failover *m, __u64 now);

__u64 failover_request_due(const struct failover *m, __u64 now);
void failover_run_request(struct failover_step *s);
void failover_on_want(struct failover_step *s, const struct failover_event *event);
void failover_on_rejected(struct failover_step *s, const struct failover_event *event);

/* A session that was asked for is in use: until a probe through it is answered, it may be as vain as those before it. */
void failover_note_vain(struct failover_step *s);
/* It was not, or the next one may be another matter. */
void failover_forget_vain(struct failover *m);

/* failover_change.c */
void failover_on_adopted(struct failover_step *s, const struct failover_event *event);
void failover_on_changed(struct failover_step *s, const struct failover_event *event);

#endif
