/*
 * What a CPU keeps of a vCPU outside of its guest, until another comes there. Registers that the two have alike are not
 * written: most of these stop the CPU until all before them is done. With nobody's, this_cpu()->guest, they may hold anything.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include "guest/exit.h"
#include "guest/fpu.h"

static inline void save(struct vcpu *v)
{
	fpu_save(v);
	v->switched[SWITCH_KERNEL_GS] = rdmsr(MSR_IA32_KERNEL_GS_BASE); /* the others are known, as writing them exits */
	v->dr[0] = read_dr0();
	v->dr[1] = read_dr1();
	v->dr[2] = read_dr2();
	v->dr[3] = read_dr3();
	v->dr6 = read_dr6();
	v->cr2 = read_cr2();
}

static inline bool debug_alike(const struct vcpu *a, const struct vcpu *b)
{
	return !((a->dr[0] ^ b->dr[0]) | (a->dr[1] ^ b->dr[1]) | (a->dr[2] ^ b->dr[2]) | (a->dr[3] ^ b->dr[3]) |
		 (a->dr6 ^ b->dr6));
}

static inline void load_debug(const struct vcpu *v)
{
	write_dr0(v->dr[0]);
	write_dr1(v->dr[1]);
	write_dr2(v->dr[2]);
	write_dr3(v->dr[3]);
	write_dr6(v->dr6);
}

void vcpu_switch_out(struct vcpu *v)
{
	struct cpu *c = this_cpu();

	if (c->guest != v)
		return;
	c->guest = NULL;
	save(v);
}

void vcpu_switch_in(struct vcpu *v)
{
	struct cpu *c = this_cpu();
	struct vcpu *before = c->guest;

	vmx_vcpu_load(&v->vmx);
	if (before == v)
		return;
	if (likely(before))
		save(before);
	fpu_restore(v);
	msr_switch_in(v, before);
	if (unlikely(!before || !debug_alike(v, before)))
		load_debug(v);
	write_cr2(v->cr2);
	c->guest = v;
}

void vcpu_release(struct vcpu *v)
{
	vcpu_switch_out(v);
	vmx_vcpu_unload(&v->vmx);
}
