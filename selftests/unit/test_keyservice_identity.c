/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the workers of the key management service are told, and what when one of them hangs. */
#include "selftests/unit/keyservice_scene.h"

static void tells_a_worker_its_own(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct kms_session session;
	const char *revoked = source_of(1, 2);
	char error[PKI_ERROR_MAX];

	make_session(revoked, &session);
	told.known[0] = (struct kms_known){ .remote = session.remote, .certificate = session.certificate };
	told.n_known = 1;
	if (pki_revoke(pki, revoked, error))
		fail_msg("%s", error);
	reload(&scene, scene.policy);
	until(told.revoked == 1);
	for (size_t other = 0; other < WORKERS; other += 2) {
		kill_worker(&scene, other);
		until(told.ready == 3 + other / 2);
		make_session(source_of(other, 1), NULL); /* all that came before has been read */
	}
	assert_int_equal(told.revoked, 1);
	scene_end(&scene);
}

/* The session's other end is what holdfastd knows; it is told which of them is revoked, and of no other. */
static void names_the_sessions_of_a_revoked_certificate(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *again = make_policy("gateway", WORKERS);
	const char *sources[2] = { "10.127.4.1", "10.127.4.2" };
	struct kms_session sessions[2];
	char error[PKI_ERROR_MAX];

	for (size_t i = 0; i < 2; i++) {
		make_session(sources[i], &sessions[i]);
		assert_int_equal(sessions[i].certificate.n, 1);
		assert_in_range(sessions[i].certificate.chain[0].serial_len, 1, KMS_SERIAL_MAX);
		told.known[i] = (struct kms_known){ .remote = sessions[i].remote, .certificate = sessions[i].certificate };
	}
	told.n_known = 2;
	assert_memory_not_equal(&sessions[0].certificate, &sessions[1].certificate, sizeof(struct kms_certificate));
	reload(&scene, again);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.last_ready.n_anchors, 1);
	assert_int_equal(told.last_ready.n_revoked, 0);
	if (pki_revoke(pki, sources[1], error))
		fail_msg("%s", error);
	assert_int_equal(told.revoked, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.n_revoked, 1);
	until(told.revoked);
	assert_int_equal(told.revoked, 1);
	assert_memory_equal(&told.last_revoked, &sessions[1].certificate, sizeof(struct kms_certificate));
	/* While it is dead, who stands in for its worker is told who has sessions, and looks at once; so is the next one then. */
	kill_worker(&scene, keylisten_worker_of(&sessions[1].remote, WORKERS));
	until(told.revoked == 3);
	assert_memory_equal(&told.last_revoked, &sessions[1].certificate, sizeof(struct kms_certificate));
	scene_end(&scene);
	policy_free(again);
}

static void keeps_the_identity_before(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *missing = make_policy("nobody", WORKERS), *wrong = make_policy("gateway", WORKERS);
	char error[512] = "";

	assert_int_equal(keyservice_offer_identity(scene.service, missing, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "nobody.pem: No such file"));
	need_certificate("10.127.4.3");
	free(wrong->identity.private_key);
	wrong->identity.private_key = strdup("10.127.4.3.key");
	reload(&scene, wrong);
	assert_int_equal(told.last_ready.result, -EINVAL);
	assert_string_equal(told.last_ready.text, "private key: does not belong to the certificate");
	policy_free(wrong);
	policy_free(missing);
	for (size_t i = 0; i < WORKERS; i++)
		make_session(source_of(i, 1), NULL);
	kill_worker(&scene, 1);
	make_session(source_of(1, 1), NULL);
	scene_end(&scene);
}

/* Another certificate, another name: sessions go on, new ones have it; also of a worker that is started again. */
static void takes_a_new_certificate(void **state)
{
	struct scene scene = scene_make(WORKERS);
	struct policy *renewed;

	make_session(source_of(0, 1), NULL);
	issue("renewed", GATEWAY, 30);
	renewed = make_policy("renewed", WORKERS);
	reload(&scene, renewed);
	assert_int_equal(told.last_ready.result, 0);
	assert_string_equal(told.last_ready.name, "renewed");
	assert_int_equal(told.abandoned, 0);
	make_session(source_of(2, 1), NULL);
	kill_worker(&scene, 2);
	until(told.ready == 3);
	assert_string_equal(told.last_ready.name, "renewed");
	scene_end(&scene);
	policy_free(renewed);
}

/* The certificate of that name anew, but ending in so many seconds. */
static void shorten(const char *name, int seconds)
{
	char path[128];
	FILE *file;
	X509 *certificate;
	EVP_PKEY *key;

	snprintf(path, sizeof(path), "%s/ca.key", pki);
	file = fopen(path, "re");
	assert_non_null(file);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	snprintf(path, sizeof(path), "%s/%s.pem", pki, name);
	file = fopen(path, "r+e");
	assert_non_null(file);
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	assert_non_null(certificate);
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), seconds));
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* A certificate that ends takes its sessions with it: their lifetime is no longer than its own. */
static void no_session_outlives_a_certificate(void **state)
{
	struct scene scene = scene_make(1);
	struct kms_session session;
	struct policy *ending;

	need_certificate("10.127.4.4");
	make_session("10.127.4.4", &session);
	assert_int_equal(session.lifetime_s, 3600); /* what the client offers */
	shorten("10.127.4.4", 1000);
	make_session("10.127.4.4", &session);
	assert_in_range(session.lifetime_s, 900, 1000);
	/* Our own just the same. */
	issue("ending", GATEWAY, 30);
	shorten("ending", 500);
	ending = make_policy("ending", 1);
	reload(&scene, ending);
	make_session("10.127.4.4", &session);
	assert_in_range(session.lifetime_s, 400, 500);
	scene_end(&scene);
	policy_free(ending);
}

/* ---- workers that hang ---- */

#define ANSWER_S 3

static void stop_worker(struct scene *scene, size_t worker)
{
	assert_int_equal(kill(keyservice_pid(scene->service, worker), SIGSTOP), 0);
}

/* It is noticed, told, and a new one serves those who come to it. */
static void until_replaced(struct scene *scene, size_t worker)
{
	until(told.deaths);
	assert_int_equal(told.deaths, 1);
	assert_int_equal(told.death.index, worker);
	until(keyservice_pid(scene->service, worker) > 0);
	make_session(source_of(worker, 1), NULL);
}

/* Nothing is asked of it but whether it is there. */
static void notices_one_that_hangs(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);

	stop_worker(&scene, 1);
	until_replaced(&scene, 1);
	assert_string_equal(told.why, "it hung");
	scene_end(&scene);
}

/* One that hangs does not keep the others from learning who is revoked, and the next reload is not held up either. */
static void a_reload_gets_past_one_that_hangs(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);
	const char *revoked = "10.127.4.8";
	struct kms_session session;
	char error[PKI_ERROR_MAX];

	make_session(revoked, &session);
	told.known[0] = (struct kms_known){ .remote = session.remote, .certificate = session.certificate };
	told.n_known = 1;
	if (pki_revoke(pki, revoked, error))
		fail_msg("%s", error);
	stop_worker(&scene, 1);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	until(told.revoked);
	assert_memory_equal(&told.last_revoked, &session.certificate, sizeof(struct kms_certificate));
	until_replaced(&scene, 1);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.deaths, 1);
	scene_end(&scene);
}

/* A single one: the reload fails, and the next does not. */
static void a_reload_fails_with_the_only_one(void **state)
{
	struct scene scene = scene_make_with(1, ANSWER_S);

	stop_worker(&scene, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, -ENOTCONN);
	until(told.ready == 3); /* of the one that was started again */
	assert_int_equal(told.last_ready.result, 0);
	reload(&scene, scene.policy);
	assert_int_equal(told.last_ready.result, 0);
	scene_end(&scene);
}

/* All stood still, as in a machine that is suspended: the time is nobody's fault. */
static void blames_nobody_for_our_own_halt(void **state)
{
	struct scene scene = scene_make_with(WORKERS, ANSWER_S);
	char error[512] = "";

	stop_worker(&scene, 1);
	assert_int_equal(keyservice_offer_identity(scene.service, scene.policy, error, sizeof(error)), 0);
	sleep(2 * ANSWER_S);
	turn();
	turn();
	assert_int_equal(kill(keyservice_pid(scene.service, 1), SIGCONT), 0);
	until(told.ready == 2);
	assert_int_equal(told.last_ready.result, 0);
	assert_int_equal(told.deaths, 0);
	scene_end(&scene);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_sessions_of_a_revoked_certificate),
		cmocka_unit_test(tells_a_worker_its_own),
		cmocka_unit_test(keeps_the_identity_before),
		cmocka_unit_test(takes_a_new_certificate),
		cmocka_unit_test(no_session_outlives_a_certificate),
		cmocka_unit_test(notices_one_that_hangs),
		cmocka_unit_test(a_reload_gets_past_one_that_hangs),
		cmocka_unit_test(a_reload_fails_with_the_only_one),
		cmocka_unit_test(blames_nobody_for_our_own_halt),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("keyservice_identity", tests, set_up, tear_down);
}
