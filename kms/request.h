/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfastd's requests for a session with one of several gateways: which is
 * tried when, which one leads, and what is told. Owns the attempts of each
 * request and their sockets; the exchange itself is the connection's.
 */
#ifndef HF_KMS_REQUEST_H
#define HF_KMS_REQUEST_H

#include "kms/service.h"

/*
 * Begins a request with one socket per gateway. Takes the sockets, also when it
 * cannot begin: then KMS_REJECTED is sent.
 */
void request_start(struct service *service, const struct kms_request *ask, const int *fds);

/* Ends a request without a word but KMS_ABANDON where a session is to be taken back. */
void request_cancel(struct service *service, __u64 id);

/*
 * Somebody offers us a session, from remote to our own address local: whether
 * that goes on though we may be dialling remote ourselves. Both ends decide by the
 * same rule, so that one of the two dials is left: the lower address's. Returns 0
 * after having ended ours, or -EALREADY where ours goes first.
 */
int request_give_way(struct service *service, const struct hf_addr *local, const struct hf_addr *remote);

void request_cancel_all(struct service *service);

#endif
