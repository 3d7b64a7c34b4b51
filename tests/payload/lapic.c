/* The local and the I/O APIC in depth: reserved bits, errors, priorities, destinations, timer modes. See board_apic.c, too. */
#include "payload.h"

#define DFR_CLUSTER  0x0fffffff
#define ESR          0x280
#define LVT_THERMAL  0x330
#define LVT_PMC      0x340
#define LINT1        0x360
#define READ_ONLY    0x5000 /* delivery status and remote IRR, which Bochs lets us write */
#define MASKED       0x10000
#define PERIODIC     0x20000
#define DEADLINE     0x40000
#define ICR_LOGICAL  0x800
#define ICR_SELF     0x40000
#define ICR_ALL      0x80000
#define ICR_OTHERS   0xc0000
#define ICR_NMI      0x400
#define DIVIDER_TICKS 1000000
#define MSR_TSC_DEADLINE 0x6e0
#define PIN_TIMER    2
#define V1 0x41
#define V2 0x52
#define V3 0x63
#define V4 0x74
#define VEC_NMI  2

static volatile unsigned fired, trace[16], ntrace, depth, nmis;

static uint32_t bit_of(unsigned base, unsigned vector) { return lapic_read(base + vector / 32 * 16) >> (vector % 32) & 1; }

static void open_window(void)
{
	sti();
	__asm__ volatile("nop; nop; nop; nop");
	cli();
}

static void note(unsigned v)
{
	if (ntrace < ARRAY_SIZE(trace))
		trace[ntrace++] = v;
}

static void show(const char *name)
{
	print("%s:", name);
	for (unsigned i = 0; i < ntrace; i++)
		print(" %x", trace[i]);
	print("\n");
	ntrace = 0;
}

static void on_vector(struct frame *f)
{
	fired++;
	note((unsigned)f->vector);
	lapic_write(LAPIC_EOI, 0);
}

/* Open to higher ones while it is in service. */
static void on_nesting(struct frame *f)
{
	note((unsigned)f->vector);
	note(lapic_read(LAPIC_PPR));
	if (!depth++)
		lapic_write(LAPIC_ICR, ICR_SELF | V1);
	sti();
	__asm__ volatile("nop; nop");
	cli();
	depth--;
	note((unsigned)f->vector | 0x1000);
	lapic_write(LAPIC_EOI, 0);
}

static void registers(void)
{
	static const struct { const char *name; unsigned reg; } regs[] = {
		{ "tpr", LAPIC_TPR }, { "apr", 0x90 }, { "ppr", LAPIC_PPR }, { "ldr", LAPIC_LDR }, { "dfr", LAPIC_DFR },
		{ "lvt timer", LAPIC_LVT_TIMER }, { "lvt thermal", LVT_THERMAL }, { "lvt pmc", LVT_PMC },
		{ "lvt lint0", LAPIC_LINT0 }, { "lvt lint1", LINT1 }, { "lvt error", LAPIC_LVT_ERROR },
		{ "icr high", LAPIC_ICR_HI }, { "divide", LAPIC_DIVIDE }, { "version", LAPIC_VER }, { "isr", LAPIC_ISR }, { "irr", LAPIC_IRR },
	};
	static const uint32_t values[] = { 0, 0xfffff8ff, 0x5a5a5a5a & ~0x700u, 0xa5a5a5a5 & ~0x700u };

	lapic_write(LAPIC_INIT_COUNT, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		uint32_t old = lapic_read(regs[i].reg);

		if (regs[i].reg == LAPIC_VER) { /* how many LVT entries: another implementation */
			lapic_write(regs[i].reg, 0);
			print("%s: %s\n", regs[i].name, lapic_read(regs[i].reg) == old ? "read-only" : "changed");
			continue;
		}
		print("%s:", regs[i].name);
		for (unsigned k = 0; k < ARRAY_SIZE(values); k++) {
			lapic_write(regs[i].reg, values[k] | (regs[i].reg >= LAPIC_LVT_TIMER && regs[i].reg <= LAPIC_LVT_ERROR ? MASKED : 0));
			print(" %x", lapic_read(regs[i].reg) & ~READ_ONLY);
		}
		lapic_write(regs[i].reg, old);
		print("\n");
	}
	lapic_write(LAPIC_SVR, 0xfffffeff);
	print("svr: %x", lapic_read(LAPIC_SVR) & 0x1ff);
	lapic_write(LAPIC_LINT0, 0x700);
	lapic_write(LAPIC_LVT_TIMER, V1);
	print(", off: lint0 %x timer %x", lapic_read(LAPIC_LINT0), lapic_read(LAPIC_LVT_TIMER));
	lapic_write(LAPIC_SVR, 0x1ff);
	print(", on: lint0 %x timer %x\n", lapic_read(LAPIC_LINT0), lapic_read(LAPIC_LVT_TIMER));
	lapic_write(LAPIC_LINT0, 0x10700);
}

static void errors(void)
{
	lapic_write(ESR, 0);
	lapic_write(ESR, 0);
	print("esr: %x", lapic_read(ESR));
	lapic_write(LAPIC_ICR, ICR_SELF | 5);
	print(", before the write %x", lapic_read(ESR));
	lapic_write(ESR, 0);
	print(", illegal vector %x", lapic_read(ESR) & ~0x20); /* Bochs does not know "send illegal vector" */
	lapic_write(ESR, 0);
	print(", again %x\n", lapic_read(ESR));
}

static void send(const char *name, uint32_t high, uint32_t low)
{
	fired = ntrace = 0;
	lapic_write(LAPIC_ICR_HI, high);
	lapic_write(LAPIC_ICR, low);
	open_window();
	print("%s: %u, icr %x\n", name, fired, lapic_read(LAPIC_ICR) & ~0x1000);
}

static bool on_nmi(struct frame *f)
{
	if (f->vector != VEC_NMI)
		return false;
	nmis++;
	return true;
}

/* IPIs of lowest priority are left out: whether there are any is "model specific" (SDM 3A), and Bochs drops them. */
static void addressed(void)
{
	uint32_t id = lapic_read(LAPIC_ID);

	send("physical", id, V1);
	send("physical, other", id ^ 0x01000000, V1);
	send("physical, all", 0xff000000, V1);
	send("with level bits", id, 0x4000 | V1);
	send("self", 0, ICR_SELF | V1);
	send("all", 0, ICR_ALL | V1);
	send("others", 0, ICR_OTHERS | V1);
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, 0x05000000);
	send("flat, one", 0x01000000, ICR_LOGICAL | V1);
	send("flat, other", 0x02000000, ICR_LOGICAL | V1);
	send("flat, both", 0x06000000, ICR_LOGICAL | V1);
	send("flat, all", 0xff000000, ICR_LOGICAL | V1);
	send("flat, none", 0, ICR_LOGICAL | V1);
	lapic_write(LAPIC_DFR, DFR_CLUSTER);
	lapic_write(LAPIC_LDR, 0x25000000);
	send("cluster, one", 0x21000000, ICR_LOGICAL | V1);
	send("cluster, other bit", 0x22000000, ICR_LOGICAL | V1);
	send("cluster, other cluster", 0x31000000, ICR_LOGICAL | V1);
	send("cluster, all", 0xff000000, ICR_LOGICAL | V1);
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, 0);
	trap_hook = on_nmi;
	nmis = 0;
	send("nmi to self by id", id, ICR_NMI | 0x99);
	trap_hook = NULL;
	print("nmis %u\n", nmis);
}

static void priorities(void)
{
	irq_set(V1, on_vector);
	irq_set(V2, on_nesting);
	irq_set(V3, on_nesting);
	irq_set(V4, on_vector);
	ntrace = depth = 0;
	lapic_write(LAPIC_ICR, ICR_SELF | V2);
	lapic_write(LAPIC_ICR, ICR_SELF | V3);
	lapic_write(LAPIC_ICR, ICR_SELF | V4);
	print("irr: %u %u %u\n", bit_of(LAPIC_IRR, V2), bit_of(LAPIC_IRR, V3), bit_of(LAPIC_IRR, V4));
	open_window();
	open_window();
	show("nested");
	for (uint32_t tpr = 0; tpr < 0x90; tpr += 0x13) {
		lapic_write(LAPIC_TPR, tpr);
		lapic_write(LAPIC_ICR, ICR_SELF | V1);
		lapic_write(LAPIC_ICR, ICR_SELF | V4);
		open_window();
		print("tpr %x cr8 %lx ppr %x: pending %u %u", tpr, rdcr8(), lapic_read(LAPIC_PPR), bit_of(LAPIC_IRR, V1),
		      bit_of(LAPIC_IRR, V4));
		show("");
		wrcr8(0);
		open_window();
		show("then");
	}
	lapic_write(LAPIC_TPR, 0x4f);
	print("cr8 %lx", rdcr8());
	wrcr8(7);
	print(", tpr %x", lapic_read(LAPIC_TPR));
	wrcr8(0);
	print(", %x\n", lapic_read(LAPIC_TPR));
	/* An EOI without an interrupt in service. */
	lapic_write(LAPIC_EOI, 0);
	print("isr after a bare eoi: %u\n", bit_of(LAPIC_ISR, V1));
	/* The same vector again while it is in service: once more afterwards. */
	irq_set(V3, on_vector);
	ntrace = 0;
	lapic_write(LAPIC_ICR, ICR_SELF | V3);
	lapic_write(LAPIC_ICR, ICR_SELF | V3);
	open_window();
	show("twice the same");
	/* Disabled by software, what is pending stays. */
	lapic_write(LAPIC_ICR, ICR_SELF | V1);
	lapic_write(LAPIC_SVR, 0xff);
	print("software disabled: irr %u\n", bit_of(LAPIC_IRR, V1));
	lapic_write(LAPIC_SVR, 0x1ff);
	open_window();
	show("enabled");
}

static void wait(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		inb(0x80);
}

/* How many ticks of the TSC a count takes with each divider, in those of the first: a power of two. */
static void dividers(void)
{
	static const uint8_t dcr[] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa };
	uint64_t first = 1;

	lapic_write(LAPIC_LVT_TIMER, MASKED | V1);
	for (unsigned i = 0; i < ARRAY_SIZE(dcr); i++) {
		uint64_t t = rdtsc(), counts, ratio;

		lapic_write(LAPIC_DIVIDE, dcr[i]);
		lapic_write(LAPIC_INIT_COUNT, 0xffffffff);
		while (rdtsc() - t < DIVIDER_TICKS)
			;
		counts = 0xffffffff - lapic_read(LAPIC_CUR_COUNT);
		if (!i)
			first = counts;
		ratio = 1;
		while (first * 3 > counts * ratio * 4)
			ratio *= 2;
		print("divide %x: 1/%lu\n", lapic_read(LAPIC_DIVIDE), ratio);
	}
	lapic_write(LAPIC_INIT_COUNT, 0);
	lapic_write(LAPIC_DIVIDE, 0xb);
}

static void timer(void)
{
	irq_set(V1, on_vector);
	dividers();
	lapic_write(LAPIC_LVT_TIMER, V1);
	lapic_write(LAPIC_INIT_COUNT, 1u << 30);
	wait(200);
	print("counts %s, initial %x", lapic_read(LAPIC_CUR_COUNT) < 1u << 30 ? "down" : "not", lapic_read(LAPIC_INIT_COUNT));
	lapic_write(LAPIC_INIT_COUNT, 0);
	print(", stopped %x %x\n", lapic_read(LAPIC_CUR_COUNT), lapic_read(LAPIC_INIT_COUNT));
	/* One shot, changed to periodic while it runs: it goes on, and then again. */
	fired = 0;
	lapic_write(LAPIC_INIT_COUNT, 200000);
	lapic_write(LAPIC_LVT_TIMER, PERIODIC | V1);
	while (fired < 3)
		hlt_wait();
	lapic_write(LAPIC_LVT_TIMER, MASKED | PERIODIC | V1);
	fired = 0;
	wait(5000);
	open_window();
	print("masked periodic: %u, count %s\n", fired, lapic_read(LAPIC_CUR_COUNT) ? "goes on" : "0");
	lapic_write(LAPIC_LVT_TIMER, PERIODIC | V2);
	irq_set(V2, on_vector);
	ntrace = fired = 0;
	while (!fired)
		hlt_wait();
	lapic_write(LAPIC_INIT_COUNT, 0);
	open_window();
	show("other vector");
	/* A one-shot that ends while masked is lost. */
	lapic_write(LAPIC_LVT_TIMER, MASKED | V1);
	lapic_write(LAPIC_INIT_COUNT, 100);
	wait(1000);
	lapic_write(LAPIC_LVT_TIMER, V1);
	fired = 0;
	open_window();
	print("ended while masked: %u\n", fired);
	if (!(cpuid(1, 0).c & BIT(24)))
		return;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 1000);
	print("deadline in one-shot mode: %lx\n", rdmsr(MSR_TSC_DEADLINE));
	lapic_write(LAPIC_INIT_COUNT, 1u << 30);
	lapic_write(LAPIC_LVT_TIMER, DEADLINE | V1);
	print("to deadline mode: count %x", lapic_read(LAPIC_CUR_COUNT));
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + (1ull << 34));
	print(", armed %s\n", rdmsr(MSR_TSC_DEADLINE) ? "yes" : "no");
	wrmsr(MSR_TSC_DEADLINE, 0); /* Bochs keeps a deadline when the mode changes; the SDM disarms the timer */
	lapic_write(LAPIC_LVT_TIMER, MASKED | V1);
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

static void route(unsigned pin, uint32_t low)
{
	ioapic_write((uint8_t)(0x11 + 2 * pin), lapic_read(LAPIC_ID) & 0xff000000);
	ioapic_write((uint8_t)(0x10 + 2 * pin), low);
}

/* Mode 0 holds its output high when it has ended: a level that stays. */
static void pit_level(bool high)
{
	outb(PIT + 3, 0x30);
	if (!high)
		return;
	outb(PIT, 1);
	outb(PIT, 0);
	wait(200);
}

/* Levels are left out: Bochs has no remote IRR, and delivers one only once. tests/unit/test_vioapic.c has them. */
static void ioapic(void)
{
	static const uint32_t values[] = { 0xffffffff & ~0x700u, 0x10000, 0x1a5a5, 0x15a5a & ~0x700u };

	lapic_write(LAPIC_LINT0, MASKED);
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		ioapic_write(0x2e, values[i] | MASKED);
		ioapic_write(0x2f, values[i]);
		print("rte: %x %x\n", ioapic_read(0x2e) & 0x1afff, ioapic_read(0x2f) & 0xff000000);
	}
	ioapic_write(0x2e, MASKED);
	mmio_write(IOAPIC, 0x5a);
	print("select: %x\n", mmio_read(IOAPIC) & 0xff);
	irq_set(V3, on_vector);
	/* Edges: one while masked is lost, one while unmasked is taken. */
	pit_level(false);
	route(PIN_TIMER, MASKED | V3);
	pit_level(true);
	fired = ntrace = 0;
	route(PIN_TIMER, V3);
	open_window();
	print("edge while masked: %u", fired);
	pit_level(false);
	pit_level(true);
	open_window();
	print(", then %u\n", fired);
	route(PIN_TIMER, MASKED | V3);
}

void payload_main(void)
{
	irq_init();
	irq_set(V1, on_vector);
	registers();
	errors();
	addressed();
	priorities();
	timer();
	ioapic();
}
