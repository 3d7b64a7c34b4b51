/* The loop around VM entry, and the only place that moves RIP. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lapic.h"
#include "guest/exit.h"
#include "vmx/mitigations.h"

/* Past the instruction, with what its completion does (SDM 3A, "Single-Step Exception Condition", "RF flag"). */
static void advance(struct vcpu *v)
{
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP), next = rip + (v->next_len ? v->next_len : exit_insn_len());
	uint64_t rflags = vmcs_read(VMCS_GUEST_RFLAGS);

	v->next_len = 0;
	if (unlikely((rip ^ next) >> 32) && !vcpu_code64())
		next = (uint32_t)next;
	vmcs_write(VMCS_GUEST_RIP, next);
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	if (unlikely(rflags & (RFLAGS_TF | RFLAGS_RF))) {
		vmcs_write(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
		if ((rflags & RFLAGS_TF) && !(vmcs_read(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
			vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
	}
}

void vcpu_iterated(bool step)
{
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	vmcs_write(VMCS_GUEST_RFLAGS, vmcs_read(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	if (step && !(vmcs_read(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

/* False: the VM is stopping. */
static bool serve_requests(struct vcpu *v)
{
	uint32_t r = __atomic_exchange_n(&v->requests, 0, __ATOMIC_ACQUIRE);

	if (r & REQ_STOP)
		return false;
	if (r & REQ_APIC)
		vcpu_apic_mode_changed(v);
	if ((r & REQ_EVENT) || v->requests) {
		__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_EVENT, __ATOMIC_ACQUIRE);
		vcpu_deliver(v);
	}
	return true;
}

/* Bounds the time in the guest; false: the time is up. */
static bool arm_limit(struct run_limit *limit)
{
	uint64_t now = rdtsc(), until = limit->until;

	if (now >= until)
		return false;
	if (likely(vmx_caps.preemption_timer))
		vmx_arm_preemption(until - now);
	if (unlikely(!vmx_caps.preemption_timer || vmx_caps.preemption_inexact) && limit->armed != until)
		lapic_timer_arm(limit->armed = until);
	return true;
}

enum run_result vcpu_run(struct vcpu *v, struct run_limit *limit)
{
	if (v->vm->state == VM_STARTING) {
		vm_start_step(v->vm);
		return v->vm->state == VM_STOPPED ? RUN_STOPPED : RUN_EXPIRED;
	}
	vmx_mitigate_turn(&v->vmx);
	for (;;) {
		if (unlikely(v->requests) && !serve_requests(v))
			return RUN_STOPPED;
		if (unlikely(!arm_limit(limit)))
			return RUN_EXPIRED;
#ifdef TF_TEST_HOOKS
		test_hook_before_entry(v);
#endif
		if (unlikely(vmx_run(&v->vmx))) {
			vcpu_entry_refused(v);
			return RUN_STOPPED;
		}
		switch (exit_handle(v)) {
		case ACT_NEXT:
			advance(v);
			break;
		case ACT_RETRY:
			/* An event whose delivery exits again comes before the machine's interrupts, each time. */
			if (unlikely(vmx_event_pending(&v->vmx))) {
				interrupt_window();
				vmx_mitigate_touched();
			}
			break;
		case ACT_HALT:
			advance(v);
			if (unlikely(vmcs_read(VMCS_GUEST_PENDING_DEBUG)))
				break; /* a single step resumes from HLT at once */
			v->halted = true;
			return RUN_HALTED;
		case ACT_STOP:
			return RUN_STOPPED;
		}
	}
}
