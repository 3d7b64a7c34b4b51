/*
 * Which optional features are used: what the CPU's capabilities allow, less its errata, less what the configuration takes
 * away. Pure.
 */
#include "vmx/caps.h"
#include "vmx/fields.h"

/* What each feature is in the capabilities; ept_vpid holds no allowed-0 half. */
static const struct {
	const char *name;
	uint32_t pin, proc, proc2;
	uint64_t ept_vpid;
} features[] = {
	[VMX_FEATURE_VPID] = { .name = "vpid", .proc2 = PROC2_VPID },
	[VMX_FEATURE_PREEMPTION_TIMER] = { .name = "preemption-timer", .pin = PIN_PREEMPTION_TIMER },
	/* All virtualisation of the APIC builds on it. */
	[VMX_FEATURE_TPR_SHADOW] = { .name = "tpr-shadow", .proc = PROC_TPR_SHADOW },
	[VMX_FEATURE_APICV] = { .name = "apicv", .proc2 = PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTR },
	[VMX_FEATURE_EPT_2M] = { .name = "ept-2m", .ept_vpid = EPTCAP_2M },
	[VMX_FEATURE_EPT_1G] = { .name = "ept-1g", .ept_vpid = EPTCAP_1G },
	[VMX_FEATURE_EPT_AD] = { .name = "ept-ad", .ept_vpid = EPTCAP_AD },
	[VMX_FEATURE_X2APIC] = { .name = "x2apic", .proc2 = PROC2_X2APIC },
};
_Static_assert(ARRAY_SIZE(features) == VMX_FEATURES, "one for each");

const char *vmx_feature_name(enum vmx_feature f) { return features[f].name; }

__must_check enum tf_err vmx_ctl_fit(uint32_t want, uint64_t cap, uint32_t *out)
{
	uint32_t must = (uint32_t)cap, may = (uint32_t)(cap >> 32);

	if (want & ~may)
		return TF_ENODEV;
	*out = want | must;
	return TF_OK;
}

void vmx_caps_derive(struct vmx_caps *c)
{
	c->preemption_timer = vmx_may(c->pin, PIN_PREEMPTION_TIMER);
	c->preemption_shift = c->misc & 0x1f;
	c->vpid = vmx_may(c->proc2, PROC2_VPID) && (c->ept_vpid & EPTCAP_INVVPID) &&
		  (c->ept_vpid & (EPTCAP_INVVPID_SINGLE | EPTCAP_INVVPID_ALL));
	c->tpr_shadow = vmx_may(c->proc, PROC_TPR_SHADOW);
	c->apic_access = c->tpr_shadow && vmx_may(c->proc2, PROC2_APIC_ACCESS);
	c->apic_registers = c->apic_access && vmx_may(c->proc2, PROC2_APIC_REGISTERS);
	/* Every Intel CPU that has virtual-interrupt delivery has posted interrupts too. An emulator that has one without
	 * the other delivers virtual interrupts to a guest whose IF is 0 (Bochs 3.0). */
	c->virtual_intr = c->apic_registers && vmx_may(c->proc2, PROC2_VIRTUAL_INTR) &&
			  vmx_may(c->exit, EXIT_ACK_INTR) && vmx_may(c->pin, PIN_POSTED_INTR);
	c->x2apic = c->tpr_shadow && vmx_may(c->proc2, PROC2_X2APIC);
	c->xsaves = vmx_may(c->proc2, PROC2_XSAVES);
	c->rdtscp = vmx_may(c->proc2, PROC2_RDTSCP);
	c->invpcid = vmx_may(c->proc2, PROC2_INVPCID);
	c->ept_ad = c->ept_vpid & EPTCAP_AD;
}

/* A bit that must be 1 stays, as on a CPU where the control is not optional. */
static uint64_t forbid(uint64_t cap, uint32_t bits) { return cap & ~((uint64_t)(bits & ~(uint32_t)cap) << 32); }

void vmx_caps_disable(struct vmx_caps *c, uint32_t disable)
{
	for (unsigned f = 0; f < VMX_FEATURES; f++) {
		if (!(disable & BIT(f)))
			continue;
		c->pin = forbid(c->pin, features[f].pin);
		c->proc = forbid(c->proc, features[f].proc);
		c->proc2 = forbid(c->proc2, features[f].proc2);
		c->ept_vpid &= ~features[f].ept_vpid;
	}
	vmx_caps_derive(c);
}

/*
 * Errata that hit what is used, by CPUID.1:EAX, each with its specification update. Others were looked at: those about
 * IA32_PERF_GLOBAL_CTRL and LBRs do not matter here, and a TSC deadline that old microcode gets wrong is measured
 * (arch/x86_64/lapic.c).
 */
void vmx_caps_errata(struct vmx_caps *c, uint32_t signature)
{
	enum { MODEL_MASK = 0x0fff0ff0, ATOM_C2000 = 0x000406d0 };

	/* "VMX-Preemption Timer Does Not Count Down at the Rate Specified": Core i5-600 and i7-600 (AAT59, AAU65), Xeon
	 * E3-1200 v2. Older CPUs that have it lack the unrestricted guest. The local APIC's timer runs beside it. */
	c->preemption_inexact = signature == 0x20652 || signature == 0x20655 || signature == 0x306a8;
	/* AVR41 of the Atom C2000: the accessed and dirty flags of EPT are not to be used. */
	if ((signature & MODEL_MASK) == ATOM_C2000)
		vmx_caps_disable(c, BIT(VMX_FEATURE_EPT_AD));
}
