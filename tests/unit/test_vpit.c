/* The emulated 8254 against its data sheet. The host's clock is the PIT's own here, so that a tick is a CLK pulse. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "guest/dev/vpit.h"
#include <tf/math.h>

#define CONTROL 3
#define START   1000 /* the time is not 0 when a test begins */

static struct fake_host host;
static struct vpit pit;

static int setup(void **state)
{
	(void)state;
	fake_host_init(&host, PIT_HZ);
	host.now = START;
	host.level[0] = true;
	vpit_init(&pit, &host.host);
	return 0;
}

static void tick(void *dev) { vpit_tick(dev); }
static uint8_t in(unsigned port) { return (uint8_t)fake_in(vpit_access, &pit, port, 1); }
static void out(unsigned port, uint8_t value) { fake_out(vpit_access, &pit, port, 1, value); }
static uint8_t in61(void) { return (uint8_t)fake_in(vpit_access_61, &pit, 0, 1); }
static void out61(uint8_t value) { fake_out(vpit_access_61, &pit, 0, 1, value); }
static void run_to(uint64_t clock) { fake_run(&host, START + clock, tick, &pit); }

static void program(unsigned ch, unsigned mode, bool bcd, uint16_t count)
{
	out(CONTROL, (uint8_t)(ch << 6 | 0x30 | mode << 1 | bcd));
	out(ch, (uint8_t)count);
	out(ch, (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned ch)
{
	uint16_t low;

	out(CONTROL, (uint8_t)(ch << 6));
	low = in(ch);
	return (uint16_t)(in(ch) << 8 | low);
}

static uint8_t status(unsigned ch)
{
	out(CONTROL, (uint8_t)(0xe0 | 2u << ch));
	return in(ch);
}

static bool out_pin(unsigned ch) { return status(ch) & 0x80; }

static void mode_0_interrupts_once(void **state)
{
	(void)state;
	program(0, 0, false, 100);
	assert_false(host.level[0]);
	run_to(100);
	assert_false(host.level[0]);
	assert_false(out_pin(0));
	assert_int_equal(latched(0), 1);
	run_to(101); /* N + 1 pulses after the count was written */
	assert_true(host.level[0]);
	assert_true(out_pin(0));
	assert_int_equal(latched(0), 0);
	run_to(102);
	assert_int_equal(latched(0), 0xffff); /* it counts on */
	run_to(1000000);
	assert_int_equal(host.rises[0], 1);
	assert_true(host.deadline == DEV_NEVER);
	out(0, 50); /* a new count: the first byte stops it and clears OUT */
	assert_false(host.level[0]);
	run_to(2000000);
	assert_false(host.level[0]);
	out(0, 0);
	run_to(2000050);
	assert_false(host.level[0]);
	run_to(2000051);
	assert_true(host.level[0]);
}

static void mode_0_gate_stops_counting(void **state)
{
	(void)state;
	out61(1);
	program(2, 0, false, 100);
	run_to(41);
	assert_int_equal(latched(2), 60);
	out61(0);
	run_to(500);
	assert_int_equal(latched(2), 60);
	assert_int_equal(in61() & 0x20, 0);
	out61(1);
	run_to(559);
	assert_int_equal(in61() & 0x20, 0);
	run_to(560);
	assert_int_equal(in61() & 0x20, 0x20);
}

static void mode_0_loads_while_gated(void **state)
{
	(void)state;
	program(2, 0, false, 100);
	run_to(300);
	assert_int_equal(latched(2), 100);
	out61(1);
	run_to(399);
	assert_int_equal(in61() & 0x20, 0);
	run_to(400); /* "no CLK pulse is needed to load the counter" */
	assert_int_equal(in61() & 0x20, 0x20);
}

static void mode_1_is_a_retriggerable_one_shot(void **state)
{
	(void)state;
	program(2, 1, false, 100);
	run_to(1000);
	assert_true(out_pin(2));
	assert_int_equal(status(2) & 0x40, 0x40); /* not loaded before the trigger */
	out61(1);
	run_to(1001);
	assert_false(out_pin(2));
	assert_int_equal(status(2) & 0x40, 0);
	out61(0); /* the gate's level has no effect */
	run_to(1050);
	out61(1);
	run_to(1150);
	assert_false(out_pin(2));
	run_to(1151);
	assert_true(out_pin(2));
	out(2, 10);
	out(2, 0);
	run_to(2000);
	assert_true(out_pin(2));
	out61(0);
	out61(1);
	run_to(2010);
	assert_false(out_pin(2));
	run_to(2011);
	assert_true(out_pin(2));
}

static void mode_2_is_a_rate_generator(void **state)
{
	(void)state;
	program(0, 2, false, 1000);
	assert_true(host.level[0]);
	run_to(1);
	assert_int_equal(latched(0), 1000);
	run_to(999);
	assert_true(out_pin(0));
	assert_int_equal(latched(0), 2);
	run_to(1000);
	assert_false(out_pin(0)); /* low for one pulse */
	assert_int_equal(latched(0), 1);
	assert_int_equal(host.rises[0], 0);
	run_to(1001);
	assert_true(out_pin(0));
	assert_int_equal(latched(0), 1000);
	assert_int_equal(host.rises[0], 1);
	assert_true(host.level[0]);
	run_to(1000 * 1000);
	assert_int_equal(host.rises[0], 999);
	run_to(1000 * 1000 + 1);
	assert_int_equal(host.rises[0], 1000);
}

static void mode_2_takes_a_new_count_at_the_reload(void **state)
{
	(void)state;
	program(0, 2, false, 1000);
	run_to(500);
	out(0, 100);
	out(0, 0);
	assert_int_equal(status(0) & 0x40, 0x40);
	assert_int_equal(latched(0), 501);
	run_to(1000);
	assert_int_equal(latched(0), 1);
	run_to(1001);
	assert_int_equal(host.rises[0], 1);
	assert_int_equal(status(0) & 0x40, 0);
	assert_int_equal(latched(0), 100);
	run_to(1100);
	assert_int_equal(host.rises[0], 1);
	run_to(1101);
	assert_int_equal(host.rises[0], 2);
}

static void mode_2_gate_restarts(void **state)
{
	(void)state;
	out61(1);
	program(2, 2, false, 1000);
	run_to(1000);
	assert_int_equal(in61() & 0x20, 0);
	out61(0);
	assert_int_equal(in61() & 0x20, 0x20); /* set high at once */
	run_to(5000);
	out61(1);
	run_to(5001);
	assert_int_equal(latched(2), 1000);
}

static void mode_3_even_and_odd(void **state)
{
	(void)state;
	program(0, 3, false, 6);
	for (unsigned t = 0; t < 18; t++) {
		run_to(1 + t);
		assert_int_equal(latched(0), 6 - t % 3 * 2);
		assert_int_equal(out_pin(0), t % 6 < 3);
	}
	out61(1);
	program(2, 3, false, 5); /* high for three pulses, low for two */
	for (unsigned t = 0; t < 15; t++) {
		static const uint8_t count[] = { 4, 2, 0, 4, 2 };

		host.now = START + 18 + 1 + t;
		assert_int_equal(latched(2), count[t % 5]);
		assert_int_equal(out_pin(2), t % 5 < 3);
	}
}

static void mode_3_takes_a_new_count_at_the_half(void **state)
{
	(void)state;
	out61(1);
	program(2, 3, false, 1000);
	run_to(100);
	out(2, 100);
	out(2, 0);
	run_to(500);
	assert_true(out_pin(2));
	run_to(501);
	assert_false(out_pin(2));
	assert_int_equal(latched(2), 100);
	run_to(550);
	assert_false(out_pin(2));
	run_to(551);
	assert_true(out_pin(2));
	run_to(601);
	assert_false(out_pin(2));
}

static void mode_4_strobes(void **state)
{
	(void)state;
	program(0, 4, false, 100);
	assert_true(out_pin(0));
	run_to(100);
	assert_true(out_pin(0));
	run_to(101);
	assert_false(out_pin(0));
	assert_int_equal(host.rises[0], 0);
	run_to(102);
	assert_true(out_pin(0));
	assert_int_equal(host.rises[0], 1);
	run_to(1000000);
	assert_int_equal(host.rises[0], 1);
}

static void mode_5_strobes_when_triggered(void **state)
{
	(void)state;
	program(2, 5, false, 100);
	run_to(500);
	assert_true(out_pin(2));
	out61(1);
	run_to(600);
	assert_true(out_pin(2));
	run_to(601);
	assert_false(out_pin(2));
	run_to(602);
	assert_true(out_pin(2));
}

static void modes_6_and_7_are_2_and_3(void **state)
{
	(void)state;
	program(0, 6, false, 10);
	assert_int_equal(status(0) & 0x3f, 0x3c); /* shown exactly as written */
	run_to(10);
	assert_false(out_pin(0));
	program(0, 7, false, 10);
	run_to(10 + 3);
	assert_int_equal(latched(0), 6);
}

static void counts_bcd(void **state)
{
	(void)state;
	program(0, 2, true, 0x1000);
	run_to(1);
	assert_int_equal(latched(0), 0x1000);
	run_to(2);
	assert_int_equal(latched(0), 0x0999);
	run_to(1001);
	assert_int_equal(host.rises[0], 1);
	program(0, 0, true, 0); /* ten thousand */
	run_to(1001 + 10000);
	assert_int_equal(host.rises[0], 1);
	assert_int_equal(latched(0), 0x0001);
	run_to(1001 + 10001);
	assert_int_equal(host.rises[0], 2);
	run_to(1001 + 10002);
	assert_int_equal(latched(0), 0x9999);
}

static void count_0_is_the_largest(void **state)
{
	(void)state;
	program(0, 2, false, 0);
	run_to(1);
	assert_int_equal(latched(0), 0);
	run_to(2);
	assert_int_equal(latched(0), 0xffff);
	run_to(65536);
	assert_int_equal(host.rises[0], 0);
	run_to(65537);
	assert_int_equal(host.rises[0], 1);
}

static void one_byte_counts(void **state)
{
	(void)state;
	out(CONTROL, 0x14); /* channel 0, LSB only, mode 2 */
	out(0, 200);
	run_to(1);
	assert_int_equal(in(0), 200);
	assert_int_equal(in(0), 200);
	out(CONTROL, 0x24); /* MSB only */
	out(0, 2);
	run_to(2);
	assert_int_equal(in(0), 2);
	run_to(3);
	assert_int_equal(in(0), 1); /* 1FFh */
}

static void latch_holds_until_read(void **state)
{
	(void)state;
	program(0, 2, false, 0x1234);
	run_to(1);
	out(CONTROL, 0x00);
	run_to(100);
	out(CONTROL, 0x00); /* a second latch is ignored */
	assert_int_equal(in(0), 0x34);
	run_to(200);
	assert_int_equal(in(0), 0x12);
	assert_int_equal(in(0), (0x1234 - 199) & 0xff); /* live again */
	assert_int_equal(in(0), (0x1234 - 199) >> 8);
	assert_int_equal(in(CONTROL), 0xff);
}

static void read_back(void **state)
{
	(void)state;
	out61(1);
	program(0, 2, false, 0x1000);
	program(2, 3, false, 0x2000);
	run_to(1);
	out(CONTROL, 0xca); /* count and status of channels 0 and 2 */
	run_to(50);
	assert_int_equal(in(0), 0xb4); /* status comes first */
	assert_int_equal(in(0), 0x00);
	assert_int_equal(in(0), 0x10);
	assert_int_equal(in(2), 0xb6);
	assert_int_equal(in(2), 0x00);
	assert_int_equal(in(2), 0x20);
	out(CONTROL, 0x34); /* a control word sets the null count flag and forgets latches */
	assert_int_equal(status(0), 0xf4);
}

static void no_drift(void **state)
{
	uint64_t edges = 1193182ull * 3600 / 1193; /* an hour of Linux's 1000 Hz */

	(void)state;
	fake_host_init(&host, 2893202000);
	host.level[0] = true;
	host.now = 12345;
	vpit_init(&pit, &host.host);
	program(0, 2, false, 1193);
	for (uint64_t i = 1; i <= edges; i++) {
		uint64_t exact = 12345 + (1 + i * 1193) * 2893202000ull / PIT_HZ;

		if (i < 1000 || i == edges) {
			fake_run(&host, exact - 1, tick, &pit);
			assert_int_equal(host.rises[0], i - 1);
			fake_run(&host, exact + 1, tick, &pit);
			assert_int_equal(host.rises[0], i);
		} else if (i == 1000) { /* very late: one edge, the last second's follow, and the phase stays */
			uint64_t late = edges - 1000;

			host.now = 12345 + mul_div(1 + late * 1193, 2893202000ull, PIT_HZ) + 2;
			vpit_tick(&pit);
			assert_int_equal(host.rises[0], 1000);
			host.rises[0] = (unsigned)late - 1000;
			i = edges - 1;
		}
	}
}

/* A guest takes what has risen; nothing may rise before. */
static unsigned edges_taken;

static bool irq_taken(void *ctx, unsigned line)
{
	(void)ctx;
	assert_int_equal(line, 0);
	return host.rises[0] == edges_taken;
}

static bool take_edge(void)
{
	assert_in_range(host.rises[0] - edges_taken, 0, 1);
	if (host.rises[0] == edges_taken)
		return false;
	edges_taken++;
	return true;
}

static void program_shared(unsigned mode, uint16_t count)
{
	edges_taken = 0;
	host.host.irq_taken = irq_taken;
	program(0, mode, false, count);
}

/* The guest runs until then. */
static unsigned take_until(uint64_t clock)
{
	unsigned n = 0;

	for (uint64_t t = host.now - START + 1; t <= clock; t++) {
		run_to(t);
		n += take_edge();
	}
	return n;
}

/* A guest that has the CPU for 5 of every 10 ms gets all of its 250 Hz, in ten seconds. */
static void every_other_slice(void **state)
{
	enum { COUNT = 4773, SLICE = PIT_HZ / 200, STEP = 17 };
	const uint64_t end = 10ull * PIT_HZ / (2 * SLICE) * (2 * SLICE) + SLICE;
	uint64_t due = 0;
	unsigned n = 0;

	(void)state;
	program_shared(2, COUNT);
	for (uint64_t t = 0; t <= end; t += STEP) {
		bool runs = t / SLICE % 2 == 0;

		run_to(t);
		if (runs) {
			assert_int_equal(latched(0), t ? COUNT - (t - 1) % COUNT : COUNT);
			n += take_edge();
		}
		due = t ? (t - 1) / COUNT : 0;
		assert_true(n <= due);
		if (runs && (t + STEP) / SLICE % 2) /* none waits for longer than to the end of the next slice */
			assert_true(n + 1 >= due);
	}
	assert_int_equal(n, due);
	assert_int_equal(due, 2500);
}

static void the_backlog_is_bounded(void **state)
{
	static const struct { uint16_t count; unsigned most; } t[] = { { 4773, 249 }, { 1000, 1000 }, { 0, 18 } };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(t); i++) {
		uint32_t count = t[i / 2].count ? t[i / 2].count : 65536;
		uint64_t now = 1 + 3000ull * count, last = now + (t[i / 2].most + 10) * (uint64_t)count;
		unsigned n;

		setup(state);
		program_shared(i & 1 ? 3 : 2, t[i / 2].count);
		run_to(now);
		assert_int_equal(host.rises[0], 1);
		assert_int_equal(latched(0), t[i / 2].count & (i & 1 ? 0xfffe : 0xffff));
		n = take_until(now + count / 2);
		assert_in_range(n, 4, 5); /* the one that was given, and no more than eight in a period */
		n += take_until(last);
		assert_int_equal(n, 1 + t[i / 2].most + t[i / 2].most + 10);
	}
}

/* A host that does not know what has been taken: the edges come all the same, at the pace. */
static void backlog_without_irq_taken(void **state)
{
	(void)state;
	program(0, 2, false, 8000);
	host.now = START + 1 + 3 * 8000;
	vpit_tick(&pit);
	assert_int_equal(host.rises[0], 1);
	run_to(3 * 8000 + 1000);
	assert_int_equal(host.rises[0], 1);
	run_to(3 * 8000 + 1001);
	assert_int_equal(host.rises[0], 2);
	run_to(3 * 8000 + 2001);
	assert_int_equal(host.rises[0], 3);
	run_to(4 * 8000);
	assert_int_equal(host.rises[0], 3);
	run_to(4 * 8000 + 1);
	assert_int_equal(host.rises[0], 4);
}

static void programming_clears_the_backlog(void **state)
{
	const uint64_t now = 1 + 100 * 8000;

	program_shared(2, 8000);
	run_to(now);
	assert_true(take_edge());
	assert_int_equal(take_until(now + 8000), 7 + 1); /* it is there */

	setup(state);
	program_shared(2, 8000);
	run_to(now);
	out(0, 0x40); /* 8000 again, taken at the reload */
	out(0, 0x1f);
	assert_true(take_edge());
	assert_int_equal(take_until(now + 7999), 0);
	assert_int_equal(take_until(now + 8000), 1);

	for (unsigned mode = 0; mode < 6; mode++) {
		setup(state);
		program_shared(3, 8000);
		run_to(now);
		out(CONTROL, (uint8_t)(0x30 | mode << 1));
		assert_true(take_edge());
		vpit_tick(&pit); /* nobody asked */
		assert_int_equal(take_until(now + 16000), 0);
	}
}

static void too_fast_is_bounded(void **state)
{
	(void)state;
	program(0, 2, false, 1);
	run_to(PIT_HZ);
	assert_in_range(host.ticks, 1000, 20000);
	program(0, 3, false, 1);
	(void)status(0);
	(void)latched(0);
	run_to(2 * PIT_HZ);
	assert_in_range(host.ticks, 2000, 40000);
}

static void port_61(void **state)
{
	uint8_t first;
	unsigned changes = 0;

	(void)state;
	out61(0xff);
	assert_int_equal(in61() & 0xcf, 0x0f);
	out61(0);
	first = in61() & 0x10;
	for (unsigned t = 1; t <= 180; t++) {
		host.now++;
		if ((in61() & 0x10) != first) {
			first ^= 0x10;
			changes++;
		}
	}
	assert_int_equal(changes, 10); /* every 15 us */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(mode_0_interrupts_once, setup),
		cmocka_unit_test_setup(mode_0_gate_stops_counting, setup),
		cmocka_unit_test_setup(mode_0_loads_while_gated, setup),
		cmocka_unit_test_setup(mode_1_is_a_retriggerable_one_shot, setup),
		cmocka_unit_test_setup(mode_2_is_a_rate_generator, setup),
		cmocka_unit_test_setup(mode_2_takes_a_new_count_at_the_reload, setup),
		cmocka_unit_test_setup(mode_2_gate_restarts, setup),
		cmocka_unit_test_setup(mode_3_even_and_odd, setup),
		cmocka_unit_test_setup(mode_3_takes_a_new_count_at_the_half, setup),
		cmocka_unit_test_setup(mode_4_strobes, setup),
		cmocka_unit_test_setup(mode_5_strobes_when_triggered, setup),
		cmocka_unit_test_setup(modes_6_and_7_are_2_and_3, setup),
		cmocka_unit_test_setup(counts_bcd, setup),
		cmocka_unit_test_setup(count_0_is_the_largest, setup),
		cmocka_unit_test_setup(one_byte_counts, setup),
		cmocka_unit_test_setup(latch_holds_until_read, setup),
		cmocka_unit_test_setup(read_back, setup),
		cmocka_unit_test_setup(no_drift, setup),
		cmocka_unit_test_setup(every_other_slice, setup),
		cmocka_unit_test_setup(the_backlog_is_bounded, setup),
		cmocka_unit_test_setup(backlog_without_irq_taken, setup),
		cmocka_unit_test_setup(programming_clears_the_backlog, setup),
		cmocka_unit_test_setup(too_fast_is_bounded, setup),
		cmocka_unit_test_setup(port_61, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
