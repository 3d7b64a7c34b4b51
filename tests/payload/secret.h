/* Words of 32 lower-case letters that only their number makes: what is planted in one place and must not be found in another. */
#pragma once
#include "payload.h"

#define SECRET_LEN 32

/* Marsaglia, "Xorshift RNGs": 13, 7, 17 */
static inline uint64_t xorshift(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* tests/system/hostile.py has the same. */
static inline void secret_make(uint64_t number, char out[SECRET_LEN])
{
	uint64_t state = (number + 1) * 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < SECRET_LEN; i++)
		out[i] = (char)('a' + (xorshift(&state) >> 33) % 26);
}
