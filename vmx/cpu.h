/* VMX operation of one CPU, and the VMX instructions that are not VMREAD and VMWRITE. Each failure stops the machine by name. */
#pragma once
#include <tf/err.h>

struct vmx_vcpu;

struct vmx_cpu {
	hpa_t vmxon;              /* VMXON region */
	struct vmx_vcpu *current; /* whose VMCS is current, or NULL */
	struct vmx_vcpu *last;    /* who trained the branch predictors last, or NULL */
};

void vmx_vmclear(hpa_t vmcs);
void vmx_vmptrld(hpa_t vmcs);
