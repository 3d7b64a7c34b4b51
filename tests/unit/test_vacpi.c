/* The emulated ACPI fixed hardware (ACPI 6.5, 4.8) and the ways to reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "guest/dev/vacpi.h"

#define STS 0
#define EN  2
#define CNT 4
#define TMR 8

#define TMR_BIT    0x0001
#define PWRBTN_BIT 0x0100
#define SCI_EN     0x0001
#define SLP_EN     0x2000
#define SLP_TYP(n) ((unsigned)(n) << 10)

static struct fake_host host;
static struct vacpi acpi;
static unsigned power_offs, resets;

static void request(void *ctx, enum vacpi_request what)
{
	assert_ptr_equal(ctx, &host);
	if (what == VACPI_POWER_OFF)
		power_offs++;
	else
		resets++;
}

static int setup(void **state)
{
	(void)state;
	power_offs = resets = 0;
	fake_host_init(&host, VACPI_PM_TMR_HZ); /* a tick is a count of the PM timer */
	vacpi_init(&acpi, &host.host, request, &host);
	return 0;
}

static void tick(void *dev) { vacpi_tick(dev); }
static uint64_t in(unsigned port, uint8_t size) { return fake_in(vacpi_access_pm, &acpi, port, size); }
static void out(unsigned port, uint8_t size, uint64_t value) { fake_out(vacpi_access_pm, &acpi, port, size, value); }

static void timer_counts(void **state)
{
	(void)state;
	host.now = 0x12345678;
	assert_int_equal(in(TMR, 4), 0x12345678);
	assert_int_equal(in(TMR, 2), 0x5678);
	assert_int_equal(in(TMR + 1, 1), 0x56);
	assert_int_equal(in(TMR + 2, 2), 0x1234);
	out(TMR, 4, 0);
	assert_int_equal(in(TMR, 4), 0x12345678);
	host.now = 0x7fffffffffull;
	assert_int_equal(in(TMR, 4), 0xffffffff);
	fake_host_init(&host, 3000000000);
	host.now = 3000000000ull * 100;
	assert_int_equal(in(TMR, 4), 357954500);
}

static void timer_carry(void **state)
{
	(void)state;
	assert_true(host.deadline == DEV_NEVER);
	out(EN, 2, TMR_BIT);
	fake_run(&host, 0x7fffffff, tick, &acpi);
	assert_false(host.level[VACPI_SCI_IRQ]);
	fake_run(&host, 0x80000000, tick, &acpi);
	assert_true(host.level[VACPI_SCI_IRQ]);
	assert_int_equal(in(STS, 2), TMR_BIT);
	out(STS, 2, TMR_BIT);
	assert_false(host.level[VACPI_SCI_IRQ]);
	fake_run(&host, 0x100000000, tick, &acpi); /* either change of the top bit */
	assert_true(host.level[VACPI_SCI_IRQ]);
	out(EN, 2, 0);
	assert_false(host.level[VACPI_SCI_IRQ]);
	assert_true(host.deadline == DEV_NEVER);
	out(STS, 2, TMR_BIT);
	host.now = 0x180000000;
	assert_int_equal(in(STS, 2), TMR_BIT); /* the status needs no enable */
}

static void power_button(void **state)
{
	(void)state;
	vacpi_power_button(&acpi);
	assert_false(host.level[VACPI_SCI_IRQ]);
	out(EN, 2, 0xffff);
	assert_int_equal(in(EN, 2), 0x0721);
	assert_true(host.level[VACPI_SCI_IRQ]);
	out(STS, 2, 0xffff & ~PWRBTN_BIT);
	assert_true(host.level[VACPI_SCI_IRQ]);
	assert_int_equal(in(STS, 2), PWRBTN_BIT);
	out(STS + 1, 1, 0x01); /* bytes work too */
	assert_false(host.level[VACPI_SCI_IRQ]);
	assert_int_equal(in(STS, 2), 0);
	vacpi_power_button(&acpi);
	assert_int_equal(host.rises[VACPI_SCI_IRQ], 2);
}

static void powers_off(void **state)
{
	(void)state;
	assert_int_equal(in(CNT, 2), SCI_EN);
	out(CNT, 2, 0);
	assert_int_equal(in(CNT, 2), SCI_EN); /* there is no legacy mode */
	out(CNT, 2, SCI_EN | SLP_TYP(VACPI_S5_TYP));
	assert_int_equal(power_offs, 0);
	assert_int_equal(in(CNT, 2), SCI_EN | SLP_TYP(VACPI_S5_TYP));
	out(CNT, 2, SCI_EN | SLP_TYP(1) | SLP_EN); /* no such state */
	assert_int_equal(power_offs, 0);
	out(CNT, 2, SCI_EN | SLP_TYP(VACPI_S5_TYP) | SLP_EN);
	assert_int_equal(power_offs, 1);
	assert_int_equal(in(CNT, 2), SCI_EN | SLP_TYP(VACPI_S5_TYP)); /* SLP_EN is write-only */
	out(CNT + 1, 1, (SLP_TYP(VACPI_S5_TYP) | SLP_EN) >> 8);
	assert_int_equal(power_offs, 2);
	out(CNT, 4, SLP_TYP(VACPI_S5_TYP) | SLP_EN);
	assert_int_equal(power_offs, 3);
	assert_int_equal(resets, 0);
}

static void wide_and_crossing(void **state)
{
	(void)state;
	out(STS, 4, (uint64_t)PWRBTN_BIT << 16); /* STS and EN at once */
	assert_int_equal(in(EN, 2), PWRBTN_BIT);
	assert_int_equal(in(STS, 4), PWRBTN_BIT << 16);
	host.now = 0xa1b2c3d4;
	assert_true(in(STS, 8) == (0xffff000000000000ull | (uint64_t)SCI_EN << 32 | PWRBTN_BIT << 16 | TMR_BIT));
	assert_int_equal(in(TMR + 2, 4), 0xffffa1b2);
	assert_int_equal(in(15, 4), 0xffffffff);
	out(15, 8, ~0ull);
}

static void port_cf9(void **state)
{
	(void)state;
	fake_out(vacpi_access_cf9, &acpi, 0, 1, 0x02);
	assert_int_equal(resets, 0);
	assert_int_equal(fake_in(vacpi_access_cf9, &acpi, 0, 1), 0x02);
	fake_out(vacpi_access_cf9, &acpi, 0, 1, 0x06);
	assert_int_equal(resets, 1);
	fake_out(vacpi_access_cf9, &acpi, 0, 1, 0x06); /* only the rising edge */
	assert_int_equal(resets, 1);
	fake_out(vacpi_access_cf9, &acpi, 0, 1, 0x00);
	fake_out(vacpi_access_cf9, &acpi, 0, 1, 0x0e);
	assert_int_equal(resets, 2);
	fake_out(vacpi_access_cf9, &acpi, 1, 1, 0x00);
	assert_int_equal(fake_in(vacpi_access_cf9, &acpi, 0, 2), 0xff0e);
}

static void port_92(void **state)
{
	(void)state;
	assert_int_equal(fake_in(vacpi_access_92, &acpi, 0, 1), 0x02);
	fake_out(vacpi_access_92, &acpi, 0, 1, 0x00);
	assert_int_equal(fake_in(vacpi_access_92, &acpi, 0, 1), 0x00);
	fake_out(vacpi_access_92, &acpi, 0, 1, 0x02);
	assert_int_equal(resets, 0);
	fake_out(vacpi_access_92, &acpi, 0, 1, 0x03);
	fake_out(vacpi_access_92, &acpi, 0, 1, 0x03);
	assert_int_equal(resets, 1);
}

static void port_64(void **state)
{
	(void)state;
	assert_int_equal(fake_in(vacpi_access_64, &acpi, 0, 1), 0xff);
	for (unsigned command = 0; command < 0xfe; command++)
		fake_out(vacpi_access_64, &acpi, 0, 1, command);
	fake_out(vacpi_access_64, &acpi, 0, 1, 0xff);
	assert_int_equal(resets, 0);
	fake_out(vacpi_access_64, &acpi, 0, 1, 0xfe);
	assert_int_equal(resets, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(timer_counts, setup),
		cmocka_unit_test_setup(timer_carry, setup),
		cmocka_unit_test_setup(power_button, setup),
		cmocka_unit_test_setup(powers_off, setup),
		cmocka_unit_test_setup(wide_and_crossing, setup),
		cmocka_unit_test_setup(port_cf9, setup),
		cmocka_unit_test_setup(port_92, setup),
		cmocka_unit_test_setup(port_64, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
