/* SMBIOS entry points and structures at their specified offsets (DSP0134 3.7, 5.2 and 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/smbios.h"

static uint8_t area[4096];

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static void seal(uint8_t *p, size_t checksum, size_t n)
{
	p[checksum] = 0;
	p[checksum] = (uint8_t)-sum(p, n);
}

static void put_entry32(size_t at, uint32_t table, uint16_t len, uint8_t length)
{
	uint8_t *p = area + at;

	memset(p, 0, 32);
	memcpy(p, "_SM_", 4);
	p[5] = length;
	p[6] = 2;
	p[7] = 8;
	memcpy(p + 16, "_DMI_", 5);
	memcpy(p + 22, &len, 2);
	memcpy(p + 24, &table, 4);
	p[30] = 0x28;
	seal(p + 16, 5, 15);
	seal(p, 4, 31);
}

static void put_entry64(size_t at, uint64_t table, uint32_t len)
{
	uint8_t *p = area + at;

	memset(p, 0, 32);
	memcpy(p, "_SM3_", 5);
	p[6] = 24;
	p[7] = 3;
	p[8] = 7;
	p[10] = 1;
	memcpy(p + 12, &len, 4);
	memcpy(p + 16, &table, 8);
	seal(p, 5, 24);
}

static int clean(void **state)
{
	(void)state;
	memset(area, 0, sizeof(area));
	return 0;
}

/* In room of exactly their size, so that a read beyond is caught. */
static enum tf_err find(size_t len, struct smbios_entry *e)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err err;

	assert_non_null(copy);
	memcpy(copy, area, len);
	err = smbios_find(copy, len, e);
	free(copy);
	return err;
}

static enum tf_err read(size_t at, size_t len, struct smbios_entry *e)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err err;

	assert_non_null(copy);
	memcpy(copy, area + at, len);
	err = smbios_read_entry(copy, len, e);
	free(copy);
	return err;
}

static void parse(const void *table, size_t len, struct smbios_info *out)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, table, len);
	memset(out, 0xee, sizeof(*out));
	smbios_parse(copy, len, out);
	free(copy);
}

static void both_kinds_of_entry(void **state)
{
	struct smbios_entry e;

	(void)state;
	put_entry32(0, 0xe0010, 0x345, 31);
	assert_int_equal(read(0, 31, &e), TF_OK);
	assert_int_equal(e.table.v, 0xe0010);
	assert_int_equal(e.len, 0x345);
	assert_int_equal(e.major, 2);
	assert_int_equal(e.minor, 8);
	put_entry64(64, 0x123456789abcull, 0x2000);
	assert_int_equal(read(64, 24, &e), TF_OK);
	assert_int_equal(e.table.v, 0x123456789abc);
	assert_int_equal(e.len, 0x2000);
	assert_int_equal(e.major, 3);
	assert_int_equal(e.minor, 7);
	put_entry64(64, 0x1000, 0xffffffff); /* "maximum size", which some fill with nonsense */
	assert_int_equal(read(64, 32, &e), TF_OK);
	assert_int_equal(e.len, SMBIOS_TABLE_MAX);
}

static void the_length_that_version_2_1_got_wrong(void **state)
{
	struct smbios_entry e;

	(void)state;
	put_entry32(0, 0xe0010, 0x345, 30);
	assert_int_equal(read(0, 32, &e), TF_OK);
}

static void a_wrong_entry_is_refused(void **state)
{
	struct smbios_entry e;

	(void)state;
	assert_int_equal(read(0, 32, &e), TF_ENOENT);
	put_entry32(0, 0xe0010, 0x345, 31);
	for (size_t len = 0; len < 31; len++)
		assert_int_not_equal(read(0, len, &e), TF_OK);
	area[8]++;
	assert_int_equal(read(0, 32, &e), TF_ECSUM);
	put_entry32(0, 0xe0010, 0x345, 29);
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
	put_entry32(0, 0xe0010, 0x345, 200);
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
	put_entry32(0, 0xe0010, 0, 31);
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
	put_entry32(0, 0, 10, 31);
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
	put_entry32(0, 0xe0010, 0x345, 31);
	area[16] = '-';
	seal(area, 4, 31);
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
	put_entry64(0, 0x1000, 10);
	for (size_t len = 0; len < 24; len++)
		assert_int_not_equal(read(0, len, &e), TF_OK);
	area[20]++;
	assert_int_equal(read(0, 32, &e), TF_ECSUM);
	put_entry64(0, 0x1000, 10);
	area[6] = 23;
	assert_int_equal(read(0, 32, &e), TF_EINVAL);
}

static void the_search_prefers_64_bits(void **state)
{
	struct smbios_entry e;

	(void)state;
	assert_int_equal(find(sizeof(area), &e), TF_ENOENT);
	assert_int_equal(find(0, &e), TF_ENOENT);
	put_entry32(0x108, 1, 1, 31); /* not on a paragraph */
	assert_int_equal(find(sizeof(area), &e), TF_ENOENT);
	put_entry32(0x200, 0x1111, 1, 31);
	put_entry32(0x400, 0x2222, 1, 31);
	assert_int_equal(find(sizeof(area), &e), TF_OK);
	assert_int_equal(e.table.v, 0x1111);
	put_entry64(0x800, 0x3333, 1);
	assert_int_equal(find(sizeof(area), &e), TF_OK);
	assert_int_equal(e.table.v, 0x3333);
	area[0x800 + 5]++;
	assert_int_equal(find(sizeof(area), &e), TF_OK);
	assert_int_equal(e.table.v, 0x1111);
	assert_int_equal(find(0x200 + 30, &e), TF_ENOENT); /* cut off */
}

#define HEAD(type, length) type, length, 0, 0
static const char table[] = {
	HEAD(0, 24), 1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	'S', 'e', 'a', 0, '1', '.', '1', '6', 0, '0', '4', '/', '0', '1', '/', '2', '0', '1', '4', 0, 0,
	HEAD(3, 4), 0, 0,
	HEAD(1, 8), 2, 1, 0, 0, 'P', 'C', 0, ' ', 'A', '"', '\n', '\x80', '\\', ' ', ' ', 0, 0,
	HEAD(2, 6), 0, 1, 'B', '1', 0, 0,
	HEAD(2, 6), 0, 1, 'B', '2', 0, 0,
	HEAD(127, 4), 0, 0,
	HEAD(1, 6), 1, 1, 'X', 0, 0,
};

static void what_the_firmware_says(void **state)
{
	struct smbios_info i;

	(void)state;
	parse(table, sizeof(table), &i);
	assert_string_equal(i.bios, "1.16");
	assert_string_equal(i.date, "04/01/2014");
	assert_string_equal(i.product, "PC");
	assert_string_equal(i.vendor, "A????"); /* trimmed, and nothing that could end a quoted value */
	assert_string_equal(i.board, "B1");
}

static void what_it_does_not_say_is_empty(void **state)
{
	static const char old[] = { HEAD(0, 5), 1, 'V', 0, 0, HEAD(1, 8), 9, 1, 0, 0, 'P', 0, 0 };
	struct smbios_info i;
	char longest[8 + 100 + 2];

	(void)state;
	parse(old, 0, &i);
	assert_string_equal(i.vendor, "");
	parse(old, sizeof(old), &i);
	assert_string_equal(i.bios, ""); /* its formatted area is too short for that */
	assert_string_equal(i.vendor, ""); /* there is no string 9 */
	assert_string_equal(i.product, "P");

	memset(longest, 'x', sizeof(longest));
	memcpy(longest, (const char[]){ HEAD(1, 8), 1, 0, 0, 0 }, 8);
	longest[108] = longest[109] = 0;
	parse(longest, sizeof(longest), &i);
	assert_int_equal(strlen(i.vendor), SMBIOS_STRING - 1);
	assert_string_equal(i.product, "");
}

static void a_table_that_is_cut_off(void **state)
{
	struct smbios_info i;

	(void)state;
	for (size_t len = 0; len < sizeof(table); len++) {
		parse(table, len, &i);
		assert_true(strlen(i.board) < 3);
		assert_string_equal(i.bios, len < 24 + 21 ? "" : "1.16");
	}
	parse((const char[]){ HEAD(1, 3), 0, 0 }, 6, &i); /* shorter than its own header */
	assert_string_equal(i.product, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(both_kinds_of_entry, clean),
		cmocka_unit_test_setup(the_length_that_version_2_1_got_wrong, clean),
		cmocka_unit_test_setup(a_wrong_entry_is_refused, clean),
		cmocka_unit_test_setup(the_search_prefers_64_bits, clean),
		cmocka_unit_test(what_the_firmware_says),
		cmocka_unit_test(what_it_does_not_say_is_empty),
		cmocka_unit_test(a_table_that_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
