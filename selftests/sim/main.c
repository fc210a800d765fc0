/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The simulator's command line: many seeds, one seed with its trace, or the big
 * runs. See README.md.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftests/sim/app.h"
#include "selftests/sim/faults.h"
#include "selftests/sim/invariants.h"
#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"
#include "selftests/sim/spread.h"

#define TRACE_LINES 150
#define ANSWERS_NS (2 * SEC)

static const char usage[] =
	"usage: sim [OPTION]...\n"
	"Plays client and gateways with the real failover and exchange state machines in virtual time, and checks\n"
	"after every step that what must hold does. See selftests/sim/README.md.\n\n"
	"  --seeds N     run N seeds (10000)\n"
	"  --from N      begin with this seed (1)\n"
	"  --seed N      run this seed only\n"
	"  --kind KIND   small (the default): up to 20 clients; crowd: 3000 clients; spread: 10,000 clients of one\n"
	"                policy and the death of one gateway, judged by chi-squared\n"
	"  --trace       print what happens; a seed that fails prints the end of its trace anyway\n"
	"  --quiet       print no sums\n"
	"  --help        this\n\n"
	"Exit status: 0 all seeds hold; 1 one does not (the run ends there); 2 usage, or out of memory.\n";

struct options {
	enum shape_kind kind;
	__u64 from, seeds;
	bool trace, quiet;
};

static void play(struct sim *sim)
{
	__u64 bound = faults_end_ns(sim) + sim->shape.bound_ns;

	if (sim->shape.kind == SHAPE_SPREAD) {
		spread_play(sim);
		return;
	}
	sim_run(sim, bound);
	if (!sim->failed)
		invariant_settled(sim);
	sim_run(sim, bound + sim->shape.window_ns);
	for (int i = 0; i < sim->shape.n_clients && !sim->failed; i++)
		app_window_end(node_client(sim, i));
	sim_run(sim, bound + sim->shape.window_ns + ANSWERS_NS);
	if (!sim->failed)
		invariant_answered(sim);
}

/* One seed; the counts are added up. */
static bool run(const struct options *options, __u64 seed, FILE *trace, struct sim *sums, char why[256])
{
	struct sim sim;
	__u64 *sum = (__u64 *)&sums->count;
	bool failed;

	sim_init(&sim, options->kind, seed, trace);
	play(&sim);
	failed = sim.failed;
	memcpy(why, sim.why, sizeof(sim.why));
	for (size_t i = 0; i < sizeof(sim.count) / sizeof(__u64); i++)
		sum[i] += ((__u64 *)&sim.count)[i];
	sim_worst(&sums->worst, sim.worst.ns, sim.worst.seed);
	sim_worst(&sums->worst_at_once, sim.worst_at_once.ns, sim.worst_at_once.seed);
	sim_clear(&sim);
	return !failed;
}

static void print_tail(const char *text)
{
	const char *at = text + strlen(text);

	for (int lines = 0; at > text && lines <= TRACE_LINES; at--)
		lines += at[-1] == '\n';
	if (at > text)
		fputs("...\n", stdout);
	fputs(at > text ? at + 1 : at, stdout);
}

/* The same seed once more, to tell its story. */
static void tell(const struct options *options, __u64 seed, const char *why)
{
	static const char *const kinds[] = { "small", "crowd", "spread" };
	struct sim sums = { 0 };
	char *text = NULL, again[256];
	size_t len;
	FILE *trace = open_memstream(&text, &len);

	if (trace) {
		run(options, seed, trace, &sums, again);
		fclose(trace);
		print_tail(text);
		free(text);
		if (strcmp(why, again))
			printf("AND ANOTHER THING THE SECOND TIME: %s\n", again);
	}
	printf("seed %llu: %s\nto replay: sim --kind %s --seed %llu --trace\n", (unsigned long long)seed, why,
	       kinds[options->kind], (unsigned long long)seed);
}

static void print_sums(const struct options *options, const struct sim *sums, double seconds)
{
	printf("%llu seeds hold in %.1f s: %llu events, %llu steps of failover, %llu exchanges, %llu sessions (%llu renewed, "
	       "%llu reversed, %llu abandoned, %llu both dialled), %llu collisions of SPIs refused, %llu crashes, %llu daemons "
	       "killed (%llu sessions adopted), %llu policies changed, %llu failovers, %llu false alarms, "
	       "%llu heartbeats reflected (%llu forged), %llu packets sent, %llu answered, %llu duplicates dropped\n",
	       (unsigned long long)options->seeds, seconds, (unsigned long long)sums->count.events,
	       (unsigned long long)sums->count.steps, (unsigned long long)sums->count.exchanges,
	       (unsigned long long)sums->count.sessions, (unsigned long long)sums->count.renewals,
	       (unsigned long long)sums->count.reversed, (unsigned long long)sums->count.abandoned,
	       (unsigned long long)sums->count.both_dial, (unsigned long long)sums->count.collisions,
	       (unsigned long long)sums->count.crashes, (unsigned long long)sums->count.kills,
	       (unsigned long long)sums->count.adopted, (unsigned long long)sums->count.changes,
	       (unsigned long long)sums->count.failovers, (unsigned long long)sums->count.false_alarms,
	       (unsigned long long)sums->count.reflected, (unsigned long long)sums->count.forged,
	       (unsigned long long)sums->count.sent, (unsigned long long)sums->count.answered,
	       (unsigned long long)sums->count.replayed);
	printf("the worst recovery: %.1f s (seed %llu); where another session stood: %.1f s (seed %llu)\n",
	       (double)sums->worst.ns / SEC, (unsigned long long)sums->worst.seed, (double)sums->worst_at_once.ns / SEC,
	       (unsigned long long)sums->worst_at_once.seed);
}

static int run_all(const struct options *options)
{
	struct sim sums = { 0 };
	struct timespec begun, ended;
	char why[256];

	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (__u64 seed = options->from; seed < options->from + options->seeds; seed++)
		if (!run(options, seed, options->trace ? stdout : NULL, &sums, why)) {
			if (options->trace)
				printf("seed %llu: %s\n", (unsigned long long)seed, why);
			else
				tell(options, seed, why);
			return 1;
		}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	if (!options->quiet)
		print_sums(options, &sums,
			   (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9);
	return 0;
}

static bool read_number(const char *text, __u64 *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 0);
	return !errno && end != text && !*end && text[0] != '-';
}

static bool read_kind(const char *text, enum shape_kind *ret)
{
	static const char *const kinds[] = { [SHAPE_SMALL] = "small", [SHAPE_CROWD] = "crowd", [SHAPE_SPREAD] = "spread" };

	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(text, kinds[i])) {
			*ret = (enum shape_kind)i;
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seeds", required_argument, NULL, 'n' }, { "from", required_argument, NULL, 'f' },
		{ "seed", required_argument, NULL, 's' },  { "kind", required_argument, NULL, 'k' },
		{ "trace", no_argument, NULL, 't' },	   { "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },	   { 0 },
	};
	struct options options = { .from = 1, .seeds = 10000 };
	bool ok = true;
	int option;

	while (ok && (option = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (option) {
		case 'n': ok = read_number(optarg, &options.seeds); break;
		case 'f': ok = read_number(optarg, &options.from); break;
		case 's': ok = read_number(optarg, &options.from); options.seeds = 1; break;
		case 'k': ok = read_kind(optarg, &options.kind); break;
		case 't': options.trace = true; break;
		case 'q': options.quiet = true; break;
		case 'h': fputs(usage, stdout); return 0;
		default: ok = false;
		}
	if (!ok || optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return run_all(&options);
}
