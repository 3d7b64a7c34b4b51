/*
 * What vCPUs cost each other, in ticks of the TSC: an IPI to a sibling that runs, on the sender's side; the whole way there and
 * back. In an emulator with several CPUs a tick is an instruction of each; the sibling spins in traces of one instruction,
 * so that the sender has run fewer than twice as many as ticks went by.
 */
#include "bench.h"
#include "smp.h"

#define VECTOR  0x71

static volatile unsigned taken;

static void on_ipi(struct frame *f)
{
	(void)f;
	taken++;
	apic_write(LAPIC_EOI, 0);
}

static void spin(void *stop)
{
	sti();
	while (!*(volatile unsigned *)stop)
		;
	cli();
}

static void ipis(const char *send_name, const char *trip_name)
{
	static volatile unsigned stop;
	uint64_t send[BENCH_SAMPLES], trip[BENCH_SAMPLES];

	stop = 0;
	smp_run(1, spin, (void *)&stop);
	smp_delay(100);
	for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
		unsigned before = taken;
		uint64_t start = rdtsc();

		apic_ipi(smp_cpus[1].apic_id, 0x4000 | VECTOR);
		send[i] = rdtsc() - start;
		while (taken == before)
			;
		trip[i] = rdtsc() - start;
	}
	stop = 1;
	smp_wait(1);
	bench_report(send_name, send, BENCH_SAMPLES);
	bench_report(trip_name, trip, BENCH_SAMPLES);
}

void payload_main(void)
{
	irq_init();
	irq_set(VECTOR, on_ipi);
	if (smp_start() < 2)
		return;
	ipis("ipi-send-xapic", "ipi-to-handler-xapic");
	apic_enter_x2apic();
	smp_call(1, (smp_fn)apic_enter_x2apic, NULL);
	ipis("ipi-send-x2apic", "ipi-to-handler-x2apic");
}
