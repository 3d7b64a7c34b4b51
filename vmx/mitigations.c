#include "vmx/mitigations.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include "vmx/cpu.h"
#include <tf/log.h>

struct vmx_mitigations vmx_mitigations;

void vmx_exit_plain(void); /* vmx/entry.asm */
void vmx_exit_careful(void);
void vmx_fill_rsb(void);

/* CPUs that came with IA32_SPEC_CTRL have it with one of these bits. */
#define HAS_SPEC_CTRL (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD)

static struct cpuid leaf7(uint32_t subleaf)
{
	struct cpuid none = { 0, 0, 0, 0 };

	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).eax >= subleaf ? cpuid(7, subleaf) : none;
}

static struct mitigation_cpu read_cpu(void)
{
	struct cpuid l7 = leaf7(0);
	struct mitigation_cpu c = { .signature = cpuid(1, 0).eax, .cpuid7_ebx = l7.ebx, .cpuid7_edx = l7.edx,
				    .cpuid7_2_edx = leaf7(2).edx };

	if ((l7.edx & CPUID_7_EDX_ARCH_CAP) && !rdmsr_safe(MSR_IA32_ARCH_CAPABILITIES, &c.arch_caps))
		c.arch_caps = 0;
	return c;
}

static const char *name_of(enum mitigation m) { return mitigation_state_name(vmx_mitigations.plan.state[m]); }

void vmx_mitigations_init(bool enabled)
{
	struct vmx_mitigations *m = &vmx_mitigations;
	struct mitigation_cpu c = read_cpu();

	m->arch_caps = c.arch_caps;
	m->enabled = enabled;
	mitigation_decide(&c, enabled, &m->plan);
	log_info("vmx",
		 "event=mitigations l1d-flush=%s verw=%s ibpb=%s ibrs=%s rsb=%s bhi=%s multihit=%s srbds=%s gds=%s "
		 "signature=%x arch-capabilities=%lx",
		 name_of(MITIGATION_L1D_FLUSH), name_of(MITIGATION_VERW), name_of(MITIGATION_IBPB),
		 name_of(MITIGATION_IBRS), name_of(MITIGATION_RSB), name_of(MITIGATION_BHI), name_of(MITIGATION_MULTIHIT),
		 name_of(MITIGATION_SRBDS), name_of(MITIGATION_GDS), c.signature, c.arch_caps);
}

/* The microcode's own mitigations are on unless the firmware has switched them off. */
static void enable_microcode(void)
{
	uint64_t old, new;

	if (!(leaf7(0).edx & CPUID_7_EDX_SRBDS_CTRL) && !(vmx_mitigations.arch_caps & ARCH_CAP_GDS_CTRL))
		return;
	if (!rdmsr_safe(MSR_IA32_MCU_OPT_CTRL, &old))
		return;
	new = old & ~MCU_OPT_RNGDS_MITG_DIS;
	if (!(old & MCU_OPT_GDS_MITG_LOCK))
		new &= ~MCU_OPT_GDS_MITG_DIS;
	if (new != old)
		wrmsr(MSR_IA32_MCU_OPT_CTRL, new);
}

void vmx_mitigate_cpu(void)
{
	/* Guests that do not use the MSR run with our value: the firmware's must not stay. */
	if (leaf7(0).edx & HAS_SPEC_CTRL)
		wrmsr(MSR_IA32_SPEC_CTRL, vmx_mitigations.plan.host_spec_ctrl);
	if (vmx_mitigations.enabled)
		enable_microcode();
}

void vmx_mitigate_vcpu(struct vmx_vcpu *v)
{
	const struct mitigation_plan *p = &vmx_mitigations.plan;
	uint32_t f = p->flags;
	bool each_exit = f & MITIGATE_IBRS_EXIT;

	v->host_spec_ctrl = p->host_spec_ctrl;
	v->entry_flags &= ENTER_LAUNCHED;
	v->entry_flags |= (f & MITIGATE_VERW ? ENTER_VERW : 0) |
			  (each_exit || v->spec_ctrl_native ? ENTER_SPEC_CTRL : 0);
	v->exit_flags = (v->spec_ctrl_native ? LEAVE_SAVE_SPEC : 0) | (each_exit ? LEAVE_LOAD_SPEC : 0) |
			(f & MITIGATE_RSB ? LEAVE_RSB : 0) | (f & MITIGATE_RSB_ONE ? LEAVE_RSB_ONE : 0) |
			(f & MITIGATE_BHB ? LEAVE_BHB : 0);
	vmcs_write(VMCS_HOST_RIP, (uint64_t)(v->exit_flags ? vmx_exit_careful : vmx_exit_plain));
}

#ifdef TF_TEST_HOOKS
void vmx_mitigations_force(uint32_t flags)
{
	vmx_mitigations.plan.flags = flags & MITIGATE_ALL;
	vmx_mitigations.plan.host_spec_ctrl = flags & MITIGATE_IBRS_EXIT ? SPEC_CTRL_IBRS : 0;
}
#else
static void test_hook_mitigated(uint32_t flag) { (void)flag; }
#endif

void vmx_mitigate_touched(void)
{
	if (likely(!(vmx_mitigations.plan.flags & MITIGATE_L1D)))
		return;
	wrmsr(MSR_IA32_FLUSH_CMD, FLUSH_CMD_L1D);
	test_hook_mitigated(MITIGATE_L1D);
}

void vmx_mitigate_turn_needed(struct vmx_vcpu *v)
{
	struct vmx_cpu *c = this_cpu()->vmx;

	if ((vmx_mitigations.plan.flags & MITIGATE_IBPB) && c->last != v) {
		wrmsr(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
		vmx_fill_rsb();
		test_hook_mitigated(MITIGATE_IBPB);
	}
	c->last = v;
	vmx_mitigate_touched();
}

void vmx_forget_vcpu(const struct vmx_vcpu *v)
{
	struct vmx_cpu *c = this_cpu()->vmx;

	if (c->last == v)
		c->last = NULL;
}

void vmx_open_spec_ctrl(struct vmx_vcpu *v)
{
	v->spec_ctrl_native = true;
	vmx_msr_open(v, MSR_IA32_SPEC_CTRL, true, true);
	vmx_mitigate_vcpu(v);
}
