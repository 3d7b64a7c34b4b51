/* The local APIC's registers, and interrupts from a CPU to itself, in both modes. */
#include "bench.h"

#define VECTOR        0x71
#define ICR_SELF      0x40000
#define CPUID1_X2APIC BIT(21)

static volatile unsigned taken;
static bool x2apic;

static void on_ipi(struct frame *f)
{
	(void)f;
	taken++;
	if (x2apic)
		x2apic_write(LAPIC_EOI, 0);
	else
		bench_write(LAPIC + LAPIC_EOI, 0);
}

void bench_apic_init(void) { irq_set(VECTOR, on_ipi); }

static void op_id(void) { bench_read(LAPIC + LAPIC_ID); }
static void op_eoi(void) { bench_write(LAPIC + LAPIC_EOI, 0); }
static void op_tmcct(void) { bench_read(LAPIC + LAPIC_CUR_COUNT); }
static void op_tpr_read(void) { bench_read(LAPIC + LAPIC_TPR); }
static void op_tpr_write(void) { bench_write(LAPIC + LAPIC_TPR, 0); }
static void send(void) { bench_write(LAPIC + LAPIC_ICR, ICR_SELF | VECTOR); }

static void op_x2_id(void) { x2apic_read(LAPIC_ID); }
static void op_x2_eoi(void) { x2apic_write(LAPIC_EOI, 0); }
static void send_x2(void) { x2apic_write(LAPIC_ICR, ICR_SELF | VECTOR); }
static void send_x2_self(void) { x2apic_write(LAPIC_SELF_IPI, VECTOR); }

/* With interrupts on, to the end of the handler */
#define TO_THE_HANDLER(name, send) \
	static void name(void) \
	{ \
		unsigned before = taken; \
\
		send(); \
		while (taken == before) \
			; \
	}
TO_THE_HANDLER(op_ipi, send)
TO_THE_HANDLER(op_x2_ipi, send_x2)
TO_THE_HANDLER(op_x2_self_ipi, send_x2_self)

/* It is pending when the CPU would halt. */
static void op_ipi_hlt(void)
{
	send();
	hlt_wait();
}

static void op_x2_ipi_hlt(void)
{
	send_x2();
	hlt_wait();
}

/* There is no way back. */
static bool enter_x2apic(void)
{
	if (!(cpuid(1, 0).c & CPUID1_X2APIC))
		return false;
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ENABLE);
	return x2apic = true;
}

const struct operation bench_apic[] = {
	{ "xapic-id", .op = op_id },
	{ "xapic-eoi", .op = op_eoi },
	{ "xapic-tmcct", .op = op_tmcct },
	{ "xapic-tpr-read", .op = op_tpr_read },
	{ "xapic-tpr-write", .op = op_tpr_write },
	{ "self-ipi-xapic", .op = op_ipi, .before = sti, .after = cli },
	{ "self-ipi-hlt-xapic", .op = op_ipi_hlt },
	{ },
};

const struct operation bench_x2apic[] = {
	{ "x2apic-id", .op = op_x2_id, .present = enter_x2apic },
	{ "x2apic-eoi", .op = op_x2_eoi, .present = enter_x2apic },
	{ "self-ipi-x2apic", .op = op_x2_ipi, .present = enter_x2apic, .before = sti, .after = cli },
	{ "self-ipi-hlt-x2apic", .op = op_x2_ipi_hlt, .present = enter_x2apic },
	{ "self-ipi-msr", .op = op_x2_self_ipi, .present = enter_x2apic, .before = sti, .after = cli },
	{ },
};
