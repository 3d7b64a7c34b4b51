/* The watchdog: its device as the WDAT describes it, and the watch from outside as long as the device does not run. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "guest/dev/vwatchdog.h"

#define HZ      1000ull /* a tick is a millisecond */
#define LIMIT   8000u
#define LOOK    (LIMIT / VWATCHDOG_LOOKS)
#define TIMEOUT VWATCHDOG_TIMEOUT
#define COUNT   VWATCHDOG_COUNT
#define CONTROL VWATCHDOG_CONTROL
#define STATUS  VWATCHDOG_STATUS
#define RUN     1
#define STOPPED 2 /* CONTROL: reboot, not running */

static struct fake_host host;
static struct vwatchdog w;
static unsigned by_silence, by_device, looks;
static bool is_alive;
static uint64_t silence; /* what counts of the time between two looks; 0: all */
static uint64_t last;

static bool alive(void *ctx, uint64_t *silent)
{
	assert_ptr_equal(ctx, &host);
	looks++;
	*silent = silence ? silence : host.now - last;
	last = host.now;
	return is_alive;
}

static void expired(void *ctx, enum vwatchdog_reason why)
{
	assert_ptr_equal(ctx, &host);
	if (why == VWATCHDOG_DEVICE)
		by_device++;
	else
		by_silence++;
}

static const struct vwatchdog_ops ops = { .alive = alive, .expired = expired };

static int setup(void **state)
{
	(void)state;
	by_silence = by_device = looks = 0;
	silence = last = 0;
	is_alive = true;
	fake_host_init(&host, HZ);
	vwatchdog_init(&w, &host.host, &ops, &host, LIMIT, false);
	return 0;
}

static void tick(void *dev) { vwatchdog_tick(dev); }
static uint64_t in(unsigned port, uint8_t size) { return fake_in(vwatchdog_access, &w, port, size); }
static void out(unsigned port, uint8_t size, uint64_t value) { fake_out(vwatchdog_access, &w, port, size, value); }
static void run_for(uint64_t ms) { fake_run(&host, host.now + ms, tick, &w); }
static unsigned fired(void) { return by_silence + by_device; }

static void power_up(void **state)
{
	(void)state;
	assert_int_equal(in(TIMEOUT, 4), LIMIT / VWATCHDOG_PERIOD_MS);
	assert_int_equal(in(COUNT, 4), LIMIT / VWATCHDOG_PERIOD_MS);
	assert_int_equal(in(CONTROL, 4), STOPPED);
	assert_int_equal(in(STATUS, 4), 0);
}

static void the_alive_are_left_alone(void **state)
{
	(void)state;
	run_for(100 * LIMIT);
	assert_int_equal(fired(), 0);
	assert_in_range(looks, 100 * VWATCHDOG_LOOKS, 100 * VWATCHDOG_LOOKS + 1);
}

static void silence_ends_it(void **state)
{
	(void)state;
	is_alive = false;
	run_for(LIMIT - 1);
	assert_int_equal(fired(), 0);
	run_for(LOOK + 1);
	assert_int_equal(by_silence, 1);
	assert_true(host.deadline == DEV_NEVER); /* once */
}

/* One sign of life in the whole time is enough, at any look. */
static void one_sign_of_life_is_enough(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 50; n++) {
		is_alive = false;
		run_for(LIMIT - LOOK);
		is_alive = true;
		run_for(LOOK);
	}
	assert_int_equal(fired(), 0);
}

/* A guest that hardly gets the CPU is silent for as long as it had it. */
static void only_its_own_time_counts(void **state)
{
	(void)state;
	is_alive = false;
	silence = 1;
	run_for(LIMIT * (LOOK - 1));
	assert_int_equal(fired(), 0);
	run_for(LIMIT + LOOK);
	run_for(LIMIT * VWATCHDOG_LOOKS);
	assert_int_equal(by_silence, 1);
}

static void absurd_times_do_not_wrap(void **state)
{
	(void)state;
	is_alive = false;
	silence = UINT64_MAX;
	run_for(LOOK);
	assert_int_equal(by_silence, 1);
}

static void device_counts_and_fires(void **state)
{
	(void)state;
	out(TIMEOUT, 4, 20);
	out(CONTROL, 4, STOPPED | RUN);
	assert_int_equal(in(CONTROL, 4), STOPPED | RUN);
	assert_int_equal(in(COUNT, 4), 20);
	run_for(50);
	assert_int_equal(in(COUNT, 4), 20); /* what has begun is left */
	run_for(50);
	assert_int_equal(in(COUNT, 4), 19);
	run_for(1899);
	assert_int_equal(in(COUNT, 4), 1);
	assert_int_equal(fired(), 0);
	run_for(1);
	assert_int_equal(by_device, 1);
	assert_int_equal(by_silence, 0);
	assert_true(host.deadline == DEV_NEVER);
}

static void reset_action_reloads(void **state)
{
	(void)state;
	out(TIMEOUT, 4, 10);
	out(CONTROL, 4, RUN);
	for (unsigned n = 0; n < 100; n++) {
		run_for(999);
		out(COUNT, 4, 1);
		assert_int_equal(in(COUNT, 4), 10);
	}
	assert_int_equal(fired(), 0);
	run_for(1000);
	assert_int_equal(by_device, 1);
}

static void a_second_start_does_not_reload(void **state)
{
	(void)state;
	out(TIMEOUT, 4, 10);
	out(CONTROL, 4, RUN);
	run_for(500);
	out(CONTROL, 4, RUN);
	assert_int_equal(in(COUNT, 4), 5);
}

static void timeout_is_for_the_next_reload(void **state)
{
	(void)state;
	out(TIMEOUT, 4, 10);
	out(CONTROL, 4, RUN);
	out(TIMEOUT, 4, 50);
	assert_int_equal(in(TIMEOUT, 4), 50);
	assert_int_equal(in(COUNT, 4), 10);
	out(COUNT, 4, 0);
	assert_int_equal(in(COUNT, 4), 50);
	run_for(4999);
	assert_int_equal(fired(), 0);
}

static void timeout_stays_within_the_table(void **state)
{
	(void)state;
	out(TIMEOUT, 4, 0);
	assert_int_equal(in(TIMEOUT, 4), 1);
	out(TIMEOUT, 4, 0xffffffff);
	assert_int_equal(in(TIMEOUT, 4), 0xffff);
	out(CONTROL, 4, RUN);
	run_for(6553499);
	assert_int_equal(fired(), 0);
	run_for(1);
	assert_int_equal(by_device, 1);
}

/* While it runs, the guest's driver alone decides. */
static void device_replaces_the_watch(void **state)
{
	(void)state;
	is_alive = false;
	out(TIMEOUT, 4, 10 * LIMIT / VWATCHDOG_PERIOD_MS);
	out(CONTROL, 4, RUN);
	run_for(9 * LIMIT);
	assert_int_equal(fired(), 0);
	out(CONTROL, 4, 0);
	assert_int_equal(in(CONTROL, 4), STOPPED);
	run_for(LIMIT - 1); /* the watch begins anew */
	assert_int_equal(fired(), 0);
	run_for(LOOK + 1);
	assert_int_equal(by_silence, 1);
	assert_int_equal(by_device, 0);
}

static void status_tells_the_next_start(void **state)
{
	(void)state;
	vwatchdog_init(&w, &host.host, &ops, &host, LIMIT, true);
	assert_int_equal(in(STATUS, 4), 1);
	out(STATUS, 4, 0);
	assert_int_equal(in(STATUS, 4), 1);
	out(STATUS, 4, 1);
	assert_int_equal(in(STATUS, 4), 0);
	out(STATUS, 4, 1);
	assert_int_equal(in(STATUS, 4), 0);
}

static void only_whole_registers_are_written(void **state)
{
	(void)state;
	out(CONTROL, 1, RUN);
	out(CONTROL, 2, RUN);
	out(CONTROL - 1, 4, RUN << 8);
	out(CONTROL + 1, 4, RUN);
	assert_int_equal(in(CONTROL, 4), STOPPED);
	assert_int_equal(in(CONTROL, 1), STOPPED);
	assert_int_equal(in(CONTROL - 1, 2), STOPPED << 8);
	assert_int_equal(in(STATUS + 2, 4), 0xffff0000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(power_up, setup),
		cmocka_unit_test_setup(the_alive_are_left_alone, setup),
		cmocka_unit_test_setup(silence_ends_it, setup),
		cmocka_unit_test_setup(one_sign_of_life_is_enough, setup),
		cmocka_unit_test_setup(only_its_own_time_counts, setup),
		cmocka_unit_test_setup(absurd_times_do_not_wrap, setup),
		cmocka_unit_test_setup(device_counts_and_fires, setup),
		cmocka_unit_test_setup(reset_action_reloads, setup),
		cmocka_unit_test_setup(a_second_start_does_not_reload, setup),
		cmocka_unit_test_setup(timeout_is_for_the_next_reload, setup),
		cmocka_unit_test_setup(timeout_stays_within_the_table, setup),
		cmocka_unit_test_setup(device_replaces_the_watch, setup),
		cmocka_unit_test_setup(status_tells_the_next_start, setup),
		cmocka_unit_test_setup(only_whole_registers_are_written, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
