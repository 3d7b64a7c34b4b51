/* Interrupts and NMIs on their way into a vCPU. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/percpu.h"
#include "guest/vm.h"
#include "vmx/cpu.h"
#include <tf/math.h>
#include <tf/string.h>

/* Are its registers on this CPU, so that all that is its own may be touched? */
static bool here(const struct vcpu *v) { return this_cpu()->guest == v; }

/* It has something new to look at. On this CPU it will, before it enters the guest again. */
static void notify(struct vcpu *v, uint8_t vector)
{
	int32_t cpu = __atomic_load_n(&v->on_cpu, __ATOMIC_SEQ_CST);

	if (cpu == NO_CPU)
		v->vm->host->wake(v);
	else if ((uint32_t)cpu != this_cpu()->id)
		lapic_ipi(cpus[cpu]->apic_id, vector);
}

void vcpu_signal(struct vcpu *v, uint32_t req)
{
	if ((__atomic_fetch_or(&v->requests, req, __ATOMIC_SEQ_CST) & req) != req)
		notify(v, IRQ_VECTOR_KICK);
}

void vcpu_kick(struct vcpu *v)
{
	if (likely(here(v) && !v->halted))
		vcpu_request(v, REQ_EVENT);
	else
		vcpu_signal(v, REQ_EVENT);
}

void vcpu_posted_interrupt(void *ctx)
{
	struct vcpu *v = this_cpu()->guest;

	(void)ctx;
	if (v)
		vcpu_signal(v, REQ_EVENT);
}

/* For a vCPU that is elsewhere, or asleep: see struct posted. Who finds a bit set already leaves the rest to who set it. */
static void post(struct vcpu *v, uint8_t vector, bool level)
{
	uint32_t *word = (level ? v->posted.level : v->posted.edge) + vector / 32, bit = 1u << vector % 32;
	uint32_t flag = level ? POSTED_LEVEL : POSTED_ON;

	if (__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST) & bit)
		return;
	if (__atomic_fetch_or(&v->posted.flags, flag, __ATOMIC_SEQ_CST) & flag)
		return;
	if (v->lapic.hw_virtual && !level)
		notify(v, IRQ_VECTOR_POSTED);
	else
		vcpu_signal(v, REQ_EVENT);
}

static void take(struct vcpu *v, uint32_t words[8], bool level)
{
	for (unsigned i = 0; i < 8; i++)
		for (uint32_t bits = words[i] ? __atomic_exchange_n(&words[i], 0, __ATOMIC_ACQ_REL) : 0; bits; bits &= bits - 1)
			vlapic_inject(&v->lapic, (uint8_t)(32 * i + bit_lowest(bits)), level);
}

void vcpu_take_posted(struct vcpu *v)
{
	uint32_t flags = __atomic_exchange_n(&v->posted.flags, 0, __ATOMIC_ACQ_REL);
	if (flags & POSTED_ON)
		take(v, v->posted.edge, false);
	if (flags & POSTED_LEVEL)
		take(v, v->posted.level, true);
}

/* The flags first: who posts sets them last, and must not find a bit that stays for ever. */
void vcpu_forget_posted(struct vcpu *v)
{
	__atomic_store_n(&v->posted.flags, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 8; i++) {
		__atomic_store_n(&v->posted.edge[i], 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&v->posted.level[i], 0, __ATOMIC_SEQ_CST);
	}
}

bool vcpu_requested(const struct vcpu *v, uint8_t vector)
{
	uint32_t posted = __atomic_load_n(&v->posted.edge[vector / 32], __ATOMIC_RELAXED) |
			  __atomic_load_n(&v->posted.level[vector / 32], __ATOMIC_RELAXED);

	return (posted & 1u << vector % 32) || vlapic_requested(&v->lapic, vector);
}

void vcpu_lint0(struct vcpu *v) { vlapic_set_lint(&v->lapic, 0, vpic_intr(&v->vm->board.pic)); }

static bool extint_pending(struct vcpu *v)
{
	return v->id == 0 && vpic_intr(&v->vm->board.pic) && vlapic_extint(&v->lapic);
}

/* The 8259s are the VM's: by now the request may have gone. */
static void take_extint(struct vcpu *v)
{
	struct vm *vm = v->vm;

	spin_lock(&vm->lock);
	if (extint_pending(v))
		vmx_inject_interrupt(&v->vmx, vpic_ack(&vm->board.pic));
	spin_unlock(&vm->lock);
}

bool vcpu_has_event(struct vcpu *v)
{
	return (v->nmi_pending && v->halted_nmi) || kvm_pv_kicked(&v->kvm) ||
	       (v->halted_if && (extint_pending(v) || vlapic_pending(&v->lapic) >= 0));
}

/* SVI is the highest in service; the EOI of a level-triggered interrupt is to exit. */
static __attribute__((noinline)) void resync(struct vcpu *v)
{
	const uint8_t *tmr = v->lapic.page + APIC_TMR;
	int isr = vlapic_highest_isr(&v->lapic);

	v->lapic.resync = false;
	vmcs_write(VMCS_GUEST_INTR_STATUS, (uint16_t)((isr < 0 ? 0 : isr) << 8));
	for (unsigned i = 0; i < 4; i++)
		vmcs_write(VMCS_EOI_EXIT(i), (uint64_t)*(uint32_t *)(tmr + 32 * i + 16) << 32 | *(uint32_t *)(tmr + 32 * i));
}

/* The CPU evaluates the interrupts itself: it only has to know the highest request (SDM 3C, "Virtual-Interrupt Delivery"). */
static void sync_virtual_interrupts(struct vcpu *v)
{
	if (unlikely(v->lapic.resync))
		resync(v);
	int irr = vlapic_highest_irr(&v->lapic);
	uint16_t status = vmcs_read(VMCS_GUEST_INTR_STATUS), now = INTR_STATUS_WITH_RVI(status, irr < 0 ? 0 : irr);

	if (now != status)
		vmcs_write(VMCS_GUEST_INTR_STATUS, now);
}

/* With a TPR shadow: exit when TPR falls below what the highest masked request needs. */
static void set_tpr_threshold(struct vcpu *v)
{
	uint32_t tpr = *(uint32_t *)(v->lapic.page + APIC_TPR), threshold = 0;
	int irr = tpr & 0xf0 ? vlapic_highest_irr(&v->lapic) : -1;

	if (irr >= 0 && (tpr & 0xf0) >= ((unsigned)irr & 0xf0))
		threshold = (uint32_t)irr >> 4;
	if (threshold != v->vmx.tpr_threshold)
		vmcs_write(VMCS_TPR_THRESHOLD, v->vmx.tpr_threshold = threshold);
}

void vcpu_deliver(struct vcpu *v)
{
	uint32_t windows = unlikely(v->watched) ? PROC_IRQ_WINDOW : 0;

	if (v->nmi_pending) {
		if (!vmx_nmi_allowed(&v->vmx))
			windows |= PROC_NMI_WINDOW;
		else if (__atomic_exchange_n(&v->nmi_pending, false, __ATOMIC_ACQ_REL))
			vmx_inject_nmi(&v->vmx);
	}
	if (extint_pending(v)) {
		if (vmx_interrupt_allowed(&v->vmx))
			take_extint(v);
		windows |= extint_pending(v) ? PROC_IRQ_WINDOW : 0;
	}
	if (v->lapic.hw_virtual) {
		sync_virtual_interrupts(v);
	} else {
		int vector = vlapic_pending(&v->lapic);

		if (vector >= 0 && vmx_interrupt_allowed(&v->vmx)) { /* it is the highest: others wait for its EOI */
			vlapic_ack(&v->lapic, (uint8_t)vector);
			vmx_inject_interrupt(&v->vmx, (uint8_t)vector);
			kvm_pv_leave_eoi(v, (uint8_t)vector);
		} else if (vector >= 0) {
			windows |= PROC_IRQ_WINDOW;
		}
		if (v->vmx.proc & PROC_TPR_SHADOW)
			set_tpr_threshold(v);
	}
	vmx_set_proc(&v->vmx, windows, ~windows & (PROC_IRQ_WINDOW | PROC_NMI_WINDOW));
}

/* Asks for an interrupt window, if only to learn that there was one. */
bool vcpu_look(struct vcpu *v, uint64_t *silent)
{
	uint64_t now = rdtsc();

	if (v->wait_sipi) {
		*silent = UINT64_MAX;
		return false;
	}
	bool alive = v->halted ? v->halted_if || (v->nmi_pending && v->halted_nmi) : !v->watched;

	*silent = v->halted ? now - v->looked : v->ran - v->looked_ran;
	v->looked = now;
	v->looked_ran = v->ran;
	v->watched = true;
	vcpu_signal(v, REQ_EVENT);
	return alive;
}

/*
 * The APIC-access page is never written, as the CPU redirects every access to it. While it does not the page is plain
 * memory, which reads as ones and must take no writes: they exit, and go nowhere. The vCPUs have one page, and may have
 * several modes: then none can write it, and those that have an xAPIC there are emulated.
 */
static void set_apic_page(struct vcpu *v, bool redirected)
{
	struct vm *vm = v->vm;
	bool all = true, revoked = false, changed = false;

	if (!vm->cfg.apicv || !vmx_caps.apic_access)
		return;
	spin_lock(&vm->lock);
	v->apic_redirected = redirected;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		all &= vm->vcpus[i]->apic_redirected;
	if (all != vm->apic_page_writable &&
	    !ept_protect(&vm->ept, GPA(APIC_DEFAULT_BASE), PAGE_SIZE, all ? EPT_R | EPT_W : EPT_R)) {
		vm->apic_page_writable = all;
		revoked = !all;
		changed = true;
	}
	spin_unlock(&vm->lock);
	if (revoked)
		vm_flush_ept(vm);
	else if (changed)
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
	set_apic_page(v, mode == VMX_APIC_XAPIC);
	vlapic_set_hw_virtual(&v->lapic, v->vmx.proc2 & PROC2_VIRTUAL_INTR);
	vcpu_request(v, REQ_EVENT);
}

/* SDM 3A, "MP Initialization": a CPU that does not wait for a start-up IPI ignores it. */
static void send_startup(struct vcpu *v, uint8_t vector)
{
	if (!(__atomic_load_n(&v->requests, __ATOMIC_SEQ_CST) & REQ_INIT) && !__atomic_load_n(&v->wait_sipi, __ATOMIC_SEQ_CST))
		return;
	v->sipi_vector = vector;
	vcpu_signal(v, REQ_SIPI);
}

static void deliver_to(struct vcpu *v, const struct apic_msg *msg)
{
	switch (msg->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (here(v))
			vlapic_inject(&v->lapic, msg->vector, msg->level);
		else if (vlapic_software_enabled(&v->lapic))
			post(v, msg->vector, msg->level);
		break;
	case APIC_NMI:
		__atomic_store_n(&v->nmi_pending, true, __ATOMIC_RELEASE);
		vcpu_signal(v, REQ_EVENT);
		break;
	case APIC_INIT:
		__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_SIPI, __ATOMIC_SEQ_CST);
		vcpu_signal(v, REQ_INIT);
		break;
	case APIC_STARTUP:
		send_startup(v, msg->vector);
		break;
	case APIC_EXTINT:
		vcpu_signal(v, REQ_EVENT);
		break;
	}
}

static void send_to(struct vm *vm, const struct apic_msg *msg, struct vcpu *from, enum apic_shorthand shorthand)
{
	struct vcpu *lowest = NULL;

	if (shorthand == SHORTHAND_NONE && !msg->logical && msg->dest < vm->nvcpus) { /* their APIC IDs are their numbers */
		if (vlapic_matches(&vm->vcpus[msg->dest]->lapic, msg->dest, false))
			deliver_to(vm->vcpus[msg->dest], msg);
		return;
	}
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

static void lapic_ipi_sent(void *ctx, struct vlapic *from, const struct apic_msg *msg, enum apic_shorthand shorthand)
{
	struct vcpu *v = ctx;

	if (shorthand == SHORTHAND_SELF && msg->delivery == APIC_FIXED)
		vlapic_inject(from, msg->vector, false);
	else
		send_to(v->vm, msg, v, shorthand);
}

static void lapic_eoi_sent(void *ctx, uint8_t vector)
{
	struct vcpu *v = ctx;

	spin_lock(&v->vm->lock);
	vioapic_eoi(&v->vm->board.ioapic, vector);
	spin_unlock(&v->vm->lock);
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

/* A vCPU that is about to enter the guest again need not look: its CPU is told of the vector, and delivers it. */
static void lapic_requested(void *ctx, struct vlapic *l, uint8_t vector)
{
	struct vcpu *v = ctx;

	if (!l->hw_virtual || l->resync || v->halted || !here(v) || !vmx_vcpu_is_current(&v->vmx)) {
		vcpu_kick(v);
		return;
	}
	uint16_t status = vmcs_read(VMCS_GUEST_INTR_STATUS);
	if (vector > INTR_STATUS_RVI(status))
		vmcs_write(VMCS_GUEST_INTR_STATUS, INTR_STATUS_WITH_RVI(status, vector));
}

const struct vlapic_ops vcpu_lapic_ops = {
	.ipi = lapic_ipi_sent, .eoi = lapic_eoi_sent, .local = lapic_local, .kick = lapic_kick, .requested = lapic_requested,
};
