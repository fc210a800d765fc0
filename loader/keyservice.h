/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's end of the link to holdfast-kms: starts that process, gives it
 * its identity and its sockets, and turns its messages into calls. A key
 * management service that dies is started again with back-off; what it had
 * under way is reported as rejected. Knows no sessions and no clusters.
 */
#ifndef HF_LOADER_KEYSERVICE_H
#define HF_LOADER_KEYSERVICE_H

#include <event2/event.h>

#include "kms/link.h"
#include "policy/policy.h"

struct keyservice;

struct keyservice_config {
	const char *program;	   /* path of holdfast-kms */
	const struct policy *policy;
	const char *policy_folder; /* the identity's relative paths start here */
	const char (*listen)[POLICY_IFACE_MAX]; /* interfaces to listen on; none: accept nobody */
	size_t n_listen;
	bool verbose;
};

/* Each call gets the context; what they are given is good within the call only. */
struct keyservice_calls {
	/* The identity was read (result 0), or why not. */
	void (*ready)(void *context, const struct kms_ready *ready);
	/* Whether an address is this machine's. */
	bool (*is_own)(void *context, const struct hf_addr *addr);
	/*
	 * It wants a session installed that the policy, or what was asked, rules out: words say
	 * what is wrong. It was not installed. Of very many not all are told; more: how many were not.
	 */
	void (*inadmissible)(void *context, const struct hf_addr *remote, const char *words, unsigned int more);
	/*
	 * Install a session, which was found admissible (admission.h); 0 or -errno goes back to the
	 * KMS. Wiped after the call. A responder's may be reversed in it, with the inner prefixes
	 * that we use: that goes back too.
	 */
	int (*install)(void *context, struct kms_session *session);
	void (*activate)(void *context, __u64 session);
	void (*abandon)(void *context, __u64 session);
	void (*attempt_failed)(void *context, const struct kms_failure *failure);
	void (*rejected)(void *context, const struct kms_failure *failure);
	void (*refused)(void *context, const struct kms_failure *failure);
	/* The process died (why: for people); all requests are gone. It will be started again. */
	void (*died)(void *context, const char *why);
};

/*
 * Starts the process. Returns 0, or -errno with error (size bytes) filled: the
 * program is missing, a file of the identity cannot be read, a port is taken.
 */
int keyservice_start(struct event_base *base, const struct keyservice_config *config,
		     const struct keyservice_calls *calls, void *context, char *error, size_t size,
		     struct keyservice **ret_service);

/*
 * Hands the identity over that this policy names, the files read anew. calls.ready
 * says whether it is taken; until then, and if not, the one before stays. The
 * policy is not kept. Returns 0, or -errno with error: a file cannot be read;
 * -EAGAIN: the process is only just being started.
 */
int keyservice_offer_identity(struct keyservice *service, const struct policy *policy, char *error, size_t size);

/*
 * From here on this policy is the one: its [PEER]s, times and encapsulation. It
 * must live until another is taken.
 */
void keyservice_take_policy(struct keyservice *service, const struct policy *policy);

/*
 * Listens on these interfaces, none: accept nobody, in the place of those before
 * (but for that of keyservice_listen_also()). On failure, with error, all is as
 * it was.
 */
int keyservice_listen(struct keyservice *service, const char (*interfaces)[POLICY_IFACE_MAX], size_t n, char *error,
		      size_t size);

/* Ends the process and waits for it. Takes NULL. */
void keyservice_stop(struct keyservice *service);

/*
 * Listens on one more interface, in the place of the one given before; NULL:
 * on none. Those of the configuration stay. Returns 0 or -errno; then on none.
 */
int keyservice_listen_also(struct keyservice *service, const char *interface);

/*
 * Asks for one session with one of the gateways, in this order. n_inner 0: our
 * own outer address. Returns 0 and the request's id, or -errno.
 */
int keyservice_request(struct keyservice *service, const struct hf_addr *gateways, size_t n, __u64 *ret_id);

/* The inner prefixes that such a request asks for: ret_inner has KMS_MAX_INNER. Returns how many. */
size_t keyservice_inner(const struct policy *policy, struct hf_prefix *ret_inner);

void keyservice_cancel(struct keyservice *service, __u64 id);

/* The process's id; 0 while it is not running. */
pid_t keyservice_pid(const struct keyservice *service);

#endif
