/*
 * A VM exit, decoded. The kind is the basic exit reason (SDM 3D, "VMX Basic Exit Reasons"); the rest is read from the
 * VMCS only where a kind has it, since every VMREAD costs.
 */
#pragma once
#include "vmx/vmcs.h"

enum exit_kind {
	EXIT_EXCEPTION_NMI = 0, EXIT_EXTINT = 1, EXIT_TRIPLE_FAULT = 2, EXIT_INIT = 3, EXIT_SIPI = 4,
	EXIT_IRQ_WINDOW = 7, EXIT_NMI_WINDOW = 8, EXIT_TASK_SWITCH = 9, EXIT_CPUID = 10, EXIT_GETSEC = 11,
	EXIT_HLT = 12, EXIT_INVD = 13, EXIT_INVLPG = 14, EXIT_RDPMC = 15, EXIT_RDTSC = 16, EXIT_RSM = 17,
	EXIT_VMCALL = 18, EXIT_VMCLEAR = 19, EXIT_VMLAUNCH = 20, EXIT_VMPTRLD = 21, EXIT_VMPTRST = 22,
	EXIT_VMREAD = 23, EXIT_VMRESUME = 24, EXIT_VMWRITE = 25, EXIT_VMXOFF = 26, EXIT_VMXON = 27,
	EXIT_CR = 28, EXIT_DR = 29, EXIT_IO = 30, EXIT_RDMSR = 31, EXIT_WRMSR = 32, EXIT_BAD_GUEST_STATE = 33,
	EXIT_BAD_MSR_LOAD = 34, EXIT_MWAIT = 36, EXIT_MTF = 37, EXIT_MONITOR = 39, EXIT_PAUSE = 40,
	EXIT_MACHINE_CHECK = 41, EXIT_TPR_BELOW = 43, EXIT_APIC_ACCESS = 44, EXIT_EOI = 45, EXIT_GDTR_IDTR = 46,
	EXIT_LDTR_TR = 47, EXIT_EPT_VIOLATION = 48, EXIT_EPT_MISCONFIG = 49, EXIT_INVEPT = 50, EXIT_RDTSCP = 51,
	EXIT_PREEMPTION = 52, EXIT_INVVPID = 53, EXIT_WBINVD = 54, EXIT_XSETBV = 55, EXIT_APIC_WRITE = 56,
	EXIT_RDRAND = 57, EXIT_INVPCID = 58, EXIT_VMFUNC = 59, EXIT_ENCLS = 60, EXIT_RDSEED = 61, EXIT_PML_FULL = 62,
	EXIT_XSAVES = 63, EXIT_XRSTORS = 64, EXIT_PCONFIG = 65, EXIT_SPP = 66, EXIT_UMWAIT = 67, EXIT_TPAUSE = 68,
	EXIT_LOADIWKEY = 69, EXIT_ENCLV = 70, EXIT_ENQCMD = 72, EXIT_ENQCMDS = 73, EXIT_BUS_LOCK = 74, EXIT_NOTIFY = 75,
	EXIT_SEAMCALL = 76, EXIT_TDCALL = 77, EXIT_RDMSRLIST = 78, EXIT_WRMSRLIST = 79, EXIT_NKINDS = 80,
};

struct vm_exit {
	uint32_t reason;       /* as in the VMCS; bit 31: the entry failed */
	uint32_t tsc;          /* when it was: the low half of the TSC */
};
#define EXIT_ENTRY_FAILED BIT(31)
#define EXIT_NONE         0xffffu /* the entry failed before there could be an exit */

static inline enum exit_kind exit_kind(const struct vm_exit *x) { return (enum exit_kind)(x->reason & 0xffff); }

static inline uint32_t exit_insn_len(void) { return vmcs_read(VMCS_EXIT_INSN_LEN); }

/* "Exit Qualification for I/O Instructions" */
#define EXIT_IO_SIZE(q) (((unsigned)(q) & 7) + 1)
#define EXIT_IO_IN      BIT(3)
#define EXIT_IO_STRING  BIT(4)
#define EXIT_IO_REP     BIT(5)
#define EXIT_IO_PORT(q) ((q) >> 16 & 0xffff)
struct exit_io { uint16_t port; uint8_t size; bool in, rep; };
static inline struct exit_io exit_io(uint64_t q)
{
	return (struct exit_io){ .port = (uint16_t)EXIT_IO_PORT(q), .size = (uint8_t)EXIT_IO_SIZE(q), .in = q & EXIT_IO_IN, .rep = q & EXIT_IO_REP };
}

enum exit_cr_op { CR_OP_WRITE, CR_OP_READ, CR_OP_CLTS, CR_OP_LMSW };
struct exit_cr { uint8_t cr, reg; enum exit_cr_op op; uint16_t lmsw; bool lmsw_mem; };
static inline struct exit_cr exit_cr(void)
{
	uint64_t q = vmcs_read(VMCS_EXIT_QUALIFICATION);

	return (struct exit_cr){ .cr = q & 0xf, .op = q >> 4 & 3, .lmsw_mem = q & BIT(6), .reg = q >> 8 & 0xf,
				 .lmsw = (uint16_t)(q >> 16) };
}

/* SDM 3C, "Exit Qualification for EPT Violations" */
#define EPTV_READ         BIT(0)
#define EPTV_WRITE        BIT(1)
#define EPTV_FETCH        BIT(2)
#define EPTV_LINEAR_VALID BIT(7)
#define EPTV_TRANSLATED   BIT(8) /* the access was to the final address, not to a paging structure */

/* "Exit Qualification for APIC-Access VM Exits" */
#define APIC_ACCESS_OFFSET(q) ((uint32_t)(q) & 0xfff)
#define APIC_ACCESS_TYPE(q)   ((uint32_t)(q) >> 12 & 0xf)
#define APIC_ACCESS_READ  0
#define APIC_ACCESS_WRITE 1
