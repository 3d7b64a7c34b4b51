/* CPUID, HLT, XSETBV. */
#include "arch/x86_64/cpu.h"
#include "guest/exit.h"

static void set_cpuid(uint64_t *g, const struct cpuid_regs *r)
{
	g[RAX] = r->eax;
	g[RBX] = r->ebx;
	g[RCX] = r->ecx;
	g[RDX] = r->edx;
}

enum action exit_cpuid(struct vcpu *v)
{
	const struct cpuid_table *t = &v->vm->cpuid;
	uint64_t *g = v->vmx.gpr;
	uint32_t leaf = (uint32_t)g[RAX];
	struct cpuid_regs r;

	if (leaf <= t->max_basic && !(CPUID_BASIC_VARIES >> leaf & 1)) {
		set_cpuid(g, &t->basic[leaf]);
		return ACT_NEXT;
	}
	cpuid_guest(v, leaf, (uint32_t)g[RCX], &r);
	set_cpuid(g, &r);
	return ACT_NEXT;
}

enum action exit_hlt(struct vcpu *v)
{
	v->halted_if = vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF;
	v->halted_nmi = !(vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI);
	if (unlikely(vcpu_is_posted(v)))
		vcpu_take_posted(v); /* no sleep that would end at once */
	return (kvm_pv_kicked(&v->kvm) && kvm_pv_take_kick(v)) || vcpu_has_event(v) ? ACT_NEXT : ACT_HALT;
}

/* SDM 2D, "XSETBV", and 1, "XSAVE-Supported Features and State-Component Bitmaps" */
static bool xcr0_ok(uint64_t v, uint64_t allowed)
{
	const uint64_t avx512 = BIT(5) | BIT(6) | BIT(7);

	if ((v & ~allowed) || !(v & BIT(0)))
		return false;
	if ((v & BIT(2)) && !(v & BIT(1)))
		return false;
	return !(v & avx512) || ((v & avx512) == avx512 && (v & BIT(2)));
}

enum action exit_xsetbv(struct vcpu *v)
{
	const uint64_t *g = v->vmx.gpr;
	uint64_t value = g[RDX] << 32 | (uint32_t)g[RAX];

	if ((uint32_t)g[RCX] != 0 || vcpu_cpl() != 0 || !xcr0_ok(value, v->vm->cpuid.xcr0))
		return vcpu_gp(v);
	xsetbv(0, value);
	v->xcr0 = value;
	return ACT_NEXT;
}
