/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One holdfast-kms process: starting it, its end of the link, and starting it again, with back-off, when it has died.
 * Knows neither what is said over the link nor the other workers.
 */
#ifndef HF_LOADER_KEYWORKER_H
#define HF_LOADER_KEYWORKER_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "kms/link.h"

struct keyworker;

struct keyworker_config {
	struct event_base *base;
	int program; /* a descriptor of holdfast-kms; it stays the caller's */
	size_t index;
	const char *user; /* that it becomes; not copied */
	bool verbose;
};

struct keyworker_death {
	size_t index;
	const char *why; /* for people; good within the call */
	unsigned int times; /* in a row, this one included: without having lived for half a minute */
	unsigned int again_ms; /* until it is started again */
};

struct keyworker_calls {
	/* It runs: everything that it must know is to be sent now. 0 or -errno, with error filled: then it is ended. */
	int (*started)(void *context, struct keyworker *worker, char *error, size_t size);
	/* A well-formed message; wiped after the call. false: not one that a key management service sends; it is ended. */
	bool (*message)(void *context, struct keyworker *worker, const struct kms_link_message *message);
	/* It is dead, and its link is closed. */
	void (*died)(void *context, struct keyworker *worker, const struct keyworker_death *death);
};

/* Starts the process. Returns 0, or -errno with error filled. */
int keyworker_new(const struct keyworker_config *config, const struct keyworker_calls *calls, void *context, char *error,
		  size_t size, struct keyworker **ret_worker);

/* Tells the process to end, and does not wait: keyworker_free() does, what is left of two seconds. Takes NULL. */
void keyworker_close(struct keyworker *worker);

/* Ends the process and waits for it, without a further call. Takes NULL. */
void keyworker_free(struct keyworker *worker);

size_t keyworker_index(const struct keyworker *worker);
bool keyworker_is_up(const struct keyworker *worker);

/* The process's id; 0 while it is not running. */
pid_t keyworker_pid(const struct keyworker *worker);

/*
 * Kills the process, if it runs: it hangs, say. Its death is reported like any other, when its link is seen to close, and
 * not within this call. why is not copied.
 */
void keyworker_end(struct keyworker *worker, const char *why);

/* As kms_link_send(); -ENOTCONN while it is not running. */
int keyworker_send(struct keyworker *worker, __u32 type, const void *body, size_t len, const int *fds, size_t n_fds);

#endif
