#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "guest/exit.h"
#include "guest/fpu.h"
#include <tf/string.h>

enum { CODE16 = 0x9b }; /* access rights of CS in real mode */

static uint64_t lapic_now(void *ctx)
{
	(void)ctx;
	return rdtsc() >> LAPIC_TSC_SHIFT;
}

static void lapic_arm(void *ctx, uint64_t deadline)
{
	bool never = deadline > DEV_NEVER >> LAPIC_TSC_SHIFT;

	vcpu_arm(ctx, TIMER_LAPIC, never ? DEV_NEVER : deadline << LAPIC_TSC_SHIFT);
}

static void lapic_no_line(void *ctx, unsigned line, bool level) { (void)ctx, (void)line, (void)level; }

static uint64_t lapic_tsc_to_host(void *ctx, uint64_t guest_tsc)
{
	struct vcpu *v = ctx;
	uint64_t now = rdtsc(), guest_now = now + v->tsc_offset, host;

	/* Both counters wrap, at different times: what is compared is how far away the deadline is. */
	if (guest_tsc <= guest_now)
		return 0;
	if (__builtin_add_overflow(now, guest_tsc - guest_now, &host))
		return DEV_NEVER;
	return (host >> LAPIC_TSC_SHIFT) + !!(host & (BIT(LAPIC_TSC_SHIFT) - 1));
}

enum tf_err vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out)
{
	hpa_t frame;
	enum tf_err e = frame_alloc(frame_order(sizeof(struct vcpu)), &frame);

	if (e)
		return e;
	struct vcpu *v = phys_to_virt(frame);
	memset(v, 0, sizeof(*v));
	v->vm = vm;
	v->id = id;
	memset(&v->ports, 0xff, sizeof(v->ports));
	memset(&v->addresses, 0xff, sizeof(v->addresses));
	v->on_cpu = NO_CPU;
	v->timers = (struct spinlock)SPINLOCK_INIT(RANK_TIMERS);
	if ((e = frame_alloc_zero(&v->apic_page)) || (e = fpu_create(v)))
		goto fail;
	fpu_reset(v); /* it is switched in before its first life begins */
	v->lapic_host = (struct dev_host){ .ctx = v, .hz = tsc_hz >> LAPIC_TSC_SHIFT, .now = lapic_now,
					   .arm = lapic_arm, .irq = lapic_no_line };
	struct vmx_vcpu_setup setup = {
		.eptp = vm->eptp,
		.vpid = vmx_caps.vpid ? (uint16_t)(1 + vm->id * VM_MAX_VCPUS + id) : 0,
		.io_bitmap_a = vm->io_bitmap,
		.io_bitmap_b = HPA(vm->io_bitmap.v + PAGE_SIZE),
		.virtual_apic = v->apic_page,
		.apic_access = vm->apic_access,
		.use_apic = vm->cfg.apicv,
		.posted = virt_to_phys(&v->posted),
		.pause_loops = vm->cfg.vcpus > 1,
	};
	if ((e = vmx_vcpu_init(&v->vmx, &setup)))
		goto fail;
	msr_open_native(v);
	for (unsigned t = 0; t < NTIMERS; t++)
		v->deadlines[t] = DEV_NEVER;
	v->next_deadline = DEV_NEVER;
	*out = v;
	return TF_OK;
fail:
	fpu_destroy(v);
	if (v->apic_page.v)
		frame_free(v->apic_page, 0);
	frame_free(frame, frame_order(sizeof(*v)));
	return e;
}

void vcpu_destroy(struct vcpu *v)
{
	vcpu_switch_out(v);
	vmx_vcpu_destroy(&v->vmx);
	fpu_destroy(v);
	frame_free(v->apic_page, 0);
	frame_free(virt_to_phys(v), frame_order(sizeof(*v)));
}

void vcpu_set_segment(unsigned s, uint16_t sel, uint64_t base, uint32_t limit, uint32_t ar)
{
	vmcs_write(VMCS_GUEST_SEL(s), sel);
	vmcs_write(VMCS_GUEST_BASE(s), base);
	vmcs_write(VMCS_GUEST_LIMIT(s), limit);
	vmcs_write(VMCS_GUEST_AR(s), ar);
}

/* What power-up and INIT have in common: general, segment and debug registers, and the mode. The VMCS is loaded. */
static void reset_registers(struct vcpu *v, uint64_t cache_bits)
{
	enum { DATA16 = 0x93, LDT = 0x82, TSS32 = 0x8b };

	memset(v->vmx.gpr, 0, sizeof(v->vmx.gpr));
	v->vmx.gpr[RDX] = v->vm->cpuid.basic[1].eax;
	v->vmx.pending_event = v->vmx.pending_len = 0;
	vmcs_write(VMCS_ENTRY_INTR_INFO, 0); /* an entry that failed left it valid */
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		vcpu_set_segment(s, 0, 0, 0xffff, DATA16);
	vcpu_set_segment(SEG_CS, 0xf000, 0xffff0000, 0xffff, CODE16);
	vcpu_set_segment(SEG_LDTR, 0, 0, 0xffff, LDT);
	vcpu_set_segment(SEG_TR, 0, 0, 0xffff, TSS32);
	vmcs_write(VMCS_GUEST_GDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	vmcs_write(VMCS_GUEST_IDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_IDTR_LIMIT, 0xffff);
	vmcs_write(VMCS_GUEST_RIP, 0xfff0);
	vmcs_write(VMCS_GUEST_RSP, 0);
	vmcs_write(VMCS_GUEST_RFLAGS, RFLAGS_RSV1);
	vmcs_write(VMCS_GUEST_CR3, 0);
	vmcs_write(VMCS_GUEST_DR7, DR7_RESET);
	vmcs_write(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmcs_write(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vcpu_enter_ia32e(false);
	cr_set(v, CR0_ET | cache_bits, 0);
	memset(v->dr, 0, sizeof(v->dr));
	v->dr6 = DR6_RESET;
	v->cr2 = 0;
}

static void reset_events(struct vcpu *v)
{
	v->halted = v->nmi_pending = v->watched = false;
	vcpu_forget_posted(v);
	v->next_len = 0;
	v->wait_sipi = v->id != 0;
	kvm_pv_reset(v);
	v->lapic.resync = true;
}

void vcpu_reset(struct vcpu *v)
{
	bool bsp = v->id == 0;

	vcpu_switch_out(v);
	vmx_vcpu_unload(&v->vmx); /* an entry that failed leaves open whether it is launched */
	vmx_vcpu_load(&v->vmx);
	v->started = bsp;
	v->apic_redirected = true;
	reset_events(v);
	reset_registers(v, CR0_NW | CR0_CD);
	msr_reset(v);
	fpu_reset(v);
	vlapic_init(&v->lapic, phys_to_virt(v->apic_page), v->id, bsp, bsp, &v->lapic_host, &vcpu_lapic_ops, v);
	v->lapic.phys_bits = (uint8_t)v->vm->cpuid.phys_bits;
	v->lapic.tsc_to_host = lapic_tsc_to_host;
	vmx_vcpu_flush(&v->vmx);
	if (bsp)
		vcpu_request(v, REQ_EVENT | REQ_APIC);
}

void vcpu_init_signal(struct vcpu *v)
{
	vcpu_switch_out(v); /* for the debug registers */
	reset_events(v);
	reset_registers(v, vmcs_read(VMCS_CR0_SHADOW) & (CR0_NW | CR0_CD));
	msr_init_signal();
	vlapic_reset(&v->lapic);
	vmx_vcpu_flush(&v->vmx);
	vcpu_switch_in(v);
	if (!v->wait_sipi)
		vcpu_request(v, REQ_EVENT | REQ_APIC);
}

void vcpu_startup(struct vcpu *v, uint8_t vector)
{
	if (!v->wait_sipi)
		return;
	v->wait_sipi = false;
	if (!v->started) {
		v->started = true;
		msr_set_tsc(v); /* the VM's */
	}
	vcpu_request(v, REQ_EVENT | REQ_APIC);
	vcpu_set_segment(SEG_CS, (uint16_t)(vector << 8), (uint64_t)vector << 12, 0xffff, CODE16);
	vmcs_write(VMCS_GUEST_RIP, 0);
}

void vcpu_set_entry(struct vcpu *v, const struct load_entry *e)
{
	enum { CODE = 0xc09b, DATA = 0xc093, CODE64 = 0xa09b };
	bool long64 = e->mode == LOAD_LONG64;
	uint64_t *g = v->vmx.gpr;

	vmx_vcpu_load(&v->vmx);
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		vcpu_set_segment(s, e->ds, 0, 0xffffffff, DATA);
	vcpu_set_segment(SEG_CS, e->cs, 0, 0xffffffff, long64 ? CODE64 : CODE);
	vmcs_write(VMCS_GUEST_GDTR_BASE, e->gdt_base);
	vmcs_write(VMCS_GUEST_GDTR_LIMIT, e->gdt_limit);
	vmcs_write(VMCS_GUEST_RIP, e->rip);
	vmcs_write(VMCS_GUEST_RSP, e->rsp);
	g[RAX] = e->rax;
	g[RBX] = e->rbx;
	g[RCX] = e->rcx;
	g[RDX] = e->rdx;
	g[RSI] = e->rsi;
	g[RDI] = e->rdi;
	cr_set(v, CR0_PE | CR0_ET | CR0_NE | (long64 ? CR0_PG : 0), long64 ? CR4_PAE : 0);
	if (long64) {
		vmcs_write(VMCS_GUEST_CR3, e->cr3);
		vmcs_write(VMCS_GUEST_EFER, EFER_LME | EFER_LMA);
		vcpu_enter_ia32e(true);
	}
}
