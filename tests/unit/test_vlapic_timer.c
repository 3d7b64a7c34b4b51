/* The local APIC's timer, against SDM 3A, "APIC Timer". One count at division 1 is one host tick. */
#include "vlapic_bench.h"

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define VECTOR   0xecu
#define DIVIDE_1 0xbu

static struct bench *timer_on(uint32_t lvt)
{
	struct bench *b = bench_on();
	mmio_write(b, APIC_TIMER_DCR, DIVIDE_1);
	mmio_write(b, APIC_LVT_TIMER, lvt);
	return b;
}

/* What the host does: the clock moves on, and the armed time, if passed, is reported. */
static void pass(struct bench *b, uint64_t ticks)
{
	b->now += ticks;
	if (b->armed <= b->now) {
		b->armed = DEV_NEVER;
		vlapic_tick(&b->l);
	}
}

/* True if the timer's interrupt had come; takes and ends it. */
static bool taken(struct bench *b)
{
	if (vlapic_pending(&b->l) != (int)VECTOR)
		return false;
	vlapic_ack(&b->l, VECTOR);
	mmio_write(b, APIC_EOI, 0);
	return true;
}

/* The guest runs for so long: how many interrupts it takes. */
static unsigned take_for(struct bench *b, uint64_t ticks, uint64_t step)
{
	unsigned n = 0;
	for (uint64_t end = b->now + ticks; b->now < end;) {
		pass(b, MIN(step, end - b->now));
		n += taken(b);
	}
	return n;
}

static void test_dividers(void **state)
{
	(void)state;
	static const struct { uint32_t dcr, divide; } t[] = {
		{ 0x0, 2 }, { 0x1, 4 }, { 0x2, 8 }, { 0x3, 16 }, { 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bench *b = timer_on(VECTOR);
		mmio_write(b, APIC_TIMER_DCR, t[i].dcr);
		mmio_write(b, APIC_TIMER_ICR, 1000);
		assert_int_equal(b->armed, b->now + 1000 * t[i].divide);
		pass(b, 10 * t[i].divide);
		assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 990);
		pass(b, 990 * t[i].divide - 1);
		assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 1);
		assert_false(taken(b));
		pass(b, 1);
		assert_true(taken(b));
		bench_free(b);
	}
}

static void test_one_shot(void **state)
{
	(void)state;
	struct bench *b = timer_on(VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 0xffffffff);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0xffffffff);
	mmio_write(b, APIC_TIMER_ICR, 500); /* a new count replaces the old */
	pass(b, 499);
	assert_false(taken(b));
	pass(b, 1);
	assert_true(taken(b));
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0);
	assert_int_equal(mmio_read(b, APIC_TIMER_ICR), 500);
	assert_int_equal(b->armed, DEV_NEVER);
	pass(b, 1000000);
	assert_false(taken(b));

	mmio_write(b, APIC_TIMER_ICR, 500);
	mmio_write(b, APIC_TIMER_ICR, 0); /* stops it */
	assert_int_equal(b->armed, DEV_NEVER);
	pass(b, 1000);
	assert_false(taken(b));
	vlapic_tick(&b->l); /* nobody asked */
	assert_false(taken(b));
	bench_free(b);
}

static void test_early_tick(void **state)
{
	(void)state;
	struct bench *b = timer_on(VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 500);
	uint64_t due = b->armed;
	b->armed = DEV_NEVER;
	vlapic_tick(&b->l);
	assert_false(taken(b));
	assert_int_equal(b->armed, due);
	bench_free(b);
}

static void test_periodic(void **state)
{
	(void)state;
	struct bench *b = timer_on(PERIODIC | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 200000);
	for (unsigned i = 0; i < 10; i++) {
		pass(b, 199999);
		assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 1);
		assert_false(taken(b));
		pass(b, 1);
		assert_true(taken(b));
		assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 200000);
	}
	/* Late by 3.7 periods: one interrupt, the other three follow it closely, and the phase stays. */
	pass(b, 940000);
	assert_true(taken(b));
	assert_false(taken(b));
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 60000);
	assert_int_equal(take_for(b, 59999, 1), 2); /* 25 us apart */
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 1);
	assert_int_equal(take_for(b, 200000, 1), 2);
	pass(b, 1);
	assert_true(taken(b));
	assert_int_equal(take_for(b, 199999, 1), 0);
	pass(b, 1);
	assert_true(taken(b));
	/* To one-shot while it runs: the next end is the last. */
	mmio_write(b, APIC_LVT_TIMER, VECTOR);
	pass(b, 200000);
	assert_true(taken(b));
	pass(b, 1000000);
	assert_false(taken(b));
	bench_free(b);
}

/* A guest that has the CPU for 5 of every 10 ms, and reads the count all the time: 250 Hz for ten seconds. */
static void test_every_other_slice(void **state)
{
	(void)state;
	enum { PERIOD = 4000000, SLICE = 5000000, STEP = 50000, SECONDS = 10 };
	struct bench *b = timer_on(PERIODIC | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, PERIOD);
	uint64_t start = b->now, count = 0;
	for (uint64_t t = STEP; t <= SECONDS * 1000000000ull + SLICE; t += STEP) {
		bool runs = (t - STEP) / SLICE % 2 == 0;
		b->now = start + t;
		if (runs)
			assert_int_equal(mmio_read(b, APIC_TIMER_CCR), PERIOD - t % PERIOD);
		pass(b, 0);
		count += runs && taken(b);
		assert_true(count <= t / PERIOD);
		if (runs && t % SLICE == 0) /* none is owed for longer than to the end of the next slice */
			assert_true(count + 1 >= t / PERIOD);
	}
	assert_int_equal(count, SECONDS * 250 + 1);
	bench_free(b);
}

/* What waits is the last second's, and no more than a thousand; the count goes on as if nothing had been. */
static void test_backlog_is_bounded(void **state)
{
	(void)state;
	static const struct { uint32_t period; unsigned most; } t[] = {
		{ 4000000, 250 }, { 200000, 1000 }, { 600000000, 1 }, { 2000000000, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bench *b = timer_on(PERIODIC | VECTOR);
		mmio_write(b, APIC_TIMER_ICR, t[i].period);
		if (i & 1)
			for (unsigned n = 0; n < 3000; n++)
				pass(b, t[i].period);
		else
			pass(b, 3000ull * t[i].period);
		assert_int_equal(mmio_read(b, APIC_TIMER_CCR), t[i].period);
		/* Nothing regular comes in half a period: one that was given, and what can be made up for in this time. */
		unsigned first = take_for(b, t[i].period / 2 - 1, t[i].period / 100);
		assert_in_range(first, 1, 5);
		uint64_t periods = t[i].most + 10;
		unsigned all = first + take_for(b, periods * t[i].period, t[i].period / 100);
		assert_int_equal(all, 1 + t[i].most + periods);
		bench_free(b);
	}
}

static void test_reprogramming_clears_backlog(void **state)
{
	(void)state;
	static const struct { uint32_t reg, value; unsigned then; } t[] = {
		{ APIC_TIMER_ICR, 1000000, 1 }, { APIC_TIMER_ICR, 0, 0 }, { APIC_LVT_TIMER, VECTOR, 1 },
		{ APIC_LVT_TIMER, PERIODIC | MASKED | VECTOR, 0 }, { APIC_LVT_TIMER, DEADLINE | VECTOR, 0 },
		{ APIC_TIMER_DCR, DIVIDE_1, 1 }, { APIC_LVT_TIMER, PERIODIC | VECTOR, 21 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bench *b = timer_on(PERIODIC | VECTOR);
		mmio_write(b, APIC_TIMER_ICR, 1000000);
		for (unsigned n = 0; n < 21; n++)
			pass(b, 1000000);
		mmio_write(b, t[i].reg, t[i].value);
		assert_true(taken(b)); /* what is in IRR stays there */
		/* The last row changes nothing: 20 are made up for, at eight times the rate. */
		assert_int_equal(take_for(b, 500000, 1000), t[i].then == 21 ? 4 : 0);
		assert_int_equal(take_for(b, 1000000, 1000), t[i].then == 21 ? 8 : t[i].then);
		if (t[i].value & MASKED) {
			mmio_write(b, APIC_LVT_TIMER, PERIODIC | VECTOR);
			assert_int_equal(take_for(b, 499000, 1000), 0);
		}
		bench_free(b);
	}
}

/* However short the period and long the pause: little work, and a bounded rate, up to which the period is what was asked for. */
static void test_fast_periodic(void **state)
{
	(void)state;
	struct bench *b = timer_on(PERIODIC | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 200000);
	assert_int_equal(take_for(b, 1000000, 100), 5);
	mmio_write(b, APIC_TIMER_ICR, 0);
	mmio_write(b, APIC_TIMER_ICR, 1);
	unsigned fired = 0;
	for (unsigned i = 0; i < 1000000; i += 100) {
		pass(b, 100);
		fired += taken(b);
	}
	assert_int_equal(fired, 5); /* 1 ms at 5 kHz */
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 1);
	pass(b, UINT64_MAX / 2);
	assert_true(taken(b));
	bench_free(b);
}

static void test_masked(void **state)
{
	(void)state;
	struct bench *b = timer_on(MASKED | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 1000);
	assert_int_equal(b->armed, DEV_NEVER); /* counts, but nobody need wake up */
	pass(b, 400);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 600);
	mmio_write(b, APIC_LVT_TIMER, VECTOR);
	pass(b, 600);
	assert_true(taken(b));

	/* What ended while masked does not come later. */
	mmio_write(b, APIC_LVT_TIMER, MASKED | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 1000);
	pass(b, 2000);
	mmio_write(b, APIC_LVT_TIMER, VECTOR);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0);
	assert_false(taken(b));

	/* What ended just before the mask, and was not reported yet, does. */
	mmio_write(b, APIC_TIMER_ICR, 1000);
	b->now += 1000;
	mmio_write(b, APIC_LVT_TIMER, MASKED | 0x55);
	assert_true(taken(b));
	pass(b, 1000);
	assert_false(taken(b));

	/* A masked periodic timer keeps its phase. */
	mmio_write(b, APIC_LVT_TIMER, MASKED | PERIODIC | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 1000000);
	pass(b, 2500000);
	mmio_write(b, APIC_LVT_TIMER, PERIODIC | VECTOR);
	assert_false(taken(b));
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 500000);
	pass(b, 500000);
	assert_true(taken(b));
	bench_free(b);
}

static void test_divider_while_running(void **state)
{
	(void)state;
	struct bench *b = timer_on(VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 1000);
	pass(b, 400);
	mmio_write(b, APIC_TIMER_DCR, 0x3); /* by 16 */
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 600);
	pass(b, 16 * 600 - 1);
	assert_false(taken(b));
	pass(b, 1);
	assert_true(taken(b));
	bench_free(b);
}

static void test_illegal_vector(void **state)
{
	(void)state;
	struct bench *b = timer_on(0x0f);
	mmio_write(b, APIC_TIMER_ICR, 10);
	pass(b, 10);
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	mmio_write(b, APIC_ESR, 0);
	assert_int_equal(mmio_read(b, APIC_ESR), 0x40);
	bench_free(b);
}

static uint64_t get_deadline(struct bench *b)
{
	uint64_t value = ~0ull;
	assert_int_equal(vlapic_rdmsr(&b->l, MSR_IA32_TSC_DEADLINE, &value), TF_OK);
	return value;
}

static void set_deadline(struct bench *b, uint64_t tsc)
{
	assert_int_equal(vlapic_wrmsr(&b->l, MSR_IA32_TSC_DEADLINE, tsc), TF_OK);
}

/* A guest TSC that is 5000 behind the host's time. */
static uint64_t tsc_to_host(void *ctx, uint64_t tsc)
{
	assert_non_null(ctx);
	return tsc + 5000;
}

static void test_tsc_deadline(void **state)
{
	(void)state;
	struct bench *b = timer_on(VECTOR);
	b->l.tsc_to_host = tsc_to_host;
	set_deadline(b, b->now); /* not in this mode */
	assert_int_equal(get_deadline(b), 0);
	assert_int_equal(b->armed, DEV_NEVER);

	mmio_write(b, APIC_LVT_TIMER, DEADLINE | VECTOR);
	uint64_t tsc = b->now - 5000;
	set_deadline(b, tsc + 300);
	assert_int_equal(get_deadline(b), tsc + 300);
	assert_int_equal(b->armed, b->now + 300);
	mmio_write(b, APIC_TIMER_ICR, 100); /* ignored */
	assert_int_equal(mmio_read(b, APIC_TIMER_ICR), 0);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0);
	pass(b, 299);
	assert_false(taken(b));
	pass(b, 1);
	assert_true(taken(b));
	assert_int_equal(get_deadline(b), 0); /* disarmed */

	set_deadline(b, 1); /* long past: at once */
	assert_true(taken(b));
	assert_int_equal(get_deadline(b), 0);

	set_deadline(b, tsc + 1000);
	set_deadline(b, 0);
	assert_int_equal(b->armed, DEV_NEVER);
	pass(b, 2000);
	assert_false(taken(b));

	mmio_write(b, APIC_LVT_TIMER, DEADLINE | MASKED | VECTOR);
	set_deadline(b, b->now - 5000 + 100);
	pass(b, 100);
	assert_int_equal(get_deadline(b), 0);
	assert_false(taken(b));
	bench_free(b);
}

/* SDM: changing between TSC-deadline and another mode disarms the timer. */
static void test_mode_change_disarms(void **state)
{
	(void)state;
	struct bench *b = timer_on(DEADLINE | VECTOR);
	set_deadline(b, b->now + 100);
	mmio_write(b, APIC_LVT_TIMER, VECTOR);
	assert_int_equal(b->armed, DEV_NEVER);
	assert_int_equal(get_deadline(b), 0);
	mmio_write(b, APIC_TIMER_ICR, 100);
	mmio_write(b, APIC_LVT_TIMER, DEADLINE | VECTOR);
	assert_int_equal(b->armed, DEV_NEVER);
	assert_int_equal(mmio_read(b, APIC_TIMER_ICR), 0);
	pass(b, 1000);
	assert_false(taken(b));
	/* Same mode, other vector: still armed. */
	set_deadline(b, b->now + 100);
	mmio_write(b, APIC_LVT_TIMER, DEADLINE | (VECTOR + 1));
	assert_int_equal(b->armed, b->now + 100);
	bench_free(b);
}

static void test_disabling_stops(void **state)
{
	(void)state;
	struct bench *b = timer_on(PERIODIC | VECTOR);
	mmio_write(b, APIC_TIMER_ICR, 100000);
	mmio_write(b, APIC_SVR, 0xff); /* masks the LVT */
	assert_int_equal(b->armed, DEV_NEVER);
	mmio_write(b, APIC_SVR, SVR_ON);
	mmio_write(b, APIC_LVT_TIMER, PERIODIC | VECTOR);
	assert_int_not_equal(b->armed, DEV_NEVER);
	vlapic_reset(&b->l);
	assert_int_equal(b->armed, DEV_NEVER);
	assert_int_equal(mmio_read(b, APIC_TIMER_CCR), 0);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dividers), cmocka_unit_test(test_one_shot), cmocka_unit_test(test_early_tick),
		cmocka_unit_test(test_periodic), cmocka_unit_test(test_fast_periodic), cmocka_unit_test(test_masked),
		cmocka_unit_test(test_divider_while_running), cmocka_unit_test(test_illegal_vector),
		cmocka_unit_test(test_tsc_deadline), cmocka_unit_test(test_mode_change_disarms),
		cmocka_unit_test(test_disabling_stops), cmocka_unit_test(test_every_other_slice),
		cmocka_unit_test(test_backlog_is_bounded), cmocka_unit_test(test_reprogramming_clears_backlog),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
