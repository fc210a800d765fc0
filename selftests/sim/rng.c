/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/rng.h"

__u64 rng_mix(__u64 z)
{
	z += 0x9e3779b97f4a7c15ull;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, __u64 seed)
{
	for (int i = 0; i < 4; i++)
		rng->s[i] = rng_mix(seed + (__u64)i * 0x9e3779b97f4a7c15ull);
}

static __u64 rotate(__u64 x, int k)
{
	return x << k | x >> (64 - k);
}

__u64 rng_next(struct rng *rng)
{
	__u64 *s = rng->s;
	__u64 result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

/* The upper half of a 128-bit product: even to one part in 2^64 / bound. */
__u64 rng_below(struct rng *rng, __u64 bound)
{
	return (__u64)((unsigned __int128)rng_next(rng) * bound >> 64);
}

__u64 rng_range(struct rng *rng, __u64 low, __u64 high)
{
	return low + rng_below(rng, high - low + 1);
}

bool rng_chance(struct rng *rng, unsigned int per_mille)
{
	return rng_below(rng, 1000) < per_mille;
}
