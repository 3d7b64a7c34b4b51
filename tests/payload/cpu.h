/* The parts of the payload "cpu". */
#pragma once
#include "payload.h"

void cpu_faults(void);
void cpu_state(void);

#define CPUID1_ECX_XSAVE BIT(26)
#define CPUID1_ECX_AVX   BIT(28)
#define CR4_OSFXSR  BIT(9)
#define CR4_OSXSAVE BIT(18)

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
static inline void do_cpuid(void) { cpuid(0, 0); }
