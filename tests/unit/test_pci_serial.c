/* Serial cards by their configuration header (PCI Local Bus Specification 3.0, "Configuration Space Organization"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/pci_serial.h"

static uint32_t header[PCI_HEADER_WORDS];
static struct uart_place at;

static void card(uint16_t vendor, uint16_t device, uint32_t class, uint32_t bar0)
{
	memset(header, 0, sizeof(header));
	memset(&at, 0xee, sizeof(at));
	header[PCI_ID] = vendor | (uint32_t)device << 16;
	header[PCI_CLASS] = class << 8;
	header[PCI_BAR] = bar0;
}

static void expect(bool mmio, uint64_t base, uint32_t divisor)
{
	assert_true(pci_serial_place(header, &at));
	assert_int_equal(at.mmio, mmio);
	assert_int_equal(at.base, base);
	assert_int_equal(at.divisor, divisor);
	assert_int_equal(at.stride, 1);
	assert_int_equal(at.width, 1);
	assert_true(at.trusted);
}

static void plain_cards(void **state)
{
	(void)state;
	card(0x1b36, 0x0002, 0x070002, 0xc001); /* QEMU */
	expect(false, 0xc000, 1);
	card(0x8086, 0x1c3d, 0x070002, 0xf0e1); /* Serial-over-LAN: I/O and memory */
	header[PCI_BAR + 1] = 0xf7d00000;
	expect(false, 0xf0e0, 1);
	card(0x8086, 0x1c3d, 0x070002, 0xf7d00000); /* the other way round */
	header[PCI_BAR + 1] = 0xf0e1;
	expect(false, 0xf0e0, 1);
	card(0x1234, 0x5678, 0x070002, 0xf7d00000);
	expect(true, 0xf7d00000, 1);
	card(0x1234, 0x5678, 0x070002, 0x00000004); /* 64-bit, above 4 GiB */
	header[PCI_BAR + 1] = 0x00000021; /* looks like an I/O BAR, and is the upper half */
	expect(true, 0x2100000000, 1);
	card(0x1234, 0x5678, 0x070006, 0xc101);
	expect(false, 0xc100, 1);
	card(0x1234, 0x5678, 0x070200, 0xc101); /* multiport */
	expect(false, 0xc100, 1);
}

static void known_cards(void **state)
{
	(void)state;
	card(0x13a8, 0x0352, 0x070002, 0xf7c00000);
	expect(true, 0xf7c00000, 68); /* 125 MHz / 16 / 68 = 114.9 kBd */
	card(0x1415, 0xc158, 0x070002, 0xf7c00000);
	expect(true, 0xf7c01000, 34); /* 62.5 MHz / 16 / 34 */
	card(0x1c00, 0x3253, 0x070005, 0xd001);
	expect(false, 0xd0c0, 1);
	card(0x1393, 0x1024, 0x070200, 0xd001);
	header[PCI_BAR + 2] = 0xd801;
	expect(false, 0xd800, 8);
	/* The rest of each family; what is none of them has the PC's clock. */
	static const struct { uint16_t vendor, device; uint32_t offset, divisor; } family[] = {
		{ 0x12d8, 0x7951, 0, 8 }, { 0x12d8, 0x7952, 0, 8 }, { 0x12d8, 0x7954, 0, 8 }, { 0x12d8, 0x7958, 0, 8 },
		{ 0x12d8, 0x7953, 0, 1 }, { 0x13a8, 0x0152, 0, 8 }, { 0x13a8, 0x0154, 0, 8 }, { 0x13a8, 0x0158, 0, 8 },
		{ 0x13a8, 0x0354, 0, 68 }, { 0x13a8, 0x0358, 0, 68 }, { 0x13a8, 0x0150, 0, 1 },
		{ 0x1415, 0xc11b, 0x1000, 34 }, { 0x1415, 0xc138, 0x1000, 34 }, { 0x1415, 0xc208, 0x1000, 34 },
		{ 0x1415, 0xc308, 0x1000, 34 }, { 0x1415, 0xc309, 0, 1 }, { 0x1c00, 0x3470, 0xc0, 1 }, { 0x1fd4, 0x1999, 0, 8 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(family); i++) {
		card(family[i].vendor, family[i].device, 0x070002, 0xf7c00000);
		expect(true, 0xf7c00000 + family[i].offset, family[i].divisor);
	}
}

static void what_is_none(void **state)
{
	(void)state;
	card(0x8086, 0x100e, 0x020000, 0xc001); /* a network card */
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070180, 0xc001); /* a parallel port */
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070080, 0xc001); /* an interface that is not known */
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070002, 0x0001); /* no address */
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070002, 0x0000);
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070002, 0x10001); /* an I/O address that a PC has not */
	assert_false(pci_serial_place(header, &at));
	card(0x1b36, 0x0002, 0x070002, 0xc001);
	header[PCI_HEADER_TYPE] = 1 << 16; /* a bridge */
	assert_false(pci_serial_place(header, &at));
	header[PCI_HEADER_TYPE] = 0x80 << 16; /* several functions */
	assert_true(pci_serial_place(header, &at));
	card(0x1c00, 0x3253, 0x070005, 0xff81); /* its offset leads out of the I/O space */
	assert_false(pci_serial_place(header, &at));
	memset(header, 0xff, sizeof(header));
	assert_false(pci_serial_place(header, &at));
}

/* Whatever the header says: an I/O port is one, and nothing outside the header is looked at. */
static void any_header(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		for (unsigned w = 0; w < PCI_HEADER_WORDS; w++)
			header[w] = x = x * 1664525 + 1013904223;
		header[PCI_CLASS] = (x & 1 ? 0x070002u : 0x070200u) << 8;
		header[PCI_HEADER_TYPE] = 0;
		if (x & 2)
			header[PCI_ID] = x & 4 ? 0x10241393 : 0xc1581415;
		if (pci_serial_place(header, &at))
			assert_true(at.base && (at.mmio || at.base <= 0xfff8));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_cards), cmocka_unit_test(known_cards), cmocka_unit_test(what_is_none),
		cmocka_unit_test(any_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
