/* Events into the guest (SDM 3C, "Event Injection"). One event can be pending for the next entry. */
#pragma once
#include "vmx/vcpu.h"

/* Is an event waiting for the next entry? */
static inline bool vmx_event_pending(const struct vmx_vcpu *v) { return v->pending_event != 0; }

/* A hardware exception; `has_error` as the vector demands. Combines with a pending exception as the SDM says
 * (contributory and page faults become #DF; a fault while #DF is delivered returns false: triple fault). */
__must_check bool vmx_inject_exception(struct vmx_vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void vmx_inject_interrupt(struct vmx_vcpu *v, uint8_t vector);
void vmx_inject_nmi(struct vmx_vcpu *v);

/* Changes what is blocked in the guest (SDM 3C, "Guest Non-Register State": interruptibility): BLOCK_*. */
static inline void vmx_set_blocking(uint32_t set, uint32_t clear)
{
	uint32_t old = vmcs_read(VMCS_GUEST_INTERRUPTIBILITY), new = (old | set) & ~clear;

	if (unlikely(new != old))
		vmcs_write(VMCS_GUEST_INTERRUPTIBILITY, new);
}
/* May an external interrupt be injected now: IF = 1, no blocking by STI or MOV SS, no event and no debug trap pending? */
bool vmx_interrupt_allowed(const struct vmx_vcpu *v);
bool vmx_nmi_allowed(const struct vmx_vcpu *v);

/* After an exit that can come in the middle of event delivery: queues the event again (SDM 3C, "Information for VM Exits During Event Delivery"). */
void vmx_requeue_event(struct vmx_vcpu *v);
/* Writes the pending event to the VMCS; called by vmx_run. */
void vmx_commit_event(struct vmx_vcpu *v);
