/* Interrupt controllers and timers that firmware forgot about. */
#include "shim.h"

#define PIC1_CMD   0x20
#define PIC1_DATA  0x21
#define PIC2_DATA  0xa1
#define PIT_CH0    0x40
#define PIT_CMD    0x43
#define PIT_RATE   0x34     /* channel 0, both bytes, mode 2 */
#define PIT_1KHZ   1193
#define RTC_INDEX  0x70
#define RTC_DATA   0x71
#define RTC_B      0x0b
#define RTC_PIE    0x40

#define MSR_APIC_BASE  0x1b
#define APIC_X2APIC    BIT(10)
#define APIC_ENABLE    BIT(11)
#define APIC_ADDRESS   0xfffff000u
#define APIC_ELSEWHERE 0xfed80000u
#define CPUID1_C_X2APIC BIT(21)
#define APIC_TPR       0x080
#define APIC_SVR       0x0f0
#define APIC_IRR       0x200
#define APIC_ICR       0x300
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_ERROR 0x370
#define APIC_INITIAL   0x380
#define APIC_DIVIDE    0x3e0
#define SVR_ON         0x13f
#define ICR_SELF       0x44000
#define LVT_PERIODIC   BIT(17)
#define LVT_EXTINT     0x700
#define DIVIDE_BY_1    0xb
#define VECTOR_LOW     0x51     /* in service for ever, and in it another, above which there is none */
#define VECTOR_HIGH    0xf1
#define VECTOR_WAITS   0x41
#define VECTOR_TIMER   0x61

static uint32_t apic_base(void) { return (uint32_t)rdmsr(MSR_APIC_BASE) & APIC_ADDRESS; }
static volatile uint32_t *apic(uint32_t reg) { return (volatile uint32_t *)(apic_base() + reg); }

/* Every input of the 8259s open, and requests waiting. */
static void spoil_legacy(void)
{
	outb(PIC2_DATA, 0);
	outb(PIC1_DATA, 0);
	outb(PIT_CMD, PIT_RATE);
	outb(PIT_CH0, PIT_1KHZ & 0xff);
	outb(PIT_CH0, PIT_1KHZ >> 8);
	outb(RTC_INDEX, RTC_B);
	uint8_t b = inb(RTC_DATA);
	outb(RTC_INDEX, RTC_B);
	outb(RTC_DATA, b | RTC_PIE);
	while (!(inb(PIC1_CMD) & 1)) /* the timer's request */
		;
}

static void interrupt_self(uint32_t vector)
{
	*apic(APIC_ICR) = ICR_SELF | vector;
	__asm__ volatile("sti; nop; nop; cli");
}

/* A periodic timer, interrupts in service that are never ended, some that wait, a task priority that holds all back. */
static void spoil_lapic(void)
{
	*apic(APIC_SVR) = SVR_ON;
	*apic(APIC_TPR) = 0;
	interrupt_self(VECTOR_LOW);
	interrupt_self(VECTOR_HIGH);
	interrupt_self(VECTOR_WAITS);
	*apic(APIC_LVT_LINT0) = LVT_EXTINT;
	*apic(APIC_LVT_ERROR) = VECTOR_TIMER + 1;
	*apic(APIC_DIVIDE) = DIVIDE_BY_1;
	*apic(APIC_LVT_TIMER) = LVT_PERIODIC | VECTOR_TIMER;
	*apic(APIC_INITIAL) = 10000;
	while (!(*apic(APIC_IRR + 0x10 * (VECTOR_TIMER / 32)) & BIT(VECTOR_TIMER % 32)))
		;
	*apic(APIC_TPR) = 0xf0;
}

void apic_spoil(void)
{
	if (option("pit"))
		spoil_legacy();
	if (option("lapic"))
		spoil_lapic();
	if (option("lapic-moved"))
		wrmsr(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & ~(uint64_t)APIC_ADDRESS) | APIC_ELSEWHERE);
	if (option("x2apic")) {
		if (!(cpuid(1).c & CPUID1_C_X2APIC))
			fail("this CPU has no x2APIC");
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_ENABLE | APIC_X2APIC);
	}
}
