/* The local APIC, the IOAPIC, and the order of interrupts between them. */
#include "board.h"

#define V_PIT    0x40
#define V_LOW    0x41
#define V_HIGH   0x61
#define V_TIMER  0x51
#define TIMER_PERIODIC 0x20000
#define TIMER_DEADLINE 0x40000
#define LVT_MASKED     0x10000
#define MSR_TSC_DEADLINE 0x6e0
#define RTE_MASKED     0x10000
#define RTE_DEFINED    0x1afff /* without the two read-only bits */

static volatile unsigned fired, order;
static volatile uint32_t seen_isr, seen_ppr, eoi_isr;

static uint32_t apic_bit(unsigned base, unsigned vector) { return lapic_read(base + vector / 32 * 16) >> (vector % 32) & 1; }

static void on_timer(struct frame *f)
{
	(void)f;
	fired++;
	lapic_write(LAPIC_EOI, 0);
}

/* Lets the higher one in while in service; both are in the ISR then, and EOI clears the higher one first. */
static void on_low(struct frame *f)
{
	(void)f;
	seen_ppr = lapic_read(LAPIC_PPR);
	order = order * 16 + 1;
	lapic_self_ipi(V_HIGH);
	sti();
	__asm__ volatile("nop; nop");
	cli();
	order = order * 16 + 3;
	lapic_write(LAPIC_EOI, 0);
}

static void on_high(struct frame *f)
{
	(void)f;
	order = order * 16 + 2;
	seen_isr = apic_bit(LAPIC_ISR, V_LOW) | apic_bit(LAPIC_ISR, V_HIGH) << 1;
	lapic_write(LAPIC_EOI, 0);
	eoi_isr = apic_bit(LAPIC_ISR, V_LOW) | apic_bit(LAPIC_ISR, V_HIGH) << 1;
}

static void ioapic_write(uint8_t reg, uint32_t v)
{
	mmio_write(IOAPIC, reg);
	mmio_write(IOAPIC + IOAPIC_WIN, v);
}

static uint32_t ioapic_read(uint8_t reg)
{
	mmio_write(IOAPIC, reg);
	return mmio_read(IOAPIC + IOAPIC_WIN);
}

static void open_window(void)
{
	sti();
	__asm__ volatile("nop; nop");
	cli();
}

static void registers(void)
{
	static const struct { const char *name; unsigned reg; uint32_t value; } rw[] = {
		{ "tpr", LAPIC_TPR, 0xffffffff }, { "ldr", LAPIC_LDR, 0x5affffff }, { "dfr", LAPIC_DFR, 0x0fffffff },
		{ "icr high", LAPIC_ICR_HI, 0xa5000000 }, { "divide", LAPIC_DIVIDE, 0xffffffff }, { "lint0", LAPIC_LINT0, 0x10700 },
		{ "timer", LAPIC_LVT_TIMER, 0x20051 | LVT_MASKED },
	};

	print("# lapic version: %x, ioapic version: %x\n", lapic_read(LAPIC_VER), ioapic_read(1));
	print("lapic id %x\n", lapic_read(LAPIC_ID) >> 24);
	for (unsigned i = 0; i < ARRAY_SIZE(rw); i++) {
		uint32_t old = lapic_read(rw[i].reg);

		lapic_write(rw[i].reg, rw[i].value);
		print("lapic %s: %x\n", rw[i].name, lapic_read(rw[i].reg));
		lapic_write(rw[i].reg, old);
	}
	ioapic_write(0x12, 0xffffffff);
	print("ioapic rte: %x\n", ioapic_read(0x12) & RTE_DEFINED);
	ioapic_write(0x13, 0xff000000);
	print("ioapic rte high: %x\n", ioapic_read(0x13));
	ioapic_write(0x12, RTE_MASKED);
	ioapic_write(0x13, 0);
}

static void pit_through_ioapic(void)
{
	irq_set(V_PIT, on_timer);
	pic_mask_all();
	lapic_write(LAPIC_LINT0, LVT_MASKED);
	ioapic_write(0x13, lapic_read(LAPIC_ID) & 0xff000000);
	ioapic_write(0x14, V_PIT); /* GSI 2 */
	ioapic_write(0x15, lapic_read(LAPIC_ID) & 0xff000000);
	fired = 0;
	pit_periodic(1000);
	while (fired < 20)
		hlt_wait();
	ioapic_write(0x14, RTE_MASKED | V_PIT);
	fired = 0;
	for (unsigned i = 0; i < 10000; i++)
		inb(0x80);
	open_window();
	fired = 0;
	for (unsigned i = 0; i < 10000; i++)
		inb(0x80);
	open_window();
	print("ioapic pit: ticks, masked %u\n", fired);
}

static void timer(void)
{
	irq_set(V_TIMER, on_timer);
	lapic_write(LAPIC_DIVIDE, 0xb);
	fired = 0;
	lapic_write(LAPIC_LVT_TIMER, V_TIMER);
	lapic_write(LAPIC_INIT_COUNT, 100000);
	while (!fired)
		hlt_wait();
	for (unsigned i = 0; i < 10000; i++)
		inb(0x80);
	open_window();
	print("lapic one-shot: %u, count %u\n", fired, lapic_read(LAPIC_CUR_COUNT));
	fired = 0;
	lapic_write(LAPIC_LVT_TIMER, TIMER_PERIODIC | V_TIMER);
	lapic_write(LAPIC_INIT_COUNT, 50000);
	while (fired < 10)
		hlt_wait();
	lapic_write(LAPIC_INIT_COUNT, 0);
	open_window();
	fired = 0;
	for (unsigned i = 0; i < 10000; i++)
		inb(0x80);
	open_window();
	print("lapic periodic: ticks, stopped %u, count %u\n", fired, lapic_read(LAPIC_CUR_COUNT));
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_TIMER);
	lapic_write(LAPIC_INIT_COUNT, 1000);
	while (lapic_read(LAPIC_CUR_COUNT))
		;
	open_window();
	print("lapic masked: %u\n", fired);
	if (cpuid(1, 0).c & BIT(24)) {
		lapic_write(LAPIC_LVT_TIMER, TIMER_DEADLINE | V_TIMER);
		lapic_write(LAPIC_INIT_COUNT, 1000);
		print("lapic deadline mode: count %u", lapic_read(LAPIC_CUR_COUNT));
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000);
		while (!fired)
			hlt_wait();
		print(", fires %u", fired);
		fired = 0;
		wrmsr(MSR_TSC_DEADLINE, 1); /* in the past: at once */
		open_window();
		print(", past %u", fired);
		fired = 0;
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000);
		wrmsr(MSR_TSC_DEADLINE, 0);
		for (unsigned i = 0; i < 10000; i++)
			inb(0x80);
		open_window();
		print(", cancelled %u\n", fired);
	}
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	fired = 0;
}

static void priorities(void)
{
	irq_set(V_LOW, on_low);
	irq_set(V_HIGH, on_high);
	fired = 0;
	lapic_write(LAPIC_TPR, 0x60);
	lapic_self_ipi(V_TIMER);
	open_window();
	print("tpr 60: fired %u irr %u ppr %x", fired, apic_bit(LAPIC_IRR, V_TIMER), lapic_read(LAPIC_PPR));
	lapic_write(LAPIC_TPR, 0x50);
	open_window();
	print(", tpr 50: fired %u", fired);
	lapic_write(LAPIC_TPR, 0x4f);
	open_window();
	print(", tpr 4f: fired %u irr %u\n", fired, apic_bit(LAPIC_IRR, V_TIMER));
	wrcr8(5);
	lapic_self_ipi(V_TIMER);
	open_window();
	print("cr8 5: fired %u", fired);
	wrcr8(4);
	open_window();
	print(", cr8 4: fired %u\n", fired);
	wrcr8(0);
	order = 0;
	lapic_self_ipi(V_LOW);
	open_window();
	print("nested: order %x isr %u then %u ppr %x, after isr %u ppr %x\n", order, seen_isr, eoi_isr, seen_ppr,
	      apic_bit(LAPIC_ISR, V_LOW), lapic_read(LAPIC_PPR));
	/* Two at once: the higher one first, and the same vector only once. */
	order = 0;
	lapic_self_ipi(V_TIMER);
	lapic_self_ipi(V_TIMER);
	lapic_self_ipi(V_HIGH);
	fired = 0;
	open_window();
	print("two pending: order %x fired %u\n", order, fired);
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID));
	lapic_write(LAPIC_ICR, V_TIMER);
	open_window();
	print("ipi to own id: fired %u\n", fired);
	lapic_write(LAPIC_ICR, 0x80000 | V_TIMER); /* all including self */
	open_window();
	lapic_write(LAPIC_ICR, 0xc0000 | V_TIMER); /* all but self */
	open_window();
	print("ipi shorthands: fired %u\n", fired);
	/* An illegal vector sets bits in the error status. */
	lapic_write(0x280, 0);
	lapic_write(LAPIC_ICR, 0x40000 | 5);
	lapic_write(0x280, 0);
	print("# esr: %x\n", lapic_read(0x280));
	lapic_write(0x280, 0);
}

static void x2apic(void)
{
	uint32_t id = lapic_read(LAPIC_ID) >> 24;

	if (!(cpuid(1, 0).c & BIT(21))) {
		print("x2apic: none\n");
		return;
	}
	REPORT("x2apic msr in xapic mode", rdmsr(MSR_X2APIC + 2));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BIT(10));
	print("x2apic id: %s\n", rdmsr(MSR_X2APIC + 2) == id ? "same" : "other");
	print("# x2apic ldr: %lx\n", rdmsr(MSR_X2APIC + 0xd)); /* Bochs 2.7 says 0 */
	wrmsr(MSR_X2APIC + 8, 0x20);
	print("x2apic tpr: %lx\n", rdmsr(MSR_X2APIC + 8));
	REPORT("x2apic tpr bit 8", wrmsr(MSR_X2APIC + 8, 0x100));
	wrmsr(MSR_X2APIC + 8, 0);
	REPORT("x2apic dfr", rdmsr(MSR_X2APIC + 0xe));
	REPORT("x2apic icr high", rdmsr(MSR_X2APIC + 0x31));
	REPORT("x2apic eoi read", rdmsr(MSR_X2APIC + 0xb));
	REPORT("x2apic eoi 1", wrmsr(MSR_X2APIC + 0xb, 1));
	REPORT("x2apic id write", wrmsr(MSR_X2APIC + 2, 0));
	REPORT("x2apic to xapic", wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~BIT(10)));
	/* The handler's EOI has to be an MSR from here on. */
	fired = 0;
	wrmsr(MSR_X2APIC + 0x3f, V_TIMER);
	print("x2apic self ipi: irr %lx\n", rdmsr(MSR_X2APIC + 0x20 + V_TIMER / 32) >> (V_TIMER % 32) & 1);
	wrmsr(MSR_X2APIC + 0x30, (uint64_t)id << 32 | V_HIGH);
	print("x2apic ipi: irr %lx\n", rdmsr(MSR_X2APIC + 0x20 + V_HIGH / 32) >> (V_HIGH % 32) & 1);
}

void board_apic(void)
{
	registers();
	pit_through_ioapic();
	timer();
	priorities();
	x2apic();
}
