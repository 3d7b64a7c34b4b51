/* Numbers that look random and are the same in each run: xorshift64 (Marsaglia, 2003). */
#pragma once
#include <stdint.h>

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}
