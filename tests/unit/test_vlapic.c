/* The local APIC's xAPIC registers and interrupts, against the SDM's APIC chapter. */
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
	vlapic_set_hw_virtual(&b->l, true);
	((uint8_t *)b->page)[APIC_PPR] = 0x70;
	assert_int_equal(mmio_read(b, APIC_PPR), 0x70);
	vlapic_inject(&b->l, 0x7f, false);
	assert_int_equal(vlapic_pending(&b->l), -1);
	vlapic_inject(&b->l, 0x80, false);
	assert_int_equal(vlapic_pending(&b->l), 0x80);
	bench_free(b);
}

/* The CPU moves interrupts in the page while it delivers them itself. */
static void test_hw_virtual_begins_and_ends(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	uint8_t *page = b->page;
	vlapic_inject(&b->l, 0x51, false);
	vlapic_inject(&b->l, 0xa2, false);
	b->l.resync = false;
	vlapic_set_hw_virtual(&b->l, true);
	assert_true(b->l.resync); /* the CPU knows of nothing yet */
	assert_int_equal(vlapic_highest_irr(&b->l), 0xa2);
	page[APIC_IRR + 0xa2 / 32 * 16] &= (uint8_t)~(1u << 0xa2 % 8);
	page[APIC_ISR + 0xa2 / 32 * 16] |= 1u << 0xa2 % 8;
	assert_int_equal(vlapic_highest_irr(&b->l), 0x51);
	assert_int_equal(vlapic_highest_isr(&b->l), 0xa2);
	vlapic_set_hw_virtual(&b->l, false);
	assert_int_equal(vlapic_highest_irr(&b->l), 0x51);
	assert_int_equal(vlapic_highest_isr(&b->l), 0xa2);
	assert_int_equal(vlapic_pending(&b->l), -1);
	b->l.resync = false;
	mmio_write(b, APIC_EOI, 0);
	assert_true(b->l.resync); /* not the CPU's doing */
	assert_int_equal(vlapic_pending(&b->l), 0x51);
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

static void test_plain_eoi(void **state)
{
	(void)state;
	struct bench *b = bench_on();
	vlapic_inject(&b->l, 0x51, false);
	vlapic_ack(&b->l, 0x51);
	assert_true(vlapic_eoi_is_plain(&b->l, 0x51));
	assert_false(vlapic_eoi_is_plain(&b->l, 0x52));
	assert_false(vlapic_eoi_is_plain(&b->l, 0x71));
	vlapic_inject(&b->l, 0x31, false); /* lower: it waits */
	assert_false(vlapic_eoi_is_plain(&b->l, 0x51));
	mmio_write(b, APIC_EOI, 0);
	vlapic_ack(&b->l, 0x31);
	assert_true(vlapic_eoi_is_plain(&b->l, 0x31));
	vlapic_inject(&b->l, 0x61, false);
	vlapic_ack(&b->l, 0x61); /* nested */
	assert_false(vlapic_eoi_is_plain(&b->l, 0x61));
	mmio_write(b, APIC_EOI, 0);
	mmio_write(b, APIC_EOI, 0);
	vlapic_inject(&b->l, 0x41, true);
	vlapic_ack(&b->l, 0x41); /* the I/O APIC waits for it */
	assert_false(vlapic_eoi_is_plain(&b->l, 0x41));
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
		cmocka_unit_test(test_hw_virtual_ppr_is_the_cpus),
		cmocka_unit_test(test_hw_virtual_begins_and_ends), cmocka_unit_test(test_level_eoi),
		cmocka_unit_test(test_error_register), cmocka_unit_test(test_odd_accesses),
		cmocka_unit_test(test_apic_write_exit), cmocka_unit_test(test_plain_eoi),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
