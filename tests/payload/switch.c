/*
 * State that a CPU keeps outside its general registers, while others have the CPU in between: filled with a pattern of
 * `seed`, computed over for some slices, compared; `count` times. What another guest left, or a register that was not
 * switched, shows as a difference.
 */
#include "vectors.h"

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
