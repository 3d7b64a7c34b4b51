/* The boot information parser: tags, modules and strings. */
#include "multiboot2_builder.h"

static void everything(void **state)
{
	static const struct entry map[] = {
		{ 0, 0x9fc00, 1 },         { 0x9fc00, 0x400, 2 },          { 0x100000, 0x3ef0000, 1 },
		{ 0x3ff0000, 0xf000, 3 },  { 0x3fff000, 0x1000, 4 },       { 0x5000000, 0x1000, 5 },
		{ 0x6000000, 0x1000, 77 }, { 0x100000000, 0x40000000, 1 },
	};
	uint32_t base = 0x200000;
	uint8_t rsdp_new[36], rsdp_old[20];

	(void)state;
	memset(rsdp_new, 'N', sizeof(rsdp_new));
	memset(rsdp_old, 'O', sizeof(rsdp_old));
	begin();
	tag_string(1, "log=debug x");
	tag_string(2, "GRUB 2.06-13+deb12u1");
	tag_module(0x1000000, 0x1000200, "trefoil.conf");
	tag_module(0x2000000, 0x2000000, "empty a b");
	tag(9, "ELF sections, whatever they are", 31);
	tag(4242, "x", 1);
	tag_mmap(map, ARRAY_SIZE(map), 24);
	tag(15, rsdp_new, sizeof(rsdp_new));
	tag(14, rsdp_old, sizeof(rsdp_old));
	tag(21, &base, sizeof(base));
	end();
	assert_int_equal(parse(), TF_OK);

	assert_string_equal(out.cmdline, "log=debug x");
	assert_string_equal(out.loader, "GRUB 2.06-13+deb12u1");
	assert_int_equal(out.nmodules, 2);
	assert_int_equal(out.modules[0].start.v, 0x1000000);
	assert_int_equal(out.modules[0].size, 0x200);
	assert_string_equal(out.modules[0].name, "trefoil.conf");
	assert_int_equal(out.modules[1].size, 0);
	assert_string_equal(out.modules[1].name, "empty"); /* without its arguments */
	assert_int_equal(out.nranges, ARRAY_SIZE(map));
	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		assert_int_equal(out.ranges[i].base, map[i].base);
		assert_int_equal(out.ranges[i].len, map[i].len);
		assert_int_equal(out.ranges[i].type, map[i].type == 77 ? MEM_RESERVED : map[i].type);
	}
	assert_true(out.has_rsdp);
	assert_memory_equal(out.rsdp, rsdp_new, sizeof(rsdp_new));
	assert_int_equal(out.load_base.v, base);
}

static void little(void **state)
{
	(void)state;
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_string_equal(out.cmdline, "");
	assert_int_equal(out.nmodules, 0);
	assert_false(out.has_rsdp);
	assert_int_equal(out.load_base.v, 0);
}

static void old_rsdp(void **state)
{
	uint8_t old[20], longer[36], zero[16] = { 0 };

	(void)state;
	memset(old, 'O', sizeof(old));
	memset(longer, 'N', sizeof(longer));
	begin();
	tag(14, old, sizeof(old));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.has_rsdp);
	assert_memory_equal(out.rsdp, old, 20);
	assert_memory_equal(out.rsdp + 20, zero, 16);

	/* Old first, new later: the new one wins. */
	begin();
	tag(14, old, sizeof(old));
	tag(15, longer, sizeof(longer));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_memory_equal(out.rsdp, longer, sizeof(longer));

	begin();
	tag(14, old, 19);
	end();
	refused_for("RSDP");
	begin();
	tag(15, longer, 35);
	end();
	refused_for("RSDP");
}

static void efi_tags(void **state)
{
	uint64_t table = 0x123456789abc;
	uint32_t table32 = 0x1000;

	(void)state;
	begin();
	tag(12, &table, sizeof(table));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.efi);
	assert_int_equal(out.efi_system_table.v, table);
	assert_int_equal(out.screen.kind, BOOT_SCREEN_NONE);

	begin();
	tag(11, &table32, sizeof(table32));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.efi);
	assert_int_equal(out.efi_system_table.v, 0);

	begin();
	tag(12, &table, 7);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("too short");

	begin();
	tag(12, &table, sizeof(table));
	tag(18, "", 0);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("boot services");
}

static void bad_modules(void **state)
{
	char name[BOOT_NAME + 1];

	(void)state;
	begin();
	tag_module(0x2000, 0x1fff, "m");
	end();
	refused_for("before it starts");
	begin();
	tag(3, "1234567", 7);
	end();
	refused_for("too short");
	begin();
	tag(3, "12345678", 8);
	end();
	refused_for("does not end");
	begin();
	tag(3, "11112222name", 12);
	end();
	refused_for("does not end");

	memset(name, 'n', sizeof(name));
	name[BOOT_NAME] = '\0';
	begin();
	tag_module(0x1000, 0x2000, name);
	end();
	refused_for("longer");
	name[BOOT_NAME - 1] = '\0';
	begin();
	tag_module(0x1000, 0x2000, name);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_string_equal(out.modules[0].name, name);

	begin();
	tag_mmap(&one_range, 1, 24);
	for (int i = 0; i < BOOT_MAX_MODULES; i++)
		tag_module(0x1000, 0x2000, "m");
	end();
	assert_int_equal(parse(), TF_OK);
	begin();
	for (int i = 0; i <= BOOT_MAX_MODULES; i++)
		tag_module(0x1000, 0x2000, "m");
	end();
	refused_for("64 modules");
}

static void bad_strings(void **state)
{
	(void)state;
	begin();
	tag(1, "abc", 3);
	end();
	refused_for("does not end");
	begin();
	tag(2, "abc", 3);
	end();
	refused_for("does not end");
	begin();
	tag(1, "", 0);
	end();
	refused_for("does not end");
}

/* A loader's name is for the log only: a long one is cut. */
static void long_loader_name(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'G', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	begin();
	tag_string(2, name);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(strlen(out.loader), sizeof(out.loader) - 1);
}

static void bad_sizes(void **state)
{
	const char *why;
	uint32_t v;

	(void)state;
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	/* Every cut is refused, whether total_size knows of it or not. */
	for (size_t n = 0; n < at; n++) {
		assert_int_equal(parse_n(n, &why), TF_ETRUNC);
		v = (uint32_t)n;
		memcpy(info, &v, 4);
		if (n >= 8)
			assert_int_equal(parse_n(n, &why), TF_EINVAL);
		v = (uint32_t)at;
		memcpy(info, &v, 4);
	}
	/* What follows total_size is not looked at. */
	assert_int_equal(parse_n(at + 100, &why), TF_OK);

	for (v = 0; v < 8; v++) {
		memcpy(info + 12, &v, 4); /* the first tag's size */
		refused_for("tag's size");
	}
	v = UINT32_MAX;
	memcpy(info + 12, &v, 4);
	refused_for("tag's size");
	v = (uint32_t)at - 8 + 1;
	memcpy(info + 12, &v, 4);
	refused_for("tag's size");
	v = 7;
	memcpy(info, &v, 4);
	assert_int_equal(parse_n(at, &why), TF_ETRUNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything), cmocka_unit_test(little), cmocka_unit_test(old_rsdp),
		cmocka_unit_test(efi_tags), cmocka_unit_test(bad_modules), cmocka_unit_test(bad_strings),
		cmocka_unit_test(long_loader_name), cmocka_unit_test(bad_sizes),
	};

	return cmocka_run_group_tests_name("multiboot2", tests, NULL, NULL);
}
