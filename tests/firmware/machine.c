/* CPU state that firmware leaves: control and debug registers, MSRs, MTRRs, the FPU. */
#include "shim.h"

#define MSR_TSC             0x10
#define MSR_MTRRCAP         0xfe
#define MSR_SYSENTER_CS     0x174
#define MSR_SYSENTER_ESP    0x175
#define MSR_SYSENTER_EIP    0x176
#define MSR_MISC_ENABLE     0x1a0
#define MSR_DEBUGCTL        0x1d9
#define MSR_MTRR_BASE0      0x200
#define MSR_PAT             0x277
#define MSR_MTRR_DEF        0x2ff
#define MSR_TSC_DEADLINE    0x6e0
#define MSR_XSS             0xda0
#define MSR_EFER            0xc0000080
#define MSR_STAR            0xc0000081
#define MSR_LSTAR           0xc0000082
#define MSR_CSTAR           0xc0000083
#define MSR_FMASK           0xc0000084
#define MSR_FS_BASE         0xc0000100
#define MSR_GS_BASE         0xc0000101
#define MSR_KERNEL_GS_BASE  0xc0000102
#define MSR_TSC_AUX         0xc0000103

#define EFER_SCE            BIT(0)
#define EFER_NXE            BIT(11)
#define MISC_LIMIT_CPUID    BIT(22)
#define DEBUGCTL_LBR_BTF    3
#define MTRR_WB             6
#define MTRR_VALID          BIT(11)
#define MTRR_ON_FIXED_UC    (BIT(11) | BIT(10)) /* on, fixed ranges on, default type UC */
#define DR7_RW4_LOCAL       (BIT(0) | 0xfu << 16) /* breakpoint 0: reads and writes of 4 bytes */
#define GARBAGE             0xdeadbeefu

#define CR0_MP  BIT(1)
#define CR0_EM  BIT(2)
#define CR0_TS  BIT(3)
#define CR0_NE  BIT(5)
#define CR0_WP  BIT(16)
#define CR0_AM  BIT(18)
#define CR0_CD  BIT(30)

uint64_t rdmsr(uint32_t msr)
{
	uint64_t v = 0;

	faulted = 0;
	__asm__ volatile("rdmsr" : "+A"(v) : "c"(msr) : "memory");
	return v;
}

/* What the CPU does not have is left out: the fault is swallowed. */
void wrmsr(uint32_t msr, uint64_t v)
{
	faulted = 0;
	__asm__ volatile("wrmsr" : : "A"(v), "c"(msr) : "memory");
}

struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
	return r;
}

/* Every bit of CR4 that this CPU has and that protected mode without paging allows; PCIDE it does not. */
static uint32_t cr4_all(void)
{
	enum { A, B, C, D };
	static const struct { uint8_t leaf, reg, bit, cr4; } features[] = {
		{ 1, D, 1, 0 }, { 1, D, 1, 1 },             /* VME, PVI */
		{ 1, D, 4, 2 }, { 1, D, 2, 3 }, { 1, D, 3, 4 }, { 1, D, 6, 5 }, { 1, D, 7, 6 }, { 1, D, 13, 7 },
		{ 1, D, 24, 9 }, { 1, D, 25, 10 },          /* OSFXSR, OSXMMEXCPT */
		{ 7, C, 2, 11 }, { 7, C, 16, 12 },          /* UMIP, LA57 */
		{ 1, C, 5, 13 }, { 1, C, 6, 14 },           /* VMXE, SMXE */
		{ 7, B, 0, 16 }, { 1, C, 26, 18 },          /* FSGSBASE, OSXSAVE */
		{ 7, B, 7, 20 }, { 7, B, 20, 21 },          /* SMEP, SMAP */
		{ 7, C, 3, 22 }, { 7, C, 7, 23 }, { 7, C, 31, 24 }, /* PKE, CET, PKS */
	};
	uint32_t v = BIT(8); /* PCE */

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		if (cpuid(0).a < features[i].leaf)
			continue;
		struct cpuid r = cpuid(features[i].leaf);
		const uint32_t regs[] = { r.a, r.b, r.c, r.d };
		if (regs[features[i].reg] & BIT(features[i].bit))
			v |= BIT(features[i].cr4);
	}
	return v;
}

static void spoil_control_registers(void)
{
	uint32_t cr0;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	cr0 |= CR0_MP | CR0_TS | CR0_WP | CR0_AM | CR0_CD;
	cr0 &= ~CR0_NE;
	__asm__ volatile("mov %0, %%cr0; wbinvd" : : "r"(cr0));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4_all()));
	__asm__ volatile("mov %0, %%cr3" : : "r"(GARBAGE));
}

static void spoil_msrs(void)
{
	static const struct { uint32_t msr; uint64_t value; } garbage[] = {
		{ MSR_EFER, EFER_SCE | EFER_NXE }, { MSR_SYSENTER_CS, 0xbad0 }, { MSR_SYSENTER_ESP, GARBAGE },
		{ MSR_SYSENTER_EIP, GARBAGE }, { MSR_STAR, 0xbad0bad000000000 }, { MSR_LSTAR, GARBAGE }, { MSR_CSTAR, GARBAGE },
		{ MSR_FMASK, 0 }, { MSR_FS_BASE, GARBAGE }, { MSR_GS_BASE, GARBAGE }, { MSR_KERNEL_GS_BASE, GARBAGE },
		{ MSR_TSC_AUX, GARBAGE }, { MSR_PAT, 0 }, { MSR_DEBUGCTL, DEBUGCTL_LBR_BTF }, { MSR_XSS, 1 << 8 },
		{ MSR_TSC_DEADLINE, 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++)
		wrmsr(garbage[i].msr, garbage[i].value);
	wrmsr(MSR_MISC_ENABLE, rdmsr(MSR_MISC_ENABLE) | MISC_LIMIT_CPUID);
}

/* All is uncached but the RAM, which takes a range for each power of two. */
static void spoil_mtrrs(void)
{
	uint32_t top = (uint32_t)map_ram_top(), at = 0, ranges = (uint32_t)rdmsr(MSR_MTRRCAP) & 0xff;
	uint32_t mask_high = (1u << ((cpuid(0x80000008).a & 0xff) - 32)) - 1;

	wrmsr(MSR_MTRR_DEF, 0);
	for (uint32_t i = 0; i < ranges; i++) {
		uint32_t size = MIB(1);

		while (at < top && at + size <= top - size && !(at & (2 * size - 1)))
			size *= 2;
		bool used = at + size <= top;
		wrmsr(MSR_MTRR_BASE0 + 2 * i, used ? at | MTRR_WB : 0);
		wrmsr(MSR_MTRR_BASE0 + 2 * i + 1, used ? (uint64_t)mask_high << 32 | (-size & 0xfffff000) | MTRR_VALID : 0);
		at += used ? size : 0;
	}
	wrmsr(MSR_MTRR_DEF, MTRR_ON_FIXED_UC);
}

/* An unmasked x87 exception that waits for the next floating-point instruction. */
static void spoil_fpu(void)
{
	static const uint16_t unmasked = 0x340;

	__asm__ volatile("clts; fninit; fldcw %0; fldz; fld1; fdiv %%st(1), %%st" : : "m"(unmasked));
}

/* The word that Trefoil may use as a stack has a breakpoint on it. */
static void spoil_debug(uint32_t address)
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr6; mov %2, %%dr7"
			 : : "r"(address), "r"(0xffff4ff1u), "r"(DR7_RW4_LOCAL | BIT(10)));
}

void machine_spoil(void *information)
{
	apic_spoil();
	if (option("tsc")) /* on for years */
		wrmsr(MSR_TSC, 1ull << 60);
	if (option("mtrr"))
		spoil_mtrrs();
	if (option("fpu"))
		spoil_fpu();
	if (option("msrs"))
		spoil_msrs();
	if (option("cr"))
		spoil_control_registers();
	if (option("debug"))
		spoil_debug((uint32_t)information + 4);
}
