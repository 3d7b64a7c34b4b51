/*
 * The CPU contract: all that CPUID says, every MSR, and which bits of the control and debug registers can be written.
 * docs/cpu-contract.md predicts what a guest sees of it; tests/system/test_equivalence_contract.py compares.
 */
#include "contract.h"

#define LEAF_CACHES   4
#define LEAF_FEATURES 7
#define LEAF_XSAVE    0xd
#define LAST_LEAF     0x25 /* beyond what any CPU model here has */
#define XSAVE_LEAVES  64
#define CACHE_LEAVES  8

static void show(uint32_t leaf, uint32_t subleaf, const char *state)
{
	struct cpuid r = cpuid(leaf, subleaf);

	print("cpuid %x.%x%s: %x %x %x %x\n", leaf, subleaf, state, r.a, r.b, r.c, r.d);
}

static void leaves(void)
{
	static const struct { uint32_t first, last; } ranges[] = {
		{ 0x3fffffff, 0x40000012 }, { 0x400000ff, 0x40000100 }, { 0x4fffffff, 0x50000000 }, { 0x7fffffff, 0x8000000a },
		{ 0x8000001f, 0x8000001f }, { 0x8fffffff, 0x90000000 }, { 0xbfffffff, 0xc0000004 }, { 0xffffffff, 0xffffffff },
	};

	for (uint32_t leaf = 0; leaf <= LAST_LEAF; leaf++) {
		uint32_t n = leaf == LEAF_XSAVE ? XSAVE_LEAVES : leaf == LEAF_CACHES ? CACHE_LEAVES : 4;

		for (uint32_t subleaf = 0; subleaf < n; subleaf++)
			show(leaf, subleaf, "");
	}
	show(LEAF_CACHES, ~0u, "");
	show(LEAF_FEATURES, ~0u, "");
	show(LEAF_XSAVE, XSAVE_LEAVES, "");
	show(LEAF_XSAVE, ~0u, "");
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		for (uint32_t leaf = ranges[i].first; ; leaf++) {
			show(leaf, 0, "");
			if (leaf == ranges[i].last)
				break;
		}
}

extern void compat_cpuid(uint32_t leaf, struct cpuid *out);
__asm__(".pushsection .text\n"
	"compat_cpuid: push %rbx; mov %rsi, %r8; mov %edi, %eax; xor %ecx, %ecx\n"
	"	push $0x18; lea 1f(%rip), %r9; push %r9; lretq\n"
	".code32\n"
	"1:	cpuid; ljmp $8, $2f\n"
	".code64\n"
	"2:	mov %eax, (%r8); mov %ebx, 4(%r8); mov %ecx, 8(%r8); mov %edx, 12(%r8); pop %rbx; ret\n"
	".popsection");

/* Outside 64-bit mode: the unused descriptor becomes a 32-bit code segment. */
static void compatibility(void)
{
	uint64_t old = gdt[SEL_ABSENT / 8];
	struct cpuid r;

	gdt[SEL_ABSENT / 8] = 0x00cf9b000000ffff;
	compat_cpuid(0x80000001, &r);
	gdt[SEL_ABSENT / 8] = old;
	print("cpuid 80000001.0 compat: %x %x %x %x\n", r.a, r.b, r.c, r.d);
}

/* What follows control registers. */
static void states(void)
{
	static const uint64_t xcr0[] = { 3, 7, 0xe7, 0x203, 0x207, 0x2e7 };
	uint64_t cr4 = rdcr4();

	compatibility();
	if (TRY(wrcr4(cr4 | CR4_PKE)) == NO_FAULT)
		show(LEAF_FEATURES, 0, " pke");
	wrcr4(cr4);
	if (TRY(wrcr4(cr4 | CR4_OSXSAVE)) != NO_FAULT)
		return;
	show(1, 0, " osxsave");
	for (unsigned i = 0; i < ARRAY_SIZE(xcr0); i++)
		if (TRY(xsetbv(0, xcr0[i])) == NO_FAULT)
			for (unsigned s = 0; s < 2; s++) {
				struct cpuid r = cpuid(LEAF_XSAVE, s);

				print("cpuid d.%x xcr0=%lx: %x %x %x %x\n", s, xgetbv(0), r.a, r.b, r.c, r.d);
			}
	xsetbv(0, 1);
	wrcr4(cr4);
}

void payload_main(void)
{
	wrcr4(rdcr4() & ~(CR4_OSXSAVE | CR4_PKE));
	leaves();
	states();
	contract_registers();
	contract_msrs();
	contract_apic();
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(BIT(10) | BIT(11)));
	show(1, 0, " apic-off");
}
