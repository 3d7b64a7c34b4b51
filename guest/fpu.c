#include "guest/fpu.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "guest/vm.h"
#include <tf/string.h>

#define CPUIDD1_XSAVEOPT BIT(0)
#define CPUIDD1_XSAVES   BIT(3)
#define FCW_INIT         0x37f
#define MXCSR_INIT       0x1f80
#define MXCSR_OFFSET     24

/* The machine's, the same on every CPU. */
static struct { bool xsave, xsaveopt, xsaves; uint64_t xcr0; uint32_t size; unsigned order; } fpu;

void fpu_init(void)
{
	fpu.size = 512;
	if (cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE) {
		struct cpuid_table t;

		cpuid_table_init(&t, VM_HYPERVISOR_OFF, 1, 1);
		fpu.xsave = true;
		fpu.xsaveopt = cpuid(0xd, 1).eax & CPUIDD1_XSAVEOPT;
		fpu.xcr0 = t.xcr0;
		fpu.xsaves = t.xsave[1].eax & CPUIDD1_XSAVES;
		fpu.size = t.xsave[0].ecx;
	}
	fpu.order = frame_order(fpu.size);
}

void fpu_init_cpu(void)
{
	if (!fpu.xsave)
		return;
	xsetbv(0, fpu.xcr0);
	if (fpu.xsaves) /* a guest's XSAVES sees this MSR; we offer no supervisor states */
		wrmsr(MSR_IA32_XSS, 0);
}

enum tf_err fpu_create(struct vcpu *v)
{
	enum tf_err e = frame_alloc(fpu.order, &v->fpu_frame);

	if (!e)
		v->fpu = phys_to_virt(v->fpu_frame);
	return e;
}

unsigned fpu_order(void) { return fpu.order; }

void fpu_destroy(struct vcpu *v)
{
	if (v->fpu)
		frame_free(v->fpu_frame, fpu.order);
	v->fpu = NULL;
}

void fpu_reset(struct vcpu *v)
{
	memset(v->fpu, 0, PAGE_SIZE << fpu.order);
	*(uint16_t *)v->fpu = FCW_INIT;
	*(uint32_t *)((uint8_t *)v->fpu + MXCSR_OFFSET) = MXCSR_INIT;
	v->xcr0 = 1;
}

/* The guest may have fewer components enabled in XCR0 than it has live: all are switched, and enabled while nobody's are there. */
void fpu_save(struct vcpu *v)
{
	uint32_t lo = (uint32_t)fpu.xcr0, hi = (uint32_t)(fpu.xcr0 >> 32);

	if (!fpu.xsave) {
		__asm__ volatile("fxsave64 (%0)" : : "r"(v->fpu) : "memory");
		return;
	}
	if (v->xcr0 != fpu.xcr0)
		xsetbv(0, fpu.xcr0);
	if (fpu.xsaveopt)
		__asm__ volatile("xsaveopt64 (%0)" : : "r"(v->fpu), "a"(lo), "d"(hi) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" : : "r"(v->fpu), "a"(lo), "d"(hi) : "memory");
}

void fpu_restore(struct vcpu *v)
{
	uint32_t lo = (uint32_t)fpu.xcr0, hi = (uint32_t)(fpu.xcr0 >> 32);

	if (!fpu.xsave) {
		__asm__ volatile("fxrstor64 (%0)" : : "r"(v->fpu) : "memory");
		return;
	}
	__asm__ volatile("xrstor64 (%0)" : : "r"(v->fpu), "a"(lo), "d"(hi) : "memory");
	if (v->xcr0 != fpu.xcr0)
		xsetbv(0, v->xcr0);
}
