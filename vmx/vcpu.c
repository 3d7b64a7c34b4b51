#include "vmx/vcpu.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/paging.h"
#include "vmx/cpu.h"
#include "vmx/mitigations.h"
#include <tf/assert.h>
#include <tf/string.h>

/* TSC ticks between two PAUSEs of a loop, at most, and how long the loop may be: a lock is held shorter by who runs. */
#define PAUSE_LOOP_GAP    128
#define PAUSE_LOOP_WINDOW 4096

#define EXCEPTIONS_TAKEN (BIT(VEC_DB) | BIT(VEC_AC) | BIT(VEC_MC))
/* #DB and #AC: a guest can arrange for either to recur for ever inside its own delivery, where no interrupt and no
 * preemption timer gets a turn. #MC is the machine's. */

static enum tf_err write_controls(struct vmx_vcpu *v, const struct vmx_vcpu_setup *s)
{
	const struct vmx_caps *c = &vmx_caps;
	uint32_t exit, entry;
	uint32_t pin_want = PIN_EXTINT_EXIT | PIN_NMI_EXIT | PIN_VIRTUAL_NMI |
			    (c->preemption_timer ? PIN_PREEMPTION_TIMER : 0);
	uint32_t proc_want = PROC_HLT_EXIT | PROC_MWAIT_EXIT | PROC_MONITOR_EXIT | PROC_RDPMC_EXIT | PROC_TSC_OFFSET |
			     PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_SECONDARY |
			     (s->use_apic && c->tpr_shadow ? PROC_TPR_SHADOW : PROC_CR8_LOAD_EXIT | PROC_CR8_STORE_EXIT);
	uint32_t proc2_want = PROC2_EPT | PROC2_UNRESTRICTED | (s->vpid ? PROC2_VPID : 0) |
			      (vmx_may(c->proc2, PROC2_WBINVD_EXIT) ? PROC2_WBINVD_EXIT : 0) |
			      (c->rdtscp ? PROC2_RDTSCP : 0) | (c->invpcid ? PROC2_INVPCID : 0) |
			      (c->xsaves ? PROC2_XSAVES : 0) |
			      (s->pause_loops && vmx_may(c->proc2, PROC2_PAUSE_LOOP) ? PROC2_PAUSE_LOOP : 0) |
			      /* CPUID hides SGX, but without these its instructions would work all the same. */
			      (vmx_may(c->proc2, PROC2_ENCLS_EXIT) ? PROC2_ENCLS_EXIT : 0) |
			      (vmx_may(c->proc2, PROC2_ENCLV_EXIT) ? PROC2_ENCLV_EXIT : 0);
	uint32_t exit_want = EXIT_HOST_64 | EXIT_ACK_INTR | EXIT_SAVE_DEBUG | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
			     EXIT_SAVE_EFER | EXIT_LOAD_EFER;
	uint32_t entry_want = ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER;

	if (vmx_ctl_fit(pin_want, c->pin, &v->pin) || vmx_ctl_fit(proc_want, c->proc, &v->proc) ||
	    vmx_ctl_fit(proc2_want, c->proc2, &v->proc2) || vmx_ctl_fit(exit_want, c->exit, &exit) ||
	    vmx_ctl_fit(entry_want, c->entry, &entry))
		return TF_ENODEV;
	v->exact_timer = c->preemption_timer && !c->preemption_inexact;
	v->pause_exits = s->pause_loops && !(v->proc2 & PROC2_PAUSE_LOOP) && vmx_may(c->proc, PROC_PAUSE_EXIT);
	vmcs_write(VMCS_PIN_CTL, v->pin);
	vmcs_write(VMCS_PROC_CTL, v->proc);
	vmcs_write(VMCS_PROC2_CTL, v->proc2);
	vmcs_write(VMCS_EXIT_CTL, exit);
	vmcs_write(VMCS_ENTRY_CTL, entry);
	vmcs_write(VMCS_EXCEPTION_BITMAP, EXCEPTIONS_TAKEN);
	vmcs_write(VMCS_PF_ERROR_MASK, 0);
	vmcs_write(VMCS_PF_ERROR_MATCH, 0);
	vmcs_write(VMCS_CR3_TARGET_COUNT, 0);
	vmcs_write(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_ENTRY_INTR_INFO, 0);
	vmcs_write(VMCS_IO_BITMAP_A, s->io_bitmap_a.v);
	vmcs_write(VMCS_IO_BITMAP_B, s->io_bitmap_b.v);
	vmcs_write(VMCS_MSR_BITMAP, v->msr_bitmap.v);
	vmcs_write(VMCS_EPT_POINTER, s->eptp);
	vmcs_write(VMCS_TSC_OFFSET, 0);
	vmcs_write(VMCS_LINK_POINTER, ~0ull);
	if (s->vpid)
		vmcs_write(VMCS_VPID, s->vpid);
	if (c->xsaves)
		vmcs_write(VMCS_XSS_EXIT_BITMAP, 0);
	if (v->proc2 & PROC2_ENCLS_EXIT)
		vmcs_write(VMCS_ENCLS_EXIT_BITMAP, ~0ull);
	if (v->proc2 & PROC2_ENCLV_EXIT)
		vmcs_write(VMCS_ENCLV_EXIT_BITMAP, ~0ull);
	if (v->proc2 & PROC2_PAUSE_LOOP) {
		vmcs_write(VMCS_PLE_GAP, PAUSE_LOOP_GAP);
		vmcs_write(VMCS_PLE_WINDOW, PAUSE_LOOP_WINDOW);
	}
	if (v->proc & PROC_TPR_SHADOW) {
		vmcs_write(VMCS_VIRTUAL_APIC, s->virtual_apic.v);
		vmcs_write(VMCS_TPR_THRESHOLD, 0);
		if (c->apic_access)
			vmcs_write(VMCS_APIC_ACCESS, s->apic_access.v);
		if (c->virtual_intr) {
			for (unsigned i = 0; i < 4; i++)
				vmcs_write(VMCS_EOI_EXIT(i), 0);
			vmcs_write(VMCS_GUEST_INTR_STATUS, 0);
			vmcs_write(VMCS_POSTED_INTR_VECTOR, IRQ_VECTOR_POSTED);
			vmcs_write(VMCS_POSTED_INTR_DESC, s->posted.v);
		}
	}
	return TF_OK;
}

/* What is the same on every CPU. */
static void write_host_state(void)
{
	vmcs_write(VMCS_HOST_CR0, read_cr0());
	vmcs_write(VMCS_HOST_CR3, read_cr3());
	vmcs_write(VMCS_HOST_CR4, read_cr4());
	vmcs_write(VMCS_HOST_CS_SEL, SEL_CODE64);
	vmcs_write(VMCS_HOST_SS_SEL, SEL_DATA);
	vmcs_write(VMCS_HOST_DS_SEL, SEL_DATA);
	vmcs_write(VMCS_HOST_ES_SEL, SEL_DATA);
	vmcs_write(VMCS_HOST_FS_SEL, 0);
	vmcs_write(VMCS_HOST_GS_SEL, 0);
	vmcs_write(VMCS_HOST_TR_SEL, SEL_TSS);
	vmcs_write(VMCS_HOST_FS_BASE, 0);
	vmcs_write(VMCS_HOST_SYSENTER_CS, 0);
	vmcs_write(VMCS_HOST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_HOST_SYSENTER_EIP, 0);
	vmcs_write(VMCS_HOST_EFER, rdmsr(MSR_IA32_EFER));
	vmcs_write(VMCS_HOST_PAT, rdmsr(MSR_IA32_PAT));
}

static void write_host_cpu(const struct cpu *c)
{
	vmcs_write(VMCS_HOST_TR_BASE, gdt_tss_base(c));
	vmcs_write(VMCS_HOST_GDTR_BASE, gdt_base(c));
	vmcs_write(VMCS_HOST_IDTR_BASE, idt_base());
	vmcs_write(VMCS_HOST_GS_BASE, (uint64_t)c);
}

enum tf_err vmx_vcpu_init(struct vmx_vcpu *v, const struct vmx_vcpu_setup *s)
{
	enum tf_err e;

	memset(v, 0, sizeof(*v));
	v->vpid = s->vpid;
	if ((e = frame_alloc_zero(&v->vmcs)))
		return e;
	if ((e = frame_alloc_zero(&v->msr_bitmap))) {
		frame_free(v->vmcs, 0);
		return e;
	}
	memset(phys_to_virt(v->msr_bitmap), 0xff, PAGE_SIZE);
	*(uint32_t *)phys_to_virt(v->vmcs) = vmx_caps.revision;
	vmx_vmclear(v->vmcs);
	vmx_vcpu_load(v);
	write_host_state();
	vmx_mitigate_vcpu(v);
	if ((e = write_controls(v, s))) {
		vmx_vcpu_destroy(v);
		return e;
	}
	return TF_OK;
}

void vmx_vcpu_destroy(struct vmx_vcpu *v)
{
	vmx_forget_vcpu(v);
	vmx_vcpu_unload(v);
	frame_free(v->msr_bitmap, 0);
	frame_free(v->vmcs, 0);
}

static __attribute__((noinline, cold)) void activate(struct vmx_vcpu *v, struct cpu *c)
{
	v->cpu = c;
	write_host_cpu(c);
	vmx_vcpu_flush(v);
}

void vmx_vcpu_load(struct vmx_vcpu *v)
{
	struct cpu *c = this_cpu();
	struct vmx_cpu *vc = c->vmx;

	if (vc->current == v)
		return;
	ASSERT(!v->cpu || v->cpu == c);
	vc->current = v;
	vmx_vmptrld(v->vmcs);
	if (unlikely(!v->cpu))
		activate(v, c);
}

void vmx_vcpu_unload(struct vmx_vcpu *v)
{
	struct vmx_cpu *vc = this_cpu()->vmx;

	if (!v->cpu)
		return;
	ASSERT(v->cpu == this_cpu());
	vmx_vmclear(v->vmcs);
	v->entry_flags &= (uint8_t)~ENTER_LAUNCHED;
	v->host_rsp = 0;
	if (vc->current == v)
		vc->current = NULL;
	__atomic_store_n(&v->cpu, NULL, __ATOMIC_RELEASE); /* from here on another CPU may have it */
}

void vmx_set_pin(struct vmx_vcpu *v, uint32_t set, uint32_t clear)
{
	uint32_t n = (v->pin | set) & ~clear;

	if (n != v->pin)
		vmcs_write(VMCS_PIN_CTL, v->pin = n);
}

void vmx_set_proc(struct vmx_vcpu *v, uint32_t set, uint32_t clear)
{
	uint32_t n = (v->proc | set) & ~clear;

	if (n != v->proc)
		vmcs_write(VMCS_PROC_CTL, v->proc = n);
}

void vmx_set_proc2(struct vmx_vcpu *v, uint32_t set, uint32_t clear)
{
	uint32_t n = (v->proc2 | set) & ~clear;

	if (n != v->proc2)
		vmcs_write(VMCS_PROC2_CTL, v->proc2 = n);
}
