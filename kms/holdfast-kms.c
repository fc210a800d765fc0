/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfast-kms: the key management service. Started by holdfastd with one end
 * of the link (kms/link.h) as descriptor 3, and ends with it.
 */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kms/accept.h"
#include "kms/connection.h"
#include "kms/link.h"
#include "kms/request.h"
#include "kms/sandbox.h"
#include "kms/service.h"
#include "lib/log.h"

static const char usage[] =
	"Usage: holdfast-kms [--user NAME] [-v]\n"
	"The key management service of Holdfast. It is started by holdfastd, not by hand.\n"
	"  -u, --user NAME  become this user (as root)\n"
	"  -v, --verbose    log more\n"
	"  -h, --help       this text\n"
	"  -V, --version    the version\n";

static void on_identity(struct service *service, struct kms_link_message *message)
{
	const struct kms_identity *settings = message->body;
	struct tls_identity *identity;
	struct kms_ready ready = { 0 };

	ready.result = tls_identity_load(message->fds, settings->has_crl, &identity, ready.text);
	if (!ready.result) {
		tls_identity_free(service->identity);
		service->identity = identity;
		service->settings = *settings;
		snprintf(ready.name, sizeof(ready.name), "%s", tls_identity_name(identity));
		ready.not_after = tls_identity_not_after(identity);
		ready.n_anchors = (__u32)tls_identity_anchors(identity);
		ready.n_revoked = (__u32)tls_identity_revoked(identity);
		ready.lists_end = tls_identity_lists_end(identity);
	}
	service_send(service, KMS_READY, &ready, sizeof(ready));
}

static void on_peers(struct service *service, struct kms_link_message *message)
{
	memset(&service->peers, 0, sizeof(service->peers));
	memcpy(&service->peers, message->body, message->len);
}

static void on_listen(struct service *service, struct kms_link_message *message)
{
	acceptor_listen(service->acceptor, message->fds, message->n_fds);
	message->n_fds = 0; /* taken */
}

static void on_request(struct service *service, struct kms_link_message *message)
{
	request_start(service, message->body, message->fds);
	message->n_fds = 0; /* taken */
}

static void on_cancel(struct service *service, struct kms_link_message *message)
{
	request_cancel(service, ((const struct kms_cancel *)message->body)->id);
}

static void on_installed(struct service *service, struct kms_link_message *message)
{
	const struct kms_installed *installed = message->body;

	connection_installed(service, installed);
}

static void on_activated(struct service *service, struct kms_link_message *message)
{
	const struct kms_activated *activated = message->body;

	connection_activated(service, activated);
}

static void on_known(struct service *service, struct kms_link_message *message)
{
	const struct kms_knowns *knowns = message->body;

	for (__u32 i = 0; i < knowns->n; i++) {
		const struct kms_known *known = &knowns->known[i];

		acceptor_know(service->acceptor, &known->remote);
		if (service->identity && tls_identity_revokes(service->identity, &known->certificate))
			service_send(service, KMS_REVOKED, &known->certificate, sizeof(known->certificate));
	}
}

static void on_echo(struct service *service, struct kms_link_message *message)
{
	service_send(service, KMS_ECHO, NULL, 0);
}

static void (*const handlers[])(struct service *service, struct kms_link_message *message) = {
	[KMS_IDENTITY] = on_identity, [KMS_PEERS] = on_peers,	[KMS_LISTEN] = on_listen,
	[KMS_REQUEST] = on_request,   [KMS_CANCEL] = on_cancel, [KMS_INSTALLED] = on_installed,
	[KMS_KNOWN] = on_known,	      [KMS_ACTIVATED] = on_activated, [KMS_ECHO] = on_echo,
};

/* Takes one message. Returns as kms_link_receive(). */
static int take_message(struct service *service)
{
	static struct kms_link_message message; /* too large for a stack; cleared after each use */
	int ret = kms_link_receive(service->link, &message);

	if (ret <= 0)
		return ret;
	if (message.type < sizeof(handlers) / sizeof(handlers[0]) && handlers[message.type])
		handlers[message.type](service, &message);
	else
		ret = -EPROTO;
	kms_link_message_clear(&message);
	return ret;
}

static void on_link_readable(evutil_socket_t fd, short what, void *context)
{
	struct service *service = context;
	int ret = 0;

	while (service->link >= 0 && (ret = take_message(service)) > 0)
		;
	if (service->link >= 0 && ret != -EAGAIN)
		service_end(service, ret);
}

static bool seal(void)
{
	char error[256];

	if (!sandbox_seal(error, sizeof(error)))
		return true;
	log_error("%s", error);
	return false;
}

static struct event_base *make_base(void)
{
	static const struct timeval interval = { .tv_usec = SERVICE_AT_ONCE_MS * 1000 };
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	event_config_set_max_dispatch_interval(config, &interval, SERVICE_AT_ONCE, SERVICE_AFTER);
	base = event_base_new_with_config(config);
	event_config_free(config);
	if (base)
		event_base_priority_init(base, SERVICE_PRIORITIES);
	return base;
}

static int serve(void)
{
	struct event_base *base = make_base();
	struct service *service = calloc(1, sizeof(*service));
	struct event *readable =
		base && service ? event_new(base, KMS_LINK_FD, EV_READ | EV_PERSIST, on_link_readable, service) : NULL;
	int ret = EXIT_FAILURE;

	if (readable)
		event_priority_set(readable, SERVICE_FIRST);
	if (!readable || service_init(service, base, KMS_LINK_FD) < 0 ||
	    acceptor_new(service, &service->acceptor) < 0 || event_add(readable, NULL) < 0) {
		log_error("out of memory");
		goto out;
	}
	if (!seal())
		goto end;
	event_base_dispatch(base);
	ret = service->failed || service->link >= 0 ? EXIT_FAILURE : EXIT_SUCCESS;
end:
	service->link = -1;
	request_cancel_all(service);
	acceptor_free(service->acceptor);
	connection_stop_all(service);
out:
	if (service)
		service_clear(service);
	free(service);
	if (readable)
		event_free(readable);
	if (base)
		event_base_free(base);
	return ret;
}

static bool link_is_there(void)
{
	int type;
	socklen_t len = sizeof(type);

	return !getsockopt(KMS_LINK_FD, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_SEQPACKET;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "user", required_argument, NULL, 'u' }, { "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },	  { "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	enum log_level level = LOG_LEVEL_INFO;
	const char *user = NULL;
	char error[256];
	int option, ret, swapped;

	while ((option = getopt_long(argc, argv, "u:vhV", options, NULL)) != -1) {
		switch (option) {
		case 'u':
			user = optarg;
			break;
		case 'v':
			level = LOG_LEVEL_DEBUG;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts("holdfast-kms " HF_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	log_init("holdfast-kms", level);
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (!link_is_there()) {
		log_error("started without the link to holdfastd (descriptor %d): holdfastd starts it, nobody else",
			  KMS_LINK_FD);
		return EXIT_FAILURE;
	}
	ret = sandbox_enter(user, error, sizeof(error));
	if (ret < 0) {
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	swapped = ret;
	ret = tls_init();
	if (ret < 0) {
		log_error("OpenSSL: %s", strerror(-ret));
		return EXIT_FAILURE;
	}
	if (ret || swapped)
		log_warning("keys may be swapped out: not all memory can be locked, with this limit (RLIMIT_MEMLOCK)");
	signal(SIGPIPE, SIG_IGN);
	return serve();
}
