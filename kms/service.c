/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "kms/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/secret.h"

/* How many messages may wait before strangers' failures are no longer told. */
#define LETTERS_ENOUGH 64

struct service_letter {
	TAILQ_ENTRY(service_letter) entry;
	__u32 type;
	size_t len;
	__u8 body[];
};

static void letter_free(struct service *service, struct service_letter *letter)
{
	TAILQ_REMOVE(&service->letters, letter, entry);
	service->n_letters--;
	secret_free(letter, sizeof(*letter) + letter->len);
}

void service_end(struct service *service, int error)
{
	if (service->link < 0)
		return;
	service->link = -1;
	/* That holdfastd is gone may show in writing first. */
	service->failed = error && error != -EPIPE && error != -ECONNRESET;
	if (service->failed)
		log_error("link to holdfastd: %s", strerror(-error));
	event_base_loopbreak(service->base);
}

static void on_link_writable(evutil_socket_t fd, short what, void *context)
{
	struct service *service = context;
	struct service_letter *letter;

	while ((letter = TAILQ_FIRST(&service->letters))) {
		int ret = kms_link_send(service->link, letter->type, letter->body, letter->len, NULL, 0);

		if (ret == -EAGAIN) {
			event_add(service->link_writable, NULL);
			return;
		}
		letter_free(service, letter);
		if (ret < 0) {
			service_end(service, ret);
			return;
		}
	}
}

static void keep_letter(struct service *service, __u32 type, const void *body, size_t len)
{
	struct service_letter *letter;

	if (type == KMS_REFUSED && service->n_letters > LETTERS_ENOUGH)
		return;
	letter = secret_alloc(sizeof(*letter) + len);
	if (!letter) {
		/* Sessions that holdfastd does not hear about are worse than a restart. */
		service_end(service, -ENOMEM);
		return;
	}
	letter->type = type;
	letter->len = len;
	memcpy(letter->body, body, len);
	TAILQ_INSERT_TAIL(&service->letters, letter, entry);
	service->n_letters++;
	event_add(service->link_writable, NULL);
}

void service_send(struct service *service, __u32 type, const void *body, size_t len)
{
	int ret = -EAGAIN;

	if (service->link < 0)
		return; /* we are ending: holdfastd is gone */
	/* Never past those that wait already. */
	if (TAILQ_EMPTY(&service->letters))
		ret = kms_link_send(service->link, type, body, len, NULL, 0);
	if (ret == -EAGAIN)
		keep_letter(service, type, body, len);
	else if (ret < 0)
		service_end(service, ret);
}

void service_send_failure(struct service *service, __u32 type, __u64 request, const struct hf_addr *peer, int error,
			  const char *text)
{
	struct kms_failure failure = { .request = request, .error = error < 0 ? -error : error };

	if (peer)
		failure.peer = *peer;
	snprintf(failure.text, sizeof(failure.text), "%s", text);
	service_send(service, type, &failure, sizeof(failure));
}

int service_init(struct service *service, struct event_base *base, int link)
{
	memset(service, 0, sizeof(*service));
	service->base = base;
	service->link = link;
	TAILQ_INIT(&service->letters);
	LIST_INIT(&service->connections);
	LIST_INIT(&service->requests);
	service->link_writable = event_new(base, link, EV_WRITE, on_link_writable, service);
	if (!service->link_writable)
		return -ENOMEM;
	event_priority_set(service->link_writable, SERVICE_FIRST);
	return 0;
}

void service_clear(struct service *service)
{
	struct service_letter *letter;

	while ((letter = TAILQ_FIRST(&service->letters)))
		letter_free(service, letter);
	if (service->link_writable)
		event_free(service->link_writable);
	service->link_writable = NULL;
	tls_identity_free(service->identity);
	service->identity = NULL;
}
