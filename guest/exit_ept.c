/* Guest-physical accesses that the EPT does not map, and the virtualised local APIC. */
#include "guest/mmio.h"
#include "guest/walk.h"
#include <tf/log.h>

#define EPTV_NMI_UNBLOCKED BIT(12)

static inline void requeue_event(struct vcpu *v)
{
	if (unlikely(vmcs_read(VMCS_IDT_VECTORING_INFO) & INTR_VALID))
		vmx_requeue_event(&v->vmx);
}

/* An IRET that faulted had already unblocked NMIs; its retry must find them blocked (SDM 3C, "NMI Unblocking Due to IRET"). */
static void restore_nmi_blocking(struct vcpu *v, uint64_t qual)
{
	if ((qual & EPTV_NMI_UNBLOCKED) && !vmx_event_pending(&v->vmx))
		vmx_set_blocking(BLOCK_NMI, 0);
}

/* An IDT, a descriptor table or a stack in absent memory: the instruction at RIP is not what accessed it. */
static enum action delivery_to_device(struct vcpu *v)
{
	vm_stop_report(v, VM_STOP_ERROR, "the delivery of event %x accesses a device address", v->vmx.pending_event);
	return ACT_STOP;
}

/*
 * "Machine Check Error Avoidance on Page Size Change": on some CPUs large pages are not executable until they are split.
 * False: it is not RAM. The tables have been set aside, so that guests do not starve each other.
 */
static bool make_executable(struct vcpu *v, uint64_t gpa)
{
	struct vm *vm = v->vm;
	enum tf_err e = TF_ENOENT;

	spin_lock(&vm->lock);
	if (vm->ept.small_exec)
		e = ept_make_executable(&vm->ept, GPA(gpa));
	spin_unlock(&vm->lock);

	if (e == TF_ENOENT)
		return false;
	if (e)
		vm_stop_report(v, VM_STOP_ERROR, "no memory to make guest-physical %lx executable", gpa);
	vmx_flush_ept(vm->eptp); /* others that have the old right find the new one here, too */
	return true;
}

static bool within(uint64_t linear, uint64_t base, uint64_t limit) { return linear - base <= limit; }

/* Descriptor tables and the TSS, which the CPU reads as supervisor whatever the CPL. */
static bool is_system_table(uint64_t linear)
{
	return within(linear, vmcs_read(VMCS_GUEST_IDTR_BASE), vmcs_read(VMCS_GUEST_IDTR_LIMIT)) ||
	       within(linear, vmcs_read(VMCS_GUEST_GDTR_BASE), vmcs_read(VMCS_GUEST_GDTR_LIMIT)) ||
	       (!(vmcs_read(VMCS_GUEST_AR(SEG_LDTR)) & AR_UNUSABLE) &&
		within(linear, vmcs_read(VMCS_GUEST_BASE(SEG_LDTR)), vmcs_read(VMCS_GUEST_LIMIT(SEG_LDTR)))) ||
	       within(linear, vmcs_read(VMCS_GUEST_BASE(SEG_TR)), vmcs_read(VMCS_GUEST_LIMIT(SEG_TR)));
}

/*
 * A paging structure in absent memory reads as ones: a page fault for reserved bits. The exit tells how the structure was
 * accessed, not for what: that is the event's or the instruction's to say.
 */
static enum action walk_to_device(struct vcpu *v, uint64_t linear)
{
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP) + (vcpu_code64() ? 0 : vmcs_read(VMCS_GUEST_BASE(SEG_CS)));
	uint8_t bytes[INSN_MAX];
	uint32_t access = 0, error;
	struct insn insn;
	gpa_t gpa;

	if (vmx_event_pending(&v->vmx)) {
		access = ACCESS_SYSTEM | (is_system_table(linear) ? 0 : ACCESS_WRITE); /* a table, or its stack */
	} else {
		size_t n = walk_fetch(v, bytes, sizeof(bytes));

		if (linear == rip + n && n < sizeof(bytes))
			access = ACCESS_FETCH;
		else if (insn_decode(bytes, n, walk_code_mode(), &insn) == TF_OK)
			return mmio_emulate(v);
		else if (is_system_table(linear))
			access = ACCESS_SYSTEM;
		else if (within(linear, vmcs_read(VMCS_GUEST_RSP) - PAGE_SIZE, PAGE_SIZE - 1))
			access = ACCESS_WRITE; /* CALL and the like */
	}
	if (walk_linear(v, linear, access, &gpa, &error) == TF_OK) {
		vmx_vcpu_flush(&v->vmx); /* what the CPU went by is not in the tables any more */
		return ACT_RETRY;
	}
	return vcpu_page_fault(v, linear, error);
}

enum action exit_ept_violation(struct vcpu *v)
{
	uint64_t qual = vmcs_read(VMCS_EXIT_QUALIFICATION);

	requeue_event(v);
	restore_nmi_blocking(v, qual);
	if ((qual & EPTV_LINEAR_VALID) && !(qual & EPTV_TRANSLATED))
		return walk_to_device(v, vmcs_read(VMCS_GUEST_LINEAR));
	if ((qual & EPTV_FETCH) && make_executable(v, vmcs_read(VMCS_GUEST_PHYS)))
		return v->vm->state == VM_STOPPED ? ACT_STOP : ACT_RETRY;
	if (qual & EPTV_FETCH)
		return vcpu_ud(v); /* absent memory reads as FFh FFh, an undefined opcode */
	if (vmx_event_pending(&v->vmx))
		return delivery_to_device(v);
	if (unlikely(!(qual & EPTV_LINEAR_VALID)))
		return mmio_emulate(v);
	uint64_t gpa = vmcs_read(VMCS_GUEST_PHYS);
	const struct insn *i = mmio_again(v, gpa % PAGE_SIZE);
	return i ? mmio_move(v, i, gpa) : mmio_emulate_at(v, vmcs_read(VMCS_GUEST_LINEAR), gpa);
}

enum action exit_ept_misconfig(struct vcpu *v)
{
	vm_stop_report(v, VM_STOP_ERROR, "EPT misconfiguration at guest-physical %lx", vmcs_read(VMCS_GUEST_PHYS));
	return ACT_STOP;
}

enum action exit_apic_access(struct vcpu *v)
{
	if (unlikely(vmcs_read(VMCS_IDT_VECTORING_INFO) & INTR_VALID)) {
		vmx_requeue_event(&v->vmx);
		return delivery_to_device(v);
	}
	uint64_t qual = vmcs_read(VMCS_EXIT_QUALIFICATION);
	if (APIC_ACCESS_TYPE(qual) > APIC_ACCESS_WRITE)
		return mmio_emulate(v);
	uint32_t offset = APIC_ACCESS_OFFSET(qual);
	const struct insn *i = offset % APIC_SLOT ? NULL : mmio_again(v, offset);
	return i ? mmio_move_apic(v, i, offset) : mmio_emulate_apic(v, offset);
}

/* A trap: the value is in the page and RIP is past the instruction. */
enum action exit_apic_write(struct vcpu *v)
{
	uint32_t offset = APIC_ACCESS_OFFSET(vmcs_read(VMCS_EXIT_QUALIFICATION)) & ~0xfu;

	vlapic_write(&v->lapic, offset, *(uint32_t *)(v->lapic.page + offset));
	if (vlapic_write_delivers(offset))
		vcpu_request(v, REQ_EVENT);
	return ACT_RETRY;
}

enum action exit_virtual_eoi(struct vcpu *v)
{
	vlapic_eoi_done(&v->lapic, (uint8_t)vmcs_read(VMCS_EXIT_QUALIFICATION));
	vcpu_request(v, REQ_EVENT);
	return ACT_RETRY;
}
