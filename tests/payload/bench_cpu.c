/* Instructions of the CPU that a hypervisor may intercept. */
#include "bench.h"

#define CR0_TS         BIT(3)
#define CR4_PGE        BIT(7)
#define CR4_OSXSAVE    BIT(18)
#define CPUID1_XSAVE   BIT(26)
#define CPUID7_ADJUST  BIT(1)
#define MSR_TSC_ADJUST 0x3b
#define VMCALL_NUMBER  0x7fffffff /* nobody's */
#define VMCALL_LENGTH  3
#define VEC_UD         6

static uint64_t tsc_adjust;

static bool has_xsave(void) { return cpuid(1, 0).c & CPUID1_XSAVE; }
static bool has_tsc_adjust(void) { return cpuid(0, 0).a >= 7 && cpuid(7, 0).b & CPUID7_ADJUST; }

static void keep_tsc_adjust(void) { tsc_adjust = rdmsr(MSR_TSC_ADJUST); }
static void enable_xsave(void) { wrcr4(rdcr4() | CR4_OSXSAVE); }

static void op_cpuid(void) { cpuid(0, 0); }
static void op_rdmsr_apic_base(void) { rdmsr(MSR_APIC_BASE); }
static void op_rdmsr_tsc_adjust(void) { rdmsr(MSR_TSC_ADJUST); }
static void op_wrmsr_tsc_adjust(void) { wrmsr(MSR_TSC_ADJUST, tsc_adjust); }
static void op_xgetbv(void) { __asm__ volatile("xgetbv" :: "c"(0) : "eax", "edx"); }
static void op_wbinvd(void) { __asm__ volatile("wbinvd" ::: "memory"); }
static void op_clts(void) { __asm__ volatile("clts" ::: "memory"); }
static void op_cr0_ts(void) { wrcr0(rdcr0() ^ CR0_TS); }
static void op_cr3(void) { wrcr3(rdcr3()); }
static void op_cr4_pge(void) { wrcr4(rdcr4() ^ CR4_PGE); }
static void op_cr8(void) { wrcr8(rdcr8()); }
static void op_invlpg(void) { __asm__ volatile("invlpg (%0)" :: "r"(WINDOW) : "memory"); }
static void op_rdtsc(void) { rdtsc(); }

static void op_dr7(void)
{
	uint64_t v;

	__asm__ volatile("mov %%dr7, %0; mov %0, %%dr7" : "=r"(v));
}

/* Where nobody takes a hypercall it is an invalid opcode, whose handler is part of the price. */
static bool skip_vmcall(struct frame *f)
{
	if (f->vector != VEC_UD)
		return false;
	f->rip += VMCALL_LENGTH;
	return true;
}

static void catch_ud(void) { trap_hook = skip_vmcall; }
static void release_ud(void) { trap_hook = NULL; }

static void op_vmcall(void)
{
	uint64_t number = VMCALL_NUMBER;

	__asm__ volatile("vmcall" : "+a"(number) :: "memory");
}

const struct operation bench_cpu[] = {
	{ "cpuid", .op = op_cpuid },
	{ "vmcall", .op = op_vmcall, .before = catch_ud, .after = release_ud },
	{ "rdmsr-apic-base", .op = op_rdmsr_apic_base },
	{ "rdmsr-tsc-adjust", .op = op_rdmsr_tsc_adjust, .present = has_tsc_adjust },
	{ "wrmsr-tsc-adjust", .op = op_wrmsr_tsc_adjust, .present = has_tsc_adjust, .before = keep_tsc_adjust },
	{ "xgetbv", .op = op_xgetbv, .present = has_xsave, .before = enable_xsave },
	{ "wbinvd", .op = op_wbinvd },
	{ "clts", .op = op_clts },
	{ "cr0-ts", .op = op_cr0_ts },
	{ "cr3", .op = op_cr3 },
	{ "cr4-pge", .op = op_cr4_pge },
	{ "cr8", .op = op_cr8 },
	{ "dr7", .op = op_dr7 },
	{ "invlpg", .op = op_invlpg },
	{ "rdtsc", .op = op_rdtsc },
	{ },
};
