/* The two 8259A against the Intel data sheet. */
#include "guest/dev/vpic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

enum { MASTER, SLAVE };
static struct vpic p;
static unsigned changes;
static bool intr;
static int token;

static void on_intr(void *ctx, bool level)
{
	assert_ptr_equal(ctx, &token);
	assert_int_not_equal(intr, level); /* only changes */
	intr = level;
	changes++;
}

static void out(unsigned chip, unsigned port, uint8_t value)
{
	struct dev_access a = { .offset = port, .size = 1, .write = true, .value = value };
	(chip == MASTER ? vpic_access_master : vpic_access_slave)(&p, &a);
}

static uint8_t in(unsigned chip, unsigned port)
{
	struct dev_access a = { .offset = port, .size = 1 };
	(chip == MASTER ? vpic_access_master : vpic_access_slave)(&p, &a);
	return (uint8_t)a.value;
}

static void elcr(unsigned chip, uint8_t value)
{
	struct dev_access a = { .offset = chip, .size = 1, .write = true, .value = value };
	vpic_access_elcr(&p, &a);
}

static void init_chip(unsigned chip, uint8_t base, uint8_t icw4)
{
	out(chip, 0, 0x11);
	out(chip, 1, base);
	out(chip, 1, chip == MASTER ? 4 : 2);
	out(chip, 1, icw4);
}

static void irq(unsigned n, bool level) { vpic_set_irq(&p, n, level); }

static void pulse(unsigned n)
{
	irq(n, false);
	irq(n, true);
}

static uint8_t read_irr(unsigned chip) { out(chip, 0, 0x0a); return in(chip, 0); }
static uint8_t read_isr(unsigned chip) { out(chip, 0, 0x0b); return in(chip, 0); }

/* As a PC has it: vectors 20h and 28h, everything unmasked. */
static int setup(void **state)
{
	(void)state;
	intr = false;
	vpic_init(&p, on_intr, &token);
	init_chip(MASTER, 0x20, 0x01);
	init_chip(SLAVE, 0x28, 0x01);
	changes = 0;
	return 0;
}

static void test_power_up_is_quiet(void **state)
{
	(void)state;
	vpic_init(&p, on_intr, &token);
	for (unsigned n = 0; n < 16; n++)
		if (n != 2)
			irq(n, true);
	assert_int_equal(changes, 0);
	assert_int_equal(in(MASTER, 1), 0xff);
	assert_int_equal(in(SLAVE, 1), 0xff);
}

static void test_vectors(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 16; n++) {
		if (n == 2)
			continue;
		irq(n, true);
		assert_true(vpic_intr(&p) && intr);
		assert_int_equal(vpic_ack(&p), 0x20 + n);
		assert_false(vpic_intr(&p) || intr);
		assert_int_equal(read_isr(MASTER), n < 8 ? 1 << n : 4);
		assert_int_equal(read_isr(SLAVE), n < 8 ? 0 : 1 << (n - 8));
		assert_int_equal(read_irr(MASTER) | read_irr(SLAVE), 0);
		if (n >= 8)
			out(SLAVE, 0, 0x20);
		out(MASTER, 0, 0x20);
		assert_int_equal(read_isr(MASTER) | read_isr(SLAVE), 0);
		assert_false(intr); /* still high, and no new edge */
		irq(n, false);
	}
}

static void test_fully_nested(void **state)
{
	(void)state;
	irq(5, true);
	assert_int_equal(vpic_ack(&p), 0x25);
	irq(6, true);
	assert_false(intr);
	irq(3, true);
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x23);
	assert_int_equal(read_isr(MASTER), 0x28);
	out(MASTER, 0, 0x20); /* ends 3 */
	assert_int_equal(read_isr(MASTER), 0x20);
	assert_false(intr);
	out(MASTER, 0, 0x20); /* ends 5 */
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x26);
	/* Simultaneous requests: 0, 1, 8..15 (through 2), 3. */
	out(MASTER, 0, 0x20);
	out(MASTER, 1, 0xff);
	for (unsigned n = 0; n < 16; n++)
		if (n != 2)
			pulse(n);
	out(MASTER, 1, 0);
	static const uint8_t order[] = { 0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7 };
	for (size_t i = 0; i < sizeof(order); i++) {
		assert_true(intr);
		assert_int_equal(vpic_ack(&p), 0x20 + order[i]);
		if (order[i] >= 8)
			out(SLAVE, 0, 0x20);
		out(MASTER, 0, 0x20);
	}
	assert_false(intr);
}

static void test_mask(void **state)
{
	(void)state;
	out(MASTER, 1, 0x10);
	assert_int_equal(in(MASTER, 1), 0x10);
	irq(4, true);
	assert_false(intr);
	assert_int_equal(read_irr(MASTER), 0x10); /* IRR shows it all the same */
	out(MASTER, 1, 0);
	assert_true(intr);
	out(MASTER, 1, 0x10);
	assert_false(intr);
	out(MASTER, 1, 0);
	assert_int_equal(vpic_ack(&p), 0x24);
	out(SLAVE, 1, 0xff);
	irq(12, true);
	assert_int_equal(read_irr(MASTER), 0);
}

/* The input must stay high until INTA; else the chip answers with its input 7, and sets nothing in service. */
static void test_spurious(void **state)
{
	(void)state;
	irq(3, true);
	assert_true(intr);
	irq(3, false);
	assert_false(intr);
	assert_int_equal(read_irr(MASTER), 0);
	assert_int_equal(vpic_ack(&p), 0x27);
	assert_int_equal(read_isr(MASTER), 0);

	/* The slave's: the master cannot know and has input 2 in service. The slave's mask is too late here: */
	irq(10, true);
	p.chip[SLAVE].imr = 0xff; /* between the two INTA pulses */
	assert_int_equal(vpic_ack(&p), 0x2f);
	assert_int_equal(read_isr(MASTER), 0x04);
	assert_int_equal(read_isr(SLAVE), 0);
}

static void test_level_triggered(void **state)
{
	(void)state;
	elcr(MASTER, 0xff);
	elcr(SLAVE, 0xff);
	struct dev_access a = { .offset = 0, .size = 2 };
	vpic_access_elcr(&p, &a);
	assert_int_equal(a.value, 0xdef8); /* 0, 1, 2, 8 and 13 stay edges */
	irq(11, true);
	assert_int_equal(vpic_ack(&p), 0x2b);
	assert_int_equal(read_irr(SLAVE), 0x08); /* as long as the line is high */
	assert_false(intr);
	out(SLAVE, 0, 0x20);
	out(MASTER, 0, 0x20);
	assert_true(intr); /* asks again */
	assert_int_equal(vpic_ack(&p), 0x2b);
	irq(11, false);
	out(SLAVE, 0, 0x20);
	out(MASTER, 0, 0x20);
	assert_false(intr);
	irq(5, true);
	assert_int_equal(vpic_ack(&p), 0x25);
	out(MASTER, 0, 0x20);
	assert_true(intr);
	elcr(MASTER, 0); /* an edge input again, and there is no edge */
	assert_false(intr);
	elcr(MASTER, 0x20);
	assert_true(intr);
}

static void test_specific_eoi(void **state)
{
	(void)state;
	irq(6, true);
	vpic_ack(&p);
	irq(1, true);
	vpic_ack(&p);
	out(MASTER, 0, 0x66); /* EOI of 6 */
	assert_int_equal(read_isr(MASTER), 0x02);
	out(MASTER, 0, 0x40); /* no operation */
	assert_int_equal(read_isr(MASTER), 0x02);
	out(MASTER, 0, 0x61);
	assert_int_equal(read_isr(MASTER), 0);
	out(MASTER, 0, 0x20); /* nothing in service */
	assert_int_equal(read_isr(MASTER), 0);
}

static void test_rotation(void **state)
{
	(void)state;
	out(MASTER, 0, 0xc4); /* set priority: 4 is the lowest, 5 the highest */
	irq(0, true);
	irq(4, true);
	irq(5, true);
	irq(7, true);
	static const uint8_t order[] = { 5, 7, 0, 4 };
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(vpic_ack(&p), 0x20 + order[i]);
		out(MASTER, 0, 0x20);
	}
	/* Rotate on non-specific EOI: who was served becomes the lowest. */
	out(MASTER, 0, 0xc7);
	pulse(3);
	pulse(5);
	assert_int_equal(vpic_ack(&p), 0x23);
	out(MASTER, 0, 0xa0);
	pulse(3);
	assert_int_equal(vpic_ack(&p), 0x25);
	out(MASTER, 0, 0xe5); /* rotate on specific EOI: 6 is the highest now */
	assert_int_equal(read_isr(MASTER), 0);
	pulse(6);
	assert_int_equal(vpic_ack(&p), 0x26);
	out(MASTER, 0, 0x20);
	assert_int_equal(vpic_ack(&p), 0x23);
}

static void test_auto_eoi(void **state)
{
	(void)state;
	init_chip(MASTER, 0x20, 0x03);
	init_chip(SLAVE, 0x28, 0x03);
	irq(4, true);
	irq(5, true);
	assert_int_equal(vpic_ack(&p), 0x24);
	assert_int_equal(read_isr(MASTER), 0);
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x25);
	assert_false(intr);
	/* Two from the slave: its INT makes a new edge for the second. */
	irq(9, true);
	irq(10, true);
	assert_int_equal(vpic_ack(&p), 0x29);
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x2a);
	assert_false(intr);
	/* Rotation in automatic EOI mode */
	out(MASTER, 0, 0x80);
	pulse(4);
	assert_int_equal(vpic_ack(&p), 0x24);
	pulse(4);
	pulse(5);
	assert_int_equal(vpic_ack(&p), 0x25);
	assert_int_equal(vpic_ack(&p), 0x24);
	out(MASTER, 0, 0x00); /* and off: 5 stays the highest */
	pulse(5);
	pulse(4);
	assert_int_equal(vpic_ack(&p), 0x25);
	pulse(5);
	assert_int_equal(vpic_ack(&p), 0x25);
}

static void test_special_mask(void **state)
{
	(void)state;
	irq(3, true);
	assert_int_equal(vpic_ack(&p), 0x23);
	irq(6, true);
	assert_false(intr);
	out(MASTER, 1, 0x08);
	assert_false(intr);
	out(MASTER, 0, 0x68); /* special mask mode: 3 is masked and no longer in the way */
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x26);
	out(MASTER, 0, 0x20); /* a non-specific EOI does not reach the masked 3 */
	assert_int_equal(read_isr(MASTER), 0x08);
	out(MASTER, 0, 0x20);
	assert_int_equal(read_isr(MASTER), 0x08);
	pulse(7);
	assert_true(intr);
	out(MASTER, 0, 0x28); /* without ESMM: no change */
	assert_true(intr);
	out(MASTER, 0, 0x48); /* off */
	assert_false(intr);
	out(MASTER, 0, 0x63);
	assert_true(intr);
}

static void test_special_fully_nested(void **state)
{
	(void)state;
	irq(12, true);
	assert_int_equal(vpic_ack(&p), 0x2c);
	irq(9, true);
	assert_false(intr); /* the normal mode locks the slave out */
	setup(NULL);
	irq(12, false);
	irq(9, false);
	init_chip(MASTER, 0x20, 0x11);
	irq(12, true);
	assert_int_equal(vpic_ack(&p), 0x2c);
	irq(9, true);
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x29);
	assert_int_equal(read_isr(SLAVE), 0x12);
	irq(3, true);
	assert_false(intr); /* below the slave all the same */
	irq(13, true);
	assert_false(intr);
	out(SLAVE, 0, 0x20);
	out(SLAVE, 0, 0x20);
	assert_true(intr);
	assert_int_equal(vpic_ack(&p), 0x2d);
	out(SLAVE, 0, 0x20);
	out(MASTER, 0, 0x20); /* one EOI for the slave's three: its input is in service once */
	assert_int_equal(vpic_ack(&p), 0x23);
	pulse(3);
	assert_false(intr); /* only the slave may nest in itself */
}

static void test_poll(void **state)
{
	(void)state;
	out(MASTER, 0, 0x0c);
	assert_int_equal(in(MASTER, 0), 0); /* nothing asks */
	assert_int_equal(in(MASTER, 0), 0); /* one read only: this is IRR */
	irq(5, true);
	assert_int_equal(in(MASTER, 0), 0x20);
	out(MASTER, 0, 0x0c);
	assert_int_equal(in(MASTER, 0), 0x85);
	assert_false(intr);
	assert_int_equal(read_isr(MASTER), 0x20);
	out(MASTER, 0, 0x20);
	/* Through the cascade: master first, then slave. */
	irq(14, true);
	out(MASTER, 0, 0x0c);
	assert_int_equal(in(MASTER, 0), 0x82);
	assert_int_equal(read_irr(MASTER), 0); /* the slave's INT stays high: no new edge */
	out(SLAVE, 0, 0x0c);
	assert_int_equal(in(SLAVE, 1), 0x86); /* any read of the chip is the acknowledge */
	assert_int_equal(read_isr(SLAVE), 0x40);
	assert_int_equal(in(SLAVE, 1), 0);
}

static void test_initialization(void **state)
{
	(void)state;
	out(MASTER, 1, 0xff);
	out(MASTER, 0, 0xc2);
	out(MASTER, 0, 0x0b);
	irq(3, true);
	out(MASTER, 0, 0x11);
	assert_int_equal(in(MASTER, 1), 0); /* ICW1 clears IMR */
	assert_int_equal(in(MASTER, 0), 0); /* selects IRR, and the edge that was is forgotten */
	irq(4, true);
	assert_false(intr); /* not before the words are complete */
	out(MASTER, 1, 0x4f); /* only bits 7 to 3 are the base */
	out(MASTER, 1, 0x04);
	out(MASTER, 1, 0x01);
	assert_true(intr);
	irq(7, true);
	irq(0, true);
	assert_int_equal(vpic_ack(&p), 0x48); /* rotation is undone */
	out(MASTER, 1, 0x80); /* OCW1 again */
	assert_int_equal(in(MASTER, 1), 0x80);

	/* Without ICW4 its functions are off: no automatic EOI. */
	init_chip(MASTER, 0x20, 0x03);
	out(MASTER, 0, 0x10);
	out(MASTER, 1, 0x30);
	out(MASTER, 1, 0x04);
	out(MASTER, 1, 0x55); /* OCW1 */
	assert_int_equal(in(MASTER, 1), 0x55);
	out(MASTER, 1, 0);
	pulse(1);
	assert_int_equal(vpic_ack(&p), 0x31);
	assert_int_equal(read_isr(MASTER), 0x02);

	/* Single: no ICW3. */
	out(MASTER, 0, 0x13);
	out(MASTER, 1, 0x50);
	out(MASTER, 1, 0x03); /* ICW4 */
	out(MASTER, 1, 0xaa);
	assert_int_equal(in(MASTER, 1), 0xaa);
	out(SLAVE, 0, 0x12);
	out(SLAVE, 1, 0x58);
	out(SLAVE, 1, 0xbb);
	assert_int_equal(in(SLAVE, 1), 0xbb);
}

static void test_wide_accesses(void **state)
{
	(void)state;
	struct dev_access a = { .offset = 0, .size = 2, .write = true, .value = 0x5a0b };
	vpic_access_master(&p, &a); /* OCW3, then OCW1 */
	assert_int_equal(in(MASTER, 1), 0x5a);
	irq(0, true);
	vpic_ack(&p);
	a = (struct dev_access){ .offset = 0, .size = 4 };
	vpic_access_master(&p, &a);
	assert_int_equal(a.value, 0xffff5a01);
	a = (struct dev_access){ .offset = 1, .size = 2 };
	vpic_access_master(&p, &a);
	assert_int_equal(a.value, 0xff5a);
	a = (struct dev_access){ .offset = 2, .size = 8 };
	vpic_access_slave(&p, &a);
	assert_int_equal(a.value, UINT64_MAX);
	vpic_access_elcr(&p, &a);
	assert_int_equal(a.value, UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_power_up_is_quiet, setup), cmocka_unit_test_setup(test_vectors, setup),
		cmocka_unit_test_setup(test_fully_nested, setup), cmocka_unit_test_setup(test_mask, setup),
		cmocka_unit_test_setup(test_spurious, setup), cmocka_unit_test_setup(test_level_triggered, setup),
		cmocka_unit_test_setup(test_specific_eoi, setup), cmocka_unit_test_setup(test_rotation, setup),
		cmocka_unit_test_setup(test_auto_eoi, setup), cmocka_unit_test_setup(test_special_mask, setup),
		cmocka_unit_test_setup(test_special_fully_nested, setup), cmocka_unit_test_setup(test_poll, setup),
		cmocka_unit_test_setup(test_initialization, setup), cmocka_unit_test_setup(test_wide_accesses, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
