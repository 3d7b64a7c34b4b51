#include "vmx/caps.h"
#include "arch/x86_64/cpu.h"
#include "vmx/fields.h"
#include <tf/string.h>

struct vmx_caps vmx_caps;

#define FEATURE_CONTROL_LOCK    BIT(0)
#define FEATURE_CONTROL_VMX     BIT(2) /* outside SMX */
#define VMX_BASIC_SIZE(b)       ((uint32_t)((b) >> 32 & 0x1fff))
#define VMX_BASIC_IO_INFO       BIT(54)
#define VMX_BASIC_TRUE          BIT(55)
#define VMX_BASIC_ANY_ERROR     BIT(56)
#define CPUID1_ECX_VMX          BIT(5)
#define MISC_ENABLE_LIMIT_CPUID BIT(22)

__must_check enum tf_err vmx_ctl_fit(uint32_t want, uint64_t cap, uint32_t *out)
{
	uint32_t must = (uint32_t)cap, may = (uint32_t)(cap >> 32);

	if (want & ~may)
		return TF_ENODEV;
	*out = want | must;
	return TF_OK;
}

static enum tf_err refuse(struct vmx_refusal *why, const char *missing, const char *advice)
{
	*why = (struct vmx_refusal){ missing, advice };
	return TF_ENODEV;
}

static enum tf_err check_cpu(struct vmx_refusal *why)
{
	struct cpuid vendor = cpuid(0, 0);

	if (vendor.ebx != 0x756e6547 || vendor.edx != 0x49656e69 || vendor.ecx != 0x6c65746e) /* GenuineIntel */
		return refuse(why, "an Intel CPU", "Trefoil needs Intel VT-x; this CPU is of another vendor");
	if (!(cpuid(1, 0).ecx & CPUID1_ECX_VMX))
		return refuse(why, "VT-x (CPUID.1:ECX.VMX is 0)",
			      "use a CPU with VT-x; under QEMU run with -enable-kvm -cpu host,+vmx and nested=1");
	/* A firmware setting for old systems hides the leaves above 3, and with them what XSAVE and others need. */
	uint64_t misc;
	if (rdmsr_safe(MSR_IA32_MISC_ENABLE, &misc) && (misc & MISC_ENABLE_LIMIT_CPUID))
		wrmsr(MSR_IA32_MISC_ENABLE, misc & ~MISC_ENABLE_LIMIT_CPUID);
	uint64_t fc = rdmsr(MSR_IA32_FEATURE_CONTROL);
	if (!(fc & FEATURE_CONTROL_LOCK)) {
		wrmsr(MSR_IA32_FEATURE_CONTROL, fc | FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK);
		fc = rdmsr(MSR_IA32_FEATURE_CONTROL);
	}
	if (!(fc & FEATURE_CONTROL_VMX))
		return refuse(why, "VT-x (locked off by the firmware in IA32_FEATURE_CONTROL)",
			      "enable Intel Virtualization Technology in the firmware settings and switch the machine off and on");
	return TF_OK;
}

/*
 * "VMX-Preemption Timer Does Not Count Down at the Rate Specified": specification updates of the Core i5-600 and i7-600
 * (Westmere) and of the Xeon E3-1200 v2, by CPUID.1:EAX. Older CPUs that have it lack the unrestricted guest.
 */
static bool preemption_inexact(void)
{
	uint32_t signature = cpuid(1, 0).eax;

	return signature == 0x20652 || signature == 0x20655 || signature == 0x306a8;
}

static void read_caps(struct vmx_caps *c)
{
	uint64_t basic = rdmsr(MSR_IA32_VMX_BASIC);

	c->revision = (uint32_t)basic & 0x7fffffff;
	c->vmcs_size = VMX_BASIC_SIZE(basic);
	c->true_ctls = basic & VMX_BASIC_TRUE;
	c->io_insn_info = basic & VMX_BASIC_IO_INFO;
	c->any_error_code = basic & VMX_BASIC_ANY_ERROR;
	c->pin = rdmsr(c->true_ctls ? MSR_IA32_VMX_TRUE_PINBASED : MSR_IA32_VMX_PINBASED);
	c->proc = rdmsr(c->true_ctls ? MSR_IA32_VMX_TRUE_PROCBASED : MSR_IA32_VMX_PROCBASED);
	c->exit = rdmsr(c->true_ctls ? MSR_IA32_VMX_TRUE_EXIT : MSR_IA32_VMX_EXIT);
	c->entry = rdmsr(c->true_ctls ? MSR_IA32_VMX_TRUE_ENTRY : MSR_IA32_VMX_ENTRY);
	c->misc = rdmsr(MSR_IA32_VMX_MISC);
	c->cr0_fixed0 = rdmsr(MSR_IA32_VMX_CR0_FIXED0);
	c->cr0_fixed1 = rdmsr(MSR_IA32_VMX_CR0_FIXED1);
	c->cr4_fixed0 = rdmsr(MSR_IA32_VMX_CR4_FIXED0);
	c->cr4_fixed1 = rdmsr(MSR_IA32_VMX_CR4_FIXED1);
	if (vmx_may(c->proc, PROC_SECONDARY)) {
		c->proc2 = rdmsr(MSR_IA32_VMX_PROCBASED2);
		if (vmx_may(c->proc2, PROC2_EPT) || vmx_may(c->proc2, PROC2_VPID))
			c->ept_vpid = rdmsr(MSR_IA32_VMX_EPT_VPID_CAP);
	}
}

enum tf_err vmx_probe(struct vmx_refusal *why)
{
	struct vmx_caps *c = &vmx_caps;
	enum tf_err e = check_cpu(why);

	if (e)
		return e;
	if (!(cpuid(CPUID_EXTENDED, 0).edx & CPUID_EXT_EDX_NX))
		return refuse(why, "the NX bit", "enable execute disable in the firmware settings");
	read_caps(c);
	const char *cpu_too_old = "this CPU's VT-x is too old; Trefoil needs Westmere (2010) or newer";
	if (!vmx_may(c->proc, PROC_SECONDARY))
		return refuse(why, "secondary processor-based VM-execution controls", cpu_too_old);
	if (!vmx_may(c->proc2, PROC2_EPT) || !(c->ept_vpid & EPTCAP_WALK4) || !(c->ept_vpid & EPTCAP_WB) ||
	    !(c->ept_vpid & EPTCAP_INVEPT) || !(c->ept_vpid & (EPTCAP_INVEPT_SINGLE | EPTCAP_INVEPT_ALL)))
		return refuse(why, "EPT (extended page tables)", cpu_too_old);
	if (!vmx_may(c->proc2, PROC2_UNRESTRICTED))
		return refuse(why, "unrestricted guest", cpu_too_old);
	if (!vmx_may(c->proc, PROC_IO_BITMAPS) || !vmx_may(c->proc, PROC_MSR_BITMAPS))
		return refuse(why, "I/O and MSR bitmaps", cpu_too_old);
	if (!vmx_may(c->pin, PIN_EXTINT_EXIT) || !vmx_may(c->pin, PIN_NMI_EXIT) || !vmx_may(c->pin, PIN_VIRTUAL_NMI))
		return refuse(why, "virtual NMIs", cpu_too_old);
	if (!vmx_may(c->exit, EXIT_HOST_64) || !vmx_may(c->entry, ENTRY_IA32E))
		return refuse(why, "64-bit VM entries and exits", cpu_too_old);
	if (!vmx_may(c->exit, EXIT_LOAD_EFER | EXIT_SAVE_EFER) || !vmx_may(c->entry, ENTRY_LOAD_EFER) ||
	    !vmx_may(c->exit, EXIT_LOAD_PAT | EXIT_SAVE_PAT) || !vmx_may(c->entry, ENTRY_LOAD_PAT))
		return refuse(why, "switching of IA32_EFER and IA32_PAT by the VMCS", cpu_too_old);

	c->preemption_timer = vmx_may(c->pin, PIN_PREEMPTION_TIMER);
	c->preemption_inexact = preemption_inexact();
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
	return TF_OK;
}
