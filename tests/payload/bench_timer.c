/* The local APIC's timer: to start it, to stop it, and how late its interrupt comes. */
#include "bench.h"

#define VECTOR        0x72
#define DIVIDE_BY_1   0xb
#define LVT_MASKED    0x10000
#define LVT_DEADLINE  0x40000
#define FAR           1000000000u /* counts that do not end while we look */
#define AHEAD         100000      /* ticks from here to the interrupt */
#define CALIBRATION   2000000     /* ticks */
#define CPUID1_TSC_DEADLINE BIT(24)
#define MSR_TSC_DEADLINE    0x6e0

static volatile uint64_t woken;
static uint64_t cal_counts, cal_ticks; /* go by in the same time */

static void on_timer(struct frame *f)
{
	(void)f;
	woken = rdtsc();
	bench_write(LAPIC + LAPIC_EOI, 0);
}

/* Both looks at the count take the same time. */
void bench_timer_init(void)
{
	uint64_t begin, now;
	uint32_t left;

	irq_set(VECTOR, on_timer);
	bench_write(LAPIC + LAPIC_DIVIDE, DIVIDE_BY_1);
	bench_write(LAPIC + LAPIC_LVT_TIMER, LVT_MASKED | VECTOR);
	bench_write(LAPIC + LAPIC_INIT_COUNT, UINT32_MAX);
	left = bench_read(LAPIC + LAPIC_CUR_COUNT);
	begin = now = rdtsc();
	while (now - begin < CALIBRATION)
		now = rdtsc();
	cal_counts = left - bench_read(LAPIC + LAPIC_CUR_COUNT);
	cal_ticks = rdtsc() - begin;
	bench_write(LAPIC + LAPIC_INIT_COUNT, 0);
}

static bool has_deadline(void) { return cpuid(1, 0).c & CPUID1_TSC_DEADLINE; }
static void unmask(void) { bench_write(LAPIC + LAPIC_LVT_TIMER, VECTOR); }
static void use_deadline(void) { bench_write(LAPIC + LAPIC_LVT_TIMER, LVT_DEADLINE | VECTOR); }
static void arm(void) { bench_write(LAPIC + LAPIC_INIT_COUNT, FAR); }
static void stop(void) { bench_write(LAPIC + LAPIC_INIT_COUNT, 0); }
static void arm_deadline(void) { wrmsr(MSR_TSC_DEADLINE, rdtsc() + FAR); }

static void start(void)
{
	unmask();
	arm();
}

static void stop_deadline(void)
{
	wrmsr(MSR_TSC_DEADLINE, 0); /* a change of the mode would do, but not in Bochs */
	bench_write(LAPIC + LAPIC_LVT_TIMER, LVT_MASKED | VECTOR);
}

/* The time runs from before the write that starts the timer, so what that takes until it counts is part of the delay. */
static uint64_t start_ahead(void)
{
	uint64_t counts = AHEAD * cal_counts / cal_ticks, due = rdtsc() + counts * cal_ticks / cal_counts;

	woken = 0;
	bench_write(LAPIC + LAPIC_INIT_COUNT, (uint32_t)counts);
	return due;
}

static uint64_t late(uint64_t due) { return woken > due ? woken - due : 0; }

static uint64_t sleep(void)
{
	uint64_t due = start_ahead();

	while (!woken)
		hlt_wait();
	return late(due);
}

static uint64_t spin(void)
{
	uint64_t due = start_ahead();

	sti();
	while (!woken)
		;
	cli();
	return late(due);
}

static uint64_t sleep_deadline(void)
{
	uint64_t due = rdtsc() + AHEAD;

	woken = 0;
	wrmsr(MSR_TSC_DEADLINE, due);
	while (!woken)
		hlt_wait();
	return late(due);
}

const struct operation bench_timer[] = {
	{ "arm-oneshot", .op = arm, .before = unmask, .after = stop },
	{ "stop-oneshot", .op = stop, .before = start },
	{ "hlt-overshoot", .sample = sleep, .before = unmask },
	{ "spin-overshoot", .sample = spin, .before = unmask },
	{ "arm-deadline", .op = arm_deadline, .present = has_deadline, .before = use_deadline, .after = stop_deadline },
	{ "hlt-overshoot-deadline", .sample = sleep_deadline, .present = has_deadline, .before = use_deadline,
	  .after = stop_deadline },
	{ },
};
