/* The way through UEFI's tables to SMBIOS, in a small fake memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/efi_tables.h"

#define SYSTEM_TABLE 0x1000
#define TABLES       0x2008
#define NOT_SMBIOS   "\x71\xe8\x68\x88\xf1\xe4\xd3\x11\xbc\x22\x00\x80\xc7\x3c\x88\x81" /* EFI_ACPI_20_TABLE_GUID */
#define SMBIOS       "\x31\x2d\x9d\xeb\x88\x2d\xd3\x11\x9a\x16\x00\x90\x27\x3f\xc1\x4d"
#define SMBIOS3      "\x44\x15\xfd\xf2\x94\x97\x2c\x4a\x99\x2e\xe5\xbb\xcf\x20\xe3\x94"

static uint8_t memory[0x4000];
static uint8_t *copies[16];
static unsigned ncopies;

/* Each piece is a copy of its own, so that a read beyond what was asked for is caught. */
static const void *map(void *ctx, hpa_t addr, size_t len)
{
	assert_ptr_equal(ctx, memory);
	if (addr.v > sizeof(memory) || len > sizeof(memory) - addr.v)
		return NULL;
	assert_true(ncopies < ARRAY_SIZE(copies));
	copies[ncopies] = malloc(len);
	memcpy(copies[ncopies], memory + addr.v, len);
	return copies[ncopies++];
}

static uint64_t find(uint64_t table)
{
	uint64_t found = efi_find_smbios(HPA(table), map, memory).v;

	while (ncopies)
		free(copies[--ncopies]);
	return found;
}

static void put64(size_t at, uint64_t v) { memcpy(memory + at, &v, sizeof(v)); }

static void make(uint64_t entries, uint64_t tables)
{
	memset(memory, 0, sizeof(memory));
	memcpy(memory + SYSTEM_TABLE, "IBI SYST", 8);
	put64(SYSTEM_TABLE + 104, entries); /* NumberOfTableEntries, ConfigurationTable */
	put64(SYSTEM_TABLE + 112, tables);
}

static void entry(unsigned i, const char *guid, uint64_t table)
{
	memcpy(memory + TABLES + i * 24, guid, 16);
	put64(TABLES + i * 24 + 16, table);
}

static void found(void **state)
{
	(void)state;
	make(2, TABLES);
	entry(0, NOT_SMBIOS, 0x1111);
	entry(1, SMBIOS, 0xf0010);
	assert_int_equal(find(SYSTEM_TABLE), 0xf0010);
}

static void the_64_bit_one_is_better(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 2; first++) {
		make(3, TABLES);
		entry(2 * first, SMBIOS, 0xf0010);
		entry(1, NOT_SMBIOS, 0x1111);
		entry(2 - 2 * first, SMBIOS3, 0x123456789000);
		assert_int_equal(find(SYSTEM_TABLE), 0x123456789000);
	}
}

static void none(void **state)
{
	(void)state;
	make(1, TABLES);
	entry(0, NOT_SMBIOS, 0x1111);
	entry(1, SMBIOS, 0xf0010); /* behind the last one */
	assert_int_equal(find(SYSTEM_TABLE), 0);
	make(0, TABLES);
	entry(0, SMBIOS, 0xf0010);
	assert_int_equal(find(SYSTEM_TABLE), 0);
}

static void wrong_tables(void **state)
{
	(void)state;
	make(1, TABLES);
	entry(0, SMBIOS, 0xf0010);
	assert_int_equal(find(SYSTEM_TABLE), 0xf0010);
	assert_int_equal(find(sizeof(memory) - 119), 0);
	assert_int_equal(find(UINT64_MAX), 0);
	memory[SYSTEM_TABLE] ^= 1;
	assert_int_equal(find(SYSTEM_TABLE), 0);
	make(UINT64_MAX / 24 + 2, TABLES); /* its size overflows */
	entry(0, SMBIOS, 0xf0010);
	assert_int_equal(find(SYSTEM_TABLE), 0);
	make(2, sizeof(memory) - 24);
	assert_int_equal(find(SYSTEM_TABLE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found), cmocka_unit_test(the_64_bit_one_is_better), cmocka_unit_test(none), cmocka_unit_test(wrong_tables),
	};

	return cmocka_run_group_tests_name("efi_tables", tests, NULL, NULL);
}
