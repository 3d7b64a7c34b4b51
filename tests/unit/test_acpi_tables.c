/*
 * The guests' ACPI tables, read back byte by byte as ACPI 6.5 lays them out: signatures, lengths, checksums, pointers,
 * and the values that a system depends on. Where iasl is installed it must accept every table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/acpi_tables.h"

#define BASE GUEST_ACPI_BASE

static uint8_t buf[GUEST_ACPI_SIZE];

static uint64_t field(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, at, bytes);
	return value;
}

static uint8_t sum(const uint8_t *at, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *at++;
	return s;
}

static const uint8_t *at_gpa(uint64_t gpa, const char *signature)
{
	assert_in_range(gpa, BASE, BASE + sizeof(buf) - 36);
	assert_memory_equal(buf + (gpa - BASE), signature, 4);
	return buf + (gpa - BASE);
}

static const uint8_t *table_at(uint64_t gpa, const char *signature)
{
	const uint8_t *t = at_gpa(gpa, signature);
	uint64_t length = field(t + 4, 4);

	assert_in_range(length, 36, sizeof(buf) - (gpa - BASE));
	assert_int_equal(sum(t, length), 0);
	assert_memory_equal(t + 10, "TREFOI", 6);
	return t;
}

static const uint8_t *xsdt_entry(unsigned i, const char *signature)
{
	return table_at(field(table_at(field(buf + 24, 8), "XSDT") + 36 + 8 * i, 8), signature);
}

static const uint8_t *fadt(void) { return xsdt_entry(0, "FACP"); }
static const uint8_t *madt(void) { return xsdt_entry(1, "APIC"); }

static int build_two(void **state)
{
	(void)state;
	memset(buf, 0xaa, sizeof(buf));
	return guest_acpi_build(buf, sizeof(buf), BASE, 2, false) != TF_OK;
}

static void roots(void **state)
{
	const uint8_t *rsdt, *xsdt;

	(void)state;
	assert_memory_equal(buf, "RSD PTR ", 8);
	assert_int_equal(sum(buf, 20), 0);
	assert_int_equal(sum(buf, 36), 0);
	assert_int_equal(buf[15], 2);
	assert_int_equal(field(buf + 20, 4), 36);
	rsdt = table_at(field(buf + 16, 4), "RSDT");
	xsdt = table_at(field(buf + 24, 8), "XSDT");
	assert_int_equal(field(rsdt + 4, 4), 36 + 2 * 4);
	assert_int_equal(field(xsdt + 4, 4), 36 + 2 * 8);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(field(rsdt + 36 + 4 * i, 4), field(xsdt + 36 + 8 * i, 8));
}

static void expect_gas(const uint8_t *gas, unsigned bits, unsigned access, unsigned port)
{
	assert_int_equal(gas[0], 1); /* system I/O */
	assert_int_equal(gas[1], bits);
	assert_int_equal(gas[2], 0);
	assert_int_equal(gas[3], access);
	assert_int_equal(field(gas + 4, 8), port);
}

static void fixed_hardware(void **state)
{
	const uint8_t *f = fadt(), *facs;

	(void)state;
	assert_int_equal(field(f + 4, 4), 276);
	assert_int_equal(f[8], 6);
	assert_int_equal(field(f + 46, 2), 9);      /* SCI_INT */
	assert_int_equal(field(f + 48, 4), 0);      /* SMI_CMD: ACPI mode is always on */
	assert_int_equal(field(f + 56, 4), 0x600);
	assert_int_equal(field(f + 64, 4), 0x604);
	assert_int_equal(field(f + 76, 4), 0x608);
	assert_int_equal(f[88], 4);
	assert_int_equal(f[89], 2);
	assert_int_equal(f[91], 4);
	assert_int_equal(f[108], 0x32);             /* CENTURY */
	assert_int_equal(field(f + 109, 2) & 7, 5); /* legacy devices, no 8042, no VGA */
	assert_int_equal(field(f + 112, 4), 0x565); /* WBINVD, C1, no fixed sleep button, FIX_RTC, TMR_VAL_EXT, RESET_REG_SUP */
	expect_gas(f + 116, 8, 1, 0xcf9);
	assert_int_equal(f[128], 6);
	expect_gas(f + 148, 32, 2, 0x600);
	expect_gas(f + 172, 16, 2, 0x604);
	expect_gas(f + 208, 32, 3, 0x608);
	facs = at_gpa(field(f + 36, 4), "FACS");
	assert_int_equal((facs - buf) % 64, 0);
	assert_int_equal(field(facs + 4, 4), 64);
	assert_int_equal(field(f + 132, 8), 0);
	assert_int_equal(field(f + 40, 4), field(f + 140, 8));
}

static void interrupts(void **state)
{
	static const uint8_t expected[] = {
		0, 8, 0, 0, 1, 0, 0, 0,
		0, 8, 1, 1, 1, 0, 0, 0,
		1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0,
		2, 10, 0, 0, 2, 0, 0, 0, 0, 0,      /* IRQ 0 is input 2 */
		2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0,   /* the SCI: active high, level */
		4, 6, 0xff, 0, 0, 1,                /* NMI on every LINT1 */
	};
	const uint8_t *m = madt();

	(void)state;
	assert_int_equal(field(m + 36, 4), 0xfee00000);
	assert_int_equal(field(m + 40, 4), 1);
	assert_int_equal(field(m + 4, 4), 44 + sizeof(expected));
	assert_memory_equal(m + 44, expected, sizeof(expected));
}

static void sleep_state(void **state)
{
	/* NameOp, "_S5_", PackageOp, length, 4 elements, SLP_TYPa 5, SLP_TYPb 5 */
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a, 0x05 };
	const uint8_t *dsdt = table_at(field(fadt() + 140, 8), "DSDT");
	size_t length = field(dsdt + 4, 4);
	bool found = false;

	(void)state;
	for (size_t i = 36; i + sizeof(s5) <= length; i++)
		found |= !memcmp(dsdt + i, s5, sizeof(s5));
	assert_true(found);
}

static void any_number_of_cpus(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= GUEST_ACPI_MAX_VCPUS; n++) {
		const uint8_t *m, *end;
		unsigned cpus = 0, ioapics = 0;

		assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE, n, n % 2), TF_OK);
		m = madt();
		end = m + field(m + 4, 4);
		for (m += 44; m < end; m += m[1]) {
			assert_in_range(m[1], 6, 12);
			if (m[0] == 0) {
				assert_int_equal(m[2], cpus);       /* ACPI's number */
				assert_int_equal(field(m + 4, 4), 1); /* enabled */
				assert_int_equal(m[3], cpus++);
			}
			ioapics += m[0] == 1;
			if (m[0] == 1 && n < 16)
				assert_true(m[2] >= n && m[2] < 16);
		}
		assert_ptr_equal(m, end);
		assert_int_equal(cpus, n);
		assert_int_equal(ioapics, 1);
		(void)fadt();
	}
}

/* Action, instruction, register, value, mask: an OS only reads or writes what an entry names. */
static void watchdog(void **state)
{
	static const struct { uint8_t action, instruction; uint16_t port; uint32_t value, mask; } entries[] = {
		{ 0x01, 2, 0x624, 1, 0xffffffff },          /* reset */
		{ 0x04, 1, 0x624, 0, 0xffffffff },          /* query current countdown */
		{ 0x05, 1, 0x620, 0, 0xffffffff },          /* query countdown period */
		{ 0x06, 3, 0x620, 0, 0xffffffff },          /* set it */
		{ 0x08, 0, 0x628, 1, 1 },                   /* query running state */
		{ 0x09, 0x82, 0x628, 1, 1 },                /* set it, other bits preserved */
		{ 0x0a, 0, 0x628, 0, 1 },                   /* query stopped state */
		{ 0x0b, 0x82, 0x628, 0, 1 },                /* set it */
		{ 0x10, 0, 0x628, 2, 2 },                   /* query reboot */
		{ 0x11, 0x82, 0x628, 2, 2 },                /* set it */
		{ 0x20, 0, 0x62c, 1, 1 },                   /* query watchdog status */
		{ 0x21, 2, 0x62c, 1, 1 },                   /* clear it */
	};
	const uint8_t *w, *e;

	(void)state;
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE, 1, true), TF_OK);
	assert_int_equal(field(table_at(field(buf + 16, 4), "RSDT") + 4, 4), 36 + 3 * 4);
	assert_int_equal(field(table_at(field(buf + 16, 4), "RSDT") + 36 + 8, 4), field(table_at(field(buf + 24, 8), "XSDT") + 36 + 16, 8));
	w = xsdt_entry(2, "WDAT");
	assert_int_equal(field(w + 4, 4), 68 + sizeof(entries) / sizeof(entries[0]) * 24);
	assert_int_equal(field(w + 36, 4), 32);
	assert_int_equal(field(w + 40, 2), 0xff); /* no PCI device */
	assert_int_equal(w[42] & w[43] & w[44], 0xff);
	assert_int_equal(field(w + 48, 4), 100);  /* ms */
	assert_int_equal(field(w + 52, 4), 0xffff);
	assert_int_equal(field(w + 56, 4), 1);
	assert_int_equal(w[60], 1);               /* enabled; counts in sleep states, too */
	assert_int_equal(field(w + 64, 4), sizeof(entries) / sizeof(entries[0]));
	e = w + 68;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++, e += 24) {
		assert_int_equal(e[0], entries[i].action);
		assert_int_equal(e[1], entries[i].instruction);
		expect_gas(e + 4, 32, 3, entries[i].port);
		assert_int_equal(field(e + 16, 4), entries[i].value);
		assert_int_equal(field(e + 20, 4), entries[i].mask);
	}
}

static void refuses(void **state)
{
	static uint8_t small[4096];
	size_t fits = 0;

	(void)state;
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE, 0, false), TF_EINVAL);
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE, GUEST_ACPI_MAX_VCPUS + 1, false), TF_EINVAL);
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE + 16, 1, false), TF_EINVAL);
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), 0xffffffc0, 1, false), TF_EINVAL);
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), ~0ull << 6, 1, false), TF_EINVAL);
	for (size_t size = 0; size < sizeof(small); size++) {
		enum tf_err e;

		memset(small, 0x55, sizeof(small));
		e = guest_acpi_build(small, size, BASE, 1, true);
		if (e == TF_OK && !fits)
			fits = size;
		assert_int_equal(e, fits ? TF_OK : TF_ENOMEM);
		for (size_t i = size; i < sizeof(small); i++)
			assert_int_equal(small[i], 0x55);
	}
	assert_in_range(fits, 1, sizeof(small));
}

static void write_table(const char *dir, const char *name, const uint8_t *table)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(table, 1, field(table + 4, 4), f), field(table + 4, 4));
	fclose(f);
}

/* "iasl -d" disassembles each; what it finds wrong is on lines with asterisks or the word error. */
static void iasl_accepts_tables_for(uint32_t vcpus)
{
	char dir[] = "/tmp/trefoil-acpi-XXXXXX", command[256];
	int bad;

	if (system("command -v iasl >/dev/null"))
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(guest_acpi_build(buf, sizeof(buf), BASE, vcpus, true), TF_OK);
	write_table(dir, "wdat", xsdt_entry(2, "WDAT"));
	write_table(dir, "facp", fadt());
	write_table(dir, "apic", madt());
	write_table(dir, "facs", at_gpa(field(fadt() + 36, 4), "FACS"));
	write_table(dir, "dsdt", table_at(field(fadt() + 140, 8), "DSDT"));
	write_table(dir, "xsdt", table_at(field(buf + 24, 8), "XSDT"));
	write_table(dir, "rsdt", table_at(field(buf + 16, 4), "RSDT"));
	snprintf(command, sizeof(command),
		 "cd %s && for t in *.dat; do iasl -vs -d $t >>log 2>&1 || echo \"error: $t\" >>log; done; "
		 "test $(ls *.dsl | wc -l) = 7 && ! grep -iE 'error|warning|invalid|incorrect' log *.dsl", dir);
	bad = system(command);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(bad, 0);
}

static void iasl_accepts(void **state)
{
	(void)state;
	iasl_accepts_tables_for(2);
	iasl_accepts_tables_for(64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(roots, build_two),
		cmocka_unit_test_setup(fixed_hardware, build_two),
		cmocka_unit_test_setup(interrupts, build_two),
		cmocka_unit_test_setup(sleep_state, build_two),
		cmocka_unit_test_setup(any_number_of_cpus, build_two),
		cmocka_unit_test_setup(watchdog, build_two),
		cmocka_unit_test_setup(refuses, build_two),
		cmocka_unit_test_setup(iasl_accepts, build_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
