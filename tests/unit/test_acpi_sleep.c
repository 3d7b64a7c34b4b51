/* Soft off against a chipset that behaves as ACPI 6.5, 4.8.3 and 16.1, describes it, and that notes what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/acpi_sleep.h"

#define IO(port)  { ACPI_SPACE_IO, 16, port }
#define MEM(addr) { ACPI_SPACE_MEMORY, 16, addr }
#define SCI_EN    1u
#define SLP_EN    0x2000u
#define NEVER     1000000u

struct write { uint64_t at; uint32_t v; unsigned bytes; };

static struct {
	uint32_t cnt[2];
	unsigned polls_left; /* readings of PM1a control until SCI_EN appears; NEVER */
	bool asked;
	struct write writes[64];
	unsigned nwrites;
	uint64_t waited_us;
	bool flushed;
} chip;
static struct acpi_info info;

static bool is(struct acpi_gas at, struct acpi_gas what) { return at.space == what.space && at.address == what.address; }

static uint32_t read_reg(void *ctx, struct acpi_gas at, unsigned bytes)
{
	assert_ptr_equal(ctx, &chip);
	assert_int_equal(bytes, 2);
	for (unsigned i = 0; i < 2; i++) {
		if (!is(at, info.pm1_cnt[i]))
			continue;
		if (i == 0 && chip.asked && chip.polls_left != NEVER && chip.polls_left-- == 0) {
			chip.cnt[0] |= SCI_EN;
			chip.polls_left = 0;
		}
		return chip.cnt[i];
	}
	fail_msg("a register that nobody named was read");
	return 0;
}

static void write_reg(void *ctx, struct acpi_gas at, unsigned bytes, uint32_t v)
{
	assert_ptr_equal(ctx, &chip);
	assert_true(chip.nwrites < ARRAY_SIZE(chip.writes));
	chip.writes[chip.nwrites++] = (struct write){ at.address, v, bytes };
	if (at.space == ACPI_SPACE_IO && at.address == info.smi_cmd)
		chip.asked = true;
	for (unsigned i = 0; i < 2; i++)
		if (is(at, info.pm1_cnt[i])) {
			assert_int_equal(bytes, 2);
			assert_false((v & SLP_EN) && !chip.flushed);
			chip.cnt[i] = v;
		}
}

static void wait_us(void *ctx, unsigned us)
{
	assert_ptr_equal(ctx, &chip);
	chip.waited_us += us;
}

static void flush(void *ctx)
{
	assert_ptr_equal(ctx, &chip);
	chip.flushed = true;
}

static const struct acpi_regs regs = { &chip, read_reg, write_reg, wait_us, flush };

static const char *off(void)
{
	const char *why = acpi_enter_s5(&info, &regs);

	assert_non_null(why); /* this chipset never goes off, so that it can be looked at */
	assert_true(chip.waited_us <= 6000000);
	return why;
}

static int machine(void **state)
{
	(void)state;
	memset(&chip, 0, sizeof(chip));
	chip.cnt[0] = 0x1c00 | SCI_EN; /* the sleep type of another state, left over */
	info = (struct acpi_info){
		.pm1_sts = { IO(0x600), { 0 } }, .pm1_cnt = { IO(0x604), { 0 } }, .smi_cmd = 0xb2, .acpi_enable = 0xa0,
		.has_s5 = true, .s5_typ_a = 5, .s5_typ_b = 3,
	};
	return 0;
}

/* The writes of 16 bits to `at`, in their order. */
static unsigned writes_to(uint64_t at, uint32_t out[8])
{
	unsigned n = 0;

	for (unsigned i = 0; i < chip.nwrites; i++)
		if (chip.writes[i].at == at && n < 8)
			out[n++] = chip.writes[i].v;
	return n;
}

static void one_block(void **state)
{
	uint32_t w[8];

	(void)state;
	assert_non_null(strstr(off(), "obey"));
	assert_int_equal(writes_to(0xb2, w), 0); /* ACPI mode is on already */
	assert_int_equal(writes_to(0x604, w), 2);
	assert_int_equal(w[0], 5 << 10 | SCI_EN);
	assert_int_equal(w[1], 5 << 10 | SLP_EN | SCI_EN);
	assert_int_equal(writes_to(0x600, w), 1);
	assert_true(w[0] & 0x8000); /* WAK_STS is cleared by writing 1 */
	assert_true(chip.waited_us > 0);
}

static void both_blocks_get_their_type_before_either_is_enabled(void **state)
{
	(void)state;
	info.pm1_cnt[1] = (struct acpi_gas)MEM(0xfed00004);
	chip.cnt[1] = 0x0002;
	off();
	const struct write *last = &chip.writes[chip.nwrites - 4];
	assert_int_equal(last[0].at, 0x604);
	assert_int_equal(last[0].v, 5 << 10 | SCI_EN);
	assert_int_equal(last[1].at, 0xfed00004);
	assert_int_equal(last[1].v, 3 << 10 | 2);
	assert_int_equal(last[2].v, 5 << 10 | SLP_EN | SCI_EN);
	assert_int_equal(last[3].v, 3 << 10 | SLP_EN | 2);
}

static void legacy_mode_is_left_first(void **state)
{
	uint32_t w[8];

	(void)state;
	chip.cnt[0] = 0;
	chip.polls_left = 100;
	assert_non_null(strstr(off(), "obey"));
	assert_int_equal(chip.writes[0].at, 0xb2);
	assert_int_equal(chip.writes[0].v, 0xa0);
	assert_int_equal(chip.writes[0].bytes, 1);
	assert_int_equal(writes_to(0xb2, w), 1);
	assert_int_equal(writes_to(0x604, w), 2);
	assert_int_equal(w[1], 5 << 10 | SLP_EN | SCI_EN);
}

static void a_firmware_that_does_not_switch_is_not_waited_for(void **state)
{
	uint32_t w[8];

	(void)state;
	chip.cnt[0] = 0;
	chip.polls_left = NEVER;
	assert_non_null(strstr(off(), "ACPI mode"));
	assert_int_equal(writes_to(0x604, w), 2); /* tried all the same */

	machine(state);
	chip.cnt[0] = 0;
	info.smi_cmd = 0; /* "the system does not support System Management Mode": always in ACPI mode */
	assert_non_null(strstr(off(), "obey"));
}

static void what_could_wake_it_is_off(void **state)
{
	uint32_t w[8];

	(void)state;
	info.gpe_en[0] = (struct acpi_gas)IO(0x624);
	info.gpe_en_len[0] = 3;
	off();
	for (uint64_t at = 0x624; at < 0x627; at++) {
		assert_int_equal(writes_to(at, w), 1);
		assert_int_equal(w[0], 0);
	}
	assert_int_equal(writes_to(0x627, w), 0);
}

static void hardware_reduced(void **state)
{
	uint32_t w[8];

	(void)state;
	info = (struct acpi_info){ .hw_reduced = true, .has_s5 = true, .s5_typ_a = 5, .sleep_control = IO(0x700),
				   .sleep_status = IO(0x701) };
	assert_non_null(strstr(off(), "sleep control"));
	assert_int_equal(writes_to(0x701, w), 1);
	assert_int_equal(w[0], 0x80);
	assert_int_equal(writes_to(0x700, w), 1);
	assert_int_equal(w[0], 5 << 2 | 1 << 5);
	info.sleep_control.address = 0;
	assert_non_null(strstr(off(), "no sleep control"));
}

static void no_way_to_do_it(void **state)
{
	(void)state;
	info.has_s5 = false;
	assert_non_null(strstr(off(), "_S5"));
	assert_int_equal(chip.nwrites, 0);
	info.has_s5 = true;
	info.pm1_cnt[0].address = 0;
	assert_non_null(strstr(off(), "PM1"));
	assert_int_equal(chip.nwrites, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_block, machine),
		cmocka_unit_test_setup(both_blocks_get_their_type_before_either_is_enabled, machine),
		cmocka_unit_test_setup(legacy_mode_is_left_first, machine),
		cmocka_unit_test_setup(a_firmware_that_does_not_switch_is_not_waited_for, machine),
		cmocka_unit_test_setup(what_could_wake_it_is_off, machine),
		cmocka_unit_test_setup(hardware_reduced, machine),
		cmocka_unit_test_setup(no_way_to_do_it, machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
