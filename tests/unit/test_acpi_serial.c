/* SPCR (Microsoft, "Serial Port Console Redirection Table") and DBG2 (Microsoft, "Debug Port Table 2"). */
#include "acpi_machine.h"

#define SPCR (PHYS + 0x8000)
#define DBG2 (PHYS + 0x9000)

static void put16(uint64_t addr, uint16_t v) { put(addr, &v, 2); }

static void gas(uint64_t addr, uint8_t space, uint8_t bits, uint8_t access, uint64_t address)
{
	put_gas(addr, space, bits, address);
	put8(addr + 2, 0);
	put8(addr + 3, access);
}

/* An SPCR of revision 2 for COM2, and a DBG2 with one 16550 in memory. */
static int named(void **state)
{
	machine(state);
	put64(XSDT + 68, SPCR);
	put64(XSDT + 76, DBG2);
	seal(XSDT, 84);

	put(SPCR, "SPCR", 4);
	put8(SPCR + 8, 2);
	gas(SPCR + 40, 1, 8, 1, 0x2f8);
	put8(SPCR + 52, 3);      /* 8259 and I/O APIC */
	put8(SPCR + 53, 3);
	put32(SPCR + 54, 19);
	put8(SPCR + 58, 7);      /* 115200 baud */
	put16(SPCR + 64, 0xffff);
	put16(SPCR + 66, 0xffff);
	seal(SPCR, 80);

	put(DBG2, "DBG2", 4);
	put32(DBG2 + 36, 44);
	put32(DBG2 + 40, 1);
	put16(DBG2 + 44 + 1, 38 + 2); /* length: 22, one address, one size, the name "." */
	put8(DBG2 + 44 + 3, 1);
	put16(DBG2 + 44 + 12, 0x8000);
	put16(DBG2 + 44 + 14, 0x0000);
	put16(DBG2 + 44 + 18, 22);
	put16(DBG2 + 44 + 20, 34);
	gas(DBG2 + 44 + 22, 0, 32, 3, 0xfe030000);
	seal(DBG2, 84);
	return 0;
}

static void both(void **state)
{
	(void)state;
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_true(info.spcr.found && info.spcr.has_irq && info.spcr.has_gsi && !info.spcr.is_pci);
	assert_false(info.spcr.at.mmio);
	assert_int_equal(info.spcr.at.base, 0x2f8);
	assert_int_equal(info.spcr.at.stride, 1);
	assert_int_equal(info.spcr.at.divisor, 0); /* the clock is not known */
	assert_int_equal(info.spcr.irq, 3);
	assert_int_equal(info.spcr.gsi, 19);
	assert_true(info.dbg2.found && info.dbg2.at.mmio && info.dbg2.at.trusted);
	assert_int_equal(info.dbg2.at.base, 0xfe030000);
	assert_int_equal(info.dbg2.at.stride, 4);
	assert_int_equal(info.dbg2.at.width, 4);
	assert_int_equal(info.dbg2.at.divisor, 0);
}

static void neither(void **state)
{
	machine(state);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.spcr.found || info.dbg2.found);
	assert_null(why);
}

static void registers(void **state)
{
	static const struct { uint8_t bits, access, stride, width; } cases[] = {
		{ 8, 1, 1, 1 }, { 32, 3, 4, 4 }, { 32, 1, 4, 1 }, { 8, 3, 4, 4 }, { 16, 2, 2, 2 }, { 32, 0, 4, 4 }, { 64, 0, 8, 4 },
		{ 0, 0, 1, 1 }, { 8, 4, 1, 1 }, { 255, 255, 1, 1 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		gas(SPCR + 40, 0, cases[i].bits, cases[i].access, 0xfedc9000);
		seal(SPCR, 80);
		assert_int_equal(parse(), TF_OK);
		assert_true(info.spcr.found && info.spcr.at.mmio);
		assert_int_equal(info.spcr.at.stride, cases[i].stride);
		assert_int_equal(info.spcr.at.width, cases[i].width);
	}
	gas(SPCR + 40, 1, 32, 3, 0x2f8); /* a port's registers are bytes, one behind the other */
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.spcr.at.stride, 1);
	assert_int_equal(info.spcr.at.width, 1);
}

static void speed(void **state)
{
	static const struct { uint8_t code; uint32_t clock, precise, divisor; } cases[] = {
		{ 7, 1843200, 0, 1 }, { 3, 1843200, 0, 12 }, { 4, 1843200, 0, 6 }, { 6, 48000000, 0, 52 }, { 7, 48000000, 0, 26 },
		{ 7, 0, 0, 0 }, { 0, 1843200, 0, 0 }, { 5, 1843200, 0, 0 }, { 255, 1843200, 0, 0 }, { 0, 64000000, 4000000, 1 },
		{ 7, 100, 0, 0 }, { 0, 0xffffffff, 1, 0 }, { 0, 1843200, 0xffffffff, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		put8(SPCR + 8, 4);
		put8(SPCR + 58, cases[i].code);
		put32(SPCR + 76, cases[i].clock);
		put32(SPCR + 80, cases[i].precise);
		seal(SPCR, 88);
		assert_int_equal(parse(), TF_OK);
		assert_true(info.spcr.found);
		assert_int_equal(info.spcr.at.divisor, cases[i].divisor);
	}
}

static void on_a_card(void **state)
{
	(void)state;
	put16(SPCR + 64, 0x1c3d);
	put16(SPCR + 66, 0x8086);
	put8(SPCR + 68, 2);
	put8(SPCR + 69, 0x16);
	put8(SPCR + 70, 3);
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.spcr.is_pci);
	assert_int_equal(info.spcr.bus, 2);
	assert_int_equal(info.spcr.slot, 0x16);
	assert_int_equal(info.spcr.function, 3);
	put16(SPCR + 64, 0); /* zeros where 0xffff is meant */
	put16(SPCR + 66, 0);
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.spcr.found);
	assert_false(info.spcr.is_pci);
	put16(SPCR + 66, 0x8086);
	put8(SPCR + 75, 1); /* another segment, which is out of reach */
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.spcr.is_pci);
}

/* To find out whether a UART is there it is written to: only where a table that is whole says so, and not on the board. */
static void not_to_be_touched(void **state)
{
	(void)state;
	memory[SPCR - PHYS + 9]++;
	assert_int_equal(parse(), TF_OK);
	assert_false(info.spcr.found);
	assert_true(info.dbg2.found);
	assert_string_equal(why, "SPCR: wrong checksum");
	memory[SPCR - PHYS + 9]--;
	memory[DBG2 - PHYS + 9]++;
	assert_int_equal(parse(), TF_OK);
	assert_true(info.spcr.found);
	assert_false(info.dbg2.found);
	assert_string_equal(why, "DBG2: wrong checksum");
	memory[DBG2 - PHYS + 9]--;
	gas(SPCR + 40, 1, 8, 1, 0xf8);
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.spcr.found);
	gas(SPCR + 40, 1, 8, 1, 0x100);
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.spcr.found);
}

static void no_16550_is_no_error(void **state)
{
	(void)state;
	gas(SPCR + 40, 1, 8, 1, 0); /* redirection is off */
	seal(SPCR, 80);
	put16(DBG2 + 44 + 12, 0x8003); /* a network card */
	seal(DBG2, 84);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_false(info.spcr.found || info.dbg2.found);
	named(state);
	put8(SPCR + 36, 3); /* an ARM PL011 */
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_false(info.spcr.found);
	put8(SPCR + 36, 0x12); /* a 16550 as its address says */
	seal(SPCR, 80);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.spcr.found);
}

static void bad_addresses(void **state)
{
	static const struct { uint8_t space; uint64_t address; } cases[] = {
		{ 1, 0xfff9 }, { 1, 0x100002f8 }, { 0, BIT(52) }, { 0, UINT64_MAX }, { 2, 0x2f8 }, { 0x7f, 0x2f8 }, { 0, 0xfe030002 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		gas(SPCR + 40, cases[i].space, 32, 3, cases[i].address);
		seal(SPCR, 80);
		gas(DBG2 + 44 + 22, cases[i].space, 32, 3, cases[i].address);
		seal(DBG2, 84);
		assert_int_equal(parse(), TF_OK);
		assert_false(info.spcr.found || info.dbg2.found);
	}
}

static void broken_tables(void **state)
{
	(void)state;
	seal(SPCR, 60);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(why);
	assert_false(info.spcr.found);
	assert_true(info.dbg2.found);

	named(state);
	seal(DBG2, 40);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(why);
	assert_false(info.dbg2.found);

	static const struct { uint32_t at; uint16_t value; } device[] = {
		{ 1, 21 }, { 1, 41 }, { 1, 0xffff }, { 18, 29 }, { 18, 40 }, { 18, 0xffff },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(device); i++) {
		named(state);
		put16(DBG2 + 44 + device[i].at, device[i].value);
		seal(DBG2, 84);
		assert_int_equal(parse(), TF_OK);
		assert_non_null(why);
		assert_false(info.dbg2.found);
	}
	named(state);
	put32(DBG2 + 36, 0xffffffff);
	put32(DBG2 + 40, 0xffffffff);
	seal(DBG2, 84);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(why);
	assert_false(info.dbg2.found);
}

static void second_device(void **state)
{
	uint8_t device[40];

	(void)state;
	memcpy(device, memory + (DBG2 + 44 - PHYS), sizeof(device));
	put(DBG2 + 84, device, sizeof(device));
	put16(DBG2 + 44 + 12, 0x8002); /* first a USB port */
	put32(DBG2 + 40, 2);
	seal(DBG2, 124);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_true(info.dbg2.found);
	put32(DBG2 + 40, 3); /* the third is not there, and was not needed */
	seal(DBG2, 124);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.dbg2.found);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup(f, named)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both), TEST(neither), TEST(registers), TEST(speed), TEST(on_a_card), TEST(not_to_be_touched), TEST(no_16550_is_no_error),
		TEST(bad_addresses), TEST(broken_tables), TEST(second_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
