/* Timers as fast as they go, and interrupts to itself. */
#include "hostile.h"

#define STORM_VECTOR 0x40
#define LVT_PERIODIC 0x20000
#define LVT_DEADLINE 0x40000
#define DIVIDE_BY_1  0xb
#define MSR_TSC_DEADLINE    0x6e0
#define CPUID1_ECX_DEADLINE BIT(24)
#define ICR_SELF     0x40000
#define ICR_NMI      0x400
#define ICR_INIT     0xc500
#define ICR_STARTUP  0x4600
#define RTE_LEVEL    0x8000
#define RTC_IRQ      8
#define RTC_INDEX    0x70
#define RTC_DATA     0x71
#define RTC_FASTEST  0x23 /* 8192 Hz */
#define RTC_PIE      0x42 /* 24 hours */
#define NMI          2

static volatile uint64_t ticks;

static void lapic_tick(struct frame *f)
{
	(void)f;
	ticks++;
	lapic_write(LAPIC_EOI, 0);
}

static void sleep_for_ever(void)
{
	for (;;)
		hlt_wait();
}

/* The shortest period there is. */
static void lapic_start(void)
{
	irq_init();
	irq_set(STORM_VECTOR, lapic_tick);
	lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | STORM_VECTOR);
	lapic_write(LAPIC_INIT_COUNT, 1);
}

static void lapic_storm(void)
{
	lapic_start();
	sleep_for_ever();
}

static void lapic_storm_if0(void)
{
	lapic_start();
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Always awake: the timer finds it running, or waiting for its turn. */
static void lapic_storm_busy(void)
{
	lapic_start();
	sti();
	for (;;)
		;
}

/* The last deadline there is: not one that has passed. */
static void far_deadline(void)
{
	if (!(cpuid(1, 0).c & CPUID1_ECX_DEADLINE))
		return;
	irq_init();
	irq_set(STORM_VECTOR, lapic_tick);
	lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | STORM_VECTOR);
	for (unsigned n = 0; n < 64; n += 9)
		wrmsr(MSR_TSC_DEADLINE, ~0ull - n);
	sti();
	for (volatile unsigned n = 0; n < 100000; n++)
		;
	cli();
	wrmsr(MSR_TSC_DEADLINE, 0);
	print("hostile: far-deadline fired %lu times\n", ticks);
}

static void next_deadline(struct frame *f)
{
	lapic_tick(f);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 1);
}

static void deadline_storm(void)
{
	irq_init();
	irq_set(STORM_VECTOR, next_deadline);
	lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | STORM_VECTOR);
	wrmsr(MSR_TSC_DEADLINE, 1);
	sleep_for_ever();
}

static void pit_tick(struct frame *f)
{
	(void)f;
	ticks++;
	pic_eoi(0);
}

static void pit_start(void)
{
	outb(PIT + 3, 0x34);
	outb(PIT, 2);
	outb(PIT, 0);
	irq_set(PIC_VECTOR, pit_tick);
	pic_unmask(0);
}

static void pit_storm(void)
{
	irq_init();
	pit_start();
	sleep_for_ever();
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

static void rtc_tick(struct frame *f)
{
	(void)f;
	ticks++;
	(void)rtc_read(0xc);
	pic_eoi(RTC_IRQ);
}

static void rtc_start(void)
{
	irq_set(PIC_VECTOR + RTC_IRQ, rtc_tick);
	rtc_write(0xa, RTC_FASTEST);
	rtc_write(0xb, RTC_PIE);
	pic_unmask(RTC_IRQ);
}

static void rtc_storm(void)
{
	irq_init();
	rtc_start();
	sleep_for_ever();
}

static void timer_storm(void)
{
	lapic_start();
	pit_start();
	rtc_start();
	sleep_for_ever();
}

static void timer_storm_busy(void)
{
	lapic_start();
	pit_start();
	rtc_start();
	sti();
	for (;;)
		;
}

static void self_storm(void)
{
	irq_init();
	irq_set(STORM_VECTOR, lapic_tick);
	sti();
	for (;;)
		lapic_write(LAPIC_ICR, ICR_SELF | STORM_VECTOR);
}

static void to_myself(uint32_t command)
{
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID) & 0xff000000);
	lapic_write(LAPIC_ICR, command);
}

/* The next NMI while this one is served: it waits for the IRET. */
static bool on_nmi(struct frame *f)
{
	if (f->vector == NMI)
		to_myself(ICR_NMI);
	return true;
}

static void nmi_storm(void)
{
	irq_init();
	trap_hook = on_nmi;
	for (;;)
		to_myself(ICR_NMI);
}

static void init_storm(void)
{
	irq_init();
	for (;;) {
		to_myself(ICR_STARTUP | 0x10);
		lapic_write(LAPIC_ICR, ICR_INIT | 0xc0000); /* all others */
		lapic_write(LAPIC_ICR, ICR_STARTUP | 0xc0010);
		to_myself(ICR_INIT);
	}
}

/* A level that nobody takes away: each EOI brings the next. */
static void level_storm(void)
{
	irq_init();
	irq_set(STORM_VECTOR, lapic_tick);
	rtc_write(0xa, RTC_FASTEST);
	rtc_write(0xb, RTC_PIE);
	mmio_write(IOAPIC, 0x10 + 2 * RTC_IRQ + 1);
	mmio_write(IOAPIC + IOAPIC_WIN, lapic_read(LAPIC_ID));
	mmio_write(IOAPIC, 0x10 + 2 * RTC_IRQ);
	mmio_write(IOAPIC + IOAPIC_WIN, RTE_LEVEL | STORM_VECTOR);
	sleep_for_ever();
}

const struct attack hostile_interrupts[] = {
	{ "lapic-storm", lapic_storm }, { "lapic-storm-if0", lapic_storm_if0 }, { "lapic-storm-busy", lapic_storm_busy },
	{ "far-deadline", far_deadline }, { "deadline-storm", deadline_storm }, { "pit-storm", pit_storm },
	{ "rtc-storm", rtc_storm }, { "timer-storm", timer_storm }, { "timer-storm-busy", timer_storm_busy },
	{ "self-storm", self_storm }, { "nmi-storm", nmi_storm }, { "init-storm", init_storm }, { "level-storm", level_storm },
	ATTACKS_END
};
