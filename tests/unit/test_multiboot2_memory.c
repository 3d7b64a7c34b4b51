/* The boot information's memory maps: the usual one, and that of UEFI. */
#include "multiboot2_builder.h"

/* "entry_size ... guaranteed to be a multiple of 8": later versions may append fields. */
static void larger_map_entries(void **state)
{
	static const struct entry map[] = { { 0x1000, 0x2000, 1 }, { 0x8000, 0x1000, 2 } };

	(void)state;
	begin();
	tag_mmap(map, 2, 40);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, 2);
	assert_int_equal(out.ranges[1].base, 0x8000);
	assert_int_equal(out.ranges[1].type, MEM_RESERVED);
}

static void bad_maps(void **state)
{
	static const struct entry wrap = { 0xfffffffffffff000, 0x2000, 1 };
	static struct entry many[BOOT_MAX_RANGES + 1];

	for (uint32_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct entry){ 0x10000 * (uint64_t)i, 0x1000, 1 };

	(void)state;
	begin();
	end();
	refused_for("memory map is missing");
	for (uint32_t size = 0; size < 24; size += 8) {
		begin();
		tag_mmap(&one_range, 1, size);
		end();
		refused_for("entry size");
	}
	begin();
	tag_mmap(&one_range, 1, 28);
	end();
	refused_for("entry size");
	begin();
	tag_mmap(&wrap, 1, 24);
	end();
	refused_for("64 bits");
	begin();
	tag(6, (const uint32_t[]){ 24, 0, 0, 0 }, 16);
	end();
	refused_for("inside an entry");
	begin();
	tag(6, (const uint32_t[]){ 24 }, 4);
	end();
	refused_for("entry size");
	begin();
	tag_mmap(&one_range, 1, 24);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("two memory maps");
	begin();
	tag_mmap(many, BOOT_MAX_RANGES, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, BOOT_MAX_RANGES);
	begin();
	tag_mmap(many, BOOT_MAX_RANGES + 1, 24);
	end();
	refused_for("512");
}

/* Neighbours of one type are one range; a gap, another type, and a range out of order begin a new one. */
static void neighbours(void **state)
{
	static const struct entry map[] = {
		{ 0, 0x1000, 1 },      { 0x1000, 0x2000, 1 }, { 0x3000, 0, 2 },      { 0x3000, 0x1000, 1 }, { 0x4000, 0x1000, 2 },
		{ 0x5000, 0x1000, 9 }, { 0x7000, 0x1000, 1 }, { 0x6000, 0x1000, 1 },
	};
	static const struct mem_range want[] = {
		{ 0, 0x4000, MEM_RAM }, { 0x4000, 0x2000, MEM_RESERVED }, { 0x7000, 0x1000, MEM_RAM }, { 0x6000, 0x1000, MEM_RAM },
	};
	static struct entry pieces[3 * BOOT_MAX_RANGES];

	(void)state;
	begin();
	tag_mmap(map, ARRAY_SIZE(map), 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out.ranges[i].base, want[i].base);
		assert_int_equal(out.ranges[i].len, want[i].len);
		assert_int_equal(out.ranges[i].type, want[i].type);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct entry){ 0x1000 * (uint64_t)i, 0x1000, 1 };
	begin();
	tag_mmap(pieces, ARRAY_SIZE(pieces), 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, 1);
}

struct efi_entry { uint32_t type; uint64_t base, pages, attribute; };

static void tag_efi_mmap(const struct efi_entry *e, uint32_t n, uint32_t entry_size)
{
	put32(17);
	put32(16 + n * entry_size);
	put32(entry_size);
	put32(1);
	for (uint32_t i = 0; i < n; i++) {
		size_t start = at;

		put64(e[i].type);
		put64(e[i].base);
		put64(0);
		put64(e[i].pages);
		put64(e[i].attribute);
		at = start + entry_size;
	}
}

/* ACPI 6.5, table "UEFI Memory Types and mapping to ACPI address range types" */
static void efi_map_alone(void **state)
{
	enum { WB = 8, SPECIFIC = 1 << 18 };
	static const struct { uint32_t efi; uint64_t attribute; enum mem_type type; } types[] = {
		{ 0, WB, MEM_RESERVED },        { 1, WB, MEM_RAM },             { 2, WB, MEM_RAM },       { 3, WB, MEM_RAM },
		{ 4, WB, MEM_RAM },             { 5, WB, MEM_RESERVED },        { 6, WB, MEM_RESERVED },  { 7, WB, MEM_RAM },
		{ 8, WB, MEM_BAD },             { 9, WB, MEM_ACPI },            { 10, WB, MEM_NVS },      { 11, WB, MEM_RESERVED },
		{ 12, WB, MEM_RESERVED },       { 13, WB, MEM_RESERVED },       { 14, WB, MEM_RESERVED }, { 15, WB, MEM_RESERVED },
		{ 0x80000001, WB, MEM_RESERVED }, { 7, WB | SPECIFIC, MEM_RESERVED }, { 7, 1, MEM_RESERVED },
	};
	struct efi_entry map[ARRAY_SIZE(types)];
	struct efi_entry wrong = { 7, 0, 1ull << 52, WB }, end_of_all = { 7, 0xfffffffffffff000, 2, WB };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		map[i] = (struct efi_entry){ types[i].efi, 0x100000 * (uint64_t)i, 2, types[i].attribute };
	for (uint32_t size = 40; size <= 48; size += 8) {
		begin();
		tag_efi_mmap(map, ARRAY_SIZE(map), size);
		end();
		assert_int_equal(parse(), TF_OK);
		assert_true(out.efi);
		assert_int_equal(out.nranges, ARRAY_SIZE(types));
		for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
			assert_int_equal(out.ranges[i].base, map[i].base);
			assert_int_equal(out.ranges[i].len, 0x2000);
			assert_int_equal(out.ranges[i].type, types[i].type);
		}
	}
	for (uint32_t size = 0; size < 40; size += 8) {
		begin();
		tag_efi_mmap(map, 1, size);
		end();
		refused_for("EFI memory map's entry size");
	}
	begin();
	tag_efi_mmap(&wrong, 1, 48);
	end();
	refused_for("64 bits");
	begin();
	tag_efi_mmap(&end_of_all, 1, 48);
	end();
	refused_for("64 bits");
	begin();
	tag(17, (const uint32_t[]){ 48, 1, 0, 0 }, 16);
	end();
	refused_for("inside an entry");
}

/* The loader's own map knows of the loader's own changes: UEFI's is not looked at then, before it or behind it. */
static void efi_map_beside_the_other(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) {
		begin();
		if (first)
			tag(17, "garbage", 7);
		tag_mmap(&one_range, 1, 24);
		if (!first)
			tag(17, "garbage", 7);
		end();
		assert_int_equal(parse(), TF_OK);
		assert_true(out.efi);
		assert_int_equal(out.nranges, 1);
		assert_int_equal(out.ranges[0].base, one_range.base);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(larger_map_entries), cmocka_unit_test(bad_maps), cmocka_unit_test(neighbours),
		cmocka_unit_test(efi_map_alone), cmocka_unit_test(efi_map_beside_the_other),
	};

	return cmocka_run_group_tests_name("multiboot2 memory", tests, NULL, NULL);
}
