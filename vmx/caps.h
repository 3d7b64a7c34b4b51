/* What this CPU's VMX can do (SDM 3D, "VMX Capability Reporting Facility"), and the plain-word refusal where it is too little. */
#pragma once
#include <tf/err.h>

struct vmx_caps {
	uint32_t revision;         /* VMCS revision identifier */
	uint32_t vmcs_size;
	bool true_ctls;            /* IA32_VMX_BASIC[55] */
	bool io_insn_info;         /* IA32_VMX_BASIC[54]: instruction information for INS and OUTS exits */
	bool any_error_code;       /* IA32_VMX_BASIC[56]: a hardware exception is injected with or without an error code */
	bool nested_exception;     /* IA32_VMX_BASIC[58]: a hardware exception is injected as nested */
	uint64_t pin, proc, proc2, exit, entry; /* allowed-0 in the low, allowed-1 in the high half */
	uint64_t proc3, exit2, vmfunc; /* allowed-1 of what has 64 bits; 0 where the CPU lacks the field */
	uint64_t ept_vpid;
	uint64_t misc;
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	unsigned preemption_shift; /* the preemption timer counts at TSC >> this */
	bool preemption_inexact;   /* it may count too slowly: an erratum */
	bool preemption_timer, vpid, tpr_shadow, apic_access, apic_registers, virtual_intr, x2apic, xsaves, rdtscp,
		invpcid, ept_ad;
};

/* Optional features that the configuration can take away (key `disable`), in the order of its words. */
enum vmx_feature { VMX_FEATURE_VPID, VMX_FEATURE_PREEMPTION_TIMER, VMX_FEATURE_TPR_SHADOW, VMX_FEATURE_APICV,
		   VMX_FEATURE_EPT_2M, VMX_FEATURE_EPT_1G, VMX_FEATURE_EPT_AD, VMX_FEATURE_X2APIC, VMX_FEATURES };

/* The configuration's word for it. */
const char *vmx_feature_name(enum vmx_feature f);

extern struct vmx_caps vmx_caps;

struct vmx_refusal { const char *missing, *advice; };

/*
 * Fills vmx_caps for this CPU. TF_ENODEV: Trefoil cannot run here, and *why says in plain words what is missing and
 * what to do about it. Sets and locks an IA32_FEATURE_CONTROL that the firmware left open.
 */
__must_check enum tf_err vmx_probe(struct vmx_refusal *why);

/* What of this CPU differs from the one that vmx_probe() ran on, so that it cannot run the same VMs; NULL: nothing. Opens VMX as that does. */
const char *vmx_cpu_differs(void);

/* Fills what follows from the capability words: preemption_shift and the features, preemption_timer to ept_ad. */
void vmx_caps_derive(struct vmx_caps *c);
/* Applies the errata of the CPU with this CPUID.1:EAX; after vmx_caps_derive(). */
void vmx_caps_errata(struct vmx_caps *c, uint32_t signature);
/* Takes features (bits of enum vmx_feature) away, as if the CPU did not have them. Before the first VMCS is made. */
void vmx_caps_disable(struct vmx_caps *c, uint32_t features);

/* Adjusts a wish by a capability: TF_ENODEV if a wanted bit may not be 1. SDM 3D, "Reserved Controls and Default Settings". */
__must_check enum tf_err vmx_ctl_fit(uint32_t want, uint64_t cap, uint32_t *out);
/* May these bits of a control be 1, all of them? */
static inline bool vmx_may(uint64_t cap, uint32_t bits) { return (cap >> 32 & bits) == bits; }
