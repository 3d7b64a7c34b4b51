/* Interrupts and NMIs on their way into a vCPU. */
#include "arch/x86_64/cpu.h"
#include "guest/vm.h"
#include <tf/string.h>

void vcpu_kick(struct vcpu *v)
{
	vcpu_request(v, REQ_EVENT);
	if (v->halted && vcpu_has_event(v))
		v->vm->host->wake(v);
}

static bool extint_pending(struct vcpu *v)
{
	return v->id == 0 && vpic_intr(&v->vm->board.pic) && vlapic_extint(&v->lapic);
}

bool vcpu_has_event(struct vcpu *v)
{
	return (v->nmi_pending && v->halted_nmi) || (v->halted_if && (extint_pending(v) || vlapic_pending(&v->lapic) >= 0));
}

/* The CPU evaluates the interrupts itself: it only has to know the highest request (SDM 3C, "Virtual-Interrupt Delivery"). */
static void sync_virtual_interrupts(struct vcpu *v)
{
	int irr = vlapic_highest_irr(&v->lapic), isr = vlapic_highest_isr(&v->lapic);
	uint16_t status = (uint16_t)((isr < 0 ? 0 : isr) << 8 | (irr < 0 ? 0 : irr));
	uint32_t tmr[8];

	if (vmcs_read(VMCS_GUEST_INTR_STATUS) != status)
		vmcs_write(VMCS_GUEST_INTR_STATUS, status);
	for (unsigned i = 0; i < 8; i++)
		tmr[i] = *(uint32_t *)(v->lapic.page + APIC_TMR + 16 * i);
	if (memcmp(tmr, v->tmr_seen, sizeof(tmr))) {
		memcpy(v->tmr_seen, tmr, sizeof(tmr));
		for (unsigned i = 0; i < 4; i++)
			vmcs_write(VMCS_EOI_EXIT(i), (uint64_t)tmr[2 * i + 1] << 32 | tmr[2 * i]);
	}
}

/* With a TPR shadow: exit when TPR falls below what the highest masked request needs. */
static void set_tpr_threshold(struct vcpu *v)
{
	int irr = vlapic_highest_irr(&v->lapic);
	uint32_t tpr = *(uint32_t *)(v->lapic.page + APIC_TPR), threshold = 0;

	if (irr >= 0 && (tpr & 0xf0) >= ((unsigned)irr & 0xf0))
		threshold = (uint32_t)irr >> 4;
	if (threshold != v->vmx.tpr_threshold)
		vmcs_write(VMCS_TPR_THRESHOLD, v->vmx.tpr_threshold = threshold);
}

void vcpu_deliver(struct vcpu *v)
{
	bool window = v->watched, nmi_window = false;

	if (v->nmi_pending) {
		if (vmx_nmi_allowed(&v->vmx)) {
			v->nmi_pending = false;
			vmx_inject_nmi(&v->vmx);
		} else {
			nmi_window = true;
		}
	}
	if (extint_pending(v)) {
		if (vmx_interrupt_allowed(&v->vmx))
			vmx_inject_interrupt(&v->vmx, vpic_ack(&v->vm->board.pic));
		window |= extint_pending(v);
	}
	if (v->lapic.hw_virtual) {
		sync_virtual_interrupts(v);
	} else {
		int vector = vlapic_pending(&v->lapic);

		if (vector >= 0 && vmx_interrupt_allowed(&v->vmx)) {
			vlapic_ack(&v->lapic, (uint8_t)vector);
			vmx_inject_interrupt(&v->vmx, (uint8_t)vector);
			vector = vlapic_pending(&v->lapic);
		}
		window |= vector >= 0;
		if (v->vmx.proc & PROC_TPR_SHADOW)
			set_tpr_threshold(v);
	}
	vmx_set_proc(&v->vmx, (window ? PROC_IRQ_WINDOW : 0) | (nmi_window ? PROC_NMI_WINDOW : 0),
		     (window ? 0 : PROC_IRQ_WINDOW) | (nmi_window ? 0 : PROC_NMI_WINDOW));
}

/* Asks for an interrupt window, if only to learn that there was one. */
bool vcpu_look(struct vcpu *v, uint64_t *silent)
{
	uint64_t now = rdtsc();
	bool alive = v->halted ? v->halted_if || (v->nmi_pending && v->halted_nmi) : !v->watched;

	*silent = v->halted ? now - v->looked : v->ran - v->looked_ran;
	v->looked = now;
	v->looked_ran = v->ran;
	v->watched = true;
	vcpu_request(v, REQ_EVENT);
	return alive;
}

/*
 * The APIC-access page is never written, as the CPU redirects every access to it. While it does not the page is plain
 * memory, which reads as ones and must take no writes: they exit, and go nowhere.
 */
static void set_apic_page(struct vm *vm, bool redirected)
{
	uint32_t prot = redirected ? EPT_R | EPT_W : EPT_R;

	if (vm->cfg.apicv && vmx_caps.apic_access && !ept_protect(&vm->ept, GPA(APIC_DEFAULT_BASE), PAGE_SIZE, prot))
		vmx_flush_ept(vm->eptp);
}

void vcpu_apic_mode_changed(struct vcpu *v)
{
	enum vmx_apic_mode mode = !vlapic_enabled(&v->lapic) ? VMX_APIC_OFF :
				  vlapic_x2apic(&v->lapic)   ? VMX_APIC_X2APIC :
							       VMX_APIC_XAPIC;
	/* The APIC-access page is mapped at the architectural address only; an APIC moved elsewhere is emulated. */
	if (mode == VMX_APIC_XAPIC && (v->lapic.base_msr & APIC_BASE_ADDR) != APIC_DEFAULT_BASE)
		mode = VMX_APIC_OFF;
	vmx_set_apic_mode(&v->vmx, mode);
	set_apic_page(v->vm, mode == VMX_APIC_XAPIC);
	v->lapic.hw_virtual = v->vmx.proc2 & PROC2_VIRTUAL_INTR;
	vcpu_request(v, REQ_EVENT);
}

static void deliver_to(struct vcpu *v, const struct apic_msg *msg)
{
	switch (msg->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		vlapic_inject(&v->lapic, msg->vector, msg->level);
		break;
	case APIC_NMI:
		v->nmi_pending = true;
		vcpu_kick(v);
		break;
	case APIC_EXTINT:
		vcpu_kick(v);
		break;
	}
}

static void send_to(struct vm *vm, const struct apic_msg *msg, struct vcpu *from, enum apic_shorthand shorthand)
{
	struct vcpu *lowest = NULL;

	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		struct vcpu *v = vm->vcpus[i];
		bool hit = shorthand == SHORTHAND_SELF ? v == from :
			   shorthand == SHORTHAND_ALL ? true :
			   shorthand == SHORTHAND_OTHERS ? v != from :
					    vlapic_matches(&v->lapic, msg->dest, msg->logical);

		if (!hit)
			continue;
		if (msg->delivery != APIC_LOWEST)
			deliver_to(v, msg);
		else if (!lowest || v->lapic.page[APIC_PPR] < lowest->lapic.page[APIC_PPR])
			lowest = v;
	}
	if (lowest)
		deliver_to(lowest, msg);
}

void vm_send(struct vm *vm, const struct apic_msg *msg) { send_to(vm, msg, NULL, SHORTHAND_NONE); }

static void lapic_ipi(void *ctx, struct vlapic *from, const struct apic_msg *msg, enum apic_shorthand shorthand)
{
	struct vcpu *v = ctx;

	(void)from;
	send_to(v->vm, msg, v, shorthand);
}

static void lapic_eoi(void *ctx, uint8_t vector)
{
	struct vcpu *v = ctx;

	vioapic_eoi(&v->vm->board.ioapic, vector);
}

static void lapic_local(void *ctx, struct vlapic *l, uint8_t delivery)
{
	struct vcpu *v = ctx;

	(void)l;
	deliver_to(v, &(struct apic_msg){ .delivery = delivery });
}

static void lapic_kick(void *ctx, struct vlapic *l)
{
	(void)l;
	vcpu_kick(ctx);
}

const struct vlapic_ops vcpu_lapic_ops = {
	.ipi = lapic_ipi, .eoi = lapic_eoi, .local = lapic_local, .kick = lapic_kick,
};
