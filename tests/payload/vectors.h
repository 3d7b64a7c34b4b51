/* The vector registers: switched on as far as the CPU has them, filled, and read back. */
#pragma once
#include "payload.h"

#define CR0_MP         BIT(1)
#define CR0_EM         BIT(2)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_OSXSAVE    BIT(18)
#define CPUID1C_XSAVE  BIT(26)
#define XCR0_SSE       3u
#define XCR0_AVX       7u
#define XCR0_AVX512    0xe7u
#define VECTORS_SIZE   (8 * 64)

static inline uint32_t xcr0_enable(void)
{
	wrcr0((rdcr0() & ~CR0_EM) | CR0_MP);
	wrcr4(rdcr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	if (!(cpuid(1, 0).c & CPUID1C_XSAVE))
		return XCR0_SSE;
	wrcr4(rdcr4() | CR4_OSXSAVE);
	uint32_t can = cpuid(0xd, 0).a;
	uint32_t use = (can & XCR0_AVX512) == XCR0_AVX512 ? XCR0_AVX512 : (can & XCR0_AVX) == XCR0_AVX ? XCR0_AVX : XCR0_SSE;
	__asm__ volatile("xsetbv" :: "c"(0), "a"(use), "d"(0));
	return use;
}

/* One instruction for each of the registers first to first + 15 or + 7. */
#define EACH8(f, base)  f(0, base) f(1, base) f(2, base) f(3, base) f(4, base) f(5, base) f(6, base) f(7, base)
#define LOAD_SSE(n, b)  "movdqa 16*" #n "+" b "(%0), %%xmm" #n ";"
#define STORE_SSE(n, b) "movdqa %%xmm" #n ", 16*" #n "+" b "(%0);"
#define LOAD_AVX(n, b)  "vmovdqa 32*" #n "+" b "(%0), %%ymm" #n ";"
#define STORE_AVX(n, b) "vmovdqa %%ymm" #n ", 32*" #n "+" b "(%0);"
#define LOAD_512(n, b)  "vmovdqa64 64*" #n "+" b "(%0), %%zmm1" #n ";"
#define STORE_512(n, b) "vmovdqa64 %%zmm1" #n ", 64*" #n "+" b "(%0);"

/* Loads or stores, aligned to 64; how many bytes. zmm10 to zmm17: old and new registers, all three parts of the state. */
static inline size_t vectors(uint32_t xcr0, const uint8_t *load, uint8_t *store)
{
	if (xcr0 == XCR0_AVX512) {
		if (load)
			__asm__ volatile(EACH8(LOAD_512, "0") :: "r"(load) : "memory");
		else
			__asm__ volatile(EACH8(STORE_512, "0") :: "r"(store) : "memory");
		return 8 * 64;
	}
	if (xcr0 == XCR0_AVX) {
		if (load)
			__asm__ volatile(EACH8(LOAD_AVX, "0") :: "r"(load) : "memory");
		else
			__asm__ volatile(EACH8(STORE_AVX, "0") :: "r"(store) : "memory");
		return 8 * 32;
	}
	if (load)
		__asm__ volatile(EACH8(LOAD_SSE, "0") :: "r"(load) : "memory");
	else
		__asm__ volatile(EACH8(STORE_SSE, "0") :: "r"(store) : "memory");
	return 8 * 16;
}
