/*
 * A machine's ACPI tables, built at their specified offsets (ACPI 6.5, 5.2) in a small fake physical memory. For
 * test_acpi.c and test_acpi_madt.c, which change a detail and parse.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/acpi.h"

#define MEMORY  (64u << 10)
#define PHYS    0x7fe0000ull /* where the fake memory starts */
#define RSDT    (PHYS + 0x1000)
#define XSDT    (PHYS + 0x1204) /* not aligned, as in real machines */
#define MADT    (PHYS + 0x2000)
#define FADT    (PHYS + 0x4000)
#define DSDT    (PHYS + 0x5000)
#define HPET    (PHYS + 0x6000)
#define OTHER   (PHYS + 0x7000)

static uint8_t memory[MEMORY];
static uint8_t rsdp[36];
static struct acpi_info info;
static const char *why;
static uint32_t madt_end;

/* Hands out copies of exactly the size asked for, so that a read beyond is caught; freed after the parse. */
static void *copies[256];
static unsigned ncopies;

static const void *map(void *ctx, hpa_t addr, size_t len)
{
	void *p;

	assert_ptr_equal(ctx, memory);
	if (addr.v < PHYS || len > MEMORY || addr.v - PHYS > MEMORY - len)
		return NULL;
	assert_true(ncopies < ARRAY_SIZE(copies));
	p = malloc(len);
	assert_non_null(p);
	copies[ncopies++] = memcpy(p, memory + (addr.v - PHYS), len);
	return p;
}

static enum tf_err parse(void)
{
	enum tf_err e;

	memset(&info, 0xee, sizeof(info));
	why = "not set";
	e = acpi_parse(rsdp, map, memory, &info, &why);
	while (ncopies)
		free(copies[--ncopies]);
	return e;
}

static void put(uint64_t addr, const void *p, size_t n) { memcpy(memory + (addr - PHYS), p, n); }
static inline void put8(uint64_t addr, uint8_t v) { put(addr, &v, 1); }
static inline void put32(uint64_t addr, uint32_t v) { put(addr, &v, 4); }
static inline void put64(uint64_t addr, uint64_t v) { put(addr, &v, 8); }

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

/* Sets a table's length and makes its checksum right. */
static void seal(uint64_t addr, uint32_t len)
{
	uint8_t *p = memory + (addr - PHYS);

	put32(addr + 4, len);
	p[9] = 0;
	p[9] = (uint8_t)-sum(p, len);
}

static inline void seal_rsdp(void)
{
	rsdp[8] = rsdp[32] = 0;
	rsdp[8] = (uint8_t)-sum(rsdp, 20);
	rsdp[32] = (uint8_t)-sum(rsdp, 36);
}

static inline void put_gas(uint64_t addr, uint8_t space, uint8_t width, uint64_t address)
{
	put8(addr, space);
	put8(addr + 1, width);
	put64(addr + 4, address);
}

static void madt_add(const uint8_t *entry, uint32_t n)
{
	put(MADT + madt_end, entry, n);
	madt_end += n;
	seal(MADT, madt_end);
}
#define MADT_ADD(...) madt_add((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* A machine as QEMU and Bochs describe theirs: everything in its place, no extended FADT fields. */
static int machine(void **state)
{
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x01, 0x00, 0x00 };
	uint64_t xsdt = XSDT;
	uint32_t v;

	(void)state;
	memset(memory, 0, sizeof(memory));
	memset(rsdp, 0, sizeof(rsdp));
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[15] = 2;
	v = (uint32_t)RSDT;
	memcpy(rsdp + 16, &v, 4);
	v = 36;
	memcpy(rsdp + 20, &v, 4);
	memcpy(rsdp + 24, &xsdt, 8);
	seal_rsdp();

	put(RSDT, "RSDT", 4);
	put32(RSDT + 36, (uint32_t)FADT);
	put32(RSDT + 40, (uint32_t)MADT);
	put32(RSDT + 44, (uint32_t)HPET);
	seal(RSDT, 48);
	put(XSDT, "XSDT", 4);
	put64(XSDT + 36, OTHER);
	put64(XSDT + 44, FADT);
	put64(XSDT + 52, MADT);
	put64(XSDT + 60, HPET);
	seal(XSDT, 68);
	put(OTHER, "WAET", 4); /* not ours: its checksum is of no interest */

	put(MADT, "APIC", 4);
	put32(MADT + 36, 0xfee00000);
	put32(MADT + 40, 1);
	madt_end = 44;
	MADT_ADD(0, 8, 0, 0, 1, 0, 0, 0);
	MADT_ADD(0, 8, 1, 4, 1, 0, 0, 0);
	MADT_ADD(1, 12, 2, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0);
	MADT_ADD(2, 10, 0, 0, 2, 0, 0, 0, 0, 0);    /* the timer on GSI 2 */
	MADT_ADD(2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0); /* the SCI: active low, level */

	put(FADT, "FACP", 4);
	put32(FADT + 40, (uint32_t)DSDT);
	put32(FADT + 48, 0xb2);
	put8(FADT + 52, 0xf1);
	put32(FADT + 56, 0x600);
	put32(FADT + 80, 0x620);
	put8(FADT + 88, 4);
	put8(FADT + 92, 4);
	put32(FADT + 64, 0x604);
	put32(FADT + 76, 0x608);
	put8(FADT + 89, 2);
	put8(FADT + 91, 4);
	put32(FADT + 112, BIT(8) | BIT(10));
	put_gas(FADT + 116, 1, 8, 0xcf9);
	put8(FADT + 128, 0x0f);
	seal(FADT, 244);

	put(DSDT, "DSDT", 4);
	put(DSDT + 36, "some AML _S5_ that is not it", 28);
	put(DSDT + 64, s5, sizeof(s5));
	seal(DSDT, 128);

	put(HPET, "HPET", 4);
	put_gas(HPET + 40, 0, 64, 0xfed00000);
	seal(HPET, 56);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup(f, machine)
