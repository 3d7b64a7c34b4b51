/* The parts of the payload `contract`, and how they tell what can be written. */
#pragma once
#include "payload.h"

#define CR4_OSXSAVE BIT(18)
#define CR4_PKE     BIT(22)

static inline void xsetbv(uint32_t reg, uint64_t v)
{
	__asm__ volatile("xsetbv" :: "c"(reg), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}
static inline uint64_t xgetbv(uint32_t reg)
{
	uint32_t a, d;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(reg));
	return (uint64_t)d << 32 | a;
}

/* What happens when each bit of a register is inverted alone: it is kept, or there is a fault, or neither. */
struct flips { uint64_t keeps, faults; };
#define FLIP_BITS(skip, base, get, set) ({ \
	struct flips flips_ = { 0, 0 }; \
	for (unsigned bit_ = 0; bit_ < 8 * sizeof(base); bit_++) { \
		if ((skip) >> bit_ & 1) \
			continue; \
		if (TRY(set((base) ^ (__typeof__(base))BIT(bit_))) != NO_FAULT) \
			flips_.faults |= BIT(bit_); \
		else if ((get() ^ (base)) == (__typeof__(base))BIT(bit_)) \
			flips_.keeps |= BIT(bit_); \
		(void)TRY(set(base)); \
	} \
	flips_; \
})

void contract_registers(void);
void contract_msrs(void);
/* Changes the local APIC's mode for good. */
void contract_apic(void);
