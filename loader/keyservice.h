/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The key management service as holdfastd sees it: one or several holdfast-kms
 * processes (workers) that share the work by the address which it concerns. Gives
 * them identity and sockets, turns their messages into calls, and keeps the
 * account of what each has under way: of one that dies, that is reported as
 * rejected or abandoned, the others go on, and one of them takes its place until
 * it is started again. One that hangs is ended, and so dies. Knows no sessions and no clusters.
 */
#ifndef HF_LOADER_KEYSERVICE_H
#define HF_LOADER_KEYSERVICE_H

#include <event2/event.h>

#include "kms/link.h"
#include "loader/keyworker.h"
#include "policy/policy.h"

struct keyservice;

/* An interface that is there, to listen on: a socket belongs to its index (SO_BINDTODEVICE, socket(7)). And the port. */
struct keyservice_place {
	char name[POLICY_IFACE_MAX];
	int index;
	__u16 port;
};

#define KEYSERVICE_LISTEN_MAX 34 /* twice: while one set of interfaces takes the place of another */

struct keyservice_config {
	const char *program;	   /* path of holdfast-kms */
	const struct policy *policy;
	const char *policy_folder; /* the identity's relative paths start here */
	const struct keyservice_place *listen; /* none: accept nobody */
	size_t n_listen;
	unsigned int answer_s; /* how long a worker may take for an answer before it is ended; 0: 20 */
	bool verbose;
};

/* Each call gets the context; what they are given is good within the call only. */
struct keyservice_calls {
	/*
	 * The identity was read by all workers (result 0), or why not by one of them: then the identity before, if there is
	 * one, is the one still. Comes after keyservice_start(), keyservice_offer_identity(), and for each worker that was
	 * started again. It does come: a worker that hangs is ended, and what the others say counts.
	 */
	void (*ready)(void *context, const struct kms_ready *ready);
	/* Whether an address is this machine's. */
	bool (*is_own)(void *context, const struct hf_addr *addr);
	/* Whether a packet to it would go to many (the broadcast address of a network here). NULL: there are none. */
	bool (*is_broadcast)(void *context, const struct hf_addr *addr);
	/*
	 * It wants a session installed that the policy, or what was asked, rules out: words say
	 * what is wrong. It was not installed. Of very many not all are told; more: how many were not.
	 */
	void (*inadmissible)(void *context, const struct hf_addr *remote, const char *words, unsigned int more);
	/*
	 * Install a session, which was found admissible (admission.h); 0 or -errno goes back to the
	 * KMS. Wiped after the call. A responder's may be reversed in it, with the inner prefixes
	 * that we use: that goes back too. Its lifetime ends with the first of the two certificates.
	 */
	int (*install)(void *context, struct kms_session *session);
	/* 0 or -errno: then a request that the session answers is rejected, and one who dialled is not told that it is done. */
	int (*activate)(void *context, __u64 session);
	void (*abandon)(void *context, __u64 session);
	void (*attempt_failed)(void *context, const struct kms_failure *failure);
	/* error ECONNABORTED: its worker died; ECANCELED: its session was not activated. */
	void (*rejected)(void *context, const struct kms_failure *failure);
	void (*refused)(void *context, const struct kms_failure *failure);
	/*
	 * A worker died; it will be started again. What it had under way was abandoned and rejected by the calls above.
	 */
	void (*died)(void *context, const struct keyworker_death *death);
	/*
	 * The other ends of live and coming sessions, from number `from` on, max at the most, into ret_known. Returns how
	 * many; fewer than max: that was all. NULL: there are none.
	 */
	size_t (*known)(void *context, size_t from, struct kms_known *ret_known, size_t max);
	/* The certificate, or an authority's above it, is on a revocation list: its sessions are to be ended. NULL: nobody wants to hear. */
	void (*revoked)(void *context, const struct kms_certificate *certificate);
};

/*
 * Starts the processes. Returns 0, or -errno with error (size bytes) filled: the
 * program is missing, a file of the identity cannot be read, a port is taken.
 */
int keyservice_start(struct event_base *base, const struct keyservice_config *config,
		     const struct keyservice_calls *calls, void *context, char *error, size_t size,
		     struct keyservice **ret_service);

/* Ends the processes and waits for them. Takes NULL. */
void keyservice_stop(struct keyservice *service);

/*
 * Hands the identity over that this policy names, the files read anew, to all workers. calls.ready
 * says whether it is taken; until then, and if not, the one before stays. If it is taken, sessions
 * of certificates that are revoked now are named by revoked() thereafter. The policy is not kept.
 * Returns 0, or -errno with error: a file cannot be read; -EAGAIN: the one before is still being
 * read; -ENOTCONN: no worker runs.
 */
int keyservice_offer_identity(struct keyservice *service, const struct policy *policy, char *error, size_t size);

/*
 * From here on this policy is the one: its [PEER]s, times and encapsulation. It
 * must live until another is taken. The number of workers stays as it was; for another port, see keyservice_listen().
 */
void keyservice_take_policy(struct keyservice *service, const struct policy *policy);

/*
 * Listens at these places and no others; none: accept nobody. The sockets of a
 * place that stays are the same ones. On failure, with error, all is as it was;
 * where no place is new it cannot fail.
 */
int keyservice_listen(struct keyservice *service, const struct keyservice_place *places, size_t n, char *error,
		      size_t size);

/*
 * Asks for one session with one of the gateways, in this order. n_inner 0: our
 * own outer address. Returns 0 and the request's id, or -errno.
 */
int keyservice_request(struct keyservice *service, const struct hf_addr *gateways, size_t n, __u64 *ret_id);

void keyservice_cancel(struct keyservice *service, __u64 id);

/* The process id of a worker; 0 while it is not running. */
pid_t keyservice_pid(const struct keyservice *service, size_t worker);

#endif
