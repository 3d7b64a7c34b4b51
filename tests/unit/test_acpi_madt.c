/* The host's MADT. */
#include "tests/unit/acpi_machine.h"

static void cpus(void **state)
{
	(void)state;
	MADT_ADD(0, 8, 2, 6, 0, 0, 0, 0);                                       /* not usable */
	MADT_ADD(0, 8, 3, 7, 2, 0, 0, 0);                                       /* online capable */
	MADT_ADD(0, 8, 4, 4, 1, 0, 0, 0);                                       /* a second 4 */
	MADT_ADD(0, 8, 5, 0xff, 1, 0, 0, 0);                                    /* the broadcast id */
	MADT_ADD(9, 16, 0, 0, 0x2c, 0x01, 0, 0, 1, 0, 0, 0, 0x11, 0x02, 0, 0);  /* x2APIC 300, uid 529 */
	MADT_ADD(9, 16, 0, 0, 0xff, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0);           /* 255 is an x2APIC id like others */
	MADT_ADD(9, 16, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 7, 0, 0, 0);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.ncpus, 5);
	assert_int_equal(info.cpus[2].apic_id, 7);
	assert_false(info.cpus[2].enabled);
	assert_true(info.cpus[2].online_capable);
	assert_int_equal(info.cpus[3].apic_id, 300);
	assert_int_equal(info.cpus[3].uid, 529);
	assert_int_equal(info.cpus[4].apic_id, 255);
	assert_int_equal(info.cpus_dropped, 3);
}

static void more_cpus_than_fit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ACPI_MAX_CPUS + 10; i++)
		MADT_ADD(9, 16, 0, 0, (uint8_t)i, (uint8_t)(0x10 + i / 256), 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.ncpus, ACPI_MAX_CPUS);
	assert_int_equal(info.cpus_dropped, 12);
}

static void more_ioapics_and_overrides_than_fit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		MADT_ADD(1, 12, (uint8_t)i, 0, 0, (uint8_t)(i << 4), 0xc1, 0xfe, 24, (uint8_t)i, 0, 0);
		MADT_ADD(2, 10, 0, (uint8_t)(i % 16), 5, 0, 0, 0, 0x05, 0);
	}
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "MADT"));
	assert_int_equal(info.nioapics, ACPI_MAX_IOAPICS);
	assert_int_equal(info.ioapics[2].gsi_base, 0x118);
	assert_int_equal(info.nisos, ACPI_MAX_ISOS);
	assert_false(info.isos[2].active_low);
	assert_false(info.isos[2].level);
}

static void where_nmis_arrive(void **state)
{
	(void)state;
	MADT_ADD(4, 6, 0xff, 0x05, 0, 1);                    /* all CPUs: LINT1, edge, active high */
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.nmi_lints, BIT(1));
	assert_false(info.nmi_active_low);

	machine(state);
	MADT_ADD(10, 12, 0x07, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0); /* by x2APIC ids: LINT0, active low */
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.nmi_lints, BIT(0));
	assert_true(info.nmi_active_low);

	machine(state);
	MADT_ADD(4, 5, 0xff, 0x05, 0);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "too short"));
	assert_int_equal(info.nmi_lints, 0);
}

static void strange_madt_entries(void **state)
{
	MADT_ADD(5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);       /* the local APIC at 4 GiB */
	MADT_ADD(4, 6, 0xff, 0, 0, 2);                       /* an NMI at a LINT that no CPU has */
	MADT_ADD(0x7f, 3, 0);                                /* unknown */
	MADT_ADD(0, 8, 9, 9, 1, 0, 0, 0);
	assert_int_equal(parse(), TF_OK);
	assert_null(why);
	assert_int_equal(info.lapic_base.v, 0x100000000);
	assert_int_equal(info.ncpus, 3);

	MADT_ADD(2, 10, 0, 16, 5, 0, 0, 0, 0, 0);            /* ISA has 16 interrupts */
	MADT_ADD(2, 10, 1, 3, 5, 0, 0, 0, 0, 0);             /* not ISA */
	MADT_ADD(1, 12, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0);       /* an I/O APIC at 0 */
	assert_int_equal(parse(), TF_OK);
	assert_non_null(why);
	assert_int_equal(info.nisos, 2);
	assert_int_equal(info.nioapics, 1);

	machine(state);
	MADT_ADD(9, 8, 9, 9, 1, 0, 0, 0);                    /* too short for an x2APIC; the next one is fine */
	MADT_ADD(0, 8, 9, 9, 1, 0, 0, 0);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "too short"));
	assert_int_equal(info.ncpus, 3);
	for (uint8_t len = 0; len < 2; len++) {
		machine(state);
		MADT_ADD(0, len, 9, 9, 1, 0, 0, 0);          /* would never end */
		assert_int_equal(parse(), TF_OK);
		assert_non_null(strstr(why, "length"));
		assert_int_equal(info.ncpus, 2);
	}
	machine(state);
	MADT_ADD(0, 9, 9, 9, 1, 0, 0, 0);                    /* beyond the table */
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(info.ncpus, 2);
	machine(state);
	MADT_ADD(0);                                         /* half an entry head */
	assert_int_equal(parse(), TF_OK);
	assert_non_null(why);
	assert_int_equal(info.ncpus, 2);
	seal(MADT, 43);
	assert_int_equal(parse(), TF_OK);
	assert_non_null(strstr(why, "too short"));
	assert_int_equal(info.ncpus, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cpus),
		TEST(more_cpus_than_fit),
		TEST(more_ioapics_and_overrides_than_fit),
		TEST(where_nmis_arrive),
		TEST(strange_madt_entries),
	};

	return cmocka_run_group_tests_name("acpi_madt", tests, NULL, NULL);
}
