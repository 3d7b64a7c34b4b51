/*
 * A local APIC under any sequence of MMIO, MSR, pin and time events. Checked after each: what becomes deliverable is
 * announced by a kick, no illegal vector is in IRR or ISR, PPR follows from TPR and ISR, reads do not change IRR, and
 * a due timer has been given or is armed. At times the CPU delivers interrupts itself: what it knows of ISR holds.
 */
#include "guest/dev/vlapic.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(x) do { if (!(x)) abort(); } while (0)

struct input { const uint8_t *p; size_t n; };

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;
	for (size_t i = 0; i < bytes && in->n; i++, in->p++, in->n--)
		v |= (uint64_t)*in->p << (8 * i);
	return v;
}

struct world {
	struct vlapic l;
	uint64_t now, armed;
	unsigned kicks;
	int svi; /* the highest in service, as the CPU knows it, or -1 */
};

static uint64_t world_now(void *ctx) { return ((struct world *)ctx)->now; }
static void world_arm(void *ctx, uint64_t deadline) { ((struct world *)ctx)->armed = deadline; }
static void world_kick(void *ctx, struct vlapic *l) { (void)l; ((struct world *)ctx)->kicks++; }

static void world_ipi(void *ctx, struct vlapic *from, const struct apic_msg *msg, enum apic_shorthand shorthand)
{
	struct world *w = ctx;
	CHECK(from == &w->l && shorthand < 4 && !msg->level);
	CHECK(msg->delivery != 3 && msg->delivery < 7 && (msg->delivery > 1 || msg->vector >= 16));
	/* As the owner routes it: to this one too, if it is addressed. */
	bool self = shorthand == 1 || shorthand == 2 || (!shorthand && vlapic_matches(from, msg->dest, msg->logical));
	if (self && msg->delivery <= 1)
		vlapic_inject(from, msg->vector, msg->level);
}

static void world_eoi(void *ctx, uint8_t vector) { (void)ctx; CHECK(vector >= 16); }

static void world_local(void *ctx, struct vlapic *l, uint8_t delivery)
{
	(void)ctx;
	(void)l;
	CHECK(delivery == 2 || delivery == 4 || delivery == 5);
}

static void world_requested(void *ctx, struct vlapic *l, uint8_t vector)
{
	(void)vector;
	world_kick(ctx, l);
}

static const struct vlapic_ops ops = { .ipi = world_ipi, .eoi = world_eoi, .local = world_local, .kick = world_kick,
					     .requested = world_requested };

static uint32_t page32(const struct vlapic *l, uint32_t offset)
{
	uint32_t v;
	memcpy(&v, l->page + offset, sizeof(v));
	return v;
}

static void page_flip(struct vlapic *l, uint32_t base, int vector)
{
	uint32_t v = page32(l, base + (uint32_t)vector / 32 * 16) ^ 1u << vector % 32;
	memcpy(l->page + base + vector / 32 * 16, &v, sizeof(v));
}

static int highest_in_page(const struct vlapic *l, uint32_t base)
{
	for (int vector = 255; vector >= 0; vector--)
		if (page32(l, base + (uint32_t)vector / 32 * 16) >> vector % 32 & 1)
			return vector;
	return -1;
}

/* SDM 3C, "PPR Virtualization", "Virtual-Interrupt Delivery" and "EOI Virtualization", as far as the page tells. */
static void entry(struct world *w)
{
	struct vlapic *l = &w->l;
	if (!l->hw_virtual)
		return;
	if (l->resync)
		w->svi = vlapic_highest_isr(l);
	l->resync = false;
	uint32_t tpr = page32(l, APIC_TPR) & 0xff, isr = w->svi < 0 ? 0 : (uint32_t)w->svi & 0xf0;
	uint32_t ppr = isr > (tpr & 0xf0) ? isr : tpr;
	memcpy(l->page + APIC_PPR, &ppr, sizeof(ppr));
}

static void cpu_acts(struct world *w, uint8_t op)
{
	struct vlapic *l = &w->l;
	entry(w);
	int vector = vlapic_pending(l);
	if (op & 0x80) {
		vlapic_set_hw_virtual(l, !l->hw_virtual);
		w->kicks++; /* the caller looks then */
	} else if (!l->hw_virtual) {
		if (vector >= 0)
			vlapic_ack(l, (uint8_t)vector);
	} else if (op & 0x40) {
		if (w->svi >= 0)
			page_flip(l, APIC_ISR, w->svi);
		w->svi = highest_in_page(l, APIC_ISR);
		w->kicks++; /* the CPU looks itself */
	} else if (vector >= 0) {
		page_flip(l, APIC_IRR, vector);
		page_flip(l, APIC_ISR, w->svi = vector);
	}
}

static void step(struct world *w, struct input *in)
{
	static const uint32_t msrs[] = { MSR_IA32_APIC_BASE, MSR_IA32_TSC_DEADLINE };
	struct vlapic *l = &w->l;
	uint8_t op = (uint8_t)take(in, 1);
	uint64_t value;
	switch (op % 12) {
	case 0: /* an xAPIC register */
	case 1: {
		struct dev_access a = { .offset = take(in, 1) << 4, .size = 4, .write = op % 12, .value = take(in, 4) };
		vlapic_access(l, &a);
		break;
	}
	case 2: { /* any access */
		struct dev_access a = { .offset = take(in, 2), .size = (uint8_t)(1u << (op >> 4 & 3)), .write = op >> 7, .value = take(in, 8) };
		vlapic_access(l, &a);
		break;
	}
	case 3:
		(void)!vlapic_wrmsr(l, 0x800 + (uint32_t)take(in, 1) % 0x40, take(in, op & 0x80 ? 8 : 4));
		break;
	case 4:
		(void)!vlapic_rdmsr(l, 0x800 + (uint32_t)take(in, 1), &value);
		break;
	case 5:
		(void)!vlapic_wrmsr(l, msrs[op >> 4 & 1], (op & 0x20 ? w->now : 0) + take(in, 4));
		(void)!vlapic_rdmsr(l, msrs[op >> 4 & 1], &value);
		break;
	case 6: /* time passes */
		w->now += take(in, op & 0x80 ? 5 : 2);
		if (w->armed <= w->now || op & 0x40)
			vlapic_tick(l);
		break;
	case 7:
		vlapic_inject(l, (uint8_t)take(in, 1), op & 0x80);
		break;
	case 8: /* the CPU takes what there is */
		cpu_acts(w, op);
		break;
	case 9:
		vlapic_set_lint(l, op >> 4 & 1, op & 0x80);
		break;
	case 10:
		(void)vlapic_matches(l, (uint32_t)take(in, 4), op & 0x80);
		break;
	case 11:
		if (op & 0x80)
			vlapic_reset(l);
		else
			vlapic_eoi_done(l, (uint8_t)take(in, 1));
		break;
	}
}

static void check(struct world *w, int pending_before, unsigned kicks_before)
{
	struct vlapic *l = &w->l;
	CHECK(!l->hw_virtual || l->resync || w->svi == highest_in_page(l, APIC_ISR));
	entry(w);
	int pending = vlapic_pending(l), isr = vlapic_highest_isr(l);
	if (pending >= 0 && pending != pending_before)
		CHECK(w->kicks != kicks_before || pending < pending_before);
	CHECK(vlapic_highest_irr(l) == highest_in_page(l, APIC_IRR) && isr == highest_in_page(l, APIC_ISR));
	CHECK(!(page32(l, APIC_IRR) & 0xffff) && !(page32(l, APIC_ISR) & 0xffff));
	CHECK(page32(l, APIC_VERSION) == 0x00050014);
	CHECK(!(page32(l, APIC_ICR_LO) & 0x1000));
	CHECK(!vlapic_x2apic(l) || vlapic_enabled(l));
	if (!vlapic_software_enabled(l))
		for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 0x10)
			CHECK(page32(l, lvt) & 0x10000);
	uint32_t tpr = page32(l, APIC_TPR), isr_class = isr < 0 ? 0 : (uint32_t)isr & 0xf0;
	uint32_t ppr = (tpr & 0xf0) >= isr_class ? tpr : isr_class;
	if (pending >= 0)
		CHECK(((uint32_t)pending & 0xf0) > (ppr & 0xf0) && page32(l, APIC_PPR) == ppr);
	if (l->deadline != DEV_NEVER && !(page32(l, APIC_LVT_TIMER) & 0x10000))
		CHECK(w->armed <= l->deadline);
	/* Only a periodic timer owes interrupts, and then it will wake up. */
	CHECK(!l->backlog || (l->backlog <= 1000 && l->deadline != DEV_NEVER && w->armed != DEV_NEVER));
	CHECK(!l->backlog || (page32(l, APIC_LVT_TIMER) & 0x70000) == 0x20000);
	CHECK(vlapic_enabled(l) || (pending < 0 && isr < 0 && l->deadline == DEV_NEVER));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct world w = { .now = 1000, .svi = -1 };
	struct dev_host host = { .ctx = &w, .hz = 1000000000, .now = world_now, .arm = world_arm };
	void *page = aligned_alloc(4096, 4096);
	CHECK(page);
	uint8_t kind = (uint8_t)take(&in, 1);
	vlapic_init(&w.l, page, kind & 0x80 ? 0x1234 : kind & 15, kind & 0x10, kind & 0x20, &host, &ops, &w);
	while (in.n) {
		int pending = vlapic_pending(&w.l);
		unsigned kicks = w.kicks;
		step(&w, &in);
		check(&w, pending, kicks);
	}
	free(page);
	return 0;
}
