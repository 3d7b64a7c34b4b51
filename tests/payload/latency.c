/*
 * How late an interrupt wakes a guest that sleeps: the local APIC's timer against the TSC, `count` times. Only for a
 * guest: it needs CPUID 15h, which relates the two clocks.
 */
#include "payload.h"

#define V_TIMER     0x51
#define DIVIDE_BY_1 0xb
#define SHORTEST    20000u /* counts; with some odd number added each time */
#define STEP        7919u
#define STEPS       17u

static volatile uint64_t woken;

static void on_timer(struct frame *f)
{
	(void)f;
	woken = rdtsc();
	lapic_write(LAPIC_EOI, 0);
}

void payload_main(void)
{
	uint64_t count = option_number("count", 100), worst = 0;
	struct cpuid ratio = cpuid(0x15, 0);

	if (cpuid(0, 0).a < 0x15 || !ratio.a || !ratio.b) {
		print("# latency: CPUID has no leaf 15h\n");
		return;
	}
	irq_init();
	irq_set(V_TIMER, on_timer);
	lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, V_TIMER);
	/* The first does not count: it follows a start that has used up the guest's time. */
	for (uint64_t n = 0; n <= count; n++) {
		uint64_t counts = SHORTEST + n % STEPS * STEP, due = rdtsc() + counts * ratio.b / ratio.a;

		woken = 0;
		lapic_write(LAPIC_INIT_COUNT, (uint32_t)counts);
		while (!woken)
			hlt_wait();
		uint64_t late = woken > due ? woken - due : 0;
		worst = n > 0 && late > worst ? late : worst;
	}
	print("# latency: worst=%lu of %lu\n", worst, count);
}
