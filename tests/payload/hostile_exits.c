/* One kind of exit, as often as the CPU goes. */
#include "hostile.h"

#define PORT_DELAY   0x80
#define PM_TIMER     0x608
#define CR0_WP       BIT(16)
#define CR0_CD       BIT(30)
#define CR4_PGE      BIT(7)
#define MSR_TSC      0x10
#define MSR_MTRR_DEF 0x2ff
#define MSR_NONE     0x1234

#define FOR_EVER(name, ...) static void name(void) { for (;;) { __VA_ARGS__; } }

FOR_EVER(cpuid_storm, cpuid(1, 0))
FOR_EVER(port_storm, outb(PORT_DELAY, 1))
FOR_EVER(uart_storm, inb(COM1 + 5))
FOR_EVER(timer_reads, inl(PM_TIMER))
FOR_EVER(absent_reads, mmio_read(ABSENT))
FOR_EVER(absent_writes, mmio_write(ABSENT, 1))
FOR_EVER(ioapic_reads, mmio_read(IOAPIC + IOAPIC_WIN))
FOR_EVER(pause_storm, __asm__ volatile("pause"))
FOR_EVER(cache_storm, static uint8_t line[64]; __asm__ volatile("wbinvd; invd; clflush %0" : "+m"(line)))
FOR_EVER(tsc_writes, wrmsr(MSR_TSC, 0))
FOR_EVER(mtrr_writes, wrmsr(MSR_MTRR_DEF, 0xc06))
FOR_EVER(tlb_storm, wrcr4(rdcr4() ^ CR4_PGE); wrcr0(rdcr0() ^ CR0_WP ^ CR0_CD); __asm__ volatile("invlpg (%0)" :: "r"(WINDOW)))

/* No exit; with a pause, as an emulator has much to do for each. */
static void cr3_storm(void)
{
	for (;;) {
		wrcr3(rdcr3());
		for (volatile unsigned i = 0; i < 50; i++)
			;
	}
}

/* What exits with a fault for the guest. */
static void fault_storm(void)
{
	for (;;) {
		TRY(rdmsr(MSR_NONE));
		TRY(((void (*)(void))ABSENT)());
		TRY(__asm__ volatile("vmcall"));
	}
}

static void xsetbv_storm(void)
{
	if (!(cpuid(1, 0).c & BIT(26)))
		return;
	wrcr4(rdcr4() | CR4_OSXSAVE);
	for (uint32_t v = 1;; v ^= 2)
		__asm__ volatile("xsetbv" :: "c"(0), "a"(v), "d"(0));
}

static void hlt_if0(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

const struct attack hostile_exits[] = {
	{ "cpuid-storm", cpuid_storm }, { "port-storm", port_storm }, { "uart-storm", uart_storm }, { "timer-reads", timer_reads },
	{ "absent-reads", absent_reads }, { "absent-writes", absent_writes }, { "ioapic-reads", ioapic_reads },
	{ "pause-storm", pause_storm }, { "cache-storm", cache_storm }, { "tsc-writes", tsc_writes },
	{ "mtrr-writes", mtrr_writes }, { "cr3-storm", cr3_storm }, { "tlb-storm", tlb_storm }, { "fault-storm", fault_storm },
	{ "xsetbv-storm", xsetbv_storm }, { "hlt-if0", hlt_if0 }, ATTACKS_END
};
