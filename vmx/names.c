/* Names for reports. */
#include "vmx/vcpu.h"

static const char *const exit_names[EXIT_NKINDS] = {
	[EXIT_EXCEPTION_NMI] = "exception-or-nmi", [EXIT_EXTINT] = "external-interrupt",
	[EXIT_TRIPLE_FAULT] = "triple-fault", [EXIT_INIT] = "init-signal", [EXIT_SIPI] = "start-up-ipi",
	[EXIT_IRQ_WINDOW] = "interrupt-window", [EXIT_NMI_WINDOW] = "nmi-window", [EXIT_TASK_SWITCH] = "task-switch",
	[EXIT_CPUID] = "cpuid", [EXIT_GETSEC] = "getsec", [EXIT_HLT] = "hlt", [EXIT_INVD] = "invd",
	[EXIT_INVLPG] = "invlpg", [EXIT_RDPMC] = "rdpmc", [EXIT_RDTSC] = "rdtsc", [EXIT_RSM] = "rsm",
	[EXIT_VMCALL] = "vmcall", [EXIT_VMCLEAR] = "vmclear", [EXIT_VMLAUNCH] = "vmlaunch",
	[EXIT_VMPTRLD] = "vmptrld", [EXIT_VMPTRST] = "vmptrst", [EXIT_VMREAD] = "vmread", [EXIT_VMRESUME] = "vmresume",
	[EXIT_VMWRITE] = "vmwrite", [EXIT_VMXOFF] = "vmxoff", [EXIT_VMXON] = "vmxon", [EXIT_CR] = "cr-access",
	[EXIT_DR] = "dr-access", [EXIT_IO] = "io-instruction", [EXIT_RDMSR] = "rdmsr", [EXIT_WRMSR] = "wrmsr",
	[EXIT_BAD_GUEST_STATE] = "entry-failure-guest-state", [EXIT_BAD_MSR_LOAD] = "entry-failure-msr-loading",
	[EXIT_MWAIT] = "mwait", [EXIT_MTF] = "monitor-trap-flag", [EXIT_MONITOR] = "monitor", [EXIT_PAUSE] = "pause",
	[EXIT_MACHINE_CHECK] = "entry-failure-machine-check", [EXIT_TPR_BELOW] = "tpr-below-threshold",
	[EXIT_APIC_ACCESS] = "apic-access", [EXIT_EOI] = "virtualized-eoi", [EXIT_GDTR_IDTR] = "gdtr-idtr-access",
	[EXIT_LDTR_TR] = "ldtr-tr-access", [EXIT_EPT_VIOLATION] = "ept-violation",
	[EXIT_EPT_MISCONFIG] = "ept-misconfiguration", [EXIT_INVEPT] = "invept", [EXIT_RDTSCP] = "rdtscp",
	[EXIT_PREEMPTION] = "preemption-timer", [EXIT_INVVPID] = "invvpid", [EXIT_WBINVD] = "wbinvd",
	[EXIT_XSETBV] = "xsetbv", [EXIT_APIC_WRITE] = "apic-write", [EXIT_RDRAND] = "rdrand",
	[EXIT_INVPCID] = "invpcid", [EXIT_VMFUNC] = "vmfunc", [EXIT_ENCLS] = "encls", [EXIT_RDSEED] = "rdseed",
	[EXIT_PML_FULL] = "page-modification-log-full", [EXIT_XSAVES] = "xsaves", [EXIT_XRSTORS] = "xrstors",
	[EXIT_PCONFIG] = "pconfig", [EXIT_SPP] = "sub-page-permission", [EXIT_UMWAIT] = "umwait", [EXIT_TPAUSE] = "tpause",
	[EXIT_LOADIWKEY] = "loadiwkey", [EXIT_ENCLV] = "enclv", [EXIT_ENQCMD] = "enqcmd-pasid",
	[EXIT_ENQCMDS] = "enqcmds-pasid", [EXIT_BUS_LOCK] = "bus-lock", [EXIT_NOTIFY] = "instruction-timeout",
	[EXIT_SEAMCALL] = "seamcall", [EXIT_TDCALL] = "tdcall", [EXIT_RDMSRLIST] = "rdmsrlist",
	[EXIT_WRMSRLIST] = "wrmsrlist",
};

const char *vmx_exit_name(uint32_t reason)
{
	uint32_t basic = reason & 0xffff;

	if (reason == EXIT_NONE || reason == EXIT_NKINDS) /* the latter: none since its turn began */
		return "none";
	return basic < EXIT_NKINDS && exit_names[basic] ? exit_names[basic] : "unknown";
}

static const char *const error_names[] = {
	[1] = "VMCALL executed in VMX root operation", [2] = "VMCLEAR with invalid physical address",
	[3] = "VMCLEAR with VMXON pointer", [4] = "VMLAUNCH with non-clear VMCS",
	[5] = "VMRESUME with non-launched VMCS", [6] = "VMRESUME after VMXOFF",
	[7] = "VM entry with invalid control field(s)", [8] = "VM entry with invalid host-state field(s)",
	[9] = "VMPTRLD with invalid physical address", [10] = "VMPTRLD with VMXON pointer",
	[11] = "VMPTRLD with incorrect VMCS revision identifier", [12] = "VMREAD/VMWRITE from/to unsupported VMCS component",
	[13] = "VMWRITE to read-only VMCS component", [15] = "VMXON executed in VMX root operation",
	[20] = "VMCALL with non-clear VMCS", [22] = "VMCALL with incorrect MSEG revision identifier",
	[25] = "VMCALL with invalid SMM-monitor features", [26] = "VM entry with events blocked by MOV SS",
	[28] = "Invalid operand to INVEPT/INVVPID",
};

const char *vmx_error_name(uint32_t error)
{
	return error < ARRAY_SIZE(error_names) && error_names[error] ? error_names[error] : "unknown VM-instruction error";
}
