/*
 * State that a CPU keeps outside its general registers, while others have the CPU in between: filled with a pattern of
 * `seed`, computed over for some slices, compared; `count` times. What another guest left, or a register that was not
 * switched, shows as a difference.
 */
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
#define SPIN           5000000 /* iterations of two instructions: two slices of 5 ms */
#define MSR_STAR       0xc0000081
#define MSR_LSTAR      0xc0000082
#define MSR_CSTAR      0xc0000083
#define MSR_FMASK      0xc0000084
#define MSR_KERNEL_GS  0xc0000102
#define MSR_SPEC_CTRL  0x48
#define SPEC_CTRL_BITS 7    /* IBRS, STIBP, SSBD */
#define CPUID7D_SPEC   0x8c000000u /* any of them */

static bool spec_ctrl;
static uint8_t in[32 * 64] __attribute__((aligned(64))), out[32 * 64] __attribute__((aligned(64)));
static const uint32_t msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_KERNEL_GS };

static void spin(void)
{
	uint64_t c = SPIN;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(c) :: "cc");
}

static uint32_t xcr0_enable(void)
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

/* zmm10 to zmm17: old and new registers, all three parts of the state. */
static size_t vectors(uint32_t xcr0, const uint8_t *load, uint8_t *store)
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

static const char *round(uint32_t xcr0, uint64_t pattern)
{
	uint64_t dr[4], cr2 = pattern | 0xff, x87 = 0;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(pattern >> i % 8 * 8) ^ (uint8_t)i;
	size_t bytes = vectors(xcr0, in, NULL);
	__asm__ volatile("fninit; fildq %0" :: "m"(pattern));
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr3; mov %1, %%cr2" :: "r"(pattern), "r"(cr2));
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		wrmsr(msrs[i], pattern & 0x7fffffff);
	if (spec_ctrl)
		wrmsr(MSR_SPEC_CTRL, pattern & SPEC_CTRL_BITS);
	spin();
	vectors(xcr0, NULL, out);
	__asm__ volatile("fistpq %0" : "=m"(x87));
	__asm__ volatile("mov %%dr0, %0; mov %%dr3, %1" : "=r"(dr[0]), "=r"(dr[3]));
	if (memcmp(in, out, bytes))
		return "vectors";
	if (x87 != pattern)
		return "x87";
	if (dr[0] != pattern || dr[3] != pattern)
		return "debug registers";
	if (rdcr2() != cr2)
		return "cr2";
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (rdmsr(msrs[i]) != (pattern & 0x7fffffff))
			return "msr";
	if (spec_ctrl && rdmsr(MSR_SPEC_CTRL) != (pattern & SPEC_CTRL_BITS))
		return "speculation controls";
	return NULL;
}

void payload_main(void)
{
	uint64_t seed = option_number("seed", 1), count = option_number("count", 20);
	uint32_t xcr0 = xcr0_enable();

	spec_ctrl = cpuid(0, 0).a >= 7 && (cpuid(7, 0).d & CPUID7D_SPEC);
	for (uint64_t n = 1; n <= count; n++) {
		const char *lost = round(xcr0, (seed << 32 | n) * 0x9e3779b97f4a7c15 >> 1);

		if (lost) {
			print("switch: round %lu lost %s\n", n, lost);
			return;
		}
	}
	print("switch: kept, xcr0 %x\n", xcr0);
	print("# spec_ctrl %u\n", spec_ctrl);
}
