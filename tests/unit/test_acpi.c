/* The host's ACPI tables: RSDP, root tables, FADT with its DSDT, HPET. */
#include "tests/unit/acpi_machine.h"

static void a_whole_machine(void **state)
{
	(void)state;
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.lapic_base.v, 0xfee00000);
	assert_true(info.has_8259);
	assert_int_equal(info.ncpus, 2);
	assert_int_equal(info.cpus[1].apic_id, 4);
	assert_int_equal(info.cpus[1].uid, 1);
	assert_true(info.cpus[1].enabled);
	assert_false(info.cpus[1].online_capable);
	assert_int_equal(info.cpus_dropped, 0);
	assert_int_equal(info.nioapics, 1);
	assert_int_equal(info.ioapics[0].id, 2);
	assert_int_equal(info.ioapics[0].base.v, 0xfec00000);
	assert_int_equal(info.ioapics[0].gsi_base, 0);
	assert_int_equal(info.nisos, 2);
	assert_int_equal(info.isos[0].irq, 0);
	assert_int_equal(info.isos[0].gsi, 2);
	assert_false(info.isos[0].active_low);
	assert_false(info.isos[0].level);
	assert_int_equal(info.isos[1].gsi, 9);
	assert_true(info.isos[1].active_low);
	assert_true(info.isos[1].level);
	assert_int_equal(info.pm_timer_port, 0x608);
	assert_true(info.pm_timer_32bit);
	assert_int_equal(info.pm1_cnt[0].address, 0x604);
	assert_int_equal(info.pm1_cnt[1].address, 0);
	assert_true(info.has_reset);
	assert_int_equal(info.reset.space, 1);
	assert_int_equal(info.reset.width, 8);
	assert_int_equal(info.reset.address, 0xcf9);
	assert_int_equal(info.reset_value, 0x0f);
	assert_true(info.has_s5);
	assert_int_equal(info.s5_typ_a, 5);
	assert_int_equal(info.s5_typ_b, 1);
	assert_int_equal(info.hpet_base.v, 0xfed00000);
	assert_null(info.suspect);
	assert_int_equal(info.smi_cmd, 0xb2);
	assert_int_equal(info.acpi_enable, 0xf1);
	assert_int_equal(info.pm1_sts[0].address, 0x600);
	assert_int_equal(info.gpe_en[0].address, 0x622);
	assert_int_equal(info.gpe_en_len[0], 2);
	assert_int_equal(info.gpe_en[1].address, 0);
	assert_int_equal(info.gpe_en_len[1], 0);
	assert_false(info.hw_reduced);
	assert_false(info.no_8042);
	assert_int_equal(info.nmi_lints, 0);
}

static void acpi_1_uses_the_rsdt(void **state)
{
	(void)state;
	rsdp[15] = 0;
	memset(rsdp + 20, 0, 16);
	put(XSDT, "NONE", 4);
	rsdp[8] = 0;
	rsdp[8] = (uint8_t)-sum(rsdp, 20);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.ncpus, 2);
	assert_int_equal(info.hpet_base.v, 0xfed00000);

	/* Revision 2, but only the first 20 bytes were kept by the loader. */
	rsdp[15] = 2;
	rsdp[8] = 0;
	rsdp[8] = (uint8_t)-sum(rsdp, 20);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.ncpus, 2);
}

static void a_bad_rsdp_is_an_error(void **state)
{
	(void)state;
	rsdp[0] ^= 1;
	assert_int_equal(parse(), TF_EINVAL);
	assert_non_null(strstr(why, "RSDP"));
	rsdp[0] ^= 1;
	rsdp[8]++;
	assert_int_not_equal(parse(), TF_OK);
	rsdp[8]--;
	rsdp[32]++;
	assert_int_equal(parse(), TF_ECSUM);
	rsdp[32]--;
	rsdp[20] = 35;
	seal_rsdp();
	assert_int_equal(parse(), TF_EINVAL);
	assert_int_equal(info.ncpus, 0);
}

static void a_bad_xsdt_falls_back(void **state)
{
	(void)state;
	put8(XSDT + 9, 0x55);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "root table"));
	assert_int_equal(info.ncpus, 2);
	put8(RSDT + 9, 0x55);
	assert_int_equal(parse(), TF_ECSUM);
	seal(RSDT, 35);
	assert_int_equal(parse(), TF_EINVAL);
	put(RSDT, "RSTD", 4);
	assert_int_equal(parse(), TF_EINVAL);
	memset(rsdp + 16, 0, 4);
	seal_rsdp();
	assert_int_equal(parse(), TF_EFAULT);
}

static void an_odd_root_table_ends_early(void **state)
{
	(void)state;
	seal(XSDT, 67); /* half an entry for the HPET */
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.hpet_base.v, 0);
	assert_int_equal(info.ncpus, 2);
	seal(XSDT, 36);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.ncpus, 0);
}

static void a_bad_table_is_named(void **state)
{
	static const struct { uint64_t addr; const char *name; } tables[] = {
		{ MADT, "MADT" }, { FADT, "FADT" }, { HPET, "HPET" }, { DSDT, "DSDT" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		machine(state);
		memory[tables[i].addr - PHYS + 9]++; /* the checksum alone is wrong: better than no table */
		assert_int_equal(parse(), TF_OK);
		assert_null(why);
		assert_string_equal(info.suspect, tables[i].name);
		assert_int_equal(info.ncpus, 2);
		assert_int_equal(info.pm_timer_port, 0x608);
		assert_int_equal(info.hpet_base.v, 0xfed00000);
		assert_true(info.has_s5);

		machine(state);
		put32(tables[i].addr + 4, 0xffffffff);
		assert_int_equal(parse(), TF_OK);
		assert_non_null(strstr(why, tables[i].name));
		assert_null(info.suspect);
		assert_int_equal(info.ncpus, tables[i].addr == MADT ? 0 : 2);
		assert_int_equal(info.pm_timer_port, tables[i].addr == FADT ? 0 : 0x608);
		assert_int_equal(info.hpet_base.v, tables[i].addr == HPET ? 0 : 0xfed00000);
		assert_int_equal(info.has_s5, tables[i].addr != DSDT && tables[i].addr != FADT);
		put32(tables[i].addr + 4, 0x20000); /* beyond the memory that there is */
		assert_int_equal(parse(), TF_OK);
		assert_non_null(why);
	}
	machine(state);
	put64(XSDT + 36, 0x1000);
	seal(XSDT, 68);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "readable"));
	assert_int_equal(info.ncpus, 2);
}

static void the_first_of_two_tables_counts(void **state)
{
	(void)state;
	put(OTHER, "HPET", 4);
	put_gas(OTHER + 40, 0, 64, 0xfed01000);
	seal(OTHER, 56);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.hpet_base.v, 0xfed01000);
}

static void extended_fields_win(void **state)
{
	(void)state;
	put64(FADT + 140, OTHER);
	put_gas(FADT + 172, 1, 16, 0x1804);
	put_gas(FADT + 184, 1, 16, 0x1904);
	put_gas(FADT + 208, 1, 32, 0x1808);
	seal(FADT, 276);
	put(OTHER, "DSDT", 4);
	put(OTHER + 36,
	    (const uint8_t[]){ 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x47, 0x01, 4, 0x0a, 7, 0x0a, 6, 0, 0 }, 16);
	seal(OTHER, 52);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.pm1_cnt[0].address, 0x1804);
	assert_int_equal(info.pm1_cnt[1].address, 0x1904);
	assert_int_equal(info.pm_timer_port, 0x1808);
	assert_true(info.has_s5);
	assert_int_equal(info.s5_typ_a, 7);
	assert_int_equal(info.s5_typ_b, 6);
}

/* "FADT Format": the ACPI 1.0 fields are to be ignored then, but a machine that works is better. */
static void extended_fields_that_are_of_no_use(void **state)
{
	(void)state;
	put64(FADT + 140, OTHER); /* no DSDT is there */
	put_gas(FADT + 172, 1, 16, 0x12345);
	put_gas(FADT + 208, 10, 32, 0x1808); /* behind the platform communications channel */
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.pm1_cnt[0].address, 0x604);
	assert_int_equal(info.pm_timer_port, 0x608);
	assert_true(info.has_s5);
}

static void registers_in_memory(void **state)
{
	(void)state;
	put_gas(FADT + 148, 0, 32, 0xfed40000);
	put_gas(FADT + 172, 0, 16, 0xfed40004);
	put_gas(FADT + 208, 0, 32, 0xfed40008);
	put_gas(FADT + 220, 0, 32, 0xfed40020);
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.pm_timer_port, 0);
	assert_int_equal(info.pm_timer_mem.v, 0xfed40008);
	assert_true(info.pm_timer_32bit);
	assert_int_equal(info.pm1_cnt[0].space, ACPI_SPACE_MEMORY);
	assert_int_equal(info.pm1_cnt[0].address, 0xfed40004);
	assert_int_equal(info.pm1_sts[0].address, 0xfed40000);
	assert_int_equal(info.gpe_en[0].address, 0xfed40022);
}

static void hardware_reduced(void **state)
{
	(void)state;
	put32(FADT + 112, BIT(8) | BIT(10) | BIT(20));
	put_gas(FADT + 244, 1, 8, 0x700);
	put_gas(FADT + 256, 0, 8, 0xfed41000);
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.hw_reduced);
	assert_int_equal(info.sleep_control.address, 0x700);
	assert_int_equal(info.sleep_status.space, ACPI_SPACE_MEMORY);
	assert_int_equal(info.pm1_cnt[0].address, 0); /* what these fields say has no meaning then */
	assert_int_equal(info.pm_timer_port, 0);
	assert_int_equal(info.smi_cmd, 0);
	assert_true(info.has_s5);
	assert_true(info.has_reset);
}

static void the_keyboard_controller(void **state)
{
	(void)state;
	put8(FADT + 8, 6);
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.no_8042);
	put8(FADT + 109, 2);
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.no_8042);
	put8(FADT + 109, 0);
	put8(FADT + 8, 1); /* ACPI 1.0 has no such field */
	seal(FADT, 276);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.no_8042);
}

static void s5_in_an_ssdt(void **state)
{
	(void)state;
	put8(DSDT + 64, 0);
	seal(DSDT, 128);
	assert_int_equal(parse(), TF_OK);
	assert_false(info.has_s5);
	put(OTHER, "SSDT", 4);
	put(OTHER + 36, (const uint8_t[]){ 0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 7, 0x0a, 6, 0, 0 }, 14);
	seal(OTHER, 50);
	put64(XSDT + 68, OTHER);
	seal(XSDT, 76);
	assert_int_equal(parse(), TF_OK);
	assert_true(info.has_s5);
	assert_int_equal(info.s5_typ_a, 7);
}

static void what_is_not_a_port_is_absent(void **state)
{
	(void)state;
	put8(FADT + 91, 0);
	put32(FADT + 48, 0x12345);
	put32(FADT + 64, 0x12345);
	put_gas(FADT + 116, 3, 8, 0x400);       /* reset through an embedded controller */
	put32(FADT + 68, 0x10000);
	seal(FADT, 276);
	put_gas(HPET + 40, 0, 64, 0xfed00004); /* its registers have 64 bits */
	seal(HPET, 56);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.hpet_base.v, 0);
	assert_string_equal(why, "HPET: its address is wrong");
	put_gas(HPET + 40, 1, 64, 0xfed0);
	seal(HPET, 56);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.pm_timer_port, 0);
	assert_false(info.pm_timer_32bit);
	assert_int_equal(info.pm1_cnt[0].address, 0);
	assert_int_equal(info.pm1_cnt[1].address, 0);
	assert_false(info.has_reset);
	assert_int_equal(info.smi_cmd, 0);
	assert_int_equal(info.hpet_base.v, 0);
	assert_non_null(strstr(why, "HPET"));
}

static void an_old_short_fadt(void **state)
{
	(void)state;
	seal(FADT, 116); /* ACPI 1.0: no reset register, whatever lies behind */
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.pm_timer_port, 0x608);
	assert_false(info.has_reset);
	assert_true(info.has_s5);
	seal(FADT, 115);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "FADT"));
	put8(FADT + 91, 0); /* no PM timer, whatever its port */
	put32(FADT + 112, 0);
	seal(FADT, 244);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.pm_timer_port, 0);
	assert_false(info.has_reset);
}

static void s5_by_its_pattern(void **state)
{
	static const struct { uint8_t n, aml[16]; int a, b; } cases[] = {
		{ 11, { 0x08, '_', 'S', '5', '_', 0x12, 4, 2, 0x00, 0x00 }, 0, 0 },
		{ 11, { 0x08, '_', 'S', '5', '_', 0x12, 5, 2, 0x01, 0x0a, 3 }, 1, 3 },
		{ 11, { 0x08, '_', 'S', '5', '_', 0x12, 5, 2, 0x01, 0x0a, 8 }, -1, -1 },    /* SLP_TYP has 3 bits */
		{ 11, { 0x5b, '_', 'S', '5', '_', 0x12, 4, 2, 0x00, 0x00 }, -1, -1 },       /* not a Name */
		{ 11, { 0x08, '_', 'S', '5', '_', 0x11, 4, 2, 0x00, 0x00 }, -1, -1 },       /* not a Package */
		{ 11, { 0x08, '_', 'S', '4', '_', 0x12, 4, 2, 0x00, 0x00 }, -1, -1 },
		{ 11, { 0x08, '_', 'S', '5', '_', 0x12, 4, 2, 'A', 'B', 'C' }, -1, -1 },    /* named elements */
		{ 10, { 0x08, '_', 'S', '5', '_', 0x12, 5, 2, 0x01, 0x0a }, -1, -1 },       /* ends in the element */
		{ 9, { 0x08, '_', 'S', '5', '_', 0x12, 0xc4, 2, 0x01 }, -1, -1 },           /* ends in PkgLength */
		{ 6, { 0x08, '_', 'S', '5', '_', 0x12 }, -1, -1 },
		{ 5, { 0x08, '_', 'S', '5', '_' }, -1, -1 },
		{ 4, { '_', 'S', '5', '_' }, -1, -1 },
		{ 0, { 0 }, -1, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(memory + (DSDT - PHYS) + 36, 0, 128);
		put(DSDT + 36, cases[i].aml, cases[i].n);
		seal(DSDT, 36 + cases[i].n);
		assert_int_equal(parse(), TF_OK);
		assert_null(why);
		assert_int_equal(info.has_s5, cases[i].a >= 0);
		if (cases[i].a >= 0) {
			assert_int_equal(info.s5_typ_a, cases[i].a);
			assert_int_equal(info.s5_typ_b, cases[i].b);
		}
	}
}

static enum tf_err find(const uint8_t *image, size_t len, uint8_t found[36])
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err e;

	assert_non_null(copy);
	memcpy(copy, image, len);
	e = acpi_find_rsdp(copy, len, found);
	free(copy);
	return e;
}

static void the_rsdp_in_the_bios_area(void **state)
{
	uint8_t image[256] = { 0 }, found[36], zero[16] = { 0 };

	(void)state;
	assert_int_equal(find(image, 0, found), TF_ENOENT);
	assert_int_equal(find(image, sizeof(image), found), TF_ENOENT);

	memcpy(image + 8, rsdp, 36); /* not at a multiple of 16 */
	assert_int_equal(find(image, sizeof(image), found), TF_ENOENT);
	memset(image, 0, sizeof(image));
	memcpy(image + 16, "RSD PTR ", 8); /* a wrong checksum first */
	memcpy(image + 64, rsdp, 36);
	assert_int_equal(find(image, sizeof(image), found), TF_OK);
	assert_memory_equal(found, rsdp, 36);

	/* At the very end; one byte short. */
	assert_int_equal(find(image, 64 + 36, found), TF_OK);
	assert_int_equal(find(image, 64 + 35, found), TF_ENOENT);

	/* ACPI 1.0: 20 bytes, and what follows belongs to something else. */
	rsdp[15] = 0;
	rsdp[8] = 0;
	rsdp[8] = (uint8_t)-sum(rsdp, 20);
	memcpy(image + 64, rsdp, 36);
	assert_int_equal(find(image, 64 + 20, found), TF_OK);
	assert_int_equal(find(image, sizeof(image), found), TF_OK);
	assert_memory_equal(found, rsdp, 20);
	assert_memory_equal(found + 20, zero, 16);
	assert_int_equal(find(image, 64 + 19, found), TF_ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_whole_machine),
		TEST(acpi_1_uses_the_rsdt),
		TEST(a_bad_rsdp_is_an_error),
		TEST(a_bad_xsdt_falls_back),
		TEST(an_odd_root_table_ends_early),
		TEST(a_bad_table_is_named),
		TEST(the_first_of_two_tables_counts),
		TEST(extended_fields_win),
		TEST(extended_fields_that_are_of_no_use),
		TEST(registers_in_memory),
		TEST(hardware_reduced),
		TEST(the_keyboard_controller),
		TEST(s5_in_an_ssdt),
		TEST(what_is_not_a_port_is_absent),
		TEST(an_old_short_fadt),
		TEST(s5_by_its_pattern),
		TEST(the_rsdp_in_the_bios_area),
	};

	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
