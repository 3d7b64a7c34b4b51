/*
 * What vCPUs cost each other, in ticks of the TSC: an IPI to a sibling that runs, on the sender's side; the whole way there and
 * back. In an emulator with several CPUs a tick is an instruction of each; the sibling spins in traces of one instruction,
 * so that the sender has run fewer than twice as many as ticks went by.
 */
#include "smp.h"

#define SAMPLES 101
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

static void sort(uint64_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned k = i; k && v[k - 1] > v[k]; k--) {
			uint64_t x = v[k];

			v[k] = v[k - 1];
			v[k - 1] = x;
		}
}

static void show(const char *mode, const char *what, uint64_t *v)
{
	sort(v, SAMPLES);
	print("bench name=%s-%s ticks=%lu min=%lu max=%lu\n", mode, what, v[SAMPLES / 2], v[0], v[SAMPLES - 1]);
}

static void ipis(const char *mode)
{
	static volatile unsigned stop;
	uint64_t send[SAMPLES], trip[SAMPLES];

	stop = 0;
	smp_run(1, spin, (void *)&stop);
	smp_delay(100);
	for (unsigned i = 0; i < SAMPLES; i++) {
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
	show(mode, "ipi-send", send);
	show(mode, "ipi-to-handler", trip);
}

void payload_main(void)
{
	irq_init();
	irq_set(VECTOR, on_ipi);
	if (smp_start() < 2)
		return;
	ipis("xapic");
	apic_enter_x2apic();
	smp_call(1, (smp_fn)apic_enter_x2apic, NULL);
	ipis("x2apic");
}
