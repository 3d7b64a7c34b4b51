/* The I/O APIC against the 82093AA data sheet. */
#include "guest/dev/vioapic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

#define LEVEL      0x8000u
#define MASKED     0x10000u
#define REMOTE_IRR 0x4000u

static struct vioapic io;
static struct apic_msg last;
static unsigned sent;
static int token;

static void on_send(void *ctx, const struct apic_msg *msg)
{
	assert_ptr_equal(ctx, &token);
	last = *msg;
	sent++;
}

static int setup(void **state)
{
	(void)state;
	memset(&io, 0xa5, sizeof(io));
	sent = 0;
	vioapic_init(&io, 2, on_send, &token);
	return 0;
}

static void put(uint64_t offset, uint8_t size, uint64_t value)
{
	struct dev_access a = { .offset = offset, .size = size, .write = true, .value = value };
	vioapic_access(&io, &a);
}

static uint64_t get(uint64_t offset, uint8_t size)
{
	struct dev_access a = { .offset = offset, .size = size, .value = 0x5555555555555555 };
	vioapic_access(&io, &a);
	return a.value & dev_ones(size);
}

static void reg_write(uint8_t reg, uint32_t value)
{
	put(0, 4, reg);
	put(0x10, 4, value);
}

static uint32_t reg_read(uint8_t reg)
{
	put(0, 4, reg);
	return (uint32_t)get(0x10, 4);
}

static void rte_write(unsigned pin, uint32_t lo, uint32_t hi)
{
	reg_write((uint8_t)(0x11 + 2 * pin), hi);
	reg_write((uint8_t)(0x10 + 2 * pin), lo);
}

static uint32_t rte_lo(unsigned pin) { return reg_read((uint8_t)(0x10 + 2 * pin)); }

static void test_registers(void **state)
{
	(void)state;
	assert_int_equal(reg_read(0), 0x02000000);
	assert_int_equal(reg_read(1), 0x00170020);
	assert_int_equal(reg_read(2), 0x02000000);
	reg_write(0, 0xffffffff);
	assert_int_equal(reg_read(0), 0x0f000000);
	reg_write(1, 0xffffffff);
	assert_int_equal(reg_read(1), 0x00170020);
	reg_write(2, 0);
	assert_int_equal(reg_read(2), 0x0f000000);
	assert_int_equal(get(0, 4), 2);
	for (unsigned pin = 0; pin < 24; pin++) {
		assert_int_equal(rte_lo(pin), MASKED);
		assert_int_equal(reg_read((uint8_t)(0x11 + 2 * pin)), 0);
	}
	for (unsigned reg = 0x40; reg < 0x100; reg++) {
		reg_write((uint8_t)reg, 0);
		assert_int_equal(reg_read((uint8_t)reg), 0xffffffff);
	}
	assert_int_equal(sent, 0);
}

/* Delivery status (12) and remote IRR (14) are read-only; 17 to 55 are reserved. */
static void test_writable_bits(void **state)
{
	(void)state;
	for (unsigned pin = 0; pin < 24; pin++) {
		rte_write(pin, 0xffffffff, 0xffffffff);
		assert_int_equal(rte_lo(pin), 0x0001afff);
		assert_int_equal(reg_read((uint8_t)(0x11 + 2 * pin)), 0xff000000);
	}
}

static void test_message(void **state)
{
	(void)state;
	rte_write(5, 0x0931, 0xc3000000); /* lowest priority, logical */
	vioapic_set_irq(&io, 5, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.dest, 0xc3);
	assert_true(last.logical);
	assert_int_equal(last.delivery, 1);
	assert_int_equal(last.vector, 0x31);
	assert_false(last.level);
	static const struct { uint32_t delivery; unsigned sent; } t[] = {
		{ 0, 1 }, { 1, 1 }, { 2, 1 }, { 3, 0 }, { 4, 1 }, { 5, 1 }, { 6, 0 }, { 7, 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		setup(NULL);
		rte_write(7, t[i].delivery << 8 | LEVEL | 0x40, 0);
		vioapic_set_irq(&io, 7, true);
		assert_int_equal(sent, t[i].sent);
		if (!sent)
			continue;
		assert_int_equal(last.delivery, t[i].delivery);
		assert_int_equal(last.level, t[i].delivery <= 1); /* the others are always edges */
		assert_int_equal(!!(rte_lo(7) & REMOTE_IRR), t[i].delivery <= 1);
	}
}

static void test_edge(void **state)
{
	(void)state;
	rte_write(4, 0x34, 0);
	vioapic_set_irq(&io, 4, true);
	vioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 1);
	assert_int_equal(rte_lo(4) & REMOTE_IRR, 0);
	vioapic_eoi(&io, 0x34);
	assert_int_equal(sent, 1);
	vioapic_set_irq(&io, 4, false);
	assert_int_equal(sent, 1);
	vioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 2);
	/* "Edge-sensitive interrupts signaled on a masked interrupt pin are ignored." */
	vioapic_set_irq(&io, 4, false);
	rte_write(4, MASKED | 0x34, 0);
	vioapic_set_irq(&io, 4, true);
	rte_write(4, 0x34, 0);
	assert_int_equal(sent, 2);
	vioapic_set_irq(&io, 4, false);
	vioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 3);
}

static void test_level(void **state)
{
	(void)state;
	rte_write(9, LEVEL | 0x39, 0);
	vioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, 1);
	assert_true(last.level);
	assert_int_equal(rte_lo(9), REMOTE_IRR | LEVEL | 0x39);
	vioapic_set_irq(&io, 9, false);
	vioapic_set_irq(&io, 9, true); /* not before its EOI */
	assert_int_equal(sent, 1);
	vioapic_eoi(&io, 0x38); /* another vector */
	assert_int_equal(sent, 1);
	vioapic_eoi(&io, 0x39); /* still high: again */
	assert_int_equal(sent, 2);
	vioapic_set_irq(&io, 9, false);
	vioapic_eoi(&io, 0x39);
	assert_int_equal(sent, 2);
	assert_int_equal(rte_lo(9), LEVEL | 0x39);
}

static void test_level_masked(void **state)
{
	(void)state;
	rte_write(10, MASKED | LEVEL | 0x3a, 0);
	vioapic_set_irq(&io, 10, true);
	assert_int_equal(sent, 0);
	rte_write(10, LEVEL | 0x3a, 0); /* unmasked with the line high */
	assert_int_equal(sent, 1);
	rte_write(10, MASKED | LEVEL | 0x3a, 0);
	assert_int_equal(rte_lo(10), MASKED | REMOTE_IRR | LEVEL | 0x3a); /* in service all the same */
	vioapic_eoi(&io, 0x3a);
	assert_int_equal(sent, 1);
	assert_int_equal(rte_lo(10), MASKED | LEVEL | 0x3a);
	rte_write(10, LEVEL | 0x3a, 0);
	assert_int_equal(sent, 2);
	rte_write(10, MASKED | LEVEL | 0x3a, 0);
	rte_write(10, LEVEL | 0x3a, 0); /* in service: not again */
	assert_int_equal(sent, 2);
}

/* How systems without an EOI register end a stuck entry: edge and back. */
static void test_edge_clears_remote_irr(void **state)
{
	(void)state;
	rte_write(11, LEVEL | 0x3b, 0);
	vioapic_set_irq(&io, 11, true);
	vioapic_set_irq(&io, 11, false);
	assert_int_not_equal(rte_lo(11) & REMOTE_IRR, 0);
	rte_write(11, MASKED | 0x3b, 0);
	assert_int_equal(rte_lo(11), MASKED | 0x3b);
	rte_write(11, LEVEL | 0x3b, 0);
	assert_int_equal(rte_lo(11), LEVEL | 0x3b);
	vioapic_set_irq(&io, 11, true);
	assert_int_equal(sent, 2);
}

static void test_eoi_register(void **state)
{
	(void)state;
	rte_write(16, LEVEL | 0x60, 0);
	rte_write(17, LEVEL | 0x60, 0); /* shares the vector */
	rte_write(18, LEVEL | 0x61, 0);
	for (unsigned pin = 16; pin < 19; pin++)
		vioapic_set_irq(&io, pin, true);
	assert_int_equal(sent, 3);
	vioapic_set_irq(&io, 16, false);
	put(0x40, 4, 0xffffff60);
	assert_int_equal(sent, 4);
	assert_int_equal(rte_lo(16) & REMOTE_IRR, 0);
	assert_int_not_equal(rte_lo(17) & REMOTE_IRR, 0);
	assert_int_not_equal(rte_lo(18) & REMOTE_IRR, 0);
	assert_int_equal(get(0x40, 4), 0); /* write-only */
}

static void test_level_vector(void **state)
{
	(void)state;
	rte_write(3, LEVEL | 0x50, 0);
	rte_write(4, 0x51, 0);
	rte_write(5, MASKED | LEVEL | 0x52, 0);
	rte_write(6, LEVEL | 0x453, 0); /* NMI */
	assert_true(vioapic_level_vector(&io, 0x50));
	assert_false(vioapic_level_vector(&io, 0x51));
	assert_false(vioapic_level_vector(&io, 0x52));
	assert_false(vioapic_level_vector(&io, 0x53));
	assert_false(vioapic_level_vector(&io, 0));
	vioapic_set_irq(&io, 3, true);
	rte_write(3, MASKED | LEVEL | 0x50, 0); /* masked by its handler: the EOI still counts */
	assert_true(vioapic_level_vector(&io, 0x50));
	vioapic_eoi(&io, 0x50);
	assert_false(vioapic_level_vector(&io, 0x50));
}

static void test_odd_accesses(void **state)
{
	(void)state;
	rte_write(2, 0x12345, 0x77000000);
	put(0, 1, 0x14); /* IOREGSEL is a byte */
	assert_int_equal(get(0, 1), 0x14);
	assert_int_equal(get(0x10, 1), 0x45);
	assert_int_equal(get(0x11, 1), 0x23);
	assert_int_equal(get(0x12, 2), 0x01);
	assert_int_equal(get(0x14, 4), 0);
	assert_int_equal(get(0x10, 8), 0x12345 & 0x1afff);
	put(0x10, 1, 0);
	put(0x11, 1, 0);
	put(0x10, 2, 0);
	put(0x10, 8, 0);
	put(0x14, 4, 0);
	assert_int_equal(rte_lo(2), 0x12345 & 0x1afff);
	put(0, 4, 0xabcdef01); /* only 8 bits */
	assert_int_equal(get(0, 4), 1);
	assert_int_equal(get(0x20, 4), 0);
	assert_int_equal(get(0xffc, 4), 0);
	put(0xffc, 4, 1);
	put(UINT64_MAX, 4, 1);
	assert_int_equal(get(UINT64_MAX, 1), 0);
	assert_int_equal(sent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_registers, setup), cmocka_unit_test_setup(test_writable_bits, setup),
		cmocka_unit_test_setup(test_message, setup), cmocka_unit_test_setup(test_edge, setup),
		cmocka_unit_test_setup(test_level, setup), cmocka_unit_test_setup(test_level_masked, setup),
		cmocka_unit_test_setup(test_edge_clears_remote_irr, setup),
		cmocka_unit_test_setup(test_eoi_register, setup), cmocka_unit_test_setup(test_level_vector, setup),
		cmocka_unit_test_setup(test_odd_accesses, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
