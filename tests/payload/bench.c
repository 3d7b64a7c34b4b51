/*
 * Each operation BENCH_SAMPLES times by itself, less what an empty one takes. What is measured is printed when all is, so that
 * no interrupt of the serial line falls into a sample. `only=NAME`: that operation alone.
 */
#include "bench.h"

#define QUIET_TICKS 200000    /* how long nothing must have interrupted us before a measurement */
#define GAP_TICKS   200       /* between two looks at the clock: we were interrupted */
#define WAIT_TICKS  200000000 /* where there is always something, as in the host of a hypervisor that is a program */
#define OPERATIONS  64

static struct { const char *name; uint64_t samples[BENCH_SAMPLES]; } results[OPERATIONS];
static unsigned nresults;
static uint64_t overhead; /* of the measurement itself */

/*
 * `noinline`: an emulator that runs blocks of instructions knows the time exactly at the begin of a block only. LFENCE: a CPU
 * does what is before and behind it in this order.
 */
static __attribute__((noinline)) uint64_t now_exactly(void)
{
	uint64_t t;

	__asm__ volatile("lfence" ::: "memory");
	t = rdtsc();
	__asm__ volatile("lfence" ::: "memory");
	return t;
}

/* What was printed, by us and by whoever runs us, is on its way until then. */
static void wait_quiet(void)
{
	uint64_t begin = rdtsc(), since = begin, last = begin;

	while (last - since < QUIET_TICKS && last - begin < WAIT_TICKS) {
		uint64_t now = rdtsc();

		if (now - last > GAP_TICKS)
			since = now;
		last = now;
	}
}

/* `noinline`: what is around an operation is the same for all. */
static __attribute__((noinline)) uint64_t bracket(void (*op)(void))
{
	uint64_t t = now_exactly();

	op();
	return now_exactly() - t;
}

static void nothing(void) { }

static uint64_t least_of_nothing(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
		uint64_t t = bracket(nothing);

		least = t < least ? t : least;
	}
	return least;
}

static void measure(const struct operation *o)
{
	uint64_t *v = results[nresults].samples;

	results[nresults++].name = o->name;
	wait_quiet();
	for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
		if (o->before)
			o->before();
		if (o->sample) {
			v[i] = o->sample();
		} else {
			uint64_t t = bracket(o->op);

			v[i] = t > overhead ? t - overhead : 0;
		}
		if (o->after)
			o->after();
	}
}

static void measure_all(const struct operation *o)
{
	const char *only = option("only");

	for (; o->name; o++)
		if ((!only || option_is("only", o->name)) && (!o->present || o->present()) && nresults < OPERATIONS)
			measure(o);
}

void payload_main(void)
{
	static const struct operation *const subjects[] = {
		bench_cpu, bench_io, bench_memory, bench_apic, bench_timer, bench_x2apic, /* the last */
	};

	irq_init();
	bench_apic_init();
	bench_timer_init();
	print_flush();
	wait_quiet();
	overhead = least_of_nothing();
	for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++)
		measure_all(subjects[i]);
	print("\n"); /* behind the characters of out-3f8 */
	for (unsigned i = 0; i < nresults; i++)
		bench_report(results[i].name, results[i].samples, BENCH_SAMPLES);
}
