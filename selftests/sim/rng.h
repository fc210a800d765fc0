/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Random numbers of the simulation: the same from one seed on every machine. Owns
 * the generator (xoshiro256**, seeded by splitmix64; Blackman and Vigna, 2018), and
 * knows nothing of what is drawn with it.
 */
#ifndef HF_SIM_RNG_H
#define HF_SIM_RNG_H

#include <linux/types.h>
#include <stdbool.h>

struct rng {
	__u64 s[4];
};

void rng_seed(struct rng *rng, __u64 seed);
__u64 rng_next(struct rng *rng);

/* 0..bound-1; 0 for a bound of 0. */
__u64 rng_below(struct rng *rng, __u64 bound);

/* low..high, both included. */
__u64 rng_range(struct rng *rng, __u64 low, __u64 high);

/* True with a chance of per_mille in 1000. */
bool rng_chance(struct rng *rng, unsigned int per_mille);

/* One value mixed from another, without state: hashes and keys. */
__u64 rng_mix(__u64 value);

#endif
