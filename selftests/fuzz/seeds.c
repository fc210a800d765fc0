/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the corpora that no editor can: `make fuzz-seeds`. Each input is one that its
 * target takes as well-formed, made by the project's own encoders where there are
 * any; libFuzzer goes on from there. The corpus of the policy is text, and kept by hand.
 */
#include <errno.h>
#include <linux/types.h>
#include <stdint.h>
#include <sys/stat.h>

#include "kms/exchange.h"
#include "kms/wire.h"
#include "loader/keylisten.h"
#include "selftests/fuzz/fuzz.h"
#include "selftests/fuzz/fuzz_keyservice.h"
#include "selftests/fuzz/fuzz_service.h"
#include "selftests/fuzz/seeds.h"

static const char *folder;

/* An input in the making. */
static __u8 bytes[65536];
static size_t len;

void put(const void *from, size_t n)
{
	MUST(len + n <= sizeof(bytes));
	memcpy(bytes + len, from, n);
	len += n;
}

void put_u8(__u8 value)
{
	put(&value, sizeof(value));
}

void put_piece(const void *from, size_t n)
{
	__u16 length = (__u16)n;

	put(&length, sizeof(length));
	if (n)
		put(from, n);
}

void save(const char *target, const char *name)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	MUST(!mkdir(path, 0755) || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "w");
	MUST(file && fwrite(bytes, 1, len, file) == len && !fclose(file));
	len = 0;
}

/* kms: fuzz_kms.c has the ends' addresses, SPIs and prefixes. */

static const struct hf_addr client = { .b = { [10] = 0xff, 0xff, 100, 0, 0, 1 } };

static void seed_kms_message(const char *name, const struct wire_message *message)
{
	__u8 frame[WIRE_FRAME_MAX];
	int n = wire_encode(message, frame, sizeof(frame));
	char more[64];

	MUST(n > 0);
	put_u8(0);
	put(frame, (size_t)n);
	save("kms", name);
	put_u8(3);
	put(&(__u16){ (__u16)(n - 2) }, 2);
	put(frame + 2, (size_t)n - 2);
	snprintf(more, sizeof(more), "%s-framed", name);
	save("kms", more);
	/* The same to an end that waits for it: 1, as the responder; or as the initiator. */
	put_u8(1);
	put_u8(message->type == WIRE_OFFER ? 0 : 1);
	put_piece(frame, (size_t)n);
	if (message->type == WIRE_OFFER || message->type == WIRE_ANSWER) {
		__u8 next[] = { 0, 2, WIRE_VERSION, message->type == WIRE_OFFER ? WIRE_CONFIRM : WIRE_DONE };

		put_piece(next, sizeof(next));
	}
	snprintf(more, sizeof(more), "%s-to-an-end", name);
	save("kms", more);
}

static void seed_kms(void)
{
	struct wire_message offer = { .type = WIRE_OFFER,
				      .offer = { .spi = 0x1000, .lifetime_s = 3600, .outer = client, .n_algorithms = 3,
						 .algorithms = { KMS_AES_256_GCM, KMS_AES_128_GCM,
								 KMS_CHACHA20_POLY1305 },
						 .n_inner = 1, .inner = { prefix_of_host(&client) } } };
	struct wire_message answer = { .type = WIRE_ANSWER,
				       .answer = { .spi = 0x2000, .lifetime_s = 600, .encapsulation = KMS_ENCAP_UDP,
						   .algorithm = KMS_AES_256_GCM, .n_inner = 1,
						   .inner = { prefix_of_host(&client) } } };
	struct wire_message refusal = { .type = WIRE_REFUSE, .refusal = { .reason = WIRE_REASON_INNER, .text = "no" } };
	struct wire_message reverse = answer, many = offer, confirm = { .type = WIRE_CONFIRM }, done = { .type = WIRE_DONE };

	reverse.type = WIRE_REVERSE;
	many.offer.n_inner = KMS_MAX_INNER; /* of ::/0 */
	memset(many.offer.inner, 0, sizeof(many.offer.inner));
	seed_kms_message("offer-of-many", &many);
	seed_kms_message("offer", &offer);
	seed_kms_message("answer", &answer);
	seed_kms_message("refuse", &refusal);
	seed_kms_message("reverse", &reverse);
	seed_kms_message("confirm", &confirm);
	seed_kms_message("done", &done);
	for (int how = 0; how < 3; how++) {
		static const char *const names[] = { "pair", "pair-install-fails", "pair-reversed" };

		put_u8(2);
		put_u8(0);
		put_u8((__u8)(how << 2));
		put_u8((__u8)(how << 2));
		save("kms", names[how]);
	}
	put_u8(2);
	put_u8(1);
	put("\x04\x00\x01", 3); /* one byte of the offer is another */
	save("kms", "pair-touched");
}

/* control */

static void seed_control(void)
{
	static const struct {
		const char *name;
		const char *lines;
	} seeds[] = {
		{ "status", "{\"command\": \"status\"}\n" },
		{ "events", "{\"command\": \"events\"}\n{\"command\": \"drain\"}\n{\"command\":\"undrain\"}\n" },
		{ "failover", "{\"command\": \"failover\", \"cluster\": \"Cluster 1\", \"gateway\": \"192.0.2.1\"}\n" },
		{ "reload", "{\"command\": \"reload\"}\n{\"command\": \"reload\"}\n{\"command\": \"status\"}\n" },
		{ "failover-any", "{\"command\": \"failover\", \"cluster\": \"AUTO\"}\n" },
		{ "failover-wrong", "{\"command\": \"failover\", \"cluster\": \"x\", \"gateway\": \"192.0.2\"}\n" },
		{ "no-json", "[]\nnull\n{\"command\": 1}\n{\"command\": \"\xff\"}\n\n" },
	};

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		size_t half = strlen(seeds[i].lines) / 2;

		put_piece(seeds[i].lines, strlen(seeds[i].lines));
		put_piece(seeds[i].lines, half);
		put_piece(seeds[i].lines + half, strlen(seeds[i].lines) - half);
		save("control", seeds[i].name);
	}
	/* A word that is repeated up to the midst of a character. */
	for (size_t i = 0; i < 2; i++) {
		char word[512] = "";

		strcpy(word, i ? "{\"command\":\"x" : "{\"command\":\"");
		for (size_t k = 0; k < 150; k++)
			strcat(word, "\xc3\xa9");
		strcat(word, "\"}\n");
		put_piece(word, strlen(word));
	}
	save("control", "cut-word");
	/* More answers than there is room for where nobody reads them; and an event that a request causes then. */
	for (size_t i = 0; i < 2; i++) {
		char much[1024] = "";

		memset(much, '\n', 300);
		strcpy(much + 300, "{\"command\":\"drain\"}\n");
		put_piece(much, strlen(much));
	}
	save("control", "not-read");
}

/* keyservice */

static void put_record(__u8 type, __u8 flags, const void *body, size_t n)
{
	put_u8(type);
	put_u8(flags);
	put_piece(body, n);
}

#define FAR_AWAY_S 4102444800

/* Nothing is admitted before all workers have read their identity. */
static void put_ready(__s32 result)
{
	const struct kms_ready ready = { .result = result, .name = "us", .not_after = FAR_AWAY_S };

	for (__u8 worker = 0; worker < KEYSERVICE_WORKERS; worker++)
		put_record(KMS_READY, (__u8)(worker << KEYSERVICE_WORKER_SHIFT), &ready, sizeof(ready));
}

static void seed_keyservice(void)
{
	const struct hf_addr us = KEYSERVICE_US, gateway = KEYSERVICE_GATEWAY, peer = KEYSERVICE_V4(203, 0, 113, 5);
	struct kms_session session = {
		.id = 1, .request = 1, .local = us, .remote = gateway, .spi_in = 0x1000, .spi_out = 0x2000,
		.lifetime_s = 600, .role = KMS_INITIATOR, .algorithm = KMS_AES_256_GCM,
		.encapsulation = KMS_ENCAP_ESP, .key_len = 36, .proven = 1, .n_inner = 1,
		.inner = { prefix_of_host(&us) }, .name = KEYSERVICE_PEER, .not_after = FAR_AWAY_S,
		.certificate = { .n = 1, .chain = { { .serial_len = 1, .serial = { 7 } } } }, .key_in = { 1 }, .key_out = { 2 },
	};
	/* The worker that dials this gateway, and another. */
	const __u8 who = (__u8)(keylisten_worker_of(&gateway, KEYSERVICE_WORKERS) << KEYSERVICE_WORKER_SHIFT);
	const __u8 other = who ^ 1 << KEYSERVICE_WORKER_SHIFT;
	struct kms_session_ref ref = { .session = 1 };
	const struct kms_failure failure = { .request = 1, .peer = gateway, .error = EACCES, .text = "not so" };
	const struct kms_failure refused = { .peer = gateway, .error = EACCES, .text = "\033[2J\n" };

	put_ready(0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	put_record(KMS_ACTIVATE, who, &ref, sizeof(ref));
	put_record(KEYSERVICE_ASK, 0, NULL, 0);
	save("keyservice", "dialled");
	session.not_after = INT64_MIN;
	put_ready(0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	save("keyservice", "found-long-ended");
	session.not_after = FAR_AWAY_S;
	put_ready(0);
	put_record(KMS_INSTALL, other, &session, sizeof(session));
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	put_record(KMS_ACTIVATE, other, &ref, sizeof(ref));
	put_record(KMS_REJECTED, other, &failure, sizeof(failure));
	put_record(KEYSERVICE_CANCEL, 0, NULL, 0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	save("keyservice", "of-another");
	put_ready(0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	put_record(KMS_READY, who | KEYSERVICE_AS_IT_IS, NULL, 0);
	put_record(KMS_REVOKED, other, &session.certificate, sizeof(session.certificate));
	put_record(KEYSERVICE_ASK, 0, NULL, 0);
	put_ready(0);
	save("keyservice", "dies");
	put_ready(0);
	put_record(KEYSERVICE_RELOAD, 0, NULL, 0);
	put_ready(-EINVAL);
	put_record(KEYSERVICE_RELOAD, 0, NULL, 0);
	put_record(KMS_ACTIVATE, who | KEYSERVICE_AS_IT_IS, NULL, 0);
	put_ready(0);
	save("keyservice", "reload");
	session.id = 2;
	session.spi_in++; /* the target says no to odd ones */
	put_ready(0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	session.reversed = 1;
	session.spi_in++;
	session.inner[0] = (struct hf_prefix){ .addr = KEYSERVICE_V4(10, 7, 3, 0), .len = 120 };
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	ref.session = 2;
	put_record(KMS_ABANDON, who, &ref, sizeof(ref));
	save("keyservice", "reversed");
	session = (struct kms_session){ .id = 3, .local = us, .remote = peer, .spi_in = 0x1000, .spi_out = 0x2000,
					.lifetime_s = 600, .role = KMS_RESPONDER, .algorithm = KMS_AES_128_GCM,
					.encapsulation = KMS_ENCAP_UDP, .remote_port = 4500, .key_len = 20,
					.n_inner = 2, .name = KEYSERVICE_PEER, .not_after = FAR_AWAY_S,
					.key_in = { 1 }, .key_out = { 2 } };
	session.inner[0] = prefix_of_host(&peer);
	session.inner[1] = (struct hf_prefix){ .addr = KEYSERVICE_V4(10, 7, 3, 0), .len = 120 };
	ref.session = 3;
	put_ready(0);
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	put_record(KMS_ACTIVATE, 0, &ref, sizeof(ref));
	put_record(KEYSERVICE_CHANGE, 0, NULL, 0);
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	save("keyservice", "accepted");
	session.name[0] = 0;
	put_ready(0);
	put_record(KMS_INSTALL, 0, &session, sizeof(session));
	save("keyservice", "inadmissible");
	put_ready(0);
	put_record(KMS_ECHO, who, NULL, 0);
	put_record(KEYSERVICE_RELOAD, 0, NULL, 0);
	put_record(KEYSERVICE_WAIT, 0, NULL, 0);
	put_record(KEYSERVICE_ASK, 0, NULL, 0);
	put_record(KMS_INSTALL, who, &session, sizeof(session));
	put_record(KEYSERVICE_WAIT, 0, NULL, 0);
	save("keyservice", "hangs");
	put_record(KMS_ATTEMPT_FAILED, who, &failure, sizeof(failure));
	put_record(KMS_REJECTED, who, &failure, sizeof(failure));
	put_record(KMS_REFUSED, other, &refused, sizeof(refused));
	save("keyservice", "failures");
	put_record(KMS_ACTIVATE, 0x62, &ref, sizeof(ref));
	save("keyservice", "descriptors");
	put_record(0, 1, "\3\0\0\0", 4);
	save("keyservice", "raw");
	put_record(KMS_CANCEL, 1, &ref, sizeof(ref));
	save("keyservice", "wrong-kind");
}

/* session */

static void seed_session(void)
{
	struct hf_session record = { .local = KEYSERVICE_US, .remote = KEYSERVICE_GATEWAY, .established_ns = 77,
				     .not_after = FAR_AWAY_S, .spi_in = 0x1000, .spi_out = 0x2000, .lifetime_s = 600,
				     .role = HF_ROLE_GATEWAY, .algorithm = KMS_AES_256_GCM, .proven = 1, .n_inner = 1,
				     .name = KEYSERVICE_PEER };

	record.inner[0] = (struct hf_tunnel_key){ .prefixlen = 128, .addr = record.local };
	put(&record, sizeof(record));
	save("session", "gateway");
	record.role = HF_ROLE_CLIENT;
	record.slot = 9;
	record.port = 4500;
	record.claimed = 1;
	record.n_inner = 2;
	record.inner[0].addr = record.remote;
	record.inner[1] = (struct hf_tunnel_key){ .prefixlen = 120, .addr = KEYSERVICE_V4(10, 7, 3, 0) };
	put(&record, sizeof(record));
	save("session", "client");
	record.inner[1].prefixlen = 104;
	put(&record, sizeof(record));
	save("session", "client-with-too-much");
}

/* service */

static void seed_service(void)
{
	struct kms_request request = { .id = 1, .timeout_ms = 1000, .patience_ms = 100, .port = 7546, .n_gateways = 2,
				       .gateways = { KEYSERVICE_GATEWAY, KEYSERVICE_GATEWAY } };
	const struct kms_identity settings = { .lifetime_s = 3600, .exchange_ms = 5000 };
	const struct kms_installed installed = { .session = 1 };
	const struct kms_activated activated = { .session = 1 };
	const struct kms_cancel cancel = { .id = 1 };
	static struct kms_knowns knowns = { .n = 2 };
	static const __u8 hello[] = { 22, 3, 1, 0, 5, 1, 0, 0, 1, 3 }; /* the start of a ClientHello */
	const __u8 peers[4 + sizeof(struct kms_peer)] = { 1 };

	put_record(KMS_REQUEST, 2 << 4, &request, sizeof(request));
	put_record(SERVICE_NETWORK, 0, hello, sizeof(hello));
	put_record(KMS_CANCEL, 0, &cancel, sizeof(cancel));
	save("service", "request");
	put_record(KMS_PEERS, SERVICE_AS_IT_IS, peers, sizeof(peers));
	put_record(KMS_LISTEN, 1 << 4, NULL, 0);
	put_record(SERVICE_DIAL, 10, NULL, 0);
	put_record(KMS_INSTALLED, 0, &installed, sizeof(installed));
	put_record(KMS_ACTIVATED, 0, &activated, sizeof(activated));
	put_record(SERVICE_NETWORK, 1, hello, sizeof(hello));
	put_record(SERVICE_NETWORK, 2, "GET / HTTP/1.0\r\n\r\n", 18);
	save("service", "dialled");
	/* One of whom nothing but the address is known, and one whose certificate is asked about. */
	knowns.known[0].remote = request.gateways[0];
	knowns.known[1] = knowns.known[0];
	knowns.known[1].certificate.n = knowns.known[1].certificate.chain[0].serial_len = 1;
	put_record(KMS_KNOWN, 0, &knowns, sizeof(__u32) + 2 * sizeof(struct kms_known));
	put_record(KMS_LISTEN, 1 << 4, NULL, 0);
	put_record(SERVICE_DIAL, 3, NULL, 0);
	save("service", "known");
	put_record(KMS_IDENTITY, 3 << 4, &settings, sizeof(settings));
	save("service", "identity");
	put_record(KMS_ACTIVATE, SERVICE_AS_IT_IS, &cancel, sizeof(cancel));
	save("service", "wrong-kind");
	put_record(0, SERVICE_AS_IT_IS, hello, sizeof(hello));
	save("service", "raw");
}

int main(int argc, char **argv)
{
	MUST(argc == 2);
	folder = argv[1];
	seed_kms();
	seeds_datapath();
	seeds_netlink();
	seed_control();
	seed_keyservice();
	seed_session();
	seed_service();
	return 0;
}
