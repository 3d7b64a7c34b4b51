/* The local APIC's xAPIC registers, interrupts and destinations, against the SDM's APIC chapter. */
#include "vlapic_bench.h"

#define MASKED 0x10000u

static bool in_page(struct bench *b, uint32_t base, uint8_t vector)
{
	return mmio_read(b, base + vector / 32 * 16) >> vector % 32 & 1;
}

static void test_power_up(void **state)
{
	(void)state;
	struct bench *b = bench_new(3, false, false);
	assert_int_equal(mmio_read(b, APIC_ID), 3u << 24);
	assert_int_equal(mmio_read(b, APIC_VERSION), 0x00050014);
	assert_int_equal(mmio_read(b, APIC_DFR), 0xffffffff);
	assert_int_equal(mmio_read(b, APIC_LDR), 0);
	assert_int_equal(mmio_read(b, APIC_TPR), 0);
	assert_int_equal(mmio_read(b, APIC_SVR), 0xff);
	for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
		assert_int_equal(mmio_read(b, lvt), MASKED);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(mmio_read(b, APIC_ISR + i * 16), 0);
		assert_int_equal(mmio_read(b, APIC_TMR + i * 16), 0);
		assert_int_equal(mmio_read(b, APIC_IRR + i * 16), 0);
	}
	assert_int_equal(mmio_read(b, APIC_ICR_LO), 0);
	assert_int_equal(mmio_read(b, APIC_TIMER_ICR), 0);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0);
	assert_int_equal(mmio_read(b, APIC_TIMER_DCR), 0);
	assert_true(vlapic_enabled(&b->l));
	assert_false(vlapic_software_enabled(&b->l));
	assert_false(vlapic_x2apic(&b->l));
	assert_false(vlapic_extint(&b->l));
	assert_int_equal(b->l.base_msr, 0xfee00800);
	assert_int_equal(b->armed, DEV_NEVER);
	bench_free(b);

	b = bench_new(0, true, true);
	assert_int_equal(b->l.base_msr, 0xfee00900);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT0), 0x700);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT1), 0x400);
	assert_true(vlapic_software_enabled(&b->l));
	assert_true(vlapic_extint(&b->l));
	bench_free(b);
}

static void test_init_keeps_id_and_base(void **state)
{
	(void)state;
	struct bench *b = bench_x2apic(0x123);
	uint64_t value;
	vlapic_inject(&b->l, 0x40, true);
	vlapic_inject(&b->l, 3, false);
	vlapic_reset(&b->l);
	assert_int_equal(vlapic_wrmsr(&b->l, 0x828, 0), TF_OK);
	assert_int_equal(vlapic_rdmsr(&b->l, 0x828, &value), TF_OK);
	assert_int_equal(value, 0); /* the error is forgotten */
	assert_true(vlapic_x2apic(&b->l));
	assert_int_equal(vlapic_rdmsr(&b->l, 0x802, &value), TF_OK);
	assert_int_equal(value, 0x123);
	assert_int_equal(vlapic_rdmsr(&b->l, 0x80d, &value), TF_OK);
	assert_int_equal(value, 0x12 << 16 | 1 << 3);
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	assert_false(vlapic_software_enabled(&b->l));
	bench_free(b);
}

/* What a register keeps of a write of all ones, and of all zeros. */
static void test_writable_bits(void **state)
{
	(void)state;
	static const struct { uint32_t reg, ones, zeros; } t[] = {
		{ APIC_ID, 0, 0 }, { APIC_VERSION, 0x50014, 0x50014 }, { APIC_TPR, 0xff, 0 },
		{ APIC_LDR, 0xff000000, 0 }, { APIC_DFR, 0xffffffff, 0x0fffffff }, { APIC_EOI, 0, 0 },
		{ APIC_ISR + 0x70, 0, 0 }, { APIC_TMR, 0, 0 }, { APIC_IRR + 0x10, 0, 0 },
		{ APIC_ICR_HI, 0xff000000, 0 }, { APIC_TIMER_ICR, 0xffffffff, 0 }, { APIC_TIMER_DCR, 0xb, 0 },
		{ APIC_LVT_TIMER, 0x700ff, 0 }, { APIC_LVT_THERMAL, 0x107ff, 0 }, { APIC_LVT_PMC, 0x107ff, 0 },
		{ APIC_LVT_LINT0, 0x1a7ff, 0 }, { APIC_LVT_LINT1, 0x1a7ff, 0 }, { APIC_LVT_ERROR, 0x100ff, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bench *b = bench_on();
		mmio_write(b, t[i].reg, 0xffffffff);
		assert_int_equal(mmio_read(b, t[i].reg), t[i].ones);
		mmio_write(b, t[i].reg, 0);
		assert_int_equal(mmio_read(b, t[i].reg), t[i].zeros);
		mmio_write(b, APIC_ESR, 0);
		assert_int_equal(mmio_read(b, APIC_ESR), 0);
		bench_free(b);
	}
	struct bench *b = bench_on();
	mmio_write(b, APIC_ICR_LO, 0xffff3fff & ~0x700u); /* fixed */
	assert_int_equal(mmio_read(b, APIC_ICR_LO), 0x000c08ff);
	bench_free(b);
}

/* SDM: while SVR.EN is clear all LVT masks are set and stay so; setting it does not unmask. */
static void test_software_disable(void **state)
{
	(void)state;
	struct bench *b = bench_new(0, true, false);
	mmio_write(b, APIC_LVT_ERROR, 0x33);
	assert_int_equal(mmio_read(b, APIC_LVT_ERROR), MASKED | 0x33);
	mmio_write(b, APIC_SVR, SVR_ON);
	assert_int_equal(mmio_read(b, APIC_LVT_ERROR), MASKED | 0x33);
	for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
		mmio_write(b, lvt, 0x33);
	vlapic_inject(&b->l, 0x50, false);
	mmio_write(b, APIC_SVR, 0xff);
	for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
		assert_int_equal(mmio_read(b, lvt), MASKED | 0x33);
	/* Nothing new is accepted, what is in IRR is held. */
	vlapic_inject(&b->l, 0x60, false);
	assert_int_equal(vlapic_highest_irr(&b->l), 0x50);
	assert_int_equal(vlapic_pending(&b->l), 0x50);
	bench_free(b);
}

static void test_priorities(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	struct vlapic *l = &b->l;
	assert_int_equal(vlapic_pending(l), -1);
	for (unsigned v = 16; v < 256; v++) {
		vlapic_inject(l, (uint8_t)v, false);
		assert_int_equal(vlapic_highest_irr(l), v);
	}
	assert_int_equal(b->kicks, 240);
	for (int v = 255; v >= 16; v--) {
		assert_int_equal(vlapic_pending(l), v);
		vlapic_ack(l, (uint8_t)v);
		assert_int_equal(vlapic_highest_isr(l), v);
		assert_false(in_page(b, APIC_IRR, (uint8_t)v));
		assert_true(in_page(b, APIC_ISR, (uint8_t)v));
		assert_int_equal(mmio_read(b, APIC_PPR), v & 0xf0);
		assert_int_equal(vlapic_pending(l), -1); /* same class or lower: waits */
		mmio_write(b, APIC_EOI, 0);
		assert_int_equal(mmio_read(b, APIC_PPR), 0);
	}
	assert_int_equal(vlapic_pending(l), -1);
	assert_int_equal(b->eois, 0);
	bench_free(b);
}

static void test_nesting(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	struct vlapic *l = &b->l;
	vlapic_inject(l, 0x45, false);
	vlapic_ack(l, 0x45);
	vlapic_inject(l, 0x4f, false);
	assert_int_equal(vlapic_pending(l), -1);
	vlapic_inject(l, 0x50, false);
	assert_int_equal(vlapic_pending(l), 0x50);
	vlapic_ack(l, 0x50);
	mmio_write(b, APIC_EOI, 0); /* ends 50h */
	assert_int_equal(vlapic_highest_isr(l), 0x45);
	unsigned kicks = b->kicks;
	mmio_write(b, APIC_EOI, 0); /* ends 45h: 4Fh can come, and the vCPU is told */
	assert_int_equal(vlapic_pending(l), 0x4f);
	assert_int_equal(b->kicks, kicks + 1);
	mmio_write(b, APIC_EOI, 0); /* nothing in service: nothing happens */
	assert_int_equal(vlapic_pending(l), 0x4f);
	bench_free(b);
}

static void test_tpr(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	mmio_write(b, APIC_TPR, 0x4f);
	assert_int_equal(mmio_read(b, APIC_PPR), 0x4f); /* TPR's class not below ISR's: the whole TPR */
	vlapic_inject(&b->l, 0x4e, false);
	assert_int_equal(vlapic_pending(&b->l), -1);
	unsigned kicks = b->kicks;
	mmio_write(b, APIC_TPR, 0x3f);
	assert_int_equal(vlapic_pending(&b->l), 0x4e);
	assert_int_equal(b->kicks, kicks + 1);
	vlapic_ack(&b->l, 0x4e);
	assert_int_equal(mmio_read(b, APIC_PPR), 0x40); /* ISR's class above TPR's: low bits 0 */
	mmio_write(b, APIC_TPR, 0x41);
	assert_int_equal(mmio_read(b, APIC_PPR), 0x41); /* equal classes: TPR's low bits */
	mmio_write(b, APIC_TPR, 0xff);
	vlapic_inject(&b->l, 0xff, false);
	assert_int_equal(vlapic_pending(&b->l), -1);
	/* A TPR that the CPU wrote into the page (CR8 under a TPR shadow) counts at once. */
	((uint8_t *)b->page)[APIC_TPR] = 0xe0;
	assert_int_equal(vlapic_pending(&b->l), 0xff);
	assert_int_equal(((uint8_t *)b->page)[APIC_PPR], 0xe0);
	bench_free(b);
}

static void test_hw_virtual_ppr_is_the_cpus(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	b->l.hw_virtual = true;
	((uint8_t *)b->page)[APIC_PPR] = 0x70;
	assert_int_equal(mmio_read(b, APIC_PPR), 0x70);
	bench_free(b);
}

static void test_level_eoi(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	struct vlapic *l = &b->l;
	vlapic_inject(l, 0x61, true);
	vlapic_inject(l, 0x62, false);
	assert_true(in_page(b, APIC_TMR, 0x61));
	assert_false(in_page(b, APIC_TMR, 0x62));
	vlapic_ack(l, 0x62);
	mmio_write(b, APIC_EOI, 0);
	assert_int_equal(b->eois, 0);
	vlapic_ack(l, 0x61);
	mmio_write(b, APIC_EOI, 0);
	assert_int_equal(b->eois, 1);
	assert_int_equal(b->eoi_vector, 0x61);
	vlapic_eoi_done(l, 0x62);
	assert_int_equal(b->eois, 1);
	vlapic_eoi_done(l, 0x61);
	assert_int_equal(b->eois, 2);
	vlapic_inject(l, 0x61, false); /* the last acceptance decides */
	assert_false(in_page(b, APIC_TMR, 0x61));
	bench_free(b);
}

static void test_error_register(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	vlapic_inject(&b->l, 15, false);
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	assert_int_equal(mmio_read(b, APIC_ESR), 0); /* not before a write */
	mmio_write(b, APIC_ESR, 0xffffffff);
	assert_int_equal(mmio_read(b, APIC_ESR), 0x40);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0);

	mmio_write(b, APIC_ICR_LO, 0x40005); /* to itself: sent, and received */
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0x60);
	mmio_write(b, APIC_ESR, 0);

	mmio_write(b, APIC_LVT_ERROR, 0x99);
	mmio_write(b, APIC_ICR_LO, 0x000f); /* fixed, vector 15 */
	assert_int_equal(b->ipis, 0);
	assert_int_equal(vlapic_pending(&b->l), 0x99);
	vlapic_ack(&b->l, 0x99);
	mmio_write(b, APIC_EOI, 0);
	assert_int_equal(mmio_read(b, 0x400), 0); /* no such register; not a second interrupt before ESR was written */
	assert_int_equal(vlapic_pending(&b->l), -1);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0xa0);
	mmio_write(b, APIC_SELF_IPI, 0x40); /* x2APIC only */
	assert_int_equal(vlapic_pending(&b->l), 0x99);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0x80);

	/* An error interrupt with an illegal vector is itself an error, and ends there. */
	mmio_write(b, APIC_LVT_ERROR, 0x05);
	mmio_write(b, APIC_LVT_CMCI, 0);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0xc0);
	bench_free(b);
}

static void test_ipi(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	mmio_write(b, APIC_ICR_HI, 0x12345678);
	assert_int_equal(b->ipis, 0);
	mmio_write(b, APIC_ICR_LO, 0x000048fe); /* fixed, logical */
	assert_int_equal(b->ipis, 1);
	assert_int_equal(b->ipi.dest, 0x12);
	assert_true(b->ipi.logical);
	assert_int_equal(b->ipi.delivery, 0);
	assert_int_equal(b->ipi.vector, 0xfe);
	assert_false(b->ipi.level);
	assert_int_equal(b->shorthand, SHORTHAND_NONE);
	assert_int_equal(mmio_read(b, APIC_ICR_LO) & 0x1000, 0); /* idle at once */

	mmio_write(b, APIC_ICR_LO, 0x000c4400); /* NMI to all but self: the vector does not matter */
	assert_int_equal(b->ipis, 2);
	assert_int_equal(b->ipi.delivery, 4);
	assert_false(b->ipi.logical);
	assert_int_equal(b->shorthand, SHORTHAND_OTHERS);

	mmio_write(b, APIC_ICR_LO, 0x0000c500); /* INIT, level, asserted */
	assert_int_equal(b->ipis, 3);
	assert_int_equal(b->ipi.delivery, 5);
	mmio_write(b, APIC_ICR_LO, 0x00008500); /* INIT level de-assert: nobody sees it */
	assert_int_equal(b->ipis, 3);
	mmio_write(b, APIC_ICR_LO, 0x00000500); /* an edge is asserted whatever bit 14 says */
	assert_int_equal(b->ipis, 4);
	mmio_write(b, APIC_ICR_LO, 0x00004608); /* start-up: the vector is a page */
	assert_int_equal(b->ipis, 5);
	assert_int_equal(b->ipi.vector, 8);
	mmio_write(b, APIC_ICR_LO, 0x00044608); /* start-up to self: invalid */
	mmio_write(b, APIC_ICR_LO, 0x00004340); /* reserved delivery mode */
	mmio_write(b, APIC_ICR_LO, 0x00004740); /* ExtINT cannot be sent */
	mmio_write(b, APIC_ICR_LO, 0x00004105); /* lowest priority with an illegal vector */
	assert_int_equal(b->ipis, 5);
	mmio_write(b, APIC_ICR_LO, 0x0000c140); /* the trigger mode of an IPI has no meaning */
	assert_int_equal(b->ipis, 6);
	assert_int_equal(b->ipi.delivery, 1);
	assert_false(b->ipi.level);
	bench_free(b);
}

static void test_xapic_destinations(void **state)
{
	(void)state;
	struct bench *b = bench_new(5, false, false);
	struct vlapic *l = &b->l;
	assert_true(vlapic_matches(l, 5, false));
	assert_false(vlapic_matches(l, 4, false));
	assert_true(vlapic_matches(l, 0xff, false));
	assert_true(vlapic_matches(l, 0xffffffff, false));
	assert_false(vlapic_matches(l, 0x105, false));

	assert_false(vlapic_matches(l, 0x20, true)); /* LDR is still 0 */
	assert_true(vlapic_matches(l, 0xff, true));
	mmio_write(b, APIC_LDR, 0x20000000);
	assert_true(vlapic_matches(l, 0x20, true));
	assert_true(vlapic_matches(l, 0x3f, true));
	assert_false(vlapic_matches(l, 0xdf, true));
	assert_false(vlapic_matches(l, 0x120, true));

	mmio_write(b, APIC_DFR, 0x0fffffff);
	mmio_write(b, APIC_LDR, 0x24000000); /* cluster 2, member 2 */
	assert_true(vlapic_matches(l, 0x24, true));
	assert_true(vlapic_matches(l, 0x2f, true));
	assert_false(vlapic_matches(l, 0x2b, true));
	assert_false(vlapic_matches(l, 0x34, true));
	assert_true(vlapic_matches(l, 0xff, true));

	l->base_msr &= ~APIC_BASE_ENABLE;
	assert_false(vlapic_matches(l, 5, false));
	assert_false(vlapic_matches(l, 0xff, true));
	bench_free(b);
}

static void test_x2apic_destinations(void **state)
{
	(void)state;
	struct bench *b = bench_x2apic(0x123);
	struct vlapic *l = &b->l;
	assert_true(vlapic_matches(l, 0x123, false));
	assert_false(vlapic_matches(l, 0x23, false));
	assert_true(vlapic_matches(l, 0xffffffff, false));
	assert_true(vlapic_matches(l, 0xff, false)); /* the broadcast of 8-bit senders */
	assert_true(vlapic_matches(l, 0x12 << 16 | 0x8, true));
	assert_true(vlapic_matches(l, 0x12 << 16 | 0xffff, true));
	assert_false(vlapic_matches(l, 0x12 << 16 | 0xfff7, true));
	assert_false(vlapic_matches(l, 0x13 << 16 | 0x8, true));
	assert_true(vlapic_matches(l, 0xffffffff, true));
	assert_false(vlapic_matches(l, 0xff, true)); /* cluster 0 */
	bench_free(b);
}

static void test_lint(void **state)
{
	(void)state;
	struct bench *b = bench_new(0, true, true);
	struct vlapic *l = &b->l;
	vlapic_set_lint(l, 0, true); /* ExtINT: only a kick */
	assert_int_equal(b->kicks, 1);
	assert_int_equal(vlapic_highest_irr(l), -1);
	mmio_write(b, APIC_LVT_LINT0, MASKED | 0x700);
	assert_false(vlapic_extint(l));
	mmio_write(b, APIC_LVT_LINT0, 0x700); /* unmasked with the line high */
	assert_true(vlapic_extint(l));
	assert_int_equal(b->kicks, 2);
	vlapic_set_lint(l, 0, false);

	vlapic_set_lint(l, 1, true); /* NMI */
	vlapic_set_lint(l, 1, true); /* still high: no second edge */
	assert_int_equal(b->locals, 1);
	assert_int_equal(b->local_delivery, 4);
	mmio_write(b, APIC_LVT_LINT1, MASKED | 0x400);
	vlapic_set_lint(l, 1, false);
	vlapic_set_lint(l, 1, true);
	assert_int_equal(b->locals, 1);

	mmio_write(b, APIC_LVT_LINT0, 0x31); /* fixed, edge */
	vlapic_set_lint(l, 0, true);
	assert_int_equal(vlapic_pending(l), 0x31);
	vlapic_ack(l, 0x31);
	mmio_write(b, APIC_EOI, 0);
	assert_int_equal(vlapic_pending(l), -1);
	assert_int_equal(b->eois, 0);
	bench_free(b);
}

static void test_lint0_level(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	struct vlapic *l = &b->l;
	vlapic_set_lint(l, 0, true);
	mmio_write(b, APIC_LVT_LINT0, 0x8071); /* fixed, level, and the line is high already */
	assert_int_equal(vlapic_pending(l), 0x71);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT0), 0xc071);
	mmio_write(b, APIC_LVT_LINT0, 0x8071);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT0), 0xc071); /* read-only */
	vlapic_ack(l, 0x71);
	vlapic_set_lint(l, 0, false);
	vlapic_set_lint(l, 0, true); /* not before its EOI */
	assert_int_equal(vlapic_highest_irr(l), -1);
	mmio_write(b, APIC_EOI, 0); /* still high: again */
	assert_int_equal(vlapic_pending(l), 0x71);
	vlapic_set_lint(l, 0, false);
	vlapic_ack(l, 0x71);
	mmio_write(b, APIC_EOI, 0);
	assert_int_equal(vlapic_pending(l), -1);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT0), 0x8071);
	vlapic_set_lint(l, 0, true);
	vlapic_reset(l); /* INIT forgets it, but not the level of the pin */
	mmio_write(b, APIC_SVR, SVR_ON);
	mmio_write(b, APIC_LVT_LINT0, MASKED | 0x8071);
	assert_int_equal(mmio_read(b, APIC_LVT_LINT0), MASKED | 0x8071);
	mmio_write(b, APIC_LVT_LINT0, 0x8071);
	assert_int_equal(vlapic_pending(l), 0x71);
	bench_free(b);
}

/* Disabled in IA32_APIC_BASE the pins are INTR and NMI. */
static void test_pins_without_apic(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	assert_int_equal(vlapic_wrmsr(&b->l, MSR_IA32_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_BSP), TF_OK);
	assert_true(vlapic_extint(&b->l));
	unsigned kicks = b->kicks;
	vlapic_set_lint(&b->l, 0, true);
	assert_int_equal(b->kicks, kicks + 1);
	vlapic_set_lint(&b->l, 1, true);
	assert_int_equal(b->locals, 1);
	assert_int_equal(b->local_delivery, 4);
	assert_int_equal(mmio_read(b, APIC_VERSION), 0xffffffff); /* nobody at the address */
	vlapic_inject(&b->l, 0x50, false);
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	bench_free(b);
}

/* Not 32 bits, or not at the start of a register: reads give the bytes that are there, writes are dropped. */
static void test_odd_accesses(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	struct dev_access a = { .offset = APIC_VERSION, .size = 1 };
	vlapic_access(&b->l, &a);
	assert_int_equal(a.value & 0xff, 0x14);
	a = (struct dev_access){ .offset = APIC_VERSION + 2, .size = 2 };
	vlapic_access(&b->l, &a);
	assert_int_equal(a.value & 0xffff, 5);
	a = (struct dev_access){ .offset = APIC_VERSION + 4, .size = 4 };
	vlapic_access(&b->l, &a);
	assert_int_equal(a.value, 0);
	a = (struct dev_access){ .offset = APIC_TPR, .size = 1, .write = true, .value = 0x50 };
	vlapic_access(&b->l, &a);
	a = (struct dev_access){ .offset = APIC_TPR + 4, .size = 4, .write = true, .value = 0x50 };
	vlapic_access(&b->l, &a);
	assert_int_equal(mmio_read(b, APIC_TPR), 0);
	a = (struct dev_access){ .offset = 0x1000, .size = 4 };
	vlapic_access(&b->l, &a);
	assert_int_equal(a.value, 0xffffffff);
	bench_free(b);
}

/* APIC-write VM exit: the CPU has put the guest's bits in the page, the reserved ones too. */
static void test_apic_write_exit(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	static const uint32_t regs[] = { APIC_ID, APIC_LVT_TIMER, APIC_ICR_LO, APIC_EOI, APIC_TIMER_DCR };
	static const uint32_t want[] = { 0, 0x700ff, 0x000ccfff, 0, 0xb };
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		memset((uint8_t *)b->page + regs[i], 0xff, 4);
		vlapic_write(&b->l, regs[i], 0xffffffff);
		assert_int_equal(mmio_read(b, regs[i]), want[i]);
	}
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_up), cmocka_unit_test(test_init_keeps_id_and_base),
		cmocka_unit_test(test_writable_bits), cmocka_unit_test(test_software_disable),
		cmocka_unit_test(test_priorities), cmocka_unit_test(test_nesting), cmocka_unit_test(test_tpr),
		cmocka_unit_test(test_hw_virtual_ppr_is_the_cpus), cmocka_unit_test(test_level_eoi),
		cmocka_unit_test(test_error_register), cmocka_unit_test(test_ipi),
		cmocka_unit_test(test_xapic_destinations), cmocka_unit_test(test_x2apic_destinations),
		cmocka_unit_test(test_lint), cmocka_unit_test(test_lint0_level),
		cmocka_unit_test(test_pins_without_apic), cmocka_unit_test(test_odd_accesses),
		cmocka_unit_test(test_apic_write_exit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
