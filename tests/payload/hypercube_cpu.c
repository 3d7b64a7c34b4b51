/* The CPU's own registers and instructions. */
#include "hypercube.h"

#define CR4_SMEP_SMAP (BIT(20) | BIT(21)) /* our pages are user pages, and we run in them */
#define CR4_OSXSAVE   BIT(18)
#define CR4_PKE       (BIT(22) | BIT(24))
#define DR7_ANY       0xffff27ffull
#define RFLAGS_TF     BIT(8)

static const uint32_t msrs[] = {
	0x10, 0x17, 0x1b, 0x2e, 0x34, 0x3a, 0x3b, 0x48, 0x49, 0x79, 0x8b, 0xc1, 0xcd, 0xce, 0xe7, 0xfe, 0x10a, 0x10b, 0x119, 0x122,
	0x174, 0x175, 0x176, 0x179, 0x17a, 0x17b, 0x186, 0x198, 0x199, 0x19a, 0x19b, 0x1a0, 0x1a2, 0x1d9, 0x1db, 0x200, 0x201, 0x20f,
	0x250, 0x258, 0x268, 0x26f, 0x277, 0x2ff, 0x38d, 0x38f, 0x400, 0x401, 0x480, 0x485, 0x48b, 0x490, 0x560, 0x570, 0x600, 0x6e0,
	0x802, 0x808, 0x80b, 0x830, 0x832, 0x83f, 0xc80, 0xd90, 0xda0, 0x40000000, 0x40000001, 0x4b564d00, 0xc0000080, 0xc0000081,
	0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015, 0xc0010117, 0xffffffff,
};

void cube_msr(void)
{
	uint32_t m = cube_below(4) ? msrs[cube_below(ARRAY_SIZE(msrs))] : cube_below(2) ? MSR_X2APIC + cube_below(0x100) :
											  (uint32_t)cube_value();

	if (cube_below(2))
		wrmsr(m, m - MSR_X2APIC < 0x100 ? cube_apic(cube_value()) : cube_value());
	else
		rdmsr(m);
}

static void xcr0(void)
{
	uint64_t v = cube_below(2) ? cube_random() & 0x3ff : cube_value();

	wrcr4(rdcr4() | CR4_OSXSAVE);
	__asm__ volatile("xsetbv" :: "c"(cube_below(8) ? 0 : 1), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

/* The paging that runs us stays; where a bit would end it, the CPU says so in 64-bit mode. */
void cube_control(void)
{
	uint64_t v = cube_value();

	switch (cube_below(9)) {
	case 0: wrcr0(rdcr0() ^ v); break;
	case 1: wrcr0(v); break;
	case 2: wrcr4((rdcr4() ^ v) & ~(CR4_SMEP_SMAP | CR4_PKE)); break;
	case 3: wrcr3((rdcr3() & ~0xfffull) | (v & 0x18)); break;
	case 4: wrcr3(rdcr3() | (v & ~BIT(63)) << 52); break;
	case 5: wrcr8(v); break;
	case 6: __asm__ volatile("lmsw %w0" :: "r"((uint32_t)v | 1)); break;
	case 7: __asm__ volatile("clts"); break;
	default: xcr0(); break;
	}
}

/* Breakpoints on data of nobody's, and on ports; a hit ends in the trap hook, which takes them away. */
void cube_debug(void)
{
	uint64_t a = cube_below(2) ? (uint64_t)cube_scratch + cube_below(SCRATCH_SIZE) : cube_below(2) ? cube_below(0x10000) : BIT(33) + cube_value();

	switch (cube_below(8)) {
	case 0: __asm__ volatile("mov %0, %%dr0" :: "r"(a)); break;
	case 1: __asm__ volatile("mov %0, %%dr1" :: "r"(a)); break;
	case 2: __asm__ volatile("mov %0, %%dr2" :: "r"(a)); break;
	case 3: __asm__ volatile("mov %0, %%dr3" :: "r"(a)); break;
	case 4: __asm__ volatile("mov %0, %%dr6" :: "r"(cube_below(2) ? cube_value() : cube_random() & 0xffffffff)); break;
	case 5: __asm__ volatile("mov %0, %%dr7" :: "r"(cube_random() & DR7_ANY)); break;
	case 6: __asm__ volatile("mov %0, %%dr7" :: "r"(cube_value())); break;
	default: __asm__ volatile("mov %%dr6, %%rax; mov %%dr7, %%rax; mov %%dr4, %%rax" ::: "rax"); break;
	}
}

static void stepped(void)
{
	__asm__ volatile("pushfq; orl %0, (%%rsp); popfq; cpuid; nop" :: "i"((uint32_t)RFLAGS_TF) : "rax", "rbx", "rcx", "rdx", "cc");
}

static void cpuid_any(void)
{
	static const uint32_t from[] = { 0, 0x40000000, 0x80000000, 0x20000000, 0xc0000000 };

	if (cube_below(2))
		cpuid(from[cube_below(ARRAY_SIZE(from))] + cube_below(32), cube_below(8));
	else
		cpuid((uint32_t)cube_value(), (uint32_t)cube_value());
}

void cube_instruction(void)
{
	static uint64_t operand;

	switch (cube_below(24)) {
	case 0: __asm__ volatile("wbinvd"); break;
	case 1: __asm__ volatile("invd"); break;
	case 2: __asm__ volatile("invlpg (%0)" :: "r"(cube_value())); break;
	case 3: __asm__ volatile("rdpmc" :: "c"((uint32_t)cube_value()) : "rax", "rdx"); break;
	case 4: __asm__ volatile("monitor; mwait" :: "a"(cube_scratch), "c"(0), "d"(0)); break;
	case 5: __asm__ volatile("vmcall"); break;
	case 6: __asm__ volatile("vmxoff"); break;
	case 7: operand = cube_value(); __asm__ volatile("vmxon %0" :: "m"(operand)); break;
	case 8: operand = cube_value(); __asm__ volatile("vmptrld %0" :: "m"(operand)); break;
	case 9: __asm__ volatile("vmread %0, %%rax" :: "r"(cube_value()) : "rax", "cc"); break;
	case 10: __asm__ volatile("vmlaunch"); break;
	case 11: __asm__ volatile(".byte 0x0f, 0x37" ::: "rax"); break; /* GETSEC */
	case 12: __asm__ volatile("rsm"); break;
	case 13: __asm__ volatile("pause"); break;
	case 14: __asm__ volatile("int3"); break;
	case 15: __asm__ volatile("int1"); break;
	case 16: __asm__ volatile("ud2"); break;
	case 17: __asm__ volatile("rdtscp" ::: "rax", "rcx", "rdx"); break;
	case 18: __asm__ volatile("vmfunc" :: "a"(0), "c"(0)); break;
	case 19: __asm__ volatile("mov %%ss, %%ecx; pushfq; orl $0x100, (%%rsp); popfq; mov %%ecx, %%ss; int1" ::: "rcx", "cc"); break;
	case 20: __asm__ volatile("mov %%ss, %%ecx; mov %%ecx, %%ss; vmcall" ::: "rcx"); break;
	case 21: __asm__ volatile("sti; cpuid; cli" ::: "rax", "rbx", "rcx", "rdx"); break;
	case 22: stepped(); break;
	default: cpuid_any(); break;
	}
}
