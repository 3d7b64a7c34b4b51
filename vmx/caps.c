#include "vmx/caps.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/smp.h"
#include "vmx/feature_control.h"
#include "vmx/fields.h"
#include <tf/log.h>
#include <tf/string.h>

struct vmx_caps vmx_caps;

/* What vmx_probe() read: all CPUs must be like the first. */
static struct vmx_caps read_first;
static struct features { uint32_t signature, one_ecx, one_edx, seven_ebx, seven_ecx, seven_edx, xcr0, extended; } features_first;

#define VMX_BASIC_SIZE(b)       ((uint32_t)((b) >> 32 & 0x1fff))
#define VMX_BASIC_IO_INFO       BIT(54)
#define VMX_BASIC_TRUE          BIT(55)
#define VMX_BASIC_ANY_ERROR     BIT(56)
#define VMX_BASIC_NESTED        BIT(58)
#define CPUID1_ECX_VMX          BIT(5)
#define CPUID1_ECX_SMX          BIT(6)
#define MISC_ENABLE_LIMIT_CPUID BIT(22)

static enum tf_err refuse(struct vmx_refusal *why, const char *missing, const char *advice)
{
	*why = (struct vmx_refusal){ missing, advice };
	return TF_ENODEV;
}

static enum tf_err allow_vmxon(struct vmx_refusal *why)
{
	uint64_t value;

	if (!rdmsr_safe(MSR_IA32_FEATURE_CONTROL, &value))
		return refuse(why, "the register IA32_FEATURE_CONTROL",
			      "the hypervisor or emulator below Trefoil hides it: give this machine a complete VT-x");
	struct feature_control d = feature_control_decide(value, cpuid(1, 0).ecx & CPUID1_ECX_SMX);
	if (d.verdict == FEATURE_CONTROL_REFUSE)
		return refuse(why, d.missing, d.advice);
	if (d.verdict == FEATURE_CONTROL_WRITE) {
		if (!wrmsr_safe(MSR_IA32_FEATURE_CONTROL, d.value))
			return refuse(why, "VT-x (the CPU does not take it in IA32_FEATURE_CONTROL)",
				      "enable Intel Virtualization Technology in the firmware settings");
		log_info("vmx", "event=feature-control-locked was=%lx value=%lx", value, d.value);
	}
	return TF_OK;
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
	return allow_vmxon(why);
}

static void read_caps(struct vmx_caps *c)
{
	uint64_t basic = rdmsr(MSR_IA32_VMX_BASIC);

	c->revision = (uint32_t)basic & 0x7fffffff;
	c->vmcs_size = VMX_BASIC_SIZE(basic);
	c->true_ctls = basic & VMX_BASIC_TRUE;
	c->io_insn_info = basic & VMX_BASIC_IO_INFO;
	c->any_error_code = basic & VMX_BASIC_ANY_ERROR;
	c->nested_exception = basic & VMX_BASIC_NESTED;
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
		if (vmx_may(c->proc2, PROC2_VMFUNC))
			c->vmfunc = rdmsr(MSR_IA32_VMX_VMFUNC);
	}
	if (vmx_may(c->proc, PROC_TERTIARY))
		c->proc3 = rdmsr(MSR_IA32_VMX_PROCBASED3);
	if (vmx_may(c->exit, EXIT_SECONDARY))
		c->exit2 = rdmsr(MSR_IA32_VMX_EXIT2);
}

/* Less what the operating system's own settings show there. */
static struct features read_features(void)
{
	struct cpuid one = cpuid(1, 0), seven = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid){ 0 };

	return (struct features){
		.signature = one.eax, .one_ecx = one.ecx & ~(uint32_t)CPUID_1_ECX_OSXSAVE, .one_edx = one.edx,
		.seven_ebx = seven.ebx, .seven_ecx = seven.ecx & ~(uint32_t)CPUID_7_ECX_OSPKE, .seven_edx = seven.edx,
		.xcr0 = one.ecx & CPUID_1_ECX_XSAVE ? cpuid(0xd, 0).eax : 0, .extended = cpuid(CPUID_EXTENDED, 0).edx,
	};
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
	read_first = *c;
	features_first = read_features();
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

	vmx_caps_derive(c);
	vmx_caps_errata(c, cpuid(1, 0).eax);
	return TF_OK;
}

const char *vmx_cpu_differs(void)
{
	struct vmx_refusal why;
	struct vmx_caps c = { 0 };
	struct features f = read_features();

	if (check_cpu(&why))
		return why.missing;
	read_caps(&c);
	if (memcmp(&c, &read_first, sizeof(c)) || test_hook_cpu_differs())
		return "its VMX capabilities are not the boot CPU's";
	return memcmp(&f, &features_first, sizeof(f)) ? "its CPUID features are not the boot CPU's" : NULL;
}
