/* One VM entry, up to the exit that follows it. All of it is in the loop that calls it, as nothing runs more often. */
#pragma once
#include "arch/x86_64/cpu.h"
#include "vmx/event.h"
#include "vmx/vcpu.h"

/* VMLAUNCH or VMRESUME has failed; `how` is what vmx_enter says. */
enum tf_err vmx_entry_failed(struct vmx_vcpu *v, unsigned how);

/*
 * Runs the vCPU until its next exit, v->exit. TF_EIO: the entry failed at an instruction level and v->entry_error says
 * why (a failed check of the guest state is an exit of its own). Interrupts must be off.
 */
__must_check static inline __attribute__((always_inline)) enum tf_err vmx_run(struct vmx_vcpu *v)
{
	unsigned how;
	bool failed;

	if (unlikely(v->pending_event))
		vmx_commit_event(v);
	v->entry_flags = (uint8_t)test_hook_vmx(v->entry_flags & ENTER_LAUNCHED ? "vmresume" : "vmlaunch", v->entry_flags);
	__asm__ volatile("call vmx_enter" : "=@ccc"(failed), "=a"(how), "+D"(v) : : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11",
			 "r12", "r13", "r14", "r15", "memory");
	if (unlikely(failed))
		return vmx_entry_failed(v, how);
	v->exit.tsc = (uint32_t)rdtsc();
	v->exit.reason = vmcs_read(VMCS_EXIT_REASON);
	return TF_OK;
}
