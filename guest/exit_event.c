/* Exits that are events: the machine's interrupts, exceptions taken from the guest, and the ends of a guest. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/irq.h"
#include "guest/exit.h"
#include "vmx/mitigations.h"

#define DR6_B0_B3   0xfull    /* replaced; the others stay set */
#define DR6_CAUSES  0x600full /* B0 to B3, BD, BS */
#define DR7_GD      BIT(13)

enum action vcpu_fault(struct vcpu *v, enum x86_vector vec, uint32_t error)
{
	const uint32_t with_error = BIT(VEC_DF) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP) | BIT(VEC_PF) |
				    BIT(VEC_AC);
	/* Real-address mode pushes no error codes. */
	bool has_error = (with_error & BIT(vec)) && (vmcs_read(VMCS_GUEST_CR0) & CR0_PE);

	if (!vmx_inject_exception(&v->vmx, vec, has_error, error)) {
		vm_stop_report(v, VM_STOP_TRIPLE_FAULT, "triple fault");
		return ACT_STOP;
	}
	vmcs_write(VMCS_GUEST_RFLAGS, vmcs_read(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	return ACT_RETRY;
}

enum action vcpu_page_fault(struct vcpu *v, uint64_t linear, uint32_t error)
{
	write_cr2(linear); /* even if it becomes a double fault */
	return vcpu_fault(v, VEC_PF, error);
}

/* The exit left DR6, DR7 and DEBUGCTL as they were before the #DB; an injected #DB does not change them either. */
static void debug_registers(uint64_t causes)
{
	write_dr6((read_dr6() & ~DR6_B0_B3) | DR6_RESET | causes);
	vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~DR7_GD);
	vmcs_write(VMCS_GUEST_DEBUGCTL, vmcs_read(VMCS_GUEST_DEBUGCTL) & ~(DEBUGCTL_LBR | DEBUGCTL_BTF));
}

enum action vcpu_debug_trap(struct vcpu *v, uint64_t causes)
{
	debug_registers(causes);
	if (vmx_inject_exception(&v->vmx, VEC_DB, false, 0))
		return ACT_RETRY;
	vm_stop_report(v, VM_STOP_TRIPLE_FAULT, "triple fault");
	return ACT_STOP;
}

enum action exit_exception(struct vcpu *v)
{
	uint32_t info = vmcs_read(VMCS_EXIT_INTR_INFO), vector = info & INTR_VECTOR;
	uint32_t error = info & INTR_ERROR_CODE ? vmcs_read(VMCS_EXIT_INTR_ERROR) : 0;

	vmx_requeue_event(&v->vmx);
	if ((info & INTR_TYPE_MASK) == INTR_TYPE_NMI) {
		__asm__ volatile("int $2" : : : "memory"); /* the machine's: its IRET also unblocks NMIs again */
		return ACT_RETRY;
	}
	if (vector == VEC_MC)
		__asm__ volatile("int $18" : : : "memory");
	if ((info & INTR_NMI_UNBLOCK) && vector != VEC_DF && !vmx_event_pending(&v->vmx))
		vmx_set_blocking(BLOCK_NMI, 0);
	if (vector == VEC_DB)
		debug_registers(vmcs_read(VMCS_EXIT_QUALIFICATION) & DR6_CAUSES);
	/* What blocked is over; an entry with it and RFLAGS.TF would have to have a single step pending. */
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	if ((info & INTR_TYPE_MASK) == INTR_TYPE_PRIVSW) { /* ICEBP */
		v->vmx.pending_event = INTR_VALID | INTR_TYPE_PRIVSW | vector;
		v->vmx.pending_len = exit_insn_len();
		return ACT_RETRY;
	}
	if (!vmx_inject_exception(&v->vmx, (uint8_t)vector, info & INTR_ERROR_CODE, error)) {
		vm_stop_report(v, VM_STOP_TRIPLE_FAULT, "triple fault");
		return ACT_STOP;
	}
	return ACT_RETRY;
}

enum action exit_extint(struct vcpu *v)
{
	(void)v;
	irq_dispatch(vmcs_read(VMCS_EXIT_INTR_INFO) & INTR_VECTOR);
	vmx_mitigate_touched();
	return ACT_RETRY;
}

enum action exit_triple_fault(struct vcpu *v)
{
	vm_stop_report(v, VM_STOP_TRIPLE_FAULT, "triple fault");
	return ACT_STOP;
}
