/* The emulated MC146818 against its data sheet. */
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "fake_host.h"
#include "guest/dev/vrtc.h"

#define HZ    1000000ull /* one tick is a microsecond */
#define START 777
#define IRQ   8

#define A_32KHZ 0x20
#define B_SET   0x80
#define B_PIE   0x40
#define B_AIE   0x20
#define B_UIE   0x10
#define B_BIN   0x04
#define B_24H   0x02

#define NEW_YEARS_EVE 1735689599 /* Tuesday, 2024-12-31 23:59:59 */

static struct fake_host host;
static struct vrtc rtc;

static void begin(int64_t unix_seconds)
{
	fake_host_init(&host, HZ);
	host.now = START;
	vrtc_init(&rtc, &host.host, unix_seconds, MiB(512), 0);
}

static int setup(void **state)
{
	(void)state;
	begin(NEW_YEARS_EVE);
	return 0;
}

static void tick(void *dev) { vrtc_tick(dev); }
static void run_to(uint64_t us) { fake_run(&host, START + us, tick, &rtc); }

static uint8_t get(uint8_t index)
{
	fake_out(vrtc_access, &rtc, 0, 1, index);
	return (uint8_t)fake_in(vrtc_access, &rtc, 1, 1);
}

static void put(uint8_t index, uint8_t value)
{
	fake_out(vrtc_access, &rtc, 0, 1, index);
	fake_out(vrtc_access, &rtc, 1, 1, value);
}

static void expect_time(uint32_t hms, uint8_t weekday, uint32_t cymd)
{
	assert_int_equal(get(4) << 16 | get(2) << 8 | get(0), hms);
	assert_int_equal(get(6), weekday);
	assert_int_equal((uint32_t)get(0x32) << 24 | get(9) << 16 | get(8) << 8 | get(7), cymd);
}

static void tells_the_time(void **state)
{
	(void)state;
	assert_int_equal(get(0x0b), B_24H);
	assert_int_equal(get(0x0d), 0x80);
	expect_time(0x235959, 3, 0x20241231);
	run_to(HZ - 1);
	expect_time(0x235959, 3, 0x20241231);
	run_to(HZ);
	expect_time(0x000000, 4, 0x20250101);
	put(0x0b, B_24H | B_BIN);
	assert_int_equal(get(9), 25);
	assert_int_equal(get(0x32), 20);
}

static void twelve_hours(void **state)
{
	static const uint8_t bcd[24] = { 0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11,
					 0x92, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91 };

	(void)state;
	begin(0);
	put(0x0b, 0);
	for (unsigned hour = 0; hour < 24; hour++) {
		run_to(hour * 3600 * HZ);
		assert_int_equal(get(4), bcd[hour]);
		put(4, bcd[hour]); /* and understands what it says */
		assert_int_equal(get(4), bcd[hour]);
	}
	put(0x0b, B_BIN);
	assert_int_equal(get(4), 0x80 | 11);
}

/* Days through six centuries, against the C library. */
static void calendar(void **state)
{
	(void)state;
	for (int64_t t = -86400ll * 365 * 100; t < 86400ll * 365 * 500; t += 86400 * 9 + 3671) {
		time_t c = (time_t)t;
		struct tm tm;

		begin(t);
		put(0x0b, B_24H | B_BIN);
		gmtime_r(&c, &tm);
		assert_int_equal(get(0), tm.tm_sec);
		assert_int_equal(get(2), tm.tm_min);
		assert_int_equal(get(4), tm.tm_hour);
		assert_int_equal(get(6), tm.tm_wday + 1);
		assert_int_equal(get(7), tm.tm_mday);
		assert_int_equal(get(8), tm.tm_mon + 1);
		assert_int_equal(get(0x32) * 100 + get(9), tm.tm_year + 1900);
		put(0, get(0)); /* through the registers and back */
		assert_int_equal(get(7), tm.tm_mday);
		assert_int_equal(get(6), tm.tm_wday + 1);
	}
}

static void set_by_the_guest(void **state)
{
	static const uint8_t regs[][2] = { { 0, 0x58 }, { 2, 0x59 }, { 4, 0x23 }, { 6, 5 },
					   { 7, 0x28 }, { 8, 0x02 }, { 9, 0x00 }, { 0x32, 0x20 } };

	(void)state;
	run_to(300000);
	put(0x0b, B_SET | B_24H | B_UIE);
	assert_int_equal(get(0x0b), B_SET | B_24H); /* SET clears UIE */
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		put(regs[i][0], regs[i][1]);
	run_to(5 * HZ);
	assert_int_equal(get(0), 0x58); /* updates are inhibited */
	run_to(5 * HZ + 300000);
	put(0x0b, B_24H);
	run_to(6 * HZ - 1);
	expect_time(0x235958, 5, 0x20000228);
	run_to(6 * HZ); /* the divider chain ran on */
	expect_time(0x235959, 5, 0x20000228);
	run_to(7 * HZ);
	expect_time(0x000000, 6, 0x20000229); /* 2000 was a leap year; the weekday is the guest's own affair */
}

static void divider_reset_gives_half_a_second(void **state)
{
	(void)state;
	put(0x0b, B_SET | B_24H);
	put(0x0a, 0x70);
	put(0, 0x10);
	run_to(4 * HZ + 123);
	put(0x0b, B_24H);
	assert_int_equal(get(0), 0x10);
	put(0x0a, A_32KHZ | 6);
	run_to(4 * HZ + 123 + HZ / 2 - 1);
	assert_int_equal(get(0), 0x10);
	run_to(4 * HZ + 123 + HZ / 2);
	assert_int_equal(get(0), 0x11);
}

static void nonsense_is_bounded(void **state)
{
	(void)state;
	put(0x0b, B_SET | B_24H);
	for (unsigned i = 0; i < 10; i++)
		put((uint8_t)i, 0xff);
	put(0x32, 0xff);
	assert_int_equal(get(8), 0xff);
	put(0x0b, B_24H);
	expect_time(0x235959, 7, 0x99991231);
	put(7, 0x00);
	put(8, 0x00);
	expect_time(0x235959, 7, 0x99990101);
	run_to(100 * HZ);
	(void)get(0);
}

static void update_in_progress(void **state)
{
	(void)state;
	run_to(HZ - 2229);
	assert_int_equal(get(0x0a), 0x26);
	run_to(HZ - 2228); /* 244 us of announcement and 1984 us of update */
	assert_int_equal(get(0x0a), 0xa6);
	run_to(HZ - 1);
	assert_int_equal(get(0x0a), 0xa6);
	put(0x0a, 0xa6); /* UIP is read-only */
	run_to(HZ);
	assert_int_equal(get(0x0a), 0x26);
	put(0x0b, B_SET | B_24H);
	run_to(2 * HZ - 1);
	assert_int_equal(get(0x0a), 0x26);
}

static void update_interrupt(void **state)
{
	(void)state;
	begin(1);
	assert_true(host.deadline == DEV_NEVER);
	put(0x0b, B_24H | B_UIE);
	run_to(HZ - 1);
	assert_false(host.level[IRQ]);
	run_to(HZ);
	assert_true(host.level[IRQ]);
	run_to(10 * HZ); /* not read yet: no more */
	assert_int_equal(host.ticks, 1);
	assert_int_equal(get(0x0c), 0xd0); /* PF too, of the 1024 Hz that nobody enabled */
	assert_false(host.level[IRQ]);
	assert_int_equal(get(0x0c), 0x00);
	run_to(11 * HZ);
	assert_int_equal(host.rises[IRQ], 2);
	put(0x0b, B_24H);
	assert_false(host.level[IRQ]);
	assert_int_equal(get(0x0c), 0x50); /* the flag without its interrupt */
	run_to(12 * HZ);
	assert_int_equal(get(0x0c), 0x50); /* is set even when nothing is armed */
	put(0x0b, B_24H | B_UIE);
	put(0x0b, B_SET | B_24H | B_PIE | B_AIE);
	assert_int_equal(get(0x0c), 0x00);
}

static void periodic_rates(void **state)
{
	static const uint16_t hz[16] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2 };

	(void)state;
	for (unsigned rs = 0; rs < 16; rs++) {
		unsigned count = 0;

		begin(0);
		put(0x0a, (uint8_t)(A_32KHZ | rs));
		put(0x0b, B_24H | B_PIE);
		while (host.deadline <= START + HZ) {
			run_to(host.deadline - START);
			assert_true(host.level[IRQ]);
			assert_int_equal(get(0x0c) & 0xc0, 0xc0);
			count++;
		}
		assert_int_equal(count, hz[rs]);
	}
	begin(0);
	put(0x0a, 0x76); /* a divider in reset gives no edges */
	put(0x0b, B_24H | B_PIE);
	assert_true(host.deadline == DEV_NEVER);
}

static void alarm_once_a_day(void **state)
{
	(void)state;
	begin(0); /* midnight */
	put(1, 0x30);
	put(3, 0x15);
	put(5, 0x07);
	put(0x0b, B_24H | B_AIE);
	run_to((7 * 3600 + 15 * 60 + 30) * HZ - 1);
	assert_false(host.level[IRQ]);
	run_to((7 * 3600 + 15 * 60 + 30) * HZ);
	assert_true(host.level[IRQ]);
	assert_int_equal(get(0x0c) & 0xa0, 0xa0);
	run_to(86400 * HZ);
	assert_int_equal(host.rises[IRQ], 1);
	assert_int_equal(host.ticks, 1);
	run_to((86400 + 7 * 3600 + 15 * 60 + 30) * HZ);
	assert_int_equal(host.rises[IRQ], 2);
}

static void alarm_dont_care(void **state)
{
	(void)state;
	begin(59 * 60 + 58);
	put(1, 0x05);
	put(3, 0xc0); /* any minute of any hour */
	put(5, 0xff);
	put(0x0b, B_24H | B_AIE);
	run_to(7 * HZ - 1);
	assert_false(host.level[IRQ]);
	run_to(7 * HZ);
	assert_true(host.level[IRQ]);
	assert_int_equal(get(0x0c) & 0xb0, 0xb0);
	run_to(67 * HZ);
	assert_int_equal(host.rises[IRQ], 2);
	(void)get(0x0c);
	put(1, 0x61); /* never */
	assert_true(host.deadline == DEV_NEVER);
	run_to(200 * HZ);
	assert_int_equal(get(0x0c) & 0x20, 0);
}

/* A guest may write such a thing without end, and each time the next alarm is looked for. */
static void alarm_that_never_comes_costs_little(void **state)
{
	clock_t start = clock();

	(void)state;
	begin(0);
	put(3, 0xff);
	put(5, 0xff);
	put(0x0b, B_24H | B_AIE);
	for (unsigned i = 0; i < 100000; i++)
		put(1, 0x75);
	assert_true(host.deadline == DEV_NEVER);
	assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
}

static void alarm_in_twelve_hour_format(void **state)
{
	(void)state;
	begin(0);
	put(0x0b, 0);
	put(1, 0x00);
	put(3, 0x00);
	put(5, 0x81); /* one in the afternoon */
	put(0x0b, B_AIE);
	run_to(13 * 3600 * HZ - 1);
	assert_false(host.level[IRQ]);
	run_to(13 * 3600 * HZ);
	assert_true(host.level[IRQ]);
}

static void cmos_memory(void **state)
{
	static const struct { uint64_t below, above; uint16_t base, ext, mid; uint32_t high; } cases[] = {
		{ MiB(4), 0, 640, 3072, 0, 0 },
		{ MiB(64), 0, 640, 0xfc00, 768, 0 },
		{ MiB(512), 0, 640, 0xfc00, 7936, 0 },
		{ GiB(3), GiB(5), 640, 0xfc00, 48896, 81920 },
		{ GiB(4), ~0ull, 640, 0xfc00, 65280, 0xffffff },
		{ KiB(512), 0, 512, 0, 0, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		vrtc_init(&rtc, &host.host, 0, cases[i].below, cases[i].above);
		assert_int_equal(get(0x15) | get(0x16) << 8, cases[i].base);
		assert_int_equal(get(0x17) | get(0x18) << 8, cases[i].ext);
		assert_int_equal(get(0x30) | get(0x31) << 8, cases[i].ext);
		assert_int_equal(get(0x34) | get(0x35) << 8, cases[i].mid);
		assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, cases[i].high);
	}
}

static void ports(void **state)
{
	(void)state;
	put(0x7f, 0x5a);
	put(0x0f, 0x12);
	assert_int_equal(get(0xff), 0x5a); /* bit 7 is the NMI mask */
	assert_int_equal(fake_in(vrtc_access, &rtc, 0, 1), 0xff);
	assert_int_equal(fake_in(vrtc_access, &rtc, 0, 2), 0x5aff);
	fake_out(vrtc_access, &rtc, 0, 2, 0x340f);
	assert_int_equal(get(0x0f), 0x34);
	put(0x0c, 0xff);
	put(0x0d, 0x00);
	assert_int_equal(get(0x0c), 0);
	assert_int_equal(get(0x0d), 0x80);
	assert_int_equal(fake_in(vrtc_access, &rtc, 2, 1), 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(tells_the_time, setup),
		cmocka_unit_test_setup(twelve_hours, setup),
		cmocka_unit_test_setup(calendar, setup),
		cmocka_unit_test_setup(set_by_the_guest, setup),
		cmocka_unit_test_setup(divider_reset_gives_half_a_second, setup),
		cmocka_unit_test_setup(nonsense_is_bounded, setup),
		cmocka_unit_test_setup(update_in_progress, setup),
		cmocka_unit_test_setup(update_interrupt, setup),
		cmocka_unit_test_setup(periodic_rates, setup),
		cmocka_unit_test_setup(alarm_once_a_day, setup),
		cmocka_unit_test_setup(alarm_dont_care, setup),
		cmocka_unit_test_setup(alarm_that_never_comes_costs_little, setup),
		cmocka_unit_test_setup(alarm_in_twelve_hour_format, setup),
		cmocka_unit_test_setup(cmos_memory, setup),
		cmocka_unit_test_setup(ports, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
