#include "guest/exit.h"

#define PAUSES_OF_A_LOOP 16

/* The instruction that the bare machine would not have: VMX is not offered, MONITOR and the like neither. */
static enum action exit_undefined(struct vcpu *v) { return vcpu_ud(v); }
static enum action exit_privileged_undefined(struct vcpu *v) { return vcpu_gp(v); }
static enum action exit_nothing(struct vcpu *v)
{
	(void)v;
	return ACT_NEXT;
}
static enum action exit_again(struct vcpu *v)
{
	(void)v;
	return ACT_RETRY;
}
static enum action exit_irq_window(struct vcpu *v)
{
	v->watched = false;
	vcpu_request(v, REQ_EVENT);
	return ACT_RETRY;
}
static enum action exit_pause(struct vcpu *v)
{
	/* Without pause-loop exiting each comes here, so that a loop must be told from a moment's wait. */
	if (v->vmx.pause_exits && ++v->pauses % PAUSES_OF_A_LOOP)
		return ACT_NEXT;
	if (!v->vm->host->yield(v) && v->vmx.pause_exits)
		vmx_set_proc(&v->vmx, 0, PROC_PAUSE_EXIT); /* until its next turn */
	return ACT_NEXT;
}
static enum action exit_look(struct vcpu *v)
{
	vcpu_request(v, REQ_EVENT);
	return ACT_RETRY;
}

static enum action exit_unknown(struct vcpu *v)
{
	enum exit_kind kind = exit_kind(&v->vmx.exit);

	vm_stop_report(v, VM_STOP_ERROR, "unhandled VM exit %u (%s)", kind, vmx_exit_name(kind));
	return ACT_STOP;
}

#pragma GCC diagnostic ignored "-Woverride-init"
const exit_fn exit_table[EXIT_NKINDS + 1] = {
	[0 ... EXIT_NKINDS] = exit_unknown,
	[EXIT_EXCEPTION_NMI] = exit_exception,
	[EXIT_EXTINT] = exit_extint,
	[EXIT_TRIPLE_FAULT] = exit_triple_fault,
	[EXIT_INIT] = exit_again,
	[EXIT_IRQ_WINDOW] = exit_irq_window,
	[EXIT_NMI_WINDOW] = exit_look,
	[EXIT_TPR_BELOW] = exit_look,
	[EXIT_PREEMPTION] = exit_again,
	[EXIT_TASK_SWITCH] = exit_task_switch,
	[EXIT_CPUID] = exit_cpuid,
	[EXIT_HLT] = exit_hlt,
	[EXIT_INVD] = exit_nothing,   /* a guest's caches are the machine's: nothing to do, and nothing that may be lost */
	[EXIT_WBINVD] = exit_nothing,
	[EXIT_BAD_GUEST_STATE] = exit_entry_failure,
	[EXIT_BAD_MSR_LOAD] = exit_entry_failure,
	[EXIT_MACHINE_CHECK] = exit_entry_failure,
	[EXIT_RDPMC] = exit_privileged_undefined,
	[EXIT_XSETBV] = exit_xsetbv,
	[EXIT_CR] = exit_cr_access,
	[EXIT_RDMSR] = exit_rdmsr,
	[EXIT_WRMSR] = exit_wrmsr,
	[EXIT_IO] = exit_port,
	[EXIT_EPT_VIOLATION] = exit_ept_violation,
	[EXIT_EPT_MISCONFIG] = exit_ept_misconfig,
	[EXIT_APIC_ACCESS] = exit_apic_access,
	[EXIT_APIC_WRITE] = exit_apic_write,
	[EXIT_EOI] = exit_virtual_eoi,
	[EXIT_PAUSE] = exit_pause,
	[EXIT_GETSEC] = exit_undefined,
	[EXIT_MWAIT] = exit_undefined,
	[EXIT_MONITOR] = exit_undefined,
	[EXIT_VMCALL] = exit_vmcall,
	[EXIT_VMCLEAR] = exit_undefined,
	[EXIT_VMLAUNCH] = exit_undefined,
	[EXIT_VMPTRLD] = exit_undefined,
	[EXIT_VMPTRST] = exit_undefined,
	[EXIT_VMREAD] = exit_undefined,
	[EXIT_VMRESUME] = exit_undefined,
	[EXIT_VMWRITE] = exit_undefined,
	[EXIT_VMXOFF] = exit_undefined,
	[EXIT_VMXON] = exit_undefined,
	[EXIT_INVEPT] = exit_undefined,
	[EXIT_INVVPID] = exit_undefined,
	[EXIT_VMFUNC] = exit_undefined,
	[EXIT_ENCLS] = exit_undefined,
	[EXIT_ENCLV] = exit_undefined,
	[EXIT_SEAMCALL] = exit_undefined,
	[EXIT_TDCALL] = exit_undefined,
};
