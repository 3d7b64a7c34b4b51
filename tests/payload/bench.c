/* What an exit costs, in ticks of the TSC: each sample is a loop, an empty loop's cost is subtracted. */
#include "payload.h"

#define SAMPLES 100
#define LOOP    16
#define VECTOR  0x71
#define LSR     (COM1 + 5)

static struct acpi_ports ports;
static volatile unsigned taken;
static uint64_t empty;

static void sort(uint64_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t x = v[i];
		unsigned k = i;

		for (; k && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

/* `noinline`: the loop around every operation is the same. */
static __attribute__((noinline)) void measure(const char *name, void (*op)(void))
{
	uint64_t v[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t t = rdtsc();

		for (unsigned k = 0; k < LOOP; k++)
			op();
		v[i] = rdtsc() - t;
	}
	sort(v, SAMPLES);
	if (!name)
		empty = v[0];
	else
		print("bench name=%s ticks=%lu min=%lu\n", name, (v[SAMPLES / 2] - empty) / LOOP, (v[0] - empty) / LOOP);
}

static void op_empty(void) { }
static void op_cpuid(void) { cpuid(0, 0); }
static void op_lsr(void) { inb(LSR); }
static void op_out80(void) { outb(0x80, 0); }
static void op_apic_base(void) { rdmsr(MSR_APIC_BASE); }
static void op_pic(void) { inb(PIC1 + 1); }
static void op_pit(void) { inb(PIT); }
static void op_pm(void) { inl(ports.pm_timer); }
static void op_lapic_id(void) { lapic_read(LAPIC_ID); }
static void op_tpr(void) { lapic_write(LAPIC_TPR, 0); }
static void op_eoi(void) { lapic_write(LAPIC_EOI, 0); }
static void op_absent(void) { mmio_read(0xd0000000); }
static void op_cr0(void) { wrcr0(rdcr0()); }
static void op_cr3(void) { wrcr3(rdcr3()); }
static void op_cr4(void) { wrcr4(rdcr4()); }
static void op_rdtsc(void) { rdtsc(); }

static void on_ipi(struct frame *f)
{
	(void)f;
	taken++;
	lapic_write(LAPIC_EOI, 0);
}

static void op_self_ipi(void)
{
	unsigned before = taken;

	lapic_write(LAPIC_ICR, 0x40000 | VECTOR);
	sti();
	while (taken == before)
		;
	cli();
}

void payload_main(void)
{
	static const struct { const char *name; void (*op)(void); } ops[] = {
		{ "cpuid", op_cpuid }, { "in-3fd", op_lsr }, { "out-80", op_out80 }, { "rdmsr-apic-base", op_apic_base },
		{ "in-21", op_pic }, { "in-40", op_pit }, { "pm-timer", op_pm }, { "lapic-id", op_lapic_id }, { "lapic-tpr", op_tpr },
		{ "lapic-eoi", op_eoi }, { "self-ipi", op_self_ipi }, { "absent-mmio", op_absent }, { "mov-cr0", op_cr0 },
		{ "mov-cr3", op_cr3 }, { "mov-cr4", op_cr4 }, { "rdtsc", op_rdtsc },
	};

	irq_init();
	irq_set(VECTOR, on_ipi);
	ports = acpi_find();
	outb(PIT + 3, 0x34);
	measure(NULL, op_empty);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		measure(ops[i].name, ops[i].op);
}
