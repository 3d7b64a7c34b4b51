/* 128-bit steps that 64-bit time arithmetic needs. */
#pragma once
#include <tf/types.h>

/* a * b / c without overflow in the middle; the quotient is truncated to 64 bits, c must not be 0. */
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t hi, lo, q, r;
	__asm__("mulq %3" : "=a"(lo), "=d"(hi) : "a"(a), "rm"(b) : "cc");
	hi %= c; /* keeps DIV from overflowing: the quotient's upper half is dropped */
	__asm__("divq %4" : "=a"(q), "=d"(r) : "a"(lo), "d"(hi), "rm"(c) : "cc");
	return q;
}

/* Position of the highest set bit; x must not be 0. */
static inline unsigned bit_highest(uint64_t x) { return (unsigned)__builtin_clzll(x) ^ 63u; }
/* Position of the lowest set bit; x must not be 0. */
static inline unsigned bit_lowest(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
