/* The local APIC: what it sends, whom a message is for, and its pins; against the SDM's APIC chapter. */
#include "vlapic_bench.h"

#define MASKED 0x10000u

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipi), cmocka_unit_test(test_xapic_destinations), cmocka_unit_test(test_x2apic_destinations),
		cmocka_unit_test(test_lint), cmocka_unit_test(test_lint0_level), cmocka_unit_test(test_pins_without_apic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
