/*
 * What keeps one guest from another's data, and from ours, on CPUs that speculate too far (docs/mitigations.md). What is
 * due at each entry and exit is in vmx/entry.asm and is chosen for each vCPU by its flags; the rest is here.
 */
#pragma once
#include "vmx/mitigation_policy.h"
#include "vmx/vcpu.h"

struct vmx_mitigations {
	struct mitigation_plan plan;
	bool enabled;
	uint64_t arch_caps;  /* IA32_ARCH_CAPABILITIES, 0 where it is absent */
};

extern struct vmx_mitigations vmx_mitigations;

/* Decides and logs; before the first vCPU. `enabled` is the configuration's word. */
void vmx_mitigations_init(bool enabled);
/* Prepares this CPU: before its first entry. */
void vmx_mitigate_cpu(void);
/* Chooses what is done at each entry and exit of this vCPU; its VMCS must be loaded. */
void vmx_mitigate_vcpu(struct vmx_vcpu *v);
/* The scheduler gives this CPU to `v`, which will be entered next: what others left in predictors and cache goes. */
void vmx_mitigate_turn_needed(struct vmx_vcpu *v);
static inline void vmx_mitigate_turn(struct vmx_vcpu *v)
{
	if (unlikely(vmx_mitigations.plan.flags & (MITIGATE_IBPB | MITIGATE_L1D)))
		vmx_mitigate_turn_needed(v);
}
/* Data of others may have been touched (an interrupt of the machine was handled) while a vCPU has the CPU. */
void vmx_mitigate_touched(void);
/* `v` is about to end: whatever comes next at its address is another. */
void vmx_forget_vcpu(const struct vmx_vcpu *v);
/* The guest may read and write IA32_SPEC_CTRL without exits from now on. */
void vmx_open_spec_ctrl(struct vmx_vcpu *v);
#ifdef TF_TEST_HOOKS
/* Does these (MITIGATE_*) and no others, whatever the CPU needs. It must have the MSRs. */
void vmx_mitigations_force(uint32_t flags);
/* One of them was done; called for those that are not done at each exit: tests/hooks/mitigations.c. */
void test_hook_mitigated(uint32_t flag);
#endif
