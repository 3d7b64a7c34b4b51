/* MSRs. Default deny: what is not named here is absent, #GP. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include "guest/exit.h"
#include "vmx/check.h"
#include "vmx/mitigations.h"
#include <tf/log.h>

#define MISC_ENABLE_FAST_STRING BIT(0)
#define MISC_ENABLE_NO_BTS      BIT(11)
#define MISC_ENABLE_NO_PEBS     BIT(12)
#define SPEC_CTRL_FEATURES (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD)
/* Fast strings and the thermal control circuit. Others would have to change CPUID: MONITOR, its last leaf, NX. */
#define MISC_ENABLE_WRITABLE    (MISC_ENABLE_FAST_STRING | BIT(3))
#define MCG_STATUS_WRITABLE     0x7 /* RIPV, EIPV, MCIP */

static const uint32_t switched_msrs[NSWITCHED] = {
	[SWITCH_STAR] = MSR_IA32_STAR,           [SWITCH_LSTAR] = MSR_IA32_LSTAR,
	[SWITCH_CSTAR] = MSR_IA32_CSTAR,         [SWITCH_FMASK] = MSR_IA32_FMASK,
	[SWITCH_KERNEL_GS] = MSR_IA32_KERNEL_GS_BASE, [SWITCH_TSC_AUX] = MSR_IA32_TSC_AUX,
};

/* TSC_AUX exists with RDTSCP only; its VM-execution control comes with it. */
static bool have_switched(enum switched_msr m) { return m != SWITCH_TSC_AUX || vmx_caps.rdtscp; }

static __attribute__((noinline, cold)) void load_all(const struct vcpu *v)
{
	for (enum switched_msr m = 0; m < NSWITCHED; m++)
		if (have_switched(m))
			wrmsr(switched_msrs[m], v->switched[m]);
}

void msr_switch_in(const struct vcpu *v, const struct vcpu *held)
{
	if (unlikely(!held)) {
		load_all(v);
		return;
	}
#pragma GCC unroll NSWITCHED
	for (enum switched_msr m = 0; m < NSWITCHED; m++)
		if (v->switched[m] != held->switched[m])
			wrmsr(switched_msrs[m], v->switched[m]);
}

/* The CPU checks what is written. */
static enum tf_err write_switched(struct vcpu *v, enum switched_msr m, uint64_t value)
{
	if (!wrmsr_safe(switched_msrs[m], value))
		return TF_EINVAL;
	v->switched[m] = rdmsr(switched_msrs[m]);
	return TF_OK;
}

static bool has_feature(const struct vcpu *v, uint64_t cpuid7_edx) { return v->vm->cpuid.basic[7].edx & cpuid7_edx; }
static bool has_tsc_aux(const struct vcpu *v) { return vmx_caps.rdtscp && (v->vm->cpuid.extended[1].edx & CPUID_EXT_EDX_RDTSCP); }
static bool has_tsc_deadline(const struct vcpu *v) { return CPUID_HAS(&v->vm->cpuid, 1, ecx, 24); }

void msr_open_native(struct vcpu *v)
{
	/* In the VMCS, saved and loaded by each exit and entry */
	static const uint32_t in_vmcs[] = { MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
					    MSR_IA32_FS_BASE, MSR_IA32_GS_BASE };

	for (unsigned i = 0; i < ARRAY_SIZE(in_vmcs); i++)
		vmx_msr_open(&v->vmx, in_vmcs[i], true, true);
	/* Not used by the hypervisor, switched with the vCPU. SWAPGS writes one; the others are set once, and knowing what they
	 * are spares each switch to read them. */
	for (enum switched_msr m = 0; m < NSWITCHED; m++)
		if (m != SWITCH_TSC_AUX || has_tsc_aux(v))
			vmx_msr_open(&v->vmx, switched_msrs[m], true, m == SWITCH_KERNEL_GS);
	/* Read only: the guest's own by the VMCS, or by the TSC offset */
	vmx_msr_open(&v->vmx, MSR_IA32_TSC, true, false);
	vmx_msr_open(&v->vmx, MSR_IA32_EFER, true, false);
	vmx_msr_open(&v->vmx, MSR_IA32_PAT, true, false);
	/* Commands, which hurt nobody else; the CPU checks what is written. IA32_SPEC_CTRL is opened when it is first set. */
	vmx_msr_open(&v->vmx, MSR_IA32_PRED_CMD, false, has_feature(v, CPUID_7_EDX_IBRS_IBPB));
	vmx_msr_open(&v->vmx, MSR_IA32_FLUSH_CMD, false, has_feature(v, CPUID_7_EDX_L1D_FLUSH));
}

void msr_set_tsc(struct vcpu *v)
{
	v->tsc_offset = -v->vm->start_tsc;
	vmcs_write(VMCS_TSC_OFFSET, v->tsc_offset);
}

void msr_reset(struct vcpu *v)
{
	for (enum switched_msr m = 0; m < NSWITCHED; m++)
		v->switched[m] = 0;
	v->misc_enable = MISC_ENABLE_FAST_STRING | MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS;
	v->mcg_status = 0;
	v->tsc_adjust = 0;
	v->xss = 0;
	v->vmx.spec_ctrl = 0;
	msr_set_tsc(v);
	vmcs_write(VMCS_GUEST_PAT, PAT_RESET);
	vmcs_write(VMCS_GUEST_SYSENTER_CS, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_EIP, 0);
	mtrr_reset(&v->mtrr, v->vm->cpuid.phys_bits);
	msr_init_signal();
}

/* The rest stays: the time-stamp counter with what is added to it, MTRRs and PAT, the entry points of system calls. */
void msr_init_signal(void)
{
	vmcs_write(VMCS_GUEST_EFER, 0);
	vmcs_write(VMCS_GUEST_DEBUGCTL, 0);
}

static enum tf_err read_msr(struct vcpu *v, uint32_t msr, uint64_t *out)
{
	switch (msr) {
	case MSR_IA32_TSC:
		*out = rdtsc() + v->tsc_offset;
		return TF_OK;
	case MSR_IA32_TSC_ADJUST:
		*out = v->tsc_adjust;
		return CPUID_HAS(&v->vm->cpuid, 7, ebx, 1) ? TF_OK : TF_EINVAL;
	case MSR_IA32_EFER:
		*out = vmcs_read(VMCS_GUEST_EFER);
		return TF_OK;
	case MSR_IA32_PAT:
		*out = vmcs_read(VMCS_GUEST_PAT);
		return TF_OK;
	case MSR_IA32_MISC_ENABLE:
		*out = v->misc_enable;
		return TF_OK;
	case MSR_IA32_DEBUGCTL:
		*out = vmcs_read(VMCS_GUEST_DEBUGCTL);
		return TF_OK;
	case MSR_IA32_XSS:
		*out = v->xss;
		return v->vm->cpuid.xsave[1].eax & BIT(3) ? TF_OK : TF_EINVAL;
	case MSR_IA32_SPEC_CTRL:
		*out = v->vmx.spec_ctrl;
		return has_feature(v, SPEC_CTRL_FEATURES) ? TF_OK : TF_ENOENT;
	case MSR_IA32_ARCH_CAPABILITIES:
		*out = vmx_mitigations.arch_caps & ARCH_CAP_GUEST;
		return has_feature(v, CPUID_7_EDX_ARCH_CAP) ? TF_OK : TF_ENOENT;
	case MSR_IA32_PLATFORM_ID:
	case MSR_IA32_MCG_CAP:    /* no banks */
		*out = 0;
		return TF_OK;
	case MSR_IA32_MCG_STATUS:
		*out = v->mcg_status;
		return TF_OK;
	case MSR_IA32_BIOS_SIGN_ID:
		if (!rdmsr_safe(msr, out))
			*out = 0; /* an emulator may have no microcode */
		return TF_OK;
	case MSR_IA32_TSC_DEADLINE:
		if (!has_tsc_deadline(v))
			return TF_ENOENT;
		return vlapic_rdmsr(&v->lapic, msr, out);
	case MSR_IA32_APIC_BASE:
		return vlapic_rdmsr(&v->lapic, msr, out);
	}
	if (msr - MSR_X2APIC_BASE < 0x100)
		return vlapic_rdmsr(&v->lapic, msr, out);
	if (msr - MSR_KVM_BASE < 0x100)
		return kvm_pv_rdmsr(v, msr, out);
	return mtrr_read(&v->mtrr, msr, out);
}

static enum tf_err write_efer(struct vcpu *v, uint64_t value)
{
	uint64_t old = vmcs_read(VMCS_GUEST_EFER), cr0 = vmcs_read(VMCS_GUEST_CR0);

	if (value & ~v->vm->cpuid.efer_allowed)
		return TF_EINVAL;
	if ((cr0 & CR0_PG) && ((old ^ value) & EFER_LME))
		return TF_EINVAL;
	value = (value & ~EFER_LMA) | (old & EFER_LMA);
	vmcs_write(VMCS_GUEST_EFER, value);
	if ((old ^ value) & EFER_NXE)
		vmx_vcpu_flush(&v->vmx);
	return TF_OK;
}

static enum tf_err write_pat(uint64_t value)
{
	if (!vmx_pat_ok(value))
		return TF_EINVAL;
	vmcs_write(VMCS_GUEST_PAT, value);
	return TF_OK;
}

static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	__atomic_store_n(&v->tsc_offset, offset, __ATOMIC_RELAXED);
	vmcs_write(VMCS_TSC_OFFSET, offset);
	kvm_pv_tsc_moved(v);
	/* a deadline that the guest set counts in its own TSC */
	if (v->lapic.tsc_deadline && vlapic_wrmsr(&v->lapic, MSR_IA32_TSC_DEADLINE, v->lapic.tsc_deadline))
		return;
}

static enum tf_err write_msr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	enum tf_err e;

	switch (msr) {
	case MSR_IA32_TSC: {
		uint64_t delta = value - (rdtsc() + v->tsc_offset);

		v->tsc_adjust += delta;
		set_tsc_offset(v, v->tsc_offset + delta);
		return TF_OK;
	}
	case MSR_IA32_TSC_ADJUST:
		if (!CPUID_HAS(&v->vm->cpuid, 7, ebx, 1))
			return TF_EINVAL;
		set_tsc_offset(v, v->tsc_offset + value - v->tsc_adjust);
		v->tsc_adjust = value;
		return TF_OK;
	case MSR_IA32_EFER:
		return write_efer(v, value);
	case MSR_IA32_PAT:
		return write_pat(value);
	case MSR_IA32_MISC_ENABLE:
		if ((value ^ v->misc_enable) & ~MISC_ENABLE_WRITABLE)
			return TF_EINVAL;
		v->misc_enable = value;
		return TF_OK;
	case MSR_IA32_DEBUGCTL:
		if (value & ~(DEBUGCTL_BTF | DEBUGCTL_LBR))
			return TF_EINVAL;
		vmcs_write(VMCS_GUEST_DEBUGCTL, value & DEBUGCTL_BTF);
		return TF_OK;
	case MSR_IA32_SPEC_CTRL: /* zero, which it is */
		return has_feature(v, SPEC_CTRL_FEATURES) ? TF_OK : TF_ENOENT;
	case MSR_IA32_ARCH_CAPABILITIES:
		return has_feature(v, CPUID_7_EDX_ARCH_CAP) ? TF_EINVAL : TF_ENOENT;
	case MSR_IA32_XSS:
		return value || !(v->vm->cpuid.xsave[1].eax & BIT(3)) ? TF_EINVAL : TF_OK;
	case MSR_IA32_MCG_STATUS:
		if (value & ~(uint64_t)MCG_STATUS_WRITABLE)
			return TF_EINVAL;
		v->mcg_status = value;
		return TF_OK;
	case MSR_IA32_BIOS_SIGN_ID: /* how software asks for the revision */
	case MSR_IA32_BIOS_UPDT_TRIG:
		return TF_OK;
	case MSR_IA32_APIC_BASE:
		if (!(e = vlapic_wrmsr(&v->lapic, msr, value)))
			vcpu_request(v, REQ_APIC);
		return e;
	case MSR_IA32_TSC_DEADLINE:
		return has_tsc_deadline(v) ? vlapic_wrmsr(&v->lapic, msr, value) : TF_ENOENT;
	}
	if (msr - MSR_X2APIC_BASE < 0x100) {
		if (vlapic_write_delivers((msr - MSR_X2APIC_BASE) * 16))
			vcpu_request(v, REQ_EVENT);
		return vlapic_wrmsr(&v->lapic, msr, value);
	}
	if (msr - MSR_KVM_BASE < 0x100)
		return kvm_pv_wrmsr(v, msr, value);
	if (msr - MSR_IA32_STAR <= SWITCH_FMASK - SWITCH_STAR)
		return write_switched(v, SWITCH_STAR + (msr - MSR_IA32_STAR), value);
	if (msr == MSR_IA32_TSC_AUX && has_tsc_aux(v))
		return write_switched(v, SWITCH_TSC_AUX, value);
	return mtrr_write(&v->mtrr, msr, value);
}

static enum action denied(struct vcpu *v, uint32_t msr, const char *what)
{
	v->vm->denied_msr++;
	if (log_allow(&v->vm->log_count, 16))
		log_debug("guest", "vm=%s vcpu=%u event=msr-denied msr=%x access=%s", v->vm->cfg.name, v->id, msr, what);
	return vcpu_gp(v);
}

enum action exit_rdmsr(struct vcpu *v)
{
	uint64_t *g = v->vmx.gpr, value;
	uint32_t msr = (uint32_t)g[RCX];
	enum tf_err e = read_msr(v, msr, &value);

	if (e)
		return e == TF_ENOENT ? denied(v, msr, "read") : vcpu_gp(v);
	g[RAX] = (uint32_t)value;
	g[RDX] = value >> 32;
	return ACT_NEXT;
}

enum action exit_wrmsr(struct vcpu *v)
{
	const uint64_t *g = v->vmx.gpr;
	uint64_t value = g[RDX] << 32 | (uint32_t)g[RAX];
	uint32_t msr = (uint32_t)g[RCX];

	if (msr == MSR_X2APIC_EOI && !value && vlapic_x2apic(&v->lapic)) { /* where the CPU does not do it, the most frequent of all */
		vlapic_eoi(&v->lapic);
		return ACT_NEXT;
	}
	/* Most guests never set it, and it costs those that do some cycles at each exit. The CPU checks the value. */
	if (msr == MSR_IA32_SPEC_CTRL && value && has_feature(v, SPEC_CTRL_FEATURES)) {
		vmx_open_spec_ctrl(&v->vmx);
		return ACT_RETRY;
	}
	enum tf_err e = write_msr(v, msr, value);
	if (e)
		return e == TF_ENOENT ? denied(v, msr, "write") : vcpu_gp(v);
	return ACT_NEXT;
}
