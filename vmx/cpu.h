/* VMX operation of one CPU, and the VMX instructions that are not VMREAD and VMWRITE. Each failure stops the machine by name. */
#pragma once
#include "arch/x86_64/percpu.h"

struct vmx_vcpu;

struct vmx_cpu {
	hpa_t vmxon;              /* VMXON region */
	struct vmx_vcpu *current; /* whose VMCS is current, or NULL */
	struct vmx_vcpu *last;    /* who trained the branch predictors last, or NULL */
};

/* Is its VMCS the one that VMREAD and VMWRITE access here? */
static inline bool vmx_vcpu_is_current(const struct vmx_vcpu *v) { return ((const struct vmx_cpu *)this_cpu()->vmx)->current == v; }

void vmx_vmclear(hpa_t vmcs);
void vmx_vmptrld(hpa_t vmcs);
