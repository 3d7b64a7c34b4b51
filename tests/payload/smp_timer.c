/*
 * Time on several CPUs: a timer of each one's own, the TSC that never goes back for anybody, and the interrupts of devices,
 * which the I/O APIC sends to whom it is told.
 */
#include "smp.h"

#define V_TIMER   0x60 /* and the CPU's number */
#define V_PIT     0x40
#define V_RTC     0x48
#define TICKS     10
#define DIVIDE_1  0xb
#define PERIODIC  0x20000
#define DEADLINE  0x40000
#define COUNT     20000
#define TSC_STEPS 200 /* `steps=`; from hand to hand takes a time slice where several CPUs share one */
#define MSR_TSC_DEADLINE 0x6e0
#define CPUID1C_DEADLINE BIT(24)
#define PIN_TIMER 2
#define PIN_RTC   8
#define RTE_LOGICAL 0x800
#define RTE_LOWEST  0x100
#define RTE_MASKED  0x10000
#define RTC_INDEX 0x70
#define RTC_DATA  0x71
#define RTC_RATE  0x26 /* 1024 Hz */
#define RTC_PIE   0x42
#define RTC_24H   0x02

static volatile unsigned ticks[SMP_MAX], astray[SMP_MAX], device[SMP_MAX][2], ready, stop;
static volatile bool again[SMP_MAX];
static struct ticket tsc_lock;
static uint64_t last_tsc;
static volatile unsigned back;
static struct barrier together;
static unsigned steps;

static void on_timer(struct frame *f)
{
	unsigned me = smp_index();

	if (f->vector != V_TIMER + me)
		atomic_add(&astray[me], 1);
	ticks[me]++;
	if (again[me])
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + COUNT);
	apic_write(LAPIC_EOI, 0);
}

static void timer_off(void)
{
	unsigned me = smp_index();

	again[me] = false;
	apic_write(LAPIC_INIT_COUNT, 0);
	apic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	open_window();
}

/* Sleeps and computes by turns until the ticks have come. */
static void await(unsigned n)
{
	unsigned me = smp_index();

	while (ticks[me] < n)
		if (me & 1)
			open_window();
		else
			hlt_wait();
}

static void one_shot(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	ticks[me] = 0;
	barrier_wait(&together);
	apic_write(LAPIC_DIVIDE, DIVIDE_1);
	apic_write(LAPIC_LVT_TIMER, V_TIMER + me);
	for (unsigned n = 1; n <= TICKS; n++) {
		apic_write(LAPIC_INIT_COUNT, COUNT * (me + 1));
		await(n);
	}
	for (unsigned i = 0; i < 2000; i++)
		open_window();
	timer_off();
}

static void periodic(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	ticks[me] = 0;
	barrier_wait(&together);
	apic_write(LAPIC_LVT_TIMER, PERIODIC | (V_TIMER + me));
	apic_write(LAPIC_INIT_COUNT, COUNT * (me + 1));
	await(TICKS);
	timer_off();
}

static void deadline(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	ticks[me] = 0;
	barrier_wait(&together);
	apic_write(LAPIC_LVT_TIMER, DEADLINE | (V_TIMER + me));
	again[me] = true;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + COUNT);
	await(TICKS);
	again[me] = false;
	wrmsr(MSR_TSC_DEADLINE, 0);
	timer_off();
}

static void show(const char *name, bool exact)
{
	print("%s:", name);
	for (unsigned i = 0; i < smp_count; i++)
		if (exact)
			print(" %u", ticks[i]);
		else
			print(" %s", ticks[i] >= TICKS ? "ticks" : "too few");
	for (unsigned i = 0; i < smp_count; i++) {
		if (astray[i])
			print(", %u astray on %u", astray[i], i);
		astray[i] = 0;
	}
	print("\n");
}

static void timers(void)
{
	for (unsigned i = 0; i < smp_count; i++)
		irq_set(V_TIMER + i, on_timer);
	smp_all(one_shot, NULL);
	show("one-shot", true);
	smp_all(periodic, NULL);
	show("periodic", false);
	if (!(cpuid(1, 0).c & CPUID1C_DEADLINE)) {
		print("deadline: none\n");
		return;
	}
	smp_all(deadline, NULL);
	show("deadline", false);
}

/* One after the other, in the order of a lock. */
static void stamp(void *unused)
{
	(void)unused;
	barrier_wait(&together);
	for (unsigned i = 0; i < steps; i++) {
		uint64_t now;

		ticket_lock(&tsc_lock);
		now = rdtsc();
		if (now < last_tsc)
			back++;
		last_tsc = now;
		ticket_unlock(&tsc_lock);
	}
}

/* Each CPU waits for its turn, and looks at the clock before it hands it on. */
static volatile uint64_t ball;
static volatile unsigned turn;
static void pass(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	for (unsigned i = 0; i < steps / 2; i++) {
		uint64_t now;

		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != me)
			pause();
		now = rdtsc();
		if (now < ball)
			back++;
		ball = now;
		__atomic_store_n(&turn, (me + 1) % smp_count, __ATOMIC_RELEASE);
	}
}

static void tsc(void)
{
	smp_all(stamp, NULL);
	print("tsc in the order of a lock: back %u\n", back);
	back = 0;
	smp_all(pass, NULL);
	print("tsc from hand to hand: back %u\n", back);
}

static void ioapic_write(uint8_t reg, uint32_t v)
{
	mmio_write(IOAPIC, reg);
	mmio_write(IOAPIC + IOAPIC_WIN, v);
}

static void route(unsigned pin, uint32_t dest, uint32_t low)
{
	ioapic_write((uint8_t)(0x10 + 2 * pin), RTE_MASKED);
	ioapic_write((uint8_t)(0x11 + 2 * pin), dest << 24);
	ioapic_write((uint8_t)(0x10 + 2 * pin), low);
}

static void on_pit(struct frame *f)
{
	(void)f;
	atomic_add(&device[smp_index()][0], 1);
	apic_write(LAPIC_EOI, 0);
}

static uint8_t rtc_read(uint8_t index)
{
	outb(RTC_INDEX, index);
	return inb(RTC_DATA);
}

static void rtc_write(uint8_t index, uint8_t value)
{
	outb(RTC_INDEX, index);
	outb(RTC_DATA, value);
}

static void on_rtc(struct frame *f)
{
	(void)f;
	atomic_add(&device[smp_index()][1], 1);
	rtc_read(0xc);
	apic_write(LAPIC_EOI, 0);
}

/* The boot CPU computes, the others sleep; all are open. */
static void open_until_stop(void *unused)
{
	(void)unused;
	atomic_add(&ready, 1);
	while (!stop)
		hlt_wait();
}

static void set_ldr(void *unused)
{
	(void)unused;
	apic_write(LAPIC_DFR, 0xffffffff);
	apic_write(LAPIC_LDR, 1u << (24 + smp_index()));
}

static unsigned total(unsigned which)
{
	unsigned n = 0;

	for (unsigned i = 0; i < smp_count; i++)
		n += device[i][which];
	return n;
}

static void listen(void)
{
	for (unsigned i = 0; i < smp_count; i++)
		device[i][0] = device[i][1] = 0;
	stop = ready = 0;
	smp_others(open_until_stop, NULL);
	while (ready < smp_count - 1)
		pause();
}

static void listen_end(void)
{
	stop = 1;
	apic_ipi(0, ICR_OTHERS | V_TIMER); /* whoever sleeps */
	smp_wait_others();
	open_window();
}

/* Who has got interrupts of the PIT, where only those in `dest` may. */
static void pit_to(const char *name, unsigned number, uint32_t dest, uint32_t low)
{
	listen();
	route(PIN_TIMER, dest, low | V_PIT);
	while (total(0) < TICKS)
		open_window();
	route(PIN_TIMER, dest, RTE_MASKED);
	listen_end();
	print("%s %u: on", name, number);
	for (unsigned i = 0; i < smp_count; i++)
		if (device[i][0])
			print(" %u", i);
	print("\n");
}

static void devices(void)
{
	irq_set(V_PIT, on_pit);
	irq_set(V_RTC, on_rtc);
	smp_all(set_ldr, NULL);
	lapic_write(LAPIC_LINT0, LVT_MASKED);
	pit_periodic(1000);
	for (unsigned i = 0; i < smp_count; i++)
		pit_to("pit to id of", i, smp_cpus[i].apic_id, 0);
	for (unsigned i = 0; i < smp_count; i++)
		pit_to("pit to logical", i, 1u << i, RTE_LOGICAL);
	pit_to("pit to all, physical", 0, 0xff, 0);
	pit_to("pit to all, logical", 0, 0xff, RTE_LOGICAL);
	for (unsigned i = 0; i < smp_count; i++)
		pit_to("pit to one of one, lowest", i, 1u << i, RTE_LOGICAL | RTE_LOWEST);
	listen();
	route(PIN_TIMER, 0xff, RTE_LOGICAL | RTE_LOWEST | V_PIT);
	while (total(0) < TICKS)
		open_window();
	route(PIN_TIMER, 0, RTE_MASKED);
	listen_end();
	print("pit to all, lowest: ticks\n");
	for (unsigned i = 0; i < smp_count; i++)
		print("# lowest, on %u: %u\n", i, device[i][0]);
}

/* Two devices, two CPUs, at the same time. */
static void both(void)
{
	unsigned other = smp_count - 1;

	listen();
	rtc_read(0xc);
	rtc_write(0xa, RTC_RATE);
	route(PIN_TIMER, smp_cpus[0].apic_id, V_PIT);
	route(PIN_RTC, smp_cpus[other].apic_id, V_RTC);
	rtc_write(0xb, RTC_PIE);
	while (total(0) < TICKS)
		open_window();
	while (device[other][1] < TICKS)
		open_window();
	rtc_write(0xb, RTC_24H);
	route(PIN_TIMER, 0, RTE_MASKED);
	route(PIN_RTC, 0, RTE_MASKED);
	listen_end();
	print("pit and rtc: pit %s, rtc %s\n", device[0][0] == total(0) ? "on 0 only" : "astray",
	      device[other][1] == total(1) ? "on the last only" : "astray");
}

static void on_irq0(struct frame *f)
{
	(void)f;
	atomic_add(&device[smp_index()][0], 1);
	outb(PIC1, 0x20);
}

/* The PIC's output goes to the boot CPU, whoever else is open. */
static void pic(void)
{
	irq_set(PIC_VECTOR, on_irq0);
	lapic_write(LAPIC_LINT0, 0x700);
	listen();
	pic_unmask(0);
	while (device[0][0] < TICKS)
		open_window();
	pic_mask_all();
	listen_end();
	print("pit through the pic: %s\n", device[0][0] == total(0) ? "on 0 only" : "astray");
}

void payload_main(void)
{
	if (smp_start() < 2)
		return;
	together.n = smp_count;
	steps = (unsigned)option_number("steps", TSC_STEPS);
	timers();
	tsc();
	devices();
	both();
	pic();
}
