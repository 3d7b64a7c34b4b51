#include "vmx/event.h"
#include <tf/assert.h>
#include <tf/x86.h>

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

/* SDM 3A, "Interrupt 8--Double Fault Exception (#DF)" */
static enum fault_class fault_class(uint32_t info)
{
	if ((info & INTR_TYPE_MASK) != INTR_TYPE_HW)
		return BENIGN;
	switch (info & INTR_VECTOR) {
	case VEC_DE: case VEC_TS: case VEC_NP: case VEC_SS: case VEC_GP: case VEC_CP:
		return CONTRIBUTORY;
	case VEC_PF: case VEC_VE:
		return PAGE_FAULT;
	default:
		return BENIGN;
	}
}

bool vmx_inject_exception(struct vmx_vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	uint32_t info = INTR_VALID | INTR_TYPE_HW | vector | (has_error ? INTR_ERROR_CODE : 0);

	if (v->pending_event) {
		enum fault_class first = fault_class(v->pending_event), second = fault_class(info);

		if ((v->pending_event & INTR_VECTOR) == VEC_DF && (v->pending_event & INTR_TYPE_MASK) == INTR_TYPE_HW)
			return false;
		if ((first == CONTRIBUTORY && second == CONTRIBUTORY) || (first == PAGE_FAULT && second != BENIGN)) {
			/* "VM-Entry Interruption-Information Field": no error code in real-address mode */
			info = INTR_VALID | INTR_TYPE_HW | VEC_DF | (vmcs_read(VMCS_GUEST_CR0) & CR0_PE ? INTR_ERROR_CODE : 0);
			error = 0;
		}
	}
	/* An NMI whose delivery failed blocks the next one all the same. */
	if ((v->pending_event & INTR_VALID) && (v->pending_event & INTR_TYPE_MASK) == INTR_TYPE_NMI)
		vmx_set_blocking(BLOCK_NMI, 0);
	v->pending_event = info;
	v->pending_error = error;
	v->pending_len = 0;
	return true;
}

void vmx_inject_interrupt(struct vmx_vcpu *v, uint8_t vector)
{
	ASSERT(!v->pending_event);
	v->pending_event = INTR_VALID | INTR_TYPE_EXT | vector;
}

void vmx_inject_nmi(struct vmx_vcpu *v)
{
	ASSERT(!v->pending_event);
	v->pending_event = INTR_VALID | INTR_TYPE_NMI | VEC_NMI;
}

/*
 * Traps of the last instruction come before interrupts and NMIs (SDM 3A, "Priorities Among Simultaneous Events"), and an
 * entry that injects one of these would drop them ("Delivery of Pending Debug Exceptions after VM Entry").
 */
static bool trap_pending(void) { return vmcs_read(VMCS_GUEST_PENDING_DEBUG); }

bool vmx_interrupt_allowed(const struct vmx_vcpu *v)
{
	return !v->pending_event && (vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
	       !(vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_MOV_SS)) && !trap_pending();
}

bool vmx_nmi_allowed(const struct vmx_vcpu *v)
{
	return !v->pending_event &&
	       !(vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_MOV_SS | BLOCK_NMI)) && !trap_pending();
}

void vmx_requeue_event(struct vmx_vcpu *v)
{
	uint32_t info = vmcs_read(VMCS_IDT_VECTORING_INFO);

	if (!(info & INTR_VALID))
		return;
	v->pending_event = info & (INTR_VALID | INTR_ERROR_CODE | INTR_TYPE_MASK | INTR_VECTOR);
	v->pending_error = info & INTR_ERROR_CODE ? vmcs_read(VMCS_IDT_VECTORING_ERROR) : 0;
	switch (info & INTR_TYPE_MASK) {
	case INTR_TYPE_SW: case INTR_TYPE_PRIVSW: case INTR_TYPE_SWEXC:
		v->pending_len = exit_insn_len();
		break;
	case INTR_TYPE_NMI: /* its delivery set blocking by NMI, which the entry sets again */
		vmx_set_blocking(0, BLOCK_NMI);
		break;
	}
}

void vmx_commit_event(struct vmx_vcpu *v)
{
	vmcs_write(VMCS_ENTRY_INTR_INFO, v->pending_event);
	if (v->pending_event & INTR_ERROR_CODE)
		vmcs_write(VMCS_ENTRY_ERROR_CODE, v->pending_error);
	if (v->pending_len)
		vmcs_write(VMCS_ENTRY_INSN_LEN, v->pending_len);
	v->pending_event = 0;
	v->pending_len = 0;
}
